"""What a rule's text shows of its values lets guards be left out, and neither a verdict nor a step depends on that."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from ledger.rules import rulecode
from ledger.rules.compiler import Compiler
from ledger.rules.emit import Emitter
from ledger.rules.execute import load_program
from ledger.rules.scalars import Scalars
from tests.unit.rules.books import contract_program, rule, tiny
from tests.unit.rules.case_calls import HOW, calls_of, vary

BODY = """DAY = 86400000
KNOWN = ["a", "b"]


def on_thing_do(event, state, env):
    thing = state["thing"]
    today = day(event.time)
    late = today - 3
    count = 0
    for each in thing["list"]:
        count += 1
    owner = thing["owner"]
    if {test}:
        return alert("look", x=1)
"""
CERTAIN = (
    ("today > late", "(today > late)"),
    ("count >= 5", "(count >= 5)"),
    ("late * DAY > 1", "_number(late * _R1_c_DAY)"),
    ("today // 7 == 1", "(today // 7)"),
    ("event.member == owner", '(event["member"] == owner)'),
    ("event.kind in KNOWN", '(event["kind"] in _R1_c_KNOWN)'),
    ("max(today, late) > 1", "(today if today >= late else late)"),
    ("count < owner", "(count < owner if type(owner) is int else _less(count, owner))"),
)
UNCERTAIN = (
    ("owner > each", "_more(owner, each)"),
    ("owner == event.member", '_eq(owner, event["member"])'),
    ("owner in KNOWN", "_in(owner, _R1_c_KNOWN)"),
    ("owner * 2 > owner", "_mul(owner, 2)"),
    ("thing[owner] == 1", "_at(thing, owner)"),
    ("today // count == 1", "_div(today, count)"),
    ('thing["n"] + 1 > owner', '_add(thing["n"], 1)'),
)


@pytest.mark.parametrize(("test", "text"), CERTAIN)
def test_no_guard_where_the_types_are_certain(test: str, text: str) -> None:
    """Numbers that are counted, times and what the ledger has checked are compared and added without a guard."""
    assert text in tiny(rule(BODY.replace("{test}", test))).text


@pytest.mark.parametrize(("test", "text"), UNCERTAIN)
def test_a_guard_where_they_are_not(test: str, text: str) -> None:
    """What comes out of state may be anything; so may a name that is something else on another way through."""
    assert text in tiny(rule(BODY.replace("{test}", test))).text


def test_only_values_that_may_be_large_are_looked_at() -> None:
    """`write` is the effect itself; only fields of which the text shows no scalar are bounded when it runs."""
    certain = tiny(rule("def on_thing_do(event, state, env):\n    return write('tally', n=day(event.time))\n")).text
    assert 'return ("write", "tally", None, {"n": ((event["time"] + _ZONE_MS) // _DAY)})' in certain
    loose = tiny(
        rule("def on_thing_do(event, state, env):\n    return write('tally', n=state['thing']['list'])\n")
    ).text
    assert 'return _written(("write", "tally", None, {"n": state["thing"]["list"]}), ["n"])' in loose


@pytest.mark.parametrize("where", ["everywhere", "in functions"])
def test_steps_are_the_same_with_every_guard(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """The program with all guards has the same outcomes, and leaves as many steps after each handler, on all cases."""
    program = contract_program()
    if where == "everywhere":
        monkeypatch.setattr(Scalars, "of", lambda _self, _node: None)
    else:
        monkeypatch.setattr(rulecode, "Guarded", Emitter)
    guarded = Compiler(program.book).program()
    assert guarded != program.text
    ours, theirs = _Metered(program.text), _Metered(guarded)
    calls, random = calls_of(program), Random(11)
    for number, call in enumerate(calls[::2]):
        for each in (call, vary(call, random.choice(calls), number % 8, random.choice(HOW))):
            assert ours.run(each) == theirs.run(each)
    assert ours.handled > 5_000


class _Metered:
    """A program that tells the steps that were left after each handler."""

    def __init__(self, text: str) -> None:
        self._names = load_program(text)
        self._left: list[tuple[str, int]] = []
        self.handled = 0
        for name, found in list(self._names.items()):
            if callable(found) and "_on_" in name and not name.startswith(("_k_", "_p_")):
                self._names[name] = self._watch(name, found)
        for name, entry in self._names["_TIMERS"].items():
            entry[1] = self._watch(name, entry[1])

    def run(self, call: dict[str, Any]) -> tuple[Any, list[tuple[str, int]]]:
        """Outcomes, and the steps left after each handler."""
        self._left.clear()
        outcomes = self._names["_run_block"](call["time"], call["objects"], call["steps"])
        self.handled += len(self._left)
        return outcomes, list(self._left)

    def _watch(self, name: str, function: Any) -> Any:
        def watched(*arguments: Any) -> Any:
            result = function(*arguments)
            self._left.append((name, self._names["_METER"][0]))
            return result

        return watched
