"""What becomes of an event: gate, tables, effects, findings, duties, tickets, and the bounds of what a leaf may say."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.rules.books import NOW, Ledger, rule, tiny

DAY = 86_400_000


def ledger_with(body: str, **changed: str) -> Ledger:
    """A ledger under a tiny rulebook with one rule R1."""
    return Ledger(tiny(rule(body), **changed))


def test_accepted_event_says_nothing() -> None:
    """An event that no rule objects to has the shortest verdict, and writes what the rules say."""
    ledger = Ledger(tiny())
    name, said, outcomes = ledger.do("thing.make", body={"n": 7})
    assert said == {"outcome": "accepted"}
    assert outcomes[0][:3] == [0, None, None]
    assert outcomes[0][4:7] == [1, False, []]
    assert ledger.value(f"thing/{name}") == {"note": "", "owner": "ga", "status": "new", "value": 7}


def test_one_refusal_refuses_and_nothing_is_written() -> None:
    """A request is refused as soon as one rule refuses; every reason is listed, no other write happens (SPEC R-R03)."""
    books = rule("def on_thing_ask(event, state, env):\n    return refuse('no', n=event.body['n'])\n", "R1")
    books |= rule("def on_thing_ask(event, state, env):\n    return write('thing', note='x')\n", "R2")
    books |= rule(
        "def on_thing_ask(event, state, env):\n    return [alert('look'), breach('LAW/1', on='thing')]\n", "R3"
    )
    ledger = Ledger(tiny(books))
    thing = ledger.thing()
    _, said, outcomes = ledger.do("thing.ask", {"thing": thing}, {"n": 3})
    assert said["outcome"] == "refused"
    assert said["reasons"] == [["R1", "no", {"n": 3}], ["R3", "LAW/1", {}]]
    assert said["alerts"] == [{"code": "look", "rule": "R3"}]
    assert "findings" not in said
    assert outcomes[-1][4:6] == [0, True]
    assert outcomes[-1][7] == []
    assert ledger.value(f"thing/{thing}")["status"] == "new"


def test_refused_request_keeps_findings_and_duties() -> None:
    """A refused event changes no state but findings, and the duties (with their timers) of the rule that refuses."""
    ledger = ledger_with(
        "def on_thing_ask(event, state, env):\n"
        "    return [refuse('no'), finding('LAW/2', about='sw', on='thing'), write('thing', note='x'),\n"
        "            duty('R1', by='sw', on='thing', due=working_days(env, 1)), set_timer('R1.t', on='thing', due=hours(env, 1))]\n"
        "def on_timer_R1(timer, state, env):\n    return None\n"
        "def on_timer_R1_t(timer, state, env):\n    return None\n"
    )
    thing = ledger.thing()
    name, said, outcomes = ledger.do("thing.ask", {"thing": thing})
    assert said["outcome"] == "refused"
    assert [found["id"] for found in said["findings"]] == [f"f:{name}.1"]
    assert [duty["status"] for duty in said["duties"]] == ["open"]
    assert sorted(key.split("/")[0] for key, _ in outcomes[-1][7]) == ["duty", "finding", "thing", "timer"]
    assert ledger.value(f"thing/{thing}")["note"] == ""
    assert ledger.value(f"thing/{thing}")["_open"] == {"LAW/2|sw": [f"f:{name}.1", 1]}
    assert outcomes[-1][6] == [["finding", "law/2"], ["member", "sw"], ["thing", thing]]


def test_duty_of_a_rule_that_did_not_refuse_falls_with_the_event() -> None:
    """A rule that took the event for granted obliges nobody when another rule refuses it."""
    books = rule("def on_thing_ask(event, state, env):\n    return refuse('no')\n", "R1")
    books |= rule("def on_thing_ask(event, state, env):\n    return duty('R2', by='sw', on='thing', due=None)\n", "R2")
    ledger = Ledger(tiny(books))
    _, said, outcomes = ledger.do("thing.ask", {"thing": ledger.thing()})
    assert set(said) == {"outcome", "reasons"}
    assert outcomes[-1][7] == []


BREACH = "def on_thing_do(event, state, env):\n    return [breach('LAW/1', on='thing', n=1), write('tally', n=state['tally']['n'] + 1)]\n"


def test_breach_of_an_act_is_irregular_with_finding_and_writes() -> None:
    """What happened is recorded whatever it was: reason, finding, streams, and the count."""
    ledger = ledger_with(BREACH)
    thing = ledger.thing()
    name, said, outcomes = ledger.do("thing.do", {"thing": thing}, member="jy")
    assert said["outcome"] == "irregular"
    assert said["reasons"] == [["R1", "LAW/1", {"n": 1}]]
    assert said["findings"] == [
        {"about": "jy", "args": {"n": 1}, "code": "LAW/1", "id": f"f:{name}.1", "on": f"thing/{thing}", "rule": "R1"}
    ]
    assert outcomes[-1][4] == 2
    assert outcomes[-1][5] is False
    assert outcomes[-1][6] == [["finding", "law/1"], ["member", "jy"], ["thing", thing]]
    assert ledger.value("tally/jy") == {"n": 1}
    assert ledger.value(f"finding/f:{name}.1") == {**said["findings"][0], "at": NOW, "status": "raised"}


def test_ref_that_names_nothing_sends_the_record_to_the_refused_streams() -> None:
    """An optional ref may name what does not exist: the event is accepted, its record joins the refused twins."""
    ledger = Ledger(tiny())
    thing = ledger.thing()
    assert ledger.do("thing.do", {"thing": thing})[2][-1][4:6] == [1, False]
    assert ledger.do("thing.do", {"thing": thing, "other": "ga/nothing"})[2][-1][4:6] == [1, True]


def test_repeats_count_on_the_open_finding() -> None:
    """One finding is open per code, member and object; a repeat cites the first id and counts, by member (SPEC R-R05)."""
    ledger = ledger_with(BREACH)
    thing, second = ledger.thing(), ledger.thing()
    first, _, _ = ledger.do("thing.do", {"thing": thing}, member="jy")
    _, again, outcomes = ledger.do("thing.do", {"thing": thing}, member="jy")
    assert again["findings"][0]["id"] == f"f:{first}.1"
    assert again["findings"][0]["repeats"] == 2
    assert not [key for key, _ in outcomes[-1][7] if key.startswith("finding/")]
    assert ledger.do("thing.do", {"thing": thing}, member="jy")[1]["findings"][0]["repeats"] == 3
    assert "repeats" not in ledger.do("thing.do", {"thing": thing}, member="sw")[1]["findings"][0]
    assert "repeats" not in ledger.do("thing.do", {"thing": second}, member="jy")[1]["findings"][0]


def test_settled_finding_may_be_raised_anew() -> None:
    """After a human has decided, the next breach is a finding of its own."""
    body = (
        BREACH + "def on_thing_stop(event, state, env):\n    return settle_finding('LAW/1', about='jy', on='thing')\n"
    )
    ledger = ledger_with(body)
    thing = ledger.thing()
    ledger.do("thing.do", {"thing": thing}, member="jy")
    ledger.do("thing.stop", {"thing": thing})
    assert ledger.value(f"thing/{thing}")["_open"] == {}
    name, said, _ = ledger.do("thing.do", {"thing": thing}, member="jy")
    assert said["findings"][0]["id"] == f"f:{name}.1"


def test_register_of_open_findings_is_bounded() -> None:
    """Beyond sixteen open findings of one object each breach is a finding of its own, and the object stays small."""
    ledger = ledger_with(BREACH)
    thing = ledger.thing()
    for number in range(20):
        ledger.do("thing.do", {"thing": thing}, member=f"m{number}")
    assert len(ledger.value(f"thing/{thing}")["_open"]) == 16
    assert "repeats" not in ledger.do("thing.do", {"thing": thing}, member="m19")[1]["findings"][0]
    assert ledger.do("thing.do", {"thing": thing}, member="m0")[1]["findings"][0]["repeats"] == 2


def test_same_breach_twice_in_one_event_counts_once() -> None:
    """Two rules that see the same breach in one event make one finding and two reasons."""
    ledger = Ledger(
        tiny(
            rule(BREACH, "R1")
            | rule("def on_thing_do(event, state, env):\n    return breach('LAW/1', on='thing')\n", "R2")
        )
    )
    _, said, _ = ledger.do("thing.do", {"thing": ledger.thing()})
    assert [reason[0] for reason in said["reasons"]] == ["R1", "R2"]
    assert len(said["findings"]) == 1


def test_finding_is_not_raised_before_its_law() -> None:
    """Conduct before a code's first day has no finding; the breach stays a reason."""
    ledger = ledger_with(BREACH)
    thing = ledger.thing()
    old = NOW - 300 * DAY  # before 2025-08-01
    _, said, _ = ledger.do("thing.do", {"thing": thing}, claimed=old)
    assert said["outcome"] == "irregular"
    assert "findings" not in said


