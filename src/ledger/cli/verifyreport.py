"""How the report of an audit looks: text in zh and en, and the JSON document with messages beside the codes.

Rule: what was not checked stands as plainly as what was found. Not here: what any of it means (see `ledger.verify.report`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ledger.cli.output import Console
from ledger.cli.problems import gap_reason
from ledger.cli.reasons import of_finding
from ledger.cli.tables import fields, safe, table
from ledger.core.genesis import Predecessor
from ledger.core.ident import TIME_MS_MAX, format_time
from ledger.verify.findings import LEVELS, Finding, Gap
from ledger.verify.report import BROKEN, CHECKED, FAILED, INTACT, CertifiedReport, Report

_WHERE = ("height", "seq", "event", "field", "place")


@dataclass(frozen=True, slots=True)
class Shown:
    """A report with what surrounds it: how long the audit took, the origin that the audited one continues, and the kept
    exports that missing bodies were taken from."""

    report: Report
    seconds: float
    continues: Predecessor | None = None
    copies: tuple[str, ...] = ()


def document(console: Console, shown: Shown) -> dict[str, Any]:
    """The JSON document: the report's own, with a message beside each code."""
    report = shown.report
    made = report.document()
    for entry, finding in zip(made["findings"], report.findings.kept, strict=True):
        entry["message"] = _text(console, f"finding.{finding.code}")
    for entry, gap in zip(made["not_checked"], report.gaps, strict=True):
        entry["message"] = gap_text(console, gap)
    made["seconds"] = round(shown.seconds, 3)
    if shown.copies:
        made["copies"] = list(shown.copies)
    before = shown.continues
    if before is not None:
        made["continues"] = {
            "origin": before.origin,
            "size": before.checkpoint.size,
            "root": before.checkpoint.root.hex(),
            "state_root": before.state_root.hex(),
        }
    return made


def render(console: Console, shown: Shown) -> str:
    """The report as text."""
    report = shown.report
    parts = [fields(head_rows(console, shown)), _levels(console, report)]
    if report.findings.total:
        parts.append(_findings(console, report))
    if report.gaps:
        title = _text(console, "label.gaps")
        parts.append("\n".join([title, *(f"  - {gap_text(console, each)} [{each.code}]" for each in report.gaps)]))
    parts.append(_verdict(console, report))
    return "\n\n".join(parts)


def head_rows(console: Console, shown: Shown) -> list[tuple[str, object]]:
    """(name, value) of what was audited: value None where there is nothing to say."""
    report, seconds = shown.report, shown.seconds
    counts = report.counts
    # What an earlier run judged does not make this one quick.
    events = counts.events - (report.resumed.events if report.resumed is not None else 0)
    rate = f"{events / seconds:,.0f}" if seconds > 0 else "-"
    names = {name: f"{getattr(counts, name):,}" for name in counts.__slots__}
    head = None
    if report.height >= 0:
        head = _text(console, "line.head", height=report.height, size=f"{report.size:,}", time=_ms(report.time))
    rows: list[tuple[str, object]] = [
        (_text(console, "label.source"), report.source),
        (_text(console, "label.origin"), report.origin or None),
        (_text(console, "label.pinned"), _text(console, f"pinned.{report.pinned_by or 'none'}")),
        (_text(console, "label.continues"), _predecessor(console, shown.continues)),
        (_text(console, "label.clock"), _text(console, "label.simulated") if report.clock == "scenario" else None),
        (_text(console, "label.head"), head),
        (_text(console, "label.certified"), _certified(console, report.last_certified)),
        (
            _text(console, "label.native"),
            _text(console, "line.native", count=names["natives"]) if counts.natives else None,
        ),
        (_text(console, "label.runtime"), report.runtime or None),
        (_text(console, "label.counts"), _text(console, "line.counts", **names)),
        (_text(console, "label.copies"), _copies(console, shown)),
        (_text(console, "label.resumed"), _resumed(console, report)),
    ]
    for source, size in report.agreed:
        known = _text(console, f"known.{source}")
        rows.append((_text(console, "label.agreed"), _text(console, "line.agreed", source=known, size=f"{size:,}")))
    rows.append((_text(console, "label.speed"), _text(console, "line.speed", seconds=f"{seconds:.1f}", rate=rate)))
    return rows


