"""Evidence in a block of CometBFT becomes one recorded accusation."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import pytest
from structlog.testing import capture_logs

from ledger.client.misbehaviour import accusation
from ledger.core.engine import chain_id
from ledger.core.keys import EVENT
from ledger.core.submission import Submission
from ledger.errors import UnavailableError
from ledger_node.comet import accuser
from ledger_node.comet.accuser import LOOK_BACK, WAITING_MAX, Accuser
from tests.models.governed import Governed
from tests.models.tiny_ledger import MEMBERS, signer
from tests.unit.client.test_misbehaviour import evidence
from tests.unit.machine.test_misbehaviour import vote

WAIT_S = 10.0


class Rpc:
    def __init__(self, *found: dict[str, Any]) -> None:
        self.found = list(found)
        self.states: list[tuple[int, bool]] = []  # (latest height, catching up) of the next answers; the last one stays
        self.read: list[int] = []

    def status(self) -> dict[str, Any]:
        latest, catching_up = self.states.pop(0) if len(self.states) > 1 else (self.states or [(0, False)])[0]
        if latest < 0:
            raise UnavailableError("engine-unreachable", "not there")
        return {
            "sync_info": {
                "catching_up": catching_up,
                "earliest_block_height": "3",
                "latest_block_height": str(latest),
            }
        }

    def block(self, height: int) -> dict[str, Any]:
        self.read.append(height)
        if height != 9:
            raise UnavailableError("engine-unreachable", "not there", height=height)
        return {"block": {"evidence": {"evidence": self.found}}}


class Bench:
    """An accuser over a real application, without CometBFT."""

    def __init__(
        self, *members: str, validators: Sequence[str] = MEMBERS, before: Sequence[dict[str, Any]] = ()
    ) -> None:
        self.ledger = Governed(validators=validators)
        self.sent: list[Submission] = []
        self.arrived = threading.Event()
        self.known: set[str] = set()
        self.known_after = 1_000  # looks after which another validator has recorded it
        self.asked: list[str] = []
        self.rpc = Rpc(*before, evidence(vote(self.ledger, 1), vote(self.ledger, 2)))
        self.accuser = Accuser(
            self.ledger.origin,
            chain_id(self.ledger.origin, 0),
            {member: signer(member, EVENT) for member in members},
            self.rpc,
            lambda: self.ledger.app.head.registry,
            self._is_known,
            self._submit,
            turn_s=0.0,
        )

    def _is_known(self, key: str) -> bool:
        self.asked.append(key)
        known = key in self.known or len(self.asked) > self.known_after
        if known:
            self.arrived.set()
        return known

    def _submit(self, submission: Submission) -> Future[Any]:
        self.sent.append(submission)
        self.arrived.set()
        future: Future[Any] = Future()
        future.set_result(None)
        return future

    def run(self, *heights: int) -> None:
        self.accuser.start()
        for height in heights:
            self.accuser.report(height)
        self.arrived.wait(WAIT_S)
        self.accuser.close()


def test_evidence_is_recorded_once_by_this_node() -> None:
    """The event names the accused and carries both votes; the application accepts it. A height that cannot be read is
    logged and left."""
    bench = Bench("ga")
    bench.run(8, 9)
    (submission,) = bench.sent
    (event,) = submission.events
    assert event.fields["kind"] == "sys.misbehaviour"
    assert event.fields["refs"]["member"] == "wj"
    bench.ledger.app.check(submission)


def test_what_is_recorded_already_is_left() -> None:
    """Another validator's turn came first, long before or while this one waited for its own."""
    bench, probe, late = Bench("ga"), Bench("ga"), Bench("ga")
    probe.run(9)
    bench.known.update(probe.asked)
    bench.run(9)
    assert (bench.asked, bench.sent) == (probe.asked[:1], [])
    late.known_after = 1
    late.run(9)
    assert (late.asked, late.sent) == (probe.asked, [])


