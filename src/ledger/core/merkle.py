"""Decides which leaves a tree head binds: RFC 6962 trees, their proofs, and the compact ranges that grow them.

Rules: leaf hash = SHA-256(0x00 ‖ leaf), node hash = SHA-256(0x01 ‖ left ‖ right), empty root = SHA-256("")
(RFC 6962, section 2.1). Proofs are made in three steps: plan (`*_nodes`), read once, compute (`prove_*`). Every
`verify_*` checks ranges and lengths before any hashing and raises `VerificationError`; none returns False.
A root alone does not bind the size (trees of 9 and 10 leaves may share one): sizes come with roots, signed together.
A node (level, index) is the root over the leaves [index << level, (index + 1) << level).
Not here: storage, and the signature over a root (see `checkpoint`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256 as _sha256
from typing import Final, NoReturn, cast

from ledger.core.hashing import DIGEST_BYTES, Digest
from ledger.errors import MalformedError, NotFoundError, VerificationError, invariant

Node = tuple[int, int]
"""(level, index) of a complete subtree."""

Span = tuple[int, int]
"""Leaves [begin, end) whose subtree root is one element of a path; the right-most ones may be ragged."""

EMPTY_ROOT: Final = Digest(_sha256(b"").digest())


def leaf_hash(data: bytes) -> Digest:
    """SHA-256(0x00 ‖ data), RFC 6962 section 2.1."""
    return Digest(_sha256(b"\x00" + data).digest())


def node_hash(left: Digest, right: Digest) -> Digest:
    """SHA-256(0x01 ‖ left ‖ right), RFC 6962 section 2.1."""
    return Digest(_sha256(b"\x01" + left + right).digest())


def root(leaf_hashes: Sequence[Digest]) -> Digest:
    """The Merkle tree hash over leaves that are hashed already."""
    return EMPTY_RANGE.extend(leaf_hashes).root()


FEW_LEAVES: Final = 16  # up to here leaf by leaf is quicker than row by row


@dataclass(frozen=True, slots=True)
class CompactRange:
    """The roots of the complete subtrees of leaves [0, size), left to right: all that is needed to append.

    `hashes` has one entry for each set bit of `size`, the largest subtree first.
    """

    size: int
    hashes: tuple[Digest, ...]

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.hashes) != self.size.bit_count():
            raise MalformedError("compact-range", "number of hashes does not fit the size", size=self.size)

    def append(self, new_leaf_hash: Digest) -> CompactRange:
        """The range with one more leaf."""
        return self.extend((new_leaf_hash,))

    def extend(self, leaf_hashes: Iterable[Digest]) -> CompactRange:
        """The range with more leaves; about one node hash a leaf."""
        leaves = list(leaf_hashes)
        if len(leaves) > FEW_LEAVES:
            return self.grow(leaves)[0]
        hashes, size = list(self.hashes), self.size
        for leaf in leaves:
            node, carry = leaf, size
            while carry & 1:
                node = Digest(_sha256(b"\x01" + hashes.pop() + node).digest())
                carry >>= 1
            hashes.append(node)
            size += 1
        return CompactRange(size, tuple(hashes))

    def grow(self, leaf_hashes: Iterable[Digest]) -> tuple[CompactRange, list[tuple[int, list[Digest]]]]:
        """The range with more leaves, and every node that became complete.

        The list holds, for level 0, 1, …, the index of the first new node and the new nodes' hashes in order;
        stores keep them so that proofs can be made later.
        """
        row: list[Digest] = list(leaf_hashes)
        size = self.size
        new_size = size + len(row)
        pending = list(self.hashes)
        tails: list[Digest] = []
        levels: list[tuple[int, list[Digest]]] = []
        sha256 = _sha256
        index = size
        while row:
            levels.append((index, row))
            # An odd index means that the left sibling of the first new node waits in the range.
            pairs = [pending.pop(), *row] if index & 1 else row
            if len(pairs) & 1:
                tails.append(pairs[-1])
            each = iter(pairs)
            # Hot loop: no call but the hash itself (`zip(each, each)` takes two neighbours at a time).
            row = cast("list[Digest]", [sha256(b"\x01" + left + right).digest() for left, right in zip(each, each)])  # noqa: B905
            index >>= 1
        tails.reverse()
        return CompactRange(new_size, (*pending, *tails)), levels

    def root(self) -> Digest:
        """The RFC 6962 root over all leaves."""
        return fold(self.hashes)

    def encode(self) -> bytes:
        """The hashes one behind the other; the size is kept elsewhere."""
        return b"".join(self.hashes)

    @staticmethod
    def parse(size: int, data: bytes) -> CompactRange:
        """The range of `size` leaves from `encode`d bytes; `MalformedError` when the lengths disagree."""
        if size < 0 or len(data) != size.bit_count() * DIGEST_BYTES:
            raise MalformedError("compact-range", "length does not fit the size", size=size, got=len(data))
        return CompactRange(
            size, tuple(Digest(data[at : at + DIGEST_BYTES]) for at in range(0, len(data), DIGEST_BYTES))
        )


EMPTY_RANGE: Final = CompactRange(0, ())


def fold(hashes: Sequence[Digest]) -> Digest:
    """The root over complete subtrees of falling size, left to right: the right edge of RFC 6962's tree."""
    if not hashes:
        return EMPTY_ROOT
    total = hashes[-1]
    for at in range(len(hashes) - 2, -1, -1):
        total = Digest(_sha256(b"\x01" + hashes[at] + total).digest())
    return total


