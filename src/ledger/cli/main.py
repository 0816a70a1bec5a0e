"""The entry point of `ledger`: reads the options that concern all commands, runs one, ends with its exit code.

Rules: the first help page and `--version` need no library; every end of a command (result, error, Ctrl-C, closed pipe,
wrong usage) has its exit code and, under --json, exactly one document. Not here: any command.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from ledger.cli.exits import Exit
from ledger.cli.output import Console

if TYPE_CHECKING:
    import click


def main() -> NoReturn:
    """Run the command line of this process."""
    code = run(sys.argv[1:])
    _leave(code)


def run(arguments: Sequence[str], console: Console | None = None) -> int:
    """Run `arguments`; the exit code. Never raises, whatever the command does."""
    try:
        console = console or console_for(arguments)
        if "_LEDGER_COMPLETE" in os.environ:
            return _complete()
        if not _quick(arguments, console):
            _dispatch(list(arguments), console)
        console.out.flush()
        return int(console.exit)
    except KeyboardInterrupt:
        if console is not None and console.as_json and not console.done:
            console.document({"ok": False, "exit_code": int(Exit.INTERRUPTED)})
        return int(Exit.INTERRUPTED)
    except BrokenPipeError:
        return int(Exit.PIPE_CLOSED)


def console_for(arguments: Sequence[str]) -> Console:
    """The console that the global options ask for; they count wherever they stand before a `--`."""
    options = list(arguments[: arguments.index("--")]) if "--" in arguments else list(arguments)
    language: str | None = None
    for at, option in enumerate(options):
        if option == "--lang" and at + 1 < len(options):
            language = options[at + 1]
        elif option.startswith("--lang="):
            language = option[len("--lang=") :]
    console = Console(language=language, as_json="--json" in options)
    console.colour_wanted = "--no-color" not in options
    console.quiet = "--quiet" in options or "-q" in options
    return console


def _quick(arguments: Sequence[str], console: Console) -> bool:
    """Answer `ledger`, `ledger --help` and `ledger --version` without click; False for everything else."""
    rest = [each for each in arguments if each not in ("--json", "--no-color", "-q", "--quiet")]
    while len(rest) > 1 and rest[0] == "--lang" and rest[1] in ("zh", "en", "auto"):
        rest = rest[2:]
    rest = [each for each in rest if each not in ("--lang=zh", "--lang=en", "--lang=auto")]
    if rest == ["--version"]:
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version("suyuan")
        except PackageNotFoundError:
            number = "0+source"
        console.result({"version": number}, f"ledger {number}")
        return True
    if rest in ([], ["--help"], ["-h"]):
        from ledger.cli.help import root_page
        from ledger.cli.tables import screen_columns

        text = root_page(console.texts, min(screen_columns(console.out, console.environment) or 80, 100))
        console.result({"help": text}, text)
        return True
    return False


def _dispatch(arguments: list[str], console: Console) -> None:
    import click

    from ledger.cli.problems import from_os, tell
    from ledger.cli.settings import SettingError
    from ledger.errors import LedgerError

    try:
        with root().make_context("ledger", arguments, obj=console) as ctx:
            ctx.command.invoke(ctx)
    except click.exceptions.Exit as error:
        console.exit = Exit.OK if error.exit_code == 0 else Exit.OPERATIONAL
    except click.exceptions.Abort:
        console.err.write("\n")
        console.exit = Exit.INTERRUPTED
    except click.UsageError as error:
        _tell_usage(console, error)
    except click.ClickException as error:
        console.exit = tell(console, LedgerError("command", error.format_message()))
    except SettingError as error:
        console.exit = tell(console, error, Exit.USAGE)
    except LedgerError as error:
        console.exit = tell(console, error)
    except KeyboardInterrupt:
        console.err.write("\n")
        console.exit = Exit.INTERRUPTED
    except BrokenPipeError:
        raise
    except OSError as error:
        console.exit = tell(console, from_os(error), Exit.OPERATIONAL)
    except Exception as error:  # noqa: BLE001 - the last resort: a defect is told as one, with its trace
        import traceback

        traceback.print_exc(file=console.err)
        console.exit = tell(console, LedgerError("defect", f"{type(error).__name__}: {error}"), Exit.OPERATIONAL)
    if console.as_json and not console.done:
        console.document({"ok": console.exit == Exit.OK, "exit_code": int(console.exit)})


def root() -> click.Group:
    """The whole command tree."""
    from ledger.cli.command import LazyGroup
    from ledger.cli.commands import COMMANDS

    return LazyGroup("ledger", COMMANDS)


def _tell_usage(console: Console, error: click.UsageError) -> None:
    from ledger.cli.problems import tell
    from ledger.cli.usage import as_error

    told = as_error(error)
    if told is None:  # a group without a command: its help is the answer
        context = error.ctx
        text = context.get_help() if context is not None else ""
        console.result({"help": text}, text)
        return
    console.exit = tell(console, told, Exit.USAGE)


def _complete() -> int:
    root().main(prog_name="ledger", complete_var="_LEDGER_COMPLETE", standalone_mode=True)
    return int(Exit.OK)


def _leave(code: int) -> NoReturn:
    """End the process; a reader that went away (`ledger … | head`) is no reason for a trace."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = int(Exit.PIPE_CLOSED)
    if code == Exit.PIPE_CLOSED:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


if __name__ == "__main__":
    main()
