"""Decides what a local system may leave out of an event, and what the node puts there instead.

Rules: id, time and salt are minted where absent, from a clock and randomness that are arguments; everything else must be
given. A draft is JSON with a closed set of fields; the event that comes of it passes the same checks as one that arrived
signed. Not here: who may write (see `http.access`), keys, and the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from ledger.core.event import Event, decode_salt, new_event
from ledger.core.ident import check_identifier, parse_time, uuid7_at
from ledger.errors import LedgerError, MalformedError
from ledger.limits import SALT_BYTES, SUBMISSION_EVENTS_MAX

Refs = dict[str, str | list[str]]


class Draft(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One event as a local system states it; `body` without its salt."""

    kind: str
    refs: Refs = {}
    body: dict[str, Any] = {}
    id: str | None = None
    time: str | None = None
    member: str | None = None
    intent: Literal[True] | None = None
    data_subjects: list[str] = []
    commitments: Refs = {}


class Drafts(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Several events of one member, recorded under one signature."""

    events: list[Draft]
    member: str | None = None


_DRAFT: Final = msgspec.json.Decoder(Draft)
_DRAFTS: Final = msgspec.json.Decoder(Drafts)


@dataclass(frozen=True, slots=True)
class Source:
    """Clock (unix ms) and randomness (that many bytes) of a minting node."""

    now_ms: Callable[[], int]
    random: Callable[[int], bytes]


def parse_drafts(data: bytes) -> Drafts:
    """The drafts in a JSON body: an object with `events`, or one event. Raises `MalformedError` (code `draft`)."""
    try:
        try:
            drafts = _DRAFTS.decode(data)
        except msgspec.ValidationError as error:
            # One event has a kind, a list of events has none; the message is that of what was meant.
            if not _has_kind(data):
                raise MalformedError("draft", str(error)) from None
            draft = _DRAFT.decode(data)
            drafts = Drafts([draft], draft.member)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError("draft", str(error)) from None
    if not 1 <= len(drafts.events) <= SUBMISSION_EVENTS_MAX:
        raise MalformedError("draft", "1 to 1,000 events at once", count=len(drafts.events))
    return drafts


def parse_draft(line: bytes) -> Draft:
    """One event of an NDJSON stream. Raises `MalformedError` (code `draft`)."""
    try:
        return _DRAFT.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError("draft", str(error)) from None


def choose_member(drafts: Drafts, held: Sequence[str]) -> str:
    """Whose events these are: the one they name, or the only member this node signs for. Raises `MalformedError`."""
    named = {draft.member for draft in drafts.events if draft.member is not None}
    if drafts.member is not None:
        named.add(drafts.member)
    if len(named) > 1:
        raise MalformedError("draft-member", "one request is of one member", got=sorted(named))
    if named:
        return check_identifier(named.pop(), "member")
    if len(held) != 1:
        raise MalformedError("draft-member", "name the member: this node signs for several or none", held=list(held))
    return held[0]


def make_events(drafts: Sequence[Draft], source: Source) -> list[Event]:
    """The events of the drafts, complete. Raises `MalformedError` with the index of the first bad one."""
    now = source.now_ms()
    events: list[Event] = []
    for index, draft in enumerate(drafts):
        try:
            events.append(make_event(draft, now, source))
        except LedgerError as error:
            raise MalformedError(error.code, error.message, **{**error.evidence, "index": index}) from None
    return events


def make_event(draft: Draft, now_ms: int, source: Source) -> Event:
    """One event; a draft without a time happened now.

    A salt is accepted with an id only: who names the event itself may send it again, and it must be the same event then.
    """
    content = dict(draft.body)
    salt = source.random(SALT_BYTES)
    if "salt" in content:
        if draft.id is None:
            raise MalformedError("salt", "a salt is given together with an id")
        salt = decode_salt(content.pop("salt"))
    return new_event(
        event_id=uuid7_at(now_ms, source.random(10)) if draft.id is None else draft.id,
        kind=draft.kind,
        refs=draft.refs,
        time_ms=now_ms if draft.time is None else parse_time(draft.time),
        salt=salt,
        content=content,
        commitments=draft.commitments,
        data_subjects=draft.data_subjects,
        intent=draft.intent is not None,
    )


def _has_kind(data: bytes) -> bool:
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return True
    return isinstance(value, dict) and "kind" in value
