"""Reads a stored block as it is exchanged: inputs, leaves and note as one `BlockData`, nothing framed or parsed again.

Rule: of a body that was erased its hash goes along, so that its event's hash can still be checked.
Not here: whether any of it is true.
"""

from __future__ import annotations

from ledger.adapters.sqlite.snapshot import Snapshot, StoredEvent
from ledger.blockcodec import BlockData, EventData, SubmissionData
from ledger.core.hashing import sha256
from ledger.errors import NotFoundError


def read_block(snap: Snapshot, height: int) -> BlockData:
    """The block at `height`. Raises `NotFoundError` (code `body-archived`) where a body and its hash are gone."""
    content = snap.content(height)
    submissions = tuple(
        SubmissionData(each.member, each.key_id, each.signature, tuple(_event(event, height) for event in events))
        for each, events in content.submissions
    )
    return BlockData(
        height,
        content.block.time,
        submissions,
        tuple(content.attachments),
        tuple(content.leaves),
        content.block.note,
    )


def _event(event: StoredEvent, height: int) -> EventData:
    if event.body is not None:
        return event.head, event.body, sha256(event.body)
    if event.body_hash is None:
        raise NotFoundError("body-archived", "the body of an event is not here, nor its hash", height=height)
    return event.head, None, event.body_hash
