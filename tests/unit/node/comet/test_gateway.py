"""What waits is bundled, sent, sent again, and answered once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import pytest

from ledger.adapters.memory import MemoryStore
from ledger.adapters.ordering.sequencer import Committed
from ledger.cli.settings import Settings
from ledger.client.http import TIMEOUT_S
from ledger.core.hashing import Digest
from ledger.core.submission import Submission
from ledger.errors import LedgerError, MalformedError, RejectedError, UnavailableError
from ledger_node.comet import gateway as module
from ledger_node.comet import transaction
from ledger_node.comet.gateway import IN_FLIGHT_MAX, Gateway, replay_answer
from ledger_node.comet.transaction import Transaction
from tests.models.accept_all import Network, log_note
from tests.unit.node.comet.test_transaction import BUNDLE, proposal, submission

WAIT_S = 5.0


class Engine:
    """In CometBFT's place: keeps what it is given, or refuses it."""

    def __init__(self) -> None:
        self.sent: list[Transaction] = []
        self.refuse: LedgerError | None = None
        self.arrived = threading.Condition()

    def broadcast(self, tx: bytes) -> None:
        with self.arrived:
            self.arrived.notify_all()
            if self.refuse is not None:
                raise self.refuse
            self.sent.append(transaction.parse(tx))

    def await_sent(self, count: int) -> None:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.sent) >= count, WAIT_S)


@contextmanager
def running(
    engine: Engine, bundle: Callable[[Digest], bytes] = lambda _: BUNDLE
) -> Iterator[tuple[Gateway, dict[bytes, Transaction]]]:
    remembered: dict[bytes, Transaction] = {}
    gateway = Gateway(engine, bundle, remembered.__setitem__)
    gateway.start()
    try:
        yield gateway, remembered
    finally:
        gateway.close()


def commit(gateway: Gateway, network: Network, submissions: list[Submission]) -> None:
    sealed, note = network.seal(submissions)
    network.app.commit(note)
    gateway.committed(sealed, log_note("x/" + "0" * 64, sealed.size, sealed.root))


def test_what_waits_leaves_together() -> None:
    """One submission leaves at once; those that come while the allowed transactions are under way leave as one."""
    engine, network = Engine(), Network(MemoryStore())
    with running(engine) as (gateway, remembered):
        futures: list[Future[Committed]] = []
        for number in range(IN_FLIGHT_MAX):
            futures.append(gateway.submit(submission(number)))
            engine.await_sent(number + 1)
        futures += [gateway.submit(submission(number)) for number in range(IN_FLIGHT_MAX, IN_FLIGHT_MAX + 5)]
        time.sleep(0.05)
        assert len(engine.sent) == IN_FLIGHT_MAX
        commit(gateway, network, list(engine.sent[0].submissions))
        engine.await_sent(IN_FLIGHT_MAX + 1)
        assert len(engine.sent[-1].submissions) == 5
        commit(gateway, network, [s for each in engine.sent[1:] for s in each.submissions])
        answers = [future.result(WAIT_S) for future in futures]
        assert [answer.events[0].outcome for answer in answers] == [1] * len(futures)
        assert all(parsed.verified for parsed in remembered.values())


