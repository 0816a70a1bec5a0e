"""What waits is bundled, sent, sent again, and answered once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager

import pytest
from structlog.testing import capture_logs

from ledger.adapters.memory import MemoryStore
from ledger.adapters.ordering.sequencer import Committed
from ledger.cli.settings import Settings
from ledger.client.http import TIMEOUT_S
from ledger.core.hashing import Digest
from ledger.core.submission import Submission
from ledger.errors import LedgerError, MalformedError, RejectedError, UnavailableError
from ledger.limits import EVENT_PAST_MAX_MS
from ledger_node.comet import abci_pb2 as pb
from ledger_node.comet import gateway as module
from ledger_node.comet import transaction
from ledger_node.comet.gateway import IN_FLIGHT_MAX, Gateway, replay_answer
from ledger_node.comet.transaction import Transaction
from tests.models.abci_peer import Peer
from tests.models.accept_all import Network, log_note
from tests.unit.node.comet.test_hostile_transactions import NOW, event, signed
from tests.unit.node.comet.test_transaction import BUNDLE, proposal, submission

WAIT_S = 5.0


class Engine:
    """In CometBFT's place: keeps what it is given, or refuses it."""

    def __init__(self) -> None:
        self.sent: list[Transaction] = []
        self.refuse: LedgerError | None = None
        self.bad: dict[Digest, LedgerError] = {}
        self.names = True
        self.refused: list[int] = []
        self.remembered: dict[bytes, Transaction] = {}
        self.arrived = threading.Condition()

    def broadcast(self, tx: bytes) -> None:
        with self.arrived:
            self.arrived.notify_all()
            if self.refuse is not None:
                raise self.refuse
            parsed = transaction.parse(tx)
            bad = {n: self.bad[each.identity] for n, each in enumerate(parsed.submissions) if each.identity in self.bad}
            if bad:
                self.refused.append(len(parsed.submissions))
                if self.names:
                    self.remembered[tx].refused = bad
                raise RejectedError("check-tx", "one of them", number=1)
            self.sent.append(parsed)

    def await_sent(self, count: int) -> None:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.sent) >= count, WAIT_S)


@contextmanager
def running(
    engine: Engine, bundle: Callable[[Digest], bytes] = lambda _: BUNDLE
) -> Iterator[tuple[Gateway, dict[bytes, Transaction]]]:
    gateway = Gateway(engine, bundle, engine.remembered.__setitem__)
    gateway.start()
    try:
        yield gateway, engine.remembered
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


def in_one_batch(
    gateway: Gateway, engine: Engine, network: Network, parts: list[Submission]
) -> list[Future[Committed]]:
    """Have `parts` leave together: they wait until what fills every place is answered."""
    fill = [submission(1_000 + number) for number in range(IN_FLIGHT_MAX)]
    for number, each in enumerate(fill):
        gateway.submit(each)
        engine.await_sent(number + 1)
    futures = [gateway.submit(each) for each in parts]
    engine.sent.clear()
    commit(gateway, network, fill)
    return futures


def identities(submissions: Sequence[Submission]) -> list[Digest]:
    return [each.identity for each in submissions]


def test_who_left_with_a_refused_one_leaves_again() -> None:
    """CometBFT's check names those it refuses: each is told its own reason, with the index that its client needs, and the
    others leave again together, in their order."""
    engine, network = Engine(), Network(MemoryStore())
    parts = [submission(number) for number in range(6)]
    for number in (1, 4):
        engine.bad[parts[number].identity] = RejectedError("event-time", "too old", index=number)
    with running(engine) as (gateway, _):
        futures = in_one_batch(gateway, engine, network, parts)
        for number in (1, 4):
            with pytest.raises(RejectedError) as caught:
                futures[number].result(WAIT_S)
            assert (caught.value.code, caught.value.evidence) == ("event-time", {"index": number})
        engine.await_sent(1)
        kept = [parts[number] for number in (0, 2, 3, 5)]
        assert (engine.refused, identities(engine.sent[0].submissions)) == ([6], identities(kept))
        assert not any(futures[number].done() for number in (0, 2, 3, 5))
        assert gateway._events == len(gateway._waiting) == 4
        assert gateway._bytes == sum(each.size for each in kept)
        assert [list(flight.identities) for flight in gateway._flights.values()] == [identities(kept)]
        commit(gateway, network, kept)
        assert [futures[number].result(WAIT_S).events[0].outcome for number in (0, 2, 3, 5)] == [1] * 4
        assert (gateway._events, gateway._bytes, gateway._flights, len(gateway._queue)) == (0, 0, {}, 0)


