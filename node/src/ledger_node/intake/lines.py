"""NDJSON: one event a line in, one answer a line out, in the same order.

Rule: neighbouring lines of one member share a signature; a bad line is answered where it stands and stops no other line.
Blank lines are skipped. Not here: reading the body.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass

import msgspec

from ledger.core.event import Event
from ledger.core.submission import Submission
from ledger.errors import LedgerError, MalformedError
from ledger.limits import SUBMISSION_EVENTS_MAX
from ledger_node.http.problems import problem_of
from ledger_node.intake.drafts import Drafts, choose_member, make_event, parse_draft
from ledger_node.intake.recording import Record, source_of
from ledger_node.intake.signing import held_members, sign_events
from ledger_node.query.outcome import Outcome, encode_events
from ledger_node.query.ports import Node

GROUP_EVENTS_MAX = min(500, SUBMISSION_EVENTS_MAX)


@dataclass(slots=True)
class Group:
    """Neighbouring lines of one member, and the lines between them that are no events."""

    member: str
    lines: list[Event | LedgerError]

    @property
    def events(self) -> list[Event]:
        """The events, in order."""
        return [line for line in self.lines if isinstance(line, Event)]


async def read_lines(node: Node, pool: Executor, data: bytes) -> list[Group]:
    """The lines of a body in groups to be signed. Raises `MalformedError` where no line at all is an event."""
    groups = await asyncio.get_running_loop().run_in_executor(pool, lambda: list(_groups(node, data)))
    if any(group.events for group in groups):
        return groups
    first = next((line for group in groups for line in group.lines if isinstance(line, LedgerError)), None)
    raise first or MalformedError("draft", "no line is an event")


async def record_lines(
    node: Node, record: Record, pool: Executor, groups: list[Group], *, certified: bool
) -> AsyncIterator[bytes]:
    """The answers, a chunk of lines for each group; each line is an event's place or a problem."""
    loop = asyncio.get_running_loop()
    for group in groups:
        outcome: Outcome | LedgerError | None = None
        if group.events:
            try:
                submission: Submission = await loop.run_in_executor(pool, sign_events, node, group.member, group.events)
                outcome = await record(submission, certified=certified)
            except LedgerError as error:
                outcome = error
        yield b"".join(_answers(group, outcome))


def _groups(node: Node, data: bytes) -> Iterator[Group]:
    source, held = source_of(node), held_members(node)
    now = source.now_ms()
    group = Group("", [])
    for line in data.splitlines():
        if not line.strip():
            continue
        try:
            draft = parse_draft(line)
            member = choose_member(Drafts([draft]), held)
            event = make_event(draft, now, source)
        except LedgerError as error:
            group.lines.append(error)
            continue
        if group.member not in ("", member) or len(group.lines) >= GROUP_EVENTS_MAX:
            yield group
            group = Group("", [])
        group.member = member
        group.lines.append(event)
    if group.lines:
        yield group


def _answers(group: Group, outcome: Outcome | LedgerError | None) -> Iterator[bytes]:
    places = iter(encode_events(outcome) if isinstance(outcome, Outcome) else [])
    for line in group.lines:
        if isinstance(line, LedgerError):
            yield _problem(line)
        elif isinstance(outcome, LedgerError):
            yield _problem(outcome)
        else:
            yield next(places) + b"\n"


def _problem(error: LedgerError) -> bytes:
    return msgspec.json.encode({"problem": problem_of(error).document("en")}) + b"\n"
