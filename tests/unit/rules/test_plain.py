"""Rule files run as they are, with the verdicts of the compiled program."""

from __future__ import annotations

from ledger.rules.cases import run_cases
from ledger.rules.plain import Plain
from tests.unit.rules.books import Ledger, contract_program, rule, tiny


def test_plain_rules_give_the_verdicts_of_the_program() -> None:
    """Every call of every case has the same outcomes with uncompiled rules."""
    program = contract_program()
    plain = Plain(program)
    compared = 0

    def both(call: dict[str, object]) -> list[object]:
        nonlocal compared
        outcomes = program.run_block(call)
        assert plain.run_block(call) == outcomes
        compared += 1
        return outcomes

    assert all(row.passed for row in run_cases(program, {"both": both}))
    assert compared > 200


def test_plain_failure_names_the_same_line() -> None:
    """A rule that raises is a verdict with the same rule and line, own functions included."""
    source = (
        "def on_thing_do(event, state, env):\n    return deep(event.body['n'])\n\n\ndef deep(x):\n    return [1][x]\n"
    )
    program = tiny(rule(source))
    said = []
    for run in (program.run_block, Plain(program, "/somewhere").run_block):
        ledger = Ledger(program, run)
        said.append(ledger.do("thing.do", {"thing": ledger.thing()}, {"n": 7})[1])
    assert said[0] == said[1]
    assert said[0]["reasons"] == [["R1", "rule-error", {"error": "index", "line": 9}]]


LINES = """def on_thing_do(event, state, env):
    n = event.body["n"]
    if n == 1:
        return alert(
            "look",
            x={}["a"],
        )
    elif n == 2:
        for x in [
            1,
            {}["b"],
        ]:
            n += 1
    elif {}["c"]:
        return None
    else:
        match n:
            case 4:
                n = [
                    {}["d"],
                ]
    return {}["e"]
"""


def test_line_is_where_the_statement_begins() -> None:
    """Compiled and plain name the line on which the failing statement begins, also inside `elif`, loops and cases."""
    program = tiny(rule(LINES))
    for n in range(1, 6):
        said = []
        for run in (program.run_block, Plain(program).run_block):
            ledger = Ledger(program, run)
            said.append(ledger.do("thing.do", {"thing": ledger.thing()}, {"n": n})[1]["reasons"])
        assert said[0] == said[1], n
