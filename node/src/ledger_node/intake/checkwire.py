"""What goes between a node and its check worker: submissions as they came, and what was found of them.

Rule: one message is a u32 big-endian length and a msgpack list with one item for each submission, answers in the order of
the questions, in as many messages as the worker likes. Of a good submission the answer is its root, its identity and the
hashes of its events; the bytes are here already, and reading them again costs less than moving what they parsed to. A
worker that found anything wrong answers nil, and the node looks itself; so errors are the same with and without a worker.
Not here: processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgpack

from ledger import framing
from ledger.core.hashing import Digest
from ledger.core.keys import ED25519, parse_public_key
from ledger.core.submission import Submission, verify_signature
from ledger.errors import LedgerError
from ledger.framing import Envelope

LENGTH_BYTES: Final = 4
ANSWER_AFTER_BYTES: Final = 16 * 1024  # checked submissions are answered after so many, while the next ones are checked

Question = tuple[bytes, bytes]
"""(framed submission, raw public key of the key it names)."""

Answer = tuple[Digest, Digest, bytes]
"""(root, identity, hashes of the events, 32 bytes each) of a submission whose signature holds."""


def encode_message(items: Sequence[Any]) -> bytes:
    """One message."""
    data: bytes = msgpack.packb(items, use_bin_type=True)
    return len(data).to_bytes(LENGTH_BYTES, "big") + data


def parse_message(data: bytes) -> list[Any]:
    """The items of a message without its length."""
    items: list[Any] = msgpack.unpackb(data)
    return items


def check(framed: bytes, raw_key: bytes) -> Answer | None:
    """A worker's answer about a submission: None for everything but a well-formed one whose signature holds."""
    try:
        submission = framing.parse(framed)
        verify_signature(submission, parse_public_key(ED25519, raw_key))
    except LedgerError:
        return None
    return submission.root, submission.identity, b"".join([event.hash for event in submission.events])


def check_all(questions: Sequence[Question]) -> Iterator[list[Answer | None]]:
    """The answers to a message, some at a time, so that the first does not wait for the last."""
    answers: list[Answer | None] = []
    size = 0
    for framed, raw_key in questions:
        answers.append(check(framed, raw_key))
        size += len(framed)
        if size >= ANSWER_AFTER_BYTES:
            yield answers
            answers, size = [], 0
    if answers or not questions:
        yield answers


def rebuild(envelope: Envelope, answer: Sequence[bytes]) -> Submission:
    """The submission of an envelope that a worker vouches for."""
    root, identity, hashes = answer
    return framing.read_accepted_submission(envelope, Digest(root), Digest(identity), hashes)
