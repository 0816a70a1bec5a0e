"""Refs that are lists: defaults of implicit objects, timers on one of them, and which object a creating kind starts."""

from __future__ import annotations

from tests.unit.rules.books import KINDS, NOW, TABLES, Ledger, rule, tiny, verdict

HOUR = 3_600_000

LISTED = KINDS + (
    '["thing.join"]\ntype = "act"\ntitle = { zh = "合", en = "Join" }\n["thing.join".refs]\n'
    "tally = { many = 4, exists = false }\n"
    '["thing.fork"]\ntype = "request"\ntitle = { zh = "分", en = "Fork" }\ncreates = "thing"\n'
    'state = { origin = "thing/{body.origin}" }\n["thing.fork".body]\n'
    'origin = { type = "code", title = { zh = "源", en = "Origin" } }\n'
)

ON_EACH = (
    "def on_thing_join(event, state, env):\n"
    "    made = [write('tally', one, n=state['tally'][one]['n'] + 1) for one in event.refs['tally']]\n"
    "    return made + [set_timer('R1', on='tally', of=one, due=env.now + 5) for one in event.refs['tally']]\n"
    "def on_timer_R1(timer, state, env):\n"
    "    return alert('look', id=timer.id, n=state['tally']['n'])\n"
)


def test_implicit_objects_of_a_list_read_as_their_defaults() -> None:
    """One that was never written is no None."""
    ledger = Ledger(tiny(rule(ON_EACH), kinds=LISTED))
    for wanted in (1, 2):
        said = ledger.do("thing.join", {"tally": ["a", "b"]})[1]
        assert said["outcome"] == "accepted"
        assert ledger.value("tally/a") == {"n": wanted}


def test_timer_on_one_of_a_list_is_given_that_one() -> None:
    """Each item has its own timer, and the handler reads the item that the timer is on."""
    ledger = Ledger(tiny(rule(ON_EACH), kinds=LISTED))
    ledger.do("thing.join", {"tally": ["a", "b"]})
    ledger.do("thing.join", {"tally": ["b"]}, at=NOW + 1)
    assert ledger.scratch.advance(NOW + 4) == []
    fired = ledger.scratch.advance(NOW + HOUR)
    assert [(o[1], verdict(o)["alerts"][0]["args"]) for o in fired] == [
        ("timer/R1/tally/a", {"id": "a", "n": 1}),
        ("timer/R1/tally/b", {"id": "b", "n": 2}),
    ]


def test_timer_on_one_of_a_list_may_fire_right_after_its_event() -> None:
    """What its handler reads was planned with the event."""
    ledger = Ledger(tiny(rule(ON_EACH.replace("env.now + 5", "env.now - 5")), kinds=LISTED))
    outcomes = ledger.do("thing.join", {"tally": ["a", "b"]})[2]
    assert [verdict(o)["alerts"][0]["args"] for o in outcomes[1:]] == [{"id": "a", "n": 1}, {"id": "b", "n": 1}]


def test_kind_that_creates_starts_what_it_creates_alone() -> None:
    """Another object of the same kind that the event reads is left where it is."""
    tables = TABLES.replace('"thing.make" = "new"', '"thing.make" = "new"\n"thing.fork" = "new"')
    body = "def on_thing_fork(event, state, env):\n    return write('thing', note='forked')\n"
    ledger = Ledger(tiny(rule(body), kinds=LISTED, tables=tables))
    origin = ledger.thing()
    assert ledger.do("thing.ask", {"thing": origin})[1]["outcome"] == "accepted"
    name, said, _ = ledger.do("thing.fork", None, {"origin": origin})
    assert said["outcome"] == "accepted", said
    assert (ledger.value(f"thing/{name}") or {})["status"] == "new"
    assert (ledger.value(f"thing/{origin}") or {})["status"] == "asked"
