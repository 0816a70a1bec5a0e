"""When timers fire, in which order, what their handlers see, and that no finding id comes twice."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.core import canonical
from ledger.rules.execute import timer_mark
from ledger.rules.program import Program
from tests.unit.rules.books import NOW, Ledger, contract, rule, tiny, tiny_files, verdict

HOUR = 3_600_000
DAY = 24 * HOUR


def ledger_with(body: str, **changed: str) -> Ledger:
    """A ledger under a tiny rulebook with one rule R1."""
    return Ledger(tiny(rule(body), **changed))


SOON = (
    "def on_thing_do(event, state, env):\n    return set_timer('R1', on='thing', due=env.now + event.body['n'], n=event.body['n'])\n"
    "def on_timer_R1(timer, state, env):\n    return finding('LAW/2', about=state['thing']['owner'], on='thing', n=timer.data['n'])\n"
)


def test_timer_fires_at_its_due_and_cites_it() -> None:
    """At due, not before; the finding cites due and is named by timer and due; the timer is spent."""
    ledger = ledger_with(SOON)
    thing = ledger.thing()
    _, said, outcomes = ledger.do("thing.do", {"thing": thing}, {"n": HOUR})
    key, due = f"timer/R1/thing/{thing}", NOW + HOUR
    assert said["timers"] == [[key, due]]
    assert outcomes[-1][8] == [[key, due]]
    assert ledger.scratch.advance(due - 1) == []
    fired = ledger.scratch.advance(due + 17)
    assert [outcome[:3] for outcome in fired] == [[0, key, due]]
    assert verdict(fired[0]) == {
        "findings": [
            {
                "about": "ga", "args": {"n": HOUR}, "code": "LAW/2", "due": due, "id": f"f:t~{timer_mark(key, due)}.1",
                "on": f"thing/{thing}", "rule": "R1",
            }
        ],
        "outcome": "accepted",
        "timers": [[key, None]],
    }  # fmt: skip
    assert fired[0][6] == [["finding", "law/2"], ["member", "ga"], ["thing", thing]]
    assert ledger.value(key) == {"fired": due}


def test_timer_past_due_fires_right_after_its_event() -> None:
    """One already due when set fires before the next event of the block, as an outcome of its own (SPEC R-T03)."""
    ledger = ledger_with(SOON)
    first, second = ledger.thing(), ledger.thing()
    steps = [
        ledger.event("thing.do", {"thing": thing}, {"n": n})[1]
        for thing, n in ((first, -5), (second, HOUR), (second, -7))
    ]
    outcomes = ledger.scratch.block(NOW, steps)
    assert [(outcome[0], outcome[1], outcome[2]) for outcome in outcomes] == [
        (0, None, None),
        (-1, f"timer/R1/thing/{first}", NOW - 5),
        (1, None, None),
        (2, None, None),
        (-1, f"timer/R1/thing/{second}", NOW - 7),
    ]
    assert ledger.scratch.due == {}


def test_timers_fire_in_order_of_due_and_key() -> None:
    """Order is (due, key), before any event, also among those that fall due together."""
    ledger = ledger_with(SOON)
    things = [ledger.thing() for _ in range(4)]
    for thing, n in zip(things, (HOUR + 2, HOUR, HOUR, HOUR + 1), strict=True):
        ledger.do("thing.do", {"thing": thing}, {"n": n})
    _, step = ledger.event("thing.do", {"thing": things[0]}, {"n": 5 * HOUR}, at=NOW + 2 * HOUR)
    outcomes = ledger.scratch.one_block(NOW + 2 * HOUR, [step])
    order = [outcome[1] for outcome in outcomes]
    assert order == [f"timer/R1/thing/{things[n]}" for n in (1, 2, 3, 0)] + [None]
    assert [outcome[0] for outcome in outcomes] == [0, 1, 2, 3, 4]


def test_setting_a_timer_again_replaces_it() -> None:
    """One timer per rule, object and label: a later call moves it (SPEC R-T01)."""
    ledger = ledger_with(SOON)
    thing = ledger.thing()
    ledger.do("thing.do", {"thing": thing}, {"n": HOUR})
    ledger.do("thing.do", {"thing": thing}, {"n": 2 * HOUR})
    assert ledger.scratch.due == {f"timer/R1/thing/{thing}": NOW + 2 * HOUR}
    assert [outcome[2] for outcome in ledger.scratch.advance(NOW + DAY)] == [NOW + 2 * HOUR]


def test_same_due_never_names_two_findings() -> None:
    """A timer set at or before a due it fired at is due a millisecond later, so finding ids differ."""
    ledger = ledger_with(
        SOON + "def on_thing_stop(event, state, env):\n    return settle_finding('LAW/2', about='ga', on='thing')\n"
    )
    thing = ledger.thing()
    ids = []
    for offset in range(3):
        at = NOW + offset * HOUR
        outcomes = ledger.do("thing.do", {"thing": thing}, {"n": -10 * HOUR - offset * HOUR}, at=at)[2]
        assert outcomes[-1][2] == NOW - 10 * HOUR + offset
        ids.append(verdict(outcomes[-1])["findings"][0]["id"])
        value = ledger.value(f"thing/{thing}")
        ledger.scratch.objects[f"thing/{thing}"] = canonical.encode({**value, "_open": {}})
    assert len(set(ids)) == 3


REARM = (
    "def on_thing_ask(event, state, env):\n    return set_timer('R1', on='thing', due=env.now + 1000)\n"
    "def on_timer_R1(timer, state, env):\n"
    "    return [set_timer('R1', on='thing', due=timer.due + %s), alert('look', due=timer.due)]\n"
)


def test_handler_may_set_its_timer_anew_with_a_later_due() -> None:
    """A timer that sets itself again fires again, each time at its own due, in one block or in many."""
    ledger = ledger_with(REARM % HOUR)
    thing = ledger.thing()
    ledger.do("thing.ask", {"thing": thing})
    fired = ledger.scratch.advance(NOW + 5 * HOUR)
    assert [outcome[2] for outcome in fired] == [NOW + 1000 + n * HOUR for n in range(5)]
    one = ledger_with(REARM % HOUR)
    thing = one.thing()
    one.do("thing.ask", {"thing": thing})
    together = one.scratch.one_block(NOW + 5 * HOUR, [])
    assert [outcome[2] for outcome in together] == [outcome[2] for outcome in fired]
    assert [outcome[0] for outcome in together] == [0, -1, -1, -1, -1]
    assert [outcome[3] for outcome in together] == [outcome[3] for outcome in fired]


@pytest.mark.parametrize("step", ["0", "-1"])
def test_handler_may_not_set_its_timer_earlier(step: str) -> None:
    """A due that is not later than the handler's own is a fault of the rule, and the timer is spent."""
    ledger = ledger_with(REARM % f"({step})")
    thing = ledger.thing()
    ledger.do("thing.ask", {"thing": thing})
    fired = ledger.scratch.advance(NOW + DAY)
    assert [verdict(outcome)["reasons"] for outcome in fired] == [[["R1", "rule-error", {"error": "rearm"}]]]
    assert ledger.scratch.due == {}


