"""Where the process `ledger` begins: decides what Ctrl-C does before there is a command that could be told of it.

Rule: until the command line is imported Ctrl-C ends the process with 130 and without a word; afterwards `main` says what
it does. Nothing is imported before that is settled, not even `signal`, whose own import could be interrupted.
Not here: anything that `ledger.cli.main` decides.
"""

import _signal  # type: ignore[import-not-found]
import os

INTERRUPTED = 130


def main() -> None:
    """Run the command line of this process; never returns."""
    quiet = _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler
    if quiet:  # whoever has Ctrl-C ignored (nohup, a job in the background) keeps it so
        _signal.signal(_signal.SIGINT, _leave)
    from ledger.cli.main import main as command_line

    if quiet:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)
    command_line()


def _leave(_number: int, _frame: object) -> None:
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