def range_nodes(begin: int, end: int) -> list[Node]:
    """The fewest complete subtrees that cover leaves [begin, end), left to right."""
    _check_order(0, begin, end)
    nodes: list[Node] = []
    while begin < end:
        level = (end - begin).bit_length() - 1
        if begin:
            level = min(level, (begin & -begin).bit_length() - 1)
        nodes.append((level, begin >> level))
        begin += 1 << level
    return nodes


# --- inclusion -------------------------------------------------------------------------------------------------------


def inclusion_nodes(index: int, size: int) -> list[Node]:
    """The nodes to read for `prove_inclusion`."""
    return _nodes_of(_inclusion_spans(index, size))


def prove_inclusion(index: int, size: int, nodes: Mapping[Node, Digest]) -> list[Digest]:
    """PATH(index, D[size]) of RFC 6962 section 2.1.1, from the leaf upwards."""
    return [_span_root(span, nodes) for span in _inclusion_spans(index, size)]


def verify_inclusion(leaf: Digest, index: int, size: int, path: Sequence[Digest], expected_root: Digest) -> None:
    """Raise `VerificationError` (code `inclusion`) unless the leaf hash stands at `index` of the tree of `size` leaves.

    RFC 9162 section 2.1.3.2.
    """
    if not 0 <= index < size:
        raise VerificationError("inclusion", "index outside the tree", index=index, size=size)
    _check_digests("inclusion", (leaf, expected_root, *path))
    position, last = index, size - 1
    total = leaf
    for sibling in path:
        if last == 0:
            raise VerificationError("inclusion", "path too long", index=index, size=size)
        if position & 1 or position == last:
            total = node_hash(sibling, total)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            total = node_hash(total, sibling)
        position >>= 1
        last >>= 1
    if last:
        raise VerificationError("inclusion", "path too short", index=index, size=size)
    if total != expected_root:
        raise VerificationError("inclusion", "root differs", index=index, size=size, expected=expected_root, got=total)


# --- consistency -----------------------------------------------------------------------------------------------------


def consistency_nodes(old: int, new: int) -> list[Node]:
    """The nodes to read for `prove_consistency`."""
    return _nodes_of(_consistency_spans(old, new))


def prove_consistency(old: int, new: int, nodes: Mapping[Node, Digest]) -> list[Digest]:
    """PROOF(old, D[new]) of RFC 6962 section 2.1.2; empty when `old` is 0 or equals `new`."""
    return [_span_root(span, nodes) for span in _consistency_spans(old, new)]


def verify_consistency(
    old_size: int, old_root: Digest, new_size: int, new_root: Digest, path: Sequence[Digest]
) -> None:
    """Raise `VerificationError` (code `consistency`) unless the new tree begins with the whole old one.

    RFC 9162 section 2.1.4.2.
    """
    sizes = {"old": old_size, "new": new_size}
    if not 0 <= old_size <= new_size:
        raise VerificationError("consistency", "sizes out of order", **sizes)
    _check_digests("consistency", (old_root, new_root, *path))
    if old_size in {0, new_size}:
        if path:
            raise VerificationError("consistency", "path too long", **sizes)
        expected = new_root if old_size else EMPTY_ROOT
        if old_root != expected or (new_size == 0 and new_root != EMPTY_ROOT):
            raise VerificationError("consistency", "old root differs", **sizes, expected=expected, got=old_root)
        return
    rest = list(path)
    # A complete old tree is its own first element and therefore not sent.
    if old_size & (old_size - 1) == 0:
        rest.insert(0, old_root)
    if not rest:
        raise VerificationError("consistency", "path too short", **sizes)
    position, last = old_size - 1, new_size - 1
    while position & 1:
        position >>= 1
        last >>= 1
    old_total = new_total = rest[0]
    for sibling in rest[1:]:
        if last == 0:
            raise VerificationError("consistency", "path too long", **sizes)
        if position & 1 or position == last:
            old_total = node_hash(sibling, old_total)
            new_total = node_hash(sibling, new_total)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            new_total = node_hash(new_total, sibling)
        position >>= 1
        last >>= 1
    if last:
        raise VerificationError("consistency", "path too short", **sizes)
    if old_total != old_root:
        raise VerificationError("consistency", "old root differs", **sizes, expected=old_root, got=old_total)
    if new_total != new_root:
        raise VerificationError("consistency", "new root differs", **sizes, expected=new_root, got=new_total)


