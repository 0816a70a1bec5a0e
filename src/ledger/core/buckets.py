"""Linear-hash buckets of the state map: which bucket a key is in, what a bucket commits to, how a block changes it.

Rules (SPEC R-M03, R-M04): after each block n = max(1, ceil(keys / 16)); a bucket is packed bytes, 64 each pair (key
hash ‖ value hash), strictly ascending by key hash; where a pair lies is a function of the key hash and n alone, so the
order of changes and the way there leave no trace.
Never reads storage: `update` asks for the buckets it needs and returns the new ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from ledger.core import merkle
from ledger.core.hashing import DIGEST_BYTES, TAG_BUCKET, Digest, u32
from ledger.errors import invariant
from ledger.limits import BUCKET_KEYS_TARGET, BUCKET_PLAIN_KEYS_MAX

PAIR_BYTES: Final = 2 * DIGEST_BYTES
_LEAF_PREFIX: Final = b"\x00" + TAG_BUCKET  # RFC 6962 section 2.1: a leaf hash is H(0x00 ‖ D)

ReadBuckets = Callable[[Sequence[int]], Sequence[bytes]]


def bucket_count(keys: int) -> int:
    """Buckets of a map of `keys` keys: max(1, ceil(keys / 16))."""
    return max(1, -(-keys // BUCKET_KEYS_TARGET))


def bucket_index(key_hash: bytes | bytearray, n: int) -> int:
    """Bucket of a key among `n` ≥ 1.

    h = first 8 bytes little-endian, L = floor(log2 n): h mod 2^(L+1), or h mod 2^L where that is ≥ n.
    """
    h = int.from_bytes(key_hash[:8], "little")
    span = 1 << n.bit_length()
    index = h & (span - 1)
    return index if index < n else index & ((span >> 1) - 1)


def bucket_leaf_hash(packed: bytes) -> Digest:
    """RFC 6962 leaf hash of a bucket's D = tag ‖ u32 count ‖ pairs.

    Above 64 pairs D = tag ‖ u32 count ‖ RFC 6962 root over D[j] = 64-byte pairs, so that a proof from a bucket that
    somebody has filled on purpose stays short.
    """
    count = len(packed) // PAIR_BYTES
    if count <= BUCKET_PLAIN_KEYS_MAX:
        return Digest(sha256(_LEAF_PREFIX + u32(count) + packed).digest())
    return large_bucket_leaf_hash(count, merkle.root(pair_leaf_hashes(packed)))


def large_bucket_leaf_hash(count: int, pairs_root: Digest) -> Digest:
    """RFC 6962 leaf hash of a bucket above 64 pairs: D = tag ‖ u32 count ‖ RFC 6962 root over its pairs."""
    return Digest(sha256(_LEAF_PREFIX + u32(count) + pairs_root).digest())


def pair_leaf_hashes(packed: bytes) -> list[Digest]:
    """RFC 6962 leaf hashes of a bucket's pairs, each pair being one D[j] of 64 bytes."""
    return [
        Digest(sha256(b"\x00" + packed[offset : offset + PAIR_BYTES]).digest())
        for offset in range(0, len(packed), PAIR_BYTES)
    ]


def pair_position(packed: bytes | bytearray, key_hash: bytes) -> tuple[int, bool]:
    """Byte offset of the pair of `key_hash`, or where it would be inserted; and whether it is there."""
    low, high = 0, len(packed) // PAIR_BYTES
    while low < high:
        middle = (low + high) >> 1
        offset = middle * PAIR_BYTES
        found = packed[offset : offset + DIGEST_BYTES]
        if found == key_hash:
            return offset, True
        if found < key_hash:
            low = middle + 1
        else:
            high = middle
    return low * PAIR_BYTES, False


def lookup(packed: bytes, key_hash: bytes) -> Digest | None:
    """Value hash that a bucket holds for a key, the hash of the empty value included; None if never present."""
    offset, present = pair_position(packed, key_hash)
    return Digest(packed[offset + DIGEST_BYTES : offset + PAIR_BYTES]) if present else None


@dataclass(frozen=True, slots=True)
class MapUpdate:
    """The state map's sizes after a block, and the new packed contents of every touched or split bucket."""

    n: int
    keys: int
    buckets: dict[int, bytes]

    def leaf_hashes(self) -> dict[int, Digest]:
        """Bucket leaf hashes to apply to the map tree."""
        return {index: bucket_leaf_hash(packed) for index, packed in self.buckets.items()}


