"""Every change of status that a table declares is shown by a case; those that only pass through are named here, with why."""

from __future__ import annotations

import pytest

from ledger.rules.cases import _CaseRun, parse_cases, parse_members
from ledger.rules.program import Program
from ledger.rules.scratch import Scratch
from tests.unit.rules.books import contract_program

Change = tuple[str, str | None, str]

# Statuses that an event enters and leaves again before it is over: the kind moves the object and a rule, which looks at what
# the kind says, moves it on by a signal. No state ever holds them, so no case can show them.
PASSING: dict[str, set[Change]] = {
    "data-sharing": {
        # catalog.return of an update that no change called for: E2 keeps the entry as it was published.
        ("dataset", "change_due", "published"),
        # open.reply answers; F4 takes the answer for what it is.
        ("opening", "under_review", "answered"),
        ("opening", "answered", "approved"),
        ("opening", "answered", "denied"),
        # quality.measure measures; D2 holds it against the targets.
        ("plan", "deployed", "monitored"),
        ("plan", "passed", "monitored"),
        ("plan", "below_target", "monitored"),
        ("plan", "fixed", "monitored"),
        ("plan", "monitored", "passed"),
        ("plan", "monitored", "below_target"),
        # hold.lift gives the copy back; C2 returns one that was never received to where it was.
        ("copy", "held", "unconfirmed"),
    },
    "gdpr": set(),
}


def declared(program: Program) -> set[Change]:
    """All changes that the tables of a rulebook declare, those that stay where they are left out."""
    found: set[Change] = set()
    for table in program.book.tables.values():
        found |= {(table.object, None, status) for status in table.start.values()}
        for status, moves in table.moves.items():
            found |= {(table.object, status, to) for to in moves.values() if to != status}
    return found


def shown(program: Program) -> set[Change]:
    """All changes that can be seen between two steps of a case."""
    found: set[Change] = set()
    actors, cases = parse_cases(program)
    fields = {table.object: table.field for table in program.book.tables.values()}
    for case in cases:
        run = _CaseRun(program, program.run_block, actors, parse_members(program))
        scratch = Scratch(program, program.run_block, objects=dict(run.members))
        before: dict[str, str] = {}
        for step in case.steps:
            run.step(scratch, step)  # whether it says what it should is for test_cases
            now = {}
            for key in scratch.objects:
                field = fields.get(key.split("/", 1)[0])
                if field in (value := scratch.value(key) or {}):
                    now[key] = value[field]
            for key, status in now.items():
                if before.get(key) != status:
                    found.add((key.split("/", 1)[0], before.get(key), status))
            before = now
    return found


@pytest.mark.parametrize("rulebook", sorted(PASSING))
def test_every_declared_change_of_status_is_shown(rulebook: str) -> None:
    """A change that no case shows is an edge that nobody has seen work; a named exception that a case shows is none."""
    program = contract_program(rulebook)
    assert PASSING[rulebook] <= declared(program)
    assert declared(program) - shown(program) == PASSING[rulebook]
