"""Decides when a checkpoint is certified: distinct cosigners, each verified, more than two thirds of the set.

Rules (SPEC R-Q01 to R-Q03): a certificate is a note with at least one line by a log key named origin and cosignature
lines of which at most one belongs to each key; k lines of n cosigners suffice when 3k > 2n. Every line of a known key
must hold, unknown lines prove nothing and are ignored (c2sp.org/signed-note), and the order of lines has no meaning
when read; written notes hold log lines first, then cosignatures, each sorted by name and key hash.
Not here: which set is in force (epochs), freshness against a clock, and consistency with what was seen before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ledger.core.checkpoint import Checkpoint, parse_checkpoint_text
from ledger.core.cosignature import CosignatureVerifier, timestamp_of
from ledger.core.hashing import Digest
from ledger.core.keys import PublicKey
from ledger.core.note import (
    NoteLine,
    NoteVerifier,
    UnverifiedNote,
    encode_note,
    index_verifiers,
    open_note,
    parse_note,
)
from ledger.errors import MalformedError, VerificationError
from ledger.limits import COSIGNERS_MAX

Cosigner = tuple[str, PublicKey]
"""Key name and key of one cosigner; both are unique in a set."""

LogKeys = Mapping[Digest, PublicKey] | Iterable[PublicKey]
"""Log keys in force, by key id or in any order; every line by them carries the origin as its name."""


@dataclass(frozen=True, slots=True)
class VerifiedLine:
    """A line that verified, and whose it is."""

    name: str
    key_id: Digest
    line: NoteLine


@dataclass(frozen=True, slots=True)
class VerifiedCosignature(VerifiedLine):
    """A cosignature that verified, and the Unix seconds that it states."""

    time_s: int


@dataclass(frozen=True, slots=True)
class VerifiedNote:
    """A checkpoint with its verified lines: log lines and cosignatures, each at most one a key, sorted."""

    checkpoint: Checkpoint
    text: str
    log_lines: tuple[VerifiedLine, ...]
    cosignatures: tuple[VerifiedCosignature, ...]

    def encode(self) -> bytes:
        """The note with exactly the verified lines."""
        return encode_note(self.text, [each.line for each in (*self.log_lines, *self.cosignatures)])


@dataclass(frozen=True, slots=True)
class CertifiedCheckpoint:
    """A checkpoint under a quorum. `lines` are (name, key_id, Unix seconds) of each cosignature.

    `recorded_by_s` is the smallest time such that the cosignatures up to it are a quorum: everything in the tree was
    recorded no later. `fresh_at_s` is the same from the other end: a quorum still stood by it at that time.
    """

    checkpoint: Checkpoint
    lines: tuple[tuple[str, Digest, int], ...]
    recorded_by_s: int
    fresh_at_s: int


def threshold(count: int) -> int:
    """The smallest number of `count` equal cosigners that is more than two thirds."""
    if count < 1:
        raise MalformedError("cosigners", "a set has at least one cosigner", count=count)
    return 2 * count // 3 + 1


def check_cosigners(cosigners: Sequence[Cosigner]) -> None:
    """Raise `MalformedError` (code `cosigners`) unless the set has 1 to 32 members with distinct names and keys."""
    if not 1 <= len(cosigners) <= COSIGNERS_MAX:
        raise MalformedError("cosigners", "a set has 1 to 32 cosigners", count=len(cosigners))
    # The signed message does not name the cosigner: one key under two names would count twice.
    if len({key.key_id for _, key in cosigners}) != len(cosigners):
        raise MalformedError("cosigners", "one key stands twice in the set")
    if len({name for name, _ in cosigners}) != len(cosigners):
        raise MalformedError("cosigners", "one name stands twice in the set")


def verify_note(note: bytes, origin: str, log_keys: LogKeys, cosigners: Sequence[Cosigner]) -> VerifiedNote:
    """The checkpoint of `origin` in `note` with every known line verified; any number of cosignatures will do.

    Raises `MalformedError` for bytes that are no checkpoint note, `VerificationError` for another origin (code
    `origin`), for a bad or doubled line of a known key, and when no log key has signed (code `log-line`).
    """
    check_cosigners(cosigners)
    unverified = parse_note(note)
    checkpoint = parse_checkpoint_text(unverified.text)
    if checkpoint.origin != origin:
        raise VerificationError("origin", "checkpoint of another log", expected=origin, got=checkpoint.origin)
    keys = log_keys.values() if isinstance(log_keys, Mapping) else log_keys
    logs = [NoteVerifier(origin, key) for key in {key.key_id: key for key in keys}.values()]
    known = index_verifiers([*logs, *(CosignatureVerifier(name, key) for name, key in cosigners)])
    log_lines: list[VerifiedLine] = []
    cosignatures: list[VerifiedCosignature] = []
    for line in open_note(unverified, known.values()).verified:
        verifier = known[line.name, line.key_hash]
        if isinstance(verifier, NoteVerifier):
            log_lines.append(VerifiedLine(line.name, verifier.key.key_id, line))
        else:
            time_s = timestamp_of(line.signature)
            cosignatures.append(VerifiedCosignature(line.name, verifier.key.key_id, line, time_s))
    if not log_lines:
        raise VerificationError("log-line", "no line by a log key", origin=origin, size=checkpoint.size)
    log_lines.sort(key=_order)
    cosignatures.sort(key=_order)
    return VerifiedNote(checkpoint, unverified.text, tuple(log_lines), tuple(cosignatures))


def verify_cosignatures(known: VerifiedNote, lines: Sequence[NoteLine], cosigners: Sequence[Cosigner]) -> VerifiedNote:
    """`known` with the further `lines` over the same text: only these are verified, lines of unknown keys are left out.

    Raises `VerificationError` for a bad line of a cosigner, as `verify_note` would for a note with all of them.
    """
    check_cosigners(cosigners)
    verifiers = {(each.name, each.key_hash): each for each in (CosignatureVerifier(*pair) for pair in cosigners)}
    wanted = [line for line in lines if (line.name, line.key_hash) in verifiers]
    if not wanted:
        return known
    found: list[VerifiedCosignature] = []
    for line in open_note(UnverifiedNote(known.text, tuple(wanted)), verifiers.values()).verified:
        key_id = verifiers[line.name, line.key_hash].key.key_id
        found.append(VerifiedCosignature(line.name, key_id, line, timestamp_of(line.signature)))
    more = VerifiedNote(known.checkpoint, known.text, known.log_lines, tuple(sorted(found, key=_order)))
    return merge_lines(known, more)


def certify(verified: VerifiedNote, cosigners: Sequence[Cosigner]) -> CertifiedCheckpoint:
    """The certified checkpoint if the verified lines are a quorum, else `VerificationError` (code `quorum`)."""
    members = {key.key_id for _, key in cosigners}
    lines = tuple((each.name, each.key_id, each.time_s) for each in verified.cosignatures if each.key_id in members)
    needed = threshold(len(cosigners))
    if len({key_id for _, key_id, _ in lines}) < needed:
        raise VerificationError(
            "quorum",
            "not more than two thirds",
            origin=verified.checkpoint.origin,
            size=verified.checkpoint.size,
            needed=needed,
            got=len(lines),
            names=[name for name, _, _ in lines],
        )
    times = sorted(time_s for _, _, time_s in lines)
    return CertifiedCheckpoint(verified.checkpoint, lines, times[needed - 1], times[-needed])


def verify_certificate(
    note: bytes, origin: str, log_keys: LogKeys, cosigners: Sequence[Cosigner]
) -> CertifiedCheckpoint:
    """The certified checkpoint of a quorum certificate; raises as `verify_note` and `certify` do."""
    return certify(verify_note(note, origin, log_keys, cosigners), cosigners)


def merge_lines(first: VerifiedNote, second: VerifiedNote, *, keep_latest: bool = True) -> VerifiedNote:
    """Both notes' lines over one text, one a key: the later cosignature of a key, or the earlier one.

    Later times show freshness, earlier ones show when a tree was first certified. `VerificationError` (code
    `note-text`) when the texts differ: that may be a fork and is not for merging.
    """
    if first.text != second.text:
        raise VerificationError("note-text", "notes over different texts", first=first.text, second=second.text)
    logs = {each.key_id: each for each in (*second.log_lines, *first.log_lines)}
    prefer = max if keep_latest else min
    chosen: dict[Digest, VerifiedCosignature] = {}
    for each in (*first.cosignatures, *second.cosignatures):
        known = chosen.get(each.key_id, each)
        chosen[each.key_id] = prefer(known, each, key=lambda line: line.time_s)
    return VerifiedNote(
        first.checkpoint,
        first.text,
        tuple(sorted(logs.values(), key=_order)),
        tuple(sorted(chosen.values(), key=_order)),
    )


def _order(each: VerifiedLine) -> tuple[str, bytes]:
    return each.name, each.line.key_hash
