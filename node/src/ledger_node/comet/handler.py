"""Answers CometBFT's ABCI requests from the application; one object for one open ledger (SPEC R-N10 to R-N17).

Rules: proposals and checks change nothing; `finalize_block` decides in memory and writes nothing; `commit` writes once,
right after its answer has left: until then CometBFT has the block, and would have it decided again. A block that was
accepted as proposal is decided while the others vote on it, and decided again if another one is ordered. A CometBFT block
whose transactions say nothing new and in which no timer falls due makes no block of ours and leaves app_hash alone. An
exception here is fatal for CometBFT, which is right for everything that is not an answer.
Not here: transport (see `server`), signatures of checkpoints (see `engine`), and what waits to be ordered (see `gateway`).
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol

import structlog
from google.protobuf.timestamp_pb2 import Timestamp

from ledger.adapters.ordering.clock import WallClock
from ledger.adapters.ordering.engine import moved
from ledger.app import Application
from ledger.core.checkpoint import app_hash
from ledger.core.hashing import Digest
from ledger.core.keys import CONSENSUS, node_id
from ledger.core.nativecommit import VALIDATOR_POWER
from ledger.core.registry import Registry
from ledger.core.submission import Submission
from ledger.errors import FatalError, LedgerError, RejectedError, RuntimeFault
from ledger.limits import BLOCK_BYTES_MAX, BLOCK_EVENTS_MAX
from ledger.machine.admit import check_bounds, check_submission, check_times
from ledger.machine.block import BlockInput, Sealed
from ledger.machine.governance import carried_bundles
from ledger_node.alarms import Alarms
from ledger_node.comet import abci_pb2 as pb
from ledger_node.comet import transaction
from ledger_node.comet.pruning import Pruning
from ledger_node.comet.snapshots import SnapshotTaker
from ledger_node.comet.transaction import Transaction

ABCI_VERSION: Final = "2.0.0"
CACHE_BYTES_MAX: Final = 64 * 1024 * 1024  # of transactions, parsed and verified once between check and decision
RECORDED_MAX: Final = 100_000  # identities of recent submissions, so that what was ordered leaves the mempool
FAULT_TRIES: Final = 3  # a fault of this node's rule worker is no verdict: a fresh worker decides again
OK, REFUSED, KNOWN = 0, 1, 2
RECHECK: Final = 1
ACCEPT, REJECT = pb.ResponseProcessProposal.ACCEPT, pb.ResponseProcessProposal.REJECT
FILTER_ID: Final = "/p2p/filter/id/"
FILTER_ADDR: Final = "/p2p/filter/addr/"
COSTLY_ERRORS = (RuntimeFault, FatalError)


class Transactions:
    """Parsed transactions by the hash of their bytes. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, tuple[int, Transaction]] = OrderedDict()
        self._bytes = 0

    def put(self, data: bytes, parsed: Transaction) -> None:
        """Remember a transaction, for example one of our own whose signatures were checked when it came in."""
        key = sha256(data).digest()
        with self._lock:
            if key in self._known:
                return
            size = len(data) + parsed.size  # a few kilobytes may stand for 32 MiB
            self._known[key] = (size, parsed)
            self._bytes += size
            while self._bytes > CACHE_BYTES_MAX:
                _, (size, _) = self._known.popitem(last=False)
                self._bytes -= size

    def get(self, data: bytes) -> Transaction:
        """The transaction in `data`; raises `MalformedError`."""
        found = self._known.get(sha256(data).digest())
        if found is not None:
            return found[1]
        parsed = transaction.parse(data)
        self.put(data, parsed)
        return parsed

    def forget(self, datas: Iterable[bytes]) -> None:
        """Let go of what was ordered."""
        with self._lock:
            for data in datas:
                found = self._known.pop(sha256(data).digest(), None)
                if found is not None:
                    self._bytes -= found[0]


@dataclass(frozen=True, slots=True)
class Decided:
    """A CometBFT block as it was decided here: its hash and height, our block where it makes one, all its submissions, and
    whether it came in one transaction at most."""

    hash: bytes
    height: int
    sealed: Sealed | None
    submissions: tuple[Submission, ...]
    light: bool


