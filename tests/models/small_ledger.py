"""A small ledger made by the book: a few blocks, their leaves, streams and state, recomputed whole at each height.

It decides nothing by rules (the caller says each outcome) and hands out proofs of every kind at its last checkpoint.
Roots come from `reference_map`, so a proof that verifies has been judged by two programs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ledger.core import merkle
from ledger.core.buckets import bucket_index
from ledger.core.checkpoint import Checkpoint, encode_checkpoint
from ledger.core.config import Config
from ledger.core.cosignature import sign_cosignature
from ledger.core.event import Event, new_event
from ledger.core.genesis import Genesis, Predecessor, new_genesis
from ledger.core.hashing import Digest
from ledger.core.header import Header, encode_header
from ledger.core.ident import uuid7_at
from ledger.core.keys import Ed25519Signer
from ledger.core.leaf import Record, Stream, TimerLeaf, encode_record, encode_timer, timer_streams
from ledger.core.mapkeys import (
    config_key,
    key_hash,
    key_key,
    next_blind,
    object_key,
    object_value,
    stream_key,
    value_hash,
)
from ledger.core.mapproof import MapProof, prove_map
from ledger.core.note import encode_note, sign_note
from ledger.core.proof import (
    Absence,
    Completeness,
    EntryProof,
    History,
    Receipt,
    Registration,
    StateProof,
    StreamName,
    StreamState,
    SubmissionPart,
)
from ledger.core.registry import KeyEntry, genesis_registry
from ledger.core.stream import event_streams
from ledger.core.submission import Submission, new_submission, prove_event
from tests.models.reference_map import ReferenceMap, ReferenceStream, bucket_data, tree_root

TIME_MS = 1_795_248_000_000
MEMBERS = ("ba", "fa", "ga", "ma")
ACCEPTED = b'{"outcome":"accepted"}'
REFUSED = b'{"outcome":"refused","reasons":[["R1","shape",{}]]}'


def digest(text: str) -> Digest:
    """The SHA-256 of a text."""
    return Digest(hashlib.sha256(text.encode()).digest())


def signer(member: str, use: str) -> Ed25519Signer:
    """The one key of a member for a use."""
    return Ed25519Signer(digest(f"{member} {use}"))


def make_genesis(name: str = "demo", continues: Predecessor | None = None) -> Genesis:
    """Four members, each with an event and a cosigning key; `ba` orders."""
    uses = {member: ["cosign", "event", *(["log"] if member == "ba" else [])] for member in MEMBERS}
    keys = {member: {use: signer(member, use) for use in uses[member]} for member in MEMBERS}
    return new_genesis(
        name=name,
        time=TIME_MS,
        members=[
            {
                "attributes": {},
                "id": member,
                "keys": [
                    {"algorithm": 1, "public": key.public.raw.hex(), "roles": [], "use": use}
                    for use, key in keys[member].items()
                ],
                "roles": ["department"],
                "title": {"en": member, "zh": member},
            }
            for member in MEMBERS
        ],
        rulebook=digest("rulebook"),
        calendar=digest("calendar"),
        sign={key.public.raw.hex(): key for each in keys.values() for key in each.values()},
        continues=continues,
    )


@dataclass
class Joined:
    """A leaf with what belongs to it."""

    seq: int
    leaf: bytes
    event: Event | None = None
    submission: Submission | None = None
    place: int = 0

    @property
    def hash(self) -> Digest:
        """RFC 6962 leaf hash."""
        return merkle.leaf_hash(self.leaf)


@dataclass
class SmallLedger:
    """Grows by `block`; `fill` adds state keys, `ground` of them all in the bucket of one stream."""

    genesis: Genesis = field(default_factory=make_genesis)
    epoch: int = 0

    def __post_init__(self) -> None:
        self.leaves: list[bytes] = []
        self.map = ReferenceMap()
        self.values: dict[bytes, bytes] = {}
        self.streams: dict[StreamName, tuple[ReferenceStream, list[Joined]]] = {}
        self.time = TIME_MS
        self.height = 0
        self.numbers = 0
        cosigners = tuple((member, key.public.key_id) for member, key in self.genesis.keys("cosign"))
        self.config = Config(
            digest("rulebook"), digest("calendar"), digest("program"), 1, {}, cosigners, cosigners, self.epoch
        )
        blind = next_blind(None, self.genesis.hash)
        self.put(config_key(), object_value(blind, self.config.encode()))
        for key_id, entry in genesis_registry(self.genesis).keys.items():
            self.put(key_key(key_id), object_value(blind, entry.encode()))
        self._close(0)

    @property
    def origin(self) -> str:
        """The network's origin."""
        return self.genesis.origin

    def add_log_key(self, key: Ed25519Signer) -> None:
        """Register a key for ordering; the state of the next block holds it."""
        blind = next_blind(None, digest("a vote"))
        value = object_value(blind, KeyEntry("ba", key.public, "log", (), self.height).encode())
        self.put(key_key(key.public.key_id), value)

    def put(self, key: bytes, value: bytes) -> None:
        """Set a map value."""
        self.values[key] = value
        self.map.write({key_hash(key): value_hash(value)})

    def event(self, **parts: object) -> Event:
        """The next event, about dataset `ga/hukou` unless `parts` say otherwise."""
        self.numbers += 1
        seed = digest(f"event {self.numbers}")
        given = {
            "event_id": uuid7_at(self.time + self.numbers, seed[:10]),
            "kind": "use.access",
            "refs": {"dataset": "ga/hukou"},
            "time_ms": self.time,
            "salt": seed[:16],
            "content": {"n": self.numbers},
        }
        return new_event(**{**given, **parts})

    def block(
        self,
        member: str = "ga",
        events: Sequence[Event] = (),
        *,
        refused: bool = False,
        extra: tuple[Stream, ...] = (),
        timers: Sequence[str] = (),
        key: Ed25519Signer | None = None,
        alter: Callable[[Record], Record] = lambda record: record,
    ) -> list[Joined]:
        """One block: `timers` that fired, then one submission of `events` by `key`, all decided alike.

        `alter` makes records that no honest ledger holds.
        """
        self.height += 1
        self.time += 1000
        first, joined = len(self.leaves), []
        for timer in timers:
            leaf = encode_timer(TimerLeaf(self.height, self.time, timer, ACCEPTED, extra))
            entry = Joined(first + len(joined), leaf)
            joined.append(entry)
            self._join(entry, [StreamName(*name) for name in (*timer_streams(timer), *extra)])
        submission = new_submission(self.origin, member, key or signer(member, "event"), events) if events else None
        for place, event in enumerate(events):
            record = Record(
                self.height, member, event.id, event.hash, submission.identity, submission.key_id,
                REFUSED if refused else ACCEPTED, extra,
            )  # fmt: skip
            entry = Joined(first + len(joined), encode_record(alter(record)), event, submission, place)
            joined.append(entry)
            names = [StreamName(*name, refused) for name in event_streams(member, event.fields)]
            names += [StreamName(*name) for name in extra if StreamName(*name) not in names]
            self._join(entry, names)
        self.leaves += [entry.leaf for entry in joined]
        for name, (stream, _) in self.streams.items():
            self.put(stream_key(name.kind, name.id, name.refused), stream.value())
        self._close(len(joined))
        return joined

    def _join(self, entry: Joined, names: Sequence[StreamName]) -> None:
        touch = entry.event.hash if entry.event is not None else entry.hash
        for name in names:
            stream, entries = self.streams.setdefault(name, (ReferenceStream(), []))
            stream.join([entry.seq], [entry.hash], self.time, [touch])
            entries.append(entry)

    def fill(self, count: int, *, into: bytes | None = None) -> None:
        """Add state objects; with `into`, ones that fall into the bucket of that key while there are ≤ 128 buckets."""
        number = 0
        while count:
            number += 1
            key = object_key(f"filler/{len(self.values)}-{number}")
            if into is None or bucket_index(key_hash(key), 256) == bucket_index(key_hash(into), 256):
                self.put(key, b"filler")
                count -= 1

    def _close(self, count: int) -> None:
        root, size = self.root(), len(self.leaves) - count
        header = Header(
            height=self.height,
            time=self.time,
            first_seq=size,
            count=count,
            prev_size=size,
            prev_root=self.root(size),
            state_root=Digest(self.map.root()),
            state_buckets=self.map.n,
            state_keys=len(self.map.pairs),
            config=self.config.hash,
            genesis=None if self.height else self.genesis.hash,
        )
        assert root == self.root(len(self.leaves))
        self.leaves.append(encode_header(header))

    # --- the log --------------------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Leaves so far."""
        return len(self.leaves)

    def hashes(self, size: int | None = None) -> list[Digest]:
        """Leaf hashes."""
        return [merkle.leaf_hash(leaf) for leaf in self.leaves[:size]]

    def root(self, size: int | None = None) -> Digest:
        """Root of the first `size` leaves."""
        return Digest(tree_root(self.hashes(size)))

    def inclusion(self, index: int, size: int | None = None) -> tuple[Digest, ...]:
        """Inclusion path in the log."""
        return inclusion(self.hashes(size), index)

    def consistency(self, old: int) -> tuple[Digest, ...]:
        """Path from the tree of `old` leaves to the one of now."""
        return tuple(merkle.prove_consistency(old, self.size, nodes_of(self.hashes())))

    def note(
        self, size: int | None = None, *, root: Digest | None = None, by: Sequence[str] = MEMBERS[:3], time_s: int = 0
    ) -> bytes:
        """The checkpoint signed by the orderer and the cosigners `by`, one second apart."""
        size = self.size if size is None else size
        text = encode_checkpoint(Checkpoint(self.origin, size, root or self.root(size)))
        lines = [sign_note(text, self.origin, signer("ba", "log"))]
        start = time_s or self.now_s
        lines += [sign_cosignature(text, name, signer(name, "cosign"), start + at) for at, name in enumerate(by)]
        return encode_note(text, lines)

    @property
    def now_s(self) -> int:
        """The second of the last block."""
        return self.time // 1000

    # --- proofs ---------------------------------------------------------------------------------------------------------

    def map_proof(self, key: bytes) -> MapProof:
        """The proof about a map key."""
        buckets = self.map.buckets()
        index = self.map.index(key_hash(key))
        leaf_hashes = [merkle.leaf_hash(bucket_data(packed)) for packed in buckets]
        return prove_map(key_hash(key), buckets[index], inclusion(leaf_hashes, index))

    def state_proof(self, history: History | None = None) -> StateProof:
        """Certificate, header and config of now."""
        return StateProof(self.note(), self.leaves[-1], self.inclusion(self.size - 1), self.config.encode(), history)

    def receipt(self, entry: Joined, *, body: bool = True, registered: bool = True, **parts: object) -> Receipt:
        """The receipt of a record."""
        event, submission = entry.event, entry.submission
        part = SubmissionPart(
            entry.place,
            len(submission.events),
            submission.root,
            tuple(prove_event(submission, entry.place)),
            submission.signature,
        )
        state, key = self.state_proof(), key_key(submission.key_id)
        registration = Registration(state.header, state.path, state.config, self.values[key], self.map_proof(key))
        given: dict[str, object] = {
            "certificate": state.certificate,
            "head": event.head,
            "body": event.body if body else None,
            "body_hash": None if body else Digest(hashlib.sha256(event.body).digest()),
            "submission": part,
            "index": entry.seq,
            "record": entry.leaf,
            "path": self.inclusion(entry.seq),
            "registration": registration if registered else None,
        }
        return Receipt(**{**given, **parts})

    def stream_state(self, name: StreamName) -> StreamState:
        """Value or absence of a stream."""
        key = stream_key(name.kind, name.id, name.refused)
        return StreamState(self.map_proof(key), self.values.get(key))

    def completeness(
        self,
        name: StreamName,
        begin: int = 0,
        end: int | None = None,
        levels: Sequence[str] = ("full",),
        **parts: object,
    ) -> Completeness:
        """All entries [begin, end) of a stream, shown at the `levels` in turn."""
        entries = self.streams[name][1] if name in self.streams else []
        end = len(entries) if end is None else end
        nodes = nodes_of([entry.hash for entry in entries])
        given = {
            "state": self.state_proof(),
            "stream": name,
            "stream_state": self.stream_state(name),
            "begin": begin,
            "end": end,
            "path": tuple(merkle.prove_range(begin, end, len(entries), nodes)),
            "entries": tuple(shown(entry, levels[at % len(levels)]) for at, entry in enumerate(entries[begin:end])),
        }
        return Completeness(**{**given, **parts})

    def absence(self, kind: str, identifier: str) -> Absence:
        """That there is no such stream."""
        plain = self.map_proof(stream_key(kind, identifier, refused=False))
        return Absence(
            self.state_proof(), kind, identifier, plain, self.stream_state(StreamName(kind, identifier, refused=True))
        )


def shown(entry: Joined, level: str) -> EntryProof:
    """An entry as it is shown at a level."""
    if level == "hash":
        return EntryProof(leaf_hash=entry.hash)
    if level == "record" or entry.event is None:
        return EntryProof(entry.leaf)
    if level == "head":
        body_hash = Digest(hashlib.sha256(entry.event.body).digest())
        return EntryProof(entry.leaf, entry.event.head, body_hash=body_hash)
    return EntryProof(entry.leaf, entry.event.head, entry.event.body)


def nodes_of(leaf_hashes: Sequence[Digest]) -> dict[tuple[int, int], Digest]:
    """Every complete node of a tree."""
    return {
        (level, index): Digest(tree_root(list(leaf_hashes[index << level : (index + 1) << level])))
        for level in range(len(leaf_hashes).bit_length())
        for index in range(len(leaf_hashes) >> level)
    }


def inclusion(leaf_hashes: Sequence[Digest], index: int) -> tuple[Digest, ...]:
    """Inclusion path of one leaf."""
    return tuple(merkle.prove_inclusion(index, len(leaf_hashes), nodes_of(leaf_hashes)))
