"""`./dev bench rules`: what deciding an event costs in the rule worker, in and out of it, and over a ledger's size.

The full rulebook decides the append mix. `rules_us` is the worker's processor time less that of a worker that gets the same
calls and hands back the same outcomes without deciding; that one's time, with this process's for packing and unpacking, is
`in_and_out_us`. The mix is dated in office hours, whenever it runs: outside of them every access is unusual and is recorded
as such. The scale rows time whole blocks in this process (rules inline, as stored) that touch none of the timers and grants
that lie around them; `ratio` is to the first row, with none around, and `seal_us` and `commit_us` are where the state map is
hashed and written. What lies around is written by one event a block, as rules could, so it is in the state map, its tree and
the tables of the store as if it had been decided. Not here: the stages of a node (`profile`).
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
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ledger.adapters.home import datadir
from ledger.adapters.runtime.worker import Worker
from ledger.app import Application, StartableRuntime
from ledger.core import canonical
from ledger.core.submission import Submission
from ledger.machine.block import BlockInput
from ledger.rules.program import Program
from scripts.bench.bed import make
from scripts.bench.processes import collect_as_a_node
from scripts.bench.repeat import summary
from scripts.bench.sizes import Builder
from scripts.bench.workload import MEMBERS, SETUP_BATCH

BLOCKS: Final = ((200, 60), (2000, 12))  # events a block, blocks
WARM: Final = 3  # blocks before the clock starts
GRANTS: Final = 1_000_000  # with their accounts of use; the first TIMERS of them with an open timer each
TIMERS: Final = 100_000
WAVE: Final = 10_000  # grants made in one block
PROBES: Final = 15  # blocks timed at each size
MORNING_MS: Final = 10 * 3_600_000  # ten o'clock, in office hours
ZONE_MS: Final = 8 * 3_600_000
DAY_MS: Final = 86_400_000

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
        builder = _ledger(folder / "network")
        for events, blocks in BLOCKS:
            yield _cost(*_calls(builder, events, blocks + WARM), events)
        if grants:
            yield from _scale(builder, _ledger(folder / "beside"), grants)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _ledger(folder: Path) -> Builder:
    """A new ledger with its catalogue and grants, whose events come in office hours."""
    builder = Builder(make(folder, 0))
    builder.grow(0)
    builder.workload.ahead_ms = _until_morning()
    return builder


def _mix(builder: Builder, events: int) -> list[Submission]:
    share = min(events // len(MEMBERS), SETUP_BATCH)
    workload = builder.workload
    return [
        workload.submission(MEMBERS[n % len(MEMBERS)], "office", workload.mix(MEMBERS[n % len(MEMBERS)], share))
        for n in range(events // share)
    ]


def _until_morning() -> int:
    """Milliseconds from now to the next ten o'clock of the rulebook's zone."""
    return (MORNING_MS - ZONE_MS - time.time_ns() // 1_000_000) % DAY_MS


def _block(app: Application, submissions: list[Submission], builder: Builder) -> BlockInput:
    block, left_out = app.prepare(submissions, builder.workload.now())
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
            app.finalize(_block(app, _mix(builder, events), builder))
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


class _Padded:
    """A runtime whose next answer writes `objects` and arms `timers` as well, on behalf of the first event."""

    def __init__(self, inner: StartableRuntime) -> None:
        self._inner = inner
        self.objects: list[list[Any]] = []
        self.timers: list[list[Any]] = []

    def start(self, call: dict[str, Any]) -> None:
        self._inner.start(call)

    def result(self) -> list[Any]:
        outcomes = self._inner.result()
        if self.objects:
            outcomes[0][7], outcomes[0][8] = [*outcomes[0][7], *self.objects], [*outcomes[0][8], *self.timers]
            self.objects, self.timers = [], []
        return outcomes

    def close(self) -> None:
        self._inner.close()


def _scale(builder: Builder, small: Builder, grants: int) -> Iterator[dict[str, Any]]:
    """A row with nothing around, with `TIMERS` grants that have an open timer, and with all `grants`.

    Blocks of a ledger that stays small are timed in turn with it, so that what the machine does to both is no difference.
    """
    app, beside = builder.open(), small.open()
    app.runtime = padded = _Padded(app.runtime)
    collect_as_a_node()
    around, started = 0, time.perf_counter()
    try:
        pattern = _pattern(app, builder)
        _probe([(beside, small)])
        for wanted in sorted({0, min(TIMERS, grants), grants}):
            while around < wanted:
                padded.objects, padded.timers = _wave(pattern, around, min(WAVE, wanted - around))
                app.finalize(_block(app, _mix(builder, 200)[:1], builder))
                app.commit(b"")
                around += min(WAVE, wanted - around)
            built = time.perf_counter() - started
            (spent, ruled, sealed, committed), (other, *_) = _probe([(app, builder), (beside, small)])
            yield {
                "grants_around": around, "open_timers": _timers(builder), "state_keys": app.head.state_keys,
                "block_events": BLOCKS[-1][0], "us_per_event": round(spent, 1), "beside_us": round(other, 1),
                "ratio": round(spent / other, 2), "rules_us": round(ruled, 1), "seal_us": round(sealed, 1),
                "commit_us": round(committed, 1), "built_s": round(built),
            }  # fmt: skip
    finally:
        beside.close()
        app.close()
        gc.unfreeze()


def _pattern(app: Application, builder: Builder) -> tuple[str, bytes, bytes, bytes, int]:
    """A grant of the mix: its id, its object, its account of use, its timer at the end, and when that is due."""
    _probe([(app, builder)])  # until every grant of the mix was used
    name = next(iter(builder.workload.grants)).id
    keys = [f"grant/{name}", f"use/{name}", f"timer/B6.end/grant/{name}"]
    found = app.store.read_objects(keys)
    grant, use, timer = (found[key] for key in keys)
    return name, grant, use, timer, int(canonical.parse(timer)["due"])


def _wave(
    pattern: tuple[str, bytes, bytes, bytes, int], around: int, count: int
) -> tuple[list[list[Any]], list[list[Any]]]:
    """Writes and timers of `count` more grants that are like the pattern but for their ids."""
    like, grant, use, timer, due = pattern
    objects, timers = [], []
    for number in range(around, around + count):
        name = f"around/{number:036d}"
        objects += [[f"grant/{name}", grant], [f"use/{name}", use]]
        if number < TIMERS:
            key = f"timer/B6.end/grant/{name}"
            objects.append([key, timer.replace(like.encode(), name.encode())])
            timers.append([key, due])
    return objects, timers


def _probe(ledgers: list[tuple[Application, Builder]]) -> list[tuple[float, ...]]:
    """µs an event, this process's, of blocks of the mix on each ledger in turn: whole, rules alone, sealing, writing.

    The median block's."""
    found: list[list[tuple[float, ...]]] = [[] for _ in ledgers]
    gc.collect()
    for _ in range(PROBES):
        for times, (app, builder) in zip(found, ledgers, strict=True):
            times.append(_timed(app, _mix(builder, BLOCKS[-1][0]), builder))
    return [sorted(times)[len(times) // 2] for times in found]


def _timed(app: Application, submissions: list[Submission], builder: Builder) -> tuple[float, ...]:
    runtime, inside = app.runtime, [0.0]
    start = runtime.start

    def timed(call: dict[str, Any]) -> None:
        before = time.process_time()
        start(call)  # rules inline are decided here
        inside[0] = time.process_time() - before

    runtime.start = timed  # type: ignore[method-assign]
    try:
        clock = [time.process_time()]
        app.begin(_block(app, submissions, builder))
        app.finish()
        clock.append(time.process_time())
        app.seal()
        clock.append(time.process_time())
        app.commit(b"")
        clock.append(time.process_time())
    finally:
        runtime.start = start  # type: ignore[method-assign]
    parts = (clock[3] - clock[0], inside[0], clock[2] - clock[1], clock[3] - clock[2])
    return tuple(each / BLOCKS[-1][0] * 1e6 for each in parts)


def _timers(builder: Builder) -> int:
    with sqlite3.connect(f"file:{builder.folder / datadir.DATABASE}?mode=ro", uri=True) as reader:
        return int(reader.execute("SELECT count(*) FROM timers").fetchone()[0])
