"""The embedded engine: group commit, replays, conflicts, back-pressure, faults and stopping."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.adapters.home.signerstate import SignerState
from ledger.adapters.memory import MemoryStore
from ledger.adapters.ordering.clock import ScenarioClock
from ledger.adapters.ordering.sequencer import Sequencer
from ledger.app import Application
from ledger.errors import RejectedError, RuntimeFault, UnavailableError
from tests.models.accept_all import (
    GENESIS,
    START_MS,
    AcceptAllRules,
    AcceptAllRuntime,
    Network,
    log_signer,
)


class Bench:
    """A sequencer over a memory store; `network` only mints events."""

    def __init__(self, folder: Path, runtime: Any = None) -> None:
        self.network = Network(MemoryStore())
        runtime = runtime or AcceptAllRuntime()
        self.app = Application(self.network.store, lambda _store, _head: (AcceptAllRules(), runtime))
        self.clock = ScenarioClock(START_MS)
        state = SignerState.create(folder / "log.state", GENESIS.origin, log_signer().public.key_id)
        self.sequencer = Sequencer(self.app, log_signer(), state, self.clock)

    def submission(self, member: str = "ga", count: int = 1, **content: Any) -> Any:
        events = [self.network.event(time=self.clock.now_ms(), **content) for _ in range(count)]
        return self.network.submission(member, events)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    made.sequencer.start()
    yield made
    made.sequencer.close()


def test_every_event_gets_its_place(bench: Bench) -> None:
    """SPEC R-A02: the future is set after the commit, with consecutive leaf indexes and a signed note."""
    first = bench.sequencer.submit(bench.submission(count=3)).result(10)
    second = bench.sequencer.submit(bench.submission("gx", count=2)).result(10)
    assert [p.seq for p in first.events] == [1, 2, 3]
    assert [p.seq for p in second.events] == [5, 6]
    assert second.size == bench.app.head.size and b"\n\n" in second.note


def test_replay_makes_no_block(bench: Bench) -> None:
    """SPEC R-L11: the same submission again is answered without a new leaf or block."""
    submission = bench.submission(count=2)
    first = bench.sequencer.submit(submission).result(10)
    again = bench.sequencer.submit(submission).result(10)
    assert [p.seq for p in again.events] == [None, None]
    assert bench.app.head.height == first.height


def test_same_id_with_other_content_is_a_recorded_conflict(bench: Bench) -> None:
    """SPEC R-L12: the second content is recorded and refused; sent again it is a duplicate of itself."""
    one = bench.network.event(time=START_MS, a=1)
    head_of_one, other = one, bench.network.event(time=START_MS, a=2)
    from ledger.core.event import parse_event

    clash = parse_event(head_of_one.head, other.body)
    bench.sequencer.submit(bench.network.submission("ga", [one])).result(10)
    refused = bench.sequencer.submit(bench.network.submission("ga", [clash])).result(10)
    assert refused.events[0].outcome == 0 and b'"conflict"' in refused.events[0].verdict
    again = bench.sequencer.submit(bench.network.submission("ga", [clash])).result(10)
    assert again.events[0].seq is None


def test_an_id_far_from_block_time_is_left_out(bench: Bench) -> None:
    """SPEC R-L13: an id from two years ago or tomorrow is refused before the log."""
    for time in (START_MS - 401 * 86_400_000, START_MS + 3_600_000):
        old = bench.network.submission("ga", [bench.network.event(time=time)])
        with pytest.raises(RejectedError) as caught:
            bench.sequencer.submit(old).result(10)
        assert caught.value.code == "event-time"
    assert bench.app.head.height == 0


def test_concurrent_writers_share_blocks_and_lose_nothing(bench: Bench) -> None:
    """Group commit: many threads submit at once; every event has its own place and fewer blocks than requests are made."""
    places: list[int | None] = []
    submissions = [bench.submission(count=5) for _ in range(40)]

    def write(part: list[Any]) -> None:
        for future in [bench.sequencer.submit(submission) for submission in part]:
            places.extend(p.seq for p in future.result(20).events)

    threads = [threading.Thread(target=write, args=(submissions[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(places) == len(set(places)) == 200
    assert bench.app.head.height < 40


def test_full_queue_and_missing_certificates_push_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-pressure is an error to retry, never a silent drop."""
    monkeypatch.setattr("ledger.adapters.ordering.sequencer.SEQUENCER_QUEUE_EVENTS_MAX", 1)
    with pytest.raises(UnavailableError) as caught:
        bench.sequencer.submit(bench.submission(count=2))
    assert caught.value.code == "queue-full"
    monkeypatch.setattr("ledger.adapters.ordering.sequencer.SEQUENCER_QUEUE_EVENTS_MAX", 10)
    monkeypatch.setattr("ledger.adapters.ordering.sequencer.SEQUENCER_QUEUE_BYTES_MAX", 5_000)
    with pytest.raises(UnavailableError) as caught:
        bench.sequencer.submit(bench.submission(note="a" * 5_000))
    assert caught.value.code == "queue-full"
    monkeypatch.setattr("ledger.adapters.ordering.sequencer.UNCERTIFIED_BLOCKS_MAX", 0)
    bench.sequencer.submit(bench.submission()).result(10)
    with pytest.raises(UnavailableError) as caught:
        bench.sequencer.submit(bench.submission())
    assert caught.value.code == "uncertified"


