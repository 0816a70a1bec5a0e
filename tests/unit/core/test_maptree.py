"""The tree over the buckets: change, growth, older states, taking back, and reading beside a writer."""

from __future__ import annotations

import gc
import random
import threading
import weakref

import pytest

from ledger.core import merkle
from ledger.core.buckets import bucket_leaf_hash
from ledger.core.hashing import Digest
from ledger.core.maptree import MapTree
from ledger.errors import FatalError, MalformedError


def digests(source: random.Random, count: int) -> list[Digest]:
    """Random hashes."""
    return [Digest(source.randbytes(32)) for _ in range(count)]


def grow(source: random.Random, leaves: list[Digest], touched: int, new: int) -> tuple[dict[int, Digest], list[Digest]]:
    """Random changes to `touched` old leaves and `new` further ones; and the leaves after them."""
    places = source.sample(range(len(leaves)), min(touched, len(leaves)))
    places += range(len(leaves), len(leaves) + new)
    source.shuffle(places)
    changes = {place: Digest(source.randbytes(32)) for place in places}
    return changes, [changes.get(place, old) for place, old in enumerate([*leaves, *[Digest(b"")] * new])]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 100])
def test_root_and_paths_are_those_of_rfc_6962(size):
    """For each size the root is the tree's and every inclusion path verifies."""
    leaves = digests(random.Random(size), size)
    tree = MapTree.from_leaves(b"".join(leaves))
    assert (tree.size, tree.leaves()) == (size, b"".join(leaves))
    assert tree.leaf_hashes(range(0, size, 3)) == leaves[::3]
    assert tree.root() == merkle.root(leaves)
    for index, leaf in enumerate(leaves):
        merkle.verify_inclusion(leaf, index, size, tree.inclusion_path(index), tree.root())


def test_the_empty_map_is_one_empty_bucket():
    """Before the first key there is one bucket, and it is empty."""
    assert MapTree.empty().root() == bucket_leaf_hash(b"")


@pytest.mark.parametrize("leaves", [b"", bytes(31), bytes(33)])
def test_leaves_are_whole_hashes(leaves):
    """Nothing, or a torn hash, is no tree."""
    with pytest.raises(MalformedError):
        MapTree.from_leaves(leaves)


def test_changes_and_growth_equal_a_rebuilt_tree():
    """After each of many blocks root and nodes are those of a tree built anew."""
    source = random.Random(1)
    leaves = digests(source, 1)
    tree = MapTree.from_leaves(b"".join(leaves))
    for _ in range(120):
        changes, leaves = grow(source, leaves, source.randrange(4), source.choice((0, 0, 1, 2, 9)))
        tree.apply(changes, len(leaves))
        rebuilt = MapTree.from_leaves(b"".join(leaves))
        assert tree._levels == rebuilt._levels
        assert tree.root() == merkle.root(leaves)


def test_older_states_are_read_through_their_undo_layer():
    """Every state a layer was made for gives its root and its paths, blocks later; nodes beyond it are refused."""
    source = random.Random(2)
    leaves = digests(source, 5)
    tree = MapTree.from_leaves(b"".join(leaves))
    states = []
    for _ in range(40):
        changes, after = grow(source, leaves, 3, source.randrange(3))
        states.append((leaves, tree.apply(changes, len(after))))
        leaves = after
    for old, undo in states:
        assert (undo.size, tree.root(undo)) == (len(old), merkle.root(old))
        for index in source.sample(range(len(old)), 3):
            path = tree.inclusion_path(index, undo)
            merkle.verify_inclusion(old[index], index, len(old), path, merkle.root(old))
        with pytest.raises(FatalError):
            tree.node(0, len(old), undo)


def test_a_block_can_be_taken_back():
    """After `revert` the tree is what it was, older layers still answer, and another block can be applied."""
    source = random.Random(3)
    for size, new in ((1, 0), (1, 1), (3, 5), (4, 0), (7, 1), (16, 17)):
        base = digests(source, size)
        tree = MapTree.from_leaves(b"".join(base))
        changes, before = grow(source, base, 2, 1)
        first = tree.apply(changes, len(before))
        changes, after = grow(source, before, 3, new)
        undo = tree.apply(changes, len(after))
        tree.revert(undo)
        assert tree._levels == MapTree.from_leaves(b"".join(before))._levels
        changes, other = grow(source, before, 3, 2)
        second = tree.apply(changes, len(other))
        assert tree.root() == merkle.root(other)
        assert tree.root(second) == tree.root(undo) == merkle.root(before)
        assert tree.root(first) == merkle.root(base)
        with pytest.raises(FatalError):
            tree.revert(undo)