def test_chain_of_timers_after_one_leaf_is_cut() -> None:
    """A timer that goes on for ever is cut after a thousand, visibly, and the chain goes on."""
    ledger = ledger_with(REARM % 1)
    thing = ledger.thing()
    _, step = ledger.event("thing.ask", {"thing": thing})
    ledger.scratch.block(NOW, [step])
    outcomes = ledger.scratch.one_block(NOW + HOUR, [ledger.event("thing.stop", {"thing": thing}, at=NOW + HOUR)[1]])
    assert len(outcomes) == 1 + 1000 + 1
    assert verdict(outcomes[-2])["reasons"] == [["ledger", "rule-error", {"error": "cascade"}]]
    assert outcomes[-1][0] == 1 and outcomes[-1][4] == 1
    assert ledger.scratch.due == {}


def test_timer_that_another_clears_or_moves_in_the_same_block_has_no_leaf() -> None:
    """When an earlier timer's handler clears or moves a later one that was due too, only what still is due fires."""
    body = (
        "def on_thing_ask(event, state, env):\n"
        "    return [set_timer('R1.a', on='thing', due=env.now + 1), set_timer('R1.b', on='thing', due=env.now + 2),\n"
        "            set_timer('R1.c', on='thing', due=env.now + 3)]\n"
        "def on_timer_R1_a(timer, state, env):\n"
        "    return [clear_timer('R1.b', on='thing'), set_timer('R1.c', on='thing', due=timer.due + 50)]\n"
        "def on_timer_R1_b(timer, state, env):\n    return alert('look')\n"
        "def on_timer_R1_c(timer, state, env):\n    return alert('look', due=timer.due)\n"
    )
    ledger = ledger_with(body)
    thing = ledger.thing()
    ledger.do("thing.ask", {"thing": thing})
    outcomes = ledger.scratch.one_block(NOW + 10, [])
    assert [(outcome[0], outcome[1].split("/")[1]) for outcome in outcomes] == [(0, "R1.a")]
    assert ledger.scratch.due == {f"timer/R1.c/thing/{thing}": NOW + 51}
    assert [outcome[2] for outcome in ledger.scratch.advance(NOW + DAY)] == [NOW + 51]


