"""Proposals to change what is in force, and votes on them: their hash, what a cosigner signs, how they stand in the state.

Rules (SPEC R-G11, R-G12, R-G22): a proposal is named by the event that made it and bound by its hash, which covers head
and body; a vote names that hash. Not here: who may vote, and what a change
does (see `machine`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from ledger.core import canonical
from ledger.core.hashing import TAG_PROPOSAL, Digest, lp, parse_hex_digest, sha256
from ledger.errors import MalformedError

OPEN: Final = "open"
PASSED: Final = "passed"
ANNOUNCED: Final = "announced"
ENACTED: Final = "enacted"
FAILED: Final = "failed"
REJECTED: Final = "rejected"
WITHDRAWN: Final = "withdrawn"
STATUSES: Final = (OPEN, PASSED, ANNOUNCED, ENACTED, FAILED, REJECTED, WITHDRAWN)

APPROVE: Final = "approve"
REJECT: Final = "reject"

TIMER_PREFIX: Final = "timer/sys/"
"""Timers of the ledger itself; a rulebook's begin with a rule id, which is upper case."""

_REQUIRED: Final = frozenset({"action", "args", "at", "epoch", "hash", "refs", "status", "until"})
_OPTIONAL: Final = frozenset({"base", "due", "effective", "height", "reason", "validators"})
_VOTE_REQUIRED: Final = frozenset({"at", "event", "vote"})
_TYPES: Final[dict[str, type]] = {
    "action": str, "args": dict, "at": int, "base": list, "cosign": str, "due": int, "effective": int, "epoch": int,
    "event": str, "hash": str, "height": int, "reason": str, "refs": dict, "status": str, "until": int, "vote": str,
}  # fmt: skip
"""The type of each field, exactly: true is no integer here."""


def proposal_hash(event_hash: Digest) -> Digest:
    """What a vote names: SHA-256("suyuan/proposal/v1" 0x00 ‖ event_hash) of the proposing event."""
    return sha256(TAG_PROPOSAL + event_hash)


def approval_message(origin: str, proposal: Digest) -> bytes:
    """What a cosigner's key signs to approve: "suyuan/proposal/v1" 0x00 ‖ lp(origin) ‖ proposal hash."""
    return TAG_PROPOSAL + lp(origin.encode()) + proposal


def proposal_key(name: str) -> str:
    """State key of the proposal `name` (`<member>/<event id>`). No rulebook can declare an object kind with a hyphen."""
    return f"sys-proposal/{name}"


def vote_key(name: str, member: str) -> str:
    """State key of the vote of `member` on the proposal `name`."""
    return f"sys-vote/{name}/{member}"


def retired_key(bundle: str) -> str:
    """State key that says that a bundle (hash in hex) has been retired."""
    return f"sys-retired/{bundle}"


def timer_key(name: str) -> str:
    """State key of the timer at which the proposal `name` takes effect."""
    return f"{TIMER_PREFIX}proposal/{name}"


def proposal_of_timer(key: str) -> str:
    """The proposal that a timer of `timer_key` belongs to. Raises `MalformedError`."""
    prefix = f"{TIMER_PREFIX}proposal/"
    if not key.startswith(prefix):
        raise MalformedError("timer-key", "not a timer of a proposal", got=key)
    return key[len(prefix) :]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposal as the state holds it; times are unix ms.

    `refs` and `args` are what the action takes. `until` is the last moment for votes, `effective` the earliest moment
    asked for, `due` when a passed one takes effect. `base` are rulebook and calendar in force when it was made, for
    changes of these; `epoch` that of the config then. `height` is where it took effect, `reason` why it did not.
    `validators` says that it changes the validator set, so that the cosigners' approval and the notice are needed.
    """

    name: str
    action: str
    refs: dict[str, Any]
    args: dict[str, Any]
    hash: Digest
    at: int
    until: int
    epoch: int
    status: str = OPEN
    effective: int | None = None
    due: int | None = None
    height: int | None = None
    reason: str = ""
    base: tuple[str, ...] = field(default=())
    validators: bool = False

    def encode(self) -> bytes:
        """Canonical JSON, the state object under `proposal_key`."""
        fields: dict[str, Any] = {
            "action": self.action,
            "args": self.args,
            "at": self.at,
            "epoch": self.epoch,
            "hash": self.hash.hex(),
            "refs": self.refs,
            "status": self.status,
            "until": self.until,
        }
        for name, value in (("effective", self.effective), ("due", self.due), ("height", self.height)):
            if value is not None:
                fields[name] = value
        if self.reason:
            fields["reason"] = self.reason
        if self.base:
            fields["base"] = list(self.base)
        if self.validators:
            fields["validators"] = True
        return canonical.encode(fields)


def parse_proposal(name: str, data: bytes) -> Proposal:
    """The proposal `name` in canonical JSON `data`. Raises `MalformedError`."""
    fields = canonical.parse(data)
    if not _REQUIRED <= set(fields) <= _REQUIRED | _OPTIONAL or fields["status"] not in STATUSES:
        raise MalformedError("proposal", "missing or unknown fields", got=sorted(fields))
    _check_types("proposal", fields)
    if any(type(each) is not str for each in fields.get("base", ())):
        raise MalformedError("proposal", "base holds more than names", name=name)
    if "validators" in fields and fields["validators"] is not True:
        raise MalformedError("proposal", "validators is true or absent", name=name)
    proposal = Proposal(
        name=name,
        action=fields["action"],
        refs=fields["refs"],
        args=fields["args"],
        hash=parse_hex_digest(fields["hash"]),
        at=fields["at"],
        until=fields["until"],
        epoch=fields["epoch"],
        status=fields["status"],
        effective=fields.get("effective"),
        due=fields.get("due"),
        height=fields.get("height"),
        reason=fields.get("reason", ""),
        base=tuple(fields.get("base", ())),
        validators=fields.get("validators", False),
    )
    if proposal.encode() != data:
        raise MalformedError("proposal", "not in canonical form", name=name)
    return proposal


@dataclass(frozen=True, slots=True)
class Vote:
    """One member's vote; `cosign` is the key id (hex) of the cosigner's key that signed the approval, "" for none."""

    vote: str
    event: str
    at: int
    cosign: str = ""

    def encode(self) -> bytes:
        """Canonical JSON, the state object under `vote_key`."""
        fields: dict[str, Any] = {"at": self.at, "event": self.event, "vote": self.vote}
        if self.cosign:
            fields["cosign"] = self.cosign
        return canonical.encode(fields)


def parse_vote(data: bytes) -> Vote:
    """The vote in canonical JSON `data`. Raises `MalformedError`."""
    fields = canonical.parse(data)
    if not _VOTE_REQUIRED <= set(fields) <= _VOTE_REQUIRED | {"cosign"} or fields["vote"] not in (APPROVE, REJECT):
        raise MalformedError("vote", "missing or unknown fields", got=sorted(fields))
    _check_types("vote", fields)
    vote = Vote(fields["vote"], fields["event"], fields["at"], fields.get("cosign", ""))
    if vote.encode() != data:
        raise MalformedError("vote", "not in canonical form")
    return vote


def _check_types(what: str, fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        if name in _TYPES and type(value) is not _TYPES[name]:
            raise MalformedError(what, "a field of another type", field=name, got=type(value).__name__)
