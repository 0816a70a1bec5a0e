"""Decides what can be said of a run of blocks without its neighbours: framing, canonical events, hashes, signatures.

Rules: every byte of every head and body is parsed and hashed again; each submission's signature is verified with the key
it names; each note's and certificate's known lines are verified. Whether that key was in force, and whether blocks follow
each other, only the whole ledger tells. May run in a worker process: plain values in and out.
Never trusts a count, a hash or an order that the source states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from ledger.blockcodec import BlockData, SubmissionData, parse_block
from ledger.core import merkle
from ledger.core.checkpoint import parse_checkpoint_text
from ledger.core.cosignature import CosignatureVerifier
from ledger.core.event import event_hash_parts, parse_body, parse_head
from ledger.core.hashing import Digest, sha256
from ledger.core.ident import uuid7_time
from ledger.core.keys import PublicKey
from ledger.core.note import NoteVerifier, index_verifiers, open_note, parse_note
from ledger.core.quorum import CertifiedCheckpoint, Cosigner, certify, verify_note
from ledger.core.submission import signed_message
from ledger.errors import LedgerError, MalformedError, UnavailableError, VerificationError
from ledger.limits import BLOCK_BYTES_MAX, SUBMISSION_EXPANDED_BYTES_MAX
from ledger.machine.pruning import KIND as PRUNING
from ledger.machine.views import Rules
from ledger.verify.again import KnownPiece, SeenBlock, content_digest, see_blocks
from ledger.verify.findings import BYTES, CERTIFICATES, SIGNATURES, Finding, from_error
from ledger.verify.leaves import LeafFacts, read_leaves
from ledger.verify.pruned import Absences
from ledger.verify.source import BrokenPart, Piece, PieceData, SalvageablePiece


@dataclass(frozen=True, slots=True)
class CheckContext:
    """What checking needs to know of the network. `event_keys` are all keys ever registered for events so far.

    `parse_leaves` asks for the leaves to be read one by one, as is needed where rules are not replayed; `rules` (which
    pickle) for the plan of each event, so that whoever replays need not read its body; `digests` for each piece's digest.
    """

    origin: str
    event_keys: Mapping[Digest, PublicKey]
    log_keys: tuple[PublicKey, ...]
    cosigners: tuple[Cosigner, ...]
    parse_leaves: bool = False
    rules: Rules | None = None
    digests: bool = False


@dataclass(slots=True)
class CheckedSubmission:
    """A submission whose events are canonical; `verified` says whether its signature held under the key it names, None
    where that key is not known here (it may have been registered since: the caller looks it up).

    `bodies` has None where a body is gone; `plans` are the state keys each event may touch, empty where none were asked
    for. `oldest` and `newest` are the times (unix ms) in its events' ids.
    """

    member: str
    key_id: Digest
    signature: bytes
    root: Digest
    identity: Digest
    heads: list[bytes]
    bodies: list[bytes | None]
    hashes: list[Digest]
    ids: list[str]
    plans: list[Sequence[str]]
    oldest: int
    newest: int
    verified: bool | None


@dataclass(slots=True)
class CheckedBlock:
    """A block after `check_block`. With `findings` it cannot be replayed; `missing` bodies stop a replay as well.

    `damaged`: a submission could not be read and is left out, so that its records cannot be matched. `note_open`: the
    note names a log key that is not the genesis'; whoever knows the keys registered since calls `check_note`.
    """

    height: int
    time: int
    place: str
    submissions: list[CheckedSubmission]
    attachments: tuple[bytes, ...]
    leaves: list[bytes]
    checkpoint: tuple[int, Digest] | None
    note: bytes
    missing: int
    input_bytes: int
    damaged: bool = False
    note_open: bool = False
    findings: list[Finding] = field(default_factory=list)
    facts: LeafFacts | None = None
    absences: Absences = field(default_factory=Absences)


@dataclass(slots=True)
class CheckedCertificate:
    """A certificate whose lines hold; `certified` is None when they are no quorum of the context's cosigners.

    `cosigners` are those it was checked with, None while it has lines of keys that the genesis does not name.
    """

    size: int
    root: Digest
    note: bytes
    certified: CertifiedCheckpoint | None
    place: str
    cosigners: tuple[Cosigner, ...] | None = ()


@dataclass(slots=True)
class CheckedPiece:
    """A piece after `check_piece`; blocks that could not even be parsed are left out and stand in `findings`.

    A piece that was only read again has `seen` in place of blocks and certificates, and no `digest` where it cannot be
    read. `digest` is made where the context asks for it.
    """

    place: str
    blocks: list[CheckedBlock] = field(default_factory=list)
    certificates: list[CheckedCertificate] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    digest: Digest | None = None
    seen: list[SeenBlock] = field(default_factory=list)
    filled: int = 0


def check_piece(context: CheckContext, piece: Piece) -> CheckedPiece:
    """Load and check one piece. Raises for this machine's own trouble only (`UnavailableError`)."""
    checked = CheckedPiece(piece.place)
    if isinstance(piece, KnownPiece):
        return _read_again(piece, checked)
    try:
        data, broken = _load(piece)
    except UnavailableError:
        raise
    except LedgerError as error:
        checked.findings.append(from_error("piece-unreadable", BYTES, error, place=piece.place))
        return checked
    checked.findings.extend(
        from_error("piece-unreadable", BYTES, each.error, place=each.place, height=each.height) for each in broken
    )
    checked.filled = data.filled
    if context.digests and not broken:
        checked.digest = content_digest(data)
    for number, encoded in enumerate(data.blocks):
        place = f"{piece.place}#{number}"
        try:
            block = parse_block(encoded)
        except MalformedError as error:
            checked.findings.append(from_error("block-unreadable", BYTES, error, place=place))
            continue
        checked.blocks.append(check_block(context, block, place))
    for number, note in enumerate(data.certificates):
        certificate, finding = check_certificate(context, note, f"{piece.place} certificate {number}")
        if finding is not None:
            checked.findings.append(finding)
        if certificate is not None:
            checked.certificates.append(certificate)
    return checked