def test_act_out_of_order_is_irregular_and_not_moved() -> None:
    """An act in a status that has no edge for it is irregular, with the finding the table names; its status stays."""
    ledger = ledger_with("def on_thing_do(event, state, env):\n    return write('tally', n=1)\n")
    thing = ledger.thing()
    ledger.do("thing.stop", {"thing": thing})
    _, said, _ = ledger.do("thing.do", {"thing": thing})
    assert said["outcome"] == "irregular"
    assert said["reasons"] == [["table", "order", {"object": f"thing/{thing}", "status": "stopped"}]]
    assert [(found["code"], found["rule"]) for found in said["findings"]] == [("LAW/1", "table")]
    assert ledger.value("tally/ga") == {"n": 1}
    assert ledger.value(f"thing/{thing}")["status"] == "stopped"
    _, said, _ = ledger.do("thing.stop", {"thing": thing})
    assert "findings" not in said


def test_request_out_of_order_is_refused() -> None:
    """A request in a status that has no edge for it is refused."""
    ledger = Ledger(tiny())
    thing = ledger.thing()
    ledger.do("thing.ask", {"thing": thing})
    _, said, _ = ledger.do("thing.ask", {"thing": thing})
    assert said["outcome"] == "refused"
    assert said["reasons"] == [["table", "order", {"object": f"thing/{thing}", "status": "asked"}]]


