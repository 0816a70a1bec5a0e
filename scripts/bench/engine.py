"""`./dev bench engine`: validators of ours beside CometBFT's own kvstore under the same load, in the same run.

Closed loops from one client process over all validators. Ours checks every signature on every node, runs the full
rulebook, keeps streams and state, and is durable before it answers; the kvstore stores bytes. Transactions of the
kvstore are as large as the canonical JSON of the events. Processor time is that of the measured seconds, without the
warm-up and without the client. Not here: the networks (see `validators`).
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import statistics
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ledger.client.http import NodeClient
from ledger_node.comet.rpc import ANSWER_BYTES_MAX, UnixConnection
from scripts.bench.load import Sample, closed_loop, request_bytes
from scripts.bench.processes import command_line, cpu_seconds, family, resident_bytes, stolen_share
from scripts.bench.repeat import summary
from scripts.bench.validators import Kvstore, Validators, kvstore, validators

EVENT_BYTES = 700
WARM_UP_S = 2.0
CASES = ((1, 1), (1, 50), (1, 200), (100, 8))  # batch, in flight
RATES = {1: 1_200, 100: 60}  # requests a second never exceeded on such a machine
"""Requests to build for one second."""


@dataclass(slots=True)
class Meter:
    """What the nodes of a network used in a span of time: processor seconds, CometBFT's part of them, blocks made."""

    nodes: Validators
    cpu: float = 0.0
    comet: float = 0.0
    blocks: int = 0
    seconds: float = 0.0
    _begun: tuple[float, float, int, float] = field(default=(0.0, 0.0, 0, 0.0))

    def begin(self) -> None:
        """Start of the span."""
        self._begun = self._read()

    def end(self) -> None:
        """End of the span."""
        now = self._read()
        self.cpu, self.comet, self.blocks, self.seconds = (
            now[0] - self._begun[0], now[1] - self._begun[1], now[2] - self._begun[2], now[3] - self._begun[3],
        )  # fmt: skip

    def _read(self) -> tuple[float, float, int, float]:
        pids = self.nodes.pids
        comet = [each for pid in pids for each in family(pid) if "cometbft" in command_line(each).partition(" ")[0]]
        height = NodeClient(self.nodes.network.nodes[0].url).get_json(["v1", "status"])["height"]
        return sum(map(cpu_seconds, pids)), sum(map(cpu_seconds, comet)), height, time.perf_counter()

    def row(self, events: int) -> dict[str, Any]:
        """As columns, for `events` that were answered meanwhile."""
        return {
            "cpu_s_per_1000": round(self.cpu / events * 1000, 2),
            "cometbft_s_per_1000": round(self.comet / events * 1000, 2),
            "events_per_block": round(events / max(self.blocks, 1), 1),
            "cores_used": round(self.cpu / self.seconds, 2),
        }


def run(counts: list[int], seconds: float, repeat: int = 1, minutes: float = 0.0) -> list[dict[str, Any]]:
    """Rows by validators and case; with `minutes` also a soak of ours and of the kvstore, by fifths."""
    rounds: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for _ in range(repeat):
        for count in counts:
            cases = CASES if count == counts[0] else CASES[:1] + CASES[2:]
            rows = _both(count, cases, seconds)
            if count == counts[0] and count >= 4:
                rows.append(_one_down(count, seconds))
            for row in rows:
                print("  ".join(f"{name}={value}" for name, value in row.items()), flush=True)
                rounds.setdefault((row["validators"], row["case"]), []).append(row)
    rows = [summary(each) for each in rounds.values()]
    if minutes:
        rows.append(_soak(counts[0], minutes))
    return rows


def _both(count: int, cases: tuple[tuple[int, int], ...], seconds: float) -> list[dict[str, Any]]:
    rows = []
    with validators(count) as ours:
        for batch, flight in cases:
            meter = Meter(ours)
            answered = _load(ours, batch, flight, seconds, certified=flight == 1, meter=meter)
            row = {"validators": count, "case": f"{batch} x {flight}"} | _figures("", answered, batch)
            row |= meter.row(len(answered) * batch)
            row["rss_mb_node"] = round(statistics.mean(resident_bytes(pid) for pid in ours.pids) / 2**20)
            rows.append(row)
    with kvstore(count) as theirs:
        for row, (batch, flight) in zip(rows, cases, strict=True):
            answered = _kv_load(theirs, batch * EVENT_BYTES, flight, seconds)
            row.update(_figures("kvstore_", answered, batch))
            _compare(row, by_latency=flight == 1)
    return rows


def _one_down(count: int, seconds: float) -> dict[str, Any]:
    """One validator of each network away: p50 with one in flight over the others."""
    with validators(count) as ours:
        ours.network.nodes[-1].kill()
        del ours.network.nodes[-1]
        row = {"validators": count, "case": "1 x 1, one down"}
        row |= _figures("", _load(ours, 1, 1, seconds, certified=True), 1)
    with kvstore(count) as theirs:
        theirs.processes[-1].close()
        theirs.homes.pop()
        row |= _figures("kvstore_", _kv_load(theirs, EVENT_BYTES, 1, seconds), 1)
    _compare(row, by_latency=True)
    return row


