"""A chain that a vote left: the handler of its nodes makes no more blocks of the ledger, and says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ledger import framing
from ledger.core.engine import chain_id
from ledger.core.submission import Submission
from ledger.errors import LedgerError, UnavailableError
from ledger.machine.block import Sealed
from ledger_node.comet import abci_pb2 as pb
from ledger_node.comet.handler import Decided, Handler
from ledger_node.comet.pruning import Pruning
from tests.models.abci_network import stamp
from tests.models.governed import Governed
from tests.models.moved import NOTICE, MovedLedger
from tests.models.transactions import encode_transaction
from tests.unit.machine.test_validators import validating


class Node:
    """A handler over a ledger, written at once."""

    def __init__(self, ledger: Governed, moves: int = 0) -> None:
        self.ledger, self.app = ledger, ledger.app
        self.later: list[Callable[[], None]] = []
        self.handler = Handler(self.app, chain_id(ledger.origin, moves), self, self.later.append)

    def sealed(self, sealed: Sealed) -> None:
        del sealed

    def write(self, decided: Decided) -> None:
        if decided.sealed is None:
            self.app.store.write_engine_height(decided.height)
        else:
            self.app.commit(self.ledger.log_note(decided.sealed.size, decided.sealed.root), (), decided.height)

    def misbehaved(self, height: int) -> None:
        del height

    def dropped(self, submission: Submission, error: LedgerError) -> None:
        del submission, error

    def height(self, time_ms: int, *txs: bytes) -> tuple[bytes, int]:
        """One height through FinalizeBlock and Commit; app hash and retain height."""
        height = self.handler.height + 1
        request = pb.RequestFinalizeBlock(txs=txs, height=height, time=stamp(time_ms), hash=height.to_bytes(32, "big"))
        answer = self.handler.finalize_block(request)
        retain = self.handler.commit(pb.RequestCommit()).retain_height
        while self.later:
            self.later.pop(0)()
        return answer.app_hash, retain


def test_a_chain_that_was_left_makes_no_more_blocks() -> None:
    """SPEC R-N60: the seam is ordered, then nothing: timers and events wait for the next chain, and app_hash stays."""
    ledger = validating()
    args = {"chain_id": chain_id(ledger.origin, 1), "engine": "cometbft"}
    event = ledger.propose("sys.engine.move", {}, args)
    ledger.record("ga", event)
    for voter in ("ga", "gx", "mz"):
        ledger.record(voter, ledger.approve(f"ga/{event.id}", event, voter))
    node = Node(ledger)
    timer = ledger.app.head.time + NOTICE + 5_000
    first = ledger.submission("ga", [ledger.event(timers={"timer/T1/thing/a": timer})])
    node.height(ledger.now_ms, encode_transaction(bytes(8), [framing.encode(first)]))
    assert not node.handler.retired
    before = ledger.app.head.height
    seam, _ = node.height(ledger.app.head.time + NOTICE + 1)
    assert node.handler.retired and ledger.app.head.height == before + 1 == ledger.app.engine.seam
    late = ledger.submission("ga", [ledger.event()])
    data = encode_transaction(bytes(8), [framing.encode(late)])
    refused = node.handler.check_tx(pb.RequestCheckTx(tx=data))
    assert (refused.code != 0, refused.codespace) == (True, "engine-moved")
    (reason,) = node.handler.transactions.get(data).refused.values()
    assert isinstance(reason, UnavailableError) and reason.evidence["retry_after_s"]
    now = stamp(timer + 1)
    assert not node.handler.prepare_proposal(pb.RequestPrepareProposal(txs=[data], time=now)).txs
    for txs, expected in (([], pb.ResponseProcessProposal.ACCEPT), ([data], pb.ResponseProcessProposal.REJECT)):
        answer = node.handler.process_proposal(pb.RequestProcessProposal(txs=txs, time=now, height=3))
        assert answer.status == expected
    for step in range(3):
        assert node.height(timer + step)[0] == seam
    assert ledger.app.head.height == before + 1


def test_a_moved_chain_begins_at_the_seam(tmp_path: Path) -> None:
    """SPEC R-N61: InitChain answers with the app hash of the seam, and the first block of ours is the one behind it."""
    ledger = MovedLedger(tmp_path)
    ledger.prepare()
    seam = ledger.move().height
    node = Node(ledger, moves=1)
    assert node.handler.info(pb.RequestInfo()).last_block_height == 0
    validators = [
        pb.ValidatorUpdate(pub_key=pb.PublicKey(ed25519=key.raw), power=10)
        for _, key in ledger.app.head.registry.validators()
    ]
    begun = node.handler.init_chain(
        pb.RequestInitChain(
            chain_id=chain_id(ledger.origin, 1),
            validators=validators,
            app_state_bytes=b'{"origin":"%s"}' % ledger.origin.encode("ascii"),
        )
    )
    assert begun.app_hash == ledger.app.info().app_hash
    assert node.height(ledger.now_ms)[0] == begun.app_hash
    sent = ledger.submission("gx", [ledger.event()])
    node.height(ledger.now_ms, encode_transaction(bytes(8), [framing.encode(sent)]))
    assert ledger.app.head.height == seam + 1 and not node.handler.retired


def test_commit_says_what_may_go(tmp_path: Path) -> None:
    """SPEC R-N64: by default nothing; else what is older than the limit and than both bounds of evidence."""
    ledger = MovedLedger(tmp_path)
    ledger.prepare()
    ledger.move()
    node = Node(ledger, moves=1)
    start = ledger.now_ms
    assert [node.height(start + step)[1] for step in range(20)] == [0] * 20
    node.handler.pruning = Pruning(3, evidence_blocks=2, evidence_ms=5_000, mark_every=1)
    retained = [node.height(start + 1_000 * step)[1] for step in range(1, 13)]
    first = 21  # the height of the first of these; at 1 s a height five seconds are more than three blocks
    assert retained == [0] * 5 + [first + step for step in range(7)]