def test_rules_are_not_asked_about_a_request_out_of_order() -> None:
    """A rule may rely on the status that its table demands of a request; an act is shown to the rules whatever its status."""
    body = "def on_thing_{kind}(event, state, env):\n    return alert('look')\n"
    ledger = ledger_with(body.format(kind="ask") + body.format(kind="do"))
    thing = ledger.thing()
    ledger.do("thing.stop", {"thing": thing})
    assert "alerts" not in ledger.do("thing.ask", {"thing": thing})[1]
    assert "alerts" in ledger.do("thing.do", {"thing": thing})[1]


def test_signal_moves_after_the_kind() -> None:
    """A signal follows the edge of the status that the event itself led to; one without an edge is a fault of the rule."""
    ledger = ledger_with("def on_thing_ask(event, state, env):\n    return move('thing', 'late')\n")
    thing = ledger.thing()
    assert ledger.do("thing.ask", {"thing": thing})[1] == {"outcome": "accepted"}
    assert ledger.value(f"thing/{thing}")["status"] == "late"
    ledger = ledger_with("def on_thing_stop(event, state, env):\n    return move('thing', 'late')\n")
    _, said, _ = ledger.do("thing.stop", {"thing": ledger.thing()})
    assert said["reasons"] == [["R1", "rule-error", {"error": "move"}]]


