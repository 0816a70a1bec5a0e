"""Decides which bytes on the wire are a submission: msgpack around one zstd frame of heads and bodies.

Rules (SPEC R-P02): `[1, origin, member, key_id, events, signature]`; `events` is exactly one zstd frame with a
declared content size, no dictionary and a window of at most 8 MiB over the flat msgpack list
`[head, body, head, body, …]`. Sizes are checked before anything is unpacked or allocated.
The framing is never signed and never hashed: two framings of one submission are the same submission.
Not here: signatures and membership.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Final

import msgpack
import zstandard

from ledger.core.canonical import read_accepted
from ledger.core.event import Event, parse_event
from ledger.core.hashing import DIGEST_BYTES, Digest
from ledger.core.submission import Submission, assemble
from ledger.errors import MalformedError
from ledger.limits import (
    JSON_BYTES_MAX,
    SUBMISSION_EVENTS_MAX,
    SUBMISSION_EXPANDED_BYTES_MAX,
    SUBMISSION_FRAMED_BYTES_MAX,
    ZSTD_WINDOW_BYTES_MAX,
)

VERSION: Final = 1
COMPRESSION_LEVEL: Final = 3
_FIELD_TYPES: Final = [int, str, str, bytes, bytes, bytes]
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"  # RFC 8878, 3.1.1; skippable frames have others

# zstandard's objects must not be shared between threads, and making one costs more than a small frame.
_local = threading.local()


def encode(submission: Submission, *, level: int = COMPRESSION_LEVEL) -> bytes:
    """The framed bytes of a submission; `MalformedError` (code `framing`) when it is larger than the limits."""
    flat = [part for event in submission.events for part in (event.head, event.body)]
    expanded = msgpack.packb(flat, use_bin_type=True)
    if len(expanded) > SUBMISSION_EXPANDED_BYTES_MAX:
        raise MalformedError("framing", "events too large", size=len(expanded), limit=SUBMISSION_EXPANDED_BYTES_MAX)
    frame = zstandard.ZstdCompressor(level=level, write_content_size=True, write_checksum=False).compress(expanded)
    fields = [VERSION, submission.origin, submission.member, submission.key_id, frame, submission.signature]
    data: bytes = msgpack.packb(fields, use_bin_type=True)
    if len(data) > SUBMISSION_FRAMED_BYTES_MAX:
        raise MalformedError("framing", "submission too large", size=len(data), limit=SUBMISSION_FRAMED_BYTES_MAX)
    return data


def parse(data: bytes) -> Submission:
    """The submission of framed bytes; `MalformedError` for all other bytes, with the index of a bad event."""
    envelope = open_envelope(data)
    events = _parse_events(_split(_expand(envelope.frame)))
    return assemble(envelope.origin, envelope.member, envelope.key_id, events, envelope.signature)


@dataclass(frozen=True, slots=True)
class Envelope:
    """The outer list of framed bytes; nothing in `frame` has been looked at."""

    origin: str
    member: str
    key_id: Digest
    frame: bytes
    signature: bytes


def open_envelope(data: bytes) -> Envelope:
    """What stands around the events of framed bytes; `MalformedError` where they are no submission's."""
    if len(data) > SUBMISSION_FRAMED_BYTES_MAX:
        raise MalformedError("framing", "submission too large", size=len(data), limit=SUBMISSION_FRAMED_BYTES_MAX)
    fields = _unpack(data, max_array_len=len(_FIELD_TYPES), max_str_len=len(data), max_bin_len=len(data))
    if type(fields) is not list or [type(field) for field in fields] != _FIELD_TYPES:
        raise MalformedError("framing", "not a list of version, origin, member, key_id, events and signature")
    version, origin, member, key_id, frame, signature = fields
    if version != VERSION:
        raise MalformedError("framing", "unknown version", got=version)
    return Envelope(origin, member, Digest(key_id), frame, signature)


def read_accepted_submission(envelope: Envelope, root: Digest, identity: Digest, hashes: bytes) -> Submission:
    """The submission of an envelope that `parse` accepted before, maybe in another process, which found `root`, `identity`
    and the hashes of the events, 32 bytes each. Nothing is checked again, and nothing here may be called without that."""
    parts = iter(_split(_expand(envelope.frame)))
    events = tuple(
        Event(head, body, read_accepted(head), read_accepted(body), Digest(hashes[at : at + DIGEST_BYTES]))
        for at, head, body in zip(range(0, len(hashes), DIGEST_BYTES), parts, parts, strict=False)
    )
    return Submission(envelope.origin, envelope.member, envelope.key_id, events, envelope.signature, root, identity)


def _split(expanded: bytes) -> list[bytes]:
    flat = _unpack(expanded, max_array_len=2 * SUBMISSION_EVENTS_MAX, max_str_len=0, max_bin_len=JSON_BYTES_MAX)
    if type(flat) is not list or not flat or len(flat) % 2 or set(map(type, flat)) != {bytes}:
        raise MalformedError("framing", "events are no flat list of heads and bodies")
    return flat


def _parse_events(flat: list[bytes]) -> list[Event]:
    events: list[Event] = []
    parts = iter(flat)
    try:
        for head, body in zip(parts, parts):  # noqa: B905 - the count is even
            events.append(parse_event(head, body))
    except MalformedError as error:
        raise MalformedError(error.code, error.message, index=len(events), **error.evidence) from None
    return events


def _expand(frame: bytes) -> bytes:
    """The content of the one zstd frame; every bound is read from its header before memory is taken."""
    if frame[:4] != _ZSTD_MAGIC:
        raise MalformedError("framing", "events are no zstd frame")
    try:
        header = zstandard.get_frame_parameters(frame)
        if header.content_size > SUBMISSION_EXPANDED_BYTES_MAX:  # an undeclared size reads as 2**64 - 1
            raise MalformedError("framing", "size of the events is undeclared or too large", got=header.content_size)
        if header.dict_id or header.window_size > ZSTD_WINDOW_BYTES_MAX:
            raise MalformedError(
                "framing", "zstd frame wants a dictionary or a large window", window=header.window_size
            )
        expanded: bytes = _decompressor().decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise MalformedError("framing", "bad zstd frame", reason=str(error)) from None
    # An empty frame declares 0, for which the library returns early; it holds no list, so `_unpack` refuses it.
    return expanded


def _decompressor() -> zstandard.ZstdDecompressor:
    found: zstandard.ZstdDecompressor | None = getattr(_local, "decompressor", None)
    if found is None:
        found = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES_MAX)
        _local.decompressor = found
    return found


def _unpack(data: bytes, *, max_array_len: int, max_str_len: int, max_bin_len: int) -> Any:
    """One msgpack value and nothing behind it; no maps, no extension types, lengths bounded before allocation."""
    try:
        return msgpack.unpackb(
            data,
            raw=False,
            use_list=True,
            strict_map_key=True,
            max_array_len=max_array_len,
            max_str_len=max_str_len,
            max_bin_len=max_bin_len,
            max_map_len=0,
            max_ext_len=0,
        )
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise MalformedError("framing", "not one msgpack value of the right form", reason=str(error)) from None
