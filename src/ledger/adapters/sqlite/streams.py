"""The records of every stream on disk: their log indexes in rows of 256, and hash tiles of long streams.

Rules: row (stream, chunk) holds positions 256·chunk … as differences, so any position is found without counting; when a
chunk is full, the root over its leaf hashes becomes a node of the stream's tile level 1, and so on upwards.
Not here: a stream's value in the state map.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from typing import Final

from ledger.adapters.sqlite import query
from ledger.adapters.sqlite.cache import Cache
from ledger.adapters.sqlite.packing import CHUNK, decode_deltas, encode_deltas
from ledger.adapters.sqlite.tiles import TILE_LEVELS, tile_reader
from ledger.core import merkle
from ledger.core.hashing import Digest
from ledger.core.merkle import CompactRange
from ledger.core.stream import parse_stream_value
from ledger.errors import NotFoundError, invariant
from ledger.machine.block import Sealed, StateRow

TAILS_CACHED: Final = 20_000  # about 10 MB

Tail = tuple[int, int, bytes]
"""(size, last log index, last chunk) of a stream."""


class StreamTables:
    """Writes `stream_seqs` and the tiles of streams."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._tails: Cache[int, Tail] = Cache(TAILS_CACHED)

    def write(self, sealed: Sealed, numbers: dict[bytes, int]) -> None:
        """Write what joined in this block; `numbers` are the streams' numbers by map key."""
        rows: list[tuple[int, int, bytes]] = []
        tails = self._tails
        for key, seqs in sealed.stream_seqs.items():
            number = numbers[key]
            tail = tails.get(number)
            if tail is None:
                tail = self._read_tail(number, sealed.old_rows[key])
            size, last, data = tail
            if size % CHUNK + len(seqs) >= CHUNK:
                first_seq, hashes = sealed.header.first_seq, sealed.leaf_hashes
                self._write_nodes(number, size, sealed.old_rows[key], [hashes[seq - first_seq] for seq in seqs])
            rest = seqs
            while rest:
                chunk, held = divmod(size, CHUNK)
                taken = rest[: CHUNK - held]
                data = data + encode_deltas(taken, last) if held else encode_deltas(taken)
                rows.append((number, chunk, data))
                size, last = size + len(taken), taken[-1]
                rest = rest[len(taken) :]
            tails.put(number, (size, last, data))
        rows.sort()
        self._connection.executemany("INSERT OR REPLACE INTO stream_seqs VALUES (?, ?, ?)", rows)

    def _read_tail(self, number: int, old: StateRow | None) -> Tail:
        if old is None:
            return 0, 0, b""
        size = parse_stream_value(old.value).size
        chunk, held = divmod(size, CHUNK)
        if held == 0:
            return size, 0, b""
        data: bytes = (
            query.value(
                self._connection, "SELECT seqs FROM stream_seqs WHERE stream=? AND chunk=?", (number, chunk), bytes
            )
            or b""
        )
        seqs = decode_deltas(data)
        invariant(len(seqs) == held, "a stream's last chunk is not what its size says")
        return size, seqs[-1], data

    def _write_nodes(self, number: int, size: int, old: StateRow | None, hashes: Sequence[Digest]) -> None:
        """Store the nodes of levels 8, 16, … that became complete."""
        tree = CompactRange.parse(size, old.range) if old is not None else CompactRange(0, ())
        levels = tree.grow(hashes)[1]
        read = tile_reader(self._connection, number)
        for level in range(TILE_LEVELS, len(levels), TILE_LEVELS):
            first, nodes = levels[level]
            while nodes:
                index, held = divmod(first, CHUNK)
                taken = nodes[: CHUNK - held]
                partial = read(level // TILE_LEVELS, index) if held else b""
                self._connection.execute(
                    "INSERT OR REPLACE INTO tiles (tree, level, i, hashes) VALUES (?, ?, ?, ?)",
                    (number, level // TILE_LEVELS, index, partial + b"".join(taken)),
                )
                first += len(taken)
                nodes = nodes[len(taken) :]


def read_seqs(connection: sqlite3.Connection, number: int, begin: int, end: int) -> list[int]:
    """Log indexes at positions [begin, end) of a stream. Raises `NotFoundError` beyond its end."""
    if not 0 <= begin <= end:
        raise NotFoundError("stream-position", "no such positions", begin=begin, end=end)
    found: list[int] = []
    first = begin // CHUNK
    rows = query.rows(
        connection,
        "SELECT chunk, seqs FROM stream_seqs WHERE stream=? AND chunk BETWEEN ? AND ? ORDER BY chunk",
        (number, first, max(begin, end - 1) // CHUNK),
        (int, bytes),
    )
    for number_expected, (chunk, data) in enumerate(rows, first):
        if chunk != number_expected:
            break
        found.extend(decode_deltas(data))
    found = found[begin - first * CHUNK : end - first * CHUNK]
    if len(found) != end - begin:
        raise NotFoundError("stream-position", "beyond the end of the stream", begin=begin, end=end)
    return found


def split_nodes(nodes: Collection[merkle.Node]) -> tuple[list[merkle.Node], list[merkle.Node]]:
    """Nodes below tile level 1, which follow from leaf hashes, and the others."""
    low = [node for node in nodes if node[0] < TILE_LEVELS]
    return low, [node for node in nodes if node[0] >= TILE_LEVELS]
