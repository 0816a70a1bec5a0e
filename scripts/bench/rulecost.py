"""`./dev bench rules`: what deciding an event costs in the rule worker, in and out of it, and over a ledger's size.

The full rulebook decides the append mix. `rules_us` is the worker's processor time less that of a worker that gets the same
calls and hands back the same outcomes without deciding; that one's time, with this process's for packing and unpacking, is
`in_and_out_us`. The scale rows time whole blocks in this process (rules inline, as stored) that touch none of the timers
and grants that lie around them; `ratio` is to the first row, with none around. Not here: the stages of a node (`profile`).
"""

from __future__ import annotations

import copy
import gc
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ledger.adapters import datadir
from ledger.adapters.worker import Worker
from ledger.app import Application
from ledger.core.submission import Submission
from ledger.machine.block import BlockInput
from ledger.rules.program import Program
from scripts.bench.bed import make
from scripts.bench.repeat import summary
from scripts.bench.sizes import Builder
from scripts.bench.workload import MEMBERS, SETUP_BATCH

BLOCKS: Final = ((200, 60), (2000, 12))  # events a block, blocks
WARM: Final = 3  # blocks before the clock starts
GRANTS: Final = 1_000_000  # aimed at; the building ends after BUILD_S
BUILD_S: Final = 180.0
WAVE: Final = 2_000  # grants made in one go
CATALOGUE_WAVES: Final = 4  # of a set-up: drafts, plans, submissions, publications; there already
PROBES: Final = 9  # blocks timed at each size

# A program that decides nothing: told outcomes once, it answers every call with them.
_ECHO: Final = """
_KEPT = []


def _run_block(time, objects, steps):
    if time == 0:
        _KEPT[:] = steps
        return []
    return _KEPT
"""


def run(grants: int = GRANTS, repeat: int = 1) -> list[dict[str, Any]]:
    """Rows: cost of an event at each block size; then cost of a block as timers and grants grow around it."""
    rounds = [list(_round(grants if number == 0 else 0)) for number in range(repeat)]
    costs = len(BLOCKS)
    rows = [summary([each[at] for each in rounds]) for at in range(costs)] + rounds[0][costs:]
    for row in rows:
        print("  ".join(f"{name}={value}" for name, value in row.items()), flush=True)
    return rows


