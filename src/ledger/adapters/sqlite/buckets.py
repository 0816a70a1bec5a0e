"""The buckets of the state map on disk: whole in `buckets`, and what changed in them lately in `bucket_changes`.

Rules: a bucket is its row in `buckets` with its pairs in `bucket_changes` written over it. A block writes the changed pairs
alone: in a large map every touched bucket has a page of its own, and theirs share a few. A bucket whose changes are many, or
that nobody has touched for longest when `CHANGED_MAX` have some, is written whole. All of it happens in the transaction of
the block, so there is nothing to repair after a crash. A bucket read from disk is checked against its leaf hash, which was
checked at the start and is kept in memory since, with one byte of each key that the bucket holds: most questions about new
keys read nothing. Not here: rows (`state`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from ledger.adapters.sqlite import query
from ledger.adapters.sqlite.cache import Cache
from ledger.adapters.sqlite.faults import damaged
from ledger.core.buckets import PAIR_BYTES, bucket_leaf_hash, merge
from ledger.core.hashing import DIGEST_BYTES, Digest
from ledger.core.maptree import MapTree
from ledger.machine.block import Sealed

BUCKETS_CACHED: Final = 8_000  # about 10 MB
MARK: Final = 8  # which byte of a key hash; those before it choose the bucket
CHANGED_MAX: Final = 2_048  # buckets with a row in `bucket_changes`, some 50 pages
CHANGED_BYTES_MAX: Final = 8 * PAIR_BYTES  # of one of them

_WHOLE: Final = "SELECT b.i, b.pairs, coalesce(c.pairs, X'') FROM buckets b LEFT JOIN bucket_changes c ON c.i = b.i "
_SOME: Final = "SELECT i, pairs FROM buckets WHERE i IN ({})"
_STRAY: Final = "SELECT c.i FROM bucket_changes c LEFT JOIN buckets b ON b.i = c.i WHERE b.i IS NULL LIMIT 1"
_TYPES: Final = (int, bytes, bytes)


def read_bucket(connection: sqlite3.Connection, index: int) -> bytes:
    """Packed pairs of a bucket; b"" where none was written."""
    row = query.row(connection, _WHOLE + "WHERE b.i = ?", (index,), _TYPES)
    return b"" if row is None else _whole(*row)


@dataclass(frozen=True, slots=True)
class StoredMap:
    """All buckets on disk, hashed again: the tree over them, and of each bucket the byte `MARK` of every key hash in it."""

    tree: MapTree
    marks: list[bytes]


def load_map(connection: sqlite3.Connection) -> StoredMap:
    """The state map as it is stored; raises `FatalError` where a bucket is missing."""
    hashes: list[bytes] = []
    marks: list[bytes] = []
    for row in query.rows(connection, _WHOLE + "ORDER BY b.i", (), _TYPES):
        if row[0] != len(hashes):
            raise damaged("state map", reason="a bucket is missing", bucket=len(hashes))
        packed = _whole(*row)
        hashes.append(bucket_leaf_hash(packed))
        marks.append(packed[MARK::PAIR_BYTES])
    stray = query.row(connection, _STRAY, (), (int,))
    if stray is not None:
        raise damaged("state map", reason="changes of a bucket that is missing", bucket=stray[0])
    if not hashes:
        return StoredMap(MapTree.empty(), [b""])
    return StoredMap(MapTree.from_leaves(b"".join(hashes)), marks)


def _whole(index: int, packed: bytes, pairs: bytes) -> bytes:
    if len(pairs) % PAIR_BYTES or len(packed) % PAIR_BYTES:
        raise damaged("state map", reason="a bucket is not whole pairs", bucket=index)
    return merge(packed, pairs) if pairs else packed


class BucketTables:
    """Reads and writes `buckets` and `bucket_changes` for the one writer, behind a cache that is written through."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._cache: Cache[int, bytes] = Cache(BUCKETS_CACHED)
        self._tree: MapTree | None = None
        self._leaves: list[bytes] = []  # leaf hashes of the buckets on disk, once they were loaded
        self._marks: list[bytes] = []
        # What stands in `bucket_changes`; touched last stands last, as far as this process knows.
        self._changes: dict[int, bytes] = {}
        for index, pairs in query.rows(connection, "SELECT i, pairs FROM bucket_changes", (), (int, bytes)):
            self._changes[index] = pairs

    def check_against(self, loaded: StoredMap) -> None:
        """From now on check each bucket read from disk: the tree is checked, and follows the blocks that are written."""
        self._tree = loaded.tree
        self._leaves = loaded.tree.leaf_hashes(range(loaded.tree.size))
        self._marks = list(loaded.marks)

    @property
    def checked(self) -> int:
        """How many buckets are checked when they are read; 0 before `check_against`."""
        return len(self._leaves)

    def lacks(self, index: int, key_hash: Digest) -> bool:
        """True where bucket `index`, one of the checked, has no such key for certain; nothing is read."""
        return key_hash[MARK] not in self._marks[index]

    def load(self, indexes: Iterable[int]) -> dict[int, bytes]:
        """Packed buckets; b"" for one that was never written. Raises `FatalError` for one that is not what it was."""
        found: dict[int, bytes] = {}
        missing: list[int] = []
        get = self._cache.get
        for index in indexes:
            packed = get(index)
            if packed is None:
                missing.append(index)
            else:
                found[index] = packed
        if missing:
            missing = sorted(set(missing))
            pairs = self._changes
            rows = query.select_in(self._connection, _SOME, missing, (int, bytes))
            loaded = {index: _whole(index, packed, pairs.get(index, b"")) for index, packed in rows}
            for index in missing:
                packed = found[index] = loaded.get(index, b"")
                self._check(index, packed)
                self._cache.put(index, packed)
        return found

    def _check(self, index: int, packed: bytes) -> None:
        if index < len(self._leaves) and bucket_leaf_hash(packed) != self._leaves[index]:
            raise damaged("state map", reason="a bucket is not what it was", bucket=index)

    def write(self, sealed: Sealed) -> None:
        """Write the block's buckets in the open transaction."""
        changes, changed, old = self._changes, sealed.changed, sealed.old_buckets
        touched: list[int] = []
        whole: list[tuple[int, bytes]] = []
        gone: list[tuple[int]] = []
        for index, packed in sealed.buckets.items():
            self._cache.put(index, packed)
            before, pairs = changes.pop(index, None), changed.get(index)
            if pairs is not None and before is not None:
                alone = len(before) == PAIR_BYTES and before[:DIGEST_BYTES] == pairs[:DIGEST_BYTES]
                pairs = pairs if alone else merge(before, pairs)
            if pairs is None or len(pairs) > CHANGED_BYTES_MAX or not old.get(index):
                whole.append((index, packed))
                if before is not None:
                    gone.append((index,))
            else:
                changes[index] = pairs
                touched.append(index)
        for index in list(islice(changes, max(0, len(changes) - CHANGED_MAX))):
            whole.append((index, sealed.buckets.get(index) or self._cache.get(index) or self.load((index,))[index]))
            gone.append((index,))
            del changes[index]
        few = [(index, changes[index]) for index in touched if index in changes]
        few.sort()  # neighbours share pages
        whole.sort()
        self._connection.executemany("INSERT OR REPLACE INTO bucket_changes (i, pairs) VALUES (?, ?)", few)
        self._connection.executemany("INSERT OR REPLACE INTO buckets (i, pairs) VALUES (?, ?)", whole)
        self._connection.executemany("DELETE FROM bucket_changes WHERE i = ?", gone)
        self._keep_leaves(sealed)

    def _keep_leaves(self, sealed: Sealed) -> None:
        leaves, marks, tree = self._leaves, self._marks, self._tree
        if tree is None:
            return
        indexes = sorted(sealed.buckets)
        if tree.root() == sealed.header.state_root:
            hashes = tree.leaf_hashes(indexes)
        else:  # it has moved on to the next block
            hashes = [bucket_leaf_hash(sealed.buckets[index]) for index in indexes]
        grown = sealed.header.state_buckets - len(leaves)
        leaves.extend([b""] * grown)
        marks.extend([b""] * grown)
        for index, digest in zip(indexes, hashes, strict=True):
            leaves[index] = digest
            marks[index] = sealed.buckets[index][MARK::PAIR_BYTES]
