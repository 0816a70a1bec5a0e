"""Decides which bytes are one block, inputs and results together: what export segments, followers and auditors exchange.

Rules (SPEC R-V07): one msgpack list `[1, height, time, submissions, attachments, leaves, note]`; a
submission is `[member, key_id, signature, heads, bodies, withheld]`, where a body that was erased or withheld is nil and
`withheld` holds the hashes of those, in order. One block has one encoding; sizes are checked before anything is kept.
Not here: whether any of it is true. A parsed block is a claim, with bodies that need not even be JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256 as _sha256
from typing import Any, Final, NoReturn

import msgpack

from ledger.core.event import parse_event
from ledger.core.hashing import DIGEST_BYTES, Digest
from ledger.core.ident import check_identifier
from ledger.core.keys import SIGNATURE_BYTES
from ledger.core.submission import Submission, assemble
from ledger.errors import MalformedError, NotFoundError
from ledger.limits import (
    BLOCK_ENCODED_BYTES_MAX,
    BLOCK_EVENTS_MAX,
    BUNDLE_BYTES_MAX,
    IDENTIFIER_CHARS_MAX,
    INT_MAX,
    JSON_BYTES_MAX,
    LEAF_BYTES_MAX,
    NOTE_BYTES_MAX,
    SUBMISSION_EVENTS_MAX,
)

VERSION: Final = 1
_FIELD_TYPES: Final = [int, int, int, list, list, list, bytes]
_SUBMISSION_TYPES: Final = [str, bytes, bytes, list, list, list]
# One leaf an event or timer, and a header; timers may chain inside a block, so a little more than the events.
_LIST_MAX: Final = 4 * BLOCK_EVENTS_MAX
_STRINGS: Final = frozenset((bytes, type(None)))

EventData = tuple[bytes, bytes | None, Digest]
"""(head, body or None when erased or withheld, H(body))."""


@dataclass(frozen=True, slots=True)
class SubmissionData:
    """One submission of a block as stored: parts that nobody has checked yet."""

    member: str
    key_id: Digest
    signature: bytes
    events: tuple[EventData, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every body is there."""
        return all(body is not None for _, body, _ in self.events)


@dataclass(frozen=True, slots=True)
class BlockData:
    """One block as exchanged: inputs (time, submissions, attachments) and results (leaves, log-signed note).

    `leaves` are all leaves with the header last, or empty when only the inputs are wanted; `time` is unix ms.
    """

    height: int
    time: int
    submissions: tuple[SubmissionData, ...] = ()
    attachments: tuple[bytes, ...] = ()
    leaves: tuple[bytes, ...] = ()
    note: bytes = b""


def from_submission(submission: Submission) -> SubmissionData:
    """The parts of a submission whose bodies are all there."""
    return SubmissionData(
        submission.member,
        submission.key_id,
        submission.signature,
        tuple((event.head, event.body, Digest(_sha256(event.body).digest())) for event in submission.events),
    )


def to_submission(data: SubmissionData, origin: str) -> Submission:
    """The submission with its events parsed; its signature is still unchecked.

    Raises `MalformedError` with the index of a bad event, `NotFoundError` (code `body-missing`) when a body is gone.
    """
    events = []
    for index, (head, body, _) in enumerate(data.events):
        if body is None:
            raise NotFoundError("body-missing", "the body was erased or withheld", member=data.member, index=index)
        try:
            events.append(parse_event(head, body))
        except MalformedError as error:
            raise MalformedError(error.code, error.message, **{**error.evidence, "index": index}) from None
    return assemble(origin, data.member, data.key_id, events, data.signature)


def encode_block(block: BlockData) -> bytes:
    """The one encoding of `block`; `MalformedError` (code `block`) when it would not parse back."""
    if not (0 <= block.height <= INT_MAX and 0 <= block.time <= INT_MAX):
        _refuse("height or time out of range", height=block.height, time=block.time)
    data: bytes = msgpack.packb(
        [
            VERSION,
            block.height,
            block.time,
            [_submission_fields(each) for each in block.submissions],
            list(block.attachments),
            list(block.leaves),
            block.note,
        ],
        use_bin_type=True,
    )
    if len(data) > BLOCK_ENCODED_BYTES_MAX:
        _refuse("block too large", height=block.height, size=len(data), limit=BLOCK_ENCODED_BYTES_MAX)
    return data


