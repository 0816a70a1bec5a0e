"""A human decides a finding: its object moves, its slot is closed, and the next breach is a new one."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.core import canonical
from ledger.errors import MalformedError
from ledger.rules.cases import parse_members, run_cases
from ledger.rules.plain import Plain
from ledger.rules.program import Program
from tests.unit.rules.books import KINDS, NOW, OBJECTS, TABLES, Ledger, contract, rule, tiny, tiny_files

DECIDE = """
["finding.decide"]
type = "request"
title = { zh = "认定", en = "Decide" }
["finding.decide".refs]
finding = {}
thing = { optional = true }
"""
FINDING = """
[finding]
title = { zh = "线索", en = "Finding" }
[finding.fields]
status = { zh = "状态", en = "Status" }
note = { zh = "注", en = "Note" }
"""
MOVES = """
[finding]
[finding.moves.raised]
"finding.decide" = "confirmed"
"""
RULE = """def on_thing_do(event, state, env):
    return breach('LAW/1', on='thing', what='x')


def on_thing_ask(event, state, env):
    return duty('R1', by=event.member, on='thing', due=working_days(env, 1))


def on_timer_R1(timer, state, env):
    return finding('LAW/2', about='ga', on='thing')


def on_finding_decide(event, state, env):
    return [write('finding', note=state['finding']['code']), close_finding('finding')]
"""


def book(**changed: str) -> Program:
    """A tiny rulebook whose findings can be decided."""
    documents = {"kinds": KINDS + DECIDE, "objects": OBJECTS + FINDING, "tables": TABLES + MOVES, **changed}
    return tiny(rule(changed.pop("rule", RULE)), **documents)


def breached(ledger: Ledger) -> tuple[str, str]:
    """(thing, id of the finding that an act out of bounds left on it)."""
    thing = ledger.thing()
    _, said, _ = ledger.do("thing.do", {"thing": thing}, {"n": 1})
    return thing, said["findings"][0]["id"]


def test_decided_finding_moves_and_frees_its_slot() -> None:
    """After the decision the finding has its new status, and a further breach is not a repeat but a finding of its own."""
    ledger = Ledger(book())
    thing, found = breached(ledger)
    _, again, _ = ledger.do("thing.do", {"thing": thing}, {"n": 2})
    assert again["findings"][0]["id"] == found and again["findings"][0]["repeats"] == 2
    _, said, _ = ledger.do("finding.decide", {"finding": found, "thing": thing})
    assert said == {"outcome": "accepted"}
    value = ledger.value(f"finding/{found}")
    assert value is not None and value["status"] == "confirmed" and value["note"] == "LAW/1"
    _, later, _ = ledger.do("thing.do", {"thing": thing}, {"n": 3})
    assert later["findings"][0]["id"] != found and "repeats" not in later["findings"][0]


def test_finding_of_a_timer_can_be_decided() -> None:
    """The id of a finding that a deadline raised is a ref like any other."""
    ledger = Ledger(book())
    thing = ledger.thing()
    ledger.do("thing.ask", {"thing": thing})
    fired = [canonical.parse(outcome[3]) for outcome in ledger.scratch.advance(NOW + 3 * 86_400_000)]
    found = fired[0]["findings"][0]["id"]
    assert found.startswith("f:t~")
    _, said, _ = ledger.do("finding.decide", {"finding": found, "thing": thing}, at=NOW + 3 * 86_400_000)
    assert said["outcome"] == "accepted"
    thing_value, finding_value = ledger.value(f"thing/{thing}"), ledger.value(f"finding/{found}")
    assert thing_value is not None and "LAW/2|ga" not in thing_value["_open"]
    assert finding_value is not None and finding_value["status"] == "confirmed"


@pytest.mark.parametrize("named", [None, "other"])
def test_finding_whose_object_is_not_named_is_not_closed(named: str | None) -> None:
    """What was not planned is not touched: without the object in the refs, the rule that closes is in error."""
    program = book()
    for run in (program.run_block, Plain(program).run_block):
        ledger = Ledger(program, run)
        thing, found = breached(ledger)
        refs: dict[str, Any] = {"finding": found}
        if named is not None:
            refs["thing"] = ledger.thing()
        _, said, _ = ledger.do("finding.decide", refs)
        assert said["outcome"] == "refused"
        assert [(reason[0], reason[1], reason[2]["error"]) for reason in said["reasons"]] == [
            ("R1", "rule-error", "target")
        ]
        value = ledger.value(f"thing/{thing}")
        assert value is not None and len(value["_open"]) == 1


def test_decision_out_of_order_is_refused() -> None:
    """A finding is decided once."""
    ledger = Ledger(book())
    thing, found = breached(ledger)
    ledger.do("finding.decide", {"finding": found, "thing": thing})
    _, said, _ = ledger.do("finding.decide", {"finding": found, "thing": thing})
    assert said["outcome"] == "refused" and said["reasons"][0][:2] == ["table", "order"]


@pytest.mark.parametrize("field", ["about", "code", "held", "id", "on", "rule"])
def test_rulebook_cannot_declare_what_the_ledger_writes_of_a_finding(field: str) -> None:
    """The facts of a finding are the ledger's; a rulebook adds fields, it does not change these."""
    entry = f'{field} = {{ zh = "一", en = "One" }}\n'
    with pytest.raises(MalformedError, match="bad name of a field"):
        book(objects=OBJECTS + FINDING + entry)


