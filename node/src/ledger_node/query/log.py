"""The log as such: blocks for followers, Merkle proofs by index and size, hash tiles for other people's tools.

Rule: what is served here is what anybody can check against a checkpoint; tiles follow C2SP tlog-tiles and cover only what is
certified, so that no tile can show a tree that nobody stands by. Not here: streams and state.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import msgpack

from ledger.adapters.sqlite.stored import read_block
from ledger.archiveformat import encode_native
from ledger.blockcodec import encode_block
from ledger.core.hashing import Digest
from ledger.core.merkle import consistency_nodes, inclusion_nodes, prove_consistency, prove_inclusion
from ledger.errors import MalformedError, NotFoundError
from ledger_node.query.ports import Node
from ledger_node.query.standing import Standing

BLOCKS_PAGE_MAX: Final = 1_000
BLOCKS_BYTES_MAX: Final = 16 * 1024 * 1024  # a page ends with the block that passes this
NATIVES_PAGE_MAX: Final = 1_000
NATIVES_BYTES_MAX: Final = 4 * 1024 * 1024  # likewise
SIZE_DIGITS_MAX: Final = 16
TILE_WIDTH: Final = 256
TILE_LEVEL_MAX: Final = 7  # 256**8 leaves are more than a seq can count
_TILE: Final = re.compile(r"(0|[1-9])/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?").fullmatch


def read_blocks(node: Node, first: int, limit: int) -> bytes:
    """The msgpack list of encoded blocks from height `first` on; empty beyond what is published.

    Raises `NotFoundError` (`body-archived`) where the first block lacks a body.
    """
    pages: list[bytes] = []
    size = 0
    with node.reader.snapshot() as snap:
        for height in range(first, min(first + limit, node.published + 1, snap.head_height + 1)):
            try:
                encoded = encode_block(node.recent_block(height) or read_block(snap, height))
            except NotFoundError:
                if not pages:
                    raise
                break  # what can be given is given; asking for the next one says why it cannot
            pages.append(encoded)
            size += len(encoded)
            if size >= BLOCKS_BYTES_MAX:
                break
    packed: bytes = msgpack.packb(pages)
    return packed


def inclusion(standing: Standing, seq: int, size: int | None) -> dict[str, Any]:
    """The inclusion path of leaf `seq` in the tree of `size` leaves (default: the certified one)."""
    size = _checked_size(standing, size)
    if seq >= size:
        raise NotFoundError("leaf", "beyond the end of this tree", seq=seq, size=size)
    path = prove_inclusion(seq, size, standing.snap.log_nodes(inclusion_nodes(seq, size)))
    leaf_hash = standing.snap.leaf_hashes([seq])[0]
    return {
        "leaf_hash": leaf_hash.hex(),
        "path": [digest.hex() for digest in path],
        "root": standing.snap.root_at(size).hex(),
        "seq": seq,
        "size": size,
    }


def consistency(standing: Standing, old: int, new: int | None) -> dict[str, Any]:
    """The path that shows the tree of `new` leaves (default: the certified one) to begin with that of `old`."""
    new = _checked_size(standing, new)
    if old > new:
        raise MalformedError("sizes", "the old size is greater than the new one", old=old, new=new)
    path = prove_consistency(old, new, standing.snap.log_nodes(consistency_nodes(old, new)))
    return {
        "new": new,
        "new_root": standing.snap.root_at(new).hex(),
        "old": old,
        "old_root": standing.snap.root_at(old).hex(),
        "path": [digest.hex() for digest in path],
    }


def _checked_size(standing: Standing, size: int | None) -> int:
    if size is None:
        return standing.size
    if not 1 <= size <= standing.size:
        raise NotFoundError("size", "beyond the certified checkpoint", size=size, certified=standing.size)
    return size


@dataclass(frozen=True, slots=True)
class TileName:
    """A hash tile: `width` nodes of tree level 8·level from `index`·256 on."""

    level: int
    index: int
    width: int


def parse_tile_path(path: str) -> TileName:
    """`<L>/<N>[.p/<W>]` of C2SP tlog-tiles; raises `NotFoundError` for every other path (the log has no such file)."""
    match = _TILE(path)
    if match is None:
        raise NotFoundError("tile", "no such tile", got=path)
    level, digits, width = int(match[1]), match[2].replace("x", "").split("/"), match[3]
    name = TileName(level, int("".join(digits)), TILE_WIDTH if width is None else int(width))
    # The last group has no x, all before it have, and no group but the only one may be all zeros at the front.
    canonical = len(digits) == 1 or digits[0] != "000"
    if (
        not canonical
        or len(digits) > 6
        or name.level > TILE_LEVEL_MAX
        or (width is not None and name.width >= TILE_WIDTH)
    ):
        raise NotFoundError("tile", "no such tile", got=path)
    return name


def read_tile(standing: Standing, name: TileName) -> bytes:
    """The tile's hashes, one behind the other; raises `NotFoundError` where the certified tree has no such nodes."""
    first = name.index * TILE_WIDTH
    shift = 8 * name.level
    if (first + name.width) << shift > standing.size:
        raise NotFoundError("tile", "beyond the certified checkpoint", size=standing.size)
    wanted = [(shift, index) for index in range(first, first + name.width)]
    nodes = standing.snap.log_nodes(wanted)
    return b"".join(nodes[node] for node in wanted)


def read_native(node: Node, size: str) -> bytes:
    """CometBFT's own commit over the checkpoint of `size` (plain decimal); raises `NotFoundError` where none is kept."""
    found = None
    if size.isascii() and size.isdecimal() and len(size) <= SIZE_DIGITS_MAX:
        with node.reader.snapshot() as snap:
            found = snap.natives.of(int(size))
    if found is None:
        raise NotFoundError("native", "no native commit of this size is kept", size=size)
    return found


def read_natives(node: Node, first: int, limit: int) -> bytes:
    """The msgpack list of native commits over sizes from `first` on, each as an export holds it; empty behind the last."""
    items: list[bytes] = []
    total = 0
    with node.reader.snapshot() as snap:
        found = snap.natives.least(first)
        while found is not None and len(items) < limit and total < NATIVES_BYTES_MAX:
            items.append(encode_native(*found))
            total += len(items[-1])
            found = snap.natives.least(found[0] + 1)
    return bytes(msgpack.packb(items))


def read_bundle(node: Node, digest: Digest) -> bytes:
    """A bundle by hash; raises `NotFoundError`."""
    with node.reader.snapshot() as snap:
        return snap.bundle(digest)
