"""Writes docs/BENCHMARKS.md and its pictures from the JSON files that `./dev bench … --json` made: `--write DIR`.

Every figure in the page comes from those files; the page says on what they were measured. Not here: measuring.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WIDTH, HEIGHT, MARGIN = 640, 300, 60

APPEND_COLUMNS = (
    "batch", "in_flight", "events_per_s", "p50_ms", "p95_ms", "p99_ms", "certified_p50_ms", "certified_p95_ms",
    "server_cpu_s_per_1000", "client_cpu_s_per_1000", "rss_mb", "disk_bytes_per_event", "raw_bytes_per_event",
)  # fmt: skip


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """The documents by name of what was measured."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))}


def write(folder: Path, page: Path) -> None:
    """The page, and one SVG beside each document that can be drawn."""
    documents = read(folder)
    parts = [page_head(documents)]
    if "append" in documents:
        rows = documents["append"]["rows"]
        pictured = folder / "append-rate.svg"
        pictured.write_text(
            bars("events/s by batch × in flight", [_cell(row) for row in rows], [r["events_per_s"] for r in rows])
        )
        parts.append(
            "## Durable append over HTTP\n\n"
            + table(APPEND_COLUMNS, rows)
            + f"\n\n![events per second](bench/{pictured.name})\n"
        )
        latency = folder / "append-latency.svg"
        latency.write_text(bars("p95 to committed, ms", [_cell(row) for row in rows], [r["p95_ms"] for r in rows]))
        parts.append(f"![latency](bench/{latency.name})\n")
    for name, title in (
        ("verify", "Verification"),
        ("query", "Answers with proofs"),
        ("scale", "Cost against ledger size"),
    ):
        if name in documents:
            rows = documents[name]["rows"]
            parts.append(f"## {title}\n\n" + table(tuple(rows[0]), rows) + "\n")
            picture = folder / f"{name}.svg"
            picture.write_text(
                bars(
                    "build cost, µs an event",
                    [f"{row['events']:,}" for row in rows],
                    [r["build_us_per_event"] for r in rows],
                )
            )
            if name == "scale":
                parts.append(f"![cost](bench/{picture.name})\n")
    notes = folder / "notes.md"
    if notes.exists():
        parts.append(notes.read_text("utf-8"))
    page.write_text("\n".join(parts).rstrip() + "\n", "utf-8")


def page_head(documents: dict[str, dict[str, Any]]) -> str:
    """Title and the conditions of each run."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `./dev bench report` from the JSON files in `docs/bench/`; nothing here is typed by hand.",
        "",
    ]
    for name, document in documents.items():
        c = document["conditions"]
        load = ", ".join(f"{value:.1f}" for value in c["load"])
        lines.append(
            f"- **{name}**: {c['cores']} cores, {c['cpu']}, Python {c['python']}, load average at the end {load}."
        )
    return "\n".join([*lines, ""])


def table(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---:|" * len(columns)]
    lines += ["| " + " | ".join(str(row.get(column, "")) for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def _cell(row: dict[str, Any]) -> str:
    return f"{row['batch']}×{row['in_flight']}"


def bars(title: str, names: Sequence[str], values: Sequence[float]) -> str:
    """A bar chart as SVG: text stays text, colours hold in print."""
    top = max([*values, 1e-9])
    step = (WIDTH - 2 * MARGIN) / max(1, len(values))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{WIDTH / 2}" y="24" text-anchor="middle" font-family="sans-serif" font-size="15">{title}</text>',
    ]
    for number, (name, value) in enumerate(zip(names, values, strict=True)):
        height = (HEIGHT - 2 * MARGIN) * value / top
        x, y = MARGIN + number * step, HEIGHT - MARGIN - height
        middle = x + step * 0.4
        parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{step * 0.8:.1f}" height="{height:.1f}" fill="#1f5fa8"/>')
        parts.append(_label(middle, y - 5, f"{value:,.0f}" if value >= 100 else f"{value:.3g}"))
        parts.append(_label(middle, HEIGHT - MARGIN + 18, name))
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _label(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" font-family="sans-serif" font-size="11">{text}</text>'
