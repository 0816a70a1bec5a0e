"""Turns any source into an export: the same pieces, genesis and bundles, up to a certified block or the head.

Rule: nothing is believed or changed on the way; `ledger verify` is what checks an export. Not here: files (see `archive`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

from ledger import archiveformat as form
from ledger.adapters.audit.archive import NATIVE_COMMITS, STATE_ROWS, ArchiveWriter
from ledger.blockcodec import parse_block
from ledger.core.checkpoint import parse_checkpoint_text
from ledger.core.genesis import parse_genesis
from ledger.core.hashing import sha256
from ledger.core.header import parse_header
from ledger.core.note import parse_note
from ledger.errors import NotFoundError
from ledger.limits import SEGMENT_TARGET_BYTES
from ledger.verify.source import LedgerSource, NativeEntry, StateEntry


@dataclass(slots=True)
class Exported:
    """What was written: the last block, its size, and the number of segments, certificates, native commits, state rows;
    `manifest` is the SHA-256 of manifest.json in hex, which names all of it."""

    origin: str
    height: int = -1
    size: int = 0
    segments: int = 0
    certificates: int = 0
    natives: int = 0
    state_rows: int = 0
    missing_bundles: int = 0
    manifest: str = ""


class _Segments:
    """Collects blocks and certificates into segments of about the target size."""

    def __init__(self, writer: ArchiveWriter, result: Exported) -> None:
        self._writer, self._result = writer, result
        self._blocks: list[bytes] = []
        self._notes: list[bytes] = []
        self._bytes = 0

    def add(self, encoded: bytes) -> None:
        """Add a block."""
        self._blocks.append(encoded)
        self._bytes += len(encoded)

    def certificates(self, notes: Iterable[bytes]) -> None:
        """Add certificates over blocks of this segment or earlier ones."""
        self._notes.extend(notes)

    def close(self, *, least: int = 0) -> None:
        """Write the segment, if it holds more than `least` bytes."""
        if not self._blocks or self._bytes < least:
            return
        number = self._result.segments
        self._writer.add(form.file_name("segments", number), form.pack(self._blocks))
        if self._notes:
            self._writer.add(form.file_name("certificates", number), form.pack(self._notes))
        self._result.segments += 1
        self._result.certificates += len(self._notes)
        self._blocks, self._notes, self._bytes = [], [], 0


def export(
    source: LedgerSource,
    target: Path,
    *,
    last_size: int | None = None,
    state: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Exported:
    """Write `source` to `target`, up to the block that ends at `last_size` leaves (None: all).

    `state` adds a copy of the state map's rows, which is that of the source's last block. Raises `ConflictError` where the
    target exists, whatever the source raises, and `MalformedError` for a source that is no ledger.
    """
    data = source.genesis()
    genesis = parse_genesis(data)
    result = Exported(genesis.origin)
    writer = ArchiveWriter(target)
    try:
        writer.add(form.GENESIS, data)
        for digest in dict.fromkeys((genesis.rulebook, genesis.calendar)):
            try:
                writer.add(f"bundles/{digest.hex()}.json", source.bundle(digest))
            except NotFoundError:
                result.missing_bundles += 1
        _blocks(source, _Segments(writer, result), result, last_size, progress)
        result.natives = _natives(writer, source.natives(), result.size)
        rows = source.state() if state else None
        if rows is not None:
            result.state_rows = _state(writer, rows)
        made = writer.finish(genesis.origin, result.height, result.size)
        result.manifest = sha256(form.encode_manifest(made)).hex()
    finally:
        writer.abandon()
    return result


def _blocks(
    source: LedgerSource,
    segments: _Segments,
    result: Exported,
    last_size: int | None,
    progress: Callable[[int], None] | None,
) -> None:
    for piece in source.pieces():
        loaded = piece.load()
        for encoded in loaded.blocks:
            if last_size is not None and result.size >= last_size:
                break
            block = parse_block(encoded)
            header = parse_header(block.leaves[-1]) if block.leaves else None
            result.height, result.size = block.height, header.index + 1 if header is not None else result.size
            segments.add(encoded)
        segments.certificates(note for note in loaded.certificates if _size(note) <= result.size)
        segments.close(least=SEGMENT_TARGET_BYTES)
        if progress is not None:
            progress(result.size)
        if last_size is not None and result.size >= last_size:
            break
    segments.close()


def _natives(writer: ArchiveWriter, entries: Iterable[NativeEntry], size_max: int) -> int:
    """Native commits over the exported checkpoints, as the source gives them; how many there are."""
    items = (form.encode_native(size, data) for size, data in entries if 0 <= size <= size_max)
    total = 0
    for number in count():
        batch = list(islice(items, NATIVE_COMMITS))
        if not batch:
            break
        writer.add(form.file_name("native", number), form.pack(batch))
        total += len(batch)
    return total


def _state(writer: ArchiveWriter, rows: Iterable[StateEntry]) -> int:
    total, number = 0, 0
    items: list[bytes] = []
    for key, value in rows:
        items += (key, value)
        total += 1
        if len(items) >= 2 * STATE_ROWS:
            writer.add(form.file_name("state", number), form.pack(items))
            number, items = number + 1, []
    if items or not number:
        writer.add(form.file_name("state", number), form.pack(items))
    return total


def _size(note: bytes) -> int:
    return parse_checkpoint_text(parse_note(note).text).size
