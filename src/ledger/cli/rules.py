"""`ledger rules test DIR`: run the cases of a rulebook in both runtimes and show a table.

Exit codes: 0 every case passed in every runtime, 1 one failed, 7 all passed but the second runtime is not installed.
Not here: what a case is (see `ledger.rules.cases`).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ledger.cli.command import argument, command, option
from ledger.cli.exits import Exit
from ledger.cli.output import Console
from ledger.cli.tables import screen_columns, table

if TYPE_CHECKING:
    from ledger.rules.cases import Row

COMPILED, MONTY = "compiled", "monty"


@command("test")
@argument("folder", metavar="DIR", type=click.Path())
@option("--runtime", type=click.Choice([COMPILED, MONTY, "both"]), default="both")
def test(console: Console, folder: str, runtime: str) -> None:
    """Run the cases of a rulebook."""
    from ledger.adapters.home.network import read_rulebook
    from ledger.rules.cases import run_cases
    from ledger.rules.program import Program
    from ledger.rules.scratch import RunBlock

    program = Program.compile(*read_rulebook(Path(folder)))
    runtimes: dict[str, RunBlock] = {}
    if runtime in (COMPILED, "both"):
        runtimes[COMPILED] = program.run_block
    has_monty = importlib.util.find_spec("pydantic_monty") is not None
    if runtime == MONTY or (runtime == "both" and has_monty):
        from ledger.adapters.runtime.monty import Monty

        with Monty(program) as monty:
            rows = run_cases(program, {**runtimes, MONTY: monty.run_block})
    else:
        rows = run_cases(program, runtimes)
    _tell(console, rows, complete=has_monty or runtime != "both")


def _tell(console: Console, rows: list[Row], *, complete: bool) -> None:
    failed = [row for row in rows if not row.passed]
    chinese = console.language == "zh"
    lines = [
        (
            console.mark(row.passed),
            row.rule,
            row.type,
            row.zh if chinese else row.case,
            row.runtime,
            str(row.steps) if row.steps else "-",
        )
        for row in rows
    ]
    head = ["", *(console.text(f"rules.{name}") for name in ("rule", "type", "case", "runtime", "steps"))]
    text = [table(lines, head, screen_columns(console.out, console.environment))] if lines else []
    text += [
        f"{console.mark(False)} {row.rule} {row.zh if chinese else row.case} [{row.runtime}]: {row.message}"
        for row in failed
    ]
    text.append(console.text("rules.summary", passed=len(rows) - len(failed), failed=len(failed)))
    if not complete:
        text.append(console.text("rules.one-runtime"))
    code = Exit.OPERATIONAL if failed else Exit.OK if complete else Exit.INCOMPLETE
    document = {
        "passed": len(rows) - len(failed),
        "failed": len(failed),
        "both_runtimes": complete,
        "cases": [
            {
                "rule": row.rule,
                "case": row.case,
                "zh": row.zh,
                "type": row.type,
                "runtime": row.runtime,
                "passed": row.passed,
                "message": row.message,
            }
            for row in rows
        ],
    }
    console.result(document, "\n".join(text), code)
