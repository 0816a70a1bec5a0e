"""The only module that builds adapters and application: one running node from its settings.

Start order: keys and state, the store (head re-verified), the engine, cosignatures, peers. A sequencer opens for writing
only after more than two thirds of the cosigners were heard and every block it ever signed is executed again (SPEC R-Q30).
Not here: HTTP (see `http`).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event as Flag
from threading import Thread

from ledger.adapters import datadir
from ledger.adapters.certificates import CertificateBook, Certified
from ledger.adapters.clock import ScenarioClock, WallClock
from ledger.adapters.cosigner import Cosigner
from ledger.adapters.engine import Engine, log_note
from ledger.adapters.evidence import keep_evidence
from ledger.adapters.follower import Follower
from ledger.adapters.forward import Forwarder
from ledger.adapters.layers import Layers, StateAt
from ledger.adapters.peers import NotePoller, Peer
from ledger.adapters.recovery import recover
from ledger.adapters.sequencer import Committed, Sequencer
from ledger.adapters.signerstate import SignerState
from ledger.adapters.sqlite.reader import SqliteReader
from ledger.adapters.sqlite.store import SqliteStore
from ledger.app import Application
from ledger.blockcodec import BlockData, from_submission
from ledger.core import merkle
from ledger.core.config import Config
from ledger.core.genesis import Genesis
from ledger.core.hashing import Digest
from ledger.core.keys import Signer
from ledger.core.quorum import verify_certificate
from ledger.core.registry import Registry
from ledger.core.submission import Submission
from ledger.errors import FatalError, ForkError, LedgerError, NotFoundError, RejectedError, UnavailableError
from ledger.machine.block import Head, Sealed
from ledger.rules.program import Program

SEQUENCER, FOLLOWER, OBSERVER = "sequencer", "follower", "observer"
WATCH_S = 3.0  # how often a follower looks at another follower's note
RECENT_BLOCKS = 16  # kept for followers, which ask for the newest blocks only
PROPOSE_S = 0.05  # how often an ordering node looks whether it may propose a newer checkpoint


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """What a node needs to start.

    `signers` are event keys of members by member id; `cosign_signer` and `log_signer` the node's own keys.
    `peers` are the other nodes' addresses, the sequencer's first. `runtime` is worker or inline.
    """

    data_dir: Path
    role: str
    peers: tuple[str, ...] = ()
    signers: Mapping[str, Signer] = field(default_factory=dict)
    cosign_signer: Signer | None = None
    log_signer: Signer | None = None
    runtime: str = "worker"
    recover_wait_s: float = 60.0


class Node:
    """One running node; every public method is thread-safe. Raises `FatalError` when it may not open."""

    def __init__(self, options: NodeOptions) -> None:
        self.options, self.role = options, options.role
        path = options.data_dir / datadir.DATABASE
        store = SqliteStore.open(path)
        self.app = Application(store, datadir.load_rules(options.runtime))
        self.reader = SqliteReader(path)
        self.genesis: Genesis = self.app.genesis
        self.origin = self.app.origin
        self.observing = ""
        self.evidence = options.data_dir / datadir.EVIDENCE
        self.peers = [Peer(url) for url in options.peers]
        self.layers = Layers(self.app.tree)
        self.clock = self._make_clock()
        registry = self.registry
        self.certificates = CertificateBook(
            self.origin,
            registry.log_keys(),
            registry.cosigner_keys(self.config.cosigners),
            None if self.role == SEQUENCER or options.cosign_signer is None else options.cosign_signer.public.key_id,
        )
        self.certificates.on_certified.append(self._certified)
        self.engine: Engine = self._make_engine()
        self.engine.on_sealed.append(self.layers.sealed)
        self.engine.on_commit.append(self._committed)
        self.cosigner = self._make_cosigner()
        if self.cosigner is None:
            self.certificates.observe()
        # What is proposed comes from the ordering node; other peers are watched for a second history.
        pauses = [0.0 if self.role == SEQUENCER or number == 0 else WATCH_S for number in range(len(self.peers))]
        self.pollers = [
            NotePoller(peer, self._peer_note, self._peer_error, pause)
            for peer, pause in zip(self.peers, pauses, strict=True)
        ]
        self.alarms: dict[str, str] = {}
        self.published = self.app.head.height
        self._recent: OrderedDict[int, tuple[Sealed, bytes]] = OrderedDict()
        self._forward = Forwarder(self.peers[0]) if self.role != SEQUENCER and self.peers else None
        self._closing = Flag()
        self._writable = Flag()
        self._threads = [Thread(target=self._open, name="open", daemon=True)]

    # --- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start everything; returns at once. `ready` says when the node takes part."""
        self._restore_certificate()
        for poller in self.pollers:
            poller.start()
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop gracefully: what was accepted is written, then everything is closed. Idempotent."""
        if self._closing.is_set():
            return
        self._closing.set()
        for poller in self.pollers:
            poller.close()
        if self.cosigner is not None:
            self.cosigner.close()
        if self._forward is not None:
            self._forward.close()
        self.engine.close()
        self.reader.close()

    def _open(self) -> None:
        """Recover what this node signed before, then write, cosign and propose."""
        try:
            if isinstance(self.engine, Sequencer):
                recover(
                    self.app,
                    self.peers,
                    self._log_state(),
                    self.certificates,
                    self.options.recover_wait_s,
                    self._closing,
                )
                self.published = self.app.head.height
                self._propose_head()
            if self._closing.is_set():
                return
            self.engine.start()
            if self.cosigner is not None:
                self.cosigner.start()
            self._writable.set()
        except LedgerError as error:
            self.engine.failure = error
            self.alarms["open"] = str(error)
            return
        while isinstance(self.engine, Sequencer) and not self._closing.wait(PROPOSE_S):
            self.certificates.propose()

    # --- building ----------------------------------------------------------------------------------------------------

    def _make_clock(self) -> WallClock | ScenarioClock:
        return ScenarioClock(self.app.head.time) if self.genesis.clock == "scenario" else WallClock()

    def _make_engine(self) -> Engine:
        if self.role != SEQUENCER:
            return Follower(self.app, self.peers, self.registry.log_keys(), self.evidence)
        if self.options.log_signer is None:
            raise FatalError("log-key", "a sequencer needs its log key")
        self._log_signer = self.options.log_signer
        self._state = SignerState(
            self.options.data_dir / datadir.LOG_STATE, self.origin, self._log_signer.public.key_id
        )
        return Sequencer(self.app, self._log_signer, self._state, self.clock)

    def _log_state(self) -> SignerState:
        return self._state

    def _make_cosigner(self) -> Cosigner | None:
        signer = self.options.cosign_signer
        if signer is None or self.role == OBSERVER:
            return None
        key_id = signer.public.key_id
        name = next((name for name, known in self.config.cosigners if known == key_id), None)
        if name is None:
            self.observing = "this node's key is not in the cosigner set"
            return None
        try:
            state = SignerState(self.options.data_dir / datadir.SIGNER_STATE, self.origin, signer.public.key_id)
        except FatalError as error:
            # R-Q14: a key without its state never signs again; the node goes on observing.
            self.observing = str(error)
            return None
        return Cosigner(
            self.certificates, name, signer, state, self._root_at, lambda: self.head.time,
            check_skew=self.genesis.clock == "wall",
        )  # fmt: skip

    # --- what is in force --------------------------------------------------------------------------------------------

    @property
    def head(self) -> Head:
        """The last sealed block."""
        return self.app.head

    @property
    def registry(self) -> Registry:
        """Members and keys after the last block."""
        return self.app.head.registry

    @property
    def config(self) -> Config:
        """The config in force for the next block."""
        return self.app.head.config

    @property
    def rules(self) -> Program:
        """The compiled rulebook."""
        rules = self.app.rules
        if not isinstance(rules, Program):
            raise FatalError("invariant", "not a compiled rulebook")
        return rules

    def signers(self, member: str) -> Signer:
        """The event key of `member` that this node holds; raises `NotFoundError`."""
        signer = self.options.signers.get(member)
        if signer is None:
            raise NotFoundError("signer", "this node holds no key of this member", member=member)
        return signer

    def members_signed_for(self) -> tuple[str, ...]:
        """Members whose event key this node holds, sorted."""
        return tuple(sorted(self.options.signers))

    # --- writing -----------------------------------------------------------------------------------------------------

    def check(self, submission: Submission) -> None:
        """May this submission be recorded? Raises what `Application.check` raises."""
        self.app.check(submission)

    def submit(self, submission: Submission) -> Future[Committed]:
        """Have a checked submission recorded; a follower forwards it to the sequencer unchanged.

        Raises `UnavailableError` while the node is starting, full or stopped.
        """
        if isinstance(self.engine, Sequencer):
            if not self._writable.is_set():
                raise UnavailableError("starting", "the node is not open for writing yet", retry_after_s=1)
            return self.engine.submit(submission)
        if self._forward is None:
            raise UnavailableError("no-sequencer", "this node knows no ordering node to forward to")
        return self._forward.submit(submission, self.engine)

    def step_clock(self, time_ms: int) -> int:
        """Step a scenario network's clock; the head's height after it. Raises `RejectedError` elsewhere."""
        if not isinstance(self.clock, ScenarioClock) or not isinstance(self.engine, Sequencer):
            raise RejectedError("clock", "only the ordering node of a scenario network has a clock to step")
        return self.engine.step_clock(self.clock, time_ms).result(120)

    # --- certificates ------------------------------------------------------------------------------------------------

    def recent_block(self, height: int) -> BlockData | None:
        """One of the newest blocks without reading the database, as followers ask for it; None for an older one."""
        found = self._recent.get(height)
        if found is None:
            return None
        sealed, note = found
        block = sealed.decision.block
        submissions = tuple(from_submission(each) for each in block.submissions)
        return BlockData(height, block.time, submissions, block.attachments, tuple(sealed.leaves), note)

    def _committed(self, sealed: Sealed, note: bytes) -> None:
        # `published` follows the fsync of the signer state: a signature is not served before it (SPEC R-Q11).
        self._recent[sealed.height] = (sealed, note)
        while len(self._recent) > RECENT_BLOCKS:
            self._recent.popitem(last=False)
        self.published = sealed.height
        self.certificates.committed(sealed.height, sealed.size, sealed.root, note)

    def _certified(self, certified: Certified) -> None:
        if isinstance(self.engine, Sequencer):
            self.engine.certified_height = certified.height
        self.layers.certified(certified.height)
        size = certified.result.checkpoint.size
        self.engine.call(lambda: self.app.store.write_certificate(size, certified.note))

    def _propose_head(self) -> None:
        """Sign and propose the head after a start, so that an idle ledger has a fresh checkpoint too."""
        head = self.app.head
        root = head.log.root()
        self._state.advance(head.size, root, time.time_ns() // 1_000_000)
        self.certificates.committed(
            head.height, head.size, root, log_note(self._log_signer, self.origin, head.size, root)
        )
        self.certificates.propose()

    def _restore_certificate(self) -> None:
        with self.reader.snapshot() as snap:
            found = snap.latest_certificate()
            head = self.app.head
            if found is not None:
                size, note = found
                result = verify_certificate(note, self.origin, self.registry.log_keys(), self.certificates.cosigners)
                height = snap.block_of(size - 1).height
                self.certificates.restore(Certified(height, note, result))
                if isinstance(self.engine, Sequencer):
                    self.engine.certified_height = height
            note = snap.block(head.height).note
        if note:
            self.certificates.committed(head.height, head.size, head.log.root(), note)
        elif not isinstance(self.engine, Sequencer):
            self.certificates.know(head.height, head.size, head.log.root())

    def _root_at(self, size: int) -> Digest | None:
        """Root of our stored log at `size`, for the signer rule."""
        with self.reader.snapshot() as snap:
            if size > snap.head_size:
                return None
            plan = merkle.range_nodes(0, size)
            nodes = snap.log_nodes(plan)
        return merkle.fold([nodes[node] for node in plan])

    def _peer_note(self, note: bytes) -> None:
        self.certificates.add_note(note)

    def _peer_error(self, peer: Peer, error: LedgerError) -> None:
        self.alarms[peer.url] = str(error)
        theirs = error.evidence.get("theirs")
        if isinstance(error, ForkError) and isinstance(theirs, bytes):
            keep_evidence(self.evidence, "fork-note", theirs, {"message": str(error), "peer": peer.url})

    # --- reading -----------------------------------------------------------------------------------------------------

    @contextmanager
    def proofs(self) -> Iterator[StateAt]:
        """State and log pinned at the latest certified checkpoint. Raises `UnavailableError` before the first."""
        certified = self.certificates.certified()
        if certified is None:
            raise UnavailableError("uncertified", "no checkpoint is certified yet", retry_after_s=1)
        with self.reader.snapshot() as snap:
            yield StateAt(self.layers, snap, certified.height, certified.note)

    def ready(self) -> list[tuple[str, bool, str]]:
        """(check, ok, detail) of everything that a working node needs."""
        failure = self.engine.failure
        certified = self.certificates.certified()
        behind = self.head.height - certified.height if certified else self.head.height + 1
        unreachable = [poller.peer.url for poller in self.pollers if not poller.reachable]
        checks = [
            ("engine", failure is None and self._writable.is_set(), str(failure or "")),
            ("certificate", certified is not None, f"{behind} blocks wait for a certificate"),
            ("cosigner", not self.observing and not (self.cosigner and self.cosigner.alarm),
             self.observing or (self.cosigner.alarm if self.cosigner else "")),
            ("peers", len(unreachable) * 3 < max(1, len(self.pollers)) * 2 or not self.pollers, ", ".join(unreachable)),
        ]  # fmt: skip
        containment = getattr(self.app.runtime, "containment", ())
        checks.append(("rules", True, f"{self.options.runtime}: {', '.join(containment) or 'not contained'}"))
        if isinstance(self.engine, Follower):
            checks.append(("upstream", self.engine.upstream_reachable, ""))
        return checks
