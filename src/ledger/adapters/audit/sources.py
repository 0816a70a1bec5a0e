"""Opens what a person calls a ledger: an export (directory or tar), a node's data directory, or a node's address.

Rule: a source only hands over bytes; nothing it says is believed. Not here: exports (see `archive`).
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ledger.adapters.audit.archive import ArchiveSource
from ledger.archiveformat import GENESIS, MANIFEST, TAR_BLOCK, parse_native
from ledger.blockcodec import encode_block, parse_block
from ledger.client.exchange import FAILURES, AnswerTooLongError, Connection
from ledger.client.request import check_url
from ledger.core.checkpoint import parse_checkpoint_text
from ledger.core.genesis import GENESIS_BYTES_MAX
from ledger.core.hashing import Digest
from ledger.core.header import parse_header
from ledger.core.note import parse_note
from ledger.errors import LedgerError, MalformedError, NotFoundError, UnavailableError
from ledger.limits import BLOCK_ENCODED_BYTES_MAX, BUNDLE_BYTES_MAX, INT_MAX, NATIVE_BYTES_MAX, NOTE_BYTES_MAX
from ledger.verify.findings import BYTES, Finding, Gap, from_error
from ledger.verify.source import (
    BrokenPart,
    LedgerSource,
    MemoryPiece,
    NativeEntry,
    PieceData,
    StateEntry,
    UnopenedError,
    read_or_note,
)

if TYPE_CHECKING:
    from ledger.adapters.sqlite.snapshot import Snapshot

DATABASE: Final = "ledger.sqlite"
TAR_MARK: Final = slice(257, 262)  # where a tar's first header has its format's name
PIECE_LEAVES: Final = 4_096  # leaves that one piece of a data directory holds at least
ROWS_PAGE: Final = 4_096
BLOCKS_PAGE: Final = 1_000
NATIVES_PAGE: Final = 500
NATIVES_PAGE_BYTES: Final = NATIVES_PAGE * (NATIVE_BYTES_MAX + 16)
HTTP_TIMEOUT_S: Final = 60.0


def open_source(text: str, *, timeout_s: float = HTTP_TIMEOUT_S) -> LedgerSource:
    """The source that `text` names. Raises `NotFoundError` where there is nothing that can be read as a ledger,
    `UnopenedError` for an export of which nothing can be read, `MalformedError` for any other file."""
    if text.startswith(("http://", "https://")):
        return NodeSource(text, timeout_s)
    path = Path(text)
    if path.is_dir():
        if (path / DATABASE).is_file():
            return DataDirectorySource(path)
        if (path / MANIFEST).is_file() or ((path / GENESIS).is_file() and (path / "segments").is_dir()):
            return _open_archive(path)
    elif path.is_file():
        with path.open("rb") as file:
            start = file.read(TAR_BLOCK)
        if start.startswith(b"SQLite format 3\0"):
            return DataDirectorySource(path.parent, path.name)
        if path.suffix == ".tar" or start[TAR_MARK] == b"ustar":
            return _open_archive(path)
        return ArchiveSource(path)
    raise NotFoundError("source", "neither an export, nor a data directory, nor a node's address", source=text)


def _open_archive(path: Path) -> ArchiveSource:
    """What is an export by its form. Raises `UnopenedError` where its container or manifest is damaged."""
    try:
        return ArchiveSource(path)
    except UnavailableError:
        raise
    except LedgerError as error:
        raise UnopenedError(error.code, error.message, **error.evidence) from error


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

        reader = SqliteReader(self.path)
        try:
            with reader.snapshot() as snap:
                blocks = [_encoded(snap, height) for height in range(self.first, self.last + 1)]
                return PieceData(blocks, _certificates(snap, self.first, self.last))
        finally:
            reader.close()

    def salvage(self) -> tuple[PieceData, list[BrokenPart]]:
        """See `SalvageablePiece`: a damaged block or certificate is left out, and named."""
        from ledger.adapters.sqlite.reader import SqliteReader

        broken: list[BrokenPart] = []
        reader = SqliteReader(self.path)
        try:
            with reader.snapshot() as snap:
                blocks = [
                    read_or_note(partial(_encoded, snap, height), broken, f"block {height}", height)
                    for height in range(self.first, self.last + 1)
                ]
                found = [
                    read_or_note(partial(snap.certificates.of, size), broken, f"certificate {size}")
                    for size in _certified_sizes(snap, self.first, self.last)
                ]
        finally:
            reader.close()
        notes = [each for each in found if each is not None]
        return PieceData([block for block in blocks if block is not None], notes), broken


def _encoded(snap: Snapshot, height: int) -> bytes:
    from ledger.adapters.sqlite.stored import read_block

    return encode_block(read_block(snap, height))


def _certified_sizes(snap: Snapshot, first: int, last: int) -> list[int]:
    """Sizes of the certificates over these blocks, by their places alone, whatever the blocks' bytes are."""
    from ledger.adapters.sqlite.query import rows

    sql = (
        "SELECT size FROM certificates WHERE size > (SELECT coalesce(max(first_seq), -1) FROM blocks WHERE height <= ?) "
        "AND size <= (SELECT coalesce(min(first_seq), ?) FROM blocks WHERE height > ?) ORDER BY size"
    )
    return [size for (size,) in rows(snap.connection, sql, (first, INT_MAX, last), (int,))]


