"""Fills bodies that a ledger no longer has from exports that were kept, so that an audit can run the rules again.

Rules (SPEC R-V13): a body is taken only where its SHA-256 is the one that stands in the block in its place, so that a
kept copy can add bodies and nothing else; what is damaged in a copy is named and passed over. Everything else is read
from the ledger that is audited. Not here: what is said of bodies that no copy has (see `ledger.verify.pruned`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from ledger.adapters.audit.archive import ArchiveSource
from ledger.adapters.audit.sources import open_source
from ledger.blockcodec import BlockData, encode_block, parse_block
from ledger.core.genesis import parse_genesis
from ledger.core.hashing import Digest
from ledger.errors import LedgerError, MalformedError, RejectedError, UnavailableError
from ledger.verify.findings import BODIES, Finding, Gap, gap
from ledger.verify.source import BrokenPart, LedgerSource, NativeEntry, Piece, PieceData, SalvageablePiece, StateEntry


@dataclass(frozen=True, slots=True)
class KeptCopy:
    """A kept export: its readable segments and the height at which each begins, rising; `damaged` are the others.

    Pickles as a few numbers a segment, so that workers read for themselves.
    """

    path: str
    segments: tuple[str, ...]
    firsts: tuple[int, ...]
    damaged: tuple[str, ...] = ()

    def block(self, height: int) -> BlockData | None:
        """The copy's block at `height`, None where it has none that can be read."""
        at = bisect_right(self.firsts, height) - 1
        if at < 0:
            return None
        blocks = _segment(self.path, self.segments[at])
        number = height - self.firsts[at]
        try:
            found = parse_block(blocks[number]) if number < len(blocks) else None
        except MalformedError:
            return None
        return found if found is not None and found.height == height else None


def open_copy(path: str, source: LedgerSource) -> KeptCopy:
    """The export at `path`, every file read once and compared with its manifest.

    Raises `RejectedError` for the export of another ledger than `source` (`copy-origin`) and for what is no export
    (`copy-kind`); what opening an export raises.
    """
    copy = open_source(path)
    if not isinstance(copy, ArchiveSource):
        raise RejectedError("copy-kind", "bodies are taken from an export only", path=path)
    expected, got = _origin(source), _origin(copy)
    if expected is not None and got != expected:
        raise RejectedError("copy-origin", "the export is of another ledger", path=path, expected=expected, got=got)
    found: list[tuple[int, str]] = []
    damaged: list[str] = []
    for piece in copy.pieces():
        try:
            found.append((parse_block(piece.load().blocks[0]).height, piece.segment))
        except UnavailableError:
            raise
        except (LedgerError, IndexError):
            damaged.append(piece.segment)
    found.sort()
    names, firsts = tuple(name for _, name in found), tuple(first for first, _ in found)
    return KeptCopy(str(Path(path)), names, firsts, tuple(damaged))


def _origin(source: LedgerSource) -> str | None:
    """The origin that a source's genesis makes; None where it cannot be read, which the audit says."""
    try:
        return parse_genesis(source.genesis()).origin
    except UnavailableError:
        raise
    except LedgerError:
        return None


@lru_cache(maxsize=4)
def _segment(path: str, name: str) -> Sequence[bytes]:
    """The encoded blocks of one segment, empty where it cannot be read any more; whoever asks goes by rising height."""
    try:
        piece = next(piece for piece in ArchiveSource(Path(path)).pieces() if piece.segment == name)
        return piece.load().blocks
    except (LedgerError, StopIteration):
        return ()


@dataclass(frozen=True, slots=True)
class FilledPiece:
    """A piece with bodies from the copies, in their order, where its own are missing."""

    piece: Piece
    copies: tuple[KeptCopy, ...]

    @property
    def place(self) -> str:
        """See `Piece`."""
        return self.piece.place

    def load(self) -> PieceData:
        """See `Piece`."""
        return self._filled(self.piece.load())

    def salvage(self) -> tuple[PieceData, list[BrokenPart]]:
        """See `SalvageablePiece`; a piece that is whole or not at all is read once more, which says why."""
        if not isinstance(self.piece, SalvageablePiece):
            return self.load(), []
        data, broken = self.piece.salvage()
        return self._filled(data), broken

    def _filled(self, data: PieceData) -> PieceData:
        blocks: list[bytes] = []
        count = 0
        for encoded in data.blocks:
            filled, bodies = fill_block(encoded, self.copies)
            blocks.append(filled)
            count += bodies
        return PieceData(blocks, data.certificates, count)


def fill_block(encoded: bytes, copies: Iterable[KeptCopy]) -> tuple[bytes, int]:
    """A block with the bodies that the copies have, and how many they are. What is no block stays as it is."""
    try:
        block = parse_block(encoded)
    except MalformedError:
        return encoded, 0
    missing = {digest for each in block.submissions for _, body, digest in each.events if body is None}
    wanted = len(missing)
    found: dict[Digest, bytes] = {}
    for copy in copies if missing else ():
        kept = copy.block(block.height)
        # `parse_block` has made each digest of a body from the body itself.
        for submission in kept.submissions if kept is not None else ():
            found.update(
                (digest, body) for _, body, digest in submission.events if body is not None and digest in missing
            )
        missing -= found.keys()
        if not missing:
            break
    if not found:
        return encoded, 0
    submissions = tuple(
        replace(
            each,
            events=tuple(
                (head, found.get(digest) if body is None else body, digest) for head, body, digest in each.events
            ),
        )
        for each in block.submissions
    )
    return encode_block(replace(block, submissions=submissions)), wanted - len(missing)


class FilledSource:
    """A ledger to be verified, with bodies from kept copies; see `LedgerSource`."""

    def __init__(self, source: LedgerSource, copies: Sequence[KeptCopy]) -> None:
        self._source, self._copies = source, tuple(copies)
        self.name, self.is_live = source.name, source.is_live

    def genesis(self) -> bytes:
        """See `LedgerSource`."""
        return self._source.genesis()

    def bundle(self, digest: Digest) -> bytes:
        """See `LedgerSource`."""
        return self._source.bundle(digest)

    def pieces(self) -> Iterator[Piece]:
        """See `LedgerSource`."""
        return (FilledPiece(piece, self._copies) for piece in self._source.pieces())

    def head(self) -> tuple[int, int] | None:
        """See `LedgerSource`."""
        return self._source.head()

    def events_hint(self) -> int | None:
        """About how many leaves there are, for a progress bar."""
        hint: Callable[[], int | None] | None = getattr(self._source, "events_hint", None)
        return hint() if hint is not None else None

    def state(self) -> Iterable[StateEntry] | None:
        """See `LedgerSource`."""
        return self._source.state()

    def natives(self) -> Iterable[NativeEntry]:
        """See `LedgerSource`."""
        return self._source.natives()

    def inspect(self) -> Iterator[Finding | Gap]:
        """See `LedgerSource`; and what is damaged in a copy, which limits nothing that is not said elsewhere."""
        yield from self._source.inspect()
        for copy in self._copies:
            for name in copy.damaged:
                yield gap("copy-damaged", BODIES, limits=False, copy=copy.path, file=name)


__all__ = ["FilledPiece", "FilledSource", "KeptCopy", "fill_block", "open_copy"]
