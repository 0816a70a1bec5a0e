"""The records of every stream on disk: their log indexes, and hash tiles of long streams.

Rules: the positions of full chunks of 256 stand in rows (stream number, chunk), those behind them beside the stream's value,
so that a short stream needs no row of its own; each is a list of differences. When a chunk is full, the root over its leaf
hashes becomes a node of the stream's tile level 1, and so on upwards. Not here: a stream's value.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ledger.adapters.sqlite import query
from ledger.adapters.sqlite.faults import damaged
from ledger.adapters.sqlite.packing import CHUNK, Entry, decode_deltas, encode_deltas
from ledger.adapters.sqlite.tiles import TILE_LEVELS, tile_reader
from ledger.core import merkle
from ledger.core.merkle import EMPTY_RANGE, CompactRange
from ledger.core.stream import StreamValue
from ledger.errors import NotFoundError
from ledger.machine.block import Sealed, StateRow


class StreamTables:
    """Writes `stream_seqs` and the tiles of streams."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._rows: list[tuple[int, int, bytes]] = []

    def append(self, sealed: Sealed, number: int, row: StateRow, seqs: Sequence[int], before: Entry | None) -> Entry:
        """The entry of stream `number`, now `row`, once `seqs` have joined; full chunks wait for `flush`."""
        if before is None:
            if len(seqs) == 1:
                return Entry(row, b"", 1, seqs[0])
            size, last, tail = 0, 0, b""
        else:
            size, last = before.size, before.last
            tail = before.tail if size > 1 else encode_deltas([last])
        held = size % CHUNK
        if held + len(seqs) < CHUNK:
            return Entry(row, tail + encode_deltas(seqs, last if held else 0), size + len(seqs), seqs[-1])
        self._write_nodes(sealed, number, size, seqs, before)
        rest = seqs
        while held + len(rest) >= CHUNK:
            taken, rest = rest[: CHUNK - held], rest[CHUNK - held :]
            tail += encode_deltas(taken, last if held else 0)
            self._rows.append((number, size // CHUNK, tail))
            size += len(taken)
            held, tail = 0, b""
        return Entry(row, encode_deltas(rest), size + len(rest), seqs[-1])

    def flush(self) -> None:
        """Write the rows of full chunks in the open transaction."""
        rows, self._rows = self._rows, []
        self._connection.executemany("INSERT INTO stream_seqs VALUES (?, ?, ?)", rows)

    def _write_nodes(self, sealed: Sealed, number: int, size: int, seqs: Sequence[int], before: Entry | None) -> None:
        """Store the nodes of levels 8, 16, … that became complete."""
        tree = CompactRange.parse(size, before.row.range) if before is not None else EMPTY_RANGE
        first_seq = sealed.header.first_seq
        levels = tree.grow([sealed.leaf_hashes[seq - first_seq] for seq in seqs])[1]
        read = tile_reader(self._connection, number)
        for level in range(TILE_LEVELS, len(levels), TILE_LEVELS):
            first, nodes = levels[level]
            while nodes:
                index, held = divmod(first, CHUNK)
                taken, nodes = nodes[: CHUNK - held], nodes[CHUNK - held :]
                partial = read(level // TILE_LEVELS, index) if held else b""
                self._connection.execute(
                    "INSERT OR REPLACE INTO tiles (tree, level, i, hashes) VALUES (?, ?, ?, ?)",
                    (number, level // TILE_LEVELS, index, partial + b"".join(taken)),
                )
                first += len(taken)


@dataclass(frozen=True, slots=True)
class StoredStream:
    """A stream as it is stored: its number names its rows and tiles."""

    number: int
    value: StreamValue
    tail: bytes

    def last_chunk(self) -> list[int]:
        """The positions behind the last full chunk."""
        seqs = [self.value.first] if self.value.size == 1 else decode_deltas(self.tail)
        if len(seqs) != self.value.size % CHUNK:
            raise damaged("stream", number=self.number, reason="its tail is not what its size says", got=len(seqs))
        return seqs

    def read_seqs(self, connection: sqlite3.Connection, begin: int, end: int) -> list[int]:
        """Log indexes at positions [begin, end). Raises `NotFoundError` beyond the stream's end."""
        size = self.value.size
        if not 0 <= begin <= end <= size:
            raise NotFoundError("stream-position", "no such positions", begin=begin, end=end, size=size)
        first, full = begin // CHUNK, size // CHUNK
        found: list[int] = []
        if first < full and begin < end:
            rows = query.rows(
                connection,
                "SELECT chunk, seqs FROM stream_seqs WHERE stream=? AND chunk BETWEEN ? AND ? ORDER BY chunk",
                (self.number, first, min(full - 1, (end - 1) // CHUNK)),
                (int, bytes),
            )
            for number, (chunk, data) in enumerate(rows, first):
                seqs = decode_deltas(data)
                if chunk != number or len(seqs) != CHUNK:
                    raise damaged("stream", number=self.number, reason="a chunk is missing or not full", chunk=number)
                found.extend(seqs)
        if end > full * CHUNK:
            found.extend(self.last_chunk())
        found = found[begin - first * CHUNK : end - first * CHUNK]
        if len(found) != end - begin:
            raise damaged("stream", number=self.number, reason="a chunk is missing", begin=begin, end=end)
        return found


def split_nodes(nodes: Collection[merkle.Node]) -> tuple[list[merkle.Node], list[merkle.Node]]:
    """Nodes below tile level 1, which follow from leaf hashes, and the others."""
    low = [node for node in nodes if node[0] < TILE_LEVELS]
    return low, [node for node in nodes if node[0] >= TILE_LEVELS]