def test_who_votes_twice_at_every_height_is_reported_once() -> None:
    """Of one block's pieces about one key one is sent; what comes later in the span costs a look, and no turn."""
    twice = Governed(validators=MEMBERS)
    more = [evidence(vote(twice, 1, height=at), vote(twice, 2, height=at), height=at) for at in (8, 9)]
    bench = Bench("ga", before=more)
    bench.run(9)
    (submission,) = bench.sent
    assert submission.events[0].content["height"] == 8
    assert len(set(bench.asked)) == 1


def test_only_so_many_heights_wait() -> None:
    """A flood of evidence takes no memory without end: what is beyond the bound is left to the others."""
    bench = Bench("ga")
    for _ in range(WAITING_MAX + 5):
        bench.accuser.report(8)
    bench.accuser.report(9)
    bench.accuser.start()
    bench.accuser.close()
    assert (bench.sent, bench.asked) == ([], [])


def test_a_node_without_an_event_key_reports_nothing() -> None:
    """It says so in its log; others report."""
    bench = Bench()
    bench.accuser.start()
    bench.accuser.report(9)
    bench.accuser.close()
    assert bench.sent == []


def test_a_guest_s_key_accuses_nobody() -> None:
    """Of a member without a vote the ledger takes no accusation, so the node speaks for the one that validates."""
    bench = Bench("mz", "ga", validators=("ga", "gx", "wj"))
    bench.run(9)
    (submission,) = bench.sent
    assert submission.member == "ga"
    alone = Bench("mz", validators=("ga", "gx", "wj"))
    alone.accuser.start()
    alone.accuser.report(9)
    alone.accuser.close()
    assert (alone.sent, alone.asked) == ([], [])


def test_evidence_of_another_kind_hides_no_double_vote() -> None:
    """What cannot be reported is logged, and the next piece of the same block is."""
    bench = Bench("ga", before=[{"type": "tendermint/LightClientAttackEvidence", "value": {}}])
    bench.run(9)
    (submission,) = bench.sent
    assert submission.events[0].fields["refs"]["member"] == "wj"


@pytest.mark.parametrize("recorded", [False, True])
def test_what_was_lost_with_the_process_is_found_again(recorded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that starts looks again at the newest blocks from before, once CometBFT is there and has caught up; what is
    recorded is passed over."""
    monkeypatch.setattr(accuser, "RETRY_S", 0.0)
    bench = Bench("ga")
    bench.rpc.states = [(-1, False), (11, True), (14, True), (15, False)]
    if recorded:
        probe = Bench("ga")
        probe.run(9)
        bench.known.update(probe.asked)
    bench.run()
    assert bench.rpc.read[:7] == [3, 4, 5, 6, 7, 8, 9]
    assert len(bench.sent) == (0 if recorded else 1)


def test_only_the_newest_blocks_are_looked_at_again() -> None:
    """A long chain costs a start no more than a short one, and a report of what is new comes after it, once."""
    bench = Bench("ga")
    bench.rpc.states = [(LOOK_BACK + 8, False)]
    bench.run(9)
    assert bench.rpc.read[0] == 9
    assert len(bench.sent) == 1


def test_what_nobody_foresaw_ends_no_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect at the start, at one height or at one piece of evidence is logged, and the next one is reported."""
    monkeypatch.setattr(accuser, "RETRY_S", 0.0)
    bench = Bench("ga", before=[{"type": "DuplicateVoteEvidence"}])
    faults = {"status": 1, "block": 1, "accusation": 1}

    def once(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def ask(*given: Any) -> Any:
            if faults[name]:
                faults[name] -= 1
                raise RuntimeError(name)
            return real(*given)

        return ask

    monkeypatch.setattr(bench.rpc, "status", once("status", bench.rpc.status))
    monkeypatch.setattr(bench.rpc, "block", once("block", bench.rpc.block))
    monkeypatch.setattr(accuser, "accusation", once("accusation", accusation))
    with capture_logs() as logged:
        bench.run(9, 9)
    (submission,) = bench.sent
    assert submission.events[0].fields["refs"]["member"] == "wj"
    failed = [each for each in logged if each["event"] == "accuser.failed"]
    assert len(failed) == len(faults) == sum("exc_info" in each for each in failed)