def test_intent_runs_the_rules_and_writes_a_ticket_only() -> None:
    """Asked beforehand, a breach refuses, nothing is found or written; accepted, a ticket is all there is (SPEC R-R08)."""
    ledger = ledger_with(BREACH)
    thing = ledger.thing()
    _, said, outcomes = ledger.do("thing.do", {"thing": thing}, intent=True)
    assert said == {"outcome": "refused", "reasons": [["R1", "LAW/1", {"n": 1}]]}
    assert outcomes[-1][7] == []
    ledger = ledger_with("def on_thing_do(event, state, env):\n    return [write('tally', n=1), alert('look')]\n")
    thing = ledger.thing()
    name, said, outcomes = ledger.do("thing.do", {"thing": thing}, intent=True)
    assert said == {"outcome": "accepted"}
    assert [key for key, _ in outcomes[-1][7]] == [f"ticket/{name}"]
    assert ledger.value(f"ticket/{name}") == {"at": NOW, "kind": "thing.do", "refs": {"thing": thing}}


def test_ticket_is_cited_once_by_what_it_was_given_for() -> None:
    """The act cites its ticket; another kind, member or refs disagree; a second use is an objection of the ledger."""
    ledger = Ledger(tiny())
    thing, other = ledger.thing(), ledger.thing()
    ticket, _, _ = ledger.do("thing.do", {"thing": thing}, intent=True)
    for refs, how in (
        ({"thing": other, "ticket": ticket}, {}),
        ({"thing": thing, "ticket": ticket}, {"member": "jy"}),
        ({"thing": thing, "ticket": "ga/none"}, {}),
        ({"thing": thing, "ticket": [ticket]}, {}),
        ({"thing": thing, "ticket": ticket}, {"intent": True}),
    ):
        said = ledger.do("thing.do", refs, **how)[1]
        assert said["outcome"] == "refused", refs
        assert said["reasons"][0][1] == "shape"
    assert ledger.do("thing.stop", {"thing": thing, "ticket": ticket})[1]["reasons"][0][2]["what"] == "disagrees"
    name, said, _ = ledger.do("thing.do", {"thing": thing, "ticket": ticket})
    assert said == {"outcome": "accepted"}
    assert ledger.value(f"ticket/{ticket}")["used"] == name
    _, said, _ = ledger.do("thing.do", {"thing": thing, "ticket": ticket})
    assert said == {"outcome": "irregular", "reasons": [["ledger", "ticket-used", {"by": name}]]}


def test_import_sets_no_timer_duty_or_finding() -> None:
    """Imported history is recorded and judged, and leaves no timers, duties or findings."""
    ledger = ledger_with(
        "def on_thing_load(event, state, env):\n"
        "    return [breach('LAW/1', on='thing'), duty('R1', by='ga', on='thing', due=hours(env, 1)),\n"
        "            set_timer('R1.t', on='thing', due=hours(env, 1)), discharge('R1', on='thing'), alert('look')]\n"
        "def on_timer_R1(timer, state, env):\n    return None\n"
        "def on_timer_R1_t(timer, state, env):\n    return None\n"
    )
    thing = ledger.thing()
    _, said, outcomes = ledger.do("thing.load", {"thing": thing})
    assert said["outcome"] == "irregular"
    assert set(said) == {"outcome", "reasons", "alerts"}
    assert outcomes[-1][7] == [] and outcomes[-1][8] == []


DUTY = (
    "def on_thing_ask(event, state, env):\n"
    "    return duty('R1', by='jy', on='thing', due=working_days(env, 1), kinds=['thing.do'])\n"
    "def on_timer_R1(timer, state, env):\n"
    "    return finding('LAW/2', about='jy', on='thing')\n"
)


