"""The RFC 6962 tree over the state map's bucket leaf hashes, held in memory: old leaves change, the right edge grows.

Rules: level k is the list of the roots of the complete subtrees of 2^k leaves (about 10 MB at a million keys; packed
into byte arrays it would be 4 MB and a third slower); a block rehashes each touched node once, level by level. `apply`
returns an undo layer: what the nodes held before. Layers are linked from old to new, so one layer is enough to read the
tree as it was before that block, also while another thread applies the next one; a layer nobody holds is collected.
Never holds a key, a value or a bucket's content.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256

from ledger.core import merkle
from ledger.core.buckets import bucket_leaf_hash
from ledger.core.hashing import DIGEST_BYTES, Digest
from ledger.errors import MalformedError, invariant


class TreeUndo:
    """What one block overwrote: the tree's size before it and the old hashes, per level by ascending index."""

    __slots__ = ("_indexes", "_old", "newer", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.newer: TreeUndo | None = None  # the next block's layer, linked before that block writes
        self._indexes: list[array[int]] = []
        self._old: list[bytes] = []

    def add_level(self, indexes: list[int], old: bytes) -> None:
        """Keep the old hashes of one level's nodes."""
        self._indexes.append(array("I", indexes))
        self._old.append(old)

    def node(self, level: int, index: int) -> Digest | None:
        """The node's hash before the block, or None if the block left it alone."""
        if level >= len(self._indexes):
            return None
        indexes = self._indexes[level]
        place = bisect_left(indexes, index)
        if place == len(indexes) or indexes[place] != index:
            return None
        return Digest(self._old[level][place * DIGEST_BYTES : (place + 1) * DIGEST_BYTES])

    def levels(self) -> Iterator[tuple[Sequence[int], bytes]]:
        """Indexes and old hashes of level 0, 1, … as far as old nodes were overwritten."""
        return zip(self._indexes, self._old, strict=True)

    def memory_bytes(self) -> int:
        """Bytes held for hashes and indexes, without the objects around them."""
        return sum(len(indexes) * indexes.itemsize for indexes in self._indexes) + sum(map(len, self._old))


class MapTree:
    """Mutable tree of bucket leaf hashes. One writer; any number of readers that hold an undo layer."""

    def __init__(self, leaves: bytes) -> None:
        if not leaves or len(leaves) % DIGEST_BYTES:
            raise MalformedError("map-leaves", "a map tree is one or more whole leaf hashes", size=len(leaves))
        self._levels = [[leaves[at : at + DIGEST_BYTES] for at in range(0, len(leaves), DIGEST_BYTES)]]
        self._newest: TreeUndo | None = None
        while len(self._levels[-1]) > 1:
            below = self._levels[-1]
            self._levels.append(_parents(below, range(len(below) >> 1)))

    @classmethod
    def from_leaves(cls, leaves: bytes) -> MapTree:
        """The tree over concatenated bucket leaf hashes; `MalformedError` unless one or more whole hashes."""
        return cls(leaves)

    @classmethod
    def empty(cls) -> MapTree:
        """The tree of the map without keys: one empty bucket."""
        return cls(bucket_leaf_hash(b""))

    @property
    def size(self) -> int:
        """Number of leaves (buckets) now."""
        return len(self._levels[0])

    def leaves(self) -> bytes:
        """All leaf hashes now, concatenated."""
        return b"".join(self._levels[0])

    def leaf_hashes(self, indexes: Iterable[int]) -> list[bytes]:
        """Leaf hashes of those buckets now."""
        leaves = self._levels[0]
        return [leaves[index] for index in indexes]

    def node(self, level: int, index: int, before: TreeUndo | None = None) -> Digest:
        """Root of the complete subtree over leaves [index·2^level, (index+1)·2^level).

        With `before`, as it was before the block that made that layer. Raises `FatalError` if no such node was there.
        """
        size = self.size if before is None else before.size
        invariant(0 <= index < size >> level, "node outside the map tree")
        layer = before
        while layer is not None:
            old = layer.node(level, index)
            if old is not None:
                return old
            if layer.newer is None:
                now = self._levels[level][index]
                # A block that is applied meanwhile links its layer before it writes: then that layer decides.
                if layer.newer is None:
                    return Digest(now)
            layer = layer.newer
        return Digest(self._levels[level][index])

    def root(self, before: TreeUndo | None = None) -> Digest:
        """RFC 6962 root: the state root now, or before the block that made the layer `before`."""
        size = self.size if before is None else before.size
        return merkle.fold([self.node(level, index, before) for level, index in merkle.range_nodes(0, size)])

    def inclusion_path(self, index: int, before: TreeUndo | None = None) -> list[Digest]:
        """RFC 6962 inclusion path of a bucket, now or before the block that made the layer `before`."""
        size = self.size if before is None else before.size
        nodes = {node: self.node(*node, before) for node in merkle.inclusion_nodes(index, size)}
        return merkle.prove_inclusion(index, size, nodes)

    def apply(self, changes: Mapping[int, Digest], size: int) -> TreeUndo:
        """Set the changed leaves and grow to `size`; every new leaf must be among `changes`.

        Returns the undo layer. Raises `FatalError`, with the tree unchanged, where the changes do not fit.
        """
        old_size = self.size
        indexes = sorted(changes)
        new_count = len(indexes) - bisect_left(indexes, old_size)
        invariant(old_size <= size and new_count == size - old_size, "map tree growth without its leaves")
        invariant(not indexes or (indexes[0] >= 0 and indexes[-1] < size), "leaf outside the map tree")
        touched = _touched_levels(indexes, size)
        undo = TreeUndo(old_size)
        for level, nodes in enumerate(touched):
            kept = nodes[: bisect_left(nodes, old_size >> level)]
            if not kept:
                break  # and none above: a node that was complete before had complete nodes below it
            data = self._levels[level]
            undo.add_level(kept, b"".join([data[at] for at in kept]))
        if self._newest is not None:
            self._newest.newer = undo
        self._newest = undo
        below = self._levels[0]
        _overwrite(below, indexes, [changes[at] for at in indexes])
        for level, nodes in enumerate(touched[1:], 1):
            if level == len(self._levels):
                self._levels.append([])
            _overwrite(self._levels[level], nodes, _parents(below, nodes))
            below = self._levels[level]
        return undo

    def revert(self, undo: TreeUndo) -> None:
        """Take back the last `apply`, whose layer `undo` is: for a block that was sealed but never committed.

        The layer stays in the chain: what it says of the older tree is true of the reverted one as well, so readers
        that hold older layers are not disturbed. Raises `FatalError` unless `undo` is the newest layer.
        """
        invariant(undo is self._newest, "only the newest block can be taken back")
        for data, (indexes, old) in zip(self._levels, undo.levels(), strict=False):
            _overwrite(data, indexes, [old[at : at + DIGEST_BYTES] for at in range(0, len(old), DIGEST_BYTES)])
        for level, data in enumerate(self._levels):
            del data[undo.size >> level :]
        del self._levels[undo.size.bit_length() :]


def _parents(below: Sequence[bytes], nodes: Iterable[int]) -> list[bytes]:
    """Hashes of the nodes over a level: SHA-256(0x01 ‖ left ‖ right), RFC 6962 section 2.1."""
    return [sha256(b"\x01" + below[at + at] + below[at + at + 1]).digest() for at in nodes]


def _overwrite(data: list[bytes], nodes: Sequence[int], hashes: Sequence[bytes]) -> None:
    """Set nodes of one level, ascending; those beyond its end are the next ones, so appending places them."""
    end = len(data)
    for at, digest in zip(nodes, hashes, strict=True):
        if at < end:
            data[at] = digest
        else:
            data.append(digest)


def _touched_levels(indexes: list[int], size: int) -> list[list[int]]:
    """Touched complete nodes level by level, ascending: shared ancestors appear once."""
    nodes = indexes
    touched = [nodes]
    complete = size >> 1
    while complete:
        nodes = list(dict.fromkeys([at >> 1 for at in nodes]))
        if nodes and nodes[-1] >= complete:  # only the last can lack its right half
            nodes.pop()
        touched.append(nodes)
        complete >>= 1
    return touched
