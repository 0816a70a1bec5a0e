"""Writes docs/BENCHMARKS.md and its pictures from the JSON files that `./dev bench … --json` made.

Every figure in the page comes from those files; the page says on what they were measured, and whether what was meant is
reached. Not here: measuring.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from scripts.bench import plots
from scripts.bench.repeat import columns
from scripts.bench.targets import judge

Rows = Sequence[dict[str, Any]]

APPEND_COLUMNS: Final = (
    "batch", "in_flight", "events_per_s", "events_per_s_min", "events_per_s_max", "p50_ms", "p95_ms", "p99_ms",
    "certified_p50_ms", "certified_p95_ms", "certified_p99_ms", "server_cpu_s_per_1000", "client_cpu_s_per_1000", "rss_mb",
    "disk_bytes_per_event", "raw_bytes_per_event", "fsync_ms", "followers", "failed",
)  # fmt: skip
FOLLOWER_COLUMNS: Final = (
    *APPEND_COLUMNS[:11], "followers", "network_cpu_s_per_1000", "network_rss_mb", "follower_lag_ms",
)  # fmt: skip
DOES: Final = "does"  # what a peer does for an entry: words, below the table
# Name of a JSON file → title and what each row shows (None: every figure).
SECTIONS: Final[dict[str, tuple[str, Sequence[str] | None]]] = {
    "append": ("Durable append over HTTP", APPEND_COLUMNS),
    "followers": ("The same with followers that execute and cosign", FOLLOWER_COLUMNS),
    "peers": ("Beside other stores, in the same run", None),
    "profile": ("Where an event's time goes", None),
    "rules": ("What rules cost, and a block amid timers and grants", None),
    "engine": ("Four validators and more, beside CometBFT's own kvstore", None),
    "verify": ("Verification", None),
    "query": ("Answers with proofs", None),
    "scale": ("Cost against ledger size", None),
    "start": ("Commands from start to end", None),
    "city": ("A year of a city, with planted breaches", None),
}
# What records a document; `./dev bench <name>` where nothing else is said.
RECORDED_BY: Final = {
    "followers": "./dev bench append --followers 3 --cells 1:1,1:50,100:4",
    "city": "LEDGER_CITY_JSON=$PWD/docs/bench/city.json ./dev soak tests/property/test_city_year.py",
}


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """The documents by name of what was measured."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))}


def write(folder: Path, page: Path) -> None:
    """The page, and the pictures beside the documents."""
    documents = read(folder)
    parts = [page_head(documents), targets(documents)]
    for name, (title, shown) in SECTIONS.items():
        if name not in documents:
            continue
        rows = documents[name]["rows"]
        wanted = [column for column in shown or columns(rows) if column != DOES and any(column in row for row in rows)]
        parts.append(f"## {title}\n\n{table(wanted, rows)}\n")
        does = dict.fromkeys(f"- {row['peer']}: {row[DOES]}." for row in rows if DOES in row)
        if does:
            parts.append("\n".join(does) + "\n")
        for picture, caption, svg in pictures(name, rows):
            (folder / picture).write_text(svg, "utf-8")
            parts.append(f"![{caption}](bench/{picture})\n")
    parts.append(absent(documents))
    notes = folder / "notes.md"
    if notes.exists():
        parts.append(notes.read_text("utf-8"))
    page.write_text("\n".join(part for part in parts if part).rstrip() + "\n", "utf-8")


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
        rounds = c.get("repeat", 1)
        how = f"median of {rounds} rounds" if rounds > 1 else "one round"
        if c.get("seconds"):
            how += f" of {c['seconds']:g} s a cell"
        if name in ("append", "followers"):
            how += f", {certified_by(c.get('followers', 0))}"
        day = f"{c['date']}, " if c.get("date") else ""
        machine = f"{c['cores']} cores, {c['cpu']}, Python {c['python']}"
        lines.append(f"- **{name}**: {day}{machine}, {how}, load average at the end {load}.")
    return "\n".join([*lines, ""])


def certified_by(followers: int) -> str:
    """Whose cosignatures a `certified_*` figure waited for."""
    if not followers:
        return "no followers: `certified_*` waits for the ordering node's own cosignature alone"
    nodes = followers + 1
    return f"{followers} followers: `certified_*` waits for the cosignatures of more than two thirds of {nodes} nodes"


def absent(documents: dict[str, dict[str, Any]]) -> str:
    """What was not measured, and how it would be; empty where everything was."""
    lines = [
        f"- {title}: `{RECORDED_BY.get(name, f'./dev bench {name}')}"
        + ("`." if name == "city" else f" --json docs/bench/{name}.json`.")
        for name, (title, _) in SECTIONS.items()
        if name not in documents
    ]
    return "\n".join(["## Not measured", "", *lines, ""]) if lines else ""


