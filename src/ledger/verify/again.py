"""Reads pieces again that an earlier run of the same audit has checked: that they are the same, byte for byte, is all.

Rules: one digest stands for every byte of a piece; leaves are hashed again, so that the log's tree is recomputed in every
run. What else was found in these bytes then is found in them now, because checking is a function of them.
Not here: whether the digest is the one that was remembered (see `resume`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256

from ledger.blockcodec import parse_block
from ledger.core import merkle
from ledger.core.hashing import ZERO_DIGEST, Digest, u32, u64
from ledger.core.leaf import Record, parse_leaf
from ledger.verify.scratch import EventEntry
from ledger.verify.source import NativeEntry, Piece, PieceData


@dataclass(frozen=True, slots=True)
class KnownPiece:
    """A piece that is only read again."""

    piece: Piece

    @property
    def place(self) -> str:
        """See `Piece`."""
        return self.piece.place

    def load(self) -> PieceData:
        """See `Piece`."""
        return self.piece.load()


@dataclass(slots=True)
class SeenBlock:
    """What a block gives to the state of an audit without being judged: hashes of its leaves, and its events' records."""

    height: int
    time: int
    leaf_hashes: list[Digest]
    events: list[EventEntry]
    attachments: tuple[bytes, ...]
    header_leaf: bytes


def known_first(pieces: Iterable[Piece], count: int) -> Iterator[Piece]:
    """`pieces`, of which the first `count` are only read again."""
    for number, piece in enumerate(pieces):
        yield KnownPiece(piece) if number < count else piece


def content_digest(data: PieceData) -> Digest:
    """SHA-256 over all blocks and certificates of a piece, each behind its length."""
    hasher = sha256()
    for items in (data.blocks, data.certificates):
        hasher.update(u32(len(items)))
        for item in items:
            hasher.update(u32(len(item)))
            hasher.update(item)
    return Digest(hasher.digest())


def content_so_far(before: Digest, piece: Digest) -> Digest:
    """The digest of all pieces up to one, from that of the pieces before it (`NO_CONTENT` before the first)."""
    return Digest(sha256(before + piece).digest())


NO_CONTENT = ZERO_DIGEST
"""The digest of no pieces."""


class DigestedNatives:
    """Native commits as a source gives them, with the digest of those that were taken."""

    def __init__(self, entries: Iterable[NativeEntry]) -> None:
        self._entries = iter(entries)
        self._size = 0
        self._before = self._digest = NO_CONTENT

    def __iter__(self) -> Iterator[NativeEntry]:
        """Itself."""
        return self

    def __next__(self) -> NativeEntry:
        """The next one."""
        size, data = entry = next(self._entries)
        self._size, self._before = size, self._digest
        self._digest = content_so_far(self._digest, Digest(sha256(u64(size) + data).digest()))
        return entry

    def digest(self, size: int) -> Digest:
        """The digest of those over at most `size`, while at most one beyond has been taken."""
        return self._before if self._size > size else self._digest


def see_blocks(data: PieceData) -> list[SeenBlock]:
    """The blocks of a piece. Raises `MalformedError` for bytes that no earlier run can have passed."""
    return [_see(encoded) for encoded in data.blocks]


def _see(encoded: bytes) -> SeenBlock:
    block = parse_block(encoded)
    events: list[EventEntry] = []
    for leaf in block.leaves:
        read = parse_leaf(leaf)
        if isinstance(read, Record):
            events.append((read.member, read.id, read.event_hash))
    hashes = [merkle.leaf_hash(leaf) for leaf in block.leaves]
    return SeenBlock(
        block.height, block.time, hashes, events, tuple(block.attachments), block.leaves[-1] if block.leaves else b""
    )


__all__ = [
    "DigestedNatives",
    "KnownPiece",
    "SeenBlock",
    "content_digest",
    "content_so_far",
    "known_first",
    "see_blocks",
]
