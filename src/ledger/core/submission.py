r"""Decides what one signature covers: the events of one submission, by one key of one member, on one network.

Rules (SPEC R-P01): signed is `"suyuan/submission/v1\0" ‖ lp(origin) ‖ lp(member) ‖ key_id ‖ u32be n ‖ root`
with the RFC 6962 root over D[i] = event_hash, n from 1 to 1,000; the identity is H of that message, never of the
framing. One event can be shown with its path to the root, without its neighbours.
Not here: framing (`ledger.framing`), membership, and whether the key may sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.core import merkle
from ledger.core.event import Event
from ledger.core.hashing import DIGEST_BYTES, TAG_SUBMISSION, Digest, lp, sha256, u32
from ledger.core.ident import check_identifier, check_origin
from ledger.core.keys import SIGNATURE_BYTES, PublicKey, Signer
from ledger.errors import MalformedError, VerificationError
from ledger.limits import SUBMISSION_EVENTS_MAX


@dataclass(frozen=True, slots=True)
class Submission:
    """A well-formed submission; its signature is *not* checked until `verify_signature` returns."""

    origin: str
    member: str
    key_id: Digest
    events: tuple[Event, ...]
    signature: bytes
    root: Digest
    identity: Digest

    @property
    def size(self) -> int:
        """Bytes of its heads and bodies."""
        return sum([len(event.head) + len(event.body) for event in self.events])

    @property
    def message(self) -> bytes:
        """The bytes under the signature."""
        return signed_message(self.origin, self.member, self.key_id, len(self.events), self.root)


def signed_message(origin: str, member: str, key_id: Digest, count: int, root: Digest) -> bytes:
    """What the signature covers; `count` is the number of events, `root` the root over their hashes."""
    # "suyuan/submission/v1\0" ‖ lp(origin) ‖ lp(member) ‖ key_id ‖ u32be n ‖ root
    return TAG_SUBMISSION + lp(origin.encode()) + lp(member.encode()) + key_id + u32(count) + root


def assemble(origin: str, member: str, key_id: Digest, events: Sequence[Event], signature: bytes) -> Submission:
    """The submission of parts that came from outside; `MalformedError` where one has not its form."""
    if len(key_id) != DIGEST_BYTES:
        raise MalformedError("submission", "key_id is not 32 bytes", size=len(key_id))
    # All algorithms of SPEC have 64-byte signatures; another length is refused before any key is looked up.
    if len(signature) != SIGNATURE_BYTES:
        raise MalformedError("submission", "signature is not 64 bytes", size=len(signature))
    root = _checked_root(origin, member, events)
    identity = sha256(signed_message(origin, member, key_id, len(events), root))
    return Submission(origin, member, key_id, tuple(events), signature, root, identity)


def new_submission(origin: str, member: str, signer: Signer, events: Sequence[Event]) -> Submission:
    """The events signed once by `signer`."""
    key_id = signer.public.key_id
    root = _checked_root(origin, member, events)
    signature = signer.sign(signed_message(origin, member, key_id, len(events), root))
    return assemble(origin, member, key_id, events, signature)


def verify_signature(submission: Submission, key: PublicKey) -> None:
    """Raise `VerificationError` unless `key` is the named key and signed this submission."""
    if submission.key_id != key.key_id:
        raise VerificationError(
            "submission-key", "submission names another key", expected=submission.key_id, got=key.key_id
        )
    try:
        key.verify(submission.message, submission.signature)
    except VerificationError as error:
        raise VerificationError(
            "submission-signature", error.message, identity=submission.identity, key_id=key.key_id
        ) from None


def prove_event(submission: Submission, index: int) -> list[Digest]:
    """The path from the event at `index` to the submission's root (RFC 6962 inclusion path)."""
    hashes = [event.hash for event in submission.events]
    nodes = {
        (level, first + offset): digest
        for level, (first, row) in enumerate(merkle.EMPTY_RANGE.grow(hashes)[1])
        for offset, digest in enumerate(row)
    }
    return merkle.prove_inclusion(index, len(hashes), nodes)


def verify_event(
    origin: str,
    member: str,
    key: PublicKey,
    signature: bytes,
    *,
    event_hash: Digest,
    index: int,
    count: int,
    root: Digest,
    path: Sequence[Digest],
) -> Digest:
    """Check one event of a submission without its neighbours; the result is the submission's identity.

    Raises `VerificationError` when the path (code `inclusion`) or the signature (`submission-signature`) fails.
    """
    if not 1 <= count <= SUBMISSION_EVENTS_MAX:
        raise VerificationError("inclusion", "a submission has 1 to 1,000 events", count=count)
    merkle.verify_inclusion(event_hash, index, count, path, root)
    message = signed_message(origin, member, key.key_id, count, root)
    identity = sha256(message)
    try:
        key.verify(message, signature)
    except VerificationError as error:
        raise VerificationError("submission-signature", error.message, identity=identity, key_id=key.key_id) from None
    return identity


def _checked_root(origin: str, member: str, events: Sequence[Event]) -> Digest:
    check_origin(origin)
    check_identifier(member, "member")
    if not 1 <= len(events) <= SUBMISSION_EVENTS_MAX:
        raise MalformedError("submission", "a submission has 1 to 1,000 events", count=len(events))
    return merkle.root([event.hash for event in events])
