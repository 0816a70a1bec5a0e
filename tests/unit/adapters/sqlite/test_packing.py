"""Packed values come back exactly, and bytes that packing cannot have made are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.adapters.sqlite.packing import (
    INDEX_EPOCH_MS,
    Entry,
    decode_deltas,
    decode_varints,
    encode_deltas,
    encode_varint,
    event_key,
    id_time,
    pack_entry,
    unpack_entry,
)
from ledger.core.ident import uuid7_at
from ledger.core.mapkeys import object_value
from ledger.core.merkle import EMPTY_RANGE
from ledger.core.stream import StreamValue
from ledger.errors import FatalError
from ledger.machine.block import StateRow

DIGESTS = st.binary(min_size=32, max_size=32)


@given(st.lists(st.integers(0, 2**53)))
def test_varints_round_trip(numbers):
    """Any non-negative numbers come back, alone or from within other bytes."""
    data = b"".join(encode_varint(number) for number in numbers)
    assert decode_varints(data) == (numbers, len(data))
    assert decode_varints(b"x" + data + b"y", 1, len(numbers)) == (numbers, len(data) + 1)


@given(st.lists(st.integers(0, 2**40), unique=True).map(sorted))
def test_deltas_round_trip(seqs):
    """Ascending log indexes come back, also when the list was written in two parts."""
    assert decode_deltas(encode_deltas(seqs)) == seqs
    half = len(seqs) // 2
    if half:
        assert decode_deltas(encode_deltas(seqs[:half]) + encode_deltas(seqs[half:], seqs[half - 1])) == seqs


@pytest.mark.parametrize("data", [b"\x80", b"\xff" * 12, b"\x81\x80"])
def test_broken_varints(data):
    """A number without an end, or one that is too long, is damage."""
    with pytest.raises(FatalError):
        decode_varints(data)


def test_too_few_varints():
    """Fewer numbers than there must be are damage."""
    with pytest.raises(FatalError):
        decode_varints(b"\x01", 0, 2)


@given(DIGESTS, st.lists(st.tuples(st.integers(1, 50), DIGESTS), min_size=1, max_size=20), st.integers(0, 2**47))
def test_stream_entries_round_trip(blind, records, time):
    """A stream's entry comes back with its range and tail, and takes much less room than its JSON."""
    seqs, total = [], 0
    for gap, _ in records:
        total += gap
        seqs.append(total)
    tree = EMPTY_RANGE.extend([digest for _, digest in records])
    value = StreamValue(blind, seqs[0], seqs[-1], tree.root(), tree.size, time)
    tail = encode_deltas(seqs) if len(seqs) > 1 else b""
    entry = Entry(StateRow(value.encode(), tree.encode()), tail, len(seqs), seqs[-1])
    packed = pack_entry(entry)
    assert unpack_entry(packed) == entry
    sealed = Entry(StateRow(value.encode(), tree.encode(), (value, tree)), tail, len(seqs), seqs[-1])
    assert pack_entry(sealed) == packed
    assert packed[0] == (3 if len(records) == 1 else 1)
    assert len(packed) <= 1 + 86 + len(entry.row.range) + len(entry.tail)


@given(DIGESTS, st.binary(max_size=50))
def test_object_entries_round_trip(blind, content):
    """An object's entry comes back, with its blind as bytes."""
    entry = Entry(StateRow(object_value(blind, b"{" + content + b"}")))
    assert unpack_entry(pack_entry(entry)) == entry
    assert len(pack_entry(entry)) == 33 + len(content) + 2


@given(st.binary(max_size=300), st.binary(max_size=100), st.binary(max_size=9))
def test_any_entry_round_trips(value, tree, tail):
    """What has not the usual form, the empty value of a deleted object included, is kept as it is."""
    entry = Entry(StateRow(value, tree), tail)
    assert unpack_entry(pack_entry(entry)) == entry


@pytest.mark.parametrize(
    ("first", "last", "size"), [(5, 3, 2), (2**48, 2**48, 1), (0, 2**50, 2), (1, 9, 2**32), (1, 1, 3)]
)
def test_odd_streams_round_trip(first, last, size):
    """Numbers that no stream has are kept too."""
    value = StreamValue(bytes(32), first, last, bytes(32), size, 5).encode()
    for tree in (bytes(32), bytes(64), b"x"):
        for tail in (b"", b"\x01"):
            found = unpack_entry(pack_entry(Entry(StateRow(value, tree), tail, size, last)))
            assert (found.row, found.tail) == (StateRow(value, tree), tail)


@given(st.binary(max_size=200))
def test_unpacking_is_total(data):
    """Any bytes give an entry or are refused as damaged."""
    try:
        entry = unpack_entry(data)
    except FatalError:
        return
    assert [type(part) for part in (entry.row.value, entry.row.range, entry.tail)] == [bytes] * 3


@given(st.integers(INDEX_EPOCH_MS, INDEX_EPOCH_MS + 2**40), st.binary(min_size=10, max_size=10), st.integers(0, 2**79))
def test_event_keys_follow_time(time, rand, secret):
    """Index keys are ordered by the id's time and fit SQLite's integers."""
    event_id = uuid7_at(time, rand)
    key = event_key(secret | 1, event_id)
    assert 0 <= key < 2**63
    assert key >> 22 == time - INDEX_EPOCH_MS
    assert id_time(event_id) == time
    assert event_key(secret | 1, uuid7_at(time + 1, rand)) > key


def test_event_keys_outside_their_range():
    """Ids before 2020 or after 2089 share the first or last millisecond of the index."""
    rand = bytes(10)
    assert event_key(1, uuid7_at(0, rand)) >> 22 == 0
    assert event_key(1, uuid7_at(2**47, rand)) >> 22 == 2**41 - 1


def test_event_keys_spread():
    """Ids of one millisecond rarely share a key, whichever secret is drawn."""
    ids = [uuid7_at(INDEX_EPOCH_MS + 5, n.to_bytes(10, "big")) for n in range(2_000)]
    for secret in (0x9E3779B97F4A7C15F39D | 1, 0xC2B2AE3D27D4EB4F1656 | 1):
        assert len({event_key(secret, event_id) for event_id in ids}) > 1_950
