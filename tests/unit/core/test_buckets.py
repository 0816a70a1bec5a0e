"""Linear-hash buckets: counts, places, commitments, and how a block changes them."""

from __future__ import annotations

import random

import pytest

from ledger.core import merkle
from ledger.core.buckets import (
    PAIR_BYTES,
    bucket_count,
    bucket_index,
    bucket_leaf_hash,
    large_bucket_leaf_hash,
    lookup,
    merge,
    pair_leaf_hashes,
    update,
)
from ledger.core.hashing import Digest
from ledger.errors import FatalError
from tests.models.reference_map import ReferenceMap, bucket_data


def keys_into(index: int, span: int, count: int, seed: int = 7) -> list[Digest]:
    """Key hashes whose first 8 bytes are ≡ index mod span: what a member who grinds names gets."""
    source = random.Random(seed)
    return [Digest((index + span * k).to_bytes(8, "little") + source.randbytes(24)) for k in range(count)]


def test_bucket_count_is_sixteen_keys_a_bucket_rounded_up():
    """n = max(1, ceil(keys / 16))."""
    assert [bucket_count(keys) for keys in (0, 1, 16, 17, 32, 33, 1_000_000)] == [1, 1, 1, 2, 2, 3, 62_500]


def test_bucket_index_follows_the_definition_for_small_counts():
    """For each n the index equals h mod 2^(L+1), or h mod 2^L where that is no bucket yet."""
    for n in range(1, 70):
        level = n.bit_length() - 1
        for h in range(300):
            wide = h % 2 ** (level + 1)
            assert bucket_index(h.to_bytes(8, "little") + bytes(24), n) == (wide if wide < n else h % 2**level)


def test_bucket_index_reads_eight_bytes_little_endian():
    """The first byte is the lowest, the ninth does not count."""
    assert bucket_index(b"\x01" + bytes(31), 256) == 1
    assert bucket_index(bytes(7) + b"\x80" + bytes(24), 2**63 + 1) == 2**63
    assert bucket_index(bytes(8) + b"\xff" * 24, 2**40) == 0


@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 66, 200])
def test_bucket_leaf_hash_is_the_rfc_6962_leaf_of_its_data(count):
    """Up to 64 pairs are hashed plain, more as the root over them."""
    packed = b"".join(key + bytes(32) for key in sorted(keys_into(0, 1, count)))
    assert bucket_leaf_hash(packed) == merkle.leaf_hash(bucket_data(packed))


def test_a_large_bucket_is_bound_by_count_and_root():
    """What a verifier computes from count and pairs root is the bucket's leaf hash."""
    packed = b"".join(key + bytes(32) for key in sorted(keys_into(0, 1, 65)))
    assert large_bucket_leaf_hash(65, merkle.root(pair_leaf_hashes(packed))) == bucket_leaf_hash(packed)


def test_lookup_finds_each_pair_and_nothing_else():
    """Every key in the bucket gives its value, every other None."""
    keys = sorted(keys_into(0, 1, 40))
    inside, outside = keys[::2], keys[1::2]
    packed = b"".join(key + key[::-1] for key in inside)
    assert [lookup(packed, key) for key in inside] == [key[::-1] for key in inside]
    assert [lookup(packed, key) for key in outside] == [None] * len(outside)


def test_lookup_is_not_led_astray_by_bytes_between_pairs():
    """A key hash that also stands elsewhere, inside other pairs, is found at its own place or not at all."""
    key = keys_into(0, 1, 1)[0]
    value = bytes(range(32))
    between = bytes(8) + bytes(24) + key
    shifted = bytes(16) + key + bytes(16)
    assert lookup(between, key) is None
    assert lookup(shifted, key) is None
    assert lookup(between + shifted + key + value, key) == value
    assert lookup(b"", key) is None


