"""Reads a stored block as it is exchanged: inputs, leaves and note as one `BlockData`, nothing framed or parsed again.

Rule: what the store cannot give (a body that was erased) is left out with its hash, as far as that was kept.
Not here: whether any of it is true.
"""

from __future__ import annotations

from collections.abc import Iterator

from ledger.adapters.sqlite.snapshot import Snapshot
from ledger.blockcodec import BlockData, EventData, SubmissionData
from ledger.core.hashing import sha256
from ledger.errors import NotFoundError


def read_block(snap: Snapshot, height: int) -> BlockData:
    """The block at `height`. Raises `NotFoundError` (code `body-archived`) where a body and its hash are gone."""
    header, data = snap._block(height)  # noqa: SLF001 - the snapshot's own row, which framing would cost twice
    pairs = iter(snap._block_events(header, data)) if data.submissions else iter(())  # noqa: SLF001
    submissions = tuple(
        SubmissionData(each.member, each.key_id, each.signature, tuple(_events(pairs, each.count, height)))
        for each in data.submissions
    )
    attachments, leaves = tuple(snap.attachments(height)), tuple(snap.block_leaves(height))
    return BlockData(height, header.time, submissions, attachments, leaves, data.note)


def _events(pairs: Iterator[tuple[bytes, bytes | None]], count: int, height: int) -> Iterator[EventData]:
    for _ in range(count):
        head, body = next(pairs)
        if body is None:
            raise NotFoundError("body-archived", "the body of an event is not here, nor its hash", height=height)
        yield head, body, sha256(body)
