"""The fast state map beside its definition: any run of blocks, reverts, reads of older states and proofs agrees."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ledger.core.buckets import MapUpdate, bucket_index, update
from ledger.core.hashing import Digest
from ledger.core.mapkeys import EMPTY_VALUE_HASH, key_hash, value_hash
from ledger.core.mapproof import prove_map, verify_map
from ledger.core.maptree import MapTree, TreeUndo
from tests.models.reference_map import ReferenceMap

NAMES = st.integers(0, 120)
VALUES = st.integers(0, 3)


def ground(number: int) -> Digest:
    """Every third key lies where somebody fills one bucket."""
    digest = key_hash(b"%d" % number)
    return Digest(bytes(8) + digest[8:]) if number % 3 == 0 else digest


class Maps(RuleBasedStateMachine):
    """Map, tree and buckets as a node keeps them; the reference recomputes everything."""

    def __init__(self) -> None:
        super().__init__()
        self.reference = ReferenceMap()
        self.tree, self.keys = MapTree.empty(), 0
        self.buckets: dict[int, bytes] = {}
        self.revertible = False
        self.past: list[tuple[dict[bytes, bytes], TreeUndo, dict[int, bytes]]] = []

    @rule(changes=st.dictionaries(NAMES, VALUES, max_size=60))
    def write(self, changes: dict[int, int]) -> None:
        """A block sets some keys; value 0 deletes."""
        hashes = {ground(name): value_hash(b"v" * value) for name, value in changes.items()}
        updated = update(self.tree.size, self.keys, hashes, self.read)
        self.past.append((dict(self.reference.pairs), self.apply(updated), dict(self.buckets)))
        self.buckets.update(updated.buckets)
        self.keys = updated.keys
        self.reference.write(hashes)
        self.revertible = True

    def read(self, indexes):
        """Buckets by index, empty where never written."""
        return [self.buckets.get(index, b"") for index in indexes]

    def apply(self, updated: MapUpdate) -> TreeUndo:
        """Advance the tree."""
        return self.tree.apply(updated.leaf_hashes(), updated.n)

    @precondition(lambda self: self.revertible)
    @rule()
    def revert(self) -> None:
        """The last block was never committed; layers of older ones go on answering."""
        pairs, undo, buckets = self.past.pop()
        self.tree.revert(undo)
        self.reference.pairs, self.keys, self.buckets = pairs, len(pairs), buckets
        self.revertible = False

    @precondition(lambda self: self.past)
    @rule(data=st.data(), name=NAMES)
    def prove_in_the_past(self, data, name: int) -> None:
        """Any older state proves any key, present or absent."""
        pairs, undo, buckets = data.draw(st.sampled_from(self.past))
        reference = ReferenceMap()
        reference.pairs = dict(pairs)
        root, key = Digest(reference.root()), ground(name)
        assert self.tree.root(undo) == root
        index = bucket_index(key, undo.size)
        proof = prove_map(key, buckets.get(index, b""), self.tree.inclusion_path(index, undo))
        held = pairs.get(key)
        shown = verify_map(root, undo.size, len(pairs), key, proof)
        assert shown == (None if held == EMPTY_VALUE_HASH else held)

    @invariant()
    def agree(self) -> None:
        """Counts, contents and root are those of the definition."""
        assert (self.tree.size, self.keys) == (self.reference.n, len(self.reference.pairs))
        assert self.read(range(self.tree.size)) == self.reference.buckets()
        assert self.tree.root() == self.reference.root()


TestMaps = Maps.TestCase
TestMaps.settings = settings(max_examples=25, stateful_step_count=12, deadline=None)
