"""RFC 6962 trees against a tiny recursive reading of the RFC, for all sizes to 100, and every proof broken once."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable

import pytest

from ledger.core import merkle
from ledger.core.hashing import Digest
from ledger.errors import FatalError, MalformedError, NotFoundError, VerificationError
from tests.unit.core.samples import digest

SIZES = range(101)
LEAVES = [digest(number) for number in range(101)]

# The eight leaves and the roots that Certificate Transparency implementations share as test vector.
CT_LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def H(data: bytes) -> bytes:  # noqa: N802 - the RFC's name
    """SHA-256."""
    return hashlib.sha256(data).digest()


def split(n: int) -> int:
    """The RFC's k: the largest power of two smaller than n."""
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def mth(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, over leaves that are hashed already."""
    n = len(leaves)
    if n == 0:
        return H(b"")
    if n == 1:
        return leaves[0]
    k = split(n)
    return H(b"\x01" + mth(leaves[:k]) + mth(leaves[k:]))


def path(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962 section 2.1.1."""
    n = len(leaves)
    if n == 1:
        return []
    k = split(n)
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962 section 2.1.2."""
    n = len(leaves)
    if m == n:
        return [] if whole else [mth(leaves)]
    k = split(n)
    if m <= k:
        return [*subproof(m, leaves[:k], whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def all_nodes(size: int) -> dict[merkle.Node, Digest]:
    """Every complete subtree of the first `size` leaves, as a store would hold them."""
    levels = merkle.EMPTY_RANGE.grow(LEAVES[:size])[1]
    return {(level, first + at): each for level, (first, row) in enumerate(levels) for at, each in enumerate(row)}


def test_known_roots() -> None:
    """The shared vector of Certificate Transparency comes out, leaf by leaf."""
    hashes = [merkle.leaf_hash(leaf) for leaf in CT_LEAVES]
    assert [merkle.root(hashes[:size]).hex() for size in range(9)] == CT_ROOTS
    growing = merkle.EMPTY_RANGE
    for size, each in enumerate(hashes, start=1):
        growing = growing.append(each)
        assert growing.root().hex() == CT_ROOTS[size]


@pytest.mark.parametrize("size", SIZES)
def test_root_and_inclusion_as_in_the_rfc(size: int) -> None:
    """Roots and inclusion paths equal the RFC's recursion, need only the planned nodes, and verify."""
    leaves = LEAVES[:size]
    expected = mth(leaves)
    assert merkle.root(leaves) == expected
    nodes = all_nodes(size)
    for index in range(size):
        planned = {node: nodes[node] for node in merkle.inclusion_nodes(index, size)}
        proof = merkle.prove_inclusion(index, size, planned)
        assert proof == path(index, leaves)
        merkle.verify_inclusion(leaves[index], index, size, proof, expected)


@pytest.mark.parametrize("new", SIZES)
def test_consistency_as_in_the_rfc(new: int) -> None:
    """Consistency paths equal the RFC's recursion for all old sizes, and verify."""
    nodes = all_nodes(new)
    new_root = mth(LEAVES[:new])
    for old in range(new + 1):
        planned = {node: nodes[node] for node in merkle.consistency_nodes(old, new)}
        proof = merkle.prove_consistency(old, new, planned)
        assert proof == (subproof(old, LEAVES[:new], True) if old else [])
        merkle.verify_consistency(old, mth(LEAVES[:old]), new, new_root, proof)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 21, 33])
def test_ranges(size: int) -> None:
    """Every range of leaves, empty ones too, proves itself; the plan covers all other leaves exactly once."""
    nodes = all_nodes(size)
    total = mth(LEAVES[:size])
    for begin in range(size + 1):
        for end in range(begin, size + 1):
            left, right = merkle.range_proof_nodes(begin, end, size)
            covered = [leaf for level, index in (*left, *right) for leaf in range(index << level, (index + 1) << level)]
            assert covered == [*range(begin), *range(end, size)]
            proof = merkle.prove_range(begin, end, size, {node: nodes[node] for node in (*left, *right)})
            merkle.verify_range(begin, end, size, LEAVES[begin:end], proof, total)


@pytest.mark.parametrize(("begin", "end"), [(0, 0), (0, 100), (3, 11), (5, 5), (64, 100), (63, 65)])
def test_range_nodes_are_few_and_complete(begin: int, end: int) -> None:
    """A range is covered by the fewest aligned subtrees, in order."""
    nodes = merkle.range_nodes(begin, end)
    assert [leaf for level, index in nodes for leaf in range(index << level, (index + 1) << level)] == [
        *range(begin, end)
    ]
    joinable = [a for a, b in itertools.pairwise(nodes) if a[0] == b[0] and a[1] % 2 == 0]
    assert joinable == []


