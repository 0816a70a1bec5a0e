"""Opens what a person calls a ledger: an export (directory or tar), a node's data directory, or a node's address.

Rule: a source only hands over bytes; nothing it says is believed. Not here: exports (see `archive`).
"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ledger.adapters.archive import ArchiveSource
from ledger.blockcodec import encode_block
from ledger.core.genesis import GENESIS_BYTES_MAX
from ledger.core.hashing import Digest
from ledger.errors import MalformedError, NotFoundError, UnavailableError
from ledger.limits import BLOCK_ENCODED_BYTES_MAX, BUNDLE_BYTES_MAX, NOTE_BYTES_MAX
from ledger.verify.findings import BYTES, Finding, Gap, from_error
from ledger.verify.source import LedgerSource, MemoryPiece, PieceData, StateEntry

if TYPE_CHECKING:
    from ledger.adapters.sqlite.snapshot import Snapshot

DATABASE: Final = "ledger.sqlite"
PIECE_LEAVES: Final = 4_096  # leaves that one piece of a data directory holds at least
ROWS_PAGE: Final = 4_096
BLOCKS_PAGE: Final = 64
HTTP_TIMEOUT_S: Final = 60.0


def open_source(text: str, *, timeout_s: float = HTTP_TIMEOUT_S) -> LedgerSource:
    """The source that `text` names. Raises `NotFoundError` where there is nothing that can be read as a ledger."""
    if text.startswith(("http://", "https://")):
        return NodeSource(text, timeout_s)
    path = Path(text)
    if path.is_dir():
        if (path / DATABASE).is_file():
            return DataDirectorySource(path)
        if (path / "manifest.json").is_file():
            return ArchiveSource(path)
    elif path.is_file():
        with path.open("rb") as file:
            start = file.read(16)
        if start.startswith(b"SQLite format 3\0"):
            return DataDirectorySource(path.parent, path.name)
        return ArchiveSource(path)
    raise NotFoundError("source", "neither an export, nor a data directory, nor a node's address", source=text)


# --- a data directory ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredPiece:
    """Blocks `first` … `last` of a database; every process opens it for itself."""

    path: Path
    first: int
    last: int

    @property
    def place(self) -> str:
        """The heights."""
        return f"blocks {self.first}-{self.last}"

    def load(self) -> PieceData:
        """See `Piece`."""
        from ledger.adapters.sqlite.reader import SqliteReader
        from ledger.adapters.stored import read_block

        reader = SqliteReader(self.path)
        try:
            with reader.snapshot() as snap:
                blocks = [encode_block(read_block(snap, height)) for height in range(self.first, self.last + 1)]
                return PieceData(blocks, _certificates(snap, self.first, self.last))
        finally:
            reader.close()


def _certificates(snap: Snapshot, first: int, last: int) -> list[bytes]:
    """The certificates over sizes of these blocks."""
    size, end = snap.block(first).size, snap.block(last).size
    notes: list[bytes] = []
    while size <= end:
        found = snap.certificate(size)
        if found is None or found[0] > end:
            break
        notes.append(found[1])
        size = found[0] + 1
    return notes


class DataDirectorySource:
    """A node's data directory, read in one snapshot while the node may run."""

    is_live = True

    def __init__(self, folder: Path, database: str = DATABASE) -> None:
        from ledger.adapters.sqlite.reader import SqliteReader

        self.name = str(folder)
        self._path = folder / database
        self._reader = SqliteReader(self._path)
        self._context: AbstractContextManager[Snapshot] = self._reader.snapshot()
        self._snap = self._context.__enter__()

    def close(self) -> None:
        """End the snapshot."""
        self._context.__exit__(None, None, None)
        self._reader.close()

    def genesis(self) -> bytes:
        """See `LedgerSource`."""
        return self._snap.genesis()

    def bundle(self, digest: Digest) -> bytes:
        """See `LedgerSource`."""
        return self._snap.bundle(digest)

    def pieces(self) -> Iterator[StoredPiece]:
        """See `LedgerSource`."""
        first, head = 0, self._snap.head_height
        while first <= head:
            seq = self._snap.block(first).first_seq + PIECE_LEAVES
            last = head if seq >= self._snap.head_size else self._snap.block_of(seq).height
            yield StoredPiece(self._path, first, last)
            first = last + 1

    def head(self) -> tuple[int, int] | None:
        """See `LedgerSource`."""
        return self._snap.head_height, self._snap.head_size

    def events_hint(self) -> int | None:
        """About how many leaves there are, for a progress bar."""
        return self._snap.head_size

    def latest_certified(self) -> int | None:
        """The largest certified size."""
        found = self._snap.latest_certificate()
        return None if found is None else found[0]

    def state(self) -> Iterable[StateEntry] | None:
        """See `LedgerSource`."""
        return self._rows()

    def _rows(self) -> Iterator[StateEntry]:
        after: bytes | None = None
        while True:
            page = self._snap.rows_with_prefix(b"", after, ROWS_PAGE)
            yield from ((key, row.value) for key, row in page)
            if len(page) < ROWS_PAGE:
                return
            after = page[-1][0]

    def inspect(self) -> Iterator[Finding | Gap]:
        """What only a data directory has: hash tiles, indexes, rows that no block shows. Each damage is a finding."""
        from ledger.adapters.sqlite.scrub import scrub

        for error in scrub(self._snap):
            yield from_error("storage", BYTES, error, place=self.name)


