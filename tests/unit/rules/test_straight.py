"""The straight path of a kind: it is taken where rules only set fields, and its outcome is that of the rules' functions."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.limits import RULE_STEPS_MAX
from ledger.rules.execute import load_program
from ledger.rules.program import Outcome, Program
from tests.unit.rules.books import KINDS, NOW, OBJECTS, Ledger, contract, rule, tiny_files

FIELDS = OBJECTS.replace(
    'n = { zh = "数", en = "Count", default = 0 }',
    'n = { zh = "数", en = "Count", default = 0 }\n'
    'm = { zh = "图", en = "Map", default = {} }\n'
    'x = { zh = "值", en = "Value" }',
)


class Both:
    """A program decided on the straight path and without it; both must say the same."""

    def __init__(self, program: Program) -> None:
        self._with, self._without = load_program(program.text), load_program(program.text)
        self._without["_STRAIGHT"] = False
        self.taken = 0
        done = self._with["_done"]

        def counted(*values: Any) -> Any:
            outcome = done(*values)
            self.taken += outcome is not None
            return outcome

        self._with["_done"] = counted

    def run_block(self, call: Any) -> list[Outcome]:
        """The outcomes of a call."""
        self.taken = 0
        outcomes: list[Outcome] = self._with["_run_block"](call["time"], call["objects"], call["steps"])
        assert outcomes == self._without["_run_block"](call["time"], call["objects"], call["steps"])
        return outcomes


def compiled(rules: dict[str, str], steps: int = RULE_STEPS_MAX) -> Program:
    """A tiny rulebook whose tally has a number, a map and a free field."""
    return Program.compile(tiny_files(rules, objects=FIELDS), contract()[1], steps)


def decided(body: str, *, n: int = 5, name: str = "R1", steps: int = RULE_STEPS_MAX) -> tuple[Any, Any, bool]:
    """(verdict, tally, whether the straight path was taken) of a `thing.do` under one rule."""
    program = compiled(rule(body, name), steps)
    both = Both(program)
    ledger = Ledger(program, both.run_block)
    thing = ledger.thing()
    _, said, _ = ledger.do("thing.do", {"thing": thing}, {"n": n, "s": "ab"})
    return said, ledger.value("tally/ga"), both.taken == 1


HEAD = "def on_thing_do(event, state, env):\n    n = event.body['n']\n    tally = state['tally']\n"

PLAIN = {
    "one write": "    return write('tally', n=tally['n'] + n)\n",
    "nothing": "    return None\n",
    "falls off the end": "    if n > 100:\n        return alert('look')\n",
    "list of writes": "    return [write('tally', n=n), None, write('tally', x='a')]\n",
    "a name for a write": "    set = write('tally', n=n)\n    if n > 3:\n        return set\n    return [set, alert('look')]\n",
    "a name for each way": "    if n > 3:\n        set = write('tally', n=1)\n    else:\n        set = write('tally', n=2)\n    return [set]\n",
    "a list that grows": "    effects = [write('tally', n=n)]\n    if n > 3:\n        effects.append(write('tally', x=n))\n    return effects\n",
    "a list that is empty": "    effects = []\n    return effects\n",
    "values of no known type": "    return write('tally', n=tally['n'], x=tally['m'])\n",
    "a map with a name": "    key = month(event.time)\n    return write('tally', m={key: n})\n",
    "a map that grows": "    m = tally['m']\n    made = {'a': 1}\n    made['b'] = n\n    return write('tally', m=made, x=sorted(m))\n",
    "loops": "    total = 0\n    for i in range(4):\n        if i == 2:\n            continue\n        total += i\n    return write('tally', n=total)\n",
    "return in a loop": "    for i in range(4):\n        if i == 2:\n            return write('tally', n=i)\n    return None\n",
    "match": "    match n:\n        case 1 | 2:\n            return alert('look')\n        case 5:\n            return write('tally', n=9)\n    return None\n",
    "lists": "    xs = [3, 1, 2]\n    ys = [x + 1 for x in xs if x in (1, 2)]\n    return write('tally', n=max(ys) - min(xs), x=xs[0] in ys)\n",
    "texts": "    s = event.body['s']\n    return write('tally', x=f'{s}-{n}', n=len(s) * 2)\n",
    "either": "    return write('tally', n=n) if n > 3 else alert('look')\n",
}

LEAVING = {
    "an alert": "    return [write('tally', n=n), alert('look')]\n",
    "a list in a list": "    return [[write('tally', n=n)]]\n",
    "a list put into a list": "    effects = []\n    effects.append([write('tally', n=n)])\n    return effects\n",
    "no effect": "    return n\n",
    "a failure": "    return write('tally', n=tally['nothing'])\n",
    "a number too large": "    return write('tally', n=9007199254740991 + n)\n",
    "a text that is no number": "    return write('tally', n=event.body['s'] + n)\n",
    "an effect as a value": "    other = write('tally', n=1)\n    return write('tally', x=other)\n",
    "no such object": "    return write('other', label=n)\n",
    "an object too large": "    return write('tally', x=['0123456789' * 40] * 11)\n",
    "an unknown place": "    return write('tally', n=[1, 2][n])\n",
    "not ASCII": "    key = event.body['s'] + '字'\n    return write('tally', m={key: 1})\n",
}


@pytest.mark.parametrize("name", sorted(PLAIN))
def test_rules_that_set_fields_take_the_path(name: str) -> None:
    """An accepted event whose rules only set fields is decided on the straight path, as the functions decide it."""
    said, _, taken = decided(HEAD + PLAIN[name])
    assert said == {"outcome": "accepted"}
    assert taken


@pytest.mark.parametrize("name", sorted(LEAVING))
def test_anything_else_leaves_the_path(name: str) -> None:
    """Whatever is more than setting fields, or fails, is decided by the rules' functions, with their verdict."""
    objects = {"no such object": '\n[other.fields]\nlabel = { zh = "名", en = "Label" }\n'}
    body = HEAD + LEAVING[name]
    program = Program.compile(tiny_files(rule(body), objects=FIELDS + objects.get(name, "")), contract()[1])
    both = Both(program)
    ledger = Ledger(program, both.run_block)
    _, said, _ = ledger.do("thing.do", {"thing": ledger.thing()}, {"n": 5, "s": "ab"})
    assert len(said) > 1
    assert both.taken == 0


