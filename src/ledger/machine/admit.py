"""Which events of a block get a leaf, and which stand in the log already (SPEC R-L10 to R-L14).

A submission is refused as a whole for bad bytes, envelope or signature, before the log: `check_submission` says so with
the index of the event. Otherwise each event stands alone. Not here: what the rules say of an event.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger.core.event import Event
from ledger.core.keys import EVENT
from ledger.core.leaf import Stream
from ledger.core.registry import KeyEntry, Registry
from ledger.core.submission import Submission, verify_signature
from ledger.errors import RejectedError
from ledger.limits import BLOCK_BYTES_MAX, BLOCK_EVENTS_MAX, EVENT_PAST_MAX_MS
from ledger.machine.block import BlockInput
from ledger.machine.views import DecideView

NEW, DUPLICATE, CONFLICT = 0, 1, 2


@dataclass(slots=True)
class Admitted:
    """One event of a block with its class (NEW, DUPLICATE, CONFLICT) and the key that signed it."""

    event: Event
    member: str
    signer: KeyEntry
    place: tuple[int, int]
    status: int
    streams: list[Stream] = field(default_factory=list)


def check_submission(
    submission: Submission, origin: str, registry: Registry, height: int, *, signature: bool = True
) -> KeyEntry:
    """The key that signed `submission`, when it may do so in block `height`.

    Raises `RejectedError` for another network, an unknown member or key, and `VerificationError` for the signature
    (`signature=False` where this very object was verified before).
    """
    if submission.origin != origin:
        raise RejectedError("network", "signed for another network", got=submission.origin, expected=origin)
    entry = registry.signer(submission.key_id, submission.member, EVENT, height)
    if signature:
        verify_signature(submission, entry.public)
    return entry


def check_bounds(block: BlockInput) -> None:
    """Raise `RejectedError` (`block-events`, `block-bytes`) for a block that holds more than one may (SPEC R-B05)."""
    if sum(len(submission.events) for submission in block.submissions) > BLOCK_EVENTS_MAX:
        raise RejectedError("block-events", "too many events", limit=BLOCK_EVENTS_MAX)
    if sum(each.size for each in block.submissions) + sum(map(len, block.attachments)) > BLOCK_BYTES_MAX:
        raise RejectedError("block-bytes", "too many bytes", limit=BLOCK_BYTES_MAX)


def check_times(submission: Submission, block_time: int, ahead_ms: int) -> None:
    """R-L13: every event's id lies within block time − 400 days … + skew, so that the duplicate index has an end.

    Raises `RejectedError` naming the event's index.
    """
    oldest, newest = block_time - EVENT_PAST_MAX_MS, block_time + ahead_ms
    for index, event in enumerate(submission.events):
        if not oldest <= id_time(event.fields["id"]) <= newest:
            raise RejectedError(
                "event-time",
                "the id's time is too far from block time",
                index=index,
                id=event.id,
                block_time=block_time,
            )


def id_time(event_id: str) -> int:
    """Unix ms in a UUIDv7 (RFC 9562, 5.7)."""
    return int(event_id[:8] + event_id[9:13], 16)


def admit(block: BlockInput, view: DecideView) -> list[Admitted]:
    """Every event of the block in order, classed against the log before it and the events before it.

    The submissions have passed `check_submission` and `check_times`; signatures are not checked again.
    """
    registry = view.head.registry
    known = view.find_events([(s.member, event.fields["id"]) for s in block.submissions for event in s.events])
    admitted: list[Admitted] = []
    for number, submission in enumerate(block.submissions):
        member = submission.member
        signer = registry.signer(submission.key_id, member, EVENT, block.height)
        for position, event in enumerate(submission.events):
            name = (member, event.fields["id"])
            hashes = known.get(name)
            if hashes is None:
                known[name] = [event.hash]
                status = NEW
            elif event.hash in hashes:
                status = DUPLICATE
            else:
                hashes.append(event.hash)
                status = CONFLICT
            admitted.append(Admitted(event, member, signer, (number, position), status))
    return admitted
