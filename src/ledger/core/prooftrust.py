"""What a verifier starts from, and what it can therefore say of a certified checkpoint: who, when, how fresh, which history.

Rules (SPEC R-V06): keys come from the verifier, never from the proof; "recorded no later than" is the smallest time by
which more than two thirds had signed; a remembered checkpoint demands consistency, and an answer that is too old, or
smaller than what was remembered, is refused as `stale` after everything else has been checked.
Not here: where the trust file lies and how it is written, and how epochs are followed (see `proofepochs`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ledger.core import merkle
from ledger.core import proofjson as pj
from ledger.core.checkpoint import Checkpoint, parse_checkpoint_text
from ledger.core.genesis import Genesis
from ledger.core.hashing import Digest
from ledger.core.keys import COSIGN, LOG, PublicKey
from ledger.core.note import parse_note
from ledger.core.quorum import CertifiedCheckpoint, Cosigner, verify_certificate
from ledger.core.registry import KeyEntry, genesis_registry
from ledger.errors import ForkError, VerificationError
from ledger.limits import CLOCK_BEHIND_MS, MAX_AGE_DEFAULT_MS

MAX_AGE_DEFAULT_S: Final = MAX_AGE_DEFAULT_MS // 1000
CLOCK_TOLERANCE_S: Final = CLOCK_BEHIND_MS // 1000  # a certificate may be this far ahead of the verifier's clock

# Names of what a result did not check; codes, never translated.
ANCHOR: Final = "anchor"
"""The cosigners changed since genesis, and no checkpoint that the verifier holds is newer than the last change."""
HISTORY: Final = "history"
"""The proof's checkpoint was not tied to what the verifier remembers: no path, or one to another checkpoint."""
REVOCATION: Final = "revocation"
"""The event's key was registered in genesis; whether it was revoked before the record is not shown."""
SIGNATURE: Final = "signature"
"""No registration of the event's key is at hand, so the submission's signature was not checked."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """A change of the cosigners that the leaving set certified: `cosigners` sign what lies beyond `checkpoint`.

    `path` is its consistency with the checkpoint of the next change, or with that of the proof.
    """

    checkpoint: Checkpoint
    cosigners: tuple[Cosigner, ...]
    path: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class Trust:
    """What the verifier takes for true.

    `now_s` is the verifier's clock (Unix seconds), `max_age_s` the oldest answer it accepts (None: any), `anchor` a note
    it remembers or was given (only its text counts), `keys` registrations known from genesis. `cosigners` are those of
    the genesis, `adopted` the sets after it, as far as they were followed (see `proofepochs`).
    """

    origin: str
    log_keys: tuple[PublicKey, ...]
    cosigners: tuple[Cosigner, ...]
    now_s: int
    max_age_s: int | None = MAX_AGE_DEFAULT_S
    anchor: bytes | None = None
    clock: str = "wall"
    keys: Mapping[Digest, KeyEntry] = field(default_factory=dict)
    adopted: tuple[Adopted, ...] = ()

    def cosigners_at(self, size: int) -> tuple[Cosigner, ...]:
        """The set that signs the checkpoint of `size` (R-G21)."""
        found = self.cosigners
        for change in self.adopted:
            if change.checkpoint.size < size:
                found = change.cosigners
        return found

    def remembered(self) -> Checkpoint | None:
        """The anchor's checkpoint. Raises `MalformedError`, or `VerificationError` (code `origin`) for another log's."""
        if self.anchor is None:
            return None
        checkpoint = parse_checkpoint_text(parse_note(self.anchor).text)
        if checkpoint.origin != self.origin:
            raise VerificationError("origin", "anchor of another log", expected=self.origin, got=checkpoint.origin)
        return checkpoint


def trust_genesis(
    genesis: Genesis, now_s: int, *, max_age_s: int | None = MAX_AGE_DEFAULT_S, anchor: bytes | None = None
) -> Trust:
    """The trust of somebody who has pinned the origin and checked the genesis against it."""
    return Trust(
        origin=genesis.origin,
        log_keys=tuple(key.public for _, key in genesis.keys(LOG)),
        cosigners=tuple((member, key.public) for member, key in genesis.keys(COSIGN)),
        now_s=now_s,
        max_age_s=max_age_s,
        anchor=anchor,
        clock=genesis.clock,
        keys=genesis_registry(genesis).keys,
    )


@dataclass(frozen=True, slots=True)
class History:
    """A consistency path between the proof's checkpoint and the one of `size` that its reader remembers."""

    size: int
    path: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class Certification:
    """What a certificate says: this checkpoint, by these cosigners, at these times (Unix seconds).

    `age_s` is the verifier's clock less `fresh_at_s`, the latest time at which a quorum still stood by it. `clock` is
    `scenario` on a ledger with simulated time: then block times are not real, cosignature times are.
    """

    checkpoint: Checkpoint
    cosigners: tuple[str, ...]
    recorded_by_s: int
    fresh_at_s: int
    age_s: int
    clock: str