def test_close_finding_takes_a_finding_only() -> None:
    """Any other object is no finding: the rule is in error, and nothing happens."""
    source = "def on_thing_ask(event, state, env):\n    return close_finding('thing')\n"
    ledger = Ledger(tiny(rule(source)))
    _, said, _ = ledger.do("thing.ask", {"thing": ledger.thing()})
    assert said["outcome"] == "refused" and said["reasons"][0][2]["error"] == "target"


MEMBERS = """
[members.ga]
roles = ["authority"]
attributes = { territory = "510100" }
"""
READS = {"R2": '"""R2 规则 · Rule. Law 1."""\n\n\ndef on_thing_do(event, state, env):\n    member = state["self"]\n'
         "    if member is None or member['attributes'].get('territory') != '510100':\n        return alert('look')\n"}  # fmt: skip
CASES = """
[[case]]
name = "the registry is read"
type = "accept"
[[case.step]]
at = "2026-03-02 09:00"
by = "ga"
do = "thing.make"
as = "thing"
[[case.step]]
at = "2026-03-02 09:00"
by = "ga"
do = "thing.do"
refs = { thing = "$thing" }
alerts = []
[[case.step]]
at = "2026-03-02 09:00"
by = "jy"
do = "thing.do"
refs = { thing = "$thing" }
alerts = ["R2 look"]
"""


def members_book(members: str) -> Program:
    """A tiny rulebook whose rule R2 reads the registry entry of the author."""
    kinds = KINDS.replace('state = { tally = "tally/{member}" }', 'state = { self = "member/{member}" }')
    files = tiny_files(READS, kinds=kinds)
    files["cases/common.toml"] = members.encode()
    files["cases/R2.toml"] = CASES.encode()
    return Program.compile(files, contract()[1])


def test_cases_state_what_the_registry_says() -> None:
    """Rules read members that the cases declare; one that is not declared reads as absent."""
    rows = run_cases(members_book(MEMBERS), {"compiled": members_book(MEMBERS).run_block})
    assert [row.message for row in rows if row.rule == "R2" and row.type == "accept"] == [""]
    assert run_cases(members_book(""), {"compiled": members_book("").run_block})[0].passed is False


def test_rule_does_not_touch_the_registry() -> None:
    """A finding on a member's entry would change it: refused when the rulebook is compiled."""
    kinds = KINDS.replace('state = { tally = "tally/{member}" }', 'state = { self = "member/{member}" }')
    with pytest.raises(MalformedError, match="only read"):
        tiny(rule("def on_thing_do(event, state, env):\n    return finding('LAW/2', on='self')\n"), kinds=kinds)


def test_member_of_the_cases_has_known_entries_only() -> None:
    """A misspelt entry is refused and named."""
    with pytest.raises(MalformedError, match="roles and attributes"):
        parse_members(members_book("[members.ga]\nlevel = 'city'\n"))
