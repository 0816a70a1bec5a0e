"""JSON intake: what may be left out, what is refused, and that nothing else gets in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.core.ident import format_time, uuid7_time
from ledger.errors import MalformedError
from ledger_node.intake.drafts import Draft, Source, choose_member, make_events, parse_draft, parse_drafts

NOW = 1_790_000_000_000


def source() -> Source:
    counter = iter(range(1_000))
    return Source(lambda: NOW, lambda size: next(counter).to_bytes(size, "big"))


def parse(value: Any) -> Any:
    return parse_drafts(json.dumps(value).encode())


def test_one_event_or_many() -> None:
    """A single object with a kind is one event; `events` holds many."""
    assert len(parse({"kind": "use.access", "refs": {"grant": "ga/1"}}).events) == 1
    assert len(parse({"events": [{"kind": "a"}, {"kind": "b"}]}).events) == 2


def test_what_is_absent_is_minted() -> None:
    """Id, time and salt come from the clock and randomness that were given."""
    event = make_events(parse({"kind": "use.access", "body": {"n": 1}}).events, source())[0]
    assert uuid7_time(event.id) == NOW
    assert event.fields["time"] == format_time(NOW)
    assert len(event.content["salt"]) == 22
    assert "intent" not in event.fields


def test_what_is_given_is_kept() -> None:
    """A caller's id, time, subjects, commitments and intent stand in the head."""
    given = {
        "kind": "use.access", "id": "01a2027c-9bfd-7088-8ba3-6daed5f596db", "time": "2026-09-01T00:30:00.000Z",
        "refs": {"grant": ["ga/1", "ga/2"]}, "data_subjects": ["t:1"], "commitments": {"list": "a" * 64}, "intent": True,
    }  # fmt: skip
    fields = make_events(parse(given).events, source())[0].fields
    assert {name: fields[name] for name in given} == given


@pytest.mark.parametrize(
    "value",
    [
        [],
        3,
        {},
        {"events": []},
        {"events": [{"kind": "a"}] * 1001},
        {"events": [{"kind": "a", "extra": 1}]},
        {"kind": "a", "signature": "x"},
        {"kind": "a", "intent": False},
        {"kind": 5},
        {"kind": "a", "refs": {"x": 3}},
        {"kind": "a", "body": [1]},
        {"events": {"kind": "a"}},
    ],
)
def test_other_forms_are_refused(value: Any) -> None:
    """Unknown fields, other types and empty lists are malformed before anything is minted."""
    with pytest.raises(MalformedError) as caught:
        parse(value)
    assert caught.value.code == "draft"


@pytest.mark.parametrize(
    ("draft", "code"),
    [
        ({"kind": "Bad Kind"}, "identifier"),
        ({"kind": "a", "id": "not-a-uuid"}, "uuid7"),
        ({"kind": "a", "time": "yesterday"}, "time"),
        ({"kind": "a", "body": {"x": 1.5}}, "canonical"),
        ({"kind": "a", "body": {"salt": "x"}}, "salt"),
        ({"kind": "a", "body": {"名": 1}}, "canonical"),
        ({"kind": "a", "body": {"x": 2**60}}, "canonical"),
    ],
)
def test_bad_event_is_named_by_index(draft: dict[str, Any], code: str) -> None:
    """The second of two events is at fault, and the error says so."""
    with pytest.raises(MalformedError) as caught:
        make_events(parse({"events": [{"kind": "a"}, draft]}).events, source())
    assert caught.value.code == code
    assert caught.value.evidence["index"] == 1


def test_member_is_named_once() -> None:
    """The named member, or the only one this node signs for; anything ambiguous is refused."""
    assert choose_member(parse({"kind": "a", "member": "ga"}), ["ga", "rs"]) == "ga"
    assert choose_member(parse({"member": "rs", "events": [{"kind": "a"}]}), ["ga", "rs"]) == "rs"
    assert choose_member(parse({"kind": "a"}), ["ga"]) == "ga"
    for value, held in (
        ({"kind": "a"}, ["ga", "rs"]),
        ({"kind": "a"}, []),
        ({"events": [{"kind": "a", "member": "ga"}], "member": "rs"}, ["ga"]),
    ):
        with pytest.raises(MalformedError) as caught:
            choose_member(parse(value), held)
        assert caught.value.code == "draft-member"


@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_drafts_or_malformed(data: bytes) -> None:
    """The parsers are total: a value or `MalformedError`, nothing else."""
    for parser in (parse_drafts, parse_draft):
        try:
            parser(data)
        except MalformedError:
            continue


def test_deep_nesting_is_malformed() -> None:
    """A body that nests beyond any use does not exhaust the stack."""
    with pytest.raises(MalformedError):
        parse_drafts(b'{"kind":"a","body":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001)


def test_draft_defaults_are_not_shared() -> None:
    """Two drafts without refs do not share one object."""
    first, second = Draft("a"), Draft("b")
    assert first.refs == second.refs == {}
    assert first.refs is not second.refs
