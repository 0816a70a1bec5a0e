"""What the product is meant to reach, each judged by the recorded figures; nothing is judged that was not measured.

Not here: measuring, and the page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

Documents = dict[str, dict[str, Any]]
Rows = Sequence[dict[str, Any]]
MILLION: Final = 1_000_000
BATCH: Final = 10  # events a request from which on it is called a batch
CROWD: Final = 50  # requests in flight that share a block
FSYNCS: Final = 1.5


@dataclass(frozen=True, slots=True)
class Judged:
    """A target with what was measured; `reached` is None where it was not measured as it is meant."""

    target: str
    measured: str
    reached: bool | None


@dataclass(frozen=True, slots=True)
class Target:
    """`measure` finds (value, words) in the documents, or None; `at_least` or `at_most` bounds the value."""

    text: str
    measure: Callable[[Documents], tuple[float, str] | None]
    at_least: float | None = None
    at_most: float | None = None


def judge(documents: Documents) -> list[Judged]:
    """Every target, in order."""
    judged = []
    for target in TARGETS:
        try:
            found = target.measure(documents)
        except KeyError:  # a row of an older run lacks the figure
            found = None
        if found is None:
            judged.append(Judged(target.text, "not measured", None))
            continue
        value, words = found
        reached = value >= target.at_least if target.at_least is not None else value <= (target.at_most or 0.0)
        judged.append(Judged(target.text, words, reached))
    return judged


def _rows(documents: Documents, name: str) -> Rows:
    rows: Rows = documents.get(name, {}).get("rows", ())
    return rows


def _append(batch: int, in_flight: int) -> Callable[[Documents], tuple[float, str] | None]:
    def measure(documents: Documents) -> tuple[float, str] | None:
        for row in _rows(documents, "append"):
            if (row["batch"], row["in_flight"]) == (batch, in_flight):
                return row["events_per_s"], f"{row['events_per_s']:,} events/s"
        return None

    return measure


def _ratio(peer: str, our_cell: str) -> Callable[[Documents], tuple[float, str] | None]:
    def measure(documents: Documents) -> tuple[float, str] | None:
        for row in _rows(documents, "peers"):
            if row["peer"] == peer and row["our_cell"].endswith(our_cell):
                return row[
                    "ratio"
                ], f"{row['our_events_per_s']:,} against {row['peer_events_per_s']:,} /s: {row['ratio']} ×"
        return None

    return measure


def _largest(name: str, figure: str, unit: str) -> Callable[[Documents], tuple[float, str] | None]:
    def measure(documents: Documents) -> tuple[float, str] | None:
        rows = [row for row in _rows(documents, name) if figure in row]
        if not rows:
            return None
        row = max(rows, key=lambda each: each["events"])
        return row[figure], f"{row[figure]:,} {unit} at {row['events']:,} events"

    return measure


def _timeline(documents: Documents) -> tuple[float, str] | None:
    rows = [row for row in _rows(documents, "query") if row.get("stream_events", 0) >= 1_000]
    if not rows:
        return None
    row = max(rows, key=lambda each: each["events"])
    words = f"{row['timeline_proof_p95_ms']} ms at {row['events']:,} events in the ledger"
    return row["timeline_proof_p95_ms"], words


def _disk(documents: Documents) -> tuple[float, str] | None:
    rows = [row for row in _rows(documents, "append") if row["batch"] >= BATCH]
    if not rows:
        return None
    worst = max(_on_disk(row) for row in rows)
    return worst, f"{worst:.2f} × at the worst of batches of {BATCH} and more"


def _disk_of_all(documents: Documents) -> tuple[float, str] | None:
    """Batches, and single events of a crowd; what single events of few clients take is told beside."""
    rows = _rows(documents, "append")
    judged = [_on_disk(row) for row in rows if row["batch"] >= BATCH or row["in_flight"] >= CROWD]
    if not judged:
        return None
    alone = ", ".join(f"{_on_disk(row):.2f} × {row['in_flight']} in flight" for row in rows if row["batch"] == 1)
    return max(judged), f"{max(judged):.2f} × at the worst" + (f"; single events: {alone}" if alone else "")


def _on_disk(row: dict[str, Any]) -> float:
    found: float = row["disk_bytes_per_event"] / row["raw_bytes_per_event"]
    return found


def _alone(documents: Documents) -> tuple[float, str] | None:
    """How far the median of one request at a time lies over one and a half fsyncs, in ms."""
    for row in _rows(documents, "append"):
        if (row["batch"], row["in_flight"]) == (1, 1):
            over = row["p50_ms"] - FSYNCS * row["fsync_ms"]
            return over, f"p50 {row['p50_ms']} ms, one fsync {row['fsync_ms']} ms"
    return None


def _ends(documents: Documents, what: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The rows of the smallest and the largest ledger; None where there are not two sizes."""
    rows = sorted(_rows(documents, what), key=lambda row: row["events"])
    return (rows[0], rows[-1]) if len(rows) > 1 else None