def _load(piece: Piece) -> tuple[PieceData, list[BrokenPart]]:
    """A piece, or what is left of it: what cannot be read is named, and nothing beside it is given up."""
    try:
        return piece.load(), []
    except UnavailableError:
        raise
    except LedgerError:
        if not isinstance(piece, SalvageablePiece):
            raise
        return piece.salvage()


def _read_again(piece: KnownPiece, checked: CheckedPiece) -> CheckedPiece:
    """A piece of an earlier run. What is wrong with it now is for a run from the start to say."""
    try:
        data = piece.load()
        checked.seen, checked.digest = see_blocks(data), content_digest(data)
    except UnavailableError:
        raise
    except LedgerError:
        checked.digest = None
    return checked


def check_block(context: CheckContext, block: BlockData, place: str) -> CheckedBlock:
    """Everything that can be said of `block` alone."""
    checked = CheckedBlock(
        block.height, block.time, place, [], block.attachments, list(block.leaves), None, block.note, 0, 0
    )
    # Events of one thing plan the same keys, which are kept once, also in what a worker hands back.
    planned: dict[Sequence[str], Sequence[str]] = {}
    for number, submission in enumerate(block.submissions):
        found = _check_submission(context, submission, number, checked, planned)
        if found is None:
            checked.damaged = True
        else:
            checked.submissions.append(found)
    checked.input_bytes += sum(map(len, block.attachments))
    if checked.input_bytes > BLOCK_BYTES_MAX:
        checked.findings.append(
            Finding("block-size", BYTES, block.height, expected=f"≤ {BLOCK_BYTES_MAX}", got=str(checked.input_bytes))
        )
    check_note(checked, context.origin, context.log_keys, final=False)
    if context.parse_leaves:
        checked.facts = read_leaves(checked.leaves, block.height, checked.submissions)
    return checked


def _check_submission(
    context: CheckContext,
    data: SubmissionData,
    number: int,
    block: CheckedBlock,
    planned: dict[Sequence[str], Sequence[str]],
) -> CheckedSubmission | None:
    """One submission, or None where an event of it is malformed: nothing of it can be hashed then."""
    heads: list[bytes] = []
    bodies: list[bytes | None] = []
    hashes: list[Digest] = []
    ids: list[str] = []
    plans: list[Sequence[str]] = []
    plan = context.rules.plan if context.rules is not None else None
    size = 0
    for index, (head, body, body_hash) in enumerate(data.events):
        try:
            fields = parse_head(head)
            if body is None:
                block.missing += 1
                block.absences.see(data.member, fields, None)
            else:
                content = parse_body(body)
                if fields["kind"] == PRUNING:
                    block.absences.see(data.member, fields, content)
                size += len(body)
                if plan is not None:
                    keys = tuple(plan(data.member, fields, content))
                    plans.append(planned.setdefault(keys, keys))
        except MalformedError as error:
            where = f"submission {number} event {index}"
            block.findings.append(
                from_error("event-malformed", BYTES, error, height=block.height, event=data.member, field=where)
            )
            return None
        size += len(head)
        heads.append(head)
        bodies.append(body)
        ids.append(fields["id"])
        hashes.append(event_hash_parts(sha256(head), body_hash))
    block.input_bytes += size
    if size > SUBMISSION_EXPANDED_BYTES_MAX:
        block.findings.append(
            Finding("submission-size", BYTES, block.height, event=data.member, got=str(size), field=str(number))
        )
    root = merkle.root(hashes)
    message = signed_message(context.origin, data.member, data.key_id, len(hashes), root)
    checked = CheckedSubmission(
        data.member, data.key_id, data.signature, root, sha256(message), heads, bodies, hashes, ids, plans,
        uuid7_time(min(ids)), uuid7_time(max(ids)), None,
    )  # fmt: skip
    key = context.event_keys.get(data.key_id)
    if key is not None:
        finding = signature_finding(key, message, checked, number, block.height)
        if finding is not None:
            block.findings.append(finding)
        checked.verified = finding is None
    return checked


