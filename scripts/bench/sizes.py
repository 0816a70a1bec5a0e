"""`./dev bench verify|query|scale`: what the ledger's size does to verification, to answers and to the cost of an event.

Ledgers are built by the application itself, in this process and without HTTP, then served or exported as they are.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ledger.adapters.home import datadir
from ledger.adapters.home.keyfile import read_key
from ledger.adapters.home.network import CreatedNetwork
from ledger.adapters.home.nodefile import LOG_KEY, event_key_file
from ledger.adapters.ordering.engine import log_note
from ledger.adapters.sqlite.store import SqliteStore
from ledger.app import Application
from ledger.client.http import NodeClient
from ledger.core.genesis import Genesis
from ledger.core.proof import trust_genesis, verify_proof
from ledger.core.submission import Submission
from ledger_node.local import LocalNetwork
from scripts.bench.bed import make
from scripts.bench.levels import by_level
from scripts.bench.processes import collect_as_a_node, command_line, family, folder_bytes, peak_bytes, resident_bytes
from scripts.bench.repeat import summary
from scripts.bench.workload import AUTHORITY, KEYS, MEMBERS, Workload

BATCH = 100
BLOCK_SUBMISSIONS = 20
QUERIES = 60
INDEX_S = 600.0
SAMPLE_S = 0.05  # between two looks at a command's processes


def run(what: str, sizes: list[int], repeat: int = 1) -> list[dict[str, Any]]:
    """Rows by ledger size, ascending; the ledger grows from one size to the next."""
    rounds: dict[int, list[dict[str, Any]]] = {}
    for _ in range(repeat):
        for size, row in zip(sorted(sizes), _grow(what, sizes), strict=True):
            rounds.setdefault(size, []).append(row)
    rows = [summary(each) for each in rounds.values()]
    for row in rows:
        print("  ".join(f"{name}={value}" for name, value in row.items()), flush=True)
    return rows


def _grow(what: str, sizes: list[int]) -> Iterator[dict[str, Any]]:
    folder = Path(tempfile.mkdtemp(prefix="suyuan-bench-"))
    try:
        made = make(folder / "network", 0)
        builder = Builder(made)
        for size in sorted(sizes):
            tail = builder.grow(size)
            row: dict[str, Any] = {
                "events": builder.events,
                "build_us_per_event": round(tail.cpu_s / max(1, tail.events) * 1e6, 1),
            }
            row["disk_bytes_per_event"] = round(folder_bytes(builder.folder) / builder.events)
            if what == "verify":
                row.update(_verify(made, folder / f"export-{size}"))
            elif what == "query":
                row.update(_query(made, builder))
            else:
                row.update(_scale(builder, tail))
            yield row
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(slots=True)
class Tail:
    """What the last tenth of a growth cost: events, processor and elapsed seconds, the slowest blocks' 95th percentile."""

    events: int = 0
    cpu_s: float = 0.0
    elapsed_s: float = 0.0
    block_s: list[float] = field(default_factory=list)


