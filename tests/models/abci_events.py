"""Submissions of members, honest and forged, for simulated chains; who may sign, said once more and simpler."""

from __future__ import annotations

import random

from ledger import framing
from ledger.core.event import new_event
from ledger.core.hashing import sha256
from ledger.core.ident import uuid7_at
from ledger.core.keys import EVENT, Ed25519Signer
from ledger.core.registry import Registry
from ledger.core.submission import Submission, new_submission
from ledger.machine.block import Head
from tests.models.tiny_ledger import signer
from tests.models.transactions import encode_transaction


class Keyring:
    """Every event key that a member has, or had, or will have; `members` says whose any other key is, by its bytes."""

    def __init__(self) -> None:
        self.members: dict[bytes, str] = {}
        self._kept: dict[str, list[Ed25519Signer]] = {}

    def all(self, member: str) -> list[Ed25519Signer]:
        """In the order in which they were made."""
        return self._kept.setdefault(member, [signer(member, EVENT)])

    def current(self, head: Head, member: str) -> Ed25519Signer:
        """The newest one in force behind `head`; the first where none is."""
        known = head.registry.keys
        valid = [key for key in self.all(member) if (found := known.get(key.public.key_id)) and not found.until_height]
        return (valid or self.all(member)[:1])[-1]


class Events:
    """What members of the network `origin` send."""

    def __init__(self, origin: str, dice: random.Random, keys: Keyring) -> None:
        self.origin, self.random, self.keys = origin, dice, keys

    def submission(self, head: Head, now: int, timers: bool) -> Submission:
        """One to three events of a member, whatever its status is; now and then under a key that has ended."""
        events = []
        for _ in range(self.random.randint(1, 3)):
            content: dict[str, object] = {"writes": {f"thing/{self.random.randint(1, 5)}": {"n": 1}}}
            if timers and self.random.random() < 0.5:
                key = f"timer/T1/thing/{self.random.randint(1, 5)}"
                content["timers"] = {key: now + self.random.randint(1, 20_000)}
            events.append(
                new_event(
                    event_id=uuid7_at(now, self.random.randbytes(10)),
                    kind="test.event",
                    refs={"thing": f"t{self.random.randint(1, 4)}"},
                    time_ms=now,
                    salt=self.random.randbytes(16),
                    content=content,
                )
            )
        member = self.random.choice(sorted(head.registry.members))
        stale = self.random.random() < 0.1
        key = self.random.choice(self.keys.all(member)) if stale else self.keys.current(head, member)
        return new_submission(self.origin, member, key, events)

    def hostile(self, head: Head, now: int) -> list[bytes]:
        """What a Byzantine proposer might put into a block."""
        submission = self.submission(head, now, timers=False)
        forged = Submission(
            submission.origin,
            submission.member,
            submission.key_id,
            submission.events,
            bytes(64),
            submission.root,
            submission.identity,
        )
        good = encode_transaction(bytes(8), [framing.encode(submission)])
        return self.random.choice(
            [
                [b""],
                [b"\x94\x01"],
                [good[:-1]],
                [good, self.random.randbytes(50)],
                [encode_transaction(bytes(8), [framing.encode(forged)])],
                [encode_transaction(bytes(8), [framing.encode(submission)], {sha256(b"x"): b"{}"})],
            ]
        )


def may_sign(registry: Registry, submission: Submission, height: int) -> bool:
    """Whether a submission's signer is a member in good standing with a key for events."""
    member, key = registry.members.get(submission.member), registry.keys.get(submission.key_id)
    if member is None or member.status or key is None:
        return False
    return key.use == EVENT and key.from_height <= height and (key.until_height is None or height <= key.until_height)
