"""The application: ABCI's verbs over the ports, the same for every engine (SPEC R-A01 to R-A06).

`check`, `prepare` and `process` change nothing; `finalize` (begin, finish) computes and writes nothing; `commit` persists
one block in one transaction. Normal operation, crash recovery, followers and CometBFT all pass through these verbs.
One thread drives an `Application`. No I/O here: the store and the runtime are ports.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from ledger.core.bundle import bundle_hash, parse_bundle
from ledger.core.checkpoint import app_hash
from ledger.core.config import Config
from ledger.core.engine import ENGINE_KEY, Engine, parse_engine
from ledger.core.genesis import Genesis, parse_genesis
from ledger.core.hashing import Digest
from ledger.core.leaf import Stream
from ledger.core.maptree import MapTree
from ledger.core.submission import Submission
from ledger.errors import FatalError, LedgerError, RejectedError, RuntimeFault, invariant
from ledger.limits import BUNDLES_WAITING_MAX
from ledger.machine.admit import check_bounds, check_submission, check_times
from ledger.machine.block import BlockInput, Decision, Head, Sealed, StateRow
from ledger.machine.decide import Draft, begin, due_timers, finish, timers_alone
from ledger.machine.enginemove import check_clock, engine_in_force
from ledger.machine.governance import carried_bundles, check_attachments
from ledger.machine.seal import head_after, seal
from ledger.machine.views import Rules
from ledger.ports import Store


class StartableRuntime(Protocol):
    """A rule runtime whose call can be left running while the host does other work. One call at a time."""

    def start(self, call: dict[str, Any]) -> None:
        """Hand over a block's call."""

    def result(self) -> list[Any]:
        """Wait for its outcomes; raises `RuntimeFault`."""

    def close(self) -> None:
        """End the worker, if there is one."""


LoadRules = Callable[[Store, Head], tuple[Rules, StartableRuntime]]
"""Compiles the rulebook that the head's config names and starts a runtime for it."""


@dataclass(frozen=True, slots=True)
class Info:
    """Where the application stands, as ABCI's Info asks: last committed height and app_hash."""

    height: int
    size: int
    root: Digest
    app_hash: Digest


