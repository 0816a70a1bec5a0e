"""What goes between a node and its check worker: submissions as they came, and what they parsed to.

Rule: one message is a u32 big-endian length and a msgpack list with one item for each submission, answers in the order of
the questions. A worker that found anything wrong answers nil, and the node looks itself; so errors are the same with and
without a worker. Not here: processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgpack

from ledger import framing
from ledger.core.event import Event
from ledger.core.hashing import Digest
from ledger.core.keys import ED25519, parse_public_key
from ledger.core.submission import Submission, verify_signature
from ledger.errors import LedgerError

LENGTH_BYTES: Final = 4
_FIELDS: Final = 6  # version, origin, member, key_id, events, signature

Question = tuple[bytes, bytes]
"""(framed submission, raw public key of the key it names; empty where that key is unknown)."""


def encode_message(items: Sequence[Any]) -> bytes:
    """One message."""
    data: bytes = msgpack.packb(items, use_bin_type=True)
    return len(data).to_bytes(LENGTH_BYTES, "big") + data


def parse_message(data: bytes) -> list[Any]:
    """The items of a message without its length."""
    items: list[Any] = msgpack.unpackb(data)
    return items


def named_key(framed: bytes) -> Digest | None:
    """The key id that framed bytes name, None where they are not framed as a submission; nothing else is looked at."""
    try:
        fields = msgpack.unpackb(framed, max_array_len=_FIELDS, max_map_len=0, max_ext_len=0, max_bin_len=len(framed))
    except (ValueError, msgpack.UnpackException):
        return None
    if type(fields) is list and len(fields) == _FIELDS and type(fields[3]) is bytes:
        return Digest(fields[3])
    return None


def check(framed: bytes, raw_key: bytes) -> list[Any] | None:
    """A worker's answer: the parts of a well-formed submission whose signature holds, None for everything else."""
    try:
        submission = framing.parse(framed)
        verify_signature(submission, parse_public_key(ED25519, raw_key))
    except LedgerError:
        return None
    return [
        submission.origin,
        submission.member,
        submission.key_id,
        submission.signature,
        submission.root,
        submission.identity,
        [part for each in submission.events for part in (each.head, each.body, each.fields, each.content, each.hash)],
    ]


def rebuild(parts: Sequence[Any]) -> Submission:
    """The submission of a worker's answer."""
    origin, member, key_id, signature, root, identity, flat = parts
    each = iter(flat)
    events = tuple(Event(*values) for values in zip(each, each, each, each, each, strict=True))
    return Submission(origin, member, key_id, events, signature, root, identity)