def test_who_waited_leaves_with_those_who_were_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a block its clients are waited for a moment, and leave in one transaction with what waited before."""
    monkeypatch.setattr(module, "GATHER_S", WAIT_S)
    engine, network = Engine(), Network(MemoryStore())
    with running(engine) as (gateway, _):
        for number in range(IN_FLIGHT_MAX):
            gateway.submit(submission(number))
            engine.await_sent(number + 1)
        for number in range(2):
            gateway.submit(submission(IN_FLIGHT_MAX + number))
        commit(gateway, network, [submission(0)])
        time.sleep(0.05)
        assert len(engine.sent) == IN_FLIGHT_MAX
        gateway.submit(submission(IN_FLIGHT_MAX + 2))
        engine.await_sent(IN_FLIGHT_MAX + 1)
        assert len(engine.sent[-1].submissions) == 3


def test_who_is_waited_for_in_vain_holds_nobody_up() -> None:
    """Where those who were answered send nothing more, what waits leaves after a moment."""
    engine, network = Engine(), Network(MemoryStore())
    with running(engine) as (gateway, _):
        for number in range(2):
            gateway.submit(submission(number))
            engine.await_sent(number + 1)
        commit(gateway, network, [submission(0), submission(1)])
        gateway.submit(submission(2))
        engine.await_sent(3)
        assert len(engine.sent[-1].submissions) == 1


def test_bytes_under_way_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """While as many bytes as allowed are under way, the next submission waits for an answer."""
    monkeypatch.setattr(module, "IN_FLIGHT_BYTES", 1)
    engine, network = Engine(), Network(MemoryStore())
    with running(engine) as (gateway, _):
        gateway.submit(submission(0))
        engine.await_sent(1)
        gateway.submit(submission(1))
        time.sleep(0.05)
        assert len(engine.sent) == 1
        commit(gateway, network, [submission(0)])
        engine.await_sent(2)


@pytest.mark.parametrize(("limit", "most"), [("BLOCK_EVENTS_MAX", 2), ("BLOCK_BYTES_MAX", 12_000)])
def test_a_transaction_holds_no_more_than_a_block(monkeypatch: pytest.MonkeyPatch, limit: str, most: int) -> None:
    """SPEC R-N11: what waits together leaves in as many transactions as its events or its bytes need."""
    monkeypatch.setattr(module, limit, most)
    engine, network = Engine(), Network(MemoryStore())
    with running(engine) as (gateway, _):
        parts = [submission(number, note="a" * 5_000) for number in range(IN_FLIGHT_MAX + 3)]
        for number in range(IN_FLIGHT_MAX):
            gateway.submit(parts[number])
            engine.await_sent(number + 1)
        for part in parts[IN_FLIGHT_MAX:]:
            gateway.submit(part)
        commit(gateway, network, parts[:IN_FLIGHT_MAX])
        engine.await_sent(IN_FLIGHT_MAX + 2)
        assert [len(each.submissions) for each in engine.sent[IN_FLIGHT_MAX:]] == [2, 1]


def test_one_submission_asked_for_twice_is_sent_once() -> None:
    """Two clients that send the same bytes get the same answer from one transaction."""
    engine, network = Engine(), Network(MemoryStore())
    with running(engine) as (gateway, _):
        first, second = gateway.submit(submission()), gateway.submit(submission())
        engine.await_sent(1)
        commit(gateway, network, [submission()])
        assert first.result(WAIT_S) == second.result(WAIT_S)
        assert len(engine.sent) == 1


def test_a_replay_is_answered_with_the_head() -> None:
    """A submission whose events all stand in the log is answered without a block of its own."""
    engine = Engine()
    with running(engine) as (gateway, _):
        future = gateway.submit(submission())
        engine.await_sent(1)
        gateway.replayed([submission(), submission(7)], lambda each: replay_answer(3, 5, 9, b"note", each))
        assert future.result(WAIT_S).events[0].seq is None
        assert future.result(WAIT_S).height == 3


def test_a_full_mempool_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """While CometBFT takes nothing the submission waits here, and is sent when it does."""
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    engine = Engine()
    engine.refuse = UnavailableError("mempool-full", "full")
    with running(engine) as (gateway, _):
        future = gateway.submit(submission())
        with engine.arrived:
            engine.arrived.wait(WAIT_S)
        engine.refuse = None
        engine.await_sent(1)
        assert not future.done()


def test_a_mempool_that_stays_full_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits while the mempool stays full is told so, with a time to come back; nothing was acknowledged."""
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    monkeypatch.setattr(module, "FULL_S", 0.05)
    engine = Engine()
    engine.refuse = UnavailableError("mempool-full", "full", retry_after_s=1)
    with running(engine) as (gateway, _):
        futures = [gateway.submit(submission(number)) for number in range(3)]
        for future in futures:
            with pytest.raises(UnavailableError, match="mempool-full"):
                future.result(WAIT_S)
        engine.refuse = None
        again = gateway.submit(submission(0))
        engine.await_sent(1)
        assert not again.done()