def test_helpers_at_the_end_are_part_of_the_path() -> None:
    """A function that a handler ends by calling is written out, with its own names; another is called."""
    body = (
        "def on_thing_do(event, state, env):\n    n = event.body['n']\n    return settle(event, state, n + 1)\n"
        "def settle(event, state, n):\n    m = twice(n)\n    if m > 100:\n        return alert('look')\n"
        "    return write('tally', n=m + event.body['n'])\n"
        "def twice(n):\n    return n * 2\n"
    )
    said, tally, taken = decided(body)
    assert (said, taken) == ({"outcome": "accepted"}, True)
    assert tally["n"] == 17
    assert len(decided(body, n=70)[0]) > 1


def test_a_failure_on_the_path_names_its_line() -> None:
    """A function that fails on the path leaves nothing behind: the line in the verdict is the one where it failed."""
    body = (
        "def on_thing_do(event, state, env):\n    x = far(event.body['n'])\n    return write('tally', n=x)\n"
        "def far(n):\n    xs = [1]\n    return xs[n]\n"
    )
    said, _, taken = decided(body)
    assert not taken
    assert said["reasons"] == [["R1", "rule-error", {"error": "index", "line": 9}]]


STEPPED = (
    "def on_thing_do(event, state, env):\n    xs = [i * 2 for i in range(6)]\n    n = 0\n"
    "    for x in xs:\n        n = n + x\n    return finish(event, n, xs)\n"
    "def finish(event, n, xs):\n    return write('tally', n=n, x=all([x in xs for x in xs]))\n"
)


