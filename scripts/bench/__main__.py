"""Measure the product: `./dev bench append|verify|query|scale|start|profile|rules|peers|engine [--json FILE]`.

`./dev bench report` writes the page and its pictures from the JSON files in docs/bench.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from pathlib import Path
from typing import Any

CELLS = "1:1,1:4,1:50,10:1,10:4,10:50,100:1,100:4,100:50,1000:1,1000:4,1000:50"
SIZES = {"verify": "10000,100000", "query": "10000,100000", "scale": "10000,100000,1000000"}


def main() -> int:
    """Run one benchmark; exit code 1 when a request failed or nothing could be measured."""
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument(
        "what", choices=("append", "verify", "query", "scale", "start", "profile", "rules", "peers", "engine", "report")
    )
    parser.add_argument("--cells", default=CELLS, help="batch:in_flight,… (append)")
    parser.add_argument("--seconds", type=float, default=15.0, help="measured seconds per cell (append, peers)")
    parser.add_argument("--repeat", type=int, default=1, help="rounds; rows give the median, with minimum and maximum")
    parser.add_argument("--followers", type=int, default=0, help="nodes beside the ordering one, 0 to 3 (append)")
    parser.add_argument("--receipts", action="store_true", help="the client verifies every event's receipt (append)")
    parser.add_argument("--events", help="ledger sizes (verify, query, scale), events (profile), leaves (peers)")
    parser.add_argument(
        "--validators", default="4", help="4,7,10: sizes of networks; the first has every case (engine)"
    )
    parser.add_argument("--minutes", type=float, default=0.0, help="a soak of so long at the end (engine)")
    parser.add_argument("--json", type=Path, help="write rows and conditions here")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended, and folders removed
    if given.what == "report":
        from scripts.bench import report

        top = Path(__file__).resolve().parents[2] / "docs"
        report.write(top / "bench", top / "BENCHMARKS.md")
        return 0
    rows = measure(given)
    if given.json and rows:
        document = {"bench": given.what, "conditions": conditions(given), "rows": rows}
        given.json.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return int(not rows or any(row.get("failed") for row in rows))


def measure(given: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of one benchmark."""
    if given.what == "append":
        from scripts.bench import append

        cells = [
            (int(batch), int(flight)) for batch, _, flight in (cell.partition(":") for cell in given.cells.split(","))
        ]
        return append.run(cells, given.seconds, given.followers, given.repeat, given.receipts)
    if given.what == "peers":
        from scripts.bench.peers import run as peers

        return peers.run(given.seconds, given.repeat, int(given.events or peers.FSCK_ENTRIES))
    if given.what == "profile":
        from scripts.bench import profile

        return profile.run(int(given.events or profile.EVENTS), given.repeat)
    if given.what == "start":
        from scripts.bench import starting

        return starting.run(given.repeat)
    if given.what == "rules":
        from scripts.bench import rulecost

        return rulecost.run(int(given.events or rulecost.GRANTS), given.repeat)
    if given.what == "engine":
        from scripts.bench import engine

        return engine.run(
            [int(count) for count in given.validators.split(",")], given.seconds, given.repeat, given.minutes
        )
    from scripts.bench import sizes

    return sizes.run(given.what, [int(size) for size in (given.events or SIZES[given.what]).split(",")], given.repeat)


def conditions(given: argparse.Namespace) -> dict[str, Any]:
    """What the figures were measured on, and how."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load": os.getloadavg(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "seconds": given.seconds if given.what in ("append", "peers", "engine") else None,
        "repeat": given.repeat,
        "followers": given.followers,
        "receipts": given.receipts,
    }


if __name__ == "__main__":
    sys.exit(main())
