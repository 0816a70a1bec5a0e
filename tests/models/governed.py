"""A tiny ledger that is governed: proposals, votes and what takes effect, as events of its members.

Two helpers that every test of governance needs: `change` runs one proposal from its first event to its effect, `verdict`
says what became of an event.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ledger.adapters.audit.scratch import ScratchState
from ledger.core.bundle import bundle_hash, encode_bundle
from ledger.core.checkpoint import Checkpoint, encode_checkpoint
from ledger.core.cosignature import sign_cosignature
from ledger.core.event import Event, new_event
from ledger.core.hashing import Digest
from ledger.core.ident import format_time, uuid7_at
from ledger.core.keys import COSIGN, EVENT, LOG, Ed25519Signer, registration_message
from ledger.core.note import encode_note, sign_note
from ledger.core.proposal import (
    Proposal,
    approval_message,
    parse_proposal,
    proposal_hash,
    proposal_key,
)
from ledger.core.submission import Submission, new_submission
from ledger.machine.block import Item, Sealed
from ledger.verify.ledger import Options, verify_ledger
from ledger.verify.replay import LoadedRules
from ledger.verify.report import Report
from ledger.verify.trust import Trust
from tests.models.accept_all import AcceptAllRules, AcceptAllRuntime
from tests.models.tiny_ledger import MEMBERS, TinyLedger, load_rules, make_genesis, signer

HOUR_MS = 3_600_000
NEW_RULEBOOK = {"rules/other.py": b"# another rulebook\n"}
NEW_CALENDAR = {"2027.json": b"{}"}


class Governed(TinyLedger):
    """`authorities` vote; with none of them the cosigners (all four members) do. `validators` order in CometBFT."""

    def __init__(self, authorities: Sequence[str] = (), seed: int = 1, validators: Sequence[str] = ()) -> None:
        super().__init__(make_genesis(authorities=authorities, validators=validators), seed)
        self.bundles: dict[Digest, bytes] = {}

    # --- events ------------------------------------------------------------------------------------------------------

    def sys(self, kind: str, refs: dict[str, Any], **content: Any) -> Event:
        """A governance event at the head's time."""
        when = self.app.head.time
        event_id = uuid7_at(when, self.random.randbytes(10))
        salt = self.random.randbytes(16)
        return new_event(event_id=event_id, kind=kind, refs=refs, time_ms=when, salt=salt, content=content)

    def propose(self, action: str, refs: dict[str, Any], args: dict[str, Any], **content: Any) -> Event:
        """A proposal; `effective` and `until` as unix ms."""
        for name in ("effective", "until"):
            if name in content:
                content[name] = format_time(content[name])
        return self.sys("sys.propose", refs, action=action, args=args, **content)

    def approve(self, name: str, of: Event, cosigner: str = "", key: Ed25519Signer | None = None) -> Event:
        """An approval of the proposal `name` that `of` made; with `cosigner` signed by its cosigning key too."""
        content: dict[str, Any] = {"proposal_hash": proposal_hash(of.hash).hex()}
        if cosigner:
            key = key or signer(cosigner, COSIGN)
            signature = key.sign(approval_message(self.origin, proposal_hash(of.hash)))
            content["cosign"] = {"key": key.public.key_id.hex(), "signature": signature.hex()}
        return self.sys("sys.approve", {"proposal": name}, **content)

    def reject(self, name: str, of: Event) -> Event:
        """A vote against."""
        return self.sys("sys.reject", {"proposal": name}, proposal_hash=proposal_hash(of.hash).hex())

    def sign(self, member: str, event: Event, key: Ed25519Signer | None = None) -> Submission:
        """A submission of one event."""
        return new_submission(self.origin, member, key or signer(member, EVENT), [event])

    def record(self, member: str, event: Event, **options: Any) -> Item:
        """A block of one event; its item."""
        return self.block(self.sign(member, event, options.pop("key", None)), **options).decision.items[0]

    def change(
        self,
        action: str,
        refs: dict[str, Any],
        args: dict[str, Any],
        *,
        by: str = "ga",
        voters: Sequence[str] = MEMBERS[:3],
        cosign: bool = False,
        wait_ms: int = 1_000,
        attachments: tuple[bytes, ...] = (),
        **content: Any,
    ) -> Sealed:
        """Propose, approve by `voters`, wait; the sealed block in which it took effect (or not)."""
        event = self.propose(action, refs, args, **content)
        name = f"{by}/{event.id}"
        item = self.record(by, event, attachments=attachments)
        assert item.verdict == b'{"outcome":"accepted"}', item.verdict
        for voter in voters:
            item = self.record(voter, self.approve(name, event, voter if cosign else ""))
            assert b'"outcome":"accepted"' in item.verdict, item.verdict
        return self.block(ms=wait_ms)

    def proposal(self, name: str) -> Proposal:
        """A proposal as the state holds it."""
        return parse_proposal(name, self.store.read_objects([proposal_key(name)])[proposal_key(name)])

    def new_key(self, member: str, use: str, label: str) -> tuple[Ed25519Signer, dict[str, Any]]:
        """A key that proves its registration, and its fields in a proposal."""
        key = signer(f"{member} {label}", use)
        proof = key.sign(registration_message(self.origin, member, use)).hex()
        fields = {"algorithm": 1, "proof": proof, "public": key.public.raw.hex(), "roles": ["system"], "use": use}
        return key, fields

    @property
    def validators(self) -> list[str]:
        """Members that order in CometBFT after the last block."""
        return [member for member, _ in self.app.head.registry.validators()]

    def bundle_args(self, files: dict[str, bytes]) -> tuple[dict[str, Any], bytes]:
        """Arguments of a change of rulebook or calendar, and the attachment."""
        digest = bundle_hash(files)
        self.bundles[digest] = encode_bundle(files)
        return {"bundle": digest.hex(), "language": 1, "program": digest.hex()}, self.bundles[digest]

    # --- auditing ----------------------------------------------------------------------------------------------------

    def certify_by(self, cosigners: Sequence[tuple[str, Ed25519Signer]], log: Ed25519Signer | None = None) -> bytes:
        """Certify the head by these keys."""
        head = self.app.head
        text = encode_checkpoint(Checkpoint(self.origin, head.size, head.log.root()))
        when = head.time // 1000 + 1
        lines = [sign_note(text, self.origin, log or signer(MEMBERS[0], LOG))]
        lines.extend(sign_cosignature(text, member, key, when) for member, key in cosigners)
        note = encode_note(text, lines)
        self.certificates.append((head.size, note))
        return note

    def verify(self, *, replay: bool = True, rules: Any = None, **changes: Any) -> Report:
        """The auditor's report on this ledger, or on a changed copy of it."""
        trust = Trust(self.origin, "origin")
        with ScratchState(cache_bytes=1_000_000) as scratch:
            options = Options(trust, self.now_ms, replay, "test" if replay else "")
            return verify_ledger(self.source(**changes), options, scratch, rules or loading)


def loading(genesis: Any, bundle: Any) -> LoadedRules:
    """Rules as an auditor loads them, and loads again when others take effect."""
    loaded = load_rules(genesis, bundle)

    def reload(config: Any, find: Any) -> tuple[AcceptAllRules, AcceptAllRuntime]:
        if config.rulebook != genesis.rulebook:
            find(config.rulebook)
        return AcceptAllRules(), AcceptAllRuntime()

    loaded.reload = reload
    return loaded


__all__ = ["HOUR_MS", "NEW_CALENDAR", "NEW_RULEBOOK", "Governed", "loading"]