def _certificates(snap: Snapshot, first: int, last: int) -> list[bytes]:
    """The certificates over sizes of these blocks."""
    size, end = snap.block(first).size, snap.block(last).size
    notes: list[bytes] = []
    while size <= end:
        found = snap.certificates.least(size)
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
            last = self._last_of_piece(first)
            yield StoredPiece(self._path, first, last)
            first = last + 1

    def _last_of_piece(self, first: int) -> int:
        """The block in which a piece from `first` on is full, by the places of blocks alone: their bytes may be damaged."""
        from ledger.adapters.sqlite.query import value

        begin = "SELECT first_seq FROM blocks WHERE height>=? ORDER BY height LIMIT 1"
        seq = value(self._snap.connection, begin, (first,), int) + PIECE_LEAVES
        end = "SELECT height FROM blocks WHERE first_seq<=? ORDER BY first_seq DESC LIMIT 1"
        last: int | None = value(self._snap.connection, end, (seq,), int)
        return first if last is None else max(first, last)

    def head(self) -> tuple[int, int] | None:
        """See `LedgerSource`."""
        size = read_or_note(lambda: self._snap.head_size, [], "head")
        return self._snap.head_height, size or 0  # of a last block that cannot be read no size is claimed

    def events_hint(self) -> int | None:
        """About how many leaves there are, for a progress bar."""
        found = self.head()
        return None if found is None else found[1]

    def latest_certified(self) -> int | None:
        """The largest certified size."""
        found = self._snap.certificates.latest()
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

    def natives(self) -> Iterator[NativeEntry]:
        """See `LedgerSource`."""
        found = self._snap.natives.least(0)
        while found is not None:
            yield found
            found = self._snap.natives.least(found[0] + 1)

    def inspect(self) -> Iterator[Finding | Gap]:
        """What only a data directory has: hash tiles, indexes, rows that no block shows. Each damage is a finding."""
        from ledger.adapters.sqlite.scrub import scrub

        for error in scrub(self._snap):
            where = {name: got for name in ("height", "seq") if type(got := error.evidence.get(name)) is int}
            yield from_error("storage", BYTES, error, place=self.name, **where)


# --- a node ----------------------------------------------------------------------------------------------------------