# --- ranges ----------------------------------------------------------------------------------------------------------


def range_proof_nodes(begin: int, end: int, size: int) -> tuple[list[Node], list[Node]]:
    """The nodes left and right of leaves [begin, end) in a tree of `size`: what `prove_range` reads."""
    _check_order(begin, end, size)
    return range_nodes(0, begin), range_nodes(end, size)


def prove_range(begin: int, end: int, size: int, nodes: Mapping[Node, Digest]) -> list[Digest]:
    """The roots of the complete subtrees left and right of [begin, end), left to right (SPEC R-V03)."""
    left, right = range_proof_nodes(begin, end, size)
    return [_read(node, nodes) for node in (*left, *right)]


def verify_range(
    begin: int, end: int, size: int, leaf_hashes: Sequence[Digest], path: Sequence[Digest], expected_root: Digest
) -> None:
    """Raise `VerificationError` (code `range`) unless `leaf_hashes` are exactly the leaves [begin, end)."""
    evidence = {"begin": begin, "end": end, "size": size}
    if not 0 <= begin <= end <= size:
        raise VerificationError("range", "bounds out of order", **evidence)
    if len(leaf_hashes) != end - begin:
        raise VerificationError("range", "number of leaves differs", **evidence, got=len(leaf_hashes))
    left_count = begin.bit_count()
    right = range_nodes(end, size)
    if len(path) != left_count + len(right):
        raise VerificationError("range", "path has another length", **evidence, got=len(path))
    _check_digests("range", (expected_root, *path, *leaf_hashes))
    grown = CompactRange(begin, tuple(path[:left_count])).extend(leaf_hashes)
    # Join each complete subtree on the right to its left sibling as soon as both are there.
    stack = [(node, digest) for node, digest in zip(range_nodes(0, end), grown.hashes, strict=True)]
    for node, digest in zip(right, path[left_count:], strict=True):
        (level, index), total = node, digest
        while index & 1:
            total = node_hash(stack.pop()[1], total)
            level, index = level + 1, index >> 1
        stack.append(((level, index), total))
    got = fold([digest for _, digest in stack])
    if got != expected_root:
        raise VerificationError("range", "root differs", **evidence, expected=expected_root, got=got)


# --- plans -----------------------------------------------------------------------------------------------------------


def _split(width: int) -> int:
    """The largest power of two smaller than `width` (RFC 6962's k)."""
    return 1 << (width - 1).bit_length() - 1


def _inclusion_spans(index: int, size: int) -> list[Span]:
    if not 0 <= index < size:
        _refuse_bounds("index outside the tree", index=index, size=size)
    spans: list[Span] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            spans.append((middle, high))
            high = middle
        else:
            spans.append((low, middle))
            low = middle
    spans.reverse()
    return spans


def _consistency_spans(old: int, new: int) -> list[Span]:
    _check_order(0, old, new)
    if old in (0, new):
        return []
    spans: list[Span] = []
    low, high = 0, new
    while old != high:
        middle = low + _split(high - low)
        if old <= middle:
            spans.append((middle, high))
            high = middle
        else:
            spans.append((low, middle))
            low = middle
    # RFC 6962: a subtree that is the whole old tree is known to the verifier and not sent.
    if low:
        spans.append((low, high))
    spans.reverse()
    return spans


def _nodes_of(spans: Iterable[Span]) -> list[Node]:
    return [node for begin, end in spans for node in range_nodes(begin, end)]


def _span_root(span: Span, nodes: Mapping[Node, Digest]) -> Digest:
    return fold([_read(node, nodes) for node in range_nodes(*span)])


def _read(node: Node, nodes: Mapping[Node, Digest]) -> Digest:
    digest = nodes.get(node)
    if digest is None:
        raise NotFoundError("merkle-node", "node was planned but not read", level=node[0], index=node[1])
    invariant(len(digest) == DIGEST_BYTES, "a stored node is not 32 bytes")
    return digest


def _check_order(begin: int, end: int, size: int) -> None:
    if not 0 <= begin <= end <= size:
        _refuse_bounds("bounds out of order", begin=begin, end=end, size=size)


def _check_digests(code: str, digests: Iterable[Digest]) -> None:
    for digest in digests:
        if len(digest) != DIGEST_BYTES:
            raise VerificationError(code, "a hash is not 32 bytes", got=digest)


def _refuse_bounds(message: str, **evidence: int) -> NoReturn:
    raise MalformedError("merkle-bounds", message, **evidence)
