"""One entry of the log as JSON: the leaf, and the event's head and body, each spliced as the bytes that were hashed.

Rule: nothing is parsed to be written again, so what a reader sees is what the hashes cover; `time` is the block's (unix ms),
`seq` the leaf index. Not here: which entries.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ledger.adapters.sqlite.reader import Snapshot
from ledger.adapters.sqlite.snapshot import StoredLeaf
from ledger.core.leaf import TYPE_HEADER, TYPE_RECORD
from ledger.errors import FatalError
from ledger_node.query.blocktimes import BlockTimes

_TYPES: Final = {TYPE_HEADER: b"header", TYPE_RECORD: b"record"}
# Fields before `height` hold no quotes beyond their own, so the first match is the field itself.
_HEIGHT: Final = re.compile(rb'"height":(\d{1,16})')


def height_of(leaf: bytes) -> int:
    """The block height in a leaf's JSON, without parsing the verdict."""
    match = _HEIGHT.search(leaf)
    if match is None:
        raise FatalError("leaf", "a stored leaf names no height")
    return int(match[1])


def encode_entry(stored: StoredLeaf, time: int) -> bytes:
    """`{"body":…,"head":…,"leaf":…,"seq":…,"time":…,"type":…}`; head and body are null for a timer and where gone.

    Of an erased body `body_hash` is left.
    """
    leaf, head, body = stored.leaf, stored.head, stored.body
    return b'{"body":%b,%b"head":%b,"leaf":%b,"seq":%d,"time":%d,"type":"%b"}' % (
        b"null" if body is None else body,
        b"" if stored.body_hash is None else b'"body_hash":"%b",' % stored.body_hash.hex().encode(),
        b"null" if head is None else head,
        leaf[2:],
        stored.seq,
        time,
        _TYPES.get(leaf[0], b"timer"),
    )


def encode_entries(snap: Snapshot, times: BlockTimes, leaves: Sequence[StoredLeaf]) -> list[bytes]:
    """The JSON of these leaves."""
    heights = [height_of(stored.leaf) for stored in leaves]
    known: Mapping[int, int] = times.read(snap, heights)
    return [encode_entry(stored, known[height]) for stored, height in zip(leaves, heights, strict=True)]


def read_entries(snap: Snapshot, times: BlockTimes, seqs: Sequence[int]) -> list[bytes]:
    """The entries at these log indexes, in the order asked for."""
    return encode_entries(snap, times, snap.leaves(seqs, places=False))


def join(items: Iterable[bytes]) -> bytes:
    """A JSON list of encoded values."""
    return b"[" + b",".join(items) + b"]"