class Application:
    """One ledger, open for writing. Raises `FatalError` when the store and the head contradict each other."""

    def __init__(self, store: Store, load_rules: LoadRules) -> None:
        head = store.load_head()
        if head is None:
            raise FatalError("store-empty", "the data directory holds no ledger")
        self.store = store
        self.genesis: Genesis = parse_genesis(store.genesis())
        self.origin = self.genesis.origin
        self._sealed_head = head
        self._decided_head = head
        self.tree: MapTree = store.load_tree()
        invariant(self.tree.size >= 1, "a state map has at least one bucket")
        self._pending: Decision | None = None
        self._draft: Draft | None = None
        self._sealed: Sealed | None = None
        self._load_rules, self._loaded = load_rules, _rules_of(head.config)
        self.rules, self.runtime = load_rules(store, head)
        self._last_view: _DecideView | None = None
        self._bundles: OrderedDict[Digest, bytes] = OrderedDict()
        self._sealed_engine = engine_in_force(self.genesis, store.read_objects([ENGINE_KEY]).get(ENGINE_KEY))
        self._decided_engine = self._sealed_engine
        self.on_config: list[Callable[[Config], None]] = []  # of a block about to be written that changed the config

    # --- queries -----------------------------------------------------------------------------------------------------

    @property
    def head(self) -> Head:
        """The last sealed block."""
        return self._sealed_head

    @property
    def decided_head(self) -> Head:
        """The last decided block; ahead of `head` by at most one."""
        return self._decided_head

    @property
    def engine(self) -> Engine:
        """The engine that orders what follows the last decided block (R-N50); whoever drives this asks before each."""
        return self._decided_engine

    def info(self) -> Info:
        """ABCI Info, of the last committed block."""
        head = self._sealed_head
        root = head.log.root()
        return Info(head.height, head.size, root, app_hash(head.size, root))

    # --- admission ---------------------------------------------------------------------------------------------------

    def check(self, submission: Submission, *, signature: bool = True) -> None:
        """ABCI CheckTx: may this submission go into a block now? Raises `RejectedError` or `VerificationError`.

        Reads members and keys only, so other threads may call it while a block is decided.
        """
        head = self._decided_head
        check_submission(submission, self.origin, head.registry, head.height + 1, signature=signature)
        check_clock(submission, self.genesis)

    def offer_bundle(self, data: bytes) -> Digest:
        """Keep a bundle until a proposal that names it is ordered (R-G19); its hash. Raises `MalformedError`.

        The oldest gives way when too many wait, so whoever proposes sends both together.
        """
        digest = bundle_hash(parse_bundle(data))
        self._bundles[digest] = data
        self._bundles.move_to_end(digest)
        while len(self._bundles) > BUNDLES_WAITING_MAX:
            self._bundles.popitem(last=False)
        return digest

    def waiting_bundle(self, digest: Digest) -> bytes:
        """A bundle that was offered and not yet ordered; raises `RejectedError` (`bundle-missing`)."""
        data = self._bundles.get(digest)
        if data is None:
            raise RejectedError("bundle-missing", "send the bundle before its proposal", expected=digest)
        return data

    def prepare(
        self, submissions: Iterable[Submission], time: int, bundles: Mapping[Digest, bytes] | None = None
    ) -> tuple[BlockInput, list[tuple[int, LedgerError]]]:
        """ABCI PrepareProposal: the next block from waiting submissions, and those left out with the reason.

        `time` is raised to the time of the block before. While more timers are due than one block fires, the block
        holds none of the submissions and they are not refused either: the caller offers them again. `bundles` are
        those that come with the submissions; None: those that were offered before (`offer_bundle`).
        """
        head = self._decided_head
        time = max(time, head.time)
        left_out: list[tuple[int, LedgerError]] = []
        if self.timers_waiting(time):
            return BlockInput(head.height + 1, time), left_out
        chosen: list[Submission] = []
        waiting = dict(self._bundles) if bundles is None else bundles
        for number, submission in enumerate(submissions):
            try:
                check_submission(submission, self.origin, head.registry, head.height + 1, signature=False)
                check_clock(submission, self.genesis)
                check_times(submission, time, head.config.parameters["skew_ms"])
                for digest in carried_bundles((submission,)):
                    if digest not in waiting:
                        raise RejectedError("bundle-missing", "send the bundle before its proposal", expected=digest)
            except LedgerError as error:
                left_out.append((number, error))
            else:
                chosen.append(submission)
        attachments = tuple(waiting[digest] for digest in dict.fromkeys(carried_bundles(chosen)))
        return BlockInput(head.height + 1, time, tuple(chosen), attachments), left_out

    def timers_waiting(self, time: int) -> bool:
        """True when the next block holds timers only: more are due than one block fires (R-T04), or a change is (R-G16)."""
        limit = self._decided_head.config.parameters["timers_block"]
        timers = self._view().due_timers(time, limit + 1)
        return bool(timers) and timers_alone(timers, limit)

    def timer_due(self, time: int) -> bool:
        """True when a timer is due at `time`."""
        return bool(self._view().due_timers(time, 1))

    def process(self, block: BlockInput, *, signatures: bool = True) -> None:
        """ABCI ProcessProposal: would an honest engine have made this block? Raises the error that says why not.

        `signatures=False` where these very submissions were verified before.
        """
        head = self._decided_head
        if block.height != head.height + 1 or block.time < head.time:
            raise RejectedError("block-order", "height or time does not follow", height=block.height, time=block.time)
        check_bounds(block)
        for submission in block.submissions:
            check_submission(submission, self.origin, head.registry, block.height, signature=signatures)
            check_clock(submission, self.genesis)
            check_times(submission, block.time, head.config.parameters["skew_ms"])
        check_attachments(block)
        due_timers(block, self._view())

    # --- deciding and committing -------------------------------------------------------------------------------------

    def begin(self, block: BlockInput, *, drop_replays: bool = False) -> list[int]:
        """Plan and read for `block` and hand it to the rules; the block before may still be unsealed.

        With `drop_replays` a submission whose every event stands in the log already is taken out of the block, so that
        replays leave no trace; the numbers of those are returned. When nothing is left, nothing is begun (`idle`).
        """
        invariant(self._draft is None, "one block is decided at a time")
        config = self._decided_head.config
        if _rules_of(config) != self._loaded:
            self._reload_rules()
        view = self._view()
        draft = begin(block, view, self.rules)
        replays = draft.replays() if drop_replays else []
        if replays:
            gone = set(replays)
            kept = tuple(s for number, s in enumerate(block.submissions) if number not in gone)
            bundles = check_attachments(block)
            attachments = tuple(bundles[digest] for digest in dict.fromkeys(carried_bundles(kept))) if bundles else ()
            block = BlockInput(block.height, block.time, kept, attachments)
            draft = begin(block, view, self.rules)
            if not kept and not draft.call["steps"]:
                return replays
        self._draft = draft
        if draft.call["steps"]:
            self.runtime.start(draft.call)
        return replays

    def _reload_rules(self) -> None:
        """Load the rulebook that the block before put in force. Its bundle came with an earlier block, long written."""
        head, old = self._decided_head, self.runtime
        self.rules, self.runtime = self._load_rules(self.store, head)
        self._loaded = _rules_of(head.config)
        old.close()

    @property
    def idle(self) -> bool:
        """True when no block is begun."""
        return self._draft is None

    def finish(self) -> Decision:
        """The decision of the block begun; raises `RuntimeFault`, after which the block may be begun again."""
        draft, self._draft = self._draft, None
        if draft is None:
            raise FatalError("invariant", "finish without begin")
        outcomes = self.runtime.result() if draft.call["steps"] else []
        decision = finish(draft, outcomes)
        invariant(self._pending is None, "the block before must be sealed first")
        self._pending = decision
        for item in decision.items:
            for key, value in item.writes if item.timer_key else ():
                if key == ENGINE_KEY:
                    self._decided_engine = parse_engine(value)
        before = self._decided_head
        self._decided_head = Head(
            decision.block.height,
            decision.block.time,
            before.log,
            before.state_keys,
            decision.config,
            decision.registry,
        )
        return decision

    def seal(self) -> Sealed:
        """Seal the decided block in memory."""
        decision = self._pending
        if decision is None:
            raise FatalError("invariant", "nothing decided to seal")
        self._sealed = seal(decision, _SealView(self._sealed_head, self.tree, self.store))
        return self._sealed

    def commit(
        self, note: bytes, certificates: Sequence[tuple[int, bytes]] = (), engine_height: int | None = None
    ) -> Sealed:
        """ABCI Commit: persist the sealed block with its log-signed note in one transaction. Durable on return.

        `certificates` and `engine_height` (see `Store.write`) ride along, so that they cost no transaction of their own.
        After any exception the store must be reopened: what is on disk is unknown.
        """
        sealed = self._sealed
        if sealed is None:
            raise FatalError("invariant", "nothing sealed to commit")
        if sealed.decision.config != self._sealed_head.config:
            for listener in self.on_config:
                listener(sealed.decision.config)
        self.store.write(sealed, note, certificates, engine_height)
        for data in sealed.decision.block.attachments:
            self._bundles.pop(bundle_hash(parse_bundle(data)), None)
        self._sealed = self._pending = None
        self._sealed_head, self._sealed_engine = head_after(sealed), self._decided_engine
        if self._decided_head.height == sealed.height:
            self._decided_head = self._sealed_head
        return sealed

    def finalize(self, block: BlockInput) -> Sealed:
        """ABCI FinalizeBlock: decide and seal; nothing is written."""
        self.begin(block)
        self.finish()
        return self.seal()

    def finalize_ordered(self, block: BlockInput) -> Sealed | None:
        """`finalize` for an engine that orders whatever it was given: None where the block would say nothing, for it
        holds only what stands in the log already and fires no timer (R-N12). Deterministic: all nodes agree on it."""
        if not block.submissions and not self.timer_due(block.time):
            return None
        self.begin(block, drop_replays=True)
        if self.idle:
            return None
        self.finish()
        return self.seal()

    def discard(self) -> None:
        """Take back what was begun, decided or sealed and never committed: the engine starts over at the head (R-N13)."""
        draft, self._draft = self._draft, None
        if draft is not None and draft.call["steps"]:
            with suppress(RuntimeFault):
                self.runtime.result()
        if self._sealed is not None:
            self.tree.revert(self._sealed.undo)
        self._sealed = self._pending = None
        self._decided_head, self._decided_engine = self._sealed_head, self._sealed_engine

    def _view(self) -> _DecideView:
        """The view of the last decided block, which is asked several times and laid out once."""
        view = self._last_view
        if view is None or view.head is not self._decided_head or view.pending is not self._pending:
            view = self._last_view = _DecideView(self._decided_head, self.store, self._pending)
        return view

    def close(self) -> None:
        """Stop the runtime and close the store."""
        self.runtime.close()
        self.store.close()


