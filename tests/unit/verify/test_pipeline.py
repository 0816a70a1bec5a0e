"""Replay beside checking: rules run on while the next piece is read, and what they say late is said at its place."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from ledger.adapters.audit.pool import ProcessPool
from ledger.adapters.audit.scratch import ScratchState
from ledger.blockcodec import encode_block
from ledger.core.maptree import TreeUndo
from ledger.errors import RuntimeFault
from ledger.verify.check import CheckContext, CheckedPiece
from ledger.verify.ledger import Options, Serial, verify_ledger
from ledger.verify.report import BROKEN, INCOMPLETE, INTACT
from ledger.verify.source import Piece
from ledger.verify.trust import Trust
from tests.models import tiny_ledger as tiny
from tests.models.tiny_ledger import TinyLedger


class Watched(tiny.AcceptAllRuntime):
    """Says what it is asked, and fails on the answer at one height."""

    def __init__(self, said: list[str], failing: int = -1) -> None:
        super().__init__()
        self._said, self._failing, self._height = said, failing, 0

    def start(self, call: dict[str, Any]) -> None:
        """See `Runtime`."""
        self._height = call["height"]
        self._said.append(f"start {self._height}")
        super().start(call)

    def result(self) -> list[Any]:
        """See `Runtime`."""
        self._said.append(f"result {self._height}")
        if self._height == self._failing:
            raise RuntimeFault("runtime-crash")
        return super().result()


class WatchedSerial(Serial):
    """Says when a piece is asked for."""

    def __init__(self, said: list[str]) -> None:
        self._said = said

    def check(self, context: CheckContext, pieces: Iterable[Piece]) -> Iterator[CheckedPiece]:
        """See `Parallel`."""
        for checked in super().check(context, pieces):
            self._said.append(checked.place)
            yield checked


def _run(ledger: TinyLedger, runtime: Watched, said: list[str], blocks_a_piece: int) -> Any:
    def load(genesis: Any, bundle: Any) -> Any:
        return replace(tiny.load_rules(genesis, bundle), runtime=runtime)

    options = Options(Trust(ledger.origin, "origin"), ledger.now_ms)
    with ScratchState() as scratch:
        source = ledger.source(blocks_a_piece=blocks_a_piece)
        return verify_ledger(source, options, scratch, load, parallel=WatchedSerial(said))


def test_next_piece_is_checked_while_the_rules_run(ledger: TinyLedger) -> None:
    """The answer for the last block of a piece is taken when the next piece is there, not before, and none is left out."""
    said: list[str] = []
    report = _run(ledger, Watched(said), said, blocks_a_piece=1)
    assert report.verdict == INTACT
    started = [each for each in said if each.startswith("start")]
    assert [each.replace("start", "result") for each in started] == [each for each in said if each.startswith("result")]
    first = said.index(started[0])
    height = int(started[0].split()[1])
    assert said[first - 1 : first + 3] == [f"piece {height}", started[0], f"piece {height + 1}", f"result {height}"]


def test_blocks_that_are_done_leave_nothing_behind(ledger: TinyLedger) -> None:
    """Of the layers that undo a block no more than those of the last blocks are held, however many there were."""
    held: list[int] = []

    def count(_height: int, _leaves: int) -> None:
        gc.collect()
        held.append(sum(isinstance(each, TreeUndo) for each in gc.get_objects()) - before)

    gc.collect()
    before = sum(isinstance(each, TreeUndo) for each in gc.get_objects())
    options = Options(Trust(ledger.origin, "origin"), ledger.now_ms)
    with ScratchState() as scratch:
        report = verify_ledger(ledger.source(), options, scratch, tiny.load_rules, progress=count)
    assert (report.verdict, len(held)) == (INTACT, len(ledger.blocks))
    assert max(held) <= 3


@pytest.mark.parametrize("blocks_a_piece", [1, 3, 8])
def test_late_fault_is_said_at_its_block(ledger: TinyLedger, blocks_a_piece: int) -> None:
    """Rules that fail on any block, the last one too, leave the same report however the ledger is cut into pieces."""
    said: list[str] = []
    _run(ledger, Watched(said), said, blocks_a_piece)
    heights = [int(each.split()[1]) for each in said if each.startswith("start")]
    assert heights[-1] == ledger.blocks[-1].height
    for height in heights:
        report = _run(ledger, Watched([], height), [], blocks_a_piece)
        assert (report.verdict, report.findings.kept) == (INCOMPLETE, [])
        gap = report.gaps[0].document()
        assert (gap["code"], gap["height"]) == ("runtime-fault", height)
        assert (report.counts.replayed_blocks, report.height) == (height, ledger.blocks[-1].height)


def _damaged(ledger: TinyLedger, how: str, height: int) -> list[bytes]:
    """The encoded blocks, of which the one at `height` is not as it was."""
    encoded = [encode_block(block) for block in ledger.blocks]
    block = ledger.blocks[height]
    if how == "torn":
        encoded[height] = encoded[height][:-1]
    elif how == "lost":
        del encoded[height]
    elif how == "leaf":
        encoded[height] = encode_block(replace(block, leaves=block.leaves[1:]))
    else:
        signed = replace(block.submissions[0], signature=bytes(64))
        encoded[height] = encode_block(replace(block, submissions=(signed, *block.submissions[1:])))
    return encoded


@pytest.mark.parametrize("how", ["torn", "lost", "leaf", "signature"])
def test_report_is_the_same_for_every_number_of_processes(ledger: TinyLedger, how: str) -> None:
    """What is found, in which order and under which names does not depend on who checked, nor on how many did."""
    options = Options(Trust(ledger.origin, "origin"), ledger.now_ms)
    reports = []
    for parallel in (Serial(), ProcessPool(1), ProcessPool(3)):
        source = replace(ledger.source(blocks_a_piece=1), encoded=_damaged(ledger, how, 3))
        with ScratchState() as scratch:
            report = verify_ledger(source, options, scratch, tiny.load_rules, parallel=parallel)
        reports.append(report.document())
    assert reports[0]["verdict"] == BROKEN
    assert reports[1:] == [reports[0], reports[0]]
