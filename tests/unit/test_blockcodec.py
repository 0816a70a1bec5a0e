"""Blocks as exchanged: one encoding each, bounded parsing, bodies that may be missing."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.blockcodec import (
    BlockData,
    SubmissionData,
    encode_block,
    from_submission,
    parse_block,
    to_submission,
)
from ledger.core.hashing import Digest, sha256
from ledger.core.submission import verify_signature
from ledger.errors import MalformedError, NotFoundError
from ledger.limits import BLOCK_EVENTS_MAX, INT_MAX
from tests.models.tiny_ledger import TinyLedger, signer, tiny_ledger

heads = st.binary(min_size=0, max_size=40)
bodies = st.one_of(st.none(), st.binary(max_size=40))


@st.composite
def submissions(draw: st.DrawFn) -> SubmissionData:
    events = []
    for head, body in draw(st.lists(st.tuples(heads, bodies), min_size=1, max_size=5)):
        digest = Digest(draw(st.binary(min_size=32, max_size=32))) if body is None else sha256(body)
        events.append((head, body, digest))
    return SubmissionData("ga", Digest(bytes(32)), bytes(64), tuple(events))


blocks = st.builds(
    BlockData,
    st.integers(0, INT_MAX),
    st.integers(0, INT_MAX),
    st.lists(submissions(), max_size=3).map(tuple),
    st.lists(st.binary(max_size=20), max_size=2).map(tuple),
    st.lists(st.binary(max_size=40), max_size=4).map(tuple),
    st.binary(max_size=60),
)


@given(blocks)
@settings(max_examples=100, deadline=None)
def test_parse_gives_back_what_was_encoded(block: BlockData) -> None:
    """Parsing the encoding of any block gives the block, and encoding that gives the same bytes."""
    data = encode_block(block)
    assert parse_block(data) == block
    assert encode_block(parse_block(data)) == data


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_other_bytes_are_malformed(data: bytes) -> None:
    """Any bytes give a block whose encoding they are, or `MalformedError`."""
    try:
        block = parse_block(data)
    except MalformedError:
        return
    assert encode_block(block) == data


def test_every_changed_byte_is_refused_or_another_block() -> None:
    """No byte of an encoding can change without the parsed block changing too."""
    block = tiny_ledger().blocks[2]
    data = encode_block(block)
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1
        try:
            assert parse_block(bytes(changed)) != block
        except MalformedError:
            continue


def test_submission_comes_back_with_its_signature() -> None:
    """A submission taken apart and put together again still verifies."""
    ledger = TinyLedger()
    submission = ledger.submission("ga", [ledger.event(note="x"), ledger.event(note="y")])
    data = from_submission(submission)
    assert data.is_complete
    again = to_submission(data, ledger.origin)
    assert again == submission
    verify_signature(again, signer("ga", "event").public)


def test_missing_body_is_told_with_its_index() -> None:
    """A submission with a withheld body cannot be put together, and the error names the event."""
    ledger = TinyLedger()
    data = from_submission(ledger.submission("ga", [ledger.event(), ledger.event()]))
    head, _, digest = data.events[1]
    partial = SubmissionData(data.member, data.key_id, data.signature, (data.events[0], (head, None, digest)))
    assert not partial.is_complete
    with pytest.raises(NotFoundError) as caught:
        to_submission(partial, ledger.origin)
    assert (caught.value.code, caught.value.evidence["index"]) == ("body-missing", 1)


def test_malformed_event_is_told_with_its_index() -> None:
    """A body that is no event is refused with the index of the event."""
    ledger = TinyLedger()
    data = from_submission(ledger.submission("ga", [ledger.event(), ledger.event()]))
    head, _, _ = data.events[1]
    bad = SubmissionData(data.member, data.key_id, data.signature, (data.events[0], (head, b"{}", sha256(b"{}"))))
    with pytest.raises(MalformedError) as caught:
        to_submission(bad, ledger.origin)
    assert caught.value.evidence["index"] == 1


def _packed(**changes: object) -> bytes:
    fields = {
        "version": 1,
        "height": 1,
        "time": 1,
        "submissions": [["ga", bytes(32), bytes(64), [b"{}"], [b"{}"], []]],
        "attachments": [],
        "leaves": [b"l"],
        "note": b"n",
    } | changes
    data: bytes = msgpack.packb(list(fields.values()), use_bin_type=True)
    return data


def test_the_template_of_the_refusals_is_itself_a_block() -> None:
    """The bytes that the next test spoils are accepted when nothing is spoilt."""
    assert parse_block(_packed()).height == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": True},
        {"height": -1},
        {"height": INT_MAX + 1},
        {"time": -1},
        {"note": "text"},
        {"leaves": ["text"]},
        {"leaves": [bytes(65_536)]},
        {"attachments": [None]},
        {"submissions": [[]]},
        {"submissions": [["GA", bytes(32), bytes(64), [b"{}"], [b"{}"], []]]},
        {"submissions": [["ga", bytes(31), bytes(64), [b"{}"], [b"{}"], []]]},
        {"submissions": [["ga", bytes(32), bytes(63), [b"{}"], [b"{}"], []]]},
        {"submissions": [["ga", bytes(32), bytes(64), [], [], []]]},
        {"submissions": [["ga", bytes(32), bytes(64), [b"{}"], [], []]]},
        {"submissions": [["ga", bytes(32), bytes(64), [b"{}"], [None], []]]},
        {"submissions": [["ga", bytes(32), bytes(64), [b"{}"], [b"{}"], [bytes(32)]]]},
        {"submissions": [["ga", bytes(32), bytes(64), [b"{}"], [None], [bytes(31)]]]},
        {"submissions": [["ga", bytes(32), bytes(64), [b"{}"], [None], [b"x" * 33]]]},
        {"submissions": [["ga", bytes(32), bytes(64), [b"{}"], ["x"], []]]},
    ],
)
def test_odd_fields_are_refused(changes: dict[str, object]) -> None:
    """Every field of another type or size is refused as malformed."""
    with pytest.raises(MalformedError):
        parse_block(_packed(**changes))


def test_too_many_events_are_refused() -> None:
    """A block of more events than any engine puts into one is refused."""
    one = ["ga", bytes(32), bytes(64), [b"{}"] * 1_000, [b"{}"] * 1_000, []]
    with pytest.raises(MalformedError):
        parse_block(_packed(submissions=[one] * (BLOCK_EVENTS_MAX // 1_000 + 1)))


def test_many_tiny_lists_are_refused_before_they_exist() -> None:
    """A few bytes cannot ask for millions of objects."""
    with pytest.raises(MalformedError):
        parse_block(b"\x97\x01\x01\x01\x93" + (b"\xdd\x00\x01\x00\x00" + b"\x90" * 65_536) * 3 + b"\x90\x90\xc4\x00")


def test_height_out_of_range_is_not_encoded() -> None:
    """A block that would not parse back is not encoded."""
    with pytest.raises(MalformedError):
        encode_block(BlockData(-1, 0))


def test_other_spelling_of_a_length_is_refused() -> None:
    """The same value in a longer msgpack spelling is not canonical and therefore refused."""
    data = _packed()
    assert data[1] == 1
    with pytest.raises(MalformedError) as caught:
        parse_block(data[:1] + b"\xcc\x01" + data[2:])
    assert "canonical" in caught.value.message
