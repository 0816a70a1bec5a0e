"""The state map and the streams recomputed from their definition: slow, short, and the judge of the fast code.

Written from docs/SPEC.md (state map, streams) alone; shares no code with `ledger` but SHA-256.
"""

from __future__ import annotations

import hashlib
import math

TAG_BUCKET = b"suyuan/bucket/v1\0"
PLAIN_MAX = 64


def sha256(data: bytes) -> bytes:
    """SHA-256 of `data`."""
    return hashlib.sha256(data).digest()


def tree_root(leaf_hashes: list[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1 over leaves that are hashed already, by its own recursion."""
    n = len(leaf_hashes)
    if n == 0:
        return sha256(b"")
    if n == 1:
        return leaf_hashes[0]
    k = 1
    while 2 * k < n:
        k *= 2
    return sha256(b"\x01" + tree_root(leaf_hashes[:k]) + tree_root(leaf_hashes[k:]))


def tree_root_of_data(entries: list[bytes]) -> bytes:
    """MTH over the entries themselves."""
    return tree_root([sha256(b"\x00" + entry) for entry in entries])


class ReferenceMap:
    """A dict of key hash → value hash whose root is recomputed whole."""

    def __init__(self) -> None:
        self.pairs: dict[bytes, bytes] = {}

    def write(self, changes: dict[bytes, bytes]) -> None:
        """Set values; a key once written stays."""
        self.pairs.update(changes)

    @property
    def n(self) -> int:
        """max(1, ceil(keys / 16))."""
        return max(1, math.ceil(len(self.pairs) / 16))

    def index(self, key_hash: bytes) -> int:
        """h mod 2^(L+1), or h mod 2^L where that is ≥ n, with L = floor(log2 n)."""
        h = sum(byte << (8 * place) for place, byte in enumerate(key_hash[:8]))
        level = 0
        while 2 ** (level + 1) <= self.n:
            level += 1
        index = h % 2 ** (level + 1)
        return index if index < self.n else h % 2**level

    def bucket(self, index: int) -> bytes:
        """The packed pairs of one bucket."""
        inside = sorted(key for key in self.pairs if self.index(key) == index)
        return b"".join(key + self.pairs[key] for key in inside)

    def buckets(self) -> list[bytes]:
        """The packed pairs of every bucket."""
        inside: list[list[bytes]] = [[] for _ in range(self.n)]
        for key in sorted(self.pairs):
            inside[self.index(key)].append(key + self.pairs[key])
        return [b"".join(pairs) for pairs in inside]

    def root(self) -> bytes:
        """The state root."""
        return tree_root_of_data([bucket_data(packed) for packed in self.buckets()])


def bucket_data(packed: bytes) -> bytes:
    """D[i]: tag ‖ u32 count ‖ pairs, or ‖ the root over the pairs above 64 of them."""
    count = len(packed) // 64
    head = TAG_BUCKET + count.to_bytes(4, "big")
    if count <= PLAIN_MAX:
        return head + packed
    return head + tree_root_of_data([packed[at : at + 64] for at in range(0, len(packed), 64)])


class ReferenceStream:
    """All leaf hashes of a stream, kept; everything else is recomputed."""

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.leaf_hashes: list[bytes] = []
        self.touches: list[bytes] = []
        self.time = 0

    def join(self, seqs: list[int], leaf_hashes: list[bytes], time: int, touches: list[bytes]) -> None:
        """The records of one block join."""
        self.seqs += seqs
        self.leaf_hashes += leaf_hashes
        self.touches += touches
        self.time = time

    def value(self) -> bytes:
        """The stream's value in canonical JSON."""
        blind = bytes(32)
        for touch in self.touches:
            blind = sha256(b"suyuan/blind/v1\0" + blind + touch)
        return (
            b'{"blind":"%b","first":%d,"last":%d,"root":"%b","size":%d,"time":%d}'
            % (
                blind.hex().encode(), self.seqs[0], self.seqs[-1],
                tree_root(self.leaf_hashes).hex().encode(), len(self.seqs), self.time,
            )
        )  # fmt: skip
