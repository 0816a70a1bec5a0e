"""What became of a submission, and its answer as JSON bytes.

Rule: verdicts are canonical JSON already and are spliced, never parsed and written anew. A duplicate is answered with the
record that stood there first, so a replay gets the first receipt again. Not here: recording (see `http.append`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from ledger.adapters.ordering.certificates import CertificateBook
from ledger.adapters.ordering.sequencer import Committed, Placement
from ledger.adapters.sqlite.reader import Snapshot
from ledger.core import canonical
from ledger.core.canonical import quote
from ledger.core.hashing import Digest
from ledger.core.leaf import OUTCOMES, Record, parse_leaf
from ledger.core.submission import Submission
from ledger.errors import FatalError, UnavailableError
from ledger.machine.decide import CONFLICT_VERDICT
from ledger_node.query.ports import Node

_BOOL: Final = (b"false", b"true")

Settled = Future[Committed]
"""What the engine says of a submission, once it does."""


@dataclass(slots=True)  # not frozen: a thousand are made for one answer, and freezing doubles what that costs
class EventOutcome:
    """Where one event stands: its leaf, how it was decided, and whether it stood there before."""

    member: str
    id: str
    seq: int
    outcome: str
    verdict: bytes
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a submission: block and checkpoint that hold its last event, and every event in order.

    `time` is block time, unix ms; `note` the log-signed note of the checkpoint, empty for a replay.
    """

    height: int
    time: int
    size: int
    note: bytes
    events: tuple[EventOutcome | None, ...]

    @property
    def has_duplicates(self) -> bool:
        """Whether some events stood in the log before; their entries are None until `with_first_records`."""
        return None in self.events

    @property
    def has_conflict(self) -> bool:
        """Whether an id was used before with other content: the recorded refusal is the answer."""
        return any(event is not None and event.verdict == CONFLICT_VERDICT for event in self.events)

    def counts(self) -> Counter[str]:
        """Events by outcome, duplicates apart."""
        return Counter("duplicate" if event is None or event.duplicate else event.outcome for event in self.events)


def outcome_of(committed: Committed, submission: Submission) -> Outcome:
    """The outcome as the engine reported it, with None for events that stood in the log before."""
    member = submission.member
    return Outcome(
        committed.height,
        committed.time,
        committed.size,
        committed.note,
        tuple(
            None if place.seq is None else _placed(member, event.id, place, place.seq)
            for event, place in zip(submission.events, committed.events, strict=True)
        ),
    )


def with_first_records(node: Node, outcome: Outcome, submission: Submission) -> Outcome:
    """The outcome with each duplicate answered by the record that stood there first; reads the database.

    Where every event stood there before, block and size are those of the last of the records.
    """
    events = list(outcome.events)
    with node.reader.snapshot() as snap:
        for number, event in enumerate(submission.events):
            if events[number] is None:
                events[number] = _first_record(snap, submission.member, event.id, event.hash)
        if any(event is not None and not event.duplicate for event in events):
            return replace(outcome, events=tuple(events))
        block = snap.block_of(max(event.seq for event in events if event is not None))
    return Outcome(block.height, block.time, block.size, block.note, tuple(events))


def encode_outcome(outcome: Outcome, certificates: CertificateBook, receipts: Sequence[bytes] | None = None) -> bytes:
    """The answer's JSON; `receipts` (JSON each) are added to the events where they were asked for."""
    certified = certificates.certified()
    is_certified = certified is not None and certified.result.checkpoint.size >= outcome.size
    note = certified.note if is_certified and certified is not None else outcome.note or certificates.note()
    return b'{"certified":%b,"checkpoint":%b,"events":[%b],"height":%d,"size":%d,"time":%d}' % (
        _BOOL[is_certified],
        quote_note(note),
        b",".join(encode_events(outcome, receipts)),
        outcome.height,
        outcome.size,
        outcome.time,
    )


def encode_events(outcome: Outcome, receipts: Sequence[bytes] | None = None) -> Iterator[bytes]:
    """The JSON of each event's place, in order."""
    for number, event in enumerate(outcome.events):
        if event is None:
            raise FatalError("invariant", "the first records were not read")
        yield b'{"duplicate":%b,"id":"%b","member":"%b","outcome":"%b",%b"seq":%d,"verdict":%b}' % (
            _BOOL[event.duplicate],
            event.id.encode(),
            event.member.encode(),
            event.outcome.encode(),
            b'"receipt":%b,' % receipts[number] if receipts is not None else b"",
            event.seq,
            event.verdict,
        )


@lru_cache(maxsize=64)
def quote_note(note: bytes) -> bytes:
    """A note as a JSON string; the same few notes answer many requests."""
    return quote(note.decode("utf-8"))


def _placed(member: str, event_id: str, place: Placement, seq: int) -> EventOutcome:
    return EventOutcome(member, event_id, seq, OUTCOMES[place.outcome], place.verdict, duplicate=False)


def _first_record(snap: Snapshot, member: str, event_id: str, event_hash: Digest) -> EventOutcome:
    for stored in snap.leaves(snap.find_event(member, event_id)):
        record = parse_leaf(stored.leaf)
        if isinstance(record, Record) and record.event_hash == event_hash:
            outcome = canonical.parse(record.verdict)["outcome"]
            return EventOutcome(member, event_id, stored.seq, outcome, record.verdict, duplicate=True)
    raise UnavailableError("first-record", "the first record is not readable yet", member=member, id=event_id)
