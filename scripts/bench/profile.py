"""`./dev bench profile`: where an event's time goes in a node, stage by stage, timed in this process.

The stages run one after the other as a node runs them, without HTTP: decode, signature, admission, plan, reads, rules (in
the confined worker), decide, leaves and seal, streams, map, sign, store. A stage's figure is this process's processor
time, exclusive: a stage inside another counts once; waiting for the worker and for the disk stands apart.
Not here: answers, certificates, the search index, and what overlaps in a running node.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from ledger import framing
from ledger.adapters.home import datadir
from ledger.adapters.home.keyfile import read_key
from ledger.adapters.home.nodefile import LOG_KEY
from ledger.adapters.ordering.engine import log_note
from ledger.adapters.runtime.worker import Worker
from ledger.adapters.sqlite.store import SqliteStore
from ledger.app import Application
from ledger.core.maptree import MapTree
from ledger.machine import admit, seal
from scripts.bench.bed import make
from scripts.bench.processes import collect_as_a_node, cpu_seconds
from scripts.bench.repeat import summary
from scripts.bench.sizes import Builder
from scripts.bench.stages import Places, Stages

EVENTS: Final = 20_000
BEFORE: Final = 10_000  # events on the ledger before the clock starts
CELLS: Final = ((1, 50), (10, 50), (100, 4), (100, 50), (1000, 4))  # events a submission, submissions a block
STAGES: Final = (
    "decode", "signature", "admission", "plan", "reads", "rules", "decide", "seal", "streams", "map", "sign", "store",
)  # fmt: skip
# Every place where a stage begins, as (owner, attribute, stage). A name that is gone fails the run: then mend this table.
PLACES: Final[Places] = (
    (framing, "parse", "decode"),
    (admit, "verify_signature", "signature"),
    (Application, "check", "admission"),
    (Application, "prepare", "admission"),
    (Application, "begin", "plan"),
    (Application, "finish", "decide"),
    (Application, "seal", "seal"),
    (Worker, "start", "rules"),
    (Worker, "result", "rules"),
    (seal._Streams, "join", "streams"),  # noqa: SLF001 - a profile looks inside
    (seal._Streams, "keys", "streams"),  # noqa: SLF001
    (seal._Streams, "rows", "streams"),  # noqa: SLF001
    (seal._Streams, "seqs", "streams"),  # noqa: SLF001
    (seal, "update", "map"),
    (MapTree, "apply", "map"),
    (MapTree, "root", "map"),
    (SqliteStore, "read_objects", "reads"),
    (SqliteStore, "find_events", "reads"),
    (SqliteStore, "missing_streams", "reads"),
    (SqliteStore, "read_rows", "reads"),
    (SqliteStore, "read_buckets", "reads"),
    (SqliteStore, "due_timers", "reads"),
    (SqliteStore, "write", "store"),
)


def run(events: int, repeat: int = 1) -> list[dict[str, Any]]:
    """A row for each cell: µs an event in each stage, their sum, processor time here and in the worker."""
    rounds: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for _ in range(repeat):
        for cell in CELLS:
            rounds.setdefault(cell, []).append(_cell(*cell, events))
    rows = [summary(each) for each in rounds.values()]
    for row in rows:
        print("  ".join(f"{name}={value}" for name, value in row.items()), flush=True)
    return rows


def _cell(batch: int, submissions: int, events: int) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="suyuan-bench-"))
    try:
        builder = Builder(make(folder / "network", 0))
        builder.grow(BEFORE)
        blocks = max(2, events // (batch * submissions))
        framed = builder.workload.framed(batch, submissions * blocks)
        app = Application(SqliteStore.open(builder.folder / datadir.DATABASE), datadir.load_rules("worker"))
        try:
            return _measure(app, builder, framed, batch, submissions)
        finally:
            app.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(app: Application, builder: Builder, framed: list[bytes], batch: int, submissions: int) -> dict[str, Any]:
    runtime, stages = app.runtime, Stages(PLACES)
    worker = runtime.pid if isinstance(runtime, Worker) else None
    if worker is None:
        raise RuntimeError("the profile needs the rules in their worker")
    signer = read_key(builder.folder / LOG_KEY)
    collect_as_a_node()
    before, own, started = cpu_seconds(worker), time.process_time(), time.perf_counter()
    with stages.watching():
        for at in range(0, len(framed), submissions):
            parsed = [framing.parse(data) for data in framed[at : at + submissions]]
            for submission in parsed:
                app.check(submission)
            block, left_out = app.prepare(parsed, time.time_ns() // 1_000_000)
            if left_out:
                raise RuntimeError(str(left_out[0][1]))
            app.begin(block, drop_replays=True)
            app.finish()
            sealed = app.seal()
            stages.enter("sign")
            note = log_note(signer, app.origin, sealed.size, sealed.root)
            stages.leave()
            app.commit(note)
    took, spent = time.perf_counter() - started, cpu_seconds(worker) - before
    own = time.process_time() - own
    events = len(framed) * batch
    row: dict[str, Any] = {"batch": batch, "submissions_per_block": submissions, "events": events}
    for stage in STAGES:
        row[f"{stage}_us"] = round(stages.seconds[stage] / events * 1e6, 2)
    unknown = set(stages.seconds) - set(STAGES)
    if unknown:
        raise RuntimeError(f"stages without a column: {unknown}")
    row["other_us"] = round((own - sum(stages.seconds.values())) / events * 1e6, 2)
    row["cpu_us_per_event"] = round(own / events * 1e6, 2)
    row["elapsed_us_per_event"] = round(took / events * 1e6, 2)
    row["waited_for_rules"] = round(stages.waited["rules"] / events * 1e6, 2)
    row["waited_for_disk"] = round(stages.waited["store"] / events * 1e6, 2)
    row["worker_cpu"] = round(spent / events * 1e6, 2)
    return row
