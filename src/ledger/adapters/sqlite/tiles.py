"""Hash tiles: the nodes of a Merkle tree in rows of 256 (the layout of C2SP tlog-tiles, with tiles of local trees beside).

Rules: tile (tree, L, n) holds the hashes of nodes (8·L, 256·n …) of that tree as far as they are complete; the last tile of
a level is partial and rewritten. Any complete subtree follows from one tile. Tree 0 is the log; streams are trees of
their own, whose level 0 are log leaves and therefore stored from L = 1 on. Not here: which hash is right.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection
from typing import Final

from ledger.adapters.sqlite import query
from ledger.adapters.sqlite.packing import CHUNK
from ledger.core import merkle
from ledger.core.hashing import DIGEST_BYTES, Digest
from ledger.core.merkle import Node
from ledger.errors import NotFoundError

LOG_TREE: Final = 0
TILE_LEVELS: Final = 8
"""A tile spans this many tree levels."""

ReadTile = Callable[[int, int], bytes]
"""(tile level, tile index) → its hashes, b"" where there is none."""


def split_hashes(packed: bytes) -> list[Digest]:
    """The single hashes of concatenated ones."""
    return [Digest(packed[at : at + DIGEST_BYTES]) for at in range(0, len(packed), DIGEST_BYTES)]


def read_nodes(nodes: Collection[Node], read_tile: ReadTile) -> dict[Node, Digest]:
    """Hashes of complete subtrees from tiles, each of which is read once. Raises `NotFoundError` for incomplete ones."""
    tiles: dict[tuple[int, int], bytes] = {}
    found: dict[Node, Digest] = {}
    for level, index in nodes:
        tile_level, height = divmod(level, TILE_LEVELS)
        first = index << height
        place = (tile_level, first // CHUNK)
        hashes = tiles.get(place)
        if hashes is None:
            hashes = tiles[place] = read_tile(*place)
        start = first % CHUNK * DIGEST_BYTES
        part = hashes[start : start + (DIGEST_BYTES << height)]
        if len(part) != DIGEST_BYTES << height:
            raise NotFoundError("node", "the tree has no such complete node", level=level, index=index)
        found[level, index] = Digest(part) if height == 0 else merkle.root(split_hashes(part))
    return found


def tile_reader(connection: sqlite3.Connection, tree: int) -> ReadTile:
    """Reads the stored tiles of one tree."""

    def read(level: int, index: int) -> bytes:
        sql = "SELECT hashes FROM tiles WHERE tree=? AND level=? AND i=?"
        return query.value(connection, sql, (tree, level, index), bytes) or b""

    return read


class TileWriter:
    """Appends nodes of one tree level after the other; keeps the partial last tile of the log in memory."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._last: dict[int, tuple[int, bytes]] = {}

    def append_log(self, size: int, hashes: list[Digest]) -> None:
        """Append leaf hashes behind a log of `size` leaves, with every complete node of the tile levels above."""
        level = 0
        while hashes:
            packed = b"".join(hashes)
            rows, above = self._append(level, size, packed)
            self._connection.executemany(
                "INSERT OR REPLACE INTO tiles (tree, level, i, hashes) VALUES (0, ?, ?, ?)",
                [(level, index, tile) for index, tile in rows],
            )
            level, size, hashes = level + 1, size // CHUNK, above

    def _append(self, level: int, size: int, packed: bytes) -> tuple[list[tuple[int, bytes]], list[Digest]]:
        index, held = divmod(size, CHUNK)
        last = self._last.get(level)
        if held == 0:
            partial = b""
        elif last is not None and last[0] == index:
            partial = last[1]
        else:
            partial = tile_reader(self._connection, LOG_TREE)(level, index)
        if len(partial) != held * DIGEST_BYTES:
            raise NotFoundError("tile", "the last tile is not what the log's size says", level=level, index=index)
        data = partial + packed
        rows: list[tuple[int, bytes]] = []
        above: list[Digest] = []
        width = CHUNK * DIGEST_BYTES
        for start in range(0, len(data), width):
            tile = data[start : start + width]
            rows.append((index, tile))
            if len(tile) == width:
                above.append(merkle.root(split_hashes(tile)))
            self._last[level] = (index, tile)
            index += 1
        return rows, above
