"""Measure the product: `./dev bench append|verify|query|scale [--json FILE]`, and write the page: `./dev bench report`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

CELLS = "1:1,1:4,1:50,10:4,10:50,100:1,100:4,100:50,1000:1,1000:4"


def main() -> int:
    """Run one benchmark; exit code 1 when a request failed."""
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("what", choices=("append", "verify", "query", "scale", "report"))
    parser.add_argument("--cells", default=CELLS, help="batch:in_flight,… (append)")
    parser.add_argument("--seconds", type=float, default=15.0, help="measured seconds per cell (append)")
    parser.add_argument("--followers", type=int, default=0, help="nodes beside the ordering one (append)")
    parser.add_argument("--events", default="10000,100000", help="ledger sizes (verify, query, scale)")
    parser.add_argument("--json", type=Path, help="write rows and conditions here")
    given = parser.parse_args()
    if given.what == "report":
        from scripts.bench import report

        top = Path(__file__).resolve().parents[2] / "docs"
        report.write(top / "bench", top / "BENCHMARKS.md")
        return 0
    if given.what == "append":
        from scripts.bench import append

        cells = [
            (int(batch), int(flight)) for batch, _, flight in (cell.partition(":") for cell in given.cells.split(","))
        ]
        rows = append.run(cells, given.seconds, given.followers)
    else:
        from scripts.bench import sizes

        rows = sizes.run(given.what, [int(size) for size in given.events.split(",")])
    document = {"bench": given.what, "conditions": conditions(), "rows": rows}
    if given.json:
        given.json.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    return int(any(row.get("failed") for row in rows))


def conditions() -> dict[str, Any]:
    """What the figures were measured on."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return {"cpu": model, "cores": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()}


if __name__ == "__main__":
    sys.exit(main())
