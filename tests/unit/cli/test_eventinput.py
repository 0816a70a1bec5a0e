"""Events from flags and files: what is meant, and what is refused with its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.cli.eventinput import check_event, from_flags, mint_event, parse_events, parse_value
from ledger.cli.settings import SettingError
from ledger.core.event import parse_event

NOW = 1_795_248_000_000


def flags(refs: list[str] = [], fields: list[str] = [], **more: object) -> dict:  # noqa: B006 - never changed
    return from_flags("use.access", refs, fields, **{"time": None, "event_id": None, "intent": False, **more})


def test_flags_make_one_event() -> None:
    """Refs repeat into lists, values that are JSON keep their type, all else is text."""
    event = flags(["grant=ga/1", "dataset=a", "dataset=b", "dataset=c"], ["count=3", "ok=true", "why=because", 'q="1"'])
    assert event["refs"] == {"grant": "ga/1", "dataset": ["a", "b", "c"]}
    assert event["body"] == {"count": 3, "ok": True, "why": "because", "q": "1"}
    assert flags(intent=True)["intent"] is True


@pytest.mark.parametrize(("refs", "fields"), [(["grant"], []), (["=x"], []), ([], ["a=1", "a=2"]), ([], ["b"])])
def test_flags_that_say_nothing_are_refused(refs: list[str], fields: list[str]) -> None:
    """A missing `=`, an empty name or a field set twice is an error."""
    with pytest.raises(SettingError):
        flags(refs, fields)


@given(st.text(max_size=20))
def test_any_value_is_taken(text: str) -> None:
    """Whatever stands behind `=` is JSON or a text; never an error."""
    parse_value(text)


def test_one_many_and_line_by_line_are_the_same() -> None:
    """An object, an array, {"events": …} and NDJSON give the same events."""
    one = b'{"kind":"k","refs":{"a":"b"},"body":{"n":1}}'
    two = b'{"kind":"l"}'
    expected = parse_events(b"[%b,%b]" % (one, two), "f")
    assert parse_events(b"%b\n\n%b\n" % (one, two), "f") == expected
    assert parse_events(b'{"events":[%b,%b]}' % (one, two), "f") == expected
    assert parse_events(one, "f") == expected[:1]
    assert parse_events(b"\xef\xbb\xbf" + one, "f") == expected[:1]


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"\xff", b"{", b'{"kind":1}', b'{"refs":{}}', b'{"kind":"k","extra":1}', b'{"kind":"k"}\n{oops',
     b'{"kind":"k","refs":[]}', b'{"kind":"k","intent":false}', b"3"],
)  # fmt: skip
def test_what_is_no_event_is_refused_with_its_place(data: bytes) -> None:
    """Every other input is an error of usage that names file, line or number."""
    with pytest.raises(SettingError) as caught:
        parse_events(data, "events.json")
    assert caught.value.code == "event-input" and "events.json" in str(caught.value.evidence["file"])


def test_minted_events_are_the_ledgers() -> None:
    """What comes out is a checked event with a fresh id and salt, or exactly the salted one that went in."""
    event = check_event({"kind": "k.l", "refs": {"a": "x"}, "body": {"n": 1}}, "f")
    first, second = mint_event(event, NOW), mint_event(event, NOW)
    assert first.id != second.id and first.hash != second.hash and first.content["n"] == 1
    whole = {"kind": first.kind, "refs": first.fields["refs"], "time": first.fields["time"], "id": first.id}
    again = mint_event({**whole, "body": first.content}, NOW + 5)
    assert (again.head, again.body) == (first.head, first.body)
    assert parse_event(again.head, again.body).hash == first.hash