def test_what_was_lost_is_sent_again() -> None:
    """After a new start of CometBFT, whose mempool is memory only, everything under way is sent again, as new bytes."""
    engine = Engine()
    with running(engine) as (gateway, _):
        gateway.submit(submission())
        engine.await_sent(1)
        gateway.forget_flights()
        engine.await_sent(2)
        assert engine.sent[0].submissions == engine.sent[1].submissions
        assert engine.sent[0].nonce != engine.sent[1].nonce


def test_what_is_not_ordered_in_time_is_not_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client is told to send again; nothing waits for ever."""
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    monkeypatch.setattr(module, "GIVE_UP_S", 0.05)
    engine = Engine()
    with running(engine) as (gateway, _):
        future = gateway.submit(submission())
        with pytest.raises(UnavailableError, match="not acknowledged"):
            future.result(WAIT_S)


def test_what_is_refused_is_told() -> None:
    """A refusal by CometBFT's check, and one by a later check of the mempool, reach the client."""
    engine = Engine()
    engine.refuse = RejectedError("check-tx", "no")
    with running(engine) as (gateway, _):
        with pytest.raises(RejectedError):
            gateway.submit(submission()).result(WAIT_S)
        engine.refuse = None
        future = gateway.submit(submission(2))
        engine.await_sent(1)
        gateway.dropped(submission(2), RejectedError("key-revoked", "no longer"))
        with pytest.raises(RejectedError, match="no longer"):
            future.result(WAIT_S)


def test_a_proposal_brings_its_bundle() -> None:
    """A submission that names a bundle travels alone, with the bundle; one without its bundle is refused."""
    engine = Engine()
    with running(engine) as (gateway, _):
        gateway.submit(proposal())
        engine.await_sent(1)
        assert list(engine.sent[0].bundles.values()) == [BUNDLE]

    def missing(digest: Digest) -> bytes:
        raise RejectedError("bundle-missing", "send it first", expected=digest)

    with running(engine, missing) as (gateway, _), pytest.raises(RejectedError):
        gateway.submit(proposal()).result(WAIT_S)


@pytest.mark.parametrize(("limit", "most"), [("EVENTS", 1), ("BYTES", 200)])
def test_more_than_the_node_can_hold_is_refused(monkeypatch: pytest.MonkeyPatch, limit: str, most: int) -> None:
    """Beyond the bound of events or bytes a client keeps its events; after `close` everybody does."""
    monkeypatch.setattr(module, f"SEQUENCER_QUEUE_{limit}_MAX", most)
    engine = Engine()
    with running(engine) as (gateway, _):
        waiting = gateway.submit(submission())
        with pytest.raises(UnavailableError, match="more events"):
            gateway.submit(submission(2))
    with pytest.raises(UnavailableError):
        waiting.result(WAIT_S)
    with pytest.raises(UnavailableError):
        gateway.submit(submission(3))


def test_a_proposal_that_leaves_no_room_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction could not carry it and its bundle."""
    monkeypatch.setattr(module, "TRANSACTION_BYTES_MAX", 100)
    with running(Engine()) as (gateway, _), pytest.raises(MalformedError):
        gateway.submit(proposal())


def test_a_client_waits_longer_than_the_node_does() -> None:
    """What was not ordered in time is said by the node (503 `order-wait`), before a client takes it for unreachable."""
    assert min(TIMEOUT_S, Settings({}, {}).timeout_s()) >= module.GIVE_UP_S + 10