@pytest.mark.parametrize("first", [0, 1, 2, 5, 8, 13])
@pytest.mark.parametrize("more", [0, 1, 2, 3, 8, 50])
def test_growing_in_steps_is_growing_at_once(first: int, more: int) -> None:
    """Extending twice gives the range, and the new nodes, of extending once."""
    start = merkle.EMPTY_RANGE.extend(LEAVES[:first])
    grown, levels = start.grow(LEAVES[first : first + more])
    assert grown == merkle.EMPTY_RANGE.extend(LEAVES[: first + more])
    assert grown == start.extend(iter(LEAVES[first : first + more]))
    assert grown.root() == mth(LEAVES[: first + more])
    new_nodes = {(level, at + n): each for level, (at, row) in enumerate(levels) for n, each in enumerate(row)}
    expected = all_nodes(first + more).items() - all_nodes(first).items()
    assert new_nodes.items() == expected
    assert merkle.CompactRange.parse(grown.size, grown.encode()) == grown


def test_compact_ranges_refuse_other_lengths() -> None:
    """A range holds one hash for each set bit of its size, as value and as bytes."""
    for size, count in ((0, 1), (1, 0), (3, 1), (4, 2), (-1, 0)):
        with pytest.raises(MalformedError):
            merkle.CompactRange(size, tuple(LEAVES[:count]))
        with pytest.raises(MalformedError):
            merkle.CompactRange.parse(size, b"".join(LEAVES[:count]))
    with pytest.raises(MalformedError):
        merkle.CompactRange.parse(1, LEAVES[0][:31])


def assert_path_guarded(proof: list[Digest], verify: Callable[[list[Digest]], None], code: str) -> None:
    """Each flipped byte, dropped, doubled, swapped, shortened or added element of `proof` is refused with `code`."""
    broken = [[*proof, digest(999)], [digest(999), *proof], [*proof, *proof[-1:]] if proof else [digest(0)]]
    for at, each in enumerate(proof):
        for byte in range(len(each)):
            flipped = each[:byte] + bytes((each[byte] ^ 1,)) + each[byte + 1 :]
            broken.append([*proof[:at], Digest(flipped), *proof[at + 1 :]])
        broken.append([*proof[:at], *proof[at + 1 :]])
        broken.append([*proof[:at], Digest(each[:31]), *proof[at + 1 :]])
        broken.append([*proof[:at], Digest(each + b"\0"), *proof[at + 1 :]])
        broken.append(proof[:at])
        if at:
            broken.append([*proof[: at - 1], each, proof[at - 1], *proof[at + 1 :]])
    for each in broken:
        if each == proof:
            continue
        with pytest.raises(VerificationError) as caught:
            verify(each)
        assert caught.value.code == code


@pytest.mark.parametrize(("index", "size"), [(0, 1), (0, 2), (6, 7), (3, 8), (20, 21), (12, 33), (32, 33)])
def test_every_broken_inclusion_proof_is_refused(index: int, size: int) -> None:
    """No damaged path, other leaf, other root, other index or other size passes."""
    total = mth(LEAVES[:size])
    proof = merkle.prove_inclusion(index, size, all_nodes(size))
    assert_path_guarded(proof, lambda p: merkle.verify_inclusion(LEAVES[index], index, size, p, total), "inclusion")
    wrong = [
        (LEAVES[index + 1], index, size, total),
        (LEAVES[index], index, size, digest(999)),
        (LEAVES[index], size, size, total),
        (LEAVES[index], -1, size, total),
        (LEAVES[index][:31], index, size, total),
        (LEAVES[index], index, size, total[:31]),
        (LEAVES[index], 0, 0, total),
        (LEAVES[index], index, size * 2 + 1, total),
    ]
    wrong += [(LEAVES[index], other, size, total) for other in range(size) if other != index]
    for leaf, at, of, expected in wrong:
        with pytest.raises(VerificationError) as caught:
            merkle.verify_inclusion(leaf, at, of, proof, expected)
        assert caught.value.code == "inclusion"


