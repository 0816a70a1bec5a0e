"""What an auditor reads: one small port that exports, data directories, nodes and tests all serve.

Rule: a source is never believed. Whatever it raises from `ledger.errors` becomes a finding or a gap; whatever it returns
is checked. Not here: any implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from ledger.core.hashing import Digest
from ledger.errors import LedgerError, MalformedError, UnavailableError
from ledger.verify.findings import Finding, Gap

T = TypeVar("T")

StateEntry = tuple[bytes, bytes]
"""(map key, map value) of one row of the state map."""

NativeEntry = tuple[int, bytes]
"""(size, native commit as `core.nativecommit` encodes it) over one checkpoint."""


@dataclass(frozen=True, slots=True)
class PieceData:
    """A run of blocks as `blockcodec.encode_block` gives them, and the certificates over sizes among theirs.

    `filled`: how many bodies, missing in the source, came from a copy that was kept.
    """

    blocks: Sequence[bytes]
    certificates: Sequence[bytes] = ()
    filled: int = 0


@dataclass(frozen=True, slots=True)
class BrokenPart:
    """A part of a piece that cannot be read: where it lies, why, and its height where it is a block."""

    place: str
    error: LedgerError
    height: int | None = None


def read_or_note(read: Callable[[], T], broken: list[BrokenPart], place: str, height: int | None = None) -> T | None:
    """What `read` returns; None where it found damage, which `broken` then names. `UnavailableError` is this machine's
    trouble and no damage: it is raised."""
    try:
        return read()
    except UnavailableError:
        raise
    except LedgerError as error:
        broken.append(BrokenPart(place, error, height))
        return None


class UnopenedError(MalformedError):
    """An export of which nothing can be read, because what holds its files together is damaged. Evidence: `offset` in a
    tar, or the `name` of a file; neither where it is the manifest."""


class Piece(Protocol):
    """A part of a source that can be loaded and checked on its own, also in another process (so it pickles)."""

    @property
    def place(self) -> str:
        """Where it lies, for findings: a file, or heights."""
        ...

    def load(self) -> PieceData:
        """Its content. Raises `MalformedError` for bytes that are no such piece, `LedgerError` where it cannot be read."""
        ...


@runtime_checkable
class SalvageablePiece(Piece, Protocol):
    """A piece of which more can be read when some of it is damaged."""

    def salvage(self) -> tuple[PieceData, list[BrokenPart]]:
        """What of it can be read, and each part that cannot. Raises `UnavailableError` for this machine's trouble, and
        `LedgerError` where nothing can be read."""
        ...


class LedgerSource(Protocol):
    """A whole ledger to be verified."""

    @property
    def name(self) -> str:
        """What the person called it."""
        ...

    @property
    def is_live(self) -> bool:
        """Whether it shows a running ledger, whose newest certificate should be fresh."""
        ...

    def genesis(self) -> bytes:
        """The genesis document."""
        ...

    def bundle(self, digest: Digest) -> bytes:
        """A rulebook or calendar by hash; `NotFoundError`."""
        ...

    def pieces(self) -> Iterator[Piece]:
        """All blocks from height 0, in order."""
        ...

    def head(self) -> tuple[int, int] | None:
        """(height, size) that the source claims to end at, where it says so: anything else is then a finding."""
        ...

    def state(self) -> Iterable[StateEntry] | None:
        """The rows of its state map at the last block, in any order; None where it has none."""
        ...

    def natives(self) -> Iterable[NativeEntry]:
        """CometBFT's own commits that it holds, by rising size; none where another engine orders."""
        ...

    def inspect(self) -> Iterator[Finding | Gap]:
        """Checks that only this kind of source needs, such as files that nothing refers to; after all pieces."""
        ...


@dataclass(frozen=True, slots=True)
class MemoryPiece:
    """A piece that is there already."""

    place: str
    data: PieceData

    def load(self) -> PieceData:
        """See `Piece`."""
        return self.data


Parallel = Callable[[Callable[[Piece], object], Iterable[Piece]], Iterator[object]]
"""Maps a picklable function over pieces, results in order; whoever calls the auditor decides in how many processes."""
