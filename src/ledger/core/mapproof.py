"""Proofs about one key of the state map: presence and absence are one kind (SPEC R-M07).

A proof shows the key's whole bucket, or of a bucket above 64 pairs the pair itself or its two would-be neighbours, and
the bucket's inclusion path. Which bucket that is, is not said but computed from the key and the number of buckets.
Rules: every count, order and place is checked before anything is believed; the empty value is absence.
Not here: what the value means, and whether the state root is certified (see `proofstate`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ledger.core import merkle
from ledger.core.buckets import (
    PAIR_BYTES,
    bucket_count,
    bucket_index,
    bucket_leaf_hash,
    large_bucket_leaf_hash,
    lookup,
    pair_leaf_hashes,
    pair_position,
)
from ledger.core.hashing import DIGEST_BYTES, Digest
from ledger.core.mapkeys import EMPTY_VALUE_HASH
from ledger.errors import VerificationError
from ledger.limits import BUCKET_PLAIN_KEYS_MAX


@dataclass(frozen=True, slots=True)
class Window:
    """Where the shown pairs stand in a bucket above 64 pairs.

    They are the pairs from `begin` on of `count`, bound to `root` (RFC 6962 over all pairs) by the range proof `path`.
    """

    begin: int
    count: int
    root: Digest
    path: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class MapProof:
    """Packed pairs of a bucket, its inclusion path among the buckets, and the window where `pairs` is not the whole.

    Says nothing until `verify_map` returns.
    """

    pairs: bytes
    path: tuple[Digest, ...]
    window: Window | None = None


def prove_map(key_hash: Digest, packed: bytes, path: Sequence[Digest]) -> MapProof:
    """The proof about a key from its bucket's packed pairs and the bucket's inclusion path."""
    count = len(packed) // PAIR_BYTES
    if count <= BUCKET_PLAIN_KEYS_MAX:
        return MapProof(packed, tuple(path))
    offset, present = pair_position(packed, key_hash)
    position = offset // PAIR_BYTES
    begin, end = (position, position + 1) if present else (max(position - 1, 0), min(position + 1, count))
    grown, levels = merkle.EMPTY_RANGE.grow(pair_leaf_hashes(packed))
    nodes = {(level, first + at): digest for level, (first, row) in enumerate(levels) for at, digest in enumerate(row)}
    window = Window(begin, count, grown.root(), tuple(merkle.prove_range(begin, end, count, nodes)))
    return MapProof(packed[begin * PAIR_BYTES : end * PAIR_BYTES], tuple(path), window)


def verify_map(state_root: Digest, n: int, keys: int, key_hash: Digest, proof: MapProof) -> Digest | None:
    """The key's value hash in the map of `keys` keys in `n` buckets under `state_root`, or None if it is absent.

    Raises `VerificationError` (code `map-proof`, or `inclusion` and `range` from the paths) unless the proof shows one
    or the other.
    """
    count = len(proof.pairs) // PAIR_BYTES if proof.window is None else proof.window.count
    # u32 count: a bucket beyond it could not be hashed.
    if n != bucket_count(keys) or not 0 <= count <= min(keys, 0xFFFF_FFFF) or len(proof.pairs) % PAIR_BYTES:
        raise VerificationError("map-proof", "numbers of buckets, keys and pairs disagree", n=n, keys=keys, count=count)
    index = bucket_index(key_hash, n)
    shown = _shown_keys(proof.pairs)
    if any(bucket_index(key, n) != index for key in shown):
        raise VerificationError("map-proof", "a pair belongs into another bucket", index=index)
    if any(left >= right for left, right in pairwise(shown)):
        raise VerificationError("map-proof", "pairs are not strictly ascending", index=index)
    if proof.window is None:
        if count > BUCKET_PLAIN_KEYS_MAX:
            raise VerificationError("map-proof", "a bucket of this size is shown by a window", count=count)
        leaf_hash = bucket_leaf_hash(proof.pairs)
    else:
        leaf_hash = _verify_window(key_hash, shown, proof.pairs, proof.window)
    merkle.verify_inclusion(leaf_hash, index, n, proof.path, state_root)
    found = lookup(proof.pairs, key_hash)
    return None if found == EMPTY_VALUE_HASH else found


def _shown_keys(pairs: bytes) -> list[bytes]:
    return [pairs[offset : offset + DIGEST_BYTES] for offset in range(0, len(pairs), PAIR_BYTES)]


def _verify_window(key_hash: Digest, shown: Sequence[bytes], pairs: bytes, window: Window) -> Digest:
    """The bucket's leaf hash, once the window shows the key's pair or the only place where it could stand."""
    begin, count = window.begin, window.count
    if count <= BUCKET_PLAIN_KEYS_MAX:
        raise VerificationError("map-proof", "a bucket of this size is shown whole", count=count)
    if len(shown) == 2:
        decides = shown[0] < key_hash < shown[1]
    elif len(shown) == 1:
        before_all = begin == 0 and key_hash < shown[0]
        after_all = begin == count - 1 and key_hash > shown[0]
        decides = key_hash == shown[0] or before_all or after_all
    else:
        decides = False
    if not decides:
        raise VerificationError("map-proof", "the pairs shown do not decide about the key", begin=begin, count=count)
    merkle.verify_range(begin, begin + len(shown), count, pair_leaf_hashes(pairs), window.path, window.root)
    return large_bucket_leaf_hash(count, window.root)
