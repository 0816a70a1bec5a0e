"""Both engines under the rulebook that is shipped: the same submissions at the same times give the same ledger.

The sequencer is driven a step at a time on a clock that stands still, CometBFT's application by the calls that CometBFT
makes; and blocks that a real network of CometBFT made are executed once more on the sequencer's path.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pytest

from ledger import framing
from ledger.adapters.home.signerstate import SignerState
from ledger.adapters.memory import MemoryStore
from ledger.adapters.ordering.clock import ScenarioClock
from ledger.adapters.ordering.sequencer import Committed, Placement, Sequencer, placements
from ledger.adapters.runtime.compiling import genesis_config
from ledger.adapters.runtime.worker import Inline
from ledger.app import Application
from ledger.core.event import new_event, parse_event
from ledger.core.genesis import COMETBFT, Genesis, parse_genesis
from ledger.core.hashing import sha256
from ledger.core.ident import uuid7_time
from ledger.core.keys import LOG
from ledger.core.leaf import TimerLeaf, parse_leaf
from ledger.core.maptree import MapTree
from ledger.core.submission import Submission, new_submission
from ledger.errors import LedgerError
from ledger.machine.block import Sealed
from ledger.machine.seal import seal_genesis
from ledger_node.comet import abci_pb2 as pb
from ledger_node.comet.handler import ACCEPT, Decided, Handler
from scripts.bench.workload import MEMBERS
from tests.models.abci_network import stamp
from tests.models.any_kind import HOUR_MS, AnyKind, Draw
from tests.models.comet_network import CometNetwork, Load, Setup, comet_network
from tests.models.real_ledger import bundles, make_genesis, signer
from tests.models.transactions import encode_transaction
from tests.unit.rules.books import contract_program

PROGRAM = contract_program()
START_MS = 1_790_000_000_000
RULEBOOK, CALENDAR, STORED = bundles()
GENESIS = make_genesis(RULEBOOK, CALENDAR, START_MS, COMETBFT)
ROUNDS_MAX = 50

Told = list[tuple[int | None, int, bytes]]
"""What is told of the events of a submission: place in the log, outcome, verdict."""


def open_application(genesis: Genesis = GENESIS) -> tuple[Application, MemoryStore]:
    """The application over an empty ledger in memory."""
    sealed, _ = seal_genesis(genesis, genesis_config(genesis, PROGRAM), MapTree.empty())
    store = MemoryStore()
    store.write_genesis(genesis.data, STORED, sealed, b"")
    return Application(store, lambda _store, _head: (PROGRAM, Inline(PROGRAM))), store


class Here(Sequencer):
    """A sequencer that orders a ledger whose genesis names the other engine, so that both have the same genesis."""

    @property
    def at_seam(self) -> bool:
        """Never."""
        return False


class BySequencer:
    """The embedded engine, a step at a time."""

    def __init__(self, folder: Path, genesis: Genesis = GENESIS) -> None:
        self.app, self.store = open_application(genesis)
        key = signer(MEMBERS[0], LOG)
        state = SignerState.create(folder / "log.state", genesis.origin, key.public.key_id)
        self.clock = ScenarioClock(genesis.time)
        self.engine = Here(self.app, key, state, self.clock)

    def record(self, time: int, submissions: Sequence[Submission]) -> list[Told]:
        """Order the submissions at `time`; what is told of each."""
        self.clock.step(max(time, self.clock.now_ms()))
        futures: list[Future[Committed]] = []
        for submission in submissions:
            self.app.check(submission)
            futures.append(self.engine.submit(submission))
        for _ in range(ROUNDS_MAX):
            if all(future.done() for future in futures) and not self.app.timer_due(self.clock.now_ms()):
                break
            self.engine.step()
        return [told(future.result(0).events) for future in futures]


class ByCometBFT:
    """CometBFT's application, called as CometBFT calls it; each submission in a transaction of its own, or all in one."""

    def __init__(self, *, bundled: bool) -> None:
        self.app, self.store = open_application()
        self.bundled = bundled
        self._later: list[Callable[[], None]] = []
        self._answers: dict[bytes, Told] = {}
        chain = self.app.engine.chain_id or "chain"
        self.handler = Handler(self.app, chain, self, self._later.append)
        self._time = 0
        self.handler.now_ms = lambda: self._time
        self._numbers = 0

    def sealed(self, sealed: Sealed) -> None:
        """See `Ordering`."""

    def write(self, decided: Decided) -> None:
        """See `Ordering`."""
        for submission in decided.submissions:
            self._answers[submission.identity] = [(None, 0, b"")] * len(submission.events)
        if decided.sealed is None:
            self.app.store.write_engine_height(decided.height)
            return
        self.app.commit(b"", (), decided.height)
        places = placements(decided.sealed.decision, decided.sealed.header.first_seq)
        for number, submission in enumerate(decided.sealed.decision.block.submissions):
            self._answers[submission.identity] = told(places[number])

    def dropped(self, submission: Submission, error: LedgerError) -> None:
        """See `Ordering`."""
        raise AssertionError((submission, error))

    def misbehaved(self, height: int) -> None:
        """See `Ordering`."""
        raise AssertionError(height)

    def record(self, time: int, submissions: Sequence[Submission]) -> list[Told]:
        """Order the submissions at `time`; what is told of each."""
        self._time = time
        # What was ordered before is answered by the engine at once, and proposed by nobody.
        framed = [framing.encode(each) for each in submissions if not self.handler.knows(each.identity)]
        parts = [framed] if self.bundled and framed else [[each] for each in framed]
        mempool = [encode_transaction(self._nonce(), part) for part in parts]
        for tx in mempool:
            assert self.handler.check_tx(pb.RequestCheckTx(tx=tx)).code == 0
        self._answers.clear()
        for _ in range(ROUNDS_MAX):
            self._round(time, mempool)
            mempool = [
                tx
                for tx in mempool
                if self.handler.check_tx(pb.RequestCheckTx(tx=tx, type=pb.CHECK_TX_RECHECK)).code == 0
            ]
            if not mempool and not self.app.timer_due(time):
                break
        return [self._answers.get(each.identity, [(None, 0, b"")] * len(each.events)) for each in submissions]

    def _nonce(self) -> bytes:
        self._numbers += 1
        return self._numbers.to_bytes(8, "big")

    def _round(self, time: int, mempool: list[bytes]) -> None:
        """A height: proposed, voted on, decided, committed and written."""
        height, when = self.handler.height + 1, stamp(time)
        asked = pb.RequestPrepareProposal(txs=mempool, max_tx_bytes=10**6, height=height, time=when)
        txs = self.handler.prepare_proposal(asked).txs
        digest = sha256(repr((height, list(txs))).encode())
        vote = self.handler.process_proposal(pb.RequestProcessProposal(txs=txs, height=height, time=when, hash=digest))
        assert vote.status == ACCEPT
        self._rest()
        self.handler.finalize_block(pb.RequestFinalizeBlock(txs=txs, height=height, time=when, hash=digest))
        self.handler.commit(pb.RequestCommit())
        self._rest()

    def _rest(self) -> None:
        while self._later:
            self._later.pop(0)()