def parse_block(data: bytes) -> BlockData:
    """The block of encoded bytes; `MalformedError` (code `block`) for all other bytes. `encode_block` gives them back."""
    if len(data) > BLOCK_ENCODED_BYTES_MAX:
        _refuse("block too large", size=len(data), limit=BLOCK_ENCODED_BYTES_MAX)
    fields = _unpack(data)
    if type(fields) is not list or [type(field) for field in fields] != _FIELD_TYPES:
        _refuse("not a list of version, height, time, submissions, attachments, leaves and note")
    version, height, time, submissions, attachments, leaves, note = fields
    if version != VERSION:
        _refuse("unknown version", got=version)
    if not (0 <= height <= INT_MAX and 0 <= time <= INT_MAX):
        _refuse("height or time out of range", height=height, time=time)
    _check_bytes(attachments, BUNDLE_BYTES_MAX, "attachments")
    _check_bytes(leaves, LEAF_BYTES_MAX, "leaves")
    if len(note) > NOTE_BYTES_MAX:
        _refuse("note too long", size=len(note))
    block = BlockData(
        height,
        time,
        tuple(_parse_submission(each, number) for number, each in enumerate(submissions)),
        tuple(attachments),
        tuple(leaves),
        note,
    )
    if sum(len(each.events) for each in block.submissions) > BLOCK_EVENTS_MAX:
        _refuse("too many events", height=height, limit=BLOCK_EVENTS_MAX)
    # msgpack can spell one length in several ways; only the shortest counts, which is what the encoder writes.
    if msgpack.packb(fields, use_bin_type=True) != data:
        _refuse("not in canonical form", height=height)
    return block


def _submission_fields(data: SubmissionData) -> list[Any]:
    heads = [head for head, _, _ in data.events]
    bodies = [body for _, body, _ in data.events]
    withheld = [digest for _, body, digest in data.events if body is None]
    return [data.member, data.key_id, data.signature, heads, bodies, withheld]


def _parse_submission(fields: Any, number: int) -> SubmissionData:
    if type(fields) is not list or [type(field) for field in fields] != _SUBMISSION_TYPES:
        _refuse("not a submission", submission=number)
    member, key_id, signature, heads, bodies, withheld = fields
    check_identifier(member, "member")
    if len(key_id) != DIGEST_BYTES or len(signature) != SIGNATURE_BYTES:
        _refuse("key_id or signature has another length", submission=number)
    if not 1 <= len(heads) <= SUBMISSION_EVENTS_MAX or len(heads) != len(bodies):
        _refuse("not 1 to 1,000 heads, each with a body or nil", submission=number)
    _check_bytes(heads, JSON_BYTES_MAX, "heads")
    return SubmissionData(member, Digest(key_id), signature, _events(heads, bodies, withheld, number))


def _events(heads: list[bytes], bodies: list[Any], withheld: list[Any], number: int) -> tuple[EventData, ...]:
    if not withheld:
        _check_bytes(bodies, JSON_BYTES_MAX, "bodies")
        return tuple((head, body, Digest(_sha256(body).digest())) for head, body in zip(heads, bodies, strict=True))
    _check_bytes(withheld, DIGEST_BYTES, "withheld")
    if bodies.count(None) != len(withheld) or any(len(digest) != DIGEST_BYTES for digest in withheld):
        _refuse("withheld bodies and their hashes do not agree", submission=number)
    _check_bytes([body for body in bodies if body is not None], JSON_BYTES_MAX, "bodies")
    hashes = iter(withheld)
    return tuple(
        (head, body, Digest(next(hashes) if body is None else _sha256(body).digest()))
        for head, body in zip(heads, bodies, strict=True)
    )


def _check_bytes(items: Sequence[Any], bytes_max: int, what: str) -> None:
    if items and (set(map(type, items)) != {bytes} or max(map(len, items)) > bytes_max):
        _refuse(f"{what} hold something else than byte strings of at most {bytes_max} bytes")


class _Lists:
    """Refuses a list as soon as it is complete and cannot be part of a block, so that few bytes never become many objects.

    A block holds lists of byte strings (and nil), submissions of six fields, the list of these, and itself.
    """

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = 4 * BLOCK_EVENTS_MAX + 4  # every submission has at least one event, and four lists

    def __call__(self, items: list[Any]) -> list[Any]:
        self._left -= 1
        kinds = set(map(type, items))
        if self._left < 0 or not (kinds <= _STRINGS or kinds == {list} or len(items) <= len(_FIELD_TYPES)):
            raise ValueError("a list that no block has")
        return items


def _unpack(data: bytes) -> Any:
    """One msgpack value and nothing behind it; no maps, no extension types, lengths bounded before allocation."""
    try:
        return msgpack.unpackb(
            data,
            raw=False,
            use_list=True,
            list_hook=_Lists(),
            strict_map_key=True,
            max_array_len=_LIST_MAX,
            max_str_len=IDENTIFIER_CHARS_MAX,
            max_bin_len=BUNDLE_BYTES_MAX,
            max_map_len=0,
            max_ext_len=0,
        )
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        _refuse("not one msgpack value of the right form", reason=str(error))


def _refuse(message: str, **evidence: object) -> NoReturn:
    raise MalformedError("block", message, **evidence)
