"""`ledger completion bash|zsh|fish`: the script that makes the shell complete commands, options and file names."""

from __future__ import annotations

import click

from ledger.cli.command import argument, command
from ledger.cli.help import PROGRAM
from ledger.cli.output import Console


@command("completion")
@argument("shell", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
def completion(console: Console, shell: str) -> None:
    """Print a completion script."""
    from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

    from ledger.cli.main import root

    class Bash(BashComplete):
        """Without click's look at the installed bash: the script is written for where it is read."""

        @staticmethod
        def _check_version() -> None:
            return

    kinds: dict[str, type[ShellComplete]] = {"bash": Bash, "zsh": ZshComplete, "fish": FishComplete}
    script = kinds[shell](root(), {}, PROGRAM, "_LEDGER_COMPLETE").source()
    console.result({"shell": shell, "script": script}, script)
    console.hint(console.text(f"completion.{shell}"))