def told(events: Sequence[Placement]) -> Told:
    """Placements as they are compared."""
    return [(each.seq, each.outcome, each.verdict) for each in events]


@dataclass(frozen=True, slots=True)
class Moment:
    """What is submitted at one time."""

    time: int
    submissions: list[Submission]


def history(seed: int, count: int) -> Iterator[Moment]:
    """A grant in use and then events of any kind, some together, some again, some under an id that was used before."""
    dice = random.Random(seed)
    kinds = sorted(PROGRAM.book.kinds)
    made = AnyKind(PROGRAM, START_MS)
    made.lead()
    for _ in range(count):
        made.add(Draw(dice.choice((0, 0, 0, 1, 30, 960)), dice.choice(kinds), dice.getrandbits(32)))
    sent: list[Submission] = []
    for time, group in groupby(made.made, key=lambda each: each.time):
        now: list[Submission] = []
        for who, part in groupby(group, key=lambda each: (each.step.member, each.label)):
            events = [parse_event(each.step.head, each.step.body) for each in part]
            now.append(new_submission(GENESIS.origin, who[0], signer(*who), events))
        sent += now
        recent = [each for each in sent if uuid7_time(each.events[0].fields["id"]) > time - 300 * 24 * HOUR_MS]
        if dice.random() < 0.6:
            now.append(dice.choice(recent))
        if dice.random() < 0.6:
            now.append(_other_content(dice.choice(recent)))
        yield Moment(time + HOUR_MS, list({each.identity: each for each in now}.values()))