def test_graceful_stop_writes_what_was_accepted(tmp_path: Path) -> None:
    """Everything that was submitted before `close` is durable when it returns."""
    bench = Bench(tmp_path)
    futures = [bench.sequencer.submit(bench.submission()) for _ in range(20)]
    bench.sequencer.start()
    bench.sequencer.close()
    assert all(future.result(0).events[0].seq is not None for future in futures)
    with pytest.raises(UnavailableError):
        bench.sequencer.submit(bench.submission())


def test_a_crowd_fills_several_blocks_and_not_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits beyond the events that a block takes goes into the blocks behind it, in order, and all of it is durable."""
    monkeypatch.setattr("ledger.adapters.ordering.sequencer.TAKE_EVENTS_MAX", 10)
    bench = Bench(tmp_path)
    futures = [bench.sequencer.submit(bench.submission(count=3)) for _ in range(10)]
    bench.sequencer.start()
    bench.sequencer.close()
    assert [future.result(0).height for future in futures] == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4]


def test_large_events_fill_several_blocks_and_not_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC R-B05: what waits beyond the bytes that a block takes goes into the blocks behind it; nothing waits for ever."""
    monkeypatch.setattr("ledger.adapters.ordering.sequencer.TAKE_BYTES_MAX", 25_000)
    bench = Bench(tmp_path)
    sizes = (10_000, 10_000, 10_000, 40_000, 10_000)
    futures = [bench.sequencer.submit(bench.submission(note="a" * size)) for size in sizes]
    bench.sequencer.start()
    bench.sequencer.close()
    assert [future.result(0).height for future in futures] == [1, 1, 2, 3, 4]


class Faulty(AcceptAllRuntime):
    """Faults on every call that holds an event with `poison` in its body."""

    def start(self, call: dict[str, Any]) -> None:
        self._call = call

    def result(self) -> list[Any]:
        if any(b'"poison"' in step[5] for step in self._call["steps"] if step[0] == 0):
            raise RuntimeFault("worker", "the rule worker died")
        return self.run_block(self._call)


def test_a_runtime_fault_is_no_verdict(tmp_path: Path) -> None:
    """SPEC R-R07: the submission that faults is left out and told so; its neighbours in the block are recorded."""
    bench = Bench(tmp_path, Faulty())
    good = [bench.sequencer.submit(bench.submission(n=number)) for number in range(3)]
    bad = bench.sequencer.submit(bench.submission(poison=1))
    more = bench.sequencer.submit(bench.submission(n=4))
    bench.sequencer.start()
    assert all(future.result(10).events[0].outcome == 1 for future in [*good, more])
    with pytest.raises(RuntimeFault):
        bad.result(10)
    assert bench.sequencer.failure is None
    bench.sequencer.close()