@pytest.mark.parametrize(("old", "new"), [(1, 2), (1, 3), (2, 3), (3, 4), (4, 8), (6, 8), (7, 21), (16, 33), (32, 33)])
def test_every_broken_consistency_proof_is_refused(old: int, new: int) -> None:
    """No damaged path, other root or other size passes."""
    old_root, new_root = mth(LEAVES[:old]), mth(LEAVES[:new])
    proof = merkle.prove_consistency(old, new, all_nodes(new))
    assert_path_guarded(proof, lambda p: merkle.verify_consistency(old, old_root, new, new_root, p), "consistency")
    wrong = [
        (old, digest(999), new, new_root),
        (old, old_root, new, digest(999)),
        (old, old_root[:31], new, new_root),
        (old, old_root, new, new_root[:31]),
        (new, new_root, old, old_root),
        (-1, old_root, new, new_root),
        (0, old_root, new, new_root),
        (new, old_root, new, new_root),
        (old, old_root, new * 4, new_root),
    ]
    for arguments in wrong:
        with pytest.raises(VerificationError) as caught:
            merkle.verify_consistency(*arguments, proof)
        assert caught.value.code == "consistency"


def test_trivial_consistency() -> None:
    """Equal sizes need equal roots, the empty tree needs its own root, and neither takes a path."""
    some = mth(LEAVES[:5])
    merkle.verify_consistency(5, some, 5, some, [])
    merkle.verify_consistency(0, merkle.EMPTY_ROOT, 5, some, [])
    merkle.verify_consistency(0, merkle.EMPTY_ROOT, 0, merkle.EMPTY_ROOT, [])
    for arguments in (
        (5, some, 5, digest(1), []),
        (5, some, 5, some, [digest(1)]),
        (0, digest(1), 5, some, []),
        (0, merkle.EMPTY_ROOT, 5, some, [digest(1)]),
        (0, digest(1), 0, digest(1), []),
        (0, merkle.EMPTY_ROOT, 0, digest(1), []),
        (4, mth(LEAVES[:4]), 5, some, []),
        (3, mth(LEAVES[:3]), 5, some, []),
    ):
        with pytest.raises(VerificationError):
            merkle.verify_consistency(*arguments)


@pytest.mark.parametrize(("begin", "end", "size"), [(0, 3, 7), (2, 5, 8), (4, 4, 9), (5, 21, 21), (6, 7, 33)])
def test_every_broken_range_proof_is_refused(begin: int, end: int, size: int) -> None:
    """No damaged path, missing, added or swapped leaf, other bounds, size or root passes."""
    total = mth(LEAVES[:size])
    leaves = LEAVES[begin:end]
    proof = merkle.prove_range(begin, end, size, all_nodes(size))
    assert_path_guarded(proof, lambda p: merkle.verify_range(begin, end, size, leaves, p, total), "range")
    wrong = [
        (begin, end, size, leaves, digest(999)),
        (begin, end, size, [*leaves, digest(1)], total),
        (begin, end + 1, size, [*leaves, digest(1)], total),
        (begin, end, size + 64, leaves, total),
        (end + 1, end, size, leaves, total),
        (begin, size + 1, size, leaves, total),
        (-1, end, size, leaves, total),
        (begin, end, size, leaves, total[:31]),
    ]
    if len(leaves) > 1:
        wrong.append((begin, end, size, leaves[::-1], total))
        wrong.append((begin, end, size, leaves[1:], total))
        wrong.append((begin, end, size, [leaves[0][:31], *leaves[1:]], total))
    for b, e, s, given, expected in wrong:
        with pytest.raises(VerificationError) as caught:
            merkle.verify_range(b, e, s, given, proof, expected)
        assert caught.value.code == "range"


def test_plans_refuse_bounds_and_missing_nodes() -> None:
    """Plans for impossible bounds, and proofs from nodes that were not read or are damaged, are refused."""
    for call in (
        lambda: merkle.inclusion_nodes(3, 3),
        lambda: merkle.inclusion_nodes(-1, 3),
        lambda: merkle.consistency_nodes(4, 3),
        lambda: merkle.range_nodes(4, 3),
        lambda: merkle.range_nodes(-1, 3),
        lambda: merkle.range_proof_nodes(1, 5, 4),
    ):
        with pytest.raises(MalformedError) as caught:
            call()
        assert caught.value.code == "merkle-bounds"
    with pytest.raises(NotFoundError) as missing:
        merkle.prove_inclusion(0, 2, {})
    assert missing.value.evidence == {"level": 0, "index": 1}
    with pytest.raises(FatalError):
        merkle.prove_inclusion(0, 2, {(0, 1): Digest(b"short")})
