"""Block time against this machine's clock: an alarm while blocks are made that are older than what they hold."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from ledger.adapters.ordering.sequencer import Committed
from ledger.errors import UnavailableError
from ledger.limits import CLOCK_BEHIND_MS
from ledger_node.alarms import Alarms
from ledger_node.intake.clocks import ABOUT, ClockWatch

NOW_MS = 1_790_000_000_000


def watch(clock: str = "wall") -> tuple[ClockWatch, Alarms]:
    alarms = Alarms()
    node: Any = SimpleNamespace(genesis=SimpleNamespace(clock=clock), head=SimpleNamespace(height=7), alarms=alarms)
    return ClockWatch(node, lambda: NOW_MS), alarms


def commit(watched: ClockWatch, time: int, height: int = 8) -> None:
    future = Future[Committed]()
    assert watched.follow(future) is future
    future.set_result(Committed(height, time, 9, b"", ()))


def test_blocks_older_than_what_they_hold_raise_the_alarm_and_a_right_one_ends_it() -> None:
    """SPEC R-Q16: more than a minute, twice in a row, is told with the seconds; a minute, one block, or one with a right one
    behind it is not; and the next right block ends it."""
    watched, alarms = watch()
    late = NOW_MS - CLOCK_BEHIND_MS - 1_000
    for time, height in ((NOW_MS - CLOCK_BEHIND_MS, 8), (late, 9), (late, 9), (NOW_MS, 10), (late, 11)):
        commit(watched, time, height)
        assert not alarms.found()
    commit(watched, late, 12)
    [(about, error)] = alarms.found()
    assert (about, type(error), error.code, error.evidence) == (ABOUT, UnavailableError, "clock-apart", {"seconds": 61})
    commit(watched, NOW_MS)
    assert not alarms.found()


@pytest.mark.parametrize(("clock", "height"), [("wall", 7), ("scenario", 8)])
def test_old_blocks_and_stepped_time_say_nothing(clock: str, height: int) -> None:
    """A replay that finds an idle ledger's old block, and a scenario network's time, raise no alarm."""
    watched, alarms = watch(clock)
    commit(watched, 0, height)
    assert not alarms.found()


def test_what_was_not_recorded_says_nothing_of_clocks() -> None:
    """A refusal, or a wait that was given up, leaves an alarm as it is."""
    watched, alarms = watch()
    alarms.add(ABOUT, UnavailableError("clock-apart", "behind", seconds=61))
    refused, left = Future[Committed](), Future[Committed]()
    watched.follow(refused).set_exception(UnavailableError("mempool-full", "full"))
    watched.follow(left).cancel()
    assert alarms.codes() == {"clock-apart": 1}
