"""Events: the closed head, the salted body, the hash over both, and commitments to payloads kept elsewhere."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from ledger.core import canonical, event
from ledger.core.hashing import TAG_COMMITMENT, TAG_EVENT, lp
from ledger.errors import MalformedError
from tests.unit.core import samples
from tests.unit.core.samples import ORIGIN, assert_each_refused

ID = "01a1fd1e-8c7b-7a00-8000-0123456789ab"
HEX = "ab" * 32
HEAD: dict[str, Any] = {
    "commitments": {"list": HEX},
    "data_subjects": ["t:9f"],
    "id": ID,
    "intent": True,
    "kind": "share.deliver",
    "refs": {"dataset": "ga/hukou", "grant": ["ga/g1", "ga/g2"]},
    "time": "2026-11-21T08:00:00.123Z",
    "v": 1,
}
BODY: dict[str, Any] = {"actor": "p:5b1e", "salt": "AAAAAAAAAAAAAAAAAAAAAA"}


def head(**changes: Any) -> bytes:
    """The head with changes; a value of `...` removes the field."""
    return canonical.encode({key: value for key, value in {**HEAD, **changes}.items() if value is not ...})


def names(count: int) -> list[str]:
    """Distinct identifiers."""
    return [f"n{number}" for number in range(count)]


ACCEPTED = {
    "all fields": {},
    "only required fields": {"commitments": ..., "data_subjects": ..., "intent": ...},
    "no refs": {"refs": {}},
    "sixteen refs": {"refs": dict.fromkeys(names(16), "a")},
    "list of one": {"refs": {"a": ["b"]}},
    "list of 64": {"refs": {"a": names(64)}},
    "128 values": {"refs": {"a": names(64), "b": names(64)}},
    "sixteen refs of eight": {"refs": {name: names(8) for name in names(16)}},
    "sixteen subjects": {"data_subjects": names(16)},
    "commitment list": {"commitments": {"a": [HEX, "cd" * 32]}},
    "32 commitments": {"commitments": dict.fromkeys(names(32), HEX)},
    "long names": {"kind": "k" * 128, "refs": {"r" * 128: "v" * 128}},
}

REFUSED = {
    "unknown field": ({"extra": 1}, "head"),
    "no id": ({"id": ...}, "head"),
    "no refs": ({"refs": ...}, "head"),
    "no version": ({"v": ...}, "head"),
    "version 2": ({"v": 2}, "head"),
    "version true": ({"v": True}, "head"),
    "version text": ({"v": "1"}, "head"),
    "id upper case": ({"id": ID.upper()}, "uuid7"),
    "id of version 4": ({"id": ID.replace("-7", "-4")}, "uuid7"),
    "id number": ({"id": 1}, "uuid7"),
    "kind empty": ({"kind": ""}, "identifier"),
    "kind upper case": ({"kind": "Share"}, "identifier"),
    "kind too long": ({"kind": "k" * 129}, "identifier"),
    "kind list": ({"kind": ["a"]}, "identifier"),
    "time without ms": ({"time": "2026-11-21T08:00:00Z"}, "time"),
    "time no such day": ({"time": "2026-02-30T08:00:00.000Z"}, "time"),
    "time before 1970": ({"time": "1969-02-03T08:00:00.000Z"}, "time"),
    "time number": ({"time": 0}, "time"),
    "intent false": ({"intent": False}, "head"),
    "intent null": ({"intent": None}, "head"),
    "intent 1": ({"intent": 1}, "head"),
    "refs list": ({"refs": ["a"]}, "refs"),
    "refs null": ({"refs": None}, "refs"),
    "seventeen refs": ({"refs": dict.fromkeys(names(17), "a")}, "refs"),
    "ref null": ({"refs": {"a": None}}, "identifier"),
    "ref number": ({"refs": {"a": 1}}, "identifier"),
    "ref object": ({"refs": {"a": {"b": "c"}}}, "identifier"),
    "ref empty list": ({"refs": {"a": []}}, "refs"),
    "ref list of 65": ({"refs": {"a": names(65)}}, "refs"),
    "ref list repeats": ({"refs": {"a": ["b", "c", "b"]}}, "refs"),
    "ref list of lists": ({"refs": {"a": [["b"]]}}, "identifier"),
    "ref list with null": ({"refs": {"a": [None]}}, "identifier"),
    "ref name upper case": ({"refs": {"A": "b"}}, "identifier"),
    "ref name empty": ({"refs": {"": "b"}}, "identifier"),
    "129 values": ({"refs": {"a": names(64), "b": names(64), "c": "d"}}, "refs"),
    "subjects empty": ({"data_subjects": []}, "data-subjects"),
    "subjects text": ({"data_subjects": "t:9f"}, "data-subjects"),
    "seventeen subjects": ({"data_subjects": names(17)}, "data-subjects"),
    "subject twice": ({"data_subjects": ["a", "a"]}, "data-subjects"),
    "subject upper case": ({"data_subjects": ["A"]}, "identifier"),
    "subject null": ({"data_subjects": [None]}, "identifier"),
    "commitments empty": ({"commitments": {}}, "commitments"),
    "commitments list": ({"commitments": [HEX]}, "commitments"),
    "commitment upper case": ({"commitments": {"a": HEX.upper()}}, "digest"),
    "commitment short": ({"commitments": {"a": HEX[:62]}}, "digest"),
    "commitment null": ({"commitments": {"a": None}}, "digest"),
    "commitment list empty": ({"commitments": {"a": []}}, "commitments"),
    "commitment list repeats": ({"commitments": {"a": [HEX, HEX]}}, "commitments"),
    "commitment list of lists": ({"commitments": {"a": [[HEX]]}}, "digest"),
    "commitment name": ({"commitments": {"A": HEX}}, "identifier"),
    "33 commitments": ({"commitments": dict.fromkeys(names(33), HEX)}, "commitments"),
    "33 commitments in a list": (
        {"commitments": {"a": [hashlib.sha256(name.encode()).hexdigest() for name in names(33)]}},
        "commitments",
    ),
}


@pytest.mark.parametrize("changes", ACCEPTED.values(), ids=ACCEPTED)
def test_heads_accepted(changes: dict[str, Any]) -> None:
    """Heads within the limits are accepted, by the one-match way and field by field alike."""
    data = head(**changes)
    assert event.parse_head(data) == canonical.parse(data)
    event.check_fields(canonical.parse(data))


@pytest.mark.parametrize(("changes", "code"), REFUSED.values(), ids=REFUSED)
def test_heads_refused(changes: dict[str, Any], code: str) -> None:
    """Each offence has its code, whichever way the head is judged."""
    data = head(**changes)
    for judge in (lambda: event.parse_head(data), lambda: event.check_fields(canonical.parse(data))):
        with pytest.raises(MalformedError) as caught:
            judge()
        assert caught.value.code == code


@pytest.mark.parametrize(
    "salt",
    [
        None,
        1,
        "",
        "AAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAB",
        "AAAAAAAAAAAAAAAAAAAAA=",
        "AAAAAAAAAAAA+AAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAA\n",
        ["AAAAAAAAAAAAAAAAAAAAAA"],
    ],
    ids=repr,
)
def test_salts_refused(salt: Any) -> None:
    """A salt is 16 bytes in the one spelling of base64url, and no body goes without it."""
    for body in ({**BODY, "salt": salt}, {"actor": "x"}):
        with pytest.raises(MalformedError) as caught:
            event.parse_body(canonical.encode(body))
        assert caught.value.code == "salt"


def test_hash_has_the_stated_preimage() -> None:
    """event_hash is tag, hash of head, hash of body; and can be had from the parts' hashes."""
    made = samples.event(1)
    head_hash, body_hash = hashlib.sha256(made.head).digest(), hashlib.sha256(made.body).digest()
    assert made.hash == hashlib.sha256(b"suyuan/event/v1\0" + head_hash + body_hash).digest()
    assert TAG_EVENT == b"suyuan/event/v1\0"
    assert made.hash == event.event_hash(made.head, made.body) == event.event_hash_parts(head_hash, body_hash)


