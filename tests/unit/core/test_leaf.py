"""Leaves: each has one spelling, and everything else is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ledger.core import canonical
from ledger.core.leaf import (
    Record,
    TimerLeaf,
    check_timer_key,
    encode_record,
    encode_record_parts,
    encode_timer,
    parse_leaf,
    record_common,
    timer_streams,
)
from ledger.errors import MalformedError
from ledger.limits import LEAF_BYTES_MAX
from tests.models.small_ledger import digest

VERDICT = b'{"outcome":"refused","reasons":[["R1","no",{"n":1}]]}'
RECORD = Record(
    7, "ga", "01a20282-6621-7314-9b99-5226cc2cb28d", digest("e"), digest("s"), digest("k"), VERDICT,
    (("finding", "law/1"), ("dataset", "ga/x")),
)  # fmt: skip
TIMER = TimerLeaf(8, 1_795_248_000_000, "timer/A3/application/ga/x", b'{"outcome":"accepted"}')


def altered(leaf: bytes, field: str, value: Any) -> bytes:
    """The leaf with one field replaced, or removed where `value` is `...`."""
    document = json.loads(leaf[2:])
    if value is ...:
        del document[field]
    else:
        document[field] = value
    return leaf[:2] + canonical.encode(document)


def test_round_trip() -> None:
    """SPEC R-L02, R-L03: records and timer leaves come back as they were, with and without extra streams."""
    for record in (RECORD, Record(*[getattr(RECORD, name) for name in Record.__slots__[:-1]])):
        assert parse_leaf(encode_record(record)) == record
    for timer in (TIMER, TimerLeaf(8, 0, TIMER.key, TIMER.verdict, (("finding", "law/1"),))):
        assert parse_leaf(encode_timer(timer)) == timer
    assert parse_leaf(b"\x00\x01{}") == b"{}", "a header's JSON is for parse_header"


def test_a_writer_of_many_makes_the_same_leaves() -> None:
    """What the records of a submission share is made once; leaf and bound are those of `encode_record`."""
    common = record_common(RECORD.key_id, RECORD.member, RECORD.submission)
    parts = (RECORD.height, RECORD.id, RECORD.event_hash, common)
    leaf = encode_record_parts(*parts, RECORD.verdict, RECORD.extra_streams)
    assert leaf == encode_record(RECORD)
    assert parse_leaf(leaf) == RECORD
    with pytest.raises(MalformedError) as caught:
        encode_record_parts(*parts, b"{" + bytes(LEAF_BYTES_MAX) + b"}", ())
    assert caught.value.code == "leaf-size"


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("height", ..., "leaf-fields"),
        ("more", 1, "leaf-fields"),
        ("height", -1, "leaf-number"),
        ("height", True, "leaf-number"),
        ("height", "7", "leaf-number"),
        ("member", "GA", "identifier"),
        ("id", "x", "uuid7"),
        ("event_hash", "00", "digest"),
        ("submission", None, "digest"),
        ("key_id", "A" * 64, "digest"),
        ("verdict", [], "leaf-verdict"),
        ("verdict", {"outcome": "maybe"}, "leaf-verdict"),
        ("verdict", {"outcome": "accepted", "more": 1}, "leaf-verdict"),
        ("extra_streams", [], "leaf-streams"),
        ("extra_streams", [["a"]], "leaf-streams"),
        ("extra_streams", ["ab"], "leaf-streams"),
        ("extra_streams", [["A", "b"]], "identifier"),
    ],
)
def test_what_is_no_record(field: str, value: Any, code: str) -> None:
    """SPEC R-L02, R-L04: a missing, unknown or odd field of a record is refused with its code."""
    with pytest.raises(MalformedError) as caught:
        parse_leaf(altered(encode_record(RECORD), field, value))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("due", ..., "leaf-fields"),
        ("due", -1, "leaf-number"),
        ("key", "duty/A3/x/y", "timer-key"),
        ("member", "ga", "leaf-fields"),
    ],
)
def test_what_is_no_timer_leaf(field: str, value: Any, code: str) -> None:
    """SPEC R-L03: the same of a timer leaf."""
    with pytest.raises(MalformedError) as caught:
        parse_leaf(altered(encode_timer(TIMER), field, value))
    assert caught.value.code == code


def test_type_version_and_size() -> None:
    """SPEC R-L01: unknown types and versions, nothing at all, and too much are each refused."""
    leaf = encode_record(RECORD)
    for data, code in (
        (b"", "leaf-size"),
        (leaf[:2], "leaf-size"),
        (leaf + b" " * LEAF_BYTES_MAX, "leaf-size"),
        (b"\x03" + leaf[1:], "leaf-type"),
        (leaf[:1] + b"\x02" + leaf[2:], "leaf-version"),
        (leaf[:1] + b"\x00" + leaf[2:], "leaf-version"),
    ):
        with pytest.raises(MalformedError) as caught:
            parse_leaf(data)
        assert caught.value.code == code
    long = b'{"outcome":"refused","reasons":[["R1","no",{"a":"%b"}]]}' % (b"x" * LEAF_BYTES_MAX)
    with pytest.raises(MalformedError) as caught:
        encode_record(Record(7, "ga", RECORD.id, digest("e"), digest("s"), digest("k"), long))
    assert caught.value.code == "leaf-size"


def test_no_other_bytes_are_the_leaf() -> None:
    """Each truncation is refused; each changed byte is refused or gives another leaf that encodes to these very bytes."""
    for leaf, encode in ((encode_record(RECORD), encode_record), (encode_timer(TIMER), encode_timer)):
        for end in range(len(leaf)):
            with pytest.raises(MalformedError):
                parse_leaf(leaf[:end])
        for at in range(2, len(leaf)):
            broken = leaf[:at] + bytes((leaf[at] ^ 1,)) + leaf[at + 1 :]
            try:
                found = parse_leaf(broken)
            except MalformedError:
                continue
            assert isinstance(found, (Record, TimerLeaf))
            assert encode(found) == broken and found not in (RECORD, TIMER)  # type: ignore[operator]


def test_timer_keys_name_rule_and_object() -> None:
    """SPEC R-S03: a timer's leaf joins `rule/<id in lower case>` and the stream of its object, whose id may have slashes."""
    assert timer_streams("timer/A3/application/ga/x/y") == (("rule", "a3"), ("application", "ga/x/y"))
    for key in ("timer/A3/application", "timer/", "duty/A3/a/b", "timer/é/a/b", "timer/" + "a" * 400, 7):
        with pytest.raises(MalformedError) as caught:
            timer_streams(key)  # type: ignore[arg-type]
        assert caught.value.code == "timer-key"
    assert check_timer_key("timer/x") == "timer/x"
