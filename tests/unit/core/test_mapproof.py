"""Map proofs: what they show of present, absent and deleted keys, and that nothing else passes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from ledger.core import merkle
from ledger.core.buckets import bucket_index, bucket_leaf_hash
from ledger.core.hashing import Digest
from ledger.core.mapkeys import EMPTY_VALUE_HASH
from ledger.core.mapproof import MapProof, Window, prove_map, verify_map
from ledger.core.maptree import MapTree
from ledger.errors import VerificationError
from tests.models.reference_map import ReferenceMap

CODES = {"map-proof", "inclusion", "range"}


class World:
    """A map of `spread` random keys and `ground` keys in one bucket, with proofs and the state that judges them."""

    def __init__(self, spread: int, ground: int = 0, seed: int = 1) -> None:
        source = random.Random(seed)
        self.source = source
        reference = ReferenceMap()
        reference.write({source.randbytes(32): source.randbytes(32) for _ in range(spread)})
        reference.write({bytes(8) + source.randbytes(24): source.randbytes(32) for _ in range(ground)})
        self.pairs = reference.pairs
        self.reference = reference
        self.seal()

    def seal(self) -> None:
        """Take the reference's state as it is now."""
        self.buckets = self.reference.buckets()
        self.n, self.keys, self.root = self.reference.n, len(self.pairs), Digest(self.reference.root())
        self.tree = MapTree.from_leaves(b"".join(map(bucket_leaf_hash, self.buckets)))
        assert self.tree.root() == self.root

    def prove(self, key: bytes) -> MapProof:
        """The proof about a key."""
        index = bucket_index(key, self.n)
        return prove_map(Digest(key), self.buckets[index], self.tree.inclusion_path(index))

    def verify(self, key: bytes, proof: MapProof) -> Digest | None:
        """What the proof shows."""
        return verify_map(self.root, self.n, self.keys, Digest(key), proof)

    def absent(self, ground: bool = False) -> bytes:
        """A key that is not there."""
        return bytes(8) + self.source.randbytes(24) if ground else self.source.randbytes(32)


SMALL, GROUND = World(90), World(60, 70)


def edges(packed: bytes) -> tuple[bytes, bytes]:
    """Keys of one bucket before all and after all of its keys."""
    return packed[:8] + bytes(24), packed[:8] + b"\xff" * 24


@pytest.mark.parametrize("world", [World(0), World(1), World(16), World(17), SMALL, GROUND], ids=lambda w: str(w.keys))
def test_every_key_is_shown_present_or_absent(world):
    """The proof of a key that is there gives its value hash, of any other None."""
    for key, value in world.pairs.items():
        assert world.verify(key, world.prove(key)) == value
    for ground in (False, True):
        for _ in range(20):
            key = world.absent(ground)
            assert world.verify(key, world.prove(key)) is None


def test_a_bucket_above_64_pairs_shows_two_pairs_at_most():
    """A filled bucket costs a window and a path, at its edges too."""
    packed = GROUND.buckets[0]
    assert len(packed) // 64 >= 70
    for key in (*edges(packed), GROUND.absent(ground=True)):
        proof = GROUND.prove(key)
        assert len(proof.pairs) <= 128
        assert GROUND.verify(key, proof) is None


def test_a_deleted_key_is_absent():
    """The empty value counts as absent, in a plain bucket and in a window."""
    for ground in (0, 70):
        world = World(40, ground, seed=2)
        keys = [min(world.pairs), max(world.pairs)]
        world.reference.write(dict.fromkeys(keys, EMPTY_VALUE_HASH))
        world.seal()
        for key in keys:
            assert world.verify(key, world.prove(key)) is None


def altered_digests(digests: tuple[Digest, ...]) -> Iterator[tuple[Digest, ...]]:
    """Each digest changed, dropped, doubled, swapped with the next, and one more."""
    for at, digest in enumerate(digests):
        yield (*digests[:at], Digest(bytes([digest[0] ^ 1]) + digest[1:]), *digests[at + 1 :])
        yield (*digests[:at], Digest(digest[:31] + bytes([digest[31] ^ 128])), *digests[at + 1 :])
        yield (*digests[:at], Digest(digest[:31]), *digests[at + 1 :])
        yield digests[:at] + digests[at + 1 :]
        yield (*digests[: at + 1], *digests[at:])
        if at:
            yield (*digests[: at - 1], digest, digests[at - 1], *digests[at + 1 :])
    yield (*digests, Digest(bytes(32)))


def altered_pairs(pairs: bytes) -> Iterator[bytes]:
    """Each byte changed; each pair dropped, doubled, swapped with the next; torn pairs; one more pair."""
    for at in range(len(pairs)):
        yield pairs[:at] + bytes([pairs[at] ^ 1]) + pairs[at + 1 :]
    split = [pairs[at : at + 64] for at in range(0, len(pairs), 64)]
    for at in range(len(split)):
        yield b"".join(split[:at] + split[at + 1 :])
        yield b"".join(split[: at + 1] + split[at:])
        if at:
            yield b"".join([*split[: at - 1], split[at], split[at - 1], *split[at + 1 :]])
    yield pairs[:-1]
    yield pairs[:-32]
    yield pairs + bytes(64)
    yield pairs + b"\0"


