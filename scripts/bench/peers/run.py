"""`./dev bench peers`: immudb and Tessera beside our node, in turn on the same machine, as ratios.

Each comparison runs peer, ours, peer, ours … so that both sides see the same neighbours; a fresh store each time. What is
done for an entry differs and stands in each row: none of the peers checks a submitter's signature or runs a rule. Not
here: building and starting the peers.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from scripts.bench import append, sizes
from scripts.bench.bed import bed
from scripts.bench.peers.servers import immudb, tessera
from scripts.bench.peers.toolchain import IMMUDB, TESSERA, PeersUnavailableError, Programs, programs
from scripts.bench.repeat import summary

PAYLOAD_BYTES: Final = 585  # as our mix, see raw_bytes_per_event
TESSERA_CROWD: Final = 2_000  # requests in flight; Tessera waits a second for a batch of 256 to fill
FSCK_ENTRIES: Final = 100_000
DOES: Final = {
    "immudb Set": f"immudb {IMMUDB}, synced, gRPC; key and value, no signature, no rule",
    "immudb VerifiedSet": f"immudb {IMMUDB}, synced, gRPC; the client checks the inclusion and consistency proof",
    "Tessera add": f"Tessera {TESSERA} POSIX, HTTP; an opaque leaf, answered with its index, checkpoint within 1 s",
    "Tessera fsck": f"Tessera {TESSERA}, fsck -N 2 from the local folder; hashes and the checkpoint signature",
}
OurCell = tuple[int, int, bool]
CHECKED: Final = ", receipts checked"
# (peer, what its client does, (batch, in flight), our cell: batch, in flight, and whether the client checks receipts)
CELLS: Final = (
    ("immudb Set", "immudb-set", (1, 1), (1, 1, False)),
    ("immudb Set", "immudb-set", (1, 50), (1, 50, False)),
    ("immudb VerifiedSet", "immudb-verified", (1, 50), (1, 50, True)),
    ("immudb Set", "immudb-set", (100, 4), (100, 4, False)),
    ("immudb Set", "immudb-set", (1000, 4), (1000, 4, False)),
    ("Tessera add", "tessera", (1, 1), (1, 1, False)),
    ("Tessera add", "tessera", (1, 50), (1, 50, False)),
    ("Tessera add", "tessera", (1, TESSERA_CROWD), (100, 4, False)),
)


def run(seconds: float, repeat: int, entries: int = FSCK_ENTRIES) -> list[dict[str, Any]]:
    """The rows; empty, with a visible line, where the peers cannot be had."""
    try:
        built = programs()
    except PeersUnavailableError as error:
        print(f"peers: NOT MEASURED: {error}", flush=True)
        return []
    ours_rounds: dict[OurCell, list[dict[str, Any]]] = {}
    peer_rounds: dict[int, list[dict[str, Any]]] = {}
    for _ in range(repeat):
        done: set[OurCell] = set()
        for number, (name, kind, cell, our_cell) in enumerate(CELLS):
            peer_rounds.setdefault(number, []).append(_peer(built, name, kind, *cell, seconds))
            if our_cell not in done:
                done.add(our_cell)
                ours_rounds.setdefault(our_cell, []).append(_ours(*our_cell, seconds))
    rows = [
        _row(name, cell, our_cell, summary(peer_rounds[number]), summary(ours_rounds[our_cell]))
        for number, (name, _, cell, our_cell) in enumerate(CELLS)
    ]
    rows.extend(_audit(built, entries, repeat))
    for row in rows:
        print("  ".join(f"{name}={value}" for name, value in row.items()), flush=True)
    return rows


def _peer(built: Programs, name: str, kind: str, batch: int, in_flight: int, seconds: float) -> dict[str, Any]:
    start = immudb if kind.startswith("immudb") else tessera
    with start(built) as peer:
        found = peer.load(kind, batch, in_flight, seconds, PAYLOAD_BYTES)
    print(f"{name} {batch}:{in_flight}  {found['events_per_s']}/s  p50 {found['p50_ms']:.2f} ms", flush=True)
    return found


def _ours(batch: int, in_flight: int, checked: bool, seconds: float) -> dict[str, Any]:
    with bed() as network:
        found = append.cell(network, batch, in_flight, seconds, checked)
    print(
        f"ours {batch}:{in_flight}{CHECKED if checked else ''}  {found['events_per_s']}/s  p50 {found['p50_ms']:.2f} ms",
        flush=True,
    )
    return found


def _row(
    name: str, cell: tuple[int, int], our_cell: OurCell, peer: dict[str, Any], ours: dict[str, Any]
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "peer": name,
        "peer_cell": f"{cell[0]}:{cell[1]}",
        "our_cell": f"{our_cell[0]}:{our_cell[1]}{CHECKED if our_cell[2] else ''}",
        "peer_events_per_s": peer["events_per_s"],
        "our_events_per_s": ours["events_per_s"],
        "ratio": _ratio(ours["events_per_s"], peer["events_per_s"]),
        "peer_p50_ms": round(peer["p50_ms"], 2),
        "our_p50_ms": ours["p50_ms"],
        "peer_p99_ms": round(peer["p99_ms"], 2),
        "our_p99_ms": ours["p99_ms"],
        "peer_disk_bytes": peer["disk_bytes_per_event"],
        "our_disk_bytes": ours["disk_bytes_per_event"],
        "peer_cpu_s_per_1000": peer["server_cpu_s_per_1000"],
        "our_cpu_s_per_1000": ours["server_cpu_s_per_1000"],
        "failed": round(peer["failed"] + ours["failed"]),
        "does": DOES[name],
    }
    if "events_per_s_min" in peer:
        row["peer_min_max"] = f"{peer['events_per_s_min']}–{peer['events_per_s_max']}"
        row["our_min_max"] = f"{ours['events_per_s_min']}–{ours['events_per_s_max']}"
    return row


def _audit(built: Programs, entries: int, repeat: int) -> list[dict[str, Any]]:
    """Tessera's fsck of a local log beside `ledger verify` of a local export, about `entries` each."""
    with tessera(built) as peer:
        made = peer.load("tessera", 1, TESSERA_CROWD, 600, PAYLOAD_BYTES, entries)
        time.sleep(2.5)  # the checkpoint over the last leaves is published within a second
        theirs = [_fsck(built, peer.folder) for _ in range(repeat)]
    if made["failed"]:
        print("peers: some leaves were refused; the log that fsck reads is shorter", flush=True)
    ours = sizes.run("verify", [entries], repeat)[0]
    fsck = summary(theirs)
    return [
        {
            "peer": "Tessera fsck",
            "peer_cell": f"{fsck['leaves']} leaves",
            "our_cell": f"{ours['events']} events, {what}",
            "peer_events_per_s": fsck["events_per_s"],
            "our_events_per_s": ours[f"{name}_events_per_s"],
            "ratio": _ratio(ours[f"{name}_events_per_s"], fsck["events_per_s"]),
            "failed": 0,
            "does": DOES["Tessera fsck"],
        }
        for name, what in (("full", "everything replayed"), ("no_replay", "without rule replay"))
    ]


def _fsck(built: Programs, folder: Path) -> dict[str, Any]:
    size = int((folder / "log" / "checkpoint").read_text("utf-8").split("\n")[1])
    started = time.perf_counter()
    done = subprocess.run(
        [
            str(built.fsck), f"--storage_url=file://{folder / 'log'}/", f"--public_key={folder / 'log.pub'}",
            "--ui=false", "-N=2",
        ],
        capture_output=True, text=True, check=False, timeout=600, cwd=tempfile.gettempdir(),
    )  # fmt: skip
    took = time.perf_counter() - started
    if done.returncode or "fsck failed" in done.stderr:
        raise PeersUnavailableError(f"fsck: {done.stderr.strip()[-300:]}")
    return {"leaves": size, "events_per_s": round(size / took)}


def _ratio(ours: float, theirs: float) -> float:
    return float(f"{ours / max(theirs, 1e-9):.3g}")