def targets(documents: dict[str, dict[str, Any]]) -> str:
    """What was meant to be reached, and what was."""
    lines = ["## Against the targets", "", "| Target | Measured | |", "|---|---|---|"]
    words = {True: "reached", False: "not reached", None: ""}
    lines += [f"| {each.target} | {each.measured} | {words[each.reached]} |" for each in judge(documents)]
    return "\n".join([*lines, ""])


def table(names: Sequence[str], rows: Rows) -> str:
    """A Markdown table; figures stand right."""
    sides = ["---:" if any(isinstance(row.get(name), int | float) for row in rows) else "---" for name in names]
    lines = ["| " + " | ".join(names) + " |", "|" + "|".join(sides) + "|"]
    lines += ["| " + " | ".join(_shown(row.get(name, "")) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) and value >= 10_000 else str(value)


Picture = tuple[str, str, str]  # file, caption, SVG


def pictures(name: str, rows: Rows) -> list[Picture]:
    """What is drawn of a document."""
    draw = DRAWN.get(name)
    return draw(rows) if draw is not None and rows else []


def _append(rows: Rows, name: str = "append") -> list[Picture]:
    by_flight: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        by_flight.setdefault(f"{row['in_flight']} in flight", []).append((row["batch"], row["events_per_s"]))
    cells = [f"{row['batch']}×{row['in_flight']}" for row in rows]
    latencies = {f"p{percent}": [row[f"p{percent}_ms"] for row in rows] for percent in (50, 95, 99)}
    return [
        (f"{name}-rate.svg", "events per second", plots.lines("events/s", "events a request", by_flight)),
        (
            f"{name}-latency.svg",
            "latency to committed",
            plots.grouped("milliseconds to committed, batch × in flight", cells, latencies),
        ),
    ]


def _peers(rows: Rows) -> list[Picture]:
    named = []
    for row in rows:
        # A ledger's size is in the table; what was verified of it is the last word.
        pair = (row["our_cell"].split("events, ")[-1], row["peer_cell"] if ":" in row["peer_cell"] else "")
        named.append((f"{pair[0]} : {row['peer']} {pair[1]}".strip(), row["ratio"]))
    return [("peers.svg", "ratios to other stores", plots.ratios("our rate as a multiple of the other's", named))]


def _profile(rows: Rows) -> list[Picture]:
    stages = [name for name in rows[0] if name.endswith("_us")]
    names = [f"{row['batch']}×{row['submissions_per_block']}" for row in rows]
    series = {stage.removesuffix("_us"): [row[stage] for row in rows] for stage in stages}
    return [
        (
            "profile.svg",
            "stages",
            plots.stacked("µs of CPU an event by stage, batch × submissions a block", names, series),
        )
    ]


def _over_size(file: str, caption: str, title: str, figures: dict[str, str]) -> Callable[[Rows], list[Picture]]:
    """A line for each figure over the events in the ledger."""

    def draw(rows: Rows) -> list[Picture]:
        series = {
            words: [(row["events"], row[figure]) for row in rows if figure in row] for figure, words in figures.items()
        }
        drawn = {words: points for words, points in series.items() if points}
        return [(file, caption, plots.lines(title, "events in the ledger", drawn))] if drawn else []

    return draw


def _scale(rows: Rows) -> list[Picture]:
    cost = _over_size(
        "scale.svg", "cost of an event", "µs an event", {"build_us_per_event": "CPU", "elapsed_us_per_event": "elapsed"}
    )
    disk = _over_size("scale-disk.svg", "disk", "bytes on disk an event", {"disk_bytes_per_event": "bytes"})
    return [*cost(rows), *disk(rows)]


DRAWN: Final[dict[str, Callable[[Rows], list[Picture]]]] = {
    "append": _append,
    "followers": lambda rows: _append(rows, "followers"),
    "peers": _peers,
    "profile": _profile,
    "verify": _over_size(
        "verify.svg",
        "verification",
        "events/s verified",
        {"full_events_per_s": "all", "full_jobs1_events_per_s": "all, one job", "no_replay_events_per_s": "no replay"},
    ),
    "query": _over_size(
        "query.svg",
        "answers",
        "p95 in ms",
        {"timeline_p95_ms": "timeline", "timeline_proof_p95_ms": "with proof", "event_p95_ms": "one event"},
    ),
    "scale": _scale,
}
