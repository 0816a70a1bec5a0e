"""`./dev bench start`: how long whole processes of the command line take, from being started to being gone.

A row is a command as its console script runs it, on files that the system holds in its cache: `ledger --help`, and
`ledger proof verify` of a receipt under what was pinned. Not here: commands that talk to a node.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any, Final

from ledger.client.http import NodeClient
from scripts.bench.bed import Bed, bed
from scripts.bench.repeat import summary

RUNS: Final = 20
SCRIPT: Final = (sys.executable, "-P", "-c", "from ledger.cli.entry import main; main()")  # as the console script
HELP: Final = "ledger --help"
PROOF: Final = "ledger proof verify"
CERTIFIED_S: Final = 30.0


def run(repeat: int = 1) -> list[dict[str, Any]]:
    """A row for each command; rounds go over both in turn."""
    rounds: dict[str, list[dict[str, Any]]] = {}
    with bed() as network:
        receipt = network.folder.parent / "receipt.proof"
        receipt.write_bytes(_receipt(network))
        for _ in range(repeat):
            for name, arguments in (
                (HELP, ["--help"]),
                (PROOF, ["proof", "verify", str(receipt), "--trust", str(network.folder)]),
            ):
                rounds.setdefault(name, []).append(measure(name, arguments))
    rows = [summary(each) for each in rounds.values()]
    for row in rows:
        print("  ".join(f"{name}={value}" for name, value in row.items()), flush=True)
    return rows


def measure(name: str, arguments: list[str]) -> dict[str, Any]:
    """`RUNS` processes one after the other, after one that fills the cache. Raises `RuntimeError` when one fails."""
    walls: list[float] = []
    cpus: list[float] = []
    for number in range(RUNS + 1):
        started = time.perf_counter()
        process = subprocess.Popen([*SCRIPT, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        took = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{name}: exit code {process.returncode}")
        if number:
            walls.append(took)
            cpus.append(usage.ru_utime + usage.ru_stime)
    walls.sort()
    return {
        "command": name,
        "runs": RUNS,
        "wall_p50_ms": round(walls[RUNS // 2] * 1000, 1),
        "wall_p95_ms": round(walls[RUNS * 95 // 100] * 1000, 1),
        "cpu_ms": round(sum(cpus) / RUNS * 1000, 1),
    }


def _receipt(network: Bed) -> bytes:
    """The receipt of an event of the set-up, once a certificate covers it."""
    client, until = NodeClient(network.network.nodes[0].url), time.monotonic() + CERTIFIED_S
    path = ["v1", "events", *network.workload.grants[0].id.split("/"), "receipt"]
    while client.get_json(["v1", "status"])["certified_size"] != client.get_json(["v1", "status"])["size"]:
        if time.monotonic() > until:
            raise RuntimeError("no certificate")
        time.sleep(0.1)
    return client.get_bytes(path)