def test_duty_is_discharged_by_its_obligor_only() -> None:
    """An event of a discharging kind by the obligor ends duty and timer; by another member it does not (SPEC R-R06)."""
    ledger = ledger_with(DUTY)
    thing = ledger.thing()
    ledger.do("thing.ask", {"thing": thing})
    key = f"R1/thing/{thing}"
    duty = ledger.value(f"duty/{key}")
    assert duty["status"] == "open" and duty["kinds"] == ["thing.do"] and duty["since"] == NOW
    assert ledger.value(f"timer/{key}")["keys"] == [f"thing/{thing}"]
    assert "duties" not in ledger.do("thing.do", {"thing": thing}, member="sw")[1]
    _, said, outcomes = ledger.do("thing.do", {"thing": thing}, member="jy", at=NOW + 1000)
    assert said["duties"] == [
        {"by": "jy", "due": duty["due"], "on": f"thing/{thing}", "rule": "R1", "status": "discharged"}
    ]
    assert said["timers"] == [[f"timer/{key}", None]]
    assert outcomes[-1][8] == [[f"timer/{key}", None]]
    assert ledger.value(f"duty/{key}")["status"] == "discharged"
    assert ledger.value(f"timer/{key}") is None
    assert "duties" not in ledger.do("thing.do", {"thing": thing}, member="jy", at=NOW + 2000)[1]


def test_late_discharge_cures_the_finding_of_its_deadline() -> None:
    """After its deadline a duty is overdue; done late, it is late, and the finding it raised is flagged cured, not removed."""
    ledger = ledger_with(DUTY)
    thing = ledger.thing()
    ledger.do("thing.ask", {"thing": thing})
    due = ledger.value(f"duty/R1/thing/{thing}")["due"]
    fired = ledger.scratch.advance(due)
    assert [outcome[2] for outcome in fired] == [due]
    assert ledger.value(f"duty/R1/thing/{thing}")["status"] == "overdue"
    found = ledger.value(f"thing/{thing}")["_open"]["LAW/2|jy"]
    _, said, _ = ledger.do("thing.do", {"thing": thing}, member="jy", at=due + 5, claimed=due - 1)
    assert said["duties"] == [
        {
            "by": "jy", "claimed_in_time": True, "cured": [found[0]], "due": due, "late": True, "on": f"thing/{thing}",
            "rule": "R1", "status": "discharged",
        }
    ]  # fmt: skip
    assert ledger.value(f"thing/{thing}")["_open"]["LAW/2|jy"] == [*found, "cured"]


def test_duty_without_a_term_has_no_timer_and_replaces_one() -> None:
    """`due=None` is a duty with no term set by law; set over a duty with a term, it ends that term's timer."""
    ledger = ledger_with(
        "def on_thing_ask(event, state, env):\n    return duty('R1', by='jy', on='thing', due=hours(env, 1))\n"
        "def on_thing_do(event, state, env):\n    return duty('R1', by='jy', on='thing', due=None)\n"
        "def on_timer_R1(timer, state, env):\n    return alert('look')\n"
    )
    thing = ledger.thing()
    ledger.do("thing.ask", {"thing": thing})
    _, said, _ = ledger.do("thing.do", {"thing": thing})
    assert said["duties"][0]["due"] is None
    assert said["timers"] == [[f"timer/R1/thing/{thing}", None]]
    assert ledger.scratch.advance(NOW + DAY) == []


def test_labelled_duties_are_discharged_each_by_its_member() -> None:
    """A duty labelled by its obligor is one of several on the same object, and ends when that member acts."""
    ledger = ledger_with(
        "def on_thing_ask(event, state, env):\n"
        "    return [duty('R1', by=m, on='thing', label=m, due=hours(env, 5), kinds=['thing.do']) for m in ['jy', 'sw']]\n"
        "def on_timer_R1(timer, state, env):\n    return finding('LAW/2', about=timer.label, on='thing')\n"
    )
    thing = ledger.thing()
    ledger.do("thing.ask", {"thing": thing})
    _, said, _ = ledger.do("thing.do", {"thing": thing}, member="sw")
    assert [(duty["label"], duty["status"]) for duty in said["duties"]] == [("sw", "discharged")]
    fired = ledger.scratch.advance(NOW + DAY)
    assert [outcome[1] for outcome in fired] == [f"timer/R1/thing/{thing}#jy"]
    assert list(ledger.value(f"thing/{thing}")["_open"]) == ["LAW/2|jy"]


