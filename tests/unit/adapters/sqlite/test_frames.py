"""Frames and segments: what goes in comes out, in any division, and other bytes are refused."""

from __future__ import annotations

import random

import msgpack
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.adapters.sqlite import frames
from ledger.adapters.sqlite.blocks import check_body, check_record
from ledger.adapters.sqlite.cache import Cache
from ledger.adapters.sqlite.frames import Compressor, Decompressor, train
from ledger.adapters.sqlite.reader import SqliteReader
from ledger.adapters.sqlite.scrub import scrub
from ledger.adapters.sqlite.store import SqliteStore
from ledger.errors import FatalError
from tests.models.accept_all import Network


def no_dictionary(number: int) -> bytes:
    raise FatalError("storage-damaged", "no dictionary", number=number)


PLAIN = Decompressor(no_dictionary)


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=40), max_size=600))
def test_segments_round_trip(entries):
    """Entries lie in segments of at most 256 and frames of at most 32, and come back in order."""
    segments = Compressor().segments(entries)
    assert [offset for offset, _ in segments] == list(range(0, len(entries), 256))
    assert [entry for _, segment in segments for entry in PLAIN.entries(segment)] == entries
    for _, segment in segments:
        assert all(len(PLAIN.open_list(0, frame)) <= 32 for frame in PLAIN.split(segment)[1])


def test_dictionaries_are_named():
    """A segment says which dictionary it needs, is smaller for it, and cannot be read without."""
    chance = random.Random(1)
    samples = [
        b'{"kind":"use.access","purpose":"%d","salt":"%d"}' % (n % 7, chance.getrandbits(64)) for n in range(3_000)
    ]
    dictionary = train(samples, 4_096)
    assert dictionary
    plain, trained = Compressor(), Compressor(5, dictionary)
    segment = trained.segments(samples[:8])[0][1]
    assert len(segment) < len(plain.segments(samples[:8])[0][1])
    assert Decompressor({5: dictionary}.__getitem__).entries(segment) == samples[:8]
    with pytest.raises(FatalError):
        PLAIN.entries(segment)
    with pytest.raises(FatalError):
        Decompressor({5: train(samples[:1500], 1_024)}.__getitem__).entries(segment)


def test_too_few_samples_give_no_dictionary():
    """Nothing is trained from next to nothing."""
    assert train([b"a"], 1_024) == b""


def test_every_flipped_bit_of_a_segment_is_found():
    """A segment with one flipped bit is refused, or holds the same entries still."""
    entries = [b"one", b"two", {"three": 3}, None]
    segment = Compressor().single(entries)
    for at in range(len(segment)):
        for bit in range(8):
            damaged = segment[:at] + bytes((segment[at] ^ 1 << bit,)) + segment[at + 1 :]
            try:
                assert PLAIN.single(damaged) == entries
            except FatalError:
                continue


@given(st.binary(max_size=200))
def test_reading_is_total(data):
    """Any bytes are a segment or are refused as damaged."""
    for read in (PLAIN.single, PLAIN.entries, PLAIN.split, frames.unpack):
        try:
            read(data)
        except FatalError:
            continue


@pytest.mark.parametrize(
    "value", [1, [], [0], ["0", b""], [0, "text"], [0, b"", None], [True, b""], {}, [0, b"not zstd"], [7, b""]]
)
def test_other_shapes_are_refused(value):
    """A msgpack value of another shape is no segment."""
    with pytest.raises(FatalError):
        PLAIN.entries(msgpack.packb(value))


def test_a_bomb_is_not_expanded():
    """A frame that declares more than a frame may hold, or nothing at all, is refused before it is expanded."""
    large = zstandard.ZstdCompressor(write_content_size=True).compress(bytes(frames.EXPANDED_BYTES_MAX + 1))
    silent = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    undeclared = silent.compress(b"x" * 1_000) + silent.flush()
    for frame in (large, undeclared):
        with pytest.raises(FatalError):
            PLAIN.open(0, frame)


def test_a_frame_that_is_no_list():
    """Entries are asked of lists only, and a single value of one frame only."""
    with pytest.raises(FatalError):
        PLAIN.entries(Compressor().single({"a": 1}))
    with pytest.raises(FatalError):
        PLAIN.single(Compressor().segments([b"x"] * 40)[0][1])


@pytest.mark.parametrize(
    "entry", [None, b"leaf", [], [b"leaf"], [None, b"head"], [b"leaf", "head"], [b"l", b"h", b"x"]]
)
def test_entries_that_are_no_records(entry):
    """A record is a leaf and a head, or a leaf and nothing."""
    with pytest.raises(FatalError):
        check_record(entry)
    assert check_record([b"leaf", None]) == (b"leaf", None)


def test_entries_that_are_no_bodies():
    """A body is bytes or absent."""
    assert (check_body(b"body"), check_body(None)) == (b"body", None)
    with pytest.raises(FatalError):
        check_body("text")


@given(st.lists(st.tuples(st.sampled_from(["put", "get", "drop"]), st.integers(0, 30), st.integers()), max_size=200))
def test_a_cache_never_lies(actions):
    """Whatever is forgotten, a value found is the last one that was put."""
    cache: Cache[int, int] = Cache(8)
    truth: dict[int, int] = {}
    for action, key, value in actions:
        if action == "put":
            cache.put(key, value)
            truth[key] = value
        elif action == "drop":
            cache.drop(key)
            truth.pop(key, None)
        else:
            found = cache.get(key)
            assert found is None or found == truth[key]
        assert len(cache) <= 16


def test_a_cache_keeps_what_is_used():
    """The last entries up to the capacity are always found, and `clear` forgets all."""
    cache: Cache[int, int] = Cache(8)
    for n in range(100):
        cache.put(n, n)
        assert cache.get(0) == 0
        assert [cache.get(k) for k in range(max(0, n - 5), n + 1)] == list(range(max(0, n - 5), n + 1))
    cache.clear()
    assert (cache.get(99), len(cache)) == (None, 0)


def test_a_quiet_ledger_learns_too(tmp_path):
    """Samples of what was written before a restart count, and a kind learns when it has enough of its own."""
    path = tmp_path / "ledger.sqlite"
    network = Network(SqliteStore.create(path))
    learned = []
    for count in (900, 600, 600, 1):
        network.block([network.submission("ga", [network.event(text="依申请核验", n=n) for n in range(count)])])
        network.store.close()
        network.reopen(lambda: SqliteStore.open(path))
        found = network.store._connection.execute("SELECT id FROM dictionaries ORDER BY id").fetchall()
        learned.append([number for (number,) in found])
    assert learned == [[], [], [1, 2], [1, 2]]
    reader = SqliteReader(path)
    with reader.snapshot() as snap:
        assert list(scrub(snap)) == []
    reader.close()
    network.store.close()
