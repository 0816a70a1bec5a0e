"""Builds governance events: proposals, votes, and the proof that a new key asks to be registered (SPEC R-G11, R-G12, R-K04).

Rule: what is signed is computed from the proposing event itself, never from what a node says its hash is.
Not here: sending (see `http`), and what becomes of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ledger.core import canonical
from ledger.core.event import parse_event
from ledger.core.hashing import Digest
from ledger.core.ident import format_time
from ledger.core.keys import Signer, registration_message
from ledger.core.proposal import approval_message, proposal_hash
from ledger.errors import MalformedError, VerificationError


def key_fields(signer: Signer, origin: str, member: str, use: str, roles: Sequence[str] = ()) -> dict[str, Any]:
    """A key as `sys.key.add`, `sys.key.rotate` and `sys.member.admit` take it, with its proof of possession."""
    return {
        "algorithm": signer.public.algorithm,
        "proof": signer.sign(registration_message(origin, member, use)).hex(),
        "public": signer.public.raw.hex(),
        "roles": sorted(set(roles)),
        "use": use,
    }


def propose(
    action: str,
    refs: Mapping[str, Any],
    args: Mapping[str, Any],
    *,
    effective: int | None = None,
    until: int | None = None,
    reason: str = "",
) -> dict[str, Any]:
    """The event of a proposal, without id, time and salt. `effective` and `until` are unix ms."""
    body: dict[str, Any] = {"action": action, "args": dict(args)}
    for name, value in (("effective", effective), ("until", until)):
        if value is not None:
            body[name] = format_time(value)
    if reason:
        body["reason"] = reason
    return {"kind": "sys.propose", "refs": dict(refs), "body": body}


def hash_of_proposal(head: Mapping[str, Any], body: Mapping[str, Any], recorded: str) -> Digest:
    """The hash to vote on, of the event as it was read. Raises `VerificationError` where `recorded` (hex), the hash in the
    state, is another one."""
    event = parse_event(canonical.encode(head), canonical.encode(body))
    if event.kind != "sys.propose":
        raise MalformedError("proposal-kind", "the event proposes nothing", got=event.kind)
    found = proposal_hash(event.hash)
    if found.hex() != recorded:
        raise VerificationError("proposal-hash", "the node shows another proposal than it holds", expected=recorded)
    return found


def vote(name: str, proposal: Digest, origin: str, *, approve: bool, cosign: Signer | None = None) -> dict[str, Any]:
    """The event of a vote, without id, time and salt; `cosign` signs an approval with the cosigner's own key too."""
    body: dict[str, Any] = {"proposal_hash": proposal.hex()}
    if cosign is not None:
        if not approve:
            raise MalformedError("vote", "a cosigner's key signs approvals only")
        signature = cosign.sign(approval_message(origin, proposal))
        body["cosign"] = {"key": cosign.public.key_id.hex(), "signature": signature.hex()}
    return {"kind": "sys.approve" if approve else "sys.reject", "refs": {"proposal": name}, "body": body}
