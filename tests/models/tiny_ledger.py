"""A small ledger for auditors to read and to break: real keys, cosigners, certificates, verdicts, timers and conflicts.

It runs the machine over the memory store with the accept-all rulebook and keeps everything that an export would hold.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ledger.adapters.memory import MemoryStore
from ledger.app import Application
from ledger.blockcodec import BlockData, encode_block, from_submission
from ledger.core import canonical
from ledger.core.checkpoint import Checkpoint, encode_checkpoint
from ledger.core.config import Config
from ledger.core.cosignature import sign_cosignature
from ledger.core.event import Event, new_event
from ledger.core.genesis import Genesis, new_genesis
from ledger.core.hashing import Digest, sha256
from ledger.core.ident import uuid7_at
from ledger.core.keys import CONSENSUS, COSIGN, EVENT, LOG, P2P, Ed25519Signer
from ledger.core.maptree import MapTree
from ledger.core.note import encode_note, sign_note
from ledger.core.submission import Submission, new_submission
from ledger.errors import NotFoundError
from ledger.machine.block import BlockInput, Sealed
from ledger.machine.seal import seal_genesis
from ledger.verify.replay import LoadedRules
from ledger.verify.source import MemoryPiece, NativeEntry, PieceData
from tests.models.accept_all import AcceptAllRules, AcceptAllRuntime

START_MS = 1_790_000_000_000
MEMBERS = ("ga", "gx", "mz", "wj")
BUNDLES = {sha256(b"rulebook"): b"rulebook bytes", sha256(b"calendar"): b"calendar bytes"}


def signer(member: str, use: str) -> Ed25519Signer:
    """The key of a member for one use."""
    return Ed25519Signer(sha256(f"{use} key of {member}".encode()))


def make_genesis(
    name: str = "tiny.example",
    clock: str = "wall",
    authorities: Sequence[str] = (),
    validators: Sequence[str] = (),
    bundles: tuple[Digest, Digest] = (sha256(b"rulebook"), sha256(b"calendar")),
) -> Genesis:
    """Four members with an event and a cosign key each; the first orders events, or `validators` do in CometBFT."""
    members: list[dict[str, Any]] = []
    sign: dict[str, Any] = {}
    for member in MEMBERS:
        uses = [EVENT, COSIGN, *([LOG] if member in (MEMBERS[0], *validators) else [])]
        uses += [CONSENSUS, P2P] if member in validators else []
        signers = [(signer(member, use), use) for use in uses]
        if member == MEMBERS[1]:
            signers.append((signer(member, "second"), EVENT))
        sign.update({each.public.raw.hex(): each for each, _ in signers})
        members.append(
            {
                "attributes": {},
                "id": member,
                "keys": [
                    {"algorithm": 1, "public": each.public.raw.hex(), "use": use, "roles": ["system"]}
                    for each, use in signers
                ],
                "roles": ["authority", "department"] if member in authorities else ["department"],
                "title": {"en": f"Department {member}", "zh": f"部门{member}"},
            }
        )
    return new_genesis(
        name=name,
        time=START_MS,
        members=members,
        rulebook=bundles[0],
        calendar=bundles[1],
        sign=sign,
        clock=clock,
        engine="cometbft" if validators else "sequencer",
    )


def make_config(genesis: Genesis) -> Config:
    """The config of block 0 under the accept-all rulebook."""
    cosigners = tuple((member, key.public.key_id) for member, key in genesis.keys(COSIGN))
    return Config(genesis.rulebook, genesis.calendar, sha256(b"program"), 1, genesis.parameters, cosigners, cosigners)


def load_rules(genesis: Genesis, _bundle: Callable[[Digest], bytes]) -> LoadedRules:
    """The accept-all rulebook as an auditor loads it."""
    return LoadedRules(make_config(genesis), AcceptAllRules(), AcceptAllRuntime())


@dataclass
class TinyLedger:
    """Blocks with notes and certificates, made by a real application."""

    genesis: Genesis = field(default_factory=make_genesis)
    seed: int = 1
    blocks: list[BlockData] = field(default_factory=list)
    certificates: list[tuple[int, bytes]] = field(default_factory=list)
    sealed: list[Sealed] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.store = MemoryStore()
        sealed, _ = seal_genesis(self.genesis, make_config(self.genesis), MapTree.empty())
        self.store.write_genesis(self.genesis.data, BUNDLES, sealed, b"")
        self.app = Application(self.store, lambda _store, _head: (AcceptAllRules(), AcceptAllRuntime()))
        self._keep(sealed, (), b"")

    @property
    def origin(self) -> str:
        """The network's name."""
        return self.genesis.origin

    @property
    def now_ms(self) -> int:
        """A clock right after the last block."""
        return self.app.head.time + 1_000

    def event(self, kind: str = "test.event", refs: dict[str, Any] | None = None, **content: Any) -> Event:
        """A new event at the head's time."""
        when = self.app.head.time
        subjects = content.pop("data_subjects", ())
        return new_event(
            event_id=content.pop("event_id", None) or uuid7_at(when, self.random.randbytes(10)),
            kind=kind,
            refs=refs or {},
            time_ms=when,
            salt=self.random.randbytes(16),
            content=content,
            data_subjects=subjects,
        )

    def submission(self, member: str, events: Sequence[Event], use: str = EVENT) -> Submission:
        """The events signed by a member."""
        return new_submission(self.origin, member, signer(member, use), events)

    def block(self, *submissions: Submission, ms: int = 1_000, attachments: tuple[bytes, ...] = ()) -> Sealed:
        """Decide, seal and keep a block."""
        time = self.app.head.time + ms
        sealed = self.app.finalize(BlockInput(self.app.head.height + 1, time, submissions, attachments))
        note = self.log_note(sealed.size, sealed.root)
        self.app.commit(note)
        self._keep(sealed, submissions, note, attachments)
        return sealed

    def log_note(self, size: int, root: Digest) -> bytes:
        """The log-signed note of a checkpoint."""
        text = encode_checkpoint(Checkpoint(self.origin, size, root))
        return encode_note(text, [sign_note(text, self.origin, signer(MEMBERS[0], LOG))])

    def certify(self, members: Sequence[str] = MEMBERS[:3], time_s: int | None = None) -> bytes:
        """Certify the head by these members; keeps and returns the note."""
        head = self.app.head
        size, root = head.size, head.log.root()
        text = encode_checkpoint(Checkpoint(self.origin, size, root))
        when = head.time // 1000 + 1 if time_s is None else time_s
        lines = [sign_note(text, self.origin, signer(MEMBERS[0], LOG))]
        lines.extend(sign_cosignature(text, member, signer(member, COSIGN), when) for member in members)
        note = encode_note(text, lines)
        self.certificates.append((size, note))
        return note

    def state(self) -> list[tuple[bytes, bytes]]:
        """All rows of the state map."""
        return [(key, row.value) for key, row in self.store.memory.rows.items()]

    def source(self, **changes: Any) -> TinySource:
        """This ledger as an auditor's source."""
        parts: dict[str, Any] = {
            "genesis_data": self.genesis.data,
            "encoded": [encode_block(block) for block in self.blocks],
            "notes": [note for _, note in self.certificates],
            "rows": None,
        }
        return TinySource(**{**parts, **changes})

    def _keep(
        self, sealed: Sealed, submissions: Sequence[Submission], note: bytes, attachments: tuple[bytes, ...] = ()
    ) -> None:
        data = tuple(from_submission(each) for each in submissions)
        leaves = tuple(sealed.leaves)
        self.blocks.append(BlockData(sealed.height, sealed.header.time, data, attachments, leaves, note))
        self.sealed.append(sealed)