def signature_finding(
    key: PublicKey, message: bytes, submission: CheckedSubmission, number: int, height: int
) -> Finding | None:
    """None when `key` signed `message`."""
    try:
        key.verify(message, submission.signature)
    except VerificationError as error:
        return from_error(
            "submission-signature",
            SIGNATURES,
            error,
            height=height,
            event=f"{submission.member}/{submission.ids[0]}",
            field=f"submission {number}",
        )
    return None


def check_note(
    block: CheckedBlock, origin: str, log_keys: Sequence[PublicKey], *, final: bool = True, needed: bool = True
) -> None:
    """Set the block's log-signed checkpoint (size, root), or add a finding where the note does not hold.

    Block 0 needs none: the origin pins the genesis, which determines it. Nor, without `needed`, does one that this node
    did not sign because its key came later (R-N21). Without `final` a note that lacks or a line of an unknown key only
    sets `note_open`, for the key may have been registered since.
    """
    block.note_open = False
    if not block.note and (not block.height or not needed):
        return
    if not block.note and not final:
        block.note_open = True
        return
    try:
        unverified = parse_note(block.note)
        checkpoint = parse_checkpoint_text(unverified.text)
        if checkpoint.origin != origin:
            raise VerificationError("origin", "of another log", expected=origin, got=checkpoint.origin)
        opened = open_note(unverified, [NoteVerifier(origin, key) for key in log_keys])
        # A log-signed note as it left the sequencer; other lines belong into certificates.
        if opened.unknown:
            raise VerificationError("note-unsigned", "a line of an unknown key", name=opened.unknown[0].name)
    except LedgerError as error:
        if error.code == "note-unsigned" and not final and {each.name for each in unverified.lines} == {origin}:
            block.note_open = True
            return
        level = SIGNATURES if isinstance(error, VerificationError) else BYTES
        block.findings.append(from_error("note", level, error, height=block.height, place=block.place))
        return
    block.checkpoint = checkpoint.size, checkpoint.root


def check_certificate(
    context: CheckContext, note: bytes, place: str
) -> tuple[CheckedCertificate | None, Finding | None]:
    """A certificate with its known lines verified; a note that is not even log-signed is a finding.

    Too few lines is no finding here: with another set in force they may suffice, and the caller knows the sets.
    """
    try:
        checked = under_cosigners(note, context.origin, context.log_keys, context.cosigners, place)
    except LedgerError as error:
        later = _of_later_keys(note, context, place)
        if later is not None:
            return later, None
        return None, from_error("certificate", CERTIFICATES, error, place=place)
    return checked, None


def under_cosigners(
    note: bytes, origin: str, log_keys: tuple[PublicKey, ...], cosigners: tuple[Cosigner, ...], place: str
) -> CheckedCertificate:
    """A note with every line verified under this set. Raises `MalformedError` or `VerificationError`."""
    verified = verify_note(note, origin, log_keys, cosigners)
    if verified.encode() != note:
        raise MalformedError("note", "holds lines that nobody here signed, or in another order")
    checkpoint = verified.checkpoint
    certified: CertifiedCheckpoint | None = None
    with suppress(VerificationError):
        certified = certify(verified, cosigners)
    return CheckedCertificate(checkpoint.size, checkpoint.root, note, certified, place, cosigners)


def _of_later_keys(note: bytes, context: CheckContext, place: str) -> CheckedCertificate | None:
    """A note of this log with lines of keys that the genesis does not name; None where that is not what is wrong."""
    try:
        unverified = parse_note(note)
        checkpoint = parse_checkpoint_text(unverified.text)
    except MalformedError:
        return None
    known = index_verifiers(
        [
            *(NoteVerifier(context.origin, key) for key in context.log_keys),
            *(CosignatureVerifier(name, key) for name, key in context.cosigners),
        ]
    )
    if checkpoint.origin != context.origin or all((each.name, each.key_hash) in known for each in unverified.lines):
        return None
    return CheckedCertificate(checkpoint.size, checkpoint.root, note, None, place, None)


def leaf_hashes(leaves: list[bytes]) -> list[Digest]:
    """RFC 6962 leaf hashes."""
    return [merkle.leaf_hash(leaf) for leaf in leaves]


__all__ = [
    "CheckContext",
    "CheckedBlock",
    "CheckedCertificate",
    "CheckedPiece",
    "CheckedSubmission",
    "check_block",
    "check_certificate",
    "check_note",
    "check_piece",
    "leaf_hashes",
    "signature_finding",
    "under_cosigners",
]
