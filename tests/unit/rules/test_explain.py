"""Why an event was decided so: what is shown is what ran, for every way in which an event can end."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.adapters.audit.ruletrace import RuleTrace
from ledger.rules.cases import run_cases
from ledger.rules.explain import Explanation, describe, explain, show
from ledger.rules.program import Program
from tests.unit.rules.books import NOW, Ledger, contract_program, rule, tiny, verdict

ZONE = 8 * 3_600_000


def explained(program: Program, kind: str, body: dict[str, Any] | None = None, **how: Any) -> Explanation:
    """The explanation of an event about a new thing."""
    ledger = Ledger(program)
    refs = {"thing": ledger.thing()}
    refs |= how.pop("refs", {})
    if how.pop("stopped", False):
        ledger.do("thing.stop", {"thing": refs["thing"]}, {})
    name, step = ledger.event(kind, refs, body, **how)
    call = ledger.scratch.call(NOW, [], [step])
    outcomes = program.run_block(call)
    trace = RuleTrace(program, name)
    assert trace.run_block(call) == outcomes
    return explain(program, call["steps"][0], verdict(outcomes[0]), (7, NOW), trace.asked, outcomes[0], call["objects"])


BODY = """LIMIT = 3


def on_thing_do(event, state, env):
    thing = state["thing"]
    total = 0
    for each in [1, 2]:
        total += each
    if event.body.get("n", 0) > LIMIT:
        return breach("LAW/1", on="thing", n=event.body["n"])
    return kept(thing, total)


def on_thing_ask(event, state, env):
    if event.body["n"] == 1:
        return refuse("no", why="one")
    return {}["gone"]


def kept(thing, total):
    return [write("tally", n=total + 1), duty("R1", by=thing["owner"], on="thing", due=None, kinds=["thing.stop"])]
"""
PROGRAM = tiny(rule(BODY))


def test_statements_and_values() -> None:
    """Every statement that ran is shown once with the values it looked at, own functions and the first turn of loops too."""
    (said,) = explained(PROGRAM, "thing.do", {"n": 2}).rules
    assert [step.line for step in said.steps] == [8, 9, 10, 11, 12, 14, 24]
    seen = {text: value for step in said.steps for text, value in step.seen}
    assert seen['event.body.get("n", 0)'] == "2" and seen['thing["owner"]'] == '"ga"' and seen["total"] == "3"
    assert said.title["zh"] == "规则" and said.article == "Law 1." and said.failed == ""


def test_effects_and_writes() -> None:
    """Effects are shown as rule authors write them; what changed names the rule that wrote it."""
    made = explained(PROGRAM, "thing.do", {"n": 2})
    effects = dict(made.rules[0].effects)
    assert effects["write"] == '"tally", n=4' and 'by="ga"' in effects["duty"] and "due=None" in effects["duty"]
    written = {(each.object.split("/")[0], each.field): (each.before, each.after, each.writer) for each in made.written}
    assert written[("tally", "n")] == (None, "4", "R1")
    assert written[("duty", "status")] == (None, '"open"', "")
    assert made.exact and made.judged == "2026-03-02" and made.height == 7


def test_a_breach_and_a_refusal() -> None:
    """What a rule objects to stands among its effects, with its facts."""
    breach = explained(PROGRAM, "thing.do", {"n": 9})
    assert breach.verdict["outcome"] == "irregular"
    assert breach.rules[0].effects == (("breach", '"LAW/1", on="thing", n=9'),)
    refused = explained(PROGRAM, "thing.ask", {"n": 1})
    assert refused.verdict["outcome"] == "refused" and refused.rules[0].effects == (("refuse", '"no", why="one"'),)
    assert refused.written == ()


def test_a_rule_that_fails() -> None:
    """A rule that raised is shown with its error and the statements up to there."""
    failed = explained(PROGRAM, "thing.ask", {"n": 2})
    assert failed.verdict["reasons"] == [["R1", "rule-error", {"error": "key", "line": 20}]]
    assert "KeyError" in failed.rules[0].failed and failed.rules[0].steps[-1].line == 20


def test_rules_that_were_not_asked() -> None:
    """An event that its shape or its table refuses reaches no rule, and the explanation has no statements."""
    shape = explained(PROGRAM, "thing.ask", {"unknown": 1})
    order = explained(PROGRAM, "thing.ask", {"n": 1}, stopped=True)
    for made, who in ((shape, "ledger"), (order, "table")):
        assert made.verdict["reasons"][0][0] == who
        assert [(each.rule, each.steps, each.effects) for each in made.rules] == [("R1", (), ())]


def test_parameters_are_those_of_the_day() -> None:
    """A request is judged by the day of its record, an act by the day it claims: the value and its source are shown."""
    body = (
        "def on_thing_do(event, state, env):\n    return alert('look', x=env.params['days'])\n\n\n"
        "def on_thing_ask(event, state, env):\n    return alert('look', x=env.params['days'])\n"
    )
    program = tiny(rule(body))
    early = NOW - 40 * 86_400_000
    for kind, value, source in (("thing.do", 10, "LAW 1"), ("thing.ask", 5, "LAW 2")):
        (said,) = explained(program, kind, claimed=early).rules
        (used,) = said.parameters
        assert (used.name, used.value, used.source, used.open) == ("days", value, source, "")
        assert said.effects == (("alert", f'"look", x={value}'),)


def test_the_trace_hook_is_given_back() -> None:
    """Whoever was tracing before goes on tracing."""

    def own(*_arguments: Any) -> None:
        return None

    before = sys.gettrace()
    sys.settrace(own)
    try:
        explained(PROGRAM, "thing.do", {"n": 1})
        kept = sys.gettrace()
    finally:
        sys.settrace(before)
    assert kept is own


def test_events_of_the_cases_are_traced() -> None:
    """The trace decides as the program does for each kind of event with each outcome in the cases, and effects have words."""
    program = contract_program()
    told = 0
    met: set[tuple[bytes, bytes]] = set()

    def run(call: dict[str, Any]) -> list[Any]:
        nonlocal told
        outcomes = program.run_block(call)
        for step in call["steps"]:
            kind = step[4].split(b'"kind":"')[1].split(b'"')[0] if step[0] == 0 else b""
            if kind and (kind, outcomes[-1][3][:30]) not in met:
                met.add((kind, outcomes[-1][3][:30]))
                name = _name(step)
                trace = RuleTrace(program, name)
                assert trace.run_block(call) == outcomes
                told += sum(len(describe(effect, ZONE)) for asked in trace.asked for effect in asked.said)
        return outcomes

    assert all(row.passed for row in run_cases(program, {"traced": run}))
    assert told > 100


def _name(step: list[Any]) -> str:
    return step[1] + "/" + step[4].split(b'"id":"')[1][:36].decode()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.tuples(x), max_leaves=8
    )
)
def test_any_value_is_shown(value: Any) -> None:
    """Whatever a rule returns is shown on one bounded line, effect or not."""
    assert len(show(value, ZONE)) <= 160
    op, text = describe(value, ZONE)
    assert isinstance(op, str) and isinstance(text, str)


@pytest.mark.parametrize(
    ("value", "text"), [(NOW, "2026-03-02 09:00:00"), (NOW + 5, "2026-03-02 09:00:00.005"), (7, "7")]
)
def test_moments_are_dates(value: int, text: str) -> None:
    """A moment is shown as a date of the rulebook's zone, a count as a number."""
    assert show(value, ZONE) == text