def test_failed_write_acknowledges_nothing_and_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails: the client gets an error, the engine stops, later submissions are refused."""
    bench = Bench(tmp_path)

    def full(*_: object) -> None:
        raise UnavailableError("disk-full", "no space left on the disk")

    monkeypatch.setattr(bench.network.store, "write", full)
    future = bench.sequencer.submit(bench.submission())
    bench.sequencer.start()
    with pytest.raises(UnavailableError):
        future.result(10)
    bench.sequencer._thread.join(10)
    assert bench.sequencer.failure is not None
    with pytest.raises(UnavailableError):
        bench.sequencer.submit(bench.submission())


def test_scenario_clock_fires_timers_in_order(bench: Bench) -> None:
    """SPEC R-Q20, R-T02: stepping the clock closes blocks in which the due timers are leaves, earliest first."""
    due = START_MS + 50_000
    timers = {f"timer/A3/application/ga/{n}": due + n for n in range(3)}
    bench.sequencer.submit(bench.submission(timers=timers)).result(10)
    height = bench.app.head.height
    reached = bench.sequencer.step_clock(bench.clock, due + 1).result(10)
    assert reached == height + 1 and bench.app.head.time == due + 1
    bench.sequencer.step_clock(bench.clock, due + 10).result(10)
    assert bench.app.store.next_due() is None
    with pytest.raises(RejectedError):
        bench.sequencer.step_clock(bench.clock, START_MS).result(10)


def test_those_who_were_just_answered_share_the_next_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block waits while those come who were answered together, no longer than they come, and for nobody else."""
    bench = Bench(tmp_path)
    sequencer, waits = bench.sequencer, 0
    coming = [bench.submission() for _ in range(2)]

    here = threading.get_ident()

    def pause(_: float) -> None:
        nonlocal waits
        if threading.get_ident() != here:
            return  # `time` is everybody's
        waits += 1
        if coming:
            sequencer.submit(coming.pop())

    monkeypatch.setattr("ledger.adapters.ordering.sequencer.time.sleep", pause)
    monkeypatch.setattr("ledger.adapters.ordering.sequencer.RETURN_S", 5.0)
    monkeypatch.setattr("ledger.adapters.ordering.sequencer.GATHER_S", 10.0)
    sequencer.submit(bench.submission())
    sequencer._gather()
    assert (waits, len(sequencer._queue)) == (0, 1)
    sequencer._expected = 3
    sequencer._gather()
    assert (waits, len(sequencer._queue)) == (2, 3)
    monkeypatch.setattr("ledger.adapters.ordering.sequencer.RETURN_S", 0.0)
    sequencer._expected = 9
    sequencer._gather()
    assert (waits, len(sequencer._queue)) == (2, 3)


def test_senders_of_many_events_keep_two_blocks_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of what waits is decided first, and its senders are waited for: one block is written while one is decided."""
    bench = Bench(tmp_path)
    sequencer, app, order = bench.sequencer, bench.sequencer.app, []
    coming: list[Any] = []

    here = threading.get_ident()

    def pause(_: float) -> None:
        if coming and threading.get_ident() == here:  # `time` is everybody's
            sequencer.submit(coming.pop())

    def noted(name: str) -> Any:
        original = getattr(app, name)

        def call(*given: Any, **named: Any) -> Any:
            order.append(name)
            return original(*given, **named)

        return call

    monkeypatch.setattr("ledger.adapters.ordering.sequencer.time.sleep", pause)
    monkeypatch.setattr("ledger.adapters.ordering.sequencer.RETURN_S", 5.0)
    monkeypatch.setattr("ledger.adapters.ordering.sequencer.GATHER_S", 10.0)
    for name in ("begin", "seal"):
        monkeypatch.setattr(app, name, noted(name))
    first = [sequencer.submit(bench.submission(count=100)) for _ in range(4)]
    for _ in range(3):
        coming.extend(bench.submission(count=100) for _ in range(2))
        sequencer.step()
    assert order == ["begin", "begin", "seal", "begin", "seal"] and len(coming) == 4
    assert [future.done() for future in first] == [True] * 4
    sequencer.drain()
    assert app.head.size > 400
