"""Known escapes of Python sandboxes never become a program; what costs too much ends by its budget, the same everywhere."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from ledger.errors import MalformedError
from ledger.rules.check import check_rule
from ledger.rules.execute import load_program
from tests.unit.rules.books import Ledger, contract_program, rule, tiny

TITLE = '"""R1 规则 · Rule. Law 1."""\n'
ESCAPES = tomllib.loads((Path(__file__).parent / "escapes.toml").read_text("utf-8"))["escape"]


@pytest.mark.parametrize("escape", ESCAPES, ids=lambda escape: escape["name"])
def test_known_escape_is_refused_when_compiled(escape: dict[str, str]) -> None:
    """Each known escape is refused by the check, before any program exists."""
    source = escape["raw"] if "raw" in escape else escape["code"]
    if not escape.get("file"):
        body = "\n".join("    " + line for line in source.strip("\n").split("\n"))
        source = f"def on_thing_make(event, state, env):\n{body}\n"
    with pytest.raises(MalformedError) as caught:
        check_rule("rules/R1.py", (TITLE + source).encode())
    assert caught.value.code == "rule"


def test_program_sees_no_more_of_python_than_it_needs() -> None:
    """The namespace of a program has no import, no file, no attribute access and no evaluation."""
    namespace = load_program(contract_program().text)
    names = set(namespace["__builtins__"])
    assert not names & {
        "__import__",
        "open",
        "eval",
        "exec",
        "compile",
        "getattr",
        "setattr",
        "vars",
        "globals",
        "print",
    }
    text = contract_program().text
    assert "import " not in text.replace("# prelude", "")
    assert "__" not in text


# What a rule may write and yet costs too much: each ends as `rule-error`, by the step budget or a guard.
ATTACKS = {
    "nested loops": (
        "budget",
        "def on_thing_do(event, state, env):\n"
        "    n = 0\n"
        "    for a in range(1000):\n"
        "        for b in range(1000):\n"
        "            n += 1\n"
        "    return write('tally', n=n)\n",
    ),
    "loops in own functions": (
        "budget",
        "def on_thing_do(event, state, env):\n    return write('tally', n=outer())\n"
        "def outer():\n    return sum([inner() for x in range(1000)])\n"
        "def inner():\n    return sum([y for y in range(1000)])\n",
    ),
    "comprehension of two loops": (
        "budget",
        "def on_thing_do(event, state, env):\n    return write('tally', n=len([a for a in range(1000) for b in range(1000)]))\n",
    ),
    "comprehension of a thousand and one": (
        "size",
        "def on_thing_do(event, state, env):\n    return write('tally', n=len([a for a in range(50) for b in range(50)]))\n",
    ),
    "doubling string": (
        "size",
        "def on_thing_do(event, state, env):\n    s = 'ab'\n    for x in range(64):\n        s = s + s\n    return write('tally', n=len(s))\n",
    ),
    "doubling string by format": (
        "size",
        "def on_thing_do(event, state, env):\n    s = 'ab'\n    for x in range(64):\n        s = f'{s}{s}'\n    return write('tally', n=1)\n",
    ),
    "joining": (
        "size",
        "def on_thing_do(event, state, env):\n    s = 'x' * 4000\n    return write('tally', n=len(s.join([s, s, s])))\n",
    ),
    "wide characters": (
        "size",
        "def on_thing_do(event, state, env):\n    return write('tally', n=len('字' * 2000))\n",
    ),
    "repetition": ("size", "def on_thing_do(event, state, env):\n    return write('tally', n=len('a' * 5000))\n"),
    "repetition of nothing": ("size", "def on_thing_do(event, state, env):\n    return write('tally', n=len([] * 900000))\n"),
    "list repetition": ("size", "def on_thing_do(event, state, env):\n    return write('tally', n=len([1] * 2000))\n"),
    "list doubling": (
        "size",
        "def on_thing_do(event, state, env):\n    x = [1]\n    for y in range(64):\n        x = x + x\n    return write('tally', n=len(x))\n",
    ),
    "squaring": (
        "number",
        "def on_thing_do(event, state, env):\n    x = 3\n    for y in range(64):\n        x = x * x\n    return write('tally', n=x)\n",
    ),
    "adding beyond": (
        "number",
        "def on_thing_do(event, state, env):\n    return write('tally', n=9007199254740991 + 1)\n",
    ),
    "range too long": ("size", "def on_thing_do(event, state, env):\n    return write('tally', n=len(range(2000)))\n"),
    "division by zero": ("number", "def on_thing_do(event, state, env):\n    return write('tally', n=1 // 0)\n"),
    "remainder by zero": ("number", "def on_thing_do(event, state, env):\n    return write('tally', n=1 % 0)\n"),
    "nesting without end": (
        "size",
        "def on_thing_do(event, state, env):\n    x = []\n    for y in range(100):\n        x = [x]\n    return write('tally', n=x)\n",
    ),
    "a list in itself": (
        "size",
        "def on_thing_do(event, state, env):\n    x = []\n    x.append(x)\n    return write('tally', n=x)\n",
    ),
    "a list in itself compared": (
        "size",
        "def on_thing_do(event, state, env):\n    x = []\n    x.append(x)\n    y = [1]\n    return write('tally', n=x == y)\n",
    ),
    "shared lists counted as a tree": (
        "budget",
        "def on_thing_do(event, state, env):\n    x = [1] * 1000\n    y = [x] * 1000\n    z = [y] * 1000\n    return write('tally', n=z)\n",
    ),
    "comparing shared lists": (
        "budget",
        "def on_thing_do(event, state, env):\n    x = [[]] * 1000\n    y = [x] * 1000\n    z = [y] * 1000\n    return write('tally', n=z == y)\n",
    ),
    "appending for ever": (
        "size",
        "def on_thing_do(event, state, env):\n    x = []\n    for y in range(1000):\n        for z in range(20):\n            x.append(z)\n    return write('tally', n=len(x))\n",
    ),
    "appending to what is walked": (
        "size",
        "def on_thing_do(event, state, env):\n    x = [y for y in range(600)]\n    for z in x:\n        x.append(z)\n    return write('tally', n=len(x))\n",
    ),
    "an object above its size": (
        "size",
        "def on_thing_do(event, state, env):\n    return [write('tally', n='a' * 4000), write('thing', note='b' * 4090)]\n",
    ),
    "facts above their size": (
        "size",
        "def on_thing_do(event, state, env):\n    return alert('look', text='a' * 300)\n",
    ),
    "too many effects": (
        "effect",
        "def on_thing_do(event, state, env):\n    return [alert('look', n=n) for n in range(140)]\n",
    ),
    "searching a long list again and again": (
        "budget",
        "def on_thing_do(event, state, env):\n    x = range(1000)\n    n = 0\n    for y in range(1000):\n        if y in x:\n            n += 1\n    return write('tally', n=n)\n",
    ),
    "sorting again and again": (
        "budget",
        "def on_thing_do(event, state, env):\n    x = range(1000)\n    for y in range(1000):\n        z = sorted(x)\n    return write('tally', n=1)\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_on_resources_is_a_rule_error(name: str) -> None:
    """What grows or runs without end ends as `rule-error` (SPEC R-R02); the act stays on record, without writes."""
    error, source = ATTACKS[name]
    ledger = Ledger(tiny(rule(source)))
    thing = ledger.thing()
    _, said, outcomes = ledger.do("thing.do", {"thing": thing})
    assert said["outcome"] == "irregular"
    reason = said["reasons"][0]
    assert reason[0] in ("R1", "ledger")
    assert reason[1] == "rule-error"
    assert reason[2]["error"] == error
    assert all(key != "tally/ga" for key, _ in outcomes[-1][7])


def test_request_with_a_failing_rule_is_refused() -> None:
    """On a request a failing rule means refused, with rule and line."""
    ledger = Ledger(
        tiny(rule("def on_thing_ask(event, state, env):\n    return write('thing', note=event.body['n'] + 'x')\n"))
    )
    thing = ledger.thing()
    _, said, _ = ledger.do("thing.ask", {"thing": thing}, {"n": 1})
    assert said == {"outcome": "refused", "reasons": [["R1", "rule-error", {"error": "type", "line": 5}]]}


def test_line_of_an_own_function_is_named() -> None:
    """The line of a failure is that of the innermost function of the rule."""
    source = "def on_thing_do(event, state, env):\n    return deep(1)\n\n\ndef deep(x):\n    return {}['a']\n"
    ledger = Ledger(tiny(rule(source)))
    _, said, _ = ledger.do("thing.do", {"thing": ledger.thing()})
    assert said["reasons"] == [["R1", "rule-error", {"error": "key", "line": 9}]]
