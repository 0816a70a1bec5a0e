"""Single leaves by log index, out of the segments they were packed in.

Rules: wanted indexes are read in order, so that each segment is read once and each frame opened once; a leaf that no segment
holds is the header of its block. Not here: hashes; what is read is what was stored.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from ledger.adapters.sqlite import query
from ledger.adapters.sqlite.blocks import BlockReader, Body, check_body, check_record
from ledger.adapters.sqlite.cache import Cache
from ledger.adapters.sqlite.faults import damaged
from ledger.adapters.sqlite.frames import FRAME_ENTRIES
from ledger.core.header import parse_header
from ledger.errors import NotFoundError

FRAMES_CACHED: Final = 32
_ELSEWHERE: Final = object()

Frames = tuple[int, int, list[bytes]]
"""(log index of the first entry, dictionary id, frames) of one segment."""


class LeafReader:
    """Reads entries of `records` and `bodies` on one connection."""

    def __init__(self, connection: sqlite3.Connection, blocks: BlockReader) -> None:
        self._connection = connection
        self._blocks = blocks
        self._cache: Cache[tuple[str, int], list[Any]] = Cache(FRAMES_CACHED)

    def read_leaves(self, seqs: Sequence[int]) -> dict[int, bytes]:
        """Leaf bytes by log index. Raises `NotFoundError` beyond the log's end."""
        return {
            seq: self.header_leaf(seq) if entry is None else entry[0] for seq, entry in self.read_records(seqs).items()
        }

    def read_records(self, seqs: Sequence[int]) -> dict[int, tuple[bytes, bytes | None] | None]:
        """(leaf, head) by log index, head None for a timer; None for a header."""
        return {
            seq: check_record(entry) if entry is not None else None
            for seq, entry in self._read_entries("records", seqs).items()
        }

    def read_bodies(self, seqs: Sequence[int]) -> dict[int, Body]:
        """Bodies by log index; None where there is none, or where it is not here."""
        return {seq: check_body(entry) for seq, entry in self._read_entries("bodies", seqs).items()}

    def _read_entries(self, table: str, seqs: Sequence[int]) -> dict[int, Any]:
        found: dict[int, Any] = {}
        segment: Frames = (0, 0, [])
        for seq in sorted(set(seqs)):
            entry = self._entry(table, segment, seq)
            if entry is _ELSEWHERE:
                # A segment's end is known only when its last frame is open, so a later one may hold this leaf.
                segment = self._segment(table, seq)
                entry = self._entry(table, segment, seq)
            found[seq] = None if entry is _ELSEWHERE else entry
        return found

    def header_leaf(self, seq: int) -> bytes:
        """The header leaf at index `seq`."""
        row = query.row(
            self._connection,
            "SELECT height, data FROM blocks WHERE first_seq<=? ORDER BY first_seq DESC LIMIT 1",
            (seq,),
            (int, bytes),
        )
        if row is None:
            raise NotFoundError("leaf", "no such leaf", seq=seq)
        leaf = self._blocks.data(row[1]).header_leaf
        index = parse_header(leaf).index
        if seq > index:
            raise NotFoundError("leaf", "beyond the end of the log", seq=seq)
        if seq != index:
            raise damaged("leaf", reason="no segment holds it", seq=seq, height=row[0])
        return leaf

    def _segment(self, table: str, seq: int) -> Frames:
        row = query.row(
            self._connection,
            f"SELECT seq, data FROM {table} WHERE seq<=? ORDER BY seq DESC LIMIT 1",  # noqa: S608 - one of two names
            (seq,),
            (int, bytes),
        )
        if row is None:
            return 0, 0, []
        dictionary_id, frames = self._blocks.decompressor.split(row[1])
        return row[0], dictionary_id, frames

    def _entry(self, table: str, segment: Frames, seq: int) -> Any:
        start, dictionary_id, frames = segment
        number, offset = divmod(seq - start, FRAME_ENTRIES)
        if not 0 <= number < len(frames):
            return _ELSEWHERE
        key = (table, start + number * FRAME_ENTRIES)
        entries = self._cache.get(key)
        if entries is None:
            entries = self._blocks.decompressor.open_list(dictionary_id, frames[number])
            self._cache.put(key, entries)
        return entries[offset] if offset < len(entries) else _ELSEWHERE
