"""A rulebook that does what the event's body says, and a small network that runs on it: the store's tests need no rules.

Body fields that have an effect: `writes` {state key: object or null}, `timers` {timer key: due or null}, `streams`
[[kind, id]] (extra streams of the verdict), `refuse` true. Everything else is accepted and ignored.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ledger.app import Application
from ledger.core import canonical
from ledger.core.bundle import bundle_hash, encode_bundle
from ledger.core.checkpoint import Checkpoint, encode_checkpoint
from ledger.core.config import Config
from ledger.core.event import Event, new_event
from ledger.core.genesis import Genesis, new_genesis
from ledger.core.hashing import Digest, sha256
from ledger.core.ident import uuid7_at
from ledger.core.keys import EVENT, LOG, Ed25519Signer
from ledger.core.maptree import MapTree
from ledger.core.note import encode_note, sign_note
from ledger.core.submission import Submission, new_submission
from ledger.errors import MalformedError
from ledger.machine.block import BlockInput, Sealed
from ledger.machine.seal import seal_genesis
from ledger.ports import Store

START_MS = 1_790_000_000_000
MEMBERS = ("ga", "gx", "mz")
RULEBOOK = {"rules/accept.py": b"# accepts everything\n"}
CALENDAR = {"2026.json": b"{}"}


class AcceptAllRules:
    """Plans what bodies name."""

    def plan(self, member: str, head: Mapping[str, Any], body: Mapping[str, Any]) -> Sequence[str]:
        return [*body.get("writes", {}), *body.get("timers", {})]

    def plan_timer(self, timer: Mapping[str, Any]) -> Sequence[str]:
        return ()

    def successor(
        self, rulebook: Mapping[str, bytes] | None, calendar: Mapping[str, bytes] | None, steps: int | None = None
    ) -> tuple[Digest, int]:
        """The program of a bundle is named by its files alone, that in force is one under every budget; one with a file
        `broken` does not compile."""
        if steps is not None:
            return sha256(b"program"), 1
        files = {**(rulebook or {}), **(calendar or {})}
        if "broken" in files:
            raise MalformedError("rulebook", "does not compile")
        return bundle_hash(files), 1


class AcceptAllRuntime:
    """Answers at once; a fired timer deletes itself."""

    def start(self, call: dict[str, Any]) -> None:
        self._outcomes = self.run_block(call)

    def result(self) -> list[Any]:
        return self._outcomes

    def run_block(self, call: dict[str, Any]) -> list[Any]:
        outcomes: list[Any] = []
        for number, step in enumerate(call["steps"]):
            if step[0] == 1:
                writes = [[step[1], b""]]
                outcomes.append([number, step[1], step[2], b'{"outcome":"accepted"}', 1, False, [], writes, []])
                continue
            body = canonical.parse(step[5])
            refused = body.get("refuse", False)
            timers = [] if refused else [[key, due] for key, due in body.get("timers", {}).items()]
            writes = []
            if not refused:
                writes = [[k, canonical.encode(v) if v is not None else b""] for k, v in body.get("writes", {}).items()]
                writes += [[k, b"" if due is None else canonical.encode({"due": due})] for k, due in timers]
            verdict = b'{"outcome":"refused"}' if refused else b'{"outcome":"accepted"}'
            streams = body.get("streams", [])
            outcomes.append([number, None, None, verdict, 0 if refused else 1, refused, streams, writes, timers])
        return outcomes

    def close(self) -> None:
        pass


def event_signer(member: str) -> Ed25519Signer:
    return Ed25519Signer(sha256(f"event key of {member}".encode()))


def log_signer() -> Ed25519Signer:
    return Ed25519Signer(sha256(b"log key"))


def make_genesis() -> Genesis:
    """Three members; the first orders events."""
    members = []
    sign = {}
    for member in MEMBERS:
        signers = [(event_signer(member), EVENT)] + ([(log_signer(), LOG)] if member == MEMBERS[0] else [])
        keys = [
            {"algorithm": s.public.algorithm, "public": s.public.raw.hex(), "use": use, "roles": ["system"]}
            for s, use in signers
        ]
        sign.update({s.public.raw.hex(): s for s, _ in signers})
        title = {"en": f"Department {member}", "zh": f"部门{member}"}
        members.append({"attributes": {}, "id": member, "keys": keys, "roles": ["department"], "title": title})
    return new_genesis(
        name="test.example",
        time=START_MS,
        members=members,
        rulebook=bundle_hash(RULEBOOK),
        calendar=bundle_hash(CALENDAR),
        sign=sign,
    )


def genesis_config(genesis: Genesis) -> Config:
    return Config(
        rulebook=genesis.rulebook,
        calendar=genesis.calendar,
        program=sha256(b"program"),
        language=1,
        parameters=genesis.parameters,
        cosigners=(),
        next_cosigners=(),
    )


def log_note(origin: str, size: int, root: Digest) -> bytes:
    text = encode_checkpoint(Checkpoint(origin, size, root))
    return encode_note(text, [sign_note(text, origin, log_signer())])


GENESIS = make_genesis()
BUNDLES = {GENESIS.rulebook: encode_bundle(RULEBOOK), GENESIS.calendar: encode_bundle(CALENDAR)}


class Network:
    """One application over a store, fed with blocks; `sealed` holds every block that was committed."""

    def __init__(self, store: Store, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.sealed: list[Sealed] = []
        self.submissions: list[list[Submission]] = []
        self.notes: list[bytes] = []
        if store.load_head() is None:
            sealed, _ = seal_genesis(GENESIS, genesis_config(GENESIS), MapTree.empty())
            note = log_note(GENESIS.origin, sealed.size, sealed.root)
            store.write_genesis(GENESIS.data, BUNDLES, sealed, note)
            self.sealed.append(sealed)
            self.submissions.append([])
            self.notes.append(note)
        self.reopen(lambda: store)

    def reopen(self, make: Callable[[], Store]) -> None:
        """Take another store, as after a crash."""
        self.store = make()
        self.app = Application(self.store, lambda _store, _head: (AcceptAllRules(), AcceptAllRuntime()))

    @property
    def time(self) -> int:
        return self.app.head.time

    def event(
        self,
        *,
        time: int | None = None,
        refs: Mapping[str, Any] | None = None,
        event_id: str | None = None,
        **content: Any,
    ) -> Event:
        """An event at `time` (default: the head's)."""
        when = self.time if time is None else time
        return new_event(
            event_id=event_id or uuid7_at(when, self.random.randbytes(10)),
            kind="test.event",
            refs=refs or {},
            time_ms=when,
            salt=self.random.randbytes(16),
            content=content,
        )

    def submission(self, member: str, events: Sequence[Event]) -> Submission:
        return new_submission(GENESIS.origin, member, event_signer(member), events)

    def seal(self, submissions: Sequence[Submission] = (), *, ms: int = 1_000) -> tuple[Sealed, bytes]:
        """Decide and seal a block without writing it, and its note."""
        block = BlockInput(self.app.head.height + 1, self.time + ms, tuple(submissions))
        sealed = self.app.finalize(block)
        return sealed, log_note(GENESIS.origin, sealed.size, sealed.root)

    def block(self, submissions: Sequence[Submission] = (), *, ms: int = 1_000) -> Sealed:
        """Decide, seal and commit a block."""
        sealed, note = self.seal(submissions, ms=ms)
        self.app.commit(note)
        self.sealed.append(sealed)
        self.submissions.append(list(submissions))
        self.notes.append(note)
        return sealed
