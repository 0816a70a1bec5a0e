"""Worker processes of an audit: in order, few pieces ahead, errors kept whole, and gone when the audit is."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ledger.adapters.audit import carried, pool
from ledger.adapters.audit.carried import pack_context, unpack
from ledger.adapters.audit.checkworker import NICER
from ledger.adapters.audit.pool import AHEAD, ProcessPool
from ledger.errors import MalformedError, UnavailableError
from ledger.rules import execute
from ledger.verify.check import CheckContext
from ledger.verify.ledger import _Pieces
from ledger.verify.source import Piece, PieceData
from tests.unit.rules.test_worker import sample

ORIGIN = f"net.example/{'0' * 64}"
CONTEXT = CheckContext(ORIGIN, {}, (), ())


@dataclass(frozen=True)
class NumberedPiece:
    """A piece without blocks; odd ones take a moment, `error` is raised when it is loaded."""

    number: int
    error: Exception | None = None

    @property
    def place(self) -> str:
        """See `Piece`."""
        return f"piece {self.number}"

    def load(self) -> PieceData:
        """See `Piece`."""
        if self.error is not None:
            raise self.error
        time.sleep(0.02 * (self.number % 2))
        return PieceData([])


def test_pieces_come_in_order_and_few_are_drawn_ahead() -> None:
    """Results come in the order of the pieces, and no more pieces are under way than there is work for."""
    drawn: list[int] = []

    def pieces() -> Iterator[Piece]:
        for number in range(12):
            drawn.append(number)
            yield NumberedPiece(number)

    with ProcessPool(2) as running:
        places = []
        for checked in running.check(CONTEXT, pieces()):
            places.append(checked.place)
            assert len(drawn) - len(places) <= AHEAD * 2
    assert places == [f"piece {number}" for number in range(12)]


def test_error_of_a_worker_keeps_its_evidence() -> None:
    """What a worker raises is raised here, with code and evidence; what a source does wrong is a finding."""
    trouble = UnavailableError("disk", "cannot be read", path="/x")
    running = ProcessPool(1).check(
        CONTEXT, [NumberedPiece(0, MalformedError("piece", "torn")), NumberedPiece(1, trouble)]
    )
    assert [finding.code for finding in next(running).findings] == ["piece-unreadable"]
    with pytest.raises(UnavailableError) as caught:
        next(running)
    assert (caught.value.code, caught.value.evidence) == ("disk", {"path": "/x"})


def test_processes_end_with_the_pool() -> None:
    """Leaving the context ends the processes, also when nothing was ever checked or an audit stops half way."""
    with ProcessPool(2) as running:
        idle = [worker.pid for worker in running._running]
    with ProcessPool(1) as running:
        stopped = running.check(CONTEXT, map(NumberedPiece, range(5)))
        next(stopped)
        busy = [worker.pid for worker in running._running]
    assert (len(idle), len(busy)) == (2, 1)
    for pid in (*idle, *busy):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_pool_without_a_process_is_this_machines_trouble(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where no process can be started the audit says so."""
    monkeypatch.setattr(pool.sys, "executable", str(tmp_path / "missing"))
    with pytest.raises(UnavailableError) as caught:
        list(ProcessPool(1).check(CONTEXT, [NumberedPiece(0)]))
    assert caught.value.code == "verify-worker"


def test_carried_program_plans_the_same_and_is_not_compiled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What arrives in a worker plans each event as the program does, from code that this process compiled."""
    program, call = sample()
    packed = pack_context(CheckContext(ORIGIN, {}, (), (), rules=program))
    monkeypatch.setattr(execute, "_code", None)
    told = unpack(packed)
    assert isinstance(told, CheckContext)
    arrived = told.rules
    assert arrived is not None
    planned = 0
    for step in call["steps"]:
        head, body = execute.decode(step[4]), execute.decode(step[5])
        assert arrived.plan(step[1], head, body) == program.plan(step[1], head, body)
        planned += len(arrived.plan(step[1], head, body))
    assert planned
    assert carried.unpack(pack_context(CONTEXT)) == CONTEXT


def test_pieces_that_were_begun_come_first_and_the_others_in_the_whole_context() -> None:
    """What is begun before the context is whole is yielded first, in order; what follows is checked in the new context."""
    pieces = iter([NumberedPiece(number) for number in range(7)])
    with ProcessPool(2) as running:
        running.begin(CONTEXT, pieces)
        whole = CheckContext(ORIGIN, {}, (), (), digests=True)
        checked = list(running.check(whole, pieces))
    assert [each.place for each in checked] == [f"piece {number}" for number in range(7)]
    assert [each.digest is not None for each in checked] == [False] * 4 + [True] * 3


@pytest.mark.parametrize(("parse_leaves", "nicer"), [(False, NICER), (True, 0)])
def test_checking_steps_back_behind_a_replay(parse_leaves: bool, nicer: int) -> None:
    """Beside a replay, which all wait for, workers run at a lower priority; where nothing is replayed they do not."""
    context = CheckContext(ORIGIN, {}, (), (), parse_leaves=parse_leaves)
    with ProcessPool(1) as running:
        checked = running.check(context, map(NumberedPiece, range(4)))
        next(checked)
        (worker,) = running._running
        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, worker.pid) == min(19, own + nicer)
        assert len(list(checked)) == 3


def test_source_that_breaks_while_pieces_are_begun_breaks_the_check() -> None:
    """A source that cannot be read is not told of when beginning, but by the check that draws on."""

    def torn() -> Iterator[Piece]:
        yield NumberedPiece(0)
        raise MalformedError("archive", "torn")

    pieces = _Pieces(torn)
    with ProcessPool(1) as running:
        running.begin(CONTEXT, pieces)
        with pytest.raises(MalformedError, match="torn"):
            list(running.check(CONTEXT, pieces))
    with pytest.raises(MalformedError, match="torn"):
        next(pieces)