@dataclass
class TinySource:
    """`LedgerSource` over values; `blocks_a_piece` blocks are given together, certificates with the piece they follow."""

    genesis_data: bytes
    encoded: list[bytes]
    notes: list[bytes]
    rows: list[tuple[bytes, bytes]] | None = None
    bundles: dict[Digest, bytes] = field(default_factory=lambda: dict(BUNDLES))
    blocks_a_piece: int = 3
    claimed_head: tuple[int, int] | None = None
    native_entries: Sequence[NativeEntry] = ()
    name: str = "tiny"
    is_live: bool = False

    def genesis(self) -> bytes:
        """See `LedgerSource`."""
        return self.genesis_data

    def bundle(self, digest: Digest) -> bytes:
        """See `LedgerSource`."""
        if digest not in self.bundles:
            raise NotFoundError("bundle", "no such bundle", digest=digest)
        return self.bundles[digest]

    def pieces(self) -> Iterator[MemoryPiece]:
        """See `LedgerSource`; all certificates come with the last piece."""
        count = max(1, -(-len(self.encoded) // self.blocks_a_piece))
        for number in range(count):
            blocks = self.encoded[number * self.blocks_a_piece : (number + 1) * self.blocks_a_piece]
            notes = self.notes if number == count - 1 else []
            yield MemoryPiece(f"piece {number}", PieceData(blocks, notes))

    def head(self) -> tuple[int, int] | None:
        """See `LedgerSource`."""
        return self.claimed_head

    def state(self) -> list[tuple[bytes, bytes]] | None:
        """See `LedgerSource`."""
        return self.rows

    def natives(self) -> Iterator[NativeEntry]:
        """See `LedgerSource`."""
        return iter(self.native_entries)

    def inspect(self) -> Iterator[Any]:
        """See `LedgerSource`."""
        return iter(())


def tiny_ledger(genesis: Genesis | None = None) -> TinyLedger:
    """Eight blocks with everything that a block can hold, certified twice."""
    ledger = TinyLedger(genesis or make_genesis())
    first = ledger.event(refs={"dataset": "ga/hukou"}, writes={"thing/a": {"n": 1}}, streams=[["finding", "x"]])
    ledger.block(ledger.submission("ga", [first, ledger.event(refs={"dataset": "ga/hukou", "grant": ["g/1", "g/2"]})]))
    ledger.block(
        ledger.submission("gx", [ledger.event(refuse=True, refs={"dataset": "ga/hukou"})]),
        ledger.submission("mz", [ledger.event(data_subjects=["t:9f"], timers={"timer/a3/thing/a": START_MS + 9_000})]),
    )
    ledger.certify()
    ledger.block(ledger.submission("ga", [first]), ms=10)  # a duplicate: no leaf
    ledger.block(ledger.submission("ga", [ledger.event(event_id=first.id, note="another body")]), ms=10)  # a conflict
    ledger.block(ms=12_000)  # the timer fires
    revoke = ledger.event("sys.key.revoke", {"member": "gx", "key": signer("gx", "second").public.key_id.hex()})
    ledger.block(
        ledger.submission("gx", [ledger.event(writes={"thing/a": {"n": 2}, "thing/b": {"n": 1}})], "second"),
        ledger.submission("gx", [revoke]),
    )
    ledger.block(ledger.submission("gx", [ledger.event(writes={"thing/b": None}, note="好")]))
    ledger.certify(MEMBERS)
    return ledger


__all__ = ["TinyLedger", "TinySource", "canonical", "load_rules", "make_config", "tiny_ledger"]