def test_discharge_whoever_did_it() -> None:
    """`discharge` ends a duty without asking who its obligor is."""
    ledger = ledger_with(DUTY + "def on_thing_stop(event, state, env):\n    return discharge('R1', on='thing')\n")
    thing = ledger.thing()
    ledger.do("thing.ask", {"thing": thing})
    _, said, _ = ledger.do("thing.stop", {"thing": thing}, member="sw")
    assert said["duties"][0]["status"] == "discharged"


NONSENSE = [
    "return 'text'",
    "return 3",
    "return {'op': 'write'}",
    "return [[write('tally', n=1)]]",
    "return working_days(env, 3)",
    "return write('tally', n=alert('look'))",
    "return write('tally', n=working_days(env, 3))",
    "return write('tally', n={'é': 1})",
    "return breach('LAW/1', about=3, on='thing')",
    "return breach('LAW/1', about='No Member', on='thing')",
    "return finding('LAW/1', about='jy', on='thing', held=['jy'])",
    "return alert('look', text={'a': {'b': {'c': {'d': {'e': {'f': {'g': {'h': 1}}}}}}}})",
    "return set_timer('R1', on='thing', due=None)",
    "return set_timer('R1', on='thing', due='soon')",
    "return duty('R1', by='', on='thing', due=None)",
    "return duty('R1', by=3, on='thing', due=None)",
]  # fmt: skip


def nonsense(body: str) -> str:
    """A rule that returns nonsense, with the handler that a timer or duty needs."""
    source = f"def on_thing_do(event, state, env):\n    {body}\n"
    if "on='thing', due" in body:
        source += "def on_timer_R1(timer, state, env):\n    return None\n"
    return source


@pytest.mark.parametrize("body", NONSENSE)
def test_nonsense_of_a_rule_is_its_error(body: str) -> None:
    """What is no effect, or an effect with odd arguments, is a fault of that rule: the act is irregular, nothing written."""
    ledger = ledger_with(nonsense(body))
    _, said, outcomes = ledger.do("thing.do", {"thing": ledger.thing()})
    assert said["outcome"] == "irregular"
    assert said["reasons"][0][:2] == ["R1", "rule-error"]
    assert outcomes[-1][7] == []


def test_effects_of_a_rule_with_one_bad_effect_are_dropped() -> None:
    """One bad effect drops all effects of its rule, and none of another rule's."""
    books = rule("def on_thing_do(event, state, env):\n    return [write('tally', n=1), 'x']\n", "R1")
    books |= rule("def on_thing_do(event, state, env):\n    return write('thing', note='kept')\n", "R2")
    ledger = Ledger(tiny(books))
    thing = ledger.thing()
    ledger.do("thing.do", {"thing": thing})
    assert ledger.value("tally/ga") is None
    assert ledger.value(f"thing/{thing}")["note"] == "kept"


def test_none_in_a_list_of_effects_is_nothing() -> None:
    """A list may hold None, so that effects can be conditional."""
    ledger = ledger_with("def on_thing_do(event, state, env):\n    return [None, write('tally', n=1), None]\n")
    assert ledger.do("thing.do", {"thing": ledger.thing()})[1] == {"outcome": "accepted"}


