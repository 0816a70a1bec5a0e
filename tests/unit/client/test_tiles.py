"""Hash tiles as a client reads them: every node of every small tree, from tiles that the node's own parser accepts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ledger.client.tiles import TILE_HASHES, read_nodes, tile_segments
from ledger.core import merkle
from ledger.core.hashing import DIGEST_BYTES, sha256
from ledger.core.merkle import Node
from ledger.errors import MalformedError, NotFoundError
from ledger_node.query.log import TileName, parse_tile_path

LEAVES = [sha256(str(number).encode()) for number in range(70_000)]


LEVELS_OF: dict[int, list[bytes]] = {0: list(LEAVES)}
for _level in range(1, 17):
    _below = LEVELS_OF[_level - 1]
    LEVELS_OF[_level] = [merkle.node_hash(*_below[at : at + 2]) for at in range(0, len(_below) - 1, 2)]  # type: ignore[arg-type]


def node(level: int, index: int) -> bytes:
    """The root of a complete subtree."""
    return LEVELS_OF[level][index]


def serve(segments: Sequence[str]) -> bytes:
    """What a node of this log answers."""
    assert segments[0] == "tile"
    name = parse_tile_path("/".join(segments[1:]))
    first = name.index * TILE_HASHES
    hashes = LEVELS_OF[8 * name.level][first : first + name.width]
    if len(hashes) < name.width:
        raise NotFoundError("tile", "beyond the log")
    return b"".join(hashes)


@pytest.mark.parametrize(("begin", "end"), [(0, 1), (0, 255), (0, 256), (3, 700), (1_000, 66_000), (0, 70_000)])
def test_nodes_come_out_of_tiles(begin: int, end: int) -> None:
    """The roots of the complete subtrees of a range are those of the tree, at all levels and widths."""
    wanted = merkle.range_nodes(begin, end)
    assert read_nodes(serve, wanted) == {(level, index): node(level, index) for level, index in wanted}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (TileName(0, 0, 256), "0/000"),
        (TileName(1, 5, 7), "1/005.p/7"),
        (TileName(0, 999, 256), "0/999"),
        (TileName(0, 1_234, 256), "0/x001/234"),
        (TileName(2, 12_345_678, 1), "2/x012/x345/678.p/1"),
    ],
)
def test_tiles_have_the_names_of_c2sp(name: TileName, path: str) -> None:
    """c2sp.org/tlog-tiles: groups of three digits, an x before all but the last, .p for a partial tile."""
    assert tile_segments(name.level, name.index, name.width) == ["tile", *path.split("/")]
    assert parse_tile_path(path) == name


def test_a_tile_of_another_length_is_refused() -> None:
    """Fewer or more hashes than were asked for are no tile."""
    asked: list[Node] = [(0, 3)]
    for length in (0, 3 * DIGEST_BYTES, 5 * DIGEST_BYTES):
        with pytest.raises(MalformedError):
            read_nodes(lambda _, length=length: bytes(length), asked)  # type: ignore[misc]
