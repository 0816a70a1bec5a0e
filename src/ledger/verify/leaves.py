"""Decides whether a block's leaves are those of its events: each record names its event, submission, key and member.

Used where rules are not replayed; where they are, the machine makes the leaves again and all bytes are compared.
Rules: the last leaf is the header; records stand in the order of the events; an event without a record must stand in the
log already (a duplicate), and only the index of all events tells. Not here: whether a verdict is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ledger.core import canonical
from ledger.core.hashing import Digest
from ledger.core.header import Header, parse_header
from ledger.core.leaf import Record, TimerLeaf, encode_record, parse_leaf
from ledger.errors import MalformedError
from ledger.verify.findings import LEAVES, Finding, from_error

if TYPE_CHECKING:
    from ledger.verify.check import CheckedBlock, CheckedSubmission

# Verdicts that the ledger itself gives to an event that joins no stream but its author's (SPEC, records).
_AUTHOR_ONLY = frozenset(("conflict", "stream-limit"))

ACCEPTED = b'{"outcome":"accepted"}'


@dataclass(slots=True)
class ReadLeaf:
    """A record or timer leaf at `offset` in its block; `outcome` and `ledger_code` are read from the verdict."""

    offset: int
    leaf: Record | TimerLeaf
    outcome: str
    ledger_code: str | None

    @property
    def author_only(self) -> bool:
        """Whether the record joins its author's stream only."""
        return self.ledger_code in _AUTHOR_ONLY


@dataclass(slots=True)
class LeafFacts:
    """What the leaves of a block say; malformed ones are left out and stand in `findings`."""

    header: Header | None
    leaves: list[ReadLeaf]
    findings: list[Finding] = field(default_factory=list)


@dataclass(slots=True)
class Matched:
    """Events and leaves of one block paired: `records` are (leaf, submission, index), `unrecorded` are duplicates if
    anything: (member, event id, event hash)."""

    records: list[tuple[ReadLeaf, CheckedSubmission, int]]
    unrecorded: list[tuple[str, str, Digest]]
    findings: list[Finding]


def read_leaves(leaves: Sequence[bytes], height: int, submissions: Sequence[CheckedSubmission] = ()) -> LeafFacts:
    """Parse every leaf of the block at `height`.

    With `submissions` a leaf that is, byte for byte, the plain record of the next event is known without parsing it.
    """
    facts = LeafFacts(None, [])
    expected = _Expected(height, submissions)
    for offset, data in enumerate(leaves):
        last = offset == len(leaves) - 1
        known = expected.record(data)
        if known is not None and not last:
            facts.leaves.append(ReadLeaf(offset, known, "accepted", None))
            continue
        try:
            if last:
                facts.header = parse_header(data)
                break
            leaf = parse_leaf(data)
            if isinstance(leaf, bytes):
                raise MalformedError("leaf", "a header stands before the end of its block")
            if leaf.height != height:
                raise MalformedError("leaf-height", "names another block", expected=height, got=leaf.height)
        except MalformedError as error:
            place = f"leaf {offset} of {len(leaves)}"
            code = "header-malformed" if last else "leaf-malformed"
            facts.findings.append(from_error(code, LEAVES, error, height=height, field=place))
            continue
        if isinstance(leaf, Record):
            expected.passed(leaf.event_hash)
        facts.leaves.append(_read(offset, leaf))
    if not leaves:
        facts.findings.append(Finding("header-malformed", LEAVES, height, expected="a header leaf", got="no leaves"))
    return facts


class _Expected:
    """The records that a block's events have when the rules accept them and say nothing more: most of all leaves."""

    def __init__(self, height: int, submissions: Sequence[CheckedSubmission]) -> None:
        self._height = height
        self._events = [(submission, index) for submission in submissions for index in range(len(submission.ids))]
        self._places: dict[Digest, int] = {}
        self._next = 0

    def record(self, leaf: bytes) -> Record | None:
        """The next event's record where `leaf` is just that, else None."""
        if self._next == len(self._events):
            return None
        submission, index = self._events[self._next]
        record = Record(
            self._height, submission.member, submission.ids[index], submission.hashes[index], submission.identity,
            submission.key_id, ACCEPTED,
        )  # fmt: skip
        if encode_record(record) != leaf:
            return None
        self._next += 1
        return record

    def passed(self, event_hash: Digest) -> None:
        """Go on behind the event of this hash, where the block has one."""
        if not self._places:
            self._places = {submission.hashes[index]: at for at, (submission, index) in enumerate(self._events)}
        self._next = self._places.get(event_hash, self._next - 1) + 1


def _read(offset: int, leaf: Record | TimerLeaf) -> ReadLeaf:
    verdict: dict[str, Any] = canonical.parse(leaf.verdict)
    code: str | None = None
    for reason in verdict.get("reasons", ()):
        if type(reason) is list and len(reason) == 3 and reason[0] == "ledger" and type(reason[1]) is str:
            code = reason[1]
    return ReadLeaf(offset, leaf, str(verdict["outcome"]), code)


def match_leaves(block: CheckedBlock, facts: LeafFacts, first_seq: int | None) -> Matched:
    """Pair records with events in order; what does not pair is a finding."""
    records = [(each, each.leaf) for each in facts.leaves if isinstance(each.leaf, Record)]
    matched = Matched([], [], [])
    events = {
        (submission.member, event_id, digest)
        for submission in block.submissions
        for event_id, digest in zip(submission.ids, submission.hashes, strict=True)
    }
    position = 0
    for submission in block.submissions:
        for index, (event_id, digest) in enumerate(zip(submission.ids, submission.hashes, strict=True)):
            wanted = (submission.member, event_id, digest)
            if position == len(records):
                matched.unrecorded.append(wanted)
                continue
            read, leaf = records[position]
            named = (leaf.member, leaf.id, leaf.event_hash)
            # A record that is no event's of this block, but has this one's id, is this event's with another hash.
            if named != wanted and (named in events or named[:2] != wanted[:2]):
                matched.unrecorded.append(wanted)
                continue
            position += 1
            matched.findings.extend(_differences(leaf, submission, index, block.height, read.offset, first_seq))
            matched.records.append((read, submission, index))
    for read, leaf in records[position:]:
        seq = None if first_seq is None else first_seq + read.offset
        name = f"{leaf.member}/{leaf.id}"
        matched.findings.append(Finding("leaf-without-event", LEAVES, block.height, seq, name))
    return matched


def _differences(
    leaf: Record, submission: CheckedSubmission, index: int, height: int, offset: int, first_seq: int | None
) -> list[Finding]:
    """Where a record does not say what its event, submission and key are."""
    event = f"{submission.member}/{submission.ids[index]}"
    wanted = {
        "event_hash": (leaf.event_hash, submission.hashes[index]),
        "submission": (leaf.submission, submission.identity),
        "key_id": (leaf.key_id, submission.key_id),
    }
    seq = None if first_seq is None else first_seq + offset
    return [
        Finding("record-differs", LEAVES, height, seq, event, name, expected.hex(), got.hex())
        for name, (got, expected) in wanted.items()
        if got != expected
    ]
