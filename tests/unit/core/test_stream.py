"""Stream values: one spelling, and advancing equals recomputing."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.core.hashing import Digest
from ledger.core.merkle import EMPTY_RANGE
from ledger.core.stream import StreamValue, advance, event_streams, parse_stream_value
from ledger.errors import FatalError, MalformedError
from ledger.limits import INT_MAX
from tests.models.reference_map import ReferenceStream

D1, D2 = Digest(bytes(range(32))), Digest(bytes(range(100, 132)))
VALUE = StreamValue(blind=D1, first=5, last=19, root=D2, size=3, time=1_700_000_000_000)

digests = st.binary(min_size=32, max_size=32).map(Digest)


@given(digests, digests, st.integers(1, INT_MAX), st.integers(0, 10**6), st.integers(0, INT_MAX))
def test_values_round_trip(blind, root, size, first, time):
    """Every value comes back from its bytes."""
    last = min(first + size - 1, INT_MAX)
    size = last - first + 1
    value = StreamValue(blind, first, last, root, size, time)
    assert parse_stream_value(value.encode()) == value


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"first":5', b'"first":05'),
        (b'"first":5', b'"first":-5'),
        (b'"first":5', b'"first":+5'),
        (b'"first":5', b'"first":5.0'),
        (b'"first":5', b'"first": 5'),
        (b'"first":5', b'"first":20'),
        (b'"first":5', b'"first":18'),
        (b'"size":3', b'"size":0'),
        (b'"size":3', b'"size":16'),
        (b'"size":3', b'"size":1'),
        (b'"time":1700000000000', b'"time":9007199254740992'),
        (b'"time":1700000000000', b'"time":17000000000000000'),
        (b'"time":1700000000000', '"time":\u0661'.encode()),
        (b'"time"', b'"tine"'),
        (b"}", b"}\n"),
        (b"}", b',"v":1}'),
        (b'"first":5,"last":19', b'"last":19,"first":5'),
    ],
)
def test_other_spellings_are_refused(old, new):
    """A value has one spelling, its numbers agree, and nothing stands around it."""
    data = VALUE.encode()
    assert old in data
    with pytest.raises(MalformedError) as caught:
        parse_stream_value(data.replace(old, new))
    assert caught.value.code == "stream-value"


@given(st.binary(max_size=250))
def test_parse_is_total(data):
    """Any bytes give a value that encodes to them, or `MalformedError`."""
    try:
        value = parse_stream_value(data)
    except MalformedError:
        return
    assert value.encode() == data


def test_every_flipped_byte_is_refused_or_another_value():
    """No byte of a value is without meaning."""
    data = VALUE.encode()
    for place in range(len(data)):
        for flip in (1, 2, 16, 128):
            changed = data[:place] + bytes([data[place] ^ flip]) + data[place + 1 :]
            try:
                assert parse_stream_value(changed) != VALUE
            except MalformedError:
                continue


@pytest.mark.parametrize("batch", [1, 2, 5, 16])
def test_advance_equals_recomputing(batch):
    """After each block the value is the one that the definition gives for all records so far."""
    source = random.Random(batch)
    reference, value, tree, seq = ReferenceStream(), None, EMPTY_RANGE, 3
    for height in range(24):
        count = source.randrange(1, batch + 1)
        seqs = [seq := seq + source.randrange(1, 4) for _ in range(count)]
        leaf_hashes = [Digest(source.randbytes(32)) for _ in range(count)]
        touches = [Digest(source.randbytes(32)) for _ in range(source.randrange(1, count + 1))]
        value, tree = advance(value, tree, seqs, leaf_hashes, 1000 + height, touches)
        reference.join(seqs, leaf_hashes, 1000 + height, touches)
        assert value.encode() == reference.value()
        assert (tree.size, tree.root()) == (value.size, value.root)
        assert parse_stream_value(value.encode()) == value


def test_advance_refuses_parts_of_another_stream():
    """A compact range of another size, an index that is not newer, or no record at all stops the node."""
    value, tree = advance(None, EMPTY_RANGE, [4], [D1], 1, [D1])
    for previous, ranged, seqs, hashes, touches in (
        (value, EMPTY_RANGE, [5], [D1], [D1]),
        (None, tree, [5], [D1], [D1]),
        (value, tree, [4], [D1], [D1]),
        (value, tree, [], [], [D1]),
        (value, tree, [5, 6], [D1], [D1]),
        (value, tree, [5], [D1], []),
    ):
        with pytest.raises(FatalError):
            advance(previous, ranged, seqs, hashes, 2, touches)


def test_event_streams_are_author_refs_and_subjects_once_each():
    """A record joins its author's stream, each value of each ref, and its subjects' tags below the author's name."""
    head = {
        "refs": {"dataset": "ga/hukou", "grant": ["ga/g1", "ga/g2"], "member": ["ga", "fa"]},
        "data_subjects": ["t:9f", "t:a0"],
    }
    assert event_streams("ga", head) == [
        ("member", "ga"),
        ("dataset", "ga/hukou"),
        ("grant", "ga/g1"),
        ("grant", "ga/g2"),
        ("member", "fa"),
        ("subject", "ga/t:9f"),
        ("subject", "ga/t:a0"),
    ]
    assert event_streams("ga", {"refs": {}}) == [("member", "ga")]
