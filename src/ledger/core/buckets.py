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

_PLAIN_PREFIXES: Final = [_LEAF_PREFIX + u32(count) for count in range(BUCKET_PLAIN_KEYS_MAX + 1)]

ReadBuckets = Callable[[Sequence[int]], Sequence[bytes]]


def bucket_count(keys: int) -> int:
    """Buckets of a map of `keys` keys: max(1, ceil(keys / 16))."""
    return max(1, -(-keys // BUCKET_KEYS_TARGET))


def bucket_index(key_hash: bytes, n: int) -> int:
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
        return Digest(sha256(_PLAIN_PREFIXES[count] + packed).digest())
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


def pair_position(packed: bytes, key_hash: bytes) -> tuple[int, bool]:
    """Byte offset of the pair of `key_hash`, or where it would be inserted; and whether it is there."""
    offset = _find(packed, key_hash)
    if offset >= 0:
        return offset, True
    low, high = 0, len(packed) // PAIR_BYTES
    while low < high:
        middle = (low + high) >> 1
        if packed[middle * PAIR_BYTES : middle * PAIR_BYTES + DIGEST_BYTES] < key_hash:
            low = middle + 1
        else:
            high = middle
    return low * PAIR_BYTES, False


def _find(packed: bytes, key_hash: bytes) -> int:
    """Byte offset of the pair of `key_hash`, negative where there is none; a search for bytes beats one by halves here."""
    offset = packed.find(key_hash)
    while offset > 0 and offset % PAIR_BYTES:  # within other hashes, which nobody can bring about on purpose
        offset = packed.find(key_hash, offset + 1)
    return offset


def lookup(packed: bytes, key_hash: bytes) -> Digest | None:
    """Value hash that a bucket holds for a key, the hash of the empty value included; None if never present."""
    offset = _find(packed, key_hash)
    return Digest(packed[offset + DIGEST_BYTES : offset + PAIR_BYTES]) if offset >= 0 else None


def merge(packed: bytes, pairs: bytes) -> bytes:
    """A bucket with `pairs`, packed as one is, written over it."""
    values = {
        Digest(pairs[at : at + DIGEST_BYTES]): Digest(pairs[at + DIGEST_BYTES : at + PAIR_BYTES])
        for at in range(0, len(pairs), PAIR_BYTES)
    }
    return _merge(packed, list(values), values)[0]


@dataclass(frozen=True, slots=True)
class MapUpdate:
    """The state map's sizes after a block, and the new packed contents of every touched or split bucket.

    `changed` are the pairs written, packed as a bucket is, of the buckets that differ from what they were by those alone.
    """

    n: int
    keys: int
    buckets: dict[int, bytes]
    changed: dict[int, bytes]

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
        return MapUpdate(n, keys, {}, {})
    touched = _group(changes, n)
    buckets = _read(sorted(touched), read_buckets)
    changed: dict[int, bytes] = {}
    for index, key_hashes in touched.items():
        before = buckets[index]
        if len(key_hashes) == 1:  # in a large map nearly every bucket
            key_hash = key_hashes[0]
            pair = changed[index] = key_hash + changes[key_hash]
            offset, present = pair_position(before, key_hash)
            buckets[index] = before[:offset] + pair + before[offset + PAIR_BYTES if present else offset :]
            keys += not present
        else:
            buckets[index], added = _merge(before, key_hashes, changes)
            changed[index] = b"".join([key_hash + changes[key_hash] for key_hash in sorted(key_hashes)])
            keys += added
    grown = bucket_count(keys)
    if grown > n:
        for index in _split(buckets, n, grown, read_buckets):
            changed.pop(index, None)
    return MapUpdate(grown, keys, buckets, changed)


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


def _read(indexes: Sequence[int], read_buckets: ReadBuckets) -> dict[int, bytes]:
    contents = read_buckets(indexes)
    invariant(len(contents) == len(indexes), "store returned another number of buckets")
    invariant(not any(len(packed) % PAIR_BYTES for packed in contents), "stored bucket is not whole pairs")
    return dict(zip(indexes, contents, strict=True))


def _merge(packed: bytes, key_hashes: Sequence[Digest], values: Mapping[Digest, Digest]) -> tuple[bytes, int]:
    """The bucket with the changed pairs in it, in order; and the number of new keys."""
    if len(key_hashes) > BUCKET_KEYS_TARGET:
        return _merge_many(packed, key_hashes, values)
    added = 0
    for key_hash in key_hashes:
        offset, present = pair_position(packed, key_hash)
        rest = packed[offset + PAIR_BYTES if present else offset :]
        packed = packed[:offset] + key_hash + values[key_hash] + rest
        added += not present
    return packed, added


def _merge_many(packed: bytes, key_hashes: Sequence[Digest], values: Mapping[Digest, Digest]) -> tuple[bytes, int]:
    """As `_merge`, by sorting: inserting one by one would move the bucket's bytes once for each key."""
    pairs = {
        packed[offset : offset + DIGEST_BYTES]: packed[offset + DIGEST_BYTES : offset + PAIR_BYTES]
        for offset in range(0, len(packed), PAIR_BYTES)
    }
    count = len(pairs)
    for key_hash in key_hashes:
        pairs[key_hash] = values[key_hash]
    return b"".join([key_hash + pairs[key_hash] for key_hash in sorted(pairs)]), len(pairs) - count


def _split(buckets: dict[int, bytes], n: int, grown: int, read_buckets: ReadBuckets) -> set[int]:
    """Grow from `n` to `grown` buckets: move pairs out of every bucket that a new one takes from, which are returned.

    Where a pair lies depends on its hash and the count only, so all splits of a block are one redistribution.
    """
    sources = set()
    for index in range(n, grown):
        source = index
        while source >= n:  # bucket i came from i without its highest bit
            source ^= 1 << (source.bit_length() - 1)
        sources.add(source)
        buckets[index] = b""
    buckets.update(_read(sorted(sources - buckets.keys()), read_buckets))
    for source in sources:
        packed = buckets[source]
        buckets[source] = b""
        parts: dict[int, list[bytes]] = {}
        for offset in range(0, len(packed), PAIR_BYTES):
            pair = packed[offset : offset + PAIR_BYTES]
            parts.setdefault(bucket_index(pair, grown), []).append(pair)
        for index, pairs in parts.items():
            buckets[index] = b"".join(pairs)
    return sources