class NodeSource:
    """A running node, over its public HTTP interface: its ledger up to the newest certificate it shows."""

    is_live = True

    def __init__(self, address: str, timeout_s: float) -> None:
        self.name = address.rstrip("/")
        if not self.name.lower().startswith(("http://", "https://")):
            raise MalformedError("source", "a node's address begins with http:// or https://", got=address)
        self._timeout_s = timeout_s
        self._shown: tuple[bytes, int | None] | None = None
        # An auditor reads from the address that he named: no redirect is followed and no proxy is asked.
        self._parts = urlsplit(check_url(self.name))
        self._context = ssl.create_default_context() if self._parts.scheme == "https" else None

    def genesis(self) -> bytes:
        """See `LedgerSource`."""
        try:
            return self._get("/v1/genesis", GENESIS_BYTES_MAX)
        except NotFoundError:
            # Every node has one: this is another server or another path, and says nothing about a ledger.
            raise UnavailableError("node-address", "no ledger node answers at this address", node=self.name) from None

    def bundle(self, digest: Digest) -> bytes:
        """See `LedgerSource`."""
        return self._get(f"/v1/bundles/{digest.hex()}", 2 * BUNDLE_BYTES_MAX)

    def pieces(self) -> Iterator[MemoryPiece]:
        """See `LedgerSource`. Without a certificate: blocks up to the head; the certificate comes last."""
        note, size = self._shown = self._certificate()
        ends = self._epoch_ends()
        height = 0
        while True:
            blocks = self._page(height)
            kept = blocks if size is None else list(_until(blocks, size))
            if kept:
                notes = [self._kept(kept[end - height]) for end in ends if height <= end < height + len(kept)]
                place = f"blocks {height}-{height + len(kept) - 1}"
                yield MemoryPiece(place, PieceData(kept, [each for each in notes if each and each != note]))
            height += len(blocks)
            if not blocks or len(kept) < len(blocks) or (size is not None and _size_after(blocks[-1]) == size):
                break
        if note:
            yield MemoryPiece("newest certificate", PieceData([], [note]))

    def _epoch_ends(self) -> list[int]:
        """Heights at which the node says that the cosigner set changed; whatever it leaves out is a gap of the report."""
        try:
            items = json.loads(self._get("/v1/proposals?status=enacted&limit=1000", 8 * BUNDLE_BYTES_MAX))["items"]
            found = [each["proposal"] for each in items]
            heights = [each["height"] for each in found if each["action"] == "sys.set.change"]
            return [height - 1 for height in heights if type(height) is int]
        except (NotFoundError, UnavailableError, MalformedError, ValueError, KeyError, TypeError):
            return []

    def _kept(self, block: bytes) -> bytes:
        """The kept certificate over the checkpoint of a block, b"" where the node has none."""
        try:
            return self._get(f"/v1/certificates/{_size_after(block)}", NOTE_BYTES_MAX)
        except (NotFoundError, MalformedError):
            return b""

    def _page(self, height: int) -> list[bytes]:
        """Encoded blocks from `height` on, as many as the node gives at a time; empty behind the head."""
        import msgpack

        data = self._get(f"/v1/blocks?from={height}&limit={BLOCKS_PAGE}", 2 * BLOCK_ENCODED_BYTES_MAX)
        try:
            blocks: Any = msgpack.unpackb(data, max_array_len=BLOCKS_PAGE, max_map_len=0, max_ext_len=0)
        except (ValueError, msgpack.UnpackException) as error:
            raise MalformedError("node-blocks", "not a list of blocks", reason=str(error)) from None
        if not isinstance(blocks, list) or not all(isinstance(block, bytes) for block in blocks):
            raise MalformedError("node-blocks", "not a list of blocks")
        return blocks

    def _certificate(self) -> tuple[bytes, int | None]:
        """The newest certified note and its size; nothing is believed of it but how far to read."""
        try:
            note = self._get("/checkpoint", NOTE_BYTES_MAX)
            return note, parse_checkpoint_text(parse_note(note).text).size
        except (NotFoundError, MalformedError):
            return b"", None
        except UnavailableError as error:
            if error.evidence.get("status") != HTTPStatus.SERVICE_UNAVAILABLE:
                raise
            return b"", None  # a node says so as long as nothing is certified

    def head(self) -> tuple[int, int] | None:
        """See `LedgerSource`."""
        return None

    def events_hint(self) -> int | None:
        """Not known."""
        return None

    def state(self) -> Iterable[StateEntry] | None:
        """See `LedgerSource`."""
        return None

    def natives(self) -> Iterator[NativeEntry]:
        """See `LedgerSource`: those up to the newest certified checkpoint, which is where `pieces` ends. Raises
        `MalformedError` (code `node-natives`) for what is no list of them by rising size."""
        if self._shown is None:
            self._shown = self._certificate()
        end = self._shown[1]
        first = 0
        while end is not None and first <= end:
            try:
                page = self._get(f"/v1/native?from={first}&limit={NATIVES_PAGE}", NATIVES_PAGE_BYTES)
            except (NotFoundError, UnavailableError):
                return  # a gap of the report
            entries = _natives(page)
            for size, data in entries:
                if size < first:
                    raise MalformedError("node-natives", "native commits out of order", size=size)
                if size > end:
                    return
                yield size, data
                first = size + 1
            if not entries:
                return

    def inspect(self) -> Iterator[Finding | Gap]:
        """See `LedgerSource`."""
        return iter(())

    def _get(self, path: str, bytes_max: int) -> bytes:
        parts = self._parts
        try:
            with closing(Connection(parts.hostname or "", parts.port, self._context)) as connection:
                answer = connection.ask("GET", parts.path + path, timeout_s=self._timeout_s, bytes_max=bytes_max)
        except AnswerTooLongError:
            raise MalformedError("node-answer", "the answer is too large", path=path, limit=bytes_max) from None
        except FAILURES as error:
            reason = str(error) or type(error).__name__
            raise UnavailableError(
                "node-unreachable", "the node does not answer", node=self.name, reason=reason
            ) from None
        if answer.status == HTTPStatus.NOT_FOUND:
            raise NotFoundError("node-missing", "the node has no such thing", path=path)
        if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            raise UnavailableError("node-answer", "the node refused", path=path, status=answer.status)
        return answer.body


def _natives(page: bytes) -> list[NativeEntry]:
    """(size, native commit) of each item of a node's answer. Raises `MalformedError` (`node-natives`)."""
    import msgpack

    try:
        items: Any = msgpack.unpackb(page, max_array_len=NATIVES_PAGE, max_map_len=0, max_ext_len=0)
    except (ValueError, msgpack.UnpackException) as error:
        raise MalformedError("node-natives", "not a list of native commits", reason=str(error)) from None
    if not isinstance(items, list) or not all(isinstance(item, bytes) for item in items):
        raise MalformedError("node-natives", "not a list of native commits")
    entries = [parse_native(item) for item in items]
    if any(len(data) > NATIVE_BYTES_MAX for _, data in entries):
        raise MalformedError("node-natives", "a native commit is too large", limit=NATIVE_BYTES_MAX)
    return entries


def _until(blocks: list[bytes], size: int) -> Iterator[bytes]:
    """The blocks up to the one that ends at `size` leaves; what cannot be read is left for the audit to name."""
    for block in blocks:
        yield block
        if (_size_after(block) or 0) >= size:
            return


def _size_after(encoded: bytes) -> int | None:
    try:
        block = parse_block(encoded)
        return parse_header(block.leaves[-1]).index + 1 if block.leaves else None
    except MalformedError:
        return None


__all__ = ["DataDirectorySource", "NodeSource", "StoredPiece", "open_source"]