def verify_certification(
    certificate: bytes, history: History | None, trust: Trust
) -> tuple[Certification, tuple[str, ...]]:
    """Check a quorum certificate and its place in the history that the verifier remembers.

    The second value names what could not be checked. Raises as `verify_certificate` does, `ForkError` (code `fork`) when
    another tree of the same size is remembered, and `VerificationError` where the path between the two does not hold.
    """
    certified = verify_under(certificate, trust)
    shown = certified.checkpoint
    unchecked = _check_history(certificate, shown, history, trust)
    if trust.adopted:
        _check_adopted(shown, trust.adopted[-1])
        known = trust.remembered()
        if known is None or known.size < trust.adopted[-1].checkpoint.size or HISTORY in unchecked:
            unchecked = (*unchecked, ANCHOR)
    return _certification(certified, trust), unchecked


def verify_under(certificate: bytes, trust: Trust) -> CertifiedCheckpoint:
    """The checkpoint that the set of its size certified; raises as `verify_certificate` does."""
    size = parse_checkpoint_text(parse_note(certificate).text).size
    return verify_certificate(certificate, trust.origin, trust.log_keys, trust.cosigners_at(size))


def _check_adopted(shown: Checkpoint, last: Adopted) -> None:
    """The last change of the set stands in the history that is shown, as the ones before stand in its own."""
    old = last.checkpoint
    if shown.size <= old.size:
        raise VerificationError("epochs", "the change comes after what it should lead to", size=shown.size, at=old.size)
    merkle.verify_consistency(old.size, old.root, shown.size, shown.root, last.path)


def _certification(certified: CertifiedCheckpoint, trust: Trust) -> Certification:
    return Certification(
        checkpoint=certified.checkpoint,
        cosigners=tuple(name for name, _, _ in certified.lines),
        recorded_by_s=certified.recorded_by_s,
        fresh_at_s=certified.fresh_at_s,
        age_s=trust.now_s - certified.fresh_at_s,
        clock=trust.clock,
    )


def _check_history(certificate: bytes, shown: Checkpoint, history: History | None, trust: Trust) -> tuple[str, ...]:
    known = trust.remembered()
    if known is None:
        return () if history is None else (HISTORY,)
    if known.size == shown.size:
        if known.root != shown.root:
            raise ForkError("fork", "two trees of one size", first=trust.anchor, second=certificate, size=known.size)
        if history is None:
            return ()
    if history is None or history.size != known.size:
        return (HISTORY,)
    old, new = (known, shown) if known.size <= shown.size else (shown, known)
    merkle.verify_consistency(old.size, old.root, new.size, new.root, history.path)
    return ()


def check_freshness(certification: Certification, trust: Trust) -> None:
    """Refuse an answer that says "now" but is too old, or smaller than what is remembered.

    Raises `VerificationError` with code `stale`, or `clock` where the certificate lies in the verifier's future. Comes
    last in every verification, so that `stale` means: everything else holds.
    """
    known, shown, age_s = trust.remembered(), certification.checkpoint, certification.age_s
    if age_s < -CLOCK_TOLERANCE_S:
        raise VerificationError("clock", "certified in the future: one of the clocks is wrong", age_s=age_s)
    if known is not None and known.size > shown.size:
        raise VerificationError("stale", "smaller than the remembered checkpoint", size=shown.size, known=known.size)
    if trust.max_age_s is not None and age_s > trust.max_age_s:
        raise VerificationError(
            "stale", "older than accepted", age_s=age_s, max_age_s=trust.max_age_s, fresh_at_s=certification.fresh_at_s
        )


def parse_history(value: object) -> History:
    """A path to a remembered checkpoint: {"path": [hex], "size": number}."""
    fields = pj.closed(value, "history", "path size")
    return History(pj.number(fields["size"], "history.size"), pj.path(fields["path"], "history.path"))


def encode_history(value: History | None) -> pj.Fields:
    """The field `history`, absent for None."""
    return {} if value is None else {"history": {"path": pj.encode_path(value.path), "size": value.size}}
