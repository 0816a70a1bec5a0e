"""`./dev bench append`: durable append over real HTTP at several batch sizes and numbers in flight.

Closed loop; requests are built and signed before the clock starts. Each answered request was checked, decided by the
rules and is durable on the node. Certified latency is measured by following the node's checkpoint note beside the load;
with followers it needs their cosignatures, and the row says what the whole network cost and how far they lagged.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import threading
import time
from bisect import bisect_left
from pathlib import Path
from typing import Any, Self

from ledger.client.http import NodeClient
from ledger.client.receipt import check_receipt, pin
from ledger.core.canonical import encode
from ledger.core.checkpoint import parse_checkpoint_text
from ledger.core.hashing import sha256
from ledger.core.note import parse_note
from ledger.core.quorum import threshold
from ledger.limits import PROOF_BYTES_MAX
from scripts.bench.bed import Bed, bed
from scripts.bench.load import Check, Sample, closed_loop, request_bytes
from scripts.bench.processes import cpu_seconds, folder_bytes, resident_bytes
from scripts.bench.repeat import summary

WARM_UP_S = 3.0
FSYNCS = 50  # of a page each, to say what one costs on this disk
CATCH_UP_S = 60.0
RECORDED = 201
RATE_GUESS = {1: 4_000, 10: 1_800, 100: 260, 1000: 32}  # requests a second never exceeded, to build enough of them


class CertificateWatch:
    """Notes when each size was certified, seen from outside."""

    def __init__(self, url: str, cosigners: int) -> None:
        self._client, self._needed = NodeClient(url), threshold(cosigners)
        self._stop = threading.Event()
        self.sizes: list[int] = []
        self.times: list[float] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        after = None
        while not self._stop.is_set():
            note = self._client.get_bytes(["v1", "checkpoint"], {"wait": 1, "after": after}, wait_s=2)
            now = time.perf_counter()
            after = sha256(note).hex()
            if note:
                parsed = parse_note(note)
                size = parse_checkpoint_text(parsed.text).size
                if len(parsed.lines) - 1 >= self._needed and (not self.sizes or size > self.sizes[-1]):
                    self.sizes.append(size)
                    self.times.append(now)

    def certified_at(self, size: int) -> float | None:
        """When a certificate covered `size`."""
        place = bisect_left(self.sizes, size)
        return self.times[place] if place < len(self.sizes) else None


def run(
    cells: list[tuple[int, int]], seconds: float, followers: int = 0, repeat: int = 1, checked: bool = False
) -> list[dict[str, Any]]:
    """A row for each (batch, in flight), each cell on a fresh network.

    Repetitions go round by round, so that a change of the machine's mood falls on every cell.
    """
    rounds: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for number in range(repeat):
        for batch, in_flight in cells:
            with bed(followers) as network:
                row = cell(network, batch, in_flight, seconds, checked)
            rounds.setdefault((batch, in_flight), []).append(row)
            if repeat > 1:
                print(f"round {number + 1}: {batch}:{in_flight}  {row['events_per_s']}/s", flush=True)
    rows = [summary(each) for each in rounds.values()]
    for row in rows:
        print("  ".join(f"{name}={value}" for name, value in row.items()), flush=True)
    return rows


def cell(network: Bed, batch: int, in_flight: int, seconds: float, checked: bool = False) -> dict[str, Any]:
    """One measured cell; `checked`: every event's receipt is asked for and verified by the client before it goes on."""
    wanted = int(RATE_GUESS.get(batch, 4_000 * 12 // (11 + batch)) * (seconds + WARM_UP_S)) + 4 * in_flight
    if in_flight == 1:
        wanted = min(wanted, int(400 * (seconds + WARM_UP_S)))
    bodies = network.workload.framed(batch, wanted)
    raw = statistics.mean(len(e.head) + len(e.body) for e in network.workload.mix("ga", 500))
    path, check = ("/v1/submissions?receipt=full", receipt_check(network)) if checked else ("/v1/submissions", None)
    requests = [request_bytes(f"{network.host}:{network.port}", path, body) for body in bodies]
    del bodies
    warm = max(1, int(len(requests) * WARM_UP_S / (seconds + WARM_UP_S)))
    pids = [node.pid for node in network.network.nodes]
    fsync_s = one_fsync(network.folder.parent)
    asyncio.run(closed_loop(network.host, network.port, requests[:warm], in_flight, WARM_UP_S, check))
    disk, own = folder_bytes(network.folder), time.process_time()
    cpu = [cpu_seconds(pid) for pid in pids]
    with CertificateWatch(network.network.nodes[0].url, len(pids)) as watch:
        started = time.perf_counter()
        measured = asyncio.run(closed_loop(network.host, network.port, requests[warm:], in_flight, seconds, check))
        took = time.perf_counter() - started
        lag = _catch_up(network)
        spent = [cpu_seconds(pid) - before for pid, before in zip(pids, cpu, strict=True)]
        client = time.process_time() - own
        rss = [resident_bytes(pid) for pid in pids]
        time.sleep(1.0)
    recorded = [sample for sample in measured.samples if sample.status == RECORDED]  # a refusal is no event
    if not recorded:
        raise RuntimeError(f"{batch}:{in_flight}: nothing was recorded, {measured.failed} requests failed")
    events = len(recorded) * batch
    row = {
        "batch": batch,
        "in_flight": in_flight,
        "events_per_s": round(events / took),
        **_latencies(recorded, watch),
        "failed": measured.failed,
        "events": events,
        "server_cpu_s_per_1000": round(spent[0] / events * 1000, 4),
        "client_cpu_s_per_1000": round(client / events * 1000, 4),
        "rss_mb": round(rss[0] / 2**20),
        "disk_bytes_per_event": round((folder_bytes(network.folder) - disk) / events),
        "raw_bytes_per_event": round(raw),
        "fsync_ms": round(fsync_s * 1000, 2),
        "followers": len(pids) - 1,
        "ran_out": len(measured.samples) >= len(requests) - warm,
    }
    if len(pids) > 1:
        row["network_cpu_s_per_1000"] = round(sum(spent) / events * 1000, 4)
        row["network_rss_mb"] = round(sum(rss) / 2**20)
        row["follower_lag_ms"] = round(lag * 1000)
    return row


def one_fsync(folder: Path) -> float:
    """The median of what appending a page to a file below `folder` and making it durable takes, in seconds."""
    path, page, times = folder / "fsync", bytes(4096), list[float]()
    with path.open("wb", buffering=0) as file:
        for _ in range(FSYNCS):
            started = time.perf_counter()
            file.write(page)
            os.fsync(file.fileno())
            times.append(time.perf_counter() - started)
    path.unlink()
    return statistics.median(times)


def receipt_check(network: Bed) -> Check:
    """Verifies the receipts of an answer offline, as a department that pinned the genesis does."""
    pinned = pin(network.made.genesis.data, network.made.genesis.origin)

    def check(body: bytes) -> None:
        for event in json.loads(body)["events"]:
            check_receipt(
                encode(event["receipt"], bytes_max=PROOF_BYTES_MAX), pinned, int(time.time()),
                member=event["member"], event_id=event["id"],
            )  # fmt: skip

    return check


def _catch_up(network: Bed) -> float:
    """Seconds until every follower holds what the ordering node held when the load ended; 0 without followers."""
    nodes = network.network.nodes
    if len(nodes) == 1:
        return 0.0
    started = time.perf_counter()
    size = NodeClient(nodes[0].url).get_json(["v1", "status"])["size"]
    for node in nodes[1:]:
        client = NodeClient(node.url)
        while client.get_json(["v1", "status"])["size"] < size:
            if time.perf_counter() - started > CATCH_UP_S:
                raise RuntimeError(f"{node.folder.name} did not catch up")
            time.sleep(0.005)
    return time.perf_counter() - started


def _latencies(samples: list[Sample], watch: CertificateWatch) -> dict[str, float]:
    committed = sorted(sample.answered - sample.sent for sample in samples)
    certified = sorted(at - sample.sent for sample in samples if (at := watch.certified_at(sample.size)) is not None)
    found: dict[str, float] = {}
    for name, values in (("", committed), ("certified_", certified)):
        for percent in (50, 95, 99):
            value = values[min(len(values) - 1, len(values) * percent // 100)] if values else float("nan")
            found[f"{name}p{percent}_ms"] = round(value * 1000, 2)
    return found