def _predecessor(console: Console, before: Predecessor | None) -> str | None:
    """The origin that this one follows; it was pinned by the genesis, not audited here."""
    if before is None:
        return None
    checkpoint, state = before.checkpoint, before.state_root.hex()
    size, root = f"{checkpoint.size:,}", checkpoint.root.hex()
    return _text(console, "line.continues", origin=before.origin, size=size, root=root, state=state)


def _copies(console: Console, shown: Shown) -> str | None:
    """How many bodies the kept exports gave."""
    if not shown.copies:
        return None
    return _text(console, "line.copies", count=f"{shown.report.counts.filled_bodies:,}", copies=", ".join(shown.copies))


def _resumed(console: Console, report: Report) -> str | None:
    """Which part an earlier run judged, and what this run did with it."""
    found = report.resumed
    if found is None:
        return None
    return _text(console, "line.resumed", height=found.height, size=f"{found.size:,}", time=_ms(found.time))


def _certified(console: Console, certified: CertifiedReport | None) -> str:
    if certified is None:
        return _text(console, "label.nothing")
    return _text(
        console,
        "line.certified",
        height=certified.height,
        size=f"{certified.size:,}",
        names=", ".join(certified.cosigners),
        recorded=_ms(certified.recorded_by_s * 1000),
        fresh=_ms(certified.fresh_at_s * 1000),
    )


def _levels(console: Console, report: Report) -> str:
    rows = []
    for name in LEVELS:
        status = report.level(name)
        mark = console.mark(ok=status == CHECKED) if status in (CHECKED, FAILED) else "-"
        rows.append((mark, _text(console, f"level.{name}"), _text(console, f"status.{status}")))
    # One space behind the mark, where a table has two.
    lines = table([row[1:] for row in rows]).split("\n")
    marked = [f"  {row[0]} {line}" for row, line in zip(rows, lines, strict=True)]
    return "\n".join([_text(console, "label.levels"), *marked])


def _findings(console: Console, report: Report) -> str:
    lines = [_text(console, "label.findings")]
    for finding in report.findings.kept:
        lines.extend(_finding(console, finding))
    rest = report.findings.total - len(report.findings.kept)
    if rest:
        codes = ", ".join(f"{code} {count}" for code, count in sorted(report.findings.counts.items()))
        lines.append("  " + _text(console, "label.more", count=rest, codes=codes))
    return "\n".join(lines)


def place_words(console: Console, finding: Finding) -> list[str]:
    """Where a finding is, as far as it is known."""
    return [
        _text(console, f"where.{name}", value=safe(getattr(finding, name)))
        for name in _WHERE
        if getattr(finding, name) is not None
    ]


def _finding(console: Console, finding: Finding) -> list[str]:
    where = place_words(console, finding)
    lines = [f"  {console.mark(ok=False)} {_text(console, f'finding.{finding.code}')} [{finding.code}]"]
    if where:
        lines.append(f"      {', '.join(where)}")
    pairs = [
        (_text(console, f"label.{name}"), of_finding(console.texts, getattr(finding, name)))
        for name in ("expected", "got")
        if getattr(finding, name) is not None
    ]
    if pairs:
        lines.append(fields(pairs, "      "))
    return lines


def gap_text(console: Console, gap: Gap) -> str:
    """What was not checked, and why, in words."""
    details = {name: safe(value) for name, value in gap.details}
    if "error" in details:
        details["reason"] = gap_reason(console.texts, details["error"], details["reason"])
    elif "reason" in details:
        # Why a replay stopped is one of a few codes, each with words of its own.
        details["reason"] = console.texts.find(f"why.{details['reason']}", "verify") or details["reason"]
    return _text(console, f"gap.{gap.code}", **details)


def verdict_text(console: Console, report: Report) -> str:
    """The verdict in words."""
    text = _text(console, f"verdict.{report.verdict}", count=report.findings.total)
    if report.resumed is None:
        return text
    return text + _text(console, "verdict.resumed", height=report.resumed.height, time=_ms(report.resumed.time))


def _verdict(console: Console, report: Report) -> str:
    text = verdict_text(console, report)
    colour = {INTACT: "green", BROKEN: "red"}.get(report.verdict, "yellow")
    return console.paint(text, colour)


def _text(console: Console, key: str, /, **values: object) -> str:
    return console.texts.text(key, catalogue_name="verify", **values)


def _ms(time: int) -> str:
    return format_time(time) if 0 <= time <= TIME_MS_MAX else str(time)