@pytest.mark.parametrize("steps", range(6, 90, 4))
def test_a_budget_ends_where_it_ends(steps: int) -> None:
    """Under any step budget the path decides as the functions do: it is taken only where the steps certainly suffice."""
    said, _, taken = decided(STEPPED, steps=steps)
    budget = [reason[:2] for reason in said.get("reasons", [])] == [["R1", "rule-error"]]
    assert budget != (said["outcome"] == "accepted")
    assert not (taken and budget)


def test_a_budget_that_suffices_takes_the_path() -> None:
    """With steps to spare the same rule is decided on the path."""
    assert decided(STEPPED)[2]


def test_two_names_of_one_object_are_one_object() -> None:
    """What rules write under two names of the same object ends up in it together."""
    rules = (
        rule("def on_thing_do(event, state, env):\n    return write('thing', note='a')\n")
        | rule("def on_thing_do(event, state, env):\n    return write('tally', n=state['again']['n'] + 1)\n", "R2")
        | rule("def on_thing_do(event, state, env):\n    return [write('again', x=2), write('thing', value=3)]\n", "R3")
    )
    kinds = KINDS.replace('tally = "tally/{member}"', 'tally = "tally/{member}", again = "tally/{member}"')
    files = tiny_files(rules, objects=FIELDS, kinds=kinds)
    del files["rules/M1.py"]  # which writes the value, too
    program = Program.compile(files, contract()[1])
    both = Both(program)
    ledger = Ledger(program, both.run_block)
    thing = ledger.thing()
    _, said, outcomes = ledger.do("thing.do", {"thing": thing}, {})
    assert both.taken == 1
    assert said == {"outcome": "accepted"}
    assert [key for key, _ in outcomes[0][7]] == [f"thing/{thing}", "tally/ga"]
    assert ledger.value("tally/ga") == {"m": {}, "n": 1, "x": 2}
    assert ledger.value(f"thing/{thing}")["value"] == 3  # type: ignore[index]


def test_an_intent_stays_off_the_path() -> None:
    """An event that only asks writes its ticket, which no path does."""
    program = compiled(rule(HEAD + PLAIN["one write"]))
    both = Both(program)
    ledger = Ledger(program, both.run_block)
    thing = ledger.thing()
    name, step = ledger.event("thing.do", {"thing": thing}, {"n": 1, "s": "a"}, intent=True)
    outcomes = ledger.scratch.block(NOW, [step])
    assert both.taken == 0
    assert [key for key, _ in outcomes[0][7]] == [f"ticket/{name}"]


ENDING = {
    "a timer": (
        "set_timer('R1', on='thing', due=env.now + 86400000)",
        "clear_timer('R1', on='thing')",
    ),
    "a duty": (
        "duty('R1', by=event.member, on='thing', due=env.now + 86400000)",
        "discharge('R1', on='thing')",
    ),
}


@pytest.mark.parametrize("what", sorted(ENDING))
def test_what_ends_nothing_stays_on_the_path(what: str) -> None:
    """A timer that a rule may clear, or a duty that it may discharge, costs the path only where there is one."""
    begin, end = ENDING[what]
    body = (
        f"def on_thing_do(event, state, env):\n    n = event.body['n']\n    if n == 1:\n        return {begin}\n"
        f"    return [write('tally', n=n), {end} if n > 3 else None]\n"
        "def on_timer_R1(timer, state, env):\n    return None\n"
    )
    program = compiled(rule(body))
    both = Both(program)
    ledger = Ledger(program, both.run_block)
    thing = ledger.thing()
    taken = []
    for n in (5, 2, 1, 2, 5, 5):
        ledger.do("thing.do", {"thing": thing}, {"n": n, "s": "ab"})
        taken.append(both.taken)
    assert taken == [1, 1, 0, 1, 0, 1]
    assert ledger.value("tally/ga") == {"m": {}, "n": 5}