def test_changed_pairs_written_over_the_old_bucket_give_the_new_one():
    """What a block says to have changed in a bucket is all that did; of buckets that it moved pairs of it says nothing."""
    store = Buckets()
    source = random.Random(3)
    keys = [Digest(source.randbytes(32)) for _ in range(700)]
    told = 0
    for block in range(20):
        picked = [*source.sample(keys[:300], 9), *keys[300 + 20 * block : 300 + 20 * block + block % 3 * 10]]
        before, count = dict(store.packed), store.n
        updated = update(store.n, store.keys, {key: Digest(source.randbytes(32)) for key in picked}, store.read)
        for index, packed in updated.buckets.items():
            pairs = updated.changed.get(index)
            if pairs is None:
                assert updated.n > count
            else:
                assert merge(before.get(index, b""), pairs) == packed
                assert sorted(pairs[at : at + PAIR_BYTES] for at in range(0, len(pairs), PAIR_BYTES)) == [
                    pairs[at : at + PAIR_BYTES] for at in range(0, len(pairs), PAIR_BYTES)
                ]
                told += 1
        store.packed.update(updated.buckets)
        store.n, store.keys = updated.n, updated.keys
    assert told > 50


class Buckets:
    """A store of buckets that checks how it is read."""

    def __init__(self) -> None:
        self.packed: dict[int, bytes] = {}
        self.reads: list[list[int]] = []
        self.n, self.keys = 1, 0

    def read(self, indexes):
        """Ascending indexes of buckets that exist, none twice."""
        assert list(indexes) == sorted(set(indexes))
        assert all(0 <= index < self.n for index in indexes)
        self.reads.append(list(indexes))
        return [self.packed.get(index, b"") for index in indexes]

    def write(self, changes):
        """Apply changes; the update."""
        self.reads = []
        done = update(self.n, self.keys, changes, self.read)
        self.packed.update(done.buckets)
        self.n, self.keys = done.n, done.keys
        return done

    def all(self) -> list[bytes]:
        """Every bucket."""
        return [self.packed.get(index, b"") for index in range(self.n)]


@pytest.mark.parametrize("batch", [1, 3, 16, 17, 100, 1000])
def test_update_equals_the_definition_at_every_step(batch):
    """After each block buckets, counts and places are those of the definition, however many keys a block brings."""
    source = random.Random(batch)
    store, reference = Buckets(), ReferenceMap()
    for _ in range(max(3, 60 // batch)):
        changes = {Digest(source.randbytes(32)): Digest(source.randbytes(32)) for _ in range(batch)}
        for key in source.sample(sorted(reference.pairs), min(len(reference.pairs), batch)):
            changes[Digest(key)] = Digest(source.randbytes(32))
        done = store.write(changes)
        reference.write(changes)
        assert (store.n, store.keys) == (reference.n, len(reference.pairs))
        assert store.all() == reference.buckets()
        assert done.leaf_hashes() == {index: bucket_leaf_hash(packed) for index, packed in done.buckets.items()}
        assert len(store.reads) <= 2
        assert not set(store.reads[0]) & {index for read in store.reads[1:] for index in read}


def test_update_returns_touched_and_split_buckets_only():
    """A block that adds the 17th key touches bucket 0 and makes bucket 1; a rewrite touches one bucket."""
    store = Buckets()
    keys = keys_into(0, 1, 17)
    store.write(dict.fromkeys(keys[:16], Digest(bytes(32))))
    assert set(store.write({keys[16]: Digest(bytes(32))}).buckets) == {0, 1}
    assert store.n == 2
    assert set(store.write({keys[3]: Digest(b"\x01" * 32)}).buckets) == {bucket_index(keys[3], 2)}


def test_update_without_changes_reads_nothing():
    """An empty block leaves the map as it is."""
    store = Buckets()
    assert store.write({}).buckets == {}
    assert store.reads == []


def test_a_ground_bucket_stays_whole():
    """Names ground into one bucket lengthen that bucket only, past the limit of plain hashing."""
    store, reference = Buckets(), ReferenceMap()
    changes = dict.fromkeys(keys_into(0, 1 << 20, 150), Digest(bytes(32)))
    store.write(changes)
    reference.write(changes)
    assert [len(packed) // PAIR_BYTES for packed in store.all()] == [150, *[0] * 9]
    assert store.all() == reference.buckets()


@pytest.mark.parametrize(
    ("n", "keys", "contents"),
    [(2, 16, [b""]), (1, 1, [b"", b""]), (1, 1, []), (1, 1, [bytes(63)])],
    ids=["count", "too many", "too few", "torn pair"],
)
def test_update_stops_where_the_store_contradicts_itself(n, keys, contents):
    """A wrong count, or a bucket that is not whole pairs, is never built upon."""
    with pytest.raises(FatalError):
        update(n, keys, {Digest(bytes(32)): Digest(bytes(32))}, lambda _: contents)