def _soak(count: int, minutes: float) -> dict[str, Any]:
    """Rates by fifths of a long run, ours and then the kvstore's, with what ours used and what the machine withheld.

    A rate that falls while processor time an event stays level is the machine's: `stolen` is the part of its processors
    that its host gave to others.
    """
    fifth = minutes * 60 / 5
    rates, costs, stolen = [], [], []
    with validators(count) as ours:
        for _ in range(5):
            meter, share = Meter(ours), stolen_share()
            answered = len(_load(ours, 1, 200, fifth, meter=meter))
            rates.append(round(answered / fifth))
            costs.append(meter.row(answered)["cpu_s_per_1000"])
            stolen.append(share())
        rss = max(resident_bytes(pid) for pid in ours.pids)
    with kvstore(count) as other:
        theirs = [round(len(_kv_load(other, EVENT_BYTES, 200, fifth)) / fifth) for _ in range(5)]
    return {
        "validators": count,
        "case": f"soak of {minutes:g} minutes, 1 x 200",
        "events_per_s": round(statistics.median(rates)),
        "rates": _words(rates),
        "last_over_first": round(rates[-1] / rates[0], 2),
        "cpu_s_per_1000": _words(costs),
        "stolen": _words(stolen),
        "kvstore_rates": _words(theirs),
        "kvstore_last_over_first": round(theirs[-1] / theirs[0], 2),
        "rss_mb_node": round(rss / 2**20),
    }


def _words(figures: list[Any]) -> str:
    return " ".join(map(str, figures))


def _load(
    ours: Validators, batch: int, flight: int, seconds: float, *, certified: bool = False, meter: Meter | None = None
) -> list[Sample]:
    """Answered requests of a closed loop, spread over the nodes; everything is signed before the clock starts."""
    wanted = min(int(RATES[batch] * (seconds + WARM_UP_S)), 60 * flight * int(seconds + WARM_UP_S)) + flight
    bodies = ours.workload.framed(batch, wanted)
    nodes = ours.addresses[: max(1, min(flight, len(ours.addresses)))]
    path = "/v1/submissions?ack=certified" if certified else "/v1/submissions"
    parts = [
        [request_bytes(f"{host}:{port}", path, body) for body in bodies[place :: len(nodes)]]
        for place, (host, port) in enumerate(nodes)
    ]

    async def go(span: float, share: slice) -> list[Sample]:
        runs = await asyncio.gather(
            *(
                closed_loop(host, port, part[share], max(1, flight // len(nodes)), span)
                for (host, port), part in zip(nodes, parts, strict=True)
            )
        )
        failed = sum(each.failed for each in runs)
        if failed:
            raise RuntimeError(f"{failed} requests failed")
        return [sample for each in runs for sample in each.samples]

    warm = int(len(parts[0]) * WARM_UP_S / (seconds + WARM_UP_S))
    asyncio.run(go(WARM_UP_S, slice(0, warm)))
    if meter is not None:
        meter.begin()
    answered = asyncio.run(go(seconds, slice(warm, None)))
    if meter is not None:
        meter.end()
    return answered


def _kv_load(theirs: Kvstore, size: int, flight: int, seconds: float) -> list[Sample]:
    """`broadcast_tx_commit` in a closed loop, a thread for each in flight."""
    samples: list[Sample] = []
    lock = threading.Lock()

    def work(home: Path, until: float, measured_from: float) -> None:
        connection = UnixConnection(home)
        while time.perf_counter() < until:
            text = base64.b64encode(os.urandom(size * 3 // 4))[: size - 18].decode()
            tx = base64.b64encode(f"{os.urandom(8).hex()}={text}".encode()).decode()
            sent = time.perf_counter()
            status = _commit(connection, tx)
            with lock:
                if sent >= measured_from:
                    samples.append(Sample(sent, time.perf_counter(), status, 0))

    now = time.perf_counter()
    homes = [theirs.homes[number % len(theirs.homes)] for number in range(flight)]
    threads = [threading.Thread(target=work, args=(home, now + WARM_UP_S + seconds, now + WARM_UP_S)) for home in homes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return samples


def _commit(connection: UnixConnection, tx: str) -> int:
    request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "broadcast_tx_commit", "params": {"tx": tx}})
    headers = {"Content-Type": "application/json"}
    answer = connection.ask("POST", "/", request.encode(), headers, timeout_s=60.0, bytes_max=ANSWER_BYTES_MAX)
    document = json.loads(answer.body)
    if "error" in document:
        raise RuntimeError(document["error"])
    return 201


def _figures(prefix: str, samples: list[Sample], batch: int) -> dict[str, Any]:
    took = max(sample.answered for sample in samples) - min(sample.sent for sample in samples)
    latencies = sorted(sample.answered - sample.sent for sample in samples)
    found: dict[str, Any] = {f"{prefix}events_per_s": round(len(samples) * batch / took)}
    for percent in (50, 95):
        found[f"{prefix}p{percent}_ms"] = round(latencies[len(latencies) * percent // 100] * 1000, 1)
    return found


def _compare(row: dict[str, Any], *, by_latency: bool) -> None:
    """Ours as a multiple of the kvstore's: of its median latency for one in flight, of its rate otherwise."""
    name = "p50_ms" if by_latency else "events_per_s"
    row["ratio_of"], row["ratio"] = name, round(row[name] / row[f"kvstore_{name}"], 2)