def _round(grants: int) -> Iterator[dict[str, Any]]:
    folder = Path(tempfile.mkdtemp(prefix="suyuan-bench-"))
    try:
        builder = Builder(make(folder / "network", 0))
        builder.grow(0)
        for events, blocks in BLOCKS:
            yield _cost(*_calls(builder, events, blocks + WARM), events)
        if grants:
            yield from _scale(builder, grants)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _mix(builder: Builder, events: int) -> list[Submission]:
    share = min(events // len(MEMBERS), SETUP_BATCH)
    workload = builder.workload
    return [
        workload.submission(MEMBERS[n % len(MEMBERS)], "office", workload.mix(MEMBERS[n % len(MEMBERS)], share))
        for n in range(events // share)
    ]


def _now() -> int:
    return time.time_ns() // 1_000_000


def _block(app: Application, submissions: list[Submission]) -> BlockInput:
    block, left_out = app.prepare(submissions, _now())
    if left_out:
        raise RuntimeError(str(left_out[0][1]))
    return block


def _calls(builder: Builder, events: int, blocks: int) -> tuple[Program, list[dict[str, Any]]]:
    """The program, and what the application asks of its rules for blocks of the mix, each on what the one before left."""
    calls: list[dict[str, Any]] = []
    app = builder.open()
    if not isinstance(app.rules, Program):
        raise TypeError("the rules of this ledger are no compiled program")
    program, start = app.rules, app.runtime.start

    def kept(call: Any, **options: Any) -> None:
        calls.append(copy.deepcopy(dict(call)))
        start(call, **options)

    app.runtime.start = kept  # type: ignore[method-assign]
    try:
        for _ in range(blocks):
            app.finalize(_block(app, _mix(builder, events)))
            app.commit(b"")
    finally:
        app.close()
    return program, calls


def _cost(program: Program, calls: list[dict[str, Any]], events: int) -> dict[str, Any]:
    with Worker(program) as worker, Worker(replace(program, text=_ECHO)) as echo:
        inside, around, host, bytes_in = [], [], [], 0
        for number, call in enumerate(calls):
            started = _on_cpu(worker)
            outcomes = worker.run_block(call)
            decided = _on_cpu(worker) - started
            echo.run_block({"time": 0, "objects": {}, "steps": outcomes})
            started, own = _on_cpu(echo), time.process_time()
            if echo.run_block(call) != outcomes:
                raise RuntimeError("the echo answered something else")
            own = time.process_time() - own
            passed = _on_cpu(echo) - started
            if number >= WARM:
                inside.append((decided - passed) / events * 1e6)
                around.append(passed / events * 1e6)
                host.append(own / events * 1e6)
                bytes_in += sum(map(len, call["objects"].values())) + sum(len(s[4]) + len(s[5]) for s in call["steps"])
    row: dict[str, Any] = {"events_per_block": events, "blocks": len(inside), "rules_in_book": len(program.book.rules)}
    row["rules_us"] = round(statistics.median(inside), 1)
    row["rules_us_best"] = round(min(inside), 1)
    row["in_and_out_us"] = round(statistics.median(around) + statistics.median(host), 1)
    row["in_and_out_worker_us"] = round(statistics.median(around), 1)
    row["bytes_in_per_event"] = round(bytes_in / (len(inside) * events))
    return row


def _on_cpu(worker: Worker) -> float:
    """Seconds that the worker's process has run on a core, exact to the nanosecond."""
    return int(Path(f"/proc/{worker.pid}/schedstat").read_text().split()[0]) / 1e9


@dataclass(slots=True)
class _Around:
    """What lies around the blocks that are timed."""

    grants: int
    timers: int


def _scale(builder: Builder, grants: int) -> Iterator[dict[str, Any]]:
    """A row with nothing around, at 100,000 open timers, and when `grants` are reached or the building's time is up."""
    started, first, passed = time.perf_counter(), 0.0, False
    found = _Around(0, _timers(builder))
    app = builder.open()
    try:
        while True:
            built = time.perf_counter() - started
            last = found.grants >= grants or built >= BUILD_S
            reached = found.timers >= 100_000 and not passed
            if not found.grants or reached or last:
                passed = passed or reached
                spent, ruled = _probe(app, builder)
                first = first or spent
                yield {
                    "grants_around": found.grants, "open_timers": found.timers, "state_keys": app.head.state_keys,
                    "block_events": BLOCKS[-1][0], "us_per_event": round(spent, 1), "ratio": round(spent / first, 2),
                    "rules_us": round(ruled, 1), "built_s": round(built),
                }  # fmt: skip
            if last:
                return
            found.grants += _more_grants(app, builder)
            found.timers = _timers(builder)
    finally:
        app.close()


def _probe(app: Application, builder: Builder) -> tuple[float, float]:
    """µs an event, this process's, for whole blocks of the mix on the first grants, and for the rules alone (medians)."""
    spent, ruled = [], []
    start, inside = app.runtime.start, [0.0]

    def timed(call: Any, **options: Any) -> None:
        before = time.process_time()
        start(call, **options)  # rules inline are decided here
        inside[0] = time.process_time() - before

    gc.collect()
    app.runtime.start = timed  # type: ignore[method-assign]
    try:
        for _ in range(PROBES):
            submissions = _mix(builder, BLOCKS[-1][0])
            before = time.process_time()
            app.finalize(_block(app, submissions))
            app.commit(b"")
            spent.append((time.process_time() - before) / BLOCKS[-1][0] * 1e6)
            ruled.append(inside[0] / BLOCKS[-1][0] * 1e6)
    finally:
        app.runtime.start = start  # type: ignore[method-assign]
    return statistics.median(spent), statistics.median(ruled)


def _more_grants(app: Application, builder: Builder) -> int:
    """Make `WAVE` grants that the mix never uses; each is asked for, given, and has its open timers."""
    workload, mixed = builder.workload, list(builder.workload.grants)
    setup = workload.setup(WAVE)
    try:
        for number, wave in enumerate(setup):
            if number < CATALOGUE_WAVES:
                continue
            for at in range(0, len(wave), 20):
                app.finalize(_block(app, wave[at : at + 20]))
                app.commit(b"")
            if len(workload.grants) > len(mixed):
                return len(workload.grants) - len(mixed)
        raise RuntimeError("the set-up made no grants")
    finally:
        workload.grants = mixed


def _timers(builder: Builder) -> int:
    with sqlite3.connect(f"file:{builder.folder / datadir.DATABASE}?mode=ro", uri=True) as reader:
        return int(reader.execute("SELECT count(*) FROM timers").fetchone()[0])
