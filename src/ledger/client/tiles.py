"""Reads nodes of a log tree from the hash tiles that a node or a static copy serves (c2sp.org/tlog-tiles).

Rules: a tile holds up to 256 hashes of every eighth level; of a tile only as many hashes are asked for as are needed.
What comes back is a stranger's: it counts once it gives a root that somebody signed. Not here: such checks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

from ledger.core import merkle
from ledger.core.hashing import DIGEST_BYTES, Digest
from ledger.core.merkle import Node
from ledger.errors import MalformedError

TILE_HASHES: Final = 256
TILE_LEVELS: Final = 8

Get = Callable[[Sequence[str]], bytes]
"""The bytes at a path, given in its segments; raises what a client raises."""


def tile_segments(level: int, index: int, width: int) -> list[str]:
    """The path of a tile: `tile/<L>/<N>`, with `.p/<W>` behind it where it is not full."""
    digits = f"{index:03}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    segments = ["tile", str(level), *(f"x{group}" for group in groups[:-1]), groups[-1]]
    if width < TILE_HASHES:
        segments[-1:] = [f"{segments[-1]}.p", str(width)]
    return segments


def read_nodes(get: Get, nodes: Collection[Node]) -> dict[Node, Digest]:
    """The hashes of `nodes`, each the root of a complete subtree. Raises `MalformedError` for a tile of another length."""
    found: dict[Node, Digest] = {}
    tiles: dict[tuple[int, int], tuple[int, bytes]] = {}
    places = {node: _place(node) for node in nodes}
    for level, index, begin, count in places.values():
        width, _ = tiles.get((level, index), (0, b""))
        tiles[level, index] = max(width, begin + count), b""
    for (level, index), (width, _) in tiles.items():
        data = get(tile_segments(level, index, width))
        if len(data) != width * DIGEST_BYTES:
            raise MalformedError("tile", "a tile of another length", level=level, index=index, got=len(data))
        tiles[level, index] = width, data
    for node, (level, index, begin, count) in places.items():
        data = tiles[level, index][1]
        hashes = [Digest(data[at * DIGEST_BYTES : (at + 1) * DIGEST_BYTES]) for at in range(begin, begin + count)]
        found[node] = merkle.root(hashes)
    return found


def _place(node: Node) -> tuple[int, int, int, int]:
    """(tile level, tile index, first hash, hashes) below which a node lies: never more than one tile."""
    level, index = node
    row, inside = divmod(level, TILE_LEVELS)
    first = index << inside
    return row, first // TILE_HASHES, first % TILE_HASHES, 1 << inside