# --- a node ----------------------------------------------------------------------------------------------------------


class NodeSource:
    """A running node, over its public HTTP interface."""

    is_live = True

    def __init__(self, address: str, timeout_s: float) -> None:
        self.name = address.rstrip("/")
        if urlsplit(self.name).scheme not in ("http", "https"):
            raise MalformedError("source", "a node's address begins with http:// or https://", got=address)
        self._timeout_s = timeout_s
        self._opener = urllib.request.build_opener(_NoRedirect())
        self._head: int | None = None

    def genesis(self) -> bytes:
        """See `LedgerSource`."""
        return self._get("/v1/genesis", GENESIS_BYTES_MAX)

    def bundle(self, digest: Digest) -> bytes:
        """See `LedgerSource`."""
        return self._get(f"/v1/bundles/{digest.hex()}", 2 * BUNDLE_BYTES_MAX)

    def pieces(self) -> Iterator[MemoryPiece]:
        """See `LedgerSource`: blocks up to the head as it was when asked first, the newest certificate last."""
        import msgpack

        note = self._certificate()
        height = 0
        while True:
            data = self._get(f"/v1/blocks?from={height}&limit={BLOCKS_PAGE}", 2 * BLOCK_ENCODED_BYTES_MAX)
            try:
                blocks: Any = msgpack.unpackb(data, max_array_len=BLOCKS_PAGE, max_map_len=0, max_ext_len=0)
            except (ValueError, msgpack.UnpackException) as error:
                raise MalformedError("node-blocks", "not a list of blocks", reason=str(error)) from None
            if not isinstance(blocks, list) or not all(isinstance(block, bytes) for block in blocks):
                raise MalformedError("node-blocks", "not a list of blocks")
            if not blocks:
                break
            place = f"blocks {height}-{height + len(blocks) - 1}"
            height += len(blocks)
            yield MemoryPiece(place, PieceData(blocks))
        if note:
            yield MemoryPiece("newest certificate", PieceData([], [note]))

    def _certificate(self) -> bytes:
        try:
            return self._get("/v1/checkpoint", NOTE_BYTES_MAX)
        except NotFoundError:
            return b""

    def head(self) -> tuple[int, int] | None:
        """See `LedgerSource`."""
        return None

    def events_hint(self) -> int | None:
        """Not known."""
        return None

    def state(self) -> Iterable[StateEntry] | None:
        """See `LedgerSource`."""
        return None

    def inspect(self) -> Iterator[Finding | Gap]:
        """See `LedgerSource`."""
        return iter(())

    def _get(self, path: str, bytes_max: int) -> bytes:
        request = urllib.request.Request(self.name + path)  # noqa: S310 - scheme checked above
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                data: bytes = answer.read(bytes_max + 1)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                raise NotFoundError("node-missing", "the node has no such thing", path=path) from None
            raise UnavailableError("node-answer", "the node refused", path=path, status=error.code) from None
        except (OSError, ValueError) as error:
            reason = str(error)
            raise UnavailableError(
                "node-unreachable", "the node does not answer", node=self.name, reason=reason
            ) from None
        if len(data) > bytes_max:
            raise MalformedError("node-answer", "the answer is too large", path=path, limit=bytes_max)
        return data


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A node answers itself; following it elsewhere could read from addresses that the auditor did not name."""

    def redirect_request(self, *_arguments: Any, **_named: Any) -> None:
        """No redirect."""


__all__ = ["DataDirectorySource", "NodeSource", "StoredPiece", "open_source"]