def test_rules_see_the_state_before_the_event_and_writes_of_the_one_before() -> None:
    """Rules of one event see the same state; the next event of the block sees what this one wrote."""
    ledger = ledger_with("def on_thing_do(event, state, env):\n    return write('tally', n=state['tally']['n'] + 1)\n")
    thing = ledger.thing()
    steps = [ledger.event("thing.do", {"thing": thing})[1] for _ in range(5)]
    outcomes = ledger.scratch.block(NOW, steps)
    assert [outcome[7][0][1] for outcome in outcomes] == [b'{"n":%d}' % n for n in range(1, 6)]


def test_write_is_a_write() -> None:
    """A write that changes nothing is written all the same: whether it is skipped would depend on what was read before."""
    ledger = ledger_with("def on_thing_do(event, state, env):\n    return write('tally', n=1)\n")
    thing = ledger.thing()
    for _ in range(2):
        assert [key for key, _ in ledger.do("thing.do", {"thing": thing})[2][-1][7]] == ["tally/ga"]


def test_parameters_of_acts_are_those_of_the_claimed_date() -> None:
    """Requests are judged by the parameters of the record date, acts by those of the claimed date."""
    body = "def on_thing_do(event, state, env):\n    return alert('look', days=env.params['days'])\n"
    body += "def on_thing_ask(event, state, env):\n    return alert('look', days=env.params['days'])\n"
    ledger = ledger_with(body)
    thing = ledger.thing()
    before = NOW - 5 * DAY

    def days(kind: str, **how: Any) -> int:
        said = ledger.do(kind, {"thing": thing}, **how)[1]
        return int(said["alerts"][0]["args"]["days"])

    assert days("thing.do") == 5
    assert days("thing.do", claimed=before) == 10
    assert days("thing.ask", claimed=before) == 5


def test_claimed_time_never_later_than_recorded() -> None:
    """A claim up to ten minutes ahead counts as the record time; beyond that the event is refused for its shape."""
    ledger = ledger_with("def on_thing_do(event, state, env):\n    return alert('look', late=env.now - event.time)\n")
    thing = ledger.thing()
    said = ledger.do("thing.do", {"thing": thing}, claimed=NOW + 600_000)[1]
    assert said["alerts"][0]["args"] == {"late": 0}
    assert ledger.do("thing.do", {"thing": thing}, claimed=NOW - 7)[1]["alerts"][0]["args"] == {"late": 7}
    said = ledger.do("thing.do", {"thing": thing}, claimed=NOW + 600_001)[1]
    assert said == {"outcome": "refused", "reasons": [["ledger", "shape", {"field": "time", "what": "time"}]]}


def test_signer_is_who_signed() -> None:
    """Rules see member, key and key roles of the signature."""
    ledger = ledger_with(
        "def on_thing_do(event, state, env):\n"
        "    return alert('look', who=[env.signer.member, env.signer.key, env.signer.roles, event.member, event.name, event.intent])\n"
    )
    name, said, _ = ledger.do("thing.do", {"thing": ledger.thing()}, key="k1", roles=["system"])
    assert said["alerts"][0]["args"]["who"] == ["ga", "k1", ["system"], "ga", name, False]


def test_verdict_beyond_its_bound_undoes_the_leaf() -> None:
    """Effects that would make a leaf too long leave a short verdict, and nothing is written."""
    # A line feed takes two bytes of a verdict, U+0001 six: thirty-one long facts fit with one and not with the other.
    body = (
        "def on_thing_do(event, state, env):\n"
        "    return [write('thing', note='x')] + [alert('look', n=n, text=event.body['s']) for n in range(31)]\n"
    )
    ledger = ledger_with(body)
    thing = ledger.thing()
    said = ledger.do("thing.do", {"thing": thing}, {"s": "\n" * 230})[1]
    assert len(said["alerts"]) == 31
    _, said, outcomes = ledger.do("thing.do", {"thing": thing}, {"s": "\x01" * 230})
    assert said == {
        "outcome": "irregular",
        "reasons": [["ledger", "rule-error", {"error": "size", "object": "verdict"}]],
    }
    assert outcomes[-1][7] == []
