"""What the cases of a rulebook cannot say of findings and disputes: every finding can be decided, and local terms count."""

from __future__ import annotations

import ast

import pytest

from ledger.rules.cases import parse_cases, parse_members
from ledger.rules.compiler import Compiler
from ledger.rules.facts import FunctionFacts
from ledger.rules.program import Program, canonical_verdict
from ledger.rules.scratch import Scratch
from tests.unit.rules.books import contract, contract_program

DAY = 86_400_000


def kinds_with_findings(compiler: Compiler) -> set[str]:
    """Kinds of the objects that some rule or table of the rulebook may leave a finding on."""
    found = {table.object for table in compiler.book.tables.values() if table.otherwise}
    places: list[tuple[FunctionFacts, dict[str, str]]] = []
    for kind in compiler.book.kinds.values():
        for rule, name in compiler.listeners[kind.name]:
            places += [(facts, kind.objects()) for facts in rule.reachable(name)]
    for timer, handler in compiler.handlers.items():
        setter = next(
            kind
            for kind in compiler.book.kinds.values()
            if any(touch.rule == timer for touch, _ in compiler._setters(kind))
        )
        places += [(facts, setter.objects()) for facts in handler.rule.reachable(handler.function)]
    for facts, objects in places:
        for node in ast.walk(facts.node):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("finding", "breach"):
                for keyword in node.keywords:
                    if keyword.arg == "on" and isinstance(keyword.value, ast.Constant) and keyword.value.value:
                        found.add(objects[str(keyword.value.value)])
    return found


def test_every_finding_can_be_decided() -> None:
    """Confirming and dismissing name the object of a finding, whatever its kind; else it could never be closed."""
    book = contract_program().book
    compiler = Compiler(book)
    compiler.program()
    kinds = kinds_with_findings(compiler)
    assert {"application", "grant", "copy", "dataset", "incident", "inspection"} <= kinds
    for name in ("finding.confirm", "finding.dismiss"):
        assert kinds <= {ref.object for ref in book.kinds[name].refs}, name


@pytest.mark.parametrize(
    ("parameter", "rule", "last", "nationally", "locally"),
    [
        ("dispute_days", "H2", "dispute.escalate", [], ["D809/41-2 sjj"]),
        ("emergency_review_days", "G3", "share.approve", [], ["D809/41-3 sjj"]),
    ],
)
def test_local_term_makes_a_candidate_finding(
    parameter: str, rule: str, last: str, nationally: list[str], locally: list[str]
) -> None:
    """An open term that passes is a candidate under Art. 41 where a locality has set it; nationally it is not."""
    files, calendars = contract()
    text = files["params.toml"].decode()
    head, mark, rest = text.partition(f"[{parameter}]")
    assert mark
    assert rest.count("lenient = -1") > 0
    local = (head + mark + rest.replace("lenient = -1", "lenient = 5", 1)).encode()
    said = [
        late(Program.compile({**files, "params.toml": params}, calendars), rule, last)
        for params in (text.encode(), local)
    ]
    assert said == [nationally, locally]


def late(program: Program, rule: str, last: str) -> list[str]:
    """Findings about the authority in the 30 days after the event `last` of the first accept case of `rule`."""
    actors, cases = parse_cases(program)
    case = next(case for case in cases if case.rule == rule and case.type == "accept")
    until = next(i for i, step in enumerate(case.steps) if step.get("do") == last)
    scratch = replayed(program, actors, case.steps[: until + 1])
    found: list[str] = []
    for outcome in scratch.advance(scratch.time + 30 * DAY):
        found += [f"{entry['code']} {entry['about']}" for entry in canonical_verdict(outcome).get("findings", [])]
    return [each for each in found if each.endswith(" sjj")]


def replayed(program: Program, actors: dict[str, dict[str, object]], steps: tuple[dict[str, object], ...]) -> Scratch:
    """A scratch ledger on which `steps` of a case have been decided, each accepted."""
    from ledger.rules.cases import _CaseRun

    run = _CaseRun(program, program.run_block, actors, parse_members(program))
    scratch = Scratch(program, program.run_block, objects=parse_members(program))
    for step in steps:
        named = {name: value for name, value in step.items() if name not in ("duties", "state", "alerts", "fires")}
        assert run.step(scratch, named) == ""
    return scratch
