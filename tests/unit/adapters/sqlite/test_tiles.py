"""Hash tiles hold every complete node of a growing log, however it grew."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.adapters.sqlite import schema
from ledger.adapters.sqlite.tiles import LOG_TREE, TileWriter, read_nodes, tile_reader
from ledger.core import merkle
from ledger.core.hashing import sha256
from ledger.errors import NotFoundError


def make_connection() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.migrate(connection)
    return connection


def leaf_hashes(begin: int, end: int) -> list:
    return [sha256(n.to_bytes(4, "big")) for n in range(begin, end)]


@settings(max_examples=15, deadline=None)
@given(steps=st.lists(st.integers(1, 700), min_size=1, max_size=5), reopen=st.booleans())
def test_nodes_of_a_growing_log(steps, reopen):
    """After any appends each complete node is what RFC 6962 says, and no incomplete one is known."""
    connection = make_connection()
    writer = TileWriter(connection)
    size = 0
    for step in steps:
        writer.append_log(size, leaf_hashes(size, size + step))
        size += step
        if reopen:
            writer = TileWriter(connection)
    hashes = leaf_hashes(0, size)
    levels = dict(enumerate(merkle.EMPTY_RANGE.grow(hashes)[1]))
    read = tile_reader(connection, LOG_TREE)
    for level, (first, row) in levels.items():
        chosen = sorted({0, len(row) // 2, len(row) - 1})
        nodes = read_nodes([(level, first + at) for at in chosen], read)
        assert nodes == {(level, first + at): row[at] for at in chosen}
        with pytest.raises(NotFoundError):
            read_nodes([(level, first + len(row))], read)
    tiles = dict(connection.execute("SELECT level, count(*) FROM tiles GROUP BY level"))
    assert tiles == {level: -(-(size >> 8 * level) // 256) for level in tiles}
    connection.close()


def test_a_lost_tile_is_not_appended_to():
    """A writer that does not find the partial tile it has to extend refuses to go on."""
    connection = make_connection()
    TileWriter(connection).append_log(0, leaf_hashes(0, 300))
    connection.execute("DELETE FROM tiles WHERE level=0 AND i=1")
    with pytest.raises(NotFoundError):
        TileWriter(connection).append_log(300, leaf_hashes(300, 301))
    connection.close()


def test_two_levels_of_tiles():
    """65,536 leaves fill a tile of tiles, whose root is the log's root."""
    connection = make_connection()
    hashes = leaf_hashes(0, 65_536)
    TileWriter(connection).append_log(0, hashes)
    read = tile_reader(connection, LOG_TREE)
    assert read_nodes([(16, 0)], read)[16, 0] == merkle.root(hashes)
    assert read(2, 0) == merkle.root(hashes)
    connection.close()
