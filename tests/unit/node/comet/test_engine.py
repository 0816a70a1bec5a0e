"""What the engine says at once of a submission: it was ordered before, or nobody would order it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger import framing
from ledger.adapters.home.signerstate import SignerState
from ledger.adapters.memory import Memory
from ledger.core.event import new_event
from ledger.core.hashing import sha256
from ledger.core.ident import uuid7_at
from ledger.core.keys import Ed25519Signer
from ledger.core.submission import Submission, new_submission
from ledger.errors import RejectedError
from ledger.limits import EVENT_PAST_MAX_MS
from ledger_node.comet import abci_pb2 as pb
from ledger_node.comet.engine import CometEngine
from ledger_node.comet.gateway import GIVE_UP_S
from tests.models.abci_network import CHAIN, GENESIS, open_application, stamp
from tests.models.accept_all import event_signer
from tests.models.transactions import encode_transaction

DAY_MS = 86_400_000


class Beside:
    """In place of CometBFT: neither started nor sent anything."""

    def start(self) -> None:
        raise AssertionError

    def close(self) -> None:
        """Nothing runs."""

    def broadcast(self, tx: bytes) -> None:
        raise AssertionError(tx)


@pytest.fixture
def engine(tmp_path: Path) -> CometEngine:
    """An engine that is not started, over an empty ledger."""
    signer = Ed25519Signer(sha256(b"log key"))
    state = SignerState.create(tmp_path / "log.state", GENESIS.origin, signer.public.key_id)
    beside = Beside()
    return CometEngine(open_application(Memory()), signer, state, tmp_path, CHAIN, made(beside), beside)


def made(beside: Beside) -> Callable[[Callable[[int], None]], Beside]:
    def make(on_exit: Callable[[int], None]) -> Beside:
        del on_exit
        return beside

    return make


def submission(at_ms: int) -> Submission:
    event = new_event(
        event_id=uuid7_at(at_ms, os.urandom(10)), kind="test.event", refs={"thing": "t1"}, time_ms=at_ms,
        salt=os.urandom(16), content={},
    )  # fmt: skip
    return new_submission(GENESIS.origin, "ga", event_signer("ga"), [event])


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def order(engine: CometEngine, ordered: Submission) -> None:
    """CometBFT has a block with it decided and committed; the write is still to come."""
    tx = encode_transaction(bytes(8), [framing.encode(ordered)])
    request = pb.RequestFinalizeBlock(txs=[tx], height=engine.handler.height + 1, time=stamp(now_ms()), hash=b"h")
    engine.handler.finalize_block(request)
    engine.handler.commit(pb.RequestCommit())


@pytest.mark.parametrize("days", [-401, -4_000, 1])
def test_an_event_of_another_time_is_refused_at_once(engine: CometEngine, days: int) -> None:
    """SPEC R-L13: an id that no proposer would take is refused with its index, not left waiting."""
    with pytest.raises(RejectedError) as caught:
        engine.submit(submission(now_ms() + days * DAY_MS))
    assert caught.value.code == "event-time"
    assert caught.value.evidence["index"] == 0
    assert not engine.submit(submission(now_ms())).done()


def test_an_id_that_gets_too_old_while_it_waits_is_refused_at_once(engine: CometEngine) -> None:
    """SPEC R-N19: within the time that a client waits for an order no id that was taken becomes too old for one."""
    oldest = now_ms() - EVENT_PAST_MAX_MS
    with pytest.raises(RejectedError) as caught:
        engine.submit(submission(oldest + int(1_000 * GIVE_UP_S) - 1_000))
    assert (caught.value.code, caught.value.evidence["index"]) == ("event-time", 0)
    assert isinstance(caught.value.evidence["block_time"], int)
    assert not engine.submit(submission(oldest + int(1_000 * GIVE_UP_S) + DAY_MS)).done()


def test_what_was_ordered_before_is_answered_once_it_is_durable(engine: CometEngine) -> None:
    """A submission that comes again is answered with the head and sent nowhere; what was still to be written is written
    before anybody hears of it."""
    again = submission(now_ms())
    order(engine, again)
    assert engine.app.head.height == 0
    future = engine.submit(again)
    assert not future.done()
    engine.run_tasks()
    answer = future.result(0)
    assert engine.app.head.height == answer.height == 1
    assert [event.seq for event in answer.events] == [None]
    assert engine.app.store.find_events([("ga", again.events[0].id)])


def test_what_is_ordered_while_it_is_queued_is_answered(engine: CometEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same submission comes from another node and is ordered between the question and the queue: nobody waits for it."""
    again = submission(now_ms())
    queue = engine.gateway.submit

    def ordered_meanwhile(given: Submission, framed: bytes | None = None) -> object:
        order(engine, given)
        engine.handler.settle()
        return queue(given, framed)

    monkeypatch.setattr(engine.gateway, "submit", ordered_meanwhile)
    future = engine.submit(again)
    engine.run_tasks()
    assert future.result(0).height == 1
