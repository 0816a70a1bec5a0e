"""Leaves of the log: what one entry is made of, byte by byte (SPEC R-L01 to R-L06).

A leaf is u8 type ‖ u8 version ‖ canonical JSON, at most 65,535 bytes. Encoding is a byte template and parsing is strict,
so that a leaf has exactly one spelling. Not here: the block header (see `header`) and hashing (see `merkle`).
"""

from __future__ import annotations

from binascii import hexlify
from dataclasses import dataclass
from typing import Any, Final

from ledger.core import canonical
from ledger.core.hashing import Digest, parse_hex_digest
from ledger.core.ident import check_identifier, check_uuid7
from ledger.errors import MalformedError
from ledger.limits import INT_MAX, LEAF_BYTES_MAX

TYPE_HEADER: Final = 0
TYPE_RECORD: Final = 1
TYPE_TIMER: Final = 2
LEAF_VERSION: Final = 1

OUTCOMES: Final = ("refused", "accepted", "irregular")
VERDICT_FIELDS: Final = frozenset({"outcome", "reasons", "findings", "duties", "alerts", "timers"})

_RECORD_PREFIX: Final = bytes((TYPE_RECORD, LEAF_VERSION))
_TIMER_PREFIX: Final = bytes((TYPE_TIMER, LEAF_VERSION))
_RECORD_FIELDS: Final = frozenset({"event_hash", "height", "id", "key_id", "member", "submission", "verdict"})
_TIMER_FIELDS: Final = frozenset({"due", "height", "key", "verdict"})

Stream = tuple[str, str]
"""(stream kind, id)."""


@dataclass(frozen=True, slots=True)
class Record:
    """The leaf of an event: who recorded what, when, and how the rules decided it.

    `verdict` is the canonical JSON of the verdict; `extra_streams` are streams beyond author, refs and data subjects.
    """

    height: int
    member: str
    id: str
    event_hash: Digest
    submission: Digest
    key_id: Digest
    verdict: bytes
    extra_streams: tuple[Stream, ...] = ()


@dataclass(frozen=True, slots=True)
class TimerLeaf:
    """The leaf of a deadline that fell due at `due` (unix ms); its author is the ledger."""

    height: int
    due: int
    key: str
    verdict: bytes
    extra_streams: tuple[Stream, ...] = ()


def encode_record(record: Record) -> bytes:
    """The leaf bytes of `record` (SPEC R-L02). Raises `MalformedError` when the leaf would be too long."""
    common = record_common(record.key_id, record.member, record.submission)
    return encode_record_parts(
        record.height, record.id, record.event_hash, common, record.verdict, record.extra_streams
    )


def record_common(key_id: Digest, member: str, submission: Digest) -> bytes:
    """What the records of one submission have in common, for `encode_record_parts`."""
    return b'"key_id":"%b","member":"%b","submission":"%b"' % (hexlify(key_id), member.encode(), hexlify(submission))


def encode_record_parts(
    height: int, event_id: str, event_hash: Digest, common: bytes, verdict: bytes, extra_streams: tuple[Stream, ...]
) -> bytes:
    """As `encode_record`, for a writer of many: `common` is what `record_common` gives for their submission."""
    # Names are identifiers and hex, which need no escapes; field order is code point order.
    return _sized(
        b'%b{"event_hash":"%b",%b"height":%d,"id":"%b",%b,"verdict":%b}'
        % (
            _RECORD_PREFIX,
            hexlify(event_hash),
            _encode_streams(extra_streams),
            height,
            event_id.encode(),
            common,
            verdict,
        )
    )


def encode_timer(leaf: TimerLeaf) -> bytes:
    """The leaf bytes of a fired timer (SPEC R-L03)."""
    return _sized(
        b'%b{"due":%d,%b"height":%d,"key":%b,"verdict":%b}'
        % (
            _TIMER_PREFIX,
            leaf.due,
            _encode_streams(leaf.extra_streams),
            leaf.height,
            canonical.quote(leaf.key),
            leaf.verdict,
        )
    )


def _encode_streams(streams: tuple[Stream, ...]) -> bytes:
    if not streams:
        return b""
    return b'"extra_streams":[%b],' % b",".join(b'["%b","%b"]' % (k.encode(), i.encode()) for k, i in streams)