def test_labelled_timers_are_separate() -> None:
    """Timers of one rule and object with other labels live side by side; clearing names the label."""
    body = (
        "def on_thing_do(event, state, env):\n    return set_timer('R1', on='thing', due=env.now + 10, label=event.member)\n"
        "def on_thing_stop(event, state, env):\n    return clear_timer('R1', on='thing', label=event.member)\n"
        "def on_timer_R1(timer, state, env):\n    return alert('look', who=timer.label, id=timer.id)\n"
    )
    ledger = ledger_with(body)
    thing = ledger.thing()
    for member in ("ga", "jy", "sw"):
        ledger.do("thing.do", {"thing": thing}, member=member)
    ledger.do("thing.stop", {"thing": thing}, member="jy")
    fired = ledger.scratch.advance(NOW + DAY)
    assert [verdict(outcome)["alerts"][0]["args"] for outcome in fired] == [
        {"id": thing, "who": "ga"},
        {"id": thing, "who": "sw"},
    ]


def test_handler_sees_implicit_objects_as_their_defaults() -> None:
    """An object that springs into being reads as its defaults in a handler too."""
    body = (
        "def on_thing_do(event, state, env):\n    return set_timer('R1', on='thing', due=env.now - 1)\n"
        "def on_timer_R1(timer, state, env):\n    return alert('look', n=state['tally']['n'])\n"
    )
    ledger = ledger_with(body)
    outcomes = ledger.do("thing.do", {"thing": ledger.thing()})[2]
    assert verdict(outcomes[-1])["alerts"][0]["args"] == {"n": 0}


def test_labelled_timer_is_due_ahead() -> None:
    """A labelled timer or duty that is past due when set is a fault of the rule: its old state is not read."""
    for call in (
        "set_timer('R1', on='thing', due=env.now, label='x')",
        "duty('R1', by='x', on='thing', due=env.now, label='x')",
    ):
        body = f"def on_thing_do(event, state, env):\n    return {call}\ndef on_timer_R1(timer, state, env):\n    return None\n"
        ledger = ledger_with(body)
        said = ledger.do("thing.do", {"thing": ledger.thing()})[1]
        assert said["reasons"] == [["R1", "rule-error", {"error": "label"}]]


def test_labelled_duty_without_a_term_leaves_its_timer_alone() -> None:
    """A labelled duty with no term touches no timer."""
    body = (
        "def on_thing_do(event, state, env):\n    return duty('R1', by='x', on='thing', due=None, label='x')\n"
        "def on_timer_R1(timer, state, env):\n    return None\n"
    )
    ledger = ledger_with(body)
    _, said, outcomes = ledger.do("thing.do", {"thing": ledger.thing()})
    assert "timers" not in said
    assert not [key for key, _ in outcomes[-1][7] if key.startswith("timer/")]


def test_handler_lives_at_its_due() -> None:
    """A handler sees its due as `env.now`, and the parameters of that day, however late the block is."""
    body = (
        "def on_thing_do(event, state, env):\n    return set_timer('R1', on='thing', due=env.now - 172800000)\n"
        "def on_timer_R1(timer, state, env):\n    return alert('look', now=env.now, days=env.params['days'])\n"
    )
    ledger = ledger_with(body)
    outcomes = ledger.do("thing.do", {"thing": ledger.thing()})[2]
    assert verdict(outcomes[-1])["alerts"][0]["args"] == {"days": 10, "now": NOW - 2 * DAY}


def test_failing_handler_is_irregular_and_the_timer_is_spent() -> None:
    """A handler that raises leaves an irregular record with rule and line; the chain goes on."""
    body = (
        "def on_thing_do(event, state, env):\n    return duty('R1', by='jy', on='thing', due=env.now + 1)\n"
        "def on_timer_R1(timer, state, env):\n    return state['thing']['nothing']\n"
    )
    ledger = ledger_with(body)
    thing = ledger.thing()
    ledger.do("thing.do", {"thing": thing})
    fired = ledger.scratch.advance(NOW + 1)
    assert fired[0][4] == 2
    assert verdict(fired[0])["reasons"] == [["R1", "rule-error", {"error": "key", "line": 7}]]
    assert ledger.value(f"duty/R1/thing/{thing}")["status"] == "overdue"
    assert ledger.scratch.due == {}