def _rules_of(config: Config) -> tuple[Digest, Digest, Digest, int]:
    """What a change of makes other rules necessary."""
    return config.rulebook, config.calendar, config.program, config.language


class _DecideView:
    """The store, under the object writes of the decided block that is not written yet."""

    def __init__(self, head: Head, store: Store, pending: Decision | None) -> None:
        self.head, self._store, self.pending = head, store, pending
        self._objects: dict[str, bytes] = {}
        self._timers: dict[str, int | None] = {}
        if pending is not None:
            for item in pending.items:
                if item.timer_key:
                    self._timers[item.timer_key] = None
                self._objects.update(item.writes)
                self._timers.update(item.timers)

    def read_objects(self, keys: Collection[str]) -> dict[str, bytes]:
        """See `DecideView`."""
        if not self._objects:
            return self._store.read_objects(keys)
        found = self._store.read_objects([key for key in keys if key not in self._objects])
        found.update((key, self._objects[key]) for key in keys if self._objects.get(key))
        return found

    def due_timers(self, time: int, count_max: int) -> list[tuple[int, str]]:
        """See `DecideView`."""
        if not self._timers:
            return self._store.due_timers(time, count_max)
        stored = self._store.due_timers(time, count_max + len(self._timers))
        due = [(when, key) for when, key in stored if key not in self._timers]
        due.extend((when, key) for key, when in self._timers.items() if when is not None and when <= time)
        return sorted(due)[:count_max]

    def find_events(self, ids: Collection[tuple[str, str]]) -> dict[tuple[str, str], list[Digest]]:
        """See `DecideView`."""
        found = self._store.find_events(ids)
        if self.pending is not None:
            wanted = set(ids)
            for item in self.pending.items:
                if item.event is not None and (item.member, item.event.id) in wanted:
                    found.setdefault((item.member, item.event.id), []).append(item.event.hash)
        return found

    def missing_streams(self, streams: Collection[Stream]) -> set[Stream]:
        """See `DecideView`."""
        missing = set(self._store.missing_streams(streams))
        if missing and self.pending is not None:
            for item in self.pending.items:
                if not item.refused_streams:
                    missing.difference_update(item.streams)
                missing.difference_update(item.extra_streams)
        return missing


class _SealView:
    """The last sealed block, all of which is written."""

    def __init__(self, head: Head, tree: MapTree, store: Store) -> None:
        self.head, self.tree, self._store = head, tree, store

    def read_rows(self, keys: Sequence[bytes]) -> dict[bytes, StateRow]:
        """See `SealView`."""
        return self._store.read_rows(keys)

    def read_buckets(self, indexes: Sequence[int]) -> Sequence[bytes]:
        """See `SealView`."""
        return self._store.read_buckets(indexes)