def _streams(documents: Documents) -> tuple[float, str] | None:
    """How the verifier's memory grows from the smallest to the largest ledger."""
    ends = _ends(documents, "verify")
    if ends is None:
        return None
    first, last = ends
    before, after = first["full_rss_main_mb"], last["full_rss_main_mb"]
    return after / before, f"{before} MB at {first['events']:,}, {after} MB at {last['events']:,} events"


def _at_ten_million(documents: Documents) -> tuple[float, str] | None:
    rows = [row for row in _rows(documents, "scale") if row["events"] >= 10 * MILLION]
    return (rows[-1]["rss_mb"], f"{rows[-1]['rss_mb']} MB at {rows[-1]['events']:,} events") if rows else None


def _start(command: str) -> Callable[[Documents], tuple[float, str] | None]:
    def measure(documents: Documents) -> tuple[float, str] | None:
        for row in _rows(documents, "start"):
            if row["command"] == command:
                words = f"{row['wall_p50_ms']} ms from start to end, {row['cpu_ms']} ms of processor time"
                return row["wall_p50_ms"], words
        return None

    return measure


def _growth(documents: Documents) -> tuple[float, str] | None:
    ends = _ends(documents, "scale")
    if ends is None:
        return None
    first, last = ends
    grown = last["build_us_per_event"] / first["build_us_per_event"]
    return grown, f"{grown:.2f} × from {first['events']:,} to {last['events']:,} events"


def _memory(documents: Documents) -> tuple[float, str] | None:
    rows = _rows(documents, "append")
    if not rows:
        return None
    worst = max(row["rss_mb"] for row in rows)
    return worst, f"{worst} MB at the most, its worker processes included"


def _rules(figure: str) -> Callable[[Documents], tuple[float, str] | None]:
    def measure(documents: Documents) -> tuple[float, str] | None:
        rows = [row for row in _rows(documents, "rules") if figure in row and "rules_in_book" in row]
        if not rows:
            return None
        row = max(rows, key=lambda each: each["events_per_block"])
        words = f"{row[figure]} µs at {row['events_per_block']:,} events a block, {row['rules_in_book']} rules"
        return row[figure], words

    return measure


def _around(documents: Documents) -> tuple[float, str] | None:
    rows = [row for row in _rows(documents, "rules") if row.get("grants_around", 0) >= MILLION]
    if not rows or rows[-1]["open_timers"] < 100_000:
        return None
    row = rows[-1]
    words = f"{row['ratio']} × among {row['grants_around']:,} grants and {row['open_timers']:,} open timers"
    return row["ratio"], words


def _validators(case: str, *, latency_ms: bool = False) -> Callable[[Documents], tuple[float, str] | None]:
    """The ratio to the kvstore of four validators in one case, or our own median latency there."""

    def measure(documents: Documents) -> tuple[float, str] | None:
        for row in _rows(documents, "engine"):
            if row["case"] != case or row["validators"] != 4:
                continue
            if latency_ms:
                return row["p50_ms"], f"p50 {row['p50_ms']} ms"
            figure, unit = row["ratio_of"], "ms" if row["ratio_of"] == "p50_ms" else "/s"
            words = f"{row[figure]:,} against {row[f'kvstore_{figure}']:,} {unit}: {row['ratio']} ×"
            return row["ratio"], words
        return None

    return measure


