"""Laws of the straight path: over generated histories, expressions and budgets it decides as the rules' functions do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.adapters.runtime.monty import Monty
from ledger.errors import MalformedError, UnavailableError
from ledger.limits import RULE_STEPS_MAX
from ledger.rules import rulecode
from ledger.rules.check import check_rule
from ledger.rules.emit import Emitter
from ledger.rules.execute import load_program
from ledger.rules.program import Outcome, Program
from ledger.rules.scratch import Scratch
from tests.property.rules_histories import Action, events, histories
from tests.property.test_rules_language import expressions
from tests.unit.rules.books import NOW, OBJECTS, Ledger, contract, contract_program, tiny_files

pytestmark = pytest.mark.filterwarnings("ignore::SyntaxWarning")

RULE = '''"""R1 式 · Expression. Law 1."""


def on_thing_do(event, state, env):
    n = event.body["n"]
    s = event.body["s"]
    xs = [3, 1, 2]
    d = {{"b": 2, "a": "x"}}
    x = {first}
    if x == n:
        return write("tally", n={second}, x=x)
    return ended(event, state, x)


def ended(event, state, x):
    n = state["tally"]["n"]
    s = event.body["s"]
    xs = state["tally"]["n"]
    d = {{"c": x}}
    effects = [write("tally", n={second})]
    if n == 0:
        effects.append(write("tally", x=x))
    return effects
'''
FIELDS = OBJECTS.replace("[tally.fields]", '[tally.fields]\nx = { zh = "值", en = "Value" }')
BUDGETS = st.one_of(st.just(RULE_STEPS_MAX), st.integers(20, 90))


def without_path(program: Program) -> dict[str, Any]:
    """The program, deciding everything by the rules' functions."""
    namespace = load_program(program.text)
    namespace["_STRAIGHT"] = False
    return namespace


def run(namespace: dict[str, Any], call: dict[str, Any]) -> list[Outcome]:
    """The outcomes of a call."""
    outcomes: list[Outcome] = namespace["_run_block"](call["time"], call["objects"], call["steps"])
    return outcomes


PROGRAM = contract_program()
FUNCTIONS = without_path(PROGRAM)


@settings(max_examples=20)
@given(histories)
def test_histories_are_decided_alike(history: list[Action]) -> None:
    """Every generated history of the full rulebook has the same outcomes with the straight path and without it."""
    one, other = Scratch(PROGRAM, PROGRAM.run_block), Scratch(PROGRAM, lambda call: run(FUNCTIONS, call))
    for time, step in events(history):
        assert one.block(time, [step]) == other.block(time, [step])


def programs(first: str, second: str, steps: int, rule: str = RULE) -> Program | None:
    """A tiny rulebook around two expressions; None where the language refuses them."""
    source = rule.format(first=first, second=second)
    try:
        check_rule("rules/R1.py", source.encode())
        return Program.compile(tiny_files({"R1": source}, objects=FIELDS), contract()[1], steps)
    except MalformedError:
        return None


def calls(program: Program) -> dict[str, Any]:
    """Two events in one block, the second on what the first wrote."""
    ledger = Ledger(program)
    thing = ledger.thing()
    steps = [ledger.event("thing.do", {"thing": thing}, {"n": n, "s": "ab"})[1] for n in (5, 0)]
    call: dict[str, Any] = ledger.scratch.call(NOW, [], steps)
    return call


@settings(max_examples=60)
@given(expressions, expressions, BUDGETS)
def test_expressions_are_decided_alike(first: str, second: str, steps: int) -> None:
    """Whatever two expressions compute, ask for or spend, verdicts and writes are the same with the path and without it."""
    program = programs(first, second, steps)
    if program is not None:
        call = calls(program)
        assert program.run_block(call) == run(without_path(program), call)


HELPER = '''"""R1 式 · Expression. Law 1."""


def on_thing_do(event, state, env):
    return alert("look", x=made(event, state, event.body["n"], event.body["s"], [3, 1, 2]))


def made(event, state, n, s, xs):
    d = {{"b": 2, "a": "x"}}
    x = {first}
    y = {second}
    return [x, y]
'''


@settings(max_examples=60)
@given(expressions, expressions, BUDGETS)
def test_functions_are_decided_alike_with_every_guard_called(first: str, second: str, steps: int) -> None:
    """A function with its guards written out has the value, the failure and the cost of one that calls every guard."""
    program = programs(first, second, steps, HELPER)
    if program is not None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(rulecode, "Guarded", Emitter)
            plain = programs(first, second, steps, HELPER)
        assert plain is not None
        one, other = load_program(program.text), load_program(plain.text)
        call = calls(program)
        assert run(one, call) == run(other, call)
        assert one["_METER"] == other["_METER"]


@pytest.mark.slow
@settings(max_examples=15)
@given(expressions, expressions)
def test_the_path_is_the_same_in_both_runtimes(first: str, second: str) -> None:
    """The straight path of a generated rule decides in monty as it does in CPython."""
    program = programs(first, second, RULE_STEPS_MAX)
    if program is None:
        return
    try:
        monty = Monty(program)
    except UnavailableError as error:
        pytest.skip(f"no second runtime: {error.message}")
    with monty:
        assert monty.run_block(calls(program)) == program.run_block(calls(program))
