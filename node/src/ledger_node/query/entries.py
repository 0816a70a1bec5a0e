"""One entry of the log as JSON: the leaf, and the event's head and body, each spliced as the bytes that were hashed.

Rule: nothing is parsed to be written again, so what a reader sees is what the hashes cover. Not here: which entries.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ledger.adapters.sqlite.reader import Snapshot
from ledger.core.leaf import TYPE_HEADER, TYPE_RECORD

_TYPES = {TYPE_HEADER: b"header", TYPE_RECORD: b"record"}


def encode_entry(seq: int, leaf: bytes, head: bytes | None, body: bytes | None) -> bytes:
    """`{"body":…,"head":…,"leaf":…,"seq":…,"type":…}`; head and body are null for a timer and where they are gone."""
    return b'{"body":%b,"head":%b,"leaf":%b,"seq":%d,"type":"%b"}' % (
        b"null" if body is None else body,
        b"null" if head is None else head,
        leaf[2:],
        seq,
        _TYPES.get(leaf[0], b"timer"),
    )


def encode_entries(snap: Snapshot, seqs: Sequence[int]) -> bytes:
    """The entries at these log indexes, a JSON list in the order asked for."""
    return join(encode_entry(stored.seq, stored.leaf, stored.head, stored.body) for stored in snap.leaves(seqs))


def join(items: Iterable[bytes]) -> bytes:
    """A JSON list of encoded values."""
    return b"[" + b",".join(items) + b"]"