def _sized(leaf: bytes) -> bytes:
    if len(leaf) > LEAF_BYTES_MAX:
        raise MalformedError("leaf-size", "leaf is too long", size=len(leaf), limit=LEAF_BYTES_MAX)
    return leaf


def parse_leaf(data: bytes) -> Record | TimerLeaf | bytes:
    """A record, a timer leaf, or for a header leaf its JSON bytes (parse these with `header.parse_header`).

    Raises `MalformedError` for everything else.
    """
    if not 2 < len(data) <= LEAF_BYTES_MAX:
        raise MalformedError("leaf-size", "leaf is empty or too long", size=len(data))
    if data[1] != LEAF_VERSION:
        raise MalformedError("leaf-version", "unknown leaf version", got=data[1])
    if data[0] == TYPE_HEADER:
        return data[2:]
    if data[0] not in (TYPE_RECORD, TYPE_TIMER):
        raise MalformedError("leaf-type", "unknown leaf type", got=data[0])
    fields = canonical.parse(data[2:], bytes_max=LEAF_BYTES_MAX)
    leaf = _record(fields) if data[0] == TYPE_RECORD else _timer(fields)
    # The template has one spelling, so equality closes the schema: nothing unknown can hide.
    encoded = encode_record(leaf) if isinstance(leaf, Record) else encode_timer(leaf)
    if encoded != data:
        raise MalformedError("leaf", "not in canonical form")
    return leaf


def _record(fields: dict[str, Any]) -> Record:
    _check_fields(fields, _RECORD_FIELDS)
    return Record(
        height=_count(fields["height"], "height"),
        member=check_identifier(fields["member"], "member"),
        id=check_uuid7(fields["id"], "id"),
        event_hash=parse_hex_digest(fields["event_hash"]),
        submission=parse_hex_digest(fields["submission"]),
        key_id=parse_hex_digest(fields["key_id"]),
        verdict=_verdict(fields["verdict"]),
        extra_streams=_streams(fields.get("extra_streams")),
    )


def _timer(fields: dict[str, Any]) -> TimerLeaf:
    _check_fields(fields, _TIMER_FIELDS)
    return TimerLeaf(
        height=_count(fields["height"], "height"),
        due=_count(fields["due"], "due"),
        key=check_timer_key(fields["key"]),
        verdict=_verdict(fields["verdict"]),
        extra_streams=_streams(fields.get("extra_streams")),
    )


def check_timer_key(key: object) -> str:
    """`timer/<rule>/<object kind>/<object id>[#label]`; raises `MalformedError`. No id holds a `#`."""
    if not isinstance(key, str) or not key.startswith("timer/") or len(key) > 400 or not key.isascii():
        raise MalformedError("timer-key", "not a timer key", got=key)
    return key


def timer_streams(key: str) -> tuple[Stream, Stream]:
    """The streams a timer leaf joins: `rule/<id>` and its object's stream (SPEC R-S03)."""
    parts = check_timer_key(key).partition("#")[0].split("/", 3)
    if len(parts) != 4:
        raise MalformedError("timer-key", "expected timer/<rule>/<object kind>/<object id>", got=key)
    return ("rule", parts[1].lower()), (parts[2], parts[3])


def _check_fields(fields: dict[str, Any], required: frozenset[str]) -> None:
    names = set(fields)
    if not required <= names or not names <= required | {"extra_streams"}:
        raise MalformedError("leaf-fields", "missing or unknown fields", got=sorted(names))


def _count(value: object, name: str) -> int:
    if type(value) is not int or not 0 <= value <= INT_MAX:
        raise MalformedError("leaf-number", "expected a non-negative integer", field=name, got=value)
    return value


def _verdict(value: object) -> bytes:
    if not isinstance(value, dict) or not set(value) <= VERDICT_FIELDS or value.get("outcome") not in OUTCOMES:
        raise MalformedError("leaf-verdict", "not a verdict", got=value)
    return canonical.encode(value, bytes_max=LEAF_BYTES_MAX)


def _streams(value: object) -> tuple[Stream, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not value:
        raise MalformedError("leaf-streams", "expected a list of [kind, id]", got=value)
    streams: list[Stream] = []
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2:
            raise MalformedError("leaf-streams", "expected [kind, id]", got=pair)
        streams.append((check_identifier(pair[0], "stream kind"), check_identifier(pair[1], "stream id")))
    return tuple(streams)