def _scale(builder: Builder, tail: Tail) -> dict[str, Any]:
    """Cost of an event at this size, of a block in the tail, of memory, and of opening the ledger again."""
    blocks = sorted(tail.block_s)
    started = time.perf_counter()
    app = builder.open()
    opened = time.perf_counter() - started
    row = {
        "elapsed_us_per_event": round(tail.elapsed_s / max(1, tail.events) * 1e6, 1),
        "block_p50_ms": round(blocks[len(blocks) // 2] * 1000, 1),
        "block_p95_ms": round(blocks[len(blocks) * 95 // 100] * 1000, 1),
        "state_keys": app.head.state_keys,
        "open_ms": round(opened * 1000, 1),
        "rss_mb": round(resident_bytes(os.getpid()) / 2**20),
    }
    app.close()
    return row


class Builder:
    """Grows one ledger with the append mix."""

    def __init__(self, made: CreatedNetwork) -> None:
        self.made, self.folder = made, made.folders[AUTHORITY]
        signers = {(m, label): read_key(self.folder / event_key_file(m, label)) for m in MEMBERS for label in KEYS}
        self.workload = Workload(made.genesis.origin, signers)
        self.events = 0
        self._log = read_key(self.folder / LOG_KEY)
        self._is_set_up = False

    def open(self) -> Application:
        """The application on the ledger as it stands."""
        return Application(SqliteStore.open(self.folder / datadir.DATABASE), datadir.load_rules("inline"))

    def grow(self, events: int) -> Tail:
        """Append until the ledger holds `events`; what its last tenth cost."""
        app = self.open()
        try:
            if not self._is_set_up:
                for wave in self.workload.setup():
                    self._block(app, wave)
                self._is_set_up = True
            collect_as_a_node()
            last, tail = max(BATCH * BLOCK_SUBMISSIONS, events // 10), Tail()
            while self.events < events:
                submissions = self.submissions()
                cpu, started = time.process_time(), time.perf_counter()
                self._block(app, submissions)
                if self.events > events - last:
                    tail.cpu_s += time.process_time() - cpu
                    tail.block_s.append(time.perf_counter() - started)
                    tail.elapsed_s += tail.block_s[-1]
                    tail.events += BATCH * BLOCK_SUBMISSIONS
            return tail
        finally:
            app.close()

    def submissions(self) -> list[Submission]:
        """A block's worth of the mix."""
        return [
            self.workload.submission(MEMBERS[n % 4], "office", self.workload.mix(MEMBERS[n % 4], BATCH))
            for n in range(BLOCK_SUBMISSIONS)
        ]

    def _block(self, app: Application, submissions: list[Submission]) -> None:
        block, left_out = app.prepare(submissions, time.time_ns() // 1_000_000)
        if left_out:
            raise RuntimeError(str(left_out[0][1]))
        sealed = app.finalize(block)
        app.commit(log_note(self._log, app.origin, sealed.size, sealed.root))
        self.events += sum(len(submission.events) for submission in submissions)


def _verify(made: CreatedNetwork, export: Path) -> dict[str, Any]:
    with LocalNetwork(made.folders.values()) as network:
        _await_certificate(network.nodes[0].url)
        _ledger("export", "archive", str(export), "--from", str(made.folders[AUTHORITY]))
    row: dict[str, Any] = {}
    for name, options in (("full", []), ("full_jobs1", ["--jobs", "1"]), ("no_replay", ["--runtime", "none"])):
        started = time.perf_counter()
        ran = _ledger("verify", str(export), "--origin", made.genesis.origin, "--no-remember", "--fresh", *options)
        took = time.perf_counter() - started
        events = ran.document["counts"]["events"]
        row[f"{name}_events_per_s"] = round(events / took)
        row[f"{name}_cpu_us_per_event"] = round(ran.cpu_s / events * 1e6, 1)
        for role in sorted(ran.peaks):
            row[f"{name}_rss_{role}_mb"] = round(ran.peaks[role] / 2**20)
    row |= by_level(export)
    shutil.rmtree(export)
    return row


@dataclass(slots=True)
class Ran:
    """What one command printed and cost: processor time of all its processes, and by role the largest resident memory that
    one process had (`main`; `check` and `rules` are the workers of `ledger verify`)."""

    document: dict[str, Any]
    cpu_s: float
    peaks: dict[str, int]


def _ledger(*arguments: str) -> Ran:
    """Run the command line."""
    peaks: dict[str, int] = {}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "ledger.cli.main", *arguments, "--json"], stdout=out, stderr=err
        )
        while True:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            for pid in family(process.pid):
                line = command_line(pid)
                role = "check" if "checkworker" in line else "rules" if "ruleworker" in line else "main"
                peaks[role] = max(peaks.get(role, 0), peak_bytes(pid))
            time.sleep(SAMPLE_S)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode not in (0, 7):
            raise RuntimeError(f"ledger {' '.join(arguments)}: {out.read()[-500:]!r} {err.read()[-500:]!r}")
        # With all that it waited for: every worker.
        return Ran(json.loads(out.read()), usage.ru_utime + usage.ru_stime, peaks)


def _query(made: CreatedNetwork, builder: Builder) -> dict[str, Any]:
    row: dict[str, Any] = {}
    with LocalNetwork(made.folders.values()) as network:
        _await_certificate(network.nodes[0].url)
        client = NodeClient(network.nodes[0].url)
        _await_index(client)
        grant = builder.workload.grants[7]
        stream = client.get_json(["v1", "datasets", grant.dataset, "timeline"], {"limit": 1})
        end = min(1000, stream["count"])
        row["stream_events"] = end
        for name, path, query in (
            ("timeline", ["v1", "datasets", grant.dataset, "timeline"], {"limit": 1000}),
            ("timeline_proof", ["v1", "datasets", grant.dataset, "timeline"], {"limit": 1000, "proof": "full"}),
            (
                "completeness",
                ["v1", "proofs", "completeness"],
                {"kind": "dataset", "id": grant.dataset, "begin": 0, "end": end},
            ),
            ("event", ["v1", "streams", "grant", grant.id], {"limit": 1}),
        ):
            times: list[float] = []
            answer = b""
            for _ in range(QUERIES):
                started = time.perf_counter()
                answer = client.get_bytes(path, query)
                times.append(time.perf_counter() - started)
            times.sort()
            row[f"{name}_p50_ms"] = round(times[len(times) // 2] * 1000, 1)
            row[f"{name}_p95_ms"] = round(times[len(times) * 95 // 100] * 1000, 1)
            row[f"{name}_kb"] = round(len(answer) / 1024)
            if name == "completeness":
                row.update(_checked(answer, made.genesis))
    return row


def _checked(proof: bytes, genesis: Genesis) -> dict[str, Any]:
    """What a client who pinned the network needs to check a proof file, in one process."""
    trust, times = trust_genesis(genesis, int(time.time())), list[float]()
    for _ in range(QUERIES):
        started = time.perf_counter()
        verify_proof(proof, trust)
        times.append(time.perf_counter() - started)
    times.sort()
    return {
        "check_p50_ms": round(times[len(times) // 2] * 1000, 1),
        "check_p95_ms": round(times[len(times) * 95 // 100] * 1000, 1),
    }


def _await_index(client: NodeClient) -> None:
    """The ledger was built without a node, so its search index is made now; that is not what is measured."""
    until = time.monotonic() + INDEX_S
    while time.monotonic() < until:
        checks = {check["name"]: check for check in client.get_json(["readyz"])["checks"]}
        if checks["index"]["detail"].startswith("0 "):
            return
        time.sleep(0.5)
    raise RuntimeError("the search index is not ready")


def _await_certificate(url: str) -> None:
    client, until = NodeClient(url), time.monotonic() + 60
    while time.monotonic() < until:
        note = client.get_bytes(["v1", "checkpoint"])
        if note.count("—".encode()) >= 2:
            return
        time.sleep(0.1)
    raise RuntimeError("no certificate")
