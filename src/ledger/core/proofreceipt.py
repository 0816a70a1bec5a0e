"""The receipt: this event stands in the log with this verdict, signed by this key of this member (SPEC R-V02).

Made of the event's head with its body or the body's hash, its path in the submission and the submission's signature, the
registration of the key, the record with its inclusion path, and a quorum certificate; no other event is shown.
Rule: a receipt holds for ever, so its age is told and never refused. Not here: whether the rules decided rightly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ledger.core import merkle
from ledger.core import proofjson as pj
from ledger.core.hashing import Digest, parse_hex_digest
from ledger.core.keys import EVENT
from ledger.core.leaf import LEAF_VERSION, TYPE_RECORD, Record, parse_leaf
from ledger.core.mapkeys import key_hash, key_key, parse_object_value, value_hash
from ledger.core.mapproof import MapProof
from ledger.core.proofentry import encode_body, parse_body_or_hash, verify_event_parts
from ledger.core.proofepochs import (
    EpochEnd,
    adopt,
    encode_epochs,
    encode_header_part,
    parse_epochs,
    parse_header_part,
)
from ledger.core.proofstate import CertifiedState, LogKey, StateProof, encode_logs, parse_logs
from ledger.core.prooftrust import (
    REVOCATION,
    SIGNATURE,
    Certification,
    History,
    Trust,
    encode_history,
    parse_history,
    verify_certification,
)
from ledger.core.registry import KeyEntry, parse_key_entry
from ledger.core.submission import verify_event
from ledger.errors import MalformedError, VerificationError

KIND = "receipt"


@dataclass(frozen=True, slots=True)
class SubmissionPart:
    """Where an event stands in its submission of `count` events under `root`, and the signature over it."""

    index: int
    count: int
    root: Digest
    path: tuple[Digest, ...]
    signature: bytes


@dataclass(frozen=True, slots=True)
class Registration:
    """The key's entry in the state under the receipt's certificate.

    `header` (the whole leaf, last of the checkpoint), its inclusion path and `config` lead to the state; `value` is the
    whole map value with its blind, `map` its proof.
    """

    header: bytes
    header_path: tuple[Digest, ...]
    config: bytes
    value: bytes
    map: MapProof
    logs: tuple[LogKey, ...] = ()

    def verify(self, key_id: Digest, state: CertifiedState) -> KeyEntry:
        """The entry of `key_id`; `VerificationError` (code `registration`) if the state says otherwise."""
        if state.look_up(key_hash(key_key(key_id)), self.map) != value_hash(self.value):
            raise VerificationError("registration", "the state holds no such entry", key_id=key_id)
        return parse_key_entry(parse_object_value(self.value)[1])


@dataclass(frozen=True, slots=True)
class ReceiptResult:
    """What a receipt shows. `not_checked` holds codes of `prooftrust`; `body` is None where only its hash was given."""

    certification: Certification
    index: int
    record: Record
    head: dict[str, Any]
    body: dict[str, Any] | None
    key: KeyEntry | None
    not_checked: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt as it stands in its file; nothing holds until `verify` returns.

    `index` is the record's place in the log and `record` its whole leaf; exactly one of `body` and `body_hash` is given.
    """

    certificate: bytes
    head: bytes
    body: bytes | None
    body_hash: Digest | None
    submission: SubmissionPart
    index: int
    record: bytes
    path: tuple[Digest, ...]
    registration: Registration | None = None
    history: History | None = None
    epochs: tuple[EpochEnd, ...] = ()

    def verify(self, trust: Trust) -> ReceiptResult:
        """What the receipt shows to somebody with this trust.

        Raises `MalformedError`, or `VerificationError`: the certificate, `inclusion`, `event-hash`, `event-id`,
        `registration`, `key-use`, `key-revoked`, `submission-signature`, `submission` (not the one of the record).
        """
        state, certification, not_checked = self._anchor(trust)
        record = parse_leaf(self.record)
        if not isinstance(record, Record):
            raise MalformedError("proof", "not a record", field="record.leaf")
        checkpoint = certification.checkpoint
        merkle.verify_inclusion(merkle.leaf_hash(self.record), self.index, checkpoint.size, self.path, checkpoint.root)
        head, body = verify_event_parts(record, self.head, self.body, self.body_hash)
        key, unchecked = self._key(record, state, trust)
        if key is not None:
            self._verify_submission(record, key, trust)
        return ReceiptResult(certification, self.index, record, head, body, key, (*not_checked, *unchecked))

    def _anchor(self, trust: Trust) -> tuple[CertifiedState | None, Certification, tuple[str, ...]]:
        """The certificate's verdict, with the state behind it where a registration is shown."""
        shown = self.registration
        if shown is None:
            return None, *verify_certification(self.certificate, self.history, adopt(self.epochs, trust))
        proof = StateProof(
            self.certificate, shown.header, shown.header_path, shown.config, self.history, self.epochs, shown.logs
        )
        state = proof.verify(trust)
        return state, state.certification, state.not_checked

    def _key(
        self, record: Record, state: CertifiedState | None, trust: Trust
    ) -> tuple[KeyEntry | None, tuple[str, ...]]:
        """The entry of the record's key, and what is not known about it."""
        unchecked: tuple[str, ...] = ()
        if self.registration is not None and state is not None:
            entry = self.registration.verify(record.key_id, state)
        elif record.key_id in trust.keys:
            entry, unchecked = trust.keys[record.key_id], (REVOCATION,)
        else:
            return None, (SIGNATURE,)
        evidence = {"key_id": record.key_id, "member": record.member, "height": record.height}
        if entry.public.key_id != record.key_id or entry.member != record.member:
            raise VerificationError("registration", "the key is another's", **evidence)
        if entry.use != EVENT:
            raise VerificationError("key-use", "the key is registered for another use", use=entry.use, **evidence)
        until = entry.until_height
        if record.height < entry.from_height or (until is not None and record.height > until):
            raise VerificationError("key-revoked", "the key was not valid at this height", **evidence)
        return entry, unchecked

    def _verify_submission(self, record: Record, key: KeyEntry, trust: Trust) -> None:
        part = self.submission
        identity = verify_event(
            trust.origin,
            record.member,
            key.public,
            part.signature,
            event_hash=record.event_hash,
            index=part.index,
            count=part.count,
            root=part.root,
            path=part.path,
        )
        if identity != record.submission:
            raise VerificationError("submission", "not the submission of the record", expected=record.submission)

    def encode(self) -> bytes:
        """The file."""
        part = self.submission
        fields: pj.Fields = {
            "certificate": self.certificate.decode("utf-8"),
            "event": {"head": self.head.decode("utf-8"), **encode_body(self.body, self.body_hash)},
            "record": {
                "index": self.index,
                "leaf": self.record[2:].decode("utf-8"),
                "path": pj.encode_path(self.path),
            },
            "submission": {
                "count": part.count,
                "index": part.index,
                "path": pj.encode_path(part.path),
                "root": part.root.hex(),
                "signature": part.signature.hex(),
            },
            **encode_history(self.history),
            **encode_epochs(self.epochs),
        }
        shown = self.registration
        if shown is not None:
            fields["registration"] = {
                "config": shown.config.decode("utf-8"),
                "header": encode_header_part(shown.header, shown.header_path),
                "map": pj.encode_map_proof(shown.map),
                "value": shown.value.decode("utf-8"),
                **encode_logs(shown.logs),
            }
        return pj.encode_document(KIND, fields)


