"""Proposals that change who validates, who cosigns or what is in force, each with votes: for simulated chains.

What is proposed may be impossible by the time it is ordered or takes effect; refusals are answers like others.
"""

from __future__ import annotations

import random
from typing import Any

from ledger.core.bundle import bundle_hash, encode_bundle
from ledger.core.engine import chain_id
from ledger.core.event import Event, new_event
from ledger.core.genesis import VALIDATOR_USES
from ledger.core.hashing import Digest
from ledger.core.ident import uuid7_at
from ledger.core.keys import CONSENSUS, COSIGN, EVENT, Ed25519Signer, key_id_of, registration_message
from ledger.core.proposal import approval_message, proposal_hash
from ledger.core.submission import Submission, new_submission
from ledger.machine.block import Head
from tests.models.abci_events import Keyring
from tests.models.tiny_ledger import signer

NEWCOMERS = ("zx", "zy")
Parts = tuple[str, dict[str, Any], dict[str, Any]]
"""Action, refs and arguments of a proposal."""


class Votes:
    """`next` makes a proposal that fits the ledger's head, and votes for it."""

    def __init__(self, origin: str, dice: random.Random, keys: Keyring) -> None:
        self.origin, self.random, self.keys = origin, dice, keys
        self.actions = [
            self._admit,
            self._admit,
            self._add,
            self._end,
            self._end,
            self._rotate,
            self._rotate,
            self._status,
        ]
        self.sets_change = True
        """Whether the cosigners may change."""

    def next(self, head: Head, now: int) -> tuple[list[Submission], dict[Digest, bytes]]:
        """A proposal with as many votes as pass it, or one too few, in the order of their making; bundles that it names."""
        actions = [*self.actions, *([self._sets] if self.sets_change else [])]
        parts: Parts | None = None
        bundles: dict[Digest, bytes] = {}
        if self.random.random() < 0.1:
            parts, bundles = self._calendar()
        while parts is None:
            parts = self.random.choice(actions)(head)
        cosigners = [name for name, _ in head.config.cosigners]
        count = len(cosigners) * 2 // 3 + self.random.choice((0, 1, 1, 1, 1))
        return self.ballot(head, now, parts, count), bundles

    def rotate_own(self, head: Head, now: int) -> Submission:
        """A member takes another key for its events, without a vote: in force from the next block on."""
        member = self._member(head)
        old, new = self.keys.current(head, member), Ed25519Signer(self.random.randbytes(32))
        self.keys.all(member).append(new)
        refs = {"key": [old.public.key_id.hex(), new.public.key_id.hex()], "member": member}
        event = self._event(now, "sys.key.rotate", refs, key=self._key(member, EVENT, new))
        return new_submission(self.origin, member, old, [event])

    def move(self, head: Head, now: int, moves: int) -> list[Submission]:
        """The vote that leaves this chain for the next."""
        args = {"chain_id": chain_id(self.origin, moves), "engine": "cometbft", "below_four": True}
        if len(head.registry.validators()) >= 4:
            del args["below_four"]
        return self.ballot(head, now, ("sys.engine.move", {}, args), len(head.config.cosigners))

    def ballot(self, head: Head, now: int, parts: Parts, count: int) -> list[Submission]:
        """The proposal `parts` and the approvals of `count` cosigners, with their keys."""
        action, refs, args = parts
        cosigners = [name for name, _ in head.config.cosigners]
        by = self.random.choice(cosigners)
        event = self._event(now, "sys.propose", refs, action=action, args=args)
        made = [self._signed(head, by, event)]
        digest = proposal_hash(event.hash)
        for voter in self.random.sample(cosigners, min(count, len(cosigners))):
            key = signer(voter, COSIGN)
            signature = key.sign(approval_message(self.origin, digest)).hex()
            vote = {"proposal_hash": digest.hex(), "cosign": {"key": key.public.key_id.hex(), "signature": signature}}
            approval = self._event(now, "sys.approve", {"proposal": f"{by}/{event.id}"}, **vote)
            made.append(self._signed(head, voter, approval))
        return made

    # --- what is proposed --------------------------------------------------------------------------------------------

    def _admit(self, head: Head) -> Parts | None:
        member = self.random.choice(NEWCOMERS)
        if member in head.registry.members:
            return None
        uses = (*VALIDATOR_USES, *([CONSENSUS] if self.random.random() < 0.7 else []))
        keys = [self._key(member, EVENT, signer(member, EVENT)), *(self._key(member, use) for use in uses)]
        args = {"attributes": {}, "keys": keys, "roles": ["department"], "title": {"en": "New", "zh": "新"}}
        return "sys.member.admit", {"member": member}, args

    def _add(self, head: Head) -> Parts | None:
        member = self._member(head)
        if head.registry.valid_keys(member, CONSENSUS):
            return None
        key = self._key(member, CONSENSUS)
        return "sys.key.add", {"key": _key_id(key), "member": member}, {"key": key}

    def _end(self, head: Head) -> Parts | None:
        member = self._member(head)
        held = head.registry.valid_keys(member, CONSENSUS)
        if not held:
            return None
        return "sys.key.revoke", {"key": held[0].public.key_id.hex(), "member": member}, self._flag()

    def _rotate(self, head: Head) -> Parts | None:
        member = self._member(head)
        held = head.registry.valid_keys(member, CONSENSUS)
        if not held:
            return None
        key = self._key(member, CONSENSUS)
        refs = {"key": [held[0].public.key_id.hex(), _key_id(key)], "member": member}
        return "sys.key.rotate", refs, {"key": key}

    def _status(self, head: Head) -> Parts | None:
        member = self.random.choice(NEWCOMERS)
        if member not in head.registry.members:
            return None
        action = self.random.choice(("suspend", "resume", "resume", "remove"))
        return f"sys.member.{action}", {"member": member}, self._flag() if action != "resume" else {}

    def _sets(self, head: Head) -> Parts | None:
        """A cosigner leaves or comes back; a validator's key ends, another member's begins."""
        chosen = self.random.choice([name for name in sorted(head.registry.members) if name not in NEWCOMERS])
        names = {name for name, _ in head.config.cosigners} ^ {chosen}
        pairs = [[name, signer(name, COSIGN).public.key_id.hex()] for name in sorted(names)]
        if len(pairs) < 3:
            return None
        leaving, joining = self._member(head), self._member(head)
        held = head.registry.valid_keys(leaving, CONSENSUS)
        if not held:
            return None
        free = joining != leaving and not head.registry.valid_keys(joining, CONSENSUS)
        add = [[joining, self._key(joining, CONSENSUS)]] if free else []
        args: dict[str, Any] = {"cosigners": pairs, **self._flag()}
        args["validators"] = {"add": add, "end": [[leaving, held[0].public.key_id.hex()]]}
        about = sorted({leaving, *(name for name, _ in pairs), *(name for name, _ in add)})
        return "sys.set.change", {"member": about}, args

    def _calendar(self) -> tuple[Parts, dict[Digest, bytes]]:
        files = {"2027.json": b'{"n":%d}' % self.random.randint(1, 3)}
        digest = bundle_hash(files)
        args = {"bundle": digest.hex(), "language": 1, "program": digest.hex()}
        return ("sys.calendar.publish", {}, args), {digest: encode_bundle(files)}

    # --- parts -------------------------------------------------------------------------------------------------------

    def _member(self, head: Head) -> str:
        return self.random.choice(sorted(head.registry.members))

    def _flag(self) -> dict[str, Any]:
        return {"below_four": True} if self.random.random() < 0.6 else {}

    def _key(self, member: str, use: str, key: Ed25519Signer | None = None) -> dict[str, Any]:
        """A new key that proves its registration, as a proposal has it."""
        key = key or Ed25519Signer(self.random.randbytes(32))
        self.keys.members[key.public.raw] = member
        proof = key.sign(registration_message(self.origin, member, use)).hex()
        return {"algorithm": 1, "proof": proof, "public": key.public.raw.hex(), "roles": ["system"], "use": use}

    def _event(self, now: int, kind: str, refs: dict[str, Any], **content: Any) -> Event:
        event_id, salt = uuid7_at(now, self.random.randbytes(10)), self.random.randbytes(16)
        return new_event(event_id=event_id, kind=kind, refs=refs, time_ms=now, salt=salt, content=content)

    def _signed(self, head: Head, member: str, event: Event) -> Submission:
        return new_submission(self.origin, member, self.keys.current(head, member), [event])


def _key_id(key: dict[str, Any]) -> str:
    return key_id_of(key["algorithm"], bytes.fromhex(key["public"])).hex()