def later(ledger: Ledger, calendars: dict[str, bytes]) -> Ledger:
    """The same ledger after another set of calendars has come into force."""
    program = Program.compile(ledger.program.files, calendars)
    ledger.program = ledger.scratch.program = program
    ledger.scratch.run = program.run_block
    return ledger


WORKDAYS = (
    "def on_thing_do(event, state, env):\n"
    "    return duty('R1', by='jy', on='thing', due=working_days(env, event.body['n']))\n"
    "def on_timer_R1(timer, state, env):\n    return finding('LAW/2', about='jy', on='thing')\n"
)


def calendar(year: int, off: str, worked: str = "") -> bytes:
    """A calendar file."""
    return f'{{"off":[{off}],"source":"x","worked":[{worked}],"year":{year},"zone":"+08:00"}}'.encode()


def test_provisional_term_says_so_and_is_recomputed_when_the_calendar_comes() -> None:
    """Beyond the calendars a due is provisional; when it comes and the calendar reaches now, the longer term holds."""
    ledger = ledger_with(WORKDAYS)
    thing = ledger.thing()
    december = NOW + 301 * DAY  # Monday 2026-12-28
    _, said, _ = ledger.do("thing.do", {"thing": thing}, {"n": 5}, at=december)
    assert said["duties"][0]["provisional"] is True
    naive = said["duties"][0]["due"]
    assert ledger.value(f"timer/R1/thing/{thing}")["provisional"] is True
    calendars = contract()[1] | {"calendars/2027.json": calendar(2027, '"2027-01-01","2027-01-04"')}
    fired = later(ledger, calendars).scratch.advance(naive)
    moved = naive + 2 * DAY
    assert verdict(fired[0]) == {"outcome": "accepted", "timers": [[f"timer/R1/thing/{thing}", moved]]}
    assert ledger.value(f"duty/R1/thing/{thing}")["due"] == moved
    assert "provisional" not in ledger.value(f"timer/R1/thing/{thing}")
    fired = ledger.scratch.advance(moved)
    found = verdict(fired[0])["findings"][0]
    assert found["due"] == moved and "provisional" not in found


def test_provisional_term_without_a_calendar_fires_as_provisional() -> None:
    """When no calendar has come, the timer fires at the provisional due, and the finding says so."""
    ledger = ledger_with(WORKDAYS)
    thing = ledger.thing()
    _, said, _ = ledger.do("thing.do", {"thing": thing}, {"n": 5}, at=NOW + 301 * DAY)
    fired = ledger.scratch.advance(said["duties"][0]["due"])
    found = verdict(fired[0])["findings"][0]
    assert found["provisional"] is True


def test_amended_calendar_lengthens_a_running_term_and_never_shortens_one() -> None:
    """A new holiday moves a running due; a holiday that is taken back does not."""
    ledger = ledger_with(WORKDAYS)
    thing = ledger.thing()
    due = ledger.do("thing.do", {"thing": thing}, {"n": 3})[1]["duties"][0]["due"]
    amended: dict[str, bytes] = dict(contract()[1])
    amended["calendars/2026.json"] = amended["calendars/2026.json"].replace(
        b'"2026-04-06"],', b'"2026-04-06"],"2026-03-04",'
    )
    fired = later(ledger, amended).scratch.advance(due)
    assert verdict(fired[0])["timers"] == [[f"timer/R1/thing/{thing}", due + DAY]]
    back = contract()[1]
    fired = later(ledger, back).scratch.advance(due + DAY)
    assert verdict(fired[0])["findings"][0]["due"] == due + DAY


def test_timer_of_a_retired_rule_is_cleared() -> None:
    """When a rulebook no longer handles a timer, it is spent without a word."""
    ledger = ledger_with(SOON)
    thing = ledger.thing()
    ledger.do("thing.do", {"thing": thing}, {"n": HOUR})
    program = Program.compile(tiny_files(), contract()[1])
    ledger.program = ledger.scratch.program = program
    ledger.scratch.run = program.run_block
    fired = ledger.scratch.advance(NOW + DAY)
    assert verdict(fired[0]) == {"outcome": "accepted", "timers": [[f"timer/R1/thing/{thing}", None]]}
    assert ledger.scratch.due == {}


def test_spent_timer_plans_nothing() -> None:
    """The object that a spent timer leaves behind names no keys."""
    program: Any = tiny()
    assert program.plan_timer({"fired": 5}) == ()