def parse_receipt(fields: pj.Fields) -> Receipt:
    """The receipt of a file's fields."""
    pj.closed(fields, KIND, "certificate event record submission", "registration history epochs")
    event = pj.closed(fields["event"], "event", "head", "body body_hash")
    body, body_hash = parse_body_or_hash(event, "event", wanted=True)
    record = pj.closed(fields["record"], "record", "index leaf path")
    part = pj.closed(fields["submission"], "submission", "count index path root signature")
    return Receipt(
        certificate=pj.document(fields["certificate"], "certificate"),
        head=pj.document(event["head"], "event.head"),
        body=body,
        body_hash=body_hash,
        submission=SubmissionPart(
            index=pj.number(part["index"], "submission.index"),
            count=pj.number(part["count"], "submission.count"),
            root=parse_hex_digest(part["root"]),
            path=pj.path(part["path"], "submission.path"),
            signature=pj.signature(part["signature"], "submission.signature"),
        ),
        index=pj.number(record["index"], "record.index"),
        record=bytes((TYPE_RECORD, LEAF_VERSION)) + pj.document(record["leaf"], "record.leaf"),
        path=pj.path(record["path"], "record.path"),
        registration=_registration(fields),
        history=parse_history(fields["history"]) if "history" in fields else None,
        epochs=parse_epochs(fields),
    )


def _registration(fields: pj.Fields) -> Registration | None:
    if "registration" not in fields:
        return None
    inner = pj.closed(fields["registration"], "registration", "config header map value", "logs")
    header, header_path = parse_header_part(inner["header"])
    return Registration(
        header=header,
        header_path=header_path,
        config=pj.document(inner["config"], "registration.config"),
        value=pj.document(inner["value"], "registration.value"),
        map=pj.map_proof(inner["map"], "registration.map"),
        logs=parse_logs(inner),
    )