def altered_windows(window: Window | None) -> Iterator[Window | None]:
    """Each part of a window changed, and the window itself dropped or added."""
    if window is None:
        yield Window(0, 1, Digest(bytes(32)), ())
        yield Window(0, 70, Digest(bytes(32)), ())
        return
    yield None
    for begin in (window.begin - 1, window.begin + 1, -1, window.count - 1, window.count, window.count + 1):
        if begin != window.begin:
            yield replace(window, begin=begin)
    for count in (window.count - 1, window.count + 1, 0, 64, -1, 2**32, 2**53):
        yield replace(window, count=count)
    yield replace(window, root=Digest(bytes(32)))
    yield from (replace(window, path=path) for path in altered_digests(window.path))


@pytest.mark.parametrize(
    "case", ["present", "absent", "window present", "window between", "window first", "window last"]
)
def test_every_altered_part_is_refused(case):
    """No byte, hash, pair or number of a proof can be another."""
    world = GROUND if case.startswith("window") else SMALL
    packed = world.buckets[0]
    key = {
        "present": packed[64:96],
        "absent": packed[:8] + bytes(24),
        "window present": packed[64 * 9 : 64 * 9 + 32],
        "window between": packed[64 * 9 : 64 * 9 + 31] + bytes([packed[64 * 9 + 31] ^ 1]),
        "window first": edges(packed)[0],
        "window last": edges(packed)[1],
    }[case]
    proof = world.prove(key)
    world.verify(key, proof)
    altered = [replace(proof, pairs=pairs) for pairs in altered_pairs(proof.pairs)]
    altered += [replace(proof, path=path) for path in altered_digests(proof.path)]
    altered += [replace(proof, window=window) for window in altered_windows(proof.window)]
    for other in altered:
        with pytest.raises(VerificationError) as caught:
            world.verify(key, other)
        assert caught.value.code in CODES


@pytest.mark.parametrize("world", [SMALL, GROUND], ids=["plain", "window"])
def test_a_proof_serves_no_other_key_of_another_bucket_or_place(world):
    """The proof of one key says nothing of a key that lies in another bucket or outside the window."""
    for key in list(world.pairs)[:20]:
        proof = world.prove(key)
        for other in list(world.pairs):
            same_bucket = bucket_index(other, world.n) == bucket_index(key, world.n)
            if other == key or (same_bucket and proof.window is None):
                continue
            with pytest.raises(VerificationError):
                world.verify(other, proof)


@pytest.mark.parametrize("world", [SMALL, GROUND], ids=["plain", "window"])
def test_numbers_of_the_header_must_agree(world):
    """Numbers of buckets and keys that no map has, a map too small for what is shown, or another root: refused.

    A path alone does not bind the size of its tree (RFC 6962); the header binds root and both numbers together.
    """
    key = world.buckets[0][:32]
    proof = world.prove(key)
    for n, keys in ((world.n + 1, world.keys), (world.n, world.keys + 16), (1, 1), (1, 0), (0, 0), (-1, -1)):
        with pytest.raises(VerificationError):
            verify_map(world.root, n, keys, Digest(key), proof)
    with pytest.raises(VerificationError):
        verify_map(Digest(bytes(32)), world.n, world.keys, Digest(key), proof)


def test_a_window_cannot_pass_for_a_small_bucket_nor_the_reverse():
    """64 pairs are shown whole and 65 by a window, whatever hashes somebody computes."""
    source = random.Random(5)
    keys = sorted(bytes(8) + source.randbytes(24) for _ in range(65))
    for count in (64, 65):
        packed = b"".join(key + bytes(32) for key in keys[:count])
        leaf_hashes = [merkle.leaf_hash(packed[at : at + 64]) for at in range(0, len(packed), 64)]
        window = Window(0, count, merkle.root(leaf_hashes), tuple(leaf_hashes[1:2]))
        for proof in (MapProof(packed, ()), MapProof(packed[:64], (), window)):
            with pytest.raises(VerificationError):
                verify_map(Digest(bytes(32)), 5, 65, Digest(keys[0]), proof)


def test_pairs_that_do_not_decide_are_refused():
    """Two neighbours on one side of the key, or three pairs, or none, prove neither presence nor absence."""
    packed = GROUND.buckets[0]
    count = len(packed) // 64
    grown, levels = merkle.EMPTY_RANGE.grow(
        [merkle.leaf_hash(packed[at : at + 64]) for at in range(0, len(packed), 64)]
    )
    nodes = {(level, first + at): node for level, (first, row) in enumerate(levels) for at, node in enumerate(row)}
    path = tuple(GROUND.tree.inclusion_path(0))
    for begin, end, key in (
        (3, 5, edges(packed)[0]),
        (3, 5, edges(packed)[1]),
        (3, 4, packed[64 * 2 : 64 * 2 + 32]),
        (0, 1, edges(packed)[1]),
        (count - 1, count, edges(packed)[0]),
        (3, 6, packed[64 * 4 : 64 * 4 + 32]),
        (3, 5, packed[64 * 3 : 64 * 3 + 32]),
        (3, 3, packed[64 * 3 : 64 * 3 + 32]),
    ):
        window = Window(begin, count, grown.root(), tuple(merkle.prove_range(begin, end, count, nodes)))
        with pytest.raises(VerificationError) as caught:
            GROUND.verify(key, MapProof(packed[begin * 64 : end * 64], path, window))
        assert caught.value.code == "map-proof"