def test_new_events_parse_to_themselves() -> None:
    """A built event is what its bytes parse to, and its accessors say what the head says."""
    made = samples.event(1, intent=True)
    assert event.parse_event(made.head, made.body) == made
    assert (made.id, made.kind, made.is_intent) == (made.fields["id"], "share.deliver", True)
    assert made.fields["time"] == "2026-11-21T08:00:00.124Z"
    assert made.content["salt"] == event.encode_salt(samples.digest(1)[10:26])
    plain = samples.event(2, commitments=None, data_subjects=(), refs={})
    assert set(plain.fields) == {"id", "kind", "refs", "time", "v"}
    assert not plain.is_intent
    listed = samples.event(3, commitments={"a": (HEX, "cd" * 32)}, refs={"a": ("b", "c")})
    assert listed.fields["commitments"] == {"a": [HEX, "cd" * 32]}
    assert listed.fields["refs"] == {"a": ["b", "c"]}


@pytest.mark.parametrize(
    "changes",
    [
        {"salt": bytes(15)},
        {"content": {"salt": "x"}},
        {"time_ms": -1},
        {"kind": "K"},
        {"content": {"a": 1.5}},
        {"event_id": "x"},
    ],
    ids=repr,
)
def test_new_events_are_checked(changes: dict[str, Any]) -> None:
    """The builder refuses what the parser would refuse."""
    with pytest.raises(MalformedError):
        samples.event(1, **changes)


def test_no_damaged_event_keeps_its_hash() -> None:
    """Damaged heads and bodies are refused, or are other events with another hash; never another exception."""
    made = samples.event(1)

    def judge(head_bytes: bytes, body_bytes: bytes) -> None:
        assert event.parse_event(head_bytes, body_bytes).hash != made.hash
        raise MalformedError("other", "another event")

    assert_each_refused(made.head, lambda data: judge(data, made.body), MalformedError)
    assert_each_refused(made.body, lambda data: judge(made.head, data), MalformedError)


def test_commitment_has_the_stated_preimage() -> None:
    """A commitment binds salt, network, member, event and field, each of which changes it."""
    salt = bytes(range(32))
    made = event.commitment(salt, ORIGIN, "ga", ID, "list", b"payload")
    preimage = salt + lp(ORIGIN.encode()) + lp(b"ga") + ID.encode() + lp(b"list") + b"payload"
    assert made == hashlib.sha256(b"suyuan/commitment/v1\0" + preimage).digest()
    assert TAG_COMMITMENT == b"suyuan/commitment/v1\0"
    others = [
        event.commitment(bytes(32), ORIGIN, "ga", ID, "list", b"payload"),
        event.commitment(salt, samples.OTHER_ORIGIN, "ga", ID, "list", b"payload"),
        event.commitment(salt, ORIGIN, "gb", ID, "list", b"payload"),
        event.commitment(salt, ORIGIN, "ga", ID[:-1] + "c", "list", b"payload"),
        event.commitment(salt, ORIGIN, "ga", ID, "lisu", b"payload"),
        event.commitment(salt, ORIGIN, "ga", ID, "list", b"payloae"),
    ]
    assert len({made, *others}) == 7
    for bad in (
        lambda: event.commitment(bytes(31), ORIGIN, "ga", ID, "list", b""),
        lambda: event.commitment(salt, ORIGIN, "ga", "x", "list", b""),
    ):
        with pytest.raises(MalformedError):
            bad()