def _other_content(submission: Submission) -> Submission:
    """The first event of a submission under its id with other content, by the same member."""
    first = submission.events[0]
    other = new_event(
        event_id=first.fields["id"], kind=first.fields["kind"], refs=first.fields["refs"],
        time_ms=uuid7_time(first.fields["id"]), salt=b"other content 16", content={},
    )  # fmt: skip
    return new_submission(GENESIS.origin, submission.member, signer(submission.member, "office"), [other])


@pytest.mark.parametrize("bundled", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_same_submissions_give_the_same_ledger(seed: int, bundled: bool, tmp_path: Path) -> None:
    """Told the same of each event, with the same headers, leaves, roots, state objects and timers, whichever engine orders
    and however its transactions are cut."""
    one, two = BySequencer(tmp_path), ByCometBFT(bundled=bundled)
    counts = {"events": 0, "again": 0, "refused": 0}
    for moment in history(seed, 25):
        answers = one.record(moment.time, moment.submissions)
        assert two.record(moment.time, moment.submissions) == answers
        assert one.app.head.log.root() == two.app.head.log.root()
        for answer in answers:
            counts["events"] += len(answer)
            counts["again"] += sum(seq is None for seq, _, _ in answer)
            counts["refused"] += sum(b"conflict" in verdict for _, _, verdict in answer)
    assert min(counts.values()) > 0, counts
    blocks = [
        [(sealed.header, sealed.leaves, sealed.root) for sealed, _ in each.store.memory.blocks] for each in (one, two)
    ]
    assert blocks[0] == blocks[1] and len(blocks[0]) > 10
    assert any(isinstance(parse_leaf(leaf), TimerLeaf) for _, leaves, _ in blocks[1] for leaf in leaves[:-1])
    assert one.store.memory.rows == two.store.memory.rows
    assert one.store.memory.timers == two.store.memory.timers


@pytest.fixture(scope="module")
def network(cometbft: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CometNetwork]:
    """Four validators that recorded what several clients sent at once."""
    with comet_network(tmp_path_factory.mktemp("comet"), cometbft, Setup(grants=6)) as found:
        with Load(found, batch=5) as load:
            found.progress()
            found.progress()
        found.send_again(load)
        found.await_level()
        yield found


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_blocks_of_a_real_network_on_the_sequencer_s_path(network: CometNetwork, tmp_path: Path) -> None:
    """What four validators ordered, executed by the sequencer at the same times: equal headers, leaves and roots."""
    with network.nodes[1].snapshot() as snap:
        genesis = parse_genesis(snap.genesis())
        engine = BySequencer(tmp_path, genesis)
        for height in range(1, snap.head_height + 1):
            block = snap.block(height)
            engine.record(block.time, [framing.parse(each) for each in snap.submissions(height)])
            assert engine.app.head.height == height
            sealed, _ = engine.store.memory.blocks[-1]
            assert sealed.leaves == snap.block_leaves(height)
            assert (sealed.leaves[-1], sealed.size) == (block.header_leaf, block.size)
        assert engine.app.head.size == snap.head_size > 100
    network.check(audited=[network.nodes[1]])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_records_of_a_real_network_and_of_a_sequencer(network: CometNetwork, tmp_path: Path) -> None:
    """Each event that clients sent to four validators gets the same outcome and verdict when one sequencer records them in
    the order of the log, in blocks of its own making."""
    with network.nodes[2].snapshot() as snap:
        genesis = parse_genesis(snap.genesis())
        engine = BySequencer(tmp_path, genesis)
        told_there: dict[str, str] = {}
        for height in range(1, snap.head_height + 1):
            for framed in snap.submissions(height):
                submission = framing.parse(framed)
                (answer,) = engine.record(snap.block(height).time, [submission])
                for event, (_, outcome, _) in zip(submission.events, answer, strict=True):
                    told_there.setdefault(event.fields["id"], ("refused", "accepted", "irregular")[outcome])
    assert network.history.events
    for event_id, (_, _, told_here) in network.history.events.items():
        assert told_there[event_id] == told_here