class Ordering(Protocol):
    """The engine, as far as the handler needs it; called on the engine's thread."""

    def sealed(self, sealed: Sealed) -> None:
        """A block was decided in memory; it may still be taken back."""

    def write(self, decided: Decided) -> None:
        """Make a committed height durable."""

    def dropped(self, submission: Submission, error: LedgerError) -> None:
        """A submission that waits in the mempool will not be ordered any more."""

    def misbehaved(self, height: int) -> None:
        """The block of a height that is being decided carries evidence against a validator."""


class Handler:
    """See the module. `later` runs something on this thread once the answer in hand has left."""

    def __init__(
        self, app: Application, chain_id: str, engine: Ordering, later: Callable[[Callable[[], None]], None]
    ) -> None:
        self.app, self.chain_id = app, chain_id
        self.transactions = Transactions()
        self.height = app.store.engine_height()
        """CometBFT's height that is committed here."""
        self.pruning = Pruning(0)
        self.snapshots: SnapshotTaker | None = None
        self.alarms = Alarms()
        self.now_ms: Callable[[], int] = WallClock().now_ms
        """This machine's clock, in ms; only what waits is held against it."""
        self._time = 0
        self._engine, self._later = engine, later
        self._recorded: OrderedDict[Digest, None] = OrderedDict()
        self._decided: Decided | None = None
        self._unwritten: Decided | None = None
        self._log = structlog.get_logger("proposals")

    @property
    def retired(self) -> bool:
        """Whether a vote moved the ledger on to another chain: this one makes no more blocks of ours (R-N60)."""
        return self.app.engine.chain_id != self.chain_id

    # --- info and set-up ---------------------------------------------------------------------------------------------

    def info(self, request: pb.RequestInfo) -> pb.ResponseInfo:
        """Where we are: what is committed. CometBFT asks when it connects, and whoever may use its RPC at any moment, so
        that nothing is taken back here: what was decided counts for the block that it was decided for (`finalize_block`)."""
        if request.abci_version and request.abci_version != ABCI_VERSION:
            raise FatalError("abci-version", "CometBFT speaks another ABCI", got=request.abci_version)
        self.settle()
        info = self.app.info()
        return pb.ResponseInfo(
            data="suyuan",
            version="1",
            app_version=1,
            last_block_height=self.height,
            last_block_app_hash=info.app_hash if self.height else b"",
        )

    def init_chain(self, request: pb.RequestInitChain) -> pb.ResponseInitChain:
        """Begin at our head: block 0, or the seam of a ledger that was ordered otherwise before. Raises `FatalError` for
        the genesis of another network or other validators than the registry's."""
        if request.chain_id != self.chain_id:
            raise FatalError("chain-id", "another network's chain", got=request.chain_id, expected=self.chain_id)
        try:
            origin = json.loads(request.app_state_bytes)["origin"]
        except (ValueError, KeyError, TypeError) as error:
            raise FatalError("chain-origin", "the chain's genesis names no origin") from error
        if origin != self.app.origin:
            raise FatalError("chain-origin", "the chain was made for another ledger", got=origin)
        named = {update.pub_key.ed25519: update.power for update in request.validators}
        if named != _powers(self.app.head.registry):
            raise FatalError("chain-validators", "the chain's validators are not those of the registry", got=len(named))
        info = self.app.info()
        return pb.ResponseInitChain(app_hash=info.app_hash)

    def query(self, request: pb.RequestQuery) -> pb.ResponseQuery:
        """CometBFT's question whether a peer may connect (R-N14): by node id, of the keys in the registry."""
        if request.path.startswith(FILTER_ADDR):
            return pb.ResponseQuery(code=OK)  # addresses change; whoever connects proves its key
        if request.path.startswith(FILTER_ID):
            wanted = request.path.removeprefix(FILTER_ID).lower()
            known = any(peer == wanted for _, peer in self.app.head.registry.peer_ids())
            return pb.ResponseQuery(code=OK if known else REFUSED, log="" if known else "not a member's node")
        return pb.ResponseQuery(code=REFUSED, log="no such query")

    # --- mempool -----------------------------------------------------------------------------------------------------

    def check_tx(self, request: pb.RequestCheckTx) -> pb.ResponseCheckTx:
        """Whether a transaction may wait for its order: form, membership and every signature; later only whether it
        still says anything new. Why one is refused stands in it, for the gateway that sent it."""
        try:
            parsed = self.transactions.get(request.tx)
            if request.type == RECHECK and not self.retired:
                return self._recheck(parsed)
            parsed.refused = self._refused(parsed)
        except COSTLY_ERRORS:
            raise
        except LedgerError as error:
            return _refusal(error)
        first = next(iter(parsed.refused.values()), None)
        return pb.ResponseCheckTx(code=OK) if first is None else _refusal(first)

    def _refused(self, parsed: Transaction) -> dict[int, LedgerError]:
        """Why submissions of a new transaction may not wait, by number. Raises where a signature is still to be checked
        and does not hold: such a transaction is not ours, and the others in it are worth no more work."""
        if self.retired:
            return dict.fromkeys(range(len(parsed.submissions)), moved(self.app.engine))
        if not parsed.verified:
            self._verify(parsed)
        head, refused = self.app.head, dict[int, LedgerError]()
        for number, submission in enumerate(parsed.submissions):
            try:
                check_submission(submission, self.app.origin, head.registry, head.height + 1, signature=False)
                self._check_lasting(submission, parsed)
            except COSTLY_ERRORS:
                raise
            except LedgerError as error:
                refused[number] = error
        return refused

    def _recheck(self, parsed: Transaction) -> pb.ResponseCheckTx:
        head, open_ones = self.app.head, 0
        for submission in parsed.submissions:
            if submission.identity in self._recorded:
                continue
            try:
                check_submission(submission, self.app.origin, head.registry, head.height + 1, signature=False)
                self._check_lasting(submission, parsed)
            except LedgerError as error:
                self._engine.dropped(submission, error)
            else:
                open_ones += 1
        return pb.ResponseCheckTx(code=OK if open_ones else KNOWN)

    def _check_lasting(self, submission: Submission, parsed: Transaction) -> None:
        """Refuse what no proposer will ever take, or not for long, and what would wait in every mempool till then."""
        head = self.app.head
        newest = max(head.time, self.now_ms())
        check_times(submission, newest, 2 * head.config.parameters["skew_ms"])
        if any(digest not in parsed.bundles for digest in carried_bundles((submission,))):
            raise RejectedError("bundle-missing", "a proposal without its bundle")

    def _verify(self, parsed: Transaction) -> None:
        """Check every signature, once for a transaction; the registry is asked each time."""
        head = self.app.head
        for submission in parsed.submissions:
            check_submission(submission, self.app.origin, head.registry, head.height + 1, signature=not parsed.verified)
        parsed.verified = True

    # --- proposals ---------------------------------------------------------------------------------------------------

    def prepare_proposal(self, request: pb.RequestPrepareProposal) -> pb.ResponsePrepareProposal:
        """What we propose of what waits: in order, without what could not stand in a block now."""
        self._discard()
        now = _time_ms(request.time)
        if self.retired or self.app.timers_waiting(max(now, self.app.head.time)):
            return pb.ResponsePrepareProposal()  # deadlines first; the transactions stay in the mempool
        chosen: list[bytes] = []
        seen: set[Digest] = set()
        events = size = 0
        for data in request.txs:
            try:
                parsed = self.transactions.get(data)
                self._verify(parsed)
            except COSTLY_ERRORS:
                raise
            except LedgerError:
                continue
            _, left_out = self.app.prepare(parsed.submissions, now, parsed.bundles)
            gone = {number for number, _ in left_out}
            # What was sent again while nobody could order it waits more than once.
            gone |= {
                n
                for n, each in enumerate(parsed.submissions)
                if each.identity in self._recorded or each.identity in seen
            }
            seen.update(each.identity for n, each in enumerate(parsed.submissions) if n not in gone)
            if gone:
                kept = [number for number in range(len(parsed.submissions)) if number not in gone]
                if not kept:
                    continue
                parsed = parsed.keep(kept)
                chosen.append(parsed.encode())  # never larger than it came
                self.transactions.put(chosen[-1], parsed)
            else:
                chosen.append(data)
            events, size = events + parsed.events, size + parsed.size
            if events > BLOCK_EVENTS_MAX or size > BLOCK_BYTES_MAX:  # never the first: each fits a block
                chosen.pop()
                break
        return pb.ResponsePrepareProposal(txs=chosen)

    def process_proposal(self, request: pb.RequestProcessProposal) -> pb.ResponseProcessProposal:
        """Whether an honest node proposed this: a pure question to the committed state (R-N15)."""
        self._discard()
        try:
            if self.retired and request.txs:
                raise moved(self.app.engine)
            block = self._block(request.txs, _time_ms(request.time))
            self.app.process(block, signatures=False)
        except COSTLY_ERRORS:
            raise
        except LedgerError as error:
            self._reject(request, error)
            return pb.ResponseProcessProposal(status=REJECT)
        digest, height, light = request.hash, request.height, len(request.txs) <= 1
        self._later(lambda: self._expect(digest, height, block, light))
        return pb.ResponseProcessProposal(status=ACCEPT)

    def _reject(self, request: pb.RequestProcessProposal, error: LedgerError) -> None:
        """Leave behind who proposed what an honest node would not; nothing of what was proposed."""
        self.alarms.reject(error.code)
        address = request.proposer_address.hex()  # CometBFT names validators as it names nodes
        keys = self.app.head.registry.keys.values()  # a key that has ended still proposes for two heights
        member = next((key.member for key in keys if key.use == CONSENSUS and node_id(key.public) == address), "")
        self._log.warning("proposal.rejected", height=request.height, member=member, proposer=address, code=error.code)

    def _block(self, datas: Sequence[bytes], time: int) -> BlockInput:
        """The block of ours that these transactions make; every signature in it is verified. Raises what says why not."""
        head = self.app.head
        submissions: list[Submission] = []
        bundles: dict[Digest, bytes] = {}
        events = size = 0
        for data in datas:
            parsed = self.transactions.get(data)
            self._verify(parsed)
            submissions.extend(parsed.submissions)
            bundles.update(parsed.bundles)
            events, size = events + parsed.events, size + parsed.size
            if events > BLOCK_EVENTS_MAX or size > BLOCK_BYTES_MAX:
                # Before more is expanded: the block as far as it goes, in which a bundle counts once.
                check_bounds(BlockInput(head.height + 1, time, tuple(submissions), tuple(bundles.values())))
        named = dict.fromkeys(carried_bundles(submissions))
        attachments = tuple(bundles[digest] for digest in named if digest in bundles)
        return BlockInput(head.height + 1, max(time, head.time), tuple(submissions), attachments)

    def extend_vote(self, request: pb.RequestExtendVote) -> pb.ResponseExtendVote:
        """Not enabled (R-N16)."""
        raise FatalError("vote-extension", "vote extensions are not part of this network", height=request.height)

    def verify_vote_extension(self, request: pb.RequestVerifyVoteExtension) -> pb.ResponseVerifyVoteExtension:
        """Not enabled (R-N16)."""
        raise FatalError("vote-extension", "vote extensions are not part of this network", height=request.height)

    # --- blocks ------------------------------------------------------------------------------------------------------

    def finalize_block(self, request: pb.RequestFinalizeBlock) -> pb.ResponseFinalizeBlock:
        """Decide the block that was ordered, unless that is done already; nothing is written."""
        self.settle()
        if request.height != self.height + 1:
            raise FatalError("engine-order", "a block out of order", got=request.height, expected=self.height + 1)
        if self._decided is None or not request.hash or self._decided.hash != request.hash:
            self._discard()
            block = self._block(request.txs, _time_ms(request.time))
            self._decided = self._decide(request.hash, request.height, block, light=len(request.txs) <= 1)
        self._time = _time_ms(request.time)
        if request.misbehavior:
            self._engine.misbehaved(request.height)
        self.transactions.forget(request.txs)
        sealed, before = self._decided.sealed, self.app.head.registry
        if sealed is None:
            digest, after = self.app.info().app_hash, before
        else:
            digest, after = app_hash(sealed.size, sealed.root), sealed.decision.registry
        return pb.ResponseFinalizeBlock(
            tx_results=[pb.ExecTxResult(code=OK) for _ in request.txs],
            # Most blocks leave the very registry that they found.
            validator_updates=[] if after is before else _updates(_powers(before), _powers(after)),
            app_hash=digest,
        )

    def _expect(self, digest: bytes, height: int, block: BlockInput, light: bool) -> None:
        """Decide a proposal that we accepted, while the others vote on it."""
        if self._decided is None and self._unwritten is None and height == self.height + 1:
            try:
                self._decided = self._decide(digest, height, block, light=light)
            except COSTLY_ERRORS:
                self._discard()  # if it is ordered, it is tried again, and the failure is an answer then

    def _decide(self, digest: bytes, height: int, block: BlockInput, *, light: bool) -> Decided:
        for attempt in range(FAULT_TRIES):
            try:
                sealed = None if self.retired else self.app.finalize_ordered(block)
            except RuntimeFault as fault:
                # Ours alone, or everybody's: either way it is no verdict (R-R07), and this node may not go on without one.
                self.app.discard()
                reason = str(fault)
                if attempt + 1 < FAULT_TRIES:
                    continue
                raise FatalError("rule-fault", "the rule worker failed again and again", reason=reason) from fault
            if sealed is not None:
                self._engine.sealed(sealed)
            return Decided(digest, height, sealed, block.submissions, light)
        raise FatalError("invariant", "unreachable")

    def commit(self, request: pb.RequestCommit) -> pb.ResponseCommit:
        """Take the decided block as committed; it is written once this answer has left."""
        del request
        self.settle()
        if self._decided is None:
            raise FatalError("engine-order", "commit without a decided block")
        decided, self._decided = self._decided, None
        self._unwritten, self.height = decided, decided.height
        for submission in decided.submissions:
            self._recorded[submission.identity] = None
        while len(self._recorded) > RECORDED_MAX:
            self._recorded.popitem(last=False)
        self._later(self.settle)
        oldest = self.snapshots.oldest if self.snapshots is not None else 0
        return pb.ResponseCommit(retain_height=self.pruning.retain_height(self.height, self._time, oldest))

    def knows(self, identity: Digest) -> bool:
        """Whether a submission was ordered lately (any thread); it may not be written yet (see `settle`)."""
        return identity in self._recorded

    def settle(self) -> None:
        """Write what was committed, if that is still to be done."""
        if self._unwritten is not None:
            unwritten, self._unwritten = self._unwritten, None
            self._engine.write(unwritten)

    def _discard(self) -> None:
        """Start over at what is committed."""
        self.settle()
        self._decided = None
        self.app.discard()

    # --- snapshots ---------------------------------------------------------------------------------------------------

    def list_snapshots(self, request: pb.RequestListSnapshots) -> pb.ResponseListSnapshots:
        """What this node offers to nodes that join (R-N73)."""
        del request
        return self.snapshots.list() if self.snapshots is not None else pb.ResponseListSnapshots()

    def offer_snapshot(self, request: pb.RequestOfferSnapshot) -> pb.ResponseOfferSnapshot:
        """Refused: a node that joins by one answers with `statesync`."""
        del request
        return pb.ResponseOfferSnapshot(result=pb.ResponseOfferSnapshot.REJECT)

    def load_snapshot_chunk(self, request: pb.RequestLoadSnapshotChunk) -> pb.ResponseLoadSnapshotChunk:
        """One chunk of what is offered."""
        return self.snapshots.load(request) if self.snapshots is not None else pb.ResponseLoadSnapshotChunk()

    def apply_snapshot_chunk(self, request: pb.RequestApplySnapshotChunk) -> pb.ResponseApplySnapshotChunk:
        """Refused: see `offer_snapshot`."""
        del request
        return pb.ResponseApplySnapshotChunk(result=pb.ResponseApplySnapshotChunk.ABORT)


def _refusal(error: LedgerError) -> pb.ResponseCheckTx:
    return pb.ResponseCheckTx(code=REFUSED, log=str(error), codespace=error.code)


def _time_ms(stamp: Timestamp) -> int:
    """Unix ms of a protobuf timestamp, rounded down."""
    return int(stamp.seconds) * 1_000 + int(stamp.nanos) // 1_000_000


def _powers(registry: Registry) -> dict[bytes, int]:
    """Voting power by raw consensus key: the same each (R-N02)."""
    return {key.raw: VALIDATOR_POWER for _, key in registry.validators()}


def _updates(before: dict[bytes, int], after: dict[bytes, int]) -> list[pb.ValidatorUpdate]:
    """What changed, in the order of the keys; power 0 takes a validator out. In force two heights later."""
    changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    return [pb.ValidatorUpdate(pub_key=pb.PublicKey(ed25519=key), power=after.get(key, 0)) for key in changed]