@pytest.mark.parametrize(
    ("places", "size"),
    [([3], 5), ([0], 2), ([3, 5], 5), ([-1], 3), ([0, 4], 4), ([4], 5)],
    ids=["gap above", "shrinks", "beyond", "negative", "beyond by one", "gap"],
)
def test_changes_that_do_not_fit_leave_the_tree_alone(places, size):
    """Growth needs each new leaf and no other; a refused change changes nothing."""
    leaves = digests(random.Random(4), 3)
    tree = MapTree.from_leaves(b"".join(leaves))
    with pytest.raises(FatalError):
        tree.apply(dict.fromkeys(places, Digest(bytes(32))), size)
    assert tree.root() == merkle.root(leaves)
    assert tree.leaves() == b"".join(leaves)


def test_layers_that_nobody_holds_are_collected():
    """Readers of the latest state cost no memory for the past."""
    source = random.Random(5)
    leaves = digests(source, 8)
    tree = MapTree.from_leaves(b"".join(leaves))

    class Held:
        """Dies with the layer that carries it."""

    held = Held()
    seen = weakref.ref(held)
    undo = tree.apply({0: Digest(bytes(32))}, 8)
    undo._old.append(held)
    del held
    tree.apply({1: Digest(bytes(32))}, 8)
    gc.collect()
    assert seen() is not None
    del undo
    gc.collect()
    assert seen() is None


def test_memory_of_a_layer_is_its_hashes_and_indexes():
    """A layer holds 36 bytes for each node that it can restore."""
    tree = MapTree.from_leaves(b"".join(digests(random.Random(6), 8)))
    undo = tree.apply({0: Digest(bytes(32)), 1: Digest(bytes(32))}, 8)
    assert undo.memory_bytes() == (2 + 1 + 1 + 1) * 36


def test_readers_of_an_older_state_are_right_while_blocks_are_applied():
    """A thread that reads through its layer sees one state, whatever the writer does meanwhile."""
    source = random.Random(7)
    leaves = digests(source, 37)
    tree = MapTree.from_leaves(b"".join(leaves))
    expected = merkle.root(leaves)
    undo = tree.apply({0: Digest(bytes(32))}, 37)
    wrong, stop = [], threading.Event()

    def read() -> None:
        while not stop.is_set():
            if tree.root(undo) != expected:
                wrong.append(1)
            merkle.verify_inclusion(leaves[9], 9, 37, tree.inclusion_path(9, undo), expected)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for thread in readers:
        thread.start()
    try:
        for round_ in range(300):
            changes = {place: Digest(source.randbytes(32)) for place in source.sample(range(37), 12)}
            changes.update({place: Digest(source.randbytes(32)) for place in range(tree.size, 37 + round_)})
            tree.apply(changes, max(tree.size, 37 + round_))
    finally:
        stop.set()
        for thread in readers:
            thread.join()
    assert not wrong


def test_a_block_that_is_applied_during_a_read_does_not_show():
    """Between looking for a layer and reading the node, the writer may come in: the reader looks again."""
    leaves = digests(random.Random(8), 4)
    tree = MapTree.from_leaves(b"".join(leaves))
    undo = tree.apply({0: Digest(bytes(32))}, 4)

    class Interrupted(list):
        """A level that lets the writer in at the first read."""

        def __getitem__(self, at):
            if waiting:
                waiting.pop()
                tree.apply({3: Digest(b"\x01" * 32)}, 4)
            return super().__getitem__(at)

    waiting = [True]
    tree._levels[0] = Interrupted(tree._levels[0])
    assert tree.node(0, 3, undo) == leaves[3]
    assert not waiting
    assert tree.node(0, 3) == b"\x01" * 32