def _soak(documents: Documents) -> tuple[float, str] | None:
    for row in _rows(documents, "engine"):
        if "last_over_first" in row:
            words = f"{row['case']}: {row['rates']} /s by fifths, {row['last_over_first']} ×"
            if "kvstore_rates" in row:
                words += f"; kvstore {row['kvstore_rates']}, {row['kvstore_last_over_first']} ×"
            return row["last_over_first"], words
    return None


TARGETS: Final = (
    Target("batches of 100, 4 clients: 15,000 events/s", _append(100, 4), at_least=15_000),
    Target("batches of 1,000, 4 clients: 20,000 events/s", _append(1000, 4), at_least=20_000),
    Target("one event a request, 50 in flight: 2,500 events/s", _append(1, 50), at_least=2_500),
    Target("one event a request, 1 in flight: p50 at most 1.5 × one fsync + 6 ms", _alone, at_most=6.0),
    Target("one event a request, 50 in flight: as fast as immudb Set", _ratio("immudb Set", "1:50"), at_least=1.0),
    Target(
        "the same with a receipt that the client checks: 8 × immudb VerifiedSet",
        _ratio("immudb VerifiedSet", "receipts checked"),
        at_least=8.0,
    ),
    Target("batches of 100, 4 clients: as fast as immudb", _ratio("immudb Set", "100:4"), at_least=1.0),
    Target("batches of 1,000, 4 clients: half as fast as immudb", _ratio("immudb Set", "1000:4"), at_least=0.5),
    Target(
        "full verification with rule replay: 30,000 events/s",
        _largest("verify", "full_events_per_s", "events/s"),
        30_000,
    ),
    Target("full verification: as fast as Tessera's fsck", _ratio("Tessera fsck", "everything replayed"), at_least=1.0),
    Target(
        "verification without replay: 3 × Tessera's fsck", _ratio("Tessera fsck", "without rule replay"), at_least=3.0
    ),
    Target("memory of the verifier does not grow with the ledger: at most 1.1 ×", _streams, at_most=1.1),
    Target("a stream of 1,000 events with completeness proof: p95 ≤ 50 ms", _timeline, at_most=50.0),
    Target("that proof checked by the client: ≤ 20 ms", _largest("query", "check_p95_ms", "ms, p95"), at_most=20.0),
    Target(
        "lineage among 100,000 events, depth 3: p95 ≤ 20 ms", _largest("query", "lineage_3_p95_ms", "ms"), at_most=20.0
    ),
    Target(
        "lineage of 950 nodes as a whole: p95 ≤ 150 ms", _largest("query", "lineage_all_p95_ms", "ms"), at_most=150.0
    ),
    Target("disk: at most 0.8 × the raw events, in batches or with 50 in flight", _disk_of_all, at_most=0.8),
    Target("disk: at most 0.6 × the raw events, in batches", _disk, at_most=0.6),
    Target("cost of an event grows at most 1.3 × with the ledger", _growth, at_most=1.3),
    Target("memory of a node: at most 300 MB", _memory, at_most=300.0),
    Target("memory with 10,000,000 events in the ledger: at most 300 MB", _at_ten_million, at_most=300.0),
    Target("`ledger --help`: less than 100 ms", _start("ledger --help"), at_most=100.0),
    Target("`ledger proof verify`: at most 250 ms", _start("ledger proof verify"), at_most=250.0),
    Target("deciding an event with the full rulebook, in the worker: ≤ 20 µs", _rules("rules_us"), at_most=20.0),
    Target("getting it in and out of the worker: ≤ 20 µs", _rules("in_and_out_us"), at_most=20.0),
    Target(
        "a block that touches none of 100,000 open timers and 1 M grants: at most 1.1 × one without them",
        _around,
        at_most=1.1,
    ),
    Target(
        "four validators, 1 in flight, certified: p50 at most 1.25 × kvstore's commit",
        _validators("1 x 1"),
        at_most=1.25,
    ),
    Target("four validators, 200 in flight: 2 × kvstore's rate", _validators("1 x 200"), at_least=2.0),
    Target("four validators, batches of 100: 3 × the events of kvstore's bytes", _validators("100 x 8"), at_least=3.0),
    Target("one of four down: p50 at most 600 ms", _validators("1 x 1, one down", latency_ms=True), at_most=600.0),
    Target("ten minutes of load without decay: last fifth at least 0.9 × the first", _soak, at_least=0.9),
)