def update(n: int, keys: int, changes: Mapping[Digest, Digest], read_buckets: ReadBuckets) -> MapUpdate:
    """Apply a block's `changes` (key hash → value hash) to a map of `n` buckets and `keys` keys.

    `read_buckets` gets ascending indexes below `n` and returns their packed contents in that order; it is called once
    for the touched buckets and, if the map grows, once more for those that split and were not touched.
    Raises `FatalError` where `n`, `keys` or a bucket cannot be of one map.
    """
    invariant(n == bucket_count(keys), "bucket count does not fit the number of keys")
    if not changes:
        return MapUpdate(n, keys, {})
    touched = _group(changes, n)
    buckets = _read(sorted(touched), read_buckets)
    for index, key_hashes in touched.items():
        keys += _merge(buckets[index], key_hashes, changes)
    grown = bucket_count(keys)
    if grown > n:
        _split(buckets, n, grown, read_buckets)
    return MapUpdate(grown, keys, {index: bytes(packed) for index, packed in buckets.items()})


def _group(changes: Mapping[Digest, Digest], n: int) -> dict[int, list[Digest]]:
    """Changed key hashes by bucket; `bucket_index` written out, because this runs for each touched key."""
    span = 1 << n.bit_length()
    high, low = span - 1, (span >> 1) - 1
    from_bytes = int.from_bytes
    touched: dict[int, list[Digest]] = {}
    for key_hash in changes:
        index = from_bytes(key_hash[:8], "little") & high
        if index >= n:
            index &= low
        if index in touched:
            touched[index].append(key_hash)
        else:
            touched[index] = [key_hash]
    return touched


def _read(indexes: Sequence[int], read_buckets: ReadBuckets) -> dict[int, bytearray]:
    contents = read_buckets(indexes)
    invariant(len(contents) == len(indexes), "store returned another number of buckets")
    buckets = {}
    for index, packed in zip(indexes, contents, strict=True):
        invariant(len(packed) % PAIR_BYTES == 0, "stored bucket is not whole pairs")
        buckets[index] = bytearray(packed)
    return buckets


def _merge(bucket: bytearray, key_hashes: Sequence[Digest], changes: Mapping[Digest, Digest]) -> int:
    """Write the changed pairs into one bucket, in place and in order; the number of new keys."""
    if len(key_hashes) > BUCKET_KEYS_TARGET:
        return _merge_many(bucket, key_hashes, changes)
    added = 0
    for key_hash in key_hashes:
        offset, present = pair_position(bucket, key_hash)
        if present:
            bucket[offset + DIGEST_BYTES : offset + PAIR_BYTES] = changes[key_hash]
        else:
            bucket[offset:offset] = key_hash + changes[key_hash]
            added += 1
    return added


def _merge_many(bucket: bytearray, key_hashes: Sequence[Digest], changes: Mapping[Digest, Digest]) -> int:
    """As `_merge`, by sorting: inserting one by one would move the bucket's bytes once for each key."""
    pairs = {
        bytes(bucket[offset : offset + DIGEST_BYTES]): bytes(bucket[offset + DIGEST_BYTES : offset + PAIR_BYTES])
        for offset in range(0, len(bucket), PAIR_BYTES)
    }
    count = len(pairs)
    for key_hash in key_hashes:
        pairs[key_hash] = changes[key_hash]
    bucket[:] = b"".join([key_hash + pairs[key_hash] for key_hash in sorted(pairs)])
    return len(pairs) - count


def _split(buckets: dict[int, bytearray], n: int, grown: int, read_buckets: ReadBuckets) -> None:
    """Grow from `n` to `grown` buckets: move pairs out of every bucket that a new one takes from.

    Where a pair lies depends on its hash and the count only, so all splits of a block are one redistribution.
    """
    sources = set()
    for index in range(n, grown):
        source = index
        while source >= n:  # bucket i came from i without its highest bit
            source ^= 1 << (source.bit_length() - 1)
        sources.add(source)
        buckets[index] = bytearray()
    buckets.update(_read(sorted(sources - buckets.keys()), read_buckets))
    for source in sources:
        packed = buckets[source]
        buckets[source] = bytearray()
        for offset in range(0, len(packed), PAIR_BYTES):
            pair = packed[offset : offset + PAIR_BYTES]
            buckets[bucket_index(pair, grown)] += pair