def test_who_comes_later_does_not_join_those_that_leave_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends one bad submission after the other delays a transaction once, not for ever."""
    monkeypatch.setattr(module, "IN_FLIGHT_MAX", 0)
    engine = Engine()
    gateway = Gateway(engine, lambda _: BUNDLE, engine.remembered.__setitem__)
    parts = [submission(number) for number in range(8)]
    for number in (0, 4):
        engine.bad[parts[number].identity] = RejectedError("event-time", "too old", index=0)
    for each in parts[:4]:
        gateway.submit(each)
    monkeypatch.setattr(module, "IN_FLIGHT_MAX", 3)
    first = gateway._next_batch()
    assert first is not None
    for each in parts[4:]:  # while CometBFT looks at the first
        gateway.submit(each)
    gateway._send(*first)
    for _ in range(3):
        batch = gateway._next_batch()
        if batch is not None:
            gateway._send(*batch)
    assert [identities(each.submissions) for each in engine.sent] == [identities(parts[1:4]), identities(parts[5:])]
    assert engine.refused == [4, 4]


def test_a_refusal_that_names_nobody_is_narrowed_down() -> None:
    """Where it is not known who is meant, the transaction is sent in halves until that one is alone, and told what was said;
    all others are sent."""
    engine, network = Engine(), Network(MemoryStore())
    engine.names = False
    parts = [submission(number) for number in range(9)]
    engine.bad[parts[6].identity] = RejectedError("check-tx", "no")
    with running(engine) as (gateway, _):
        futures = in_one_batch(gateway, engine, network, parts)
        with pytest.raises(RejectedError, match="one of them"):
            futures[6].result(WAIT_S)
        engine.await_sent(3)
        sent = [identity for each in engine.sent for identity in identities(each.submissions)]
        assert sent == identities([*parts[:6], *parts[7:]])
        assert engine.refused == [9, 5, 3, 1]


def test_the_check_of_a_node_names_whom_it_refuses() -> None:
    """Ids that become too old between the submission and CheckTx are refused as the sequencer refuses them; what another
    client sent with them is on its way."""
    peer, now = Peer(), [NOW]
    peer.handler.now_ms = lambda: now[0]
    sent: list[bytes] = []

    class Check:
        def broadcast(self, tx: bytes) -> None:
            now[0] += 20
            answer = peer.handler.check_tx(pb.RequestCheckTx(tx=tx))
            if answer.code:
                raise RejectedError("check-tx", answer.log, number=answer.code, codespace=answer.codespace)
            sent.append(tx)

    gateway = Gateway(Check(), lambda _: BUNDLE, peer.handler.transactions.put)
    old = [signed(event(9), event(number, when=NOW - EVENT_PAST_MAX_MS + 10)) for number in range(2)]
    good = [signed(event(100 + number), member="mz") for number in range(5)]
    futures = [gateway.submit(each) for each in (old[0], *good[:3], old[1], *good[3:])]
    for _ in range(2):
        batch = gateway._next_batch()
        assert batch is not None
        gateway._send(*batch)
    for future, each in ((futures[0], old[0]), (futures[4], old[1])):
        with pytest.raises(RejectedError) as caught:
            future.result(0)
        named = {"index": 1, "id": each.events[1].id, "block_time": NOW + 20}
        assert (caught.value.code, caught.value.evidence) == ("event-time", named)
    (tx,) = sent
    assert identities(transaction.parse(tx).submissions) == identities(good)
    assert sum(future.done() for future in futures) == 2


def test_who_waits_is_found_without_a_look_at_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer for what waits to be sent again compares no submission with another, and leaves the order as it was."""
    engine = Engine()
    gateway = Gateway(engine, lambda _: BUNDLE, engine.remembered.__setitem__)
    parts = [submission(number) for number in range(20)]
    for each in parts:
        gateway.submit(each)
    batch = gateway._next_batch()
    assert batch is not None and len(batch[1]) == len(parts)
    gateway.forget_flights()
    compared: list[object] = []

    def compare(one: Submission, other: object) -> bool:
        compared.append(other)
        return one is other

    monkeypatch.setattr(Submission, "__eq__", compare)
    assert gateway._requeue_late() == []
    for number in (19, 0, 7, 8):
        gateway.dropped(parts[number], RejectedError("key-revoked", "no longer"))
    gateway.dropped(parts[7], RejectedError("key-revoked", "again"))
    batch = gateway._next_batch()
    assert batch is not None and compared == []
    left = [number for number in range(20) if number not in (0, 7, 8, 19)]
    assert [entry.submission.identity for entry in batch[1]] == identities([parts[number] for number in left])
    assert (gateway._events, len(gateway._queue), len(gateway._flights)) == (16, 0, 1)


def test_what_waited_too_long_leaves_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that wait, the oldest are given up, sent or not; the others keep their place."""
    engine = Engine()
    gateway = Gateway(engine, lambda _: BUNDLE, engine.remembered.__setitem__)
    monkeypatch.setattr(module, "TRANSACTION_SUBMISSIONS_MAX", 1)
    parts = [submission(number) for number in range(4)]
    for each in parts:
        gateway.submit(each)
    assert gateway._next_batch() is not None
    for each in parts[:2]:
        gateway._waiting[each.identity].since -= module.GIVE_UP_S + 1
    assert [entry.submission.identity for entry in gateway._requeue_late()] == identities(parts[:2])
    assert (gateway._flights, list(gateway._queue)) == ({}, identities(parts[2:]))
    assert (gateway._events, gateway._bytes) == (2, sum(each.size for each in parts[2:]))


def test_a_defect_does_not_end_the_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw is logged, and what was on its way then is sent again."""
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    monkeypatch.setattr(module, "SEND_AGAIN_S", 0.05)
    engine = Engine()
    faults = [RuntimeError("unforeseen")]
    take = engine.broadcast

    def broadcast(tx: bytes) -> None:
        if faults:
            raise faults.pop()
        take(tx)

    monkeypatch.setattr(engine, "broadcast", broadcast)
    with capture_logs() as logged, running(engine) as (gateway, _):
        gateway.submit(submission())
        engine.await_sent(1)
    assert {"event": "gateway.failed", "log_level": "error", "exc_info": True} in logged


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
