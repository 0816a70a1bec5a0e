"""The only module that builds adapters and application: one running node from its settings.

Start order: keys and state, the store (head re-verified), the engine, cosignatures, peers. A sequencer opens for writing
only after more than two thirds of the cosigners were heard and every block it ever signed is executed again (SPEC R-Q30).
Not here: HTTP (see `http`).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Event as Flag
from threading import Lock, Thread

from ledger.adapters.home import datadir
from ledger.adapters.home.signerstate import SignerState
from ledger.adapters.ordering.certificates import PROPOSE_AGAIN_S, CertificateBook, Certified
from ledger.adapters.ordering.clock import ScenarioClock, WallClock
from ledger.adapters.ordering.configs import Configs
from ledger.adapters.ordering.cosigner import Cosigner
from ledger.adapters.ordering.crossing import Crossing, finish_crossing
from ledger.adapters.ordering.engine import Engine, log_note, moved
from ledger.adapters.ordering.epochs import EpochEnd, read_epochs
from ledger.adapters.ordering.evidence import keep_evidence
from ledger.adapters.ordering.follower import Follower
from ledger.adapters.ordering.forward import Forwarder
from ledger.adapters.ordering.layers import Layers, StateAt
from ledger.adapters.ordering.moving import keep_seam
from ledger.adapters.ordering.peers import NotePoller, NotePollers, Peer
from ledger.adapters.ordering.recovery import recover, seek_ends
from ledger.adapters.ordering.sequencer import Committed, Sequencer
from ledger.adapters.sqlite.reader import SqliteReader
from ledger.adapters.sqlite.store import SqliteStore
from ledger.app import Application
from ledger.blockcodec import BlockData, from_submission
from ledger.core import merkle
from ledger.core.bundle import bundle_hash, parse_bundle
from ledger.core.config import Config
from ledger.core.genesis import Genesis
from ledger.core.hashing import Digest
from ledger.core.keys import COSIGN, Signer
from ledger.core.quorum import verify_certificate
from ledger.core.registry import Registry
from ledger.core.submission import Submission
from ledger.errors import FatalError, ForkError, LedgerError, NotFoundError, RejectedError, UnavailableError
from ledger.machine.block import Head, Sealed
from ledger.rules.program import Program
from ledger_node.alarms import Alarms
from ledger_node.comet.behind import Behind
from ledger_node.comet.build import build_engine
from ledger_node.comet.engine import CometEngine
from ledger_node.options import NodeOptions
from ledger_node.query.index import FILE_NAME as INDEX
from ledger_node.readiness import checks_of

SEQUENCER, VALIDATOR, FOLLOWER, OBSERVER = "sequencer", "validator", "follower", "observer"
ORDERING = (SEQUENCER, VALIDATOR)
WATCH_S = 3.0  # how often a follower looks at another follower's note
RECENT_BLOCKS = 16  # kept for followers, which ask for the newest blocks only
PROPOSE_S = 0.05  # an ordering node proposes a new checkpoint at once, but not more often than this
IDLE_S = 0.5
OPEN = "open"  # what an alarm at the start is about


class Node:
    """One running node; every public method is thread-safe. Raises `FatalError` when it may not open."""

    def __init__(self, options: NodeOptions) -> None:
        self.options, self.role = options, options.role
        path = options.data_dir / datadir.DATABASE
        finish_crossing(options.data_dir, derived=(INDEX,))
        self.store = SqliteStore.open(path)
        self.app = Application(self.store, datadir.load_rules(options.runtime))
        self.reader = SqliteReader(path)
        self.genesis: Genesis = self.app.genesis
        self.origin = self.app.origin
        self.observing = ""
        self.crossed = Flag()  # another history is certified: open the node again to follow it (R-Q31)
        self.evidence = options.data_dir / datadir.EVIDENCE
        self.peers = [Peer(url, options.links) for url in options.peers]
        self.layers = Layers(self.app.tree)
        self.configs = Configs(options.data_dir)
        self.configs.keep(self.config.encode())
        self.app.on_config.append(lambda config: self.configs.keep(config.encode()))
        self.clock = self._make_clock()
        registry = self.registry
        self.certificates = CertificateBook(
            self.origin,
            registry.log_keys(),
            registry.cosigner_keys(self.config.cosigners),
            None if self.role == SEQUENCER or options.cosign_signer is None else options.cosign_signer.public.key_id,
        )
        self.certificates.on_certified.append(self._certified)
        self.certificates.on_fork.append(self._peer_error)
        self.certificates.is_kept = self._is_kept
        # Who orders proposes by itself; everybody else signs what the first peer proposes.
        self.certificates.proposers = frozenset(peer.url for peer in self.peers[:1] if self.role not in ORDERING)
        self.alarms = Alarms()
        self.engine: Engine = self._make_engine()
        self.engine.on_sealed.append(self.layers.sealed)
        self.engine.on_commit.append(self._committed)
        self.cosigner = self._make_cosigner(registry)
        if self.cosigner is None:
            self.certificates.observe()
        self.pollers = NotePollers(self.peers, self._make_poller, options.links)
        self._behind = self._make_behind()
        self._epoch = self.config.epoch
        self.published = self.app.head.height
        self._recent: OrderedDict[int, tuple[Sealed, bytes]] = OrderedDict()
        self._forward = Forwarder(self.peers[0]) if self.role not in ORDERING and self.peers else None
        self._closing = Flag()
        self._fresh = Flag()  # a new checkpoint might be proposed
        self._writable = Flag()
        self.waits_for = ""  # what has to happen before it writes, where that is known
        self._learning = Lock()
        self._threads = [Thread(target=self._open, name="open", daemon=True)]

    # --- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start everything; returns at once. `ready` says when the node takes part."""
        self._restore_certificate()
        self.pollers.start()
        if self._behind is not None:
            self._behind.start()
        self._learn_nodes(self.registry)
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop gracefully: what was accepted is written, then everything is closed. Idempotent."""
        if self._closing.is_set():
            return
        with self._learning:
            self._closing.set()
        self._fresh.set()
        if self._behind is not None:
            self._behind.close()
        self.pollers.close()
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
                    self._state,
                    self.certificates,
                    self.options.recover_wait_s,
                    self._closing,
                    self._wait_for,
                )
                self.published = self.app.head.height
                self._follow_epochs()
                self._propose_head()
            if isinstance(self.engine, CometEngine) and self.engine.may_sign_head():
                self._propose_head()
            if self._closing.is_set():
                return
            self.engine.start()
            if self.cosigner is not None:
                self.cosigner.start()
            self._writable.set()
            self._learn_keys(self.registry)  # what was registered meanwhile
        except LedgerError as error:
            self.engine.failure = error
            self.alarms.add(OPEN, error)
            theirs = error.evidence.get("theirs")
            if isinstance(theirs, bytes):
                keep_evidence(self.evidence, "fork-block", theirs, {"message": str(error)})
            return
        while isinstance(self.engine, Sequencer) and not self._closing.is_set():
            self._fresh.wait(IDLE_S)
            self._fresh.clear()
            self.certificates.propose()
            self._closing.wait(PROPOSE_S)
        while isinstance(self.engine, CometEngine) and not self._closing.wait(PROPOSE_AGAIN_S):
            self.certificates.propose()  # what the rule of the blocks left uncertified, once the ledger is idle

    def _wait_for(self, what: str) -> None:
        self.waits_for = what

    # --- building ----------------------------------------------------------------------------------------------------

    def _make_clock(self) -> WallClock | ScenarioClock:
        return ScenarioClock(self.app.head.time) if self.genesis.clock == "scenario" else WallClock()

    def _make_engine(self) -> Engine:
        if self.role not in ORDERING:
            crossing = Crossing(
                self.options.data_dir, self.genesis, self.peers, self.certificates, self.options.runtime
            )
            votes = self.role == FOLLOWER  # an observer follows whatever is ordered
            keys = self.registry.log_keys()
            follower = Follower(
                self.app, self.peers, keys, self.evidence, crossing, stop_at_seam=votes, passes=self._passed_seams
            )
            follower.on_crossed.append(self.crossed.set)
            return follower
        if self.options.log_signer is None:
            raise FatalError("log-key", "a node that orders needs its log key")
        self._log_signer = self.options.log_signer
        self._state = SignerState(
            self.options.data_dir / datadir.LOG_STATE, self.origin, self._log_signer.public.key_id
        )
        if self.role == SEQUENCER:
            return Sequencer(self.app, self._log_signer, self._state, self.clock)
        engine = build_engine(
            self.app, self.store, self.reader, self._log_signer, self._state, self.options, self.alarms
        )
        engine.on_checkpoint.append(lambda: self.certificates.propose(at_once=True))
        return engine

    def _make_behind(self) -> Behind | None:
        """Who notices that CometBFT beside a validator waits for blocks that are no more."""
        engine = self.engine
        return (
            Behind(self.peers, lambda: engine.handler.height, self.alarms) if isinstance(engine, CometEngine) else None
        )

    def _passed_seams(self) -> int:
        """Seams that this node walks through (SPEC R-N60): none once others count on its signature."""
        signer = self.options.cosign_signer
        cosigns = signer is not None and any(key == signer.public.key_id for _, key in self.config.cosigners)
        return 0 if cosigns else self.options.pass_seams

    def _make_cosigner(self, registry: Registry) -> Cosigner | None:
        signer = self.options.cosign_signer
        if signer is None or self.role == OBSERVER:
            return None
        key_id = signer.public.key_id
        entry = registry.keys.get(key_id)
        if entry is None or entry.use != COSIGN:
            self.observing = "this node's key is not registered for cosigning"
            return None
        name = entry.member
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
    def moves(self) -> int:
        """How often the ledger moved to another engine."""
        return self.app.engine.moves

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

    def arrival(self, count: int) -> None:
        """`count` more requests (or fewer) are being checked, which the next block may wait a moment for."""
        if isinstance(self.engine, Sequencer):
            self.engine.arriving += count

    def offer_bundle(self, data: bytes) -> Digest:
        """Keep a bundle for the proposal that will name it; a follower hands it on. Raises `MalformedError`."""
        if isinstance(self.engine, Sequencer | CometEngine):
            return self.app.offer_bundle(data)
        digest = bundle_hash(parse_bundle(data))
        if not self.peers:
            raise UnavailableError("no-sequencer", "this node knows no ordering node to forward to")
        answer = self.peers[0].request("POST", "/v1/bundles", data, "application/json")
        if answer.status != 201:
            raise UnavailableError("forward", "the ordering node refused", status=answer.status, retry_after_s=1)
        return digest

    def submit(self, submission: Submission, framed: bytes | None = None) -> Future[Committed]:
        """Have a checked submission recorded; a follower forwards it to the sequencer unchanged. `framed` are the bytes it
        came in, where it is to travel on.

        Raises `UnavailableError` while the node is starting, full or stopped.
        """
        if isinstance(self.engine, Sequencer | CometEngine):
            if not self._writable.is_set():
                raise UnavailableError("starting", "the node is not open for writing yet", retry_after_s=1)
            return self.engine.submit(submission, framed)
        if self.engine.at_seam:
            raise moved(self.app.engine)
        if self._forward is None:
            raise UnavailableError("no-sequencer", "this node knows no ordering node to forward to")
        return self._forward.submit(submission, self.engine, framed)

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
        if sealed.decision.registry_writes:
            self._learn_keys(sealed.decision.registry)
            self._learn_nodes(sealed.decision.registry)
        if sealed.decision.config.epoch != self._epoch:
            self._end_epoch(sealed, note)
        self._fresh.set()

    def _make_poller(self, peer: Peer, place: int) -> NotePoller:
        """What is proposed comes from the ordering node; other peers are watched for a second history."""
        pause = 0.0 if self.role in ORDERING or place == 0 else WATCH_S
        enough = self.certificates.certified_size if self.role == VALIDATOR else None
        return NotePoller(peer, lambda note: self._peer_note(peer, note), self._peer_error, pause, enough)

    def _learn_nodes(self, registry: Registry) -> None:
        """Validators ask each other for cosignatures: also those that were admitted with an address (SPEC R-N22)."""
        if self.role != VALIDATOR:
            return
        own = registry.keys.get(self._log_signer.public.key_id)
        wrong = self.pollers.learn_members(registry, own.member if own else "")
        for member in registry.members:
            self.alarms.add(member, wrong[member]) if member in wrong else self.alarms.end(member)

    def _learn_keys(self, registry: Registry) -> None:
        """Keys that were registered by vote: others' for ordering, and this node's own for cosigning (SPEC R-G18)."""
        logs = registry.log_keys()
        self.certificates.know_log_keys(logs)
        if isinstance(self.engine, Follower):
            self.engine.know_log_keys(logs)
        with self._learning:
            if self.cosigner is not None or not self._writable.is_set() or self._closing.is_set():
                return
            cosigner = self._make_cosigner(registry)
            if cosigner is not None:
                self.observing = ""
                if self.role != SEQUENCER:
                    self.certificates.take_part(cosigner.key_id)
                self.cosigner = cosigner
                cosigner.start()

    def _end_epoch(self, sealed: Sealed, note: bytes) -> None:
        """The block was the last of its epoch: its set certifies it, the next one what follows (SPEC R-G21)."""
        decision = sealed.decision
        self._epoch = decision.config.epoch
        end = EpochEnd(sealed.height, sealed.size, sealed.root, note, self.certificates.cosigners)
        self.certificates.end_epoch(end, decision.registry.cosigner_keys(decision.config.cosigners))

    def _follow_epochs(self) -> None:
        """Sets and their ends as the store has them."""
        with self.reader.snapshot() as snap:
            self.certificates.follow(read_epochs(snap, self.genesis, self.registry))
        self._epoch = self.config.epoch

    def _is_kept(self, size: int) -> bool:
        with self.reader.snapshot() as snap:
            return snap.certificates.of(size) is not None

    def _certified(self, certified: Certified) -> None:
        if isinstance(self.engine, Sequencer | CometEngine):
            self.engine.certified_height = certified.height
        self.layers.certified(certified.height)
        self._fresh.set()
        self.engine.keep(certified.result.checkpoint.size, certified.note)

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
        self._follow_epochs()
        with self.reader.snapshot() as snap:
            found = snap.certificates.latest()
            head = self.app.head
            note = snap.block(head.height).note
            if note:
                self.certificates.committed(head.height, head.size, head.log.root(), note)
            elif not isinstance(self.engine, Sequencer):
                self.certificates.know(head.height, head.size, head.log.root())
            if found is not None:
                size, kept = found
                cosigners = self.certificates.cosigners_at(size)
                result = verify_certificate(kept, self.origin, self.registry.log_keys(), cosigners)
                height = snap.block_of(size - 1).height
                self.certificates.restore(Certified(height, kept, result))
                if isinstance(self.engine, Sequencer | CometEngine):
                    self.engine.certified_height = height

    def _root_at(self, size: int) -> Digest | None:
        """Root of our stored log at `size`, for the signer rule; of recent blocks as they were computed and stored."""
        recent = self.certificates.own_root(size)
        if recent is not None:
            return recent
        with self.reader.snapshot() as snap:
            if size > snap.head_size:
                return None
            plan = merkle.range_nodes(0, size)
            nodes = snap.log_nodes(plan)
        return merkle.fold([nodes[node] for node in plan])

    def _peer_note(self, source: Peer, note: bytes) -> None:
        try:
            self.certificates.add_note(note, source.url)
            self.alarms.end(source.url)
        finally:  # nobody but who just answered: one that is silent holds up none of the others
            seek_ends(source, self.certificates, self.head.size)
        if self.engine.at_seam:
            keep_seam(self.peers, self.reader, self.certificates, self.head, self.engine.keep)

    def _peer_error(self, url: str, error: LedgerError) -> None:
        self.alarms.add(url, error)
        theirs = error.evidence.get("theirs")
        if isinstance(error, ForkError) and isinstance(theirs, bytes):
            if isinstance(self.engine, Follower):
                self.engine.suspect(theirs)
            keep_evidence(self.evidence, "fork-note", theirs, {"message": str(error), "peer": url})

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
        return checks_of(self, writable=self._writable.is_set())
