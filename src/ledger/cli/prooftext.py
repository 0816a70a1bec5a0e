"""Says in words what a proof shows, what that rests on, and what was not checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ledger.cli.output import Console
from ledger.cli.tables import safe
from ledger.cli.verdicts import format_time, verdict_lines
from ledger.core import canonical
from ledger.core.proof import (
    AbsenceResult,
    Certification,
    CompletenessResult,
    ConsistencyResult,
    ForkResult,
    ReceiptResult,
    Result,
)

Described = tuple[dict[str, Any], list[str], bool]
"""(document, lines, whether it proves a fork)."""


def describe(console: Console, result: Result) -> Described:
    """A verified proof for programs and for people."""
    if isinstance(result, ReceiptResult):
        return _receipt(console, result)
    if isinstance(result, CompletenessResult):
        return _completeness(console, result)
    if isinstance(result, AbsenceResult):
        return _absence(console, result)
    if isinstance(result, ConsistencyResult):
        return _consistency(console, result)
    return _fork(console, result)


def not_checked_lines(console: Console, codes: Sequence[str]) -> list[str]:
    """What could not be checked, one line each."""
    if not codes:
        return []
    lines = [console.text("proof.not-checked")]
    return lines + [f"  - {console.text(f'unchecked.{code}')} [{code}]" for code in codes]


def certificate_lines(console: Console, names: Sequence[str], recorded_by_s: int, clock: str = "wall") -> list[str]:
    """Who certified, and since when it stands."""
    lines = [
        console.text("proof.certificate", count=len(names), names=", ".join(map(safe, names))),
        console.text("proof.recorded-by", time=format_time(recorded_by_s * 1000)),
    ]
    if clock == "scenario":
        lines.append(console.text("proof.simulated"))
    return ["  " + line for line in lines]


def _certified(console: Console, certification: Certification) -> tuple[dict[str, Any], list[str]]:
    document = {
        "size": certification.checkpoint.size,
        "root": certification.checkpoint.root.hex(),
        "cosigners": list(certification.cosigners),
        "recorded_by_s": certification.recorded_by_s,
        "fresh_at_s": certification.fresh_at_s,
        "age_s": certification.age_s,
        "clock": certification.clock,
    }
    lines = certificate_lines(console, certification.cosigners, certification.recorded_by_s, certification.clock)
    return document, lines


def _receipt(console: Console, result: ReceiptResult) -> Described:
    record, head = result.record, result.head
    verdict = canonical.parse(record.verdict)
    certified, lines = _certified(console, result.certification)
    key = result.key
    shown = [
        "  " + console.text("proof.receipt", event=f"{record.member}/{record.id}", kind=safe(head["kind"])),
        "  " + console.text("proof.inclusion", index=result.index, size=result.certification.checkpoint.size),
        *("  " + line for line in verdict_lines(console, verdict)),
    ]
    if key is not None:
        shown.append("  " + console.text("proof.signature", member=record.member, key=record.key_id.hex()[:16]))
    shown.append("  " + console.text("proof.body-shown" if result.body is not None else "proof.body-hash"))
    document: dict[str, Any] = {
        "kind": "receipt",
        "certification": certified,
        "member": record.member,
        "id": record.id,
        "seq": result.index,
        "height": record.height,
        "event_hash": record.event_hash.hex(),
        "verdict_recorded": verdict,
        "head": head,
        "key_id": record.key_id.hex(),
    }
    if result.body is not None:
        document["body"] = result.body
    return document, [*shown, *lines], False


def _completeness(console: Console, result: CompletenessResult) -> Described:
    certified, lines = _certified(console, result.certification)
    counts = result.counts
    levels = {"full": counts.full, "head": counts.head, "record": counts.record, "hash": counts.hash}
    stream = f"{result.stream.kind}/{result.stream.id}" + ("!refused" if result.stream.refused else "")
    span = {"stream": stream, "begin": result.begin, "end": result.end, "size": result.size}
    ordinals = {"first": result.begin + 1, "last": result.end}  # people count from one
    shown = [
        "  " + console.text("proof.whole" if result.whole else "proof.range", **span, **ordinals),
        "  " + console.text("proof.as-of", height=result.height, time=format_time(result.time)),
        "  " + console.text("proof.counts", **levels, timers=counts.timers),
        "  " + console.text("proof.of-refused" if result.stream.refused else "proof.without-refused", stream=stream),
    ]
    document: dict[str, Any] = {
        "kind": "completeness",
        "certification": certified,
        **span,
        "whole": result.whole,
        "counts": {**levels, "timers": counts.timers},
        "height": result.height,
        "time": result.time,
        "entries": [_entry(entry) for entry in result.entries],
    }
    return document, [*shown, *lines], False


def _entry(entry: Any) -> dict[str, Any]:
    document: dict[str, Any] = {"level": entry.level, "leaf_hash": entry.leaf_hash.hex()}
    leaf = entry.leaf
    if leaf is not None:
        document["outcome"] = canonical.parse(leaf.verdict)["outcome"]
        for name in ("member", "id", "height", "due"):
            if hasattr(leaf, name):
                document[name] = getattr(leaf, name)
    if entry.head is not None:
        document["event_kind"] = entry.head["kind"]
    return document


def _absence(console: Console, result: AbsenceResult) -> Described:
    certified, lines = _certified(console, result.certification)
    stream = f"{result.kind}/{result.id}"
    shown = ["  " + console.text("proof.absent", stream=stream, height=result.height, time=format_time(result.time))]
    if result.refused is not None:
        shown.append("  " + console.text("proof.absent-refused", count=result.refused.size))
    document: dict[str, Any] = {
        "kind": "absence",
        "certification": certified,
        "stream": stream,
        "height": result.height,
        "time": result.time,
        "refused": None if result.refused is None else result.refused.size,
    }
    return document, [*shown, *lines], False


def _consistency(console: Console, result: ConsistencyResult) -> Described:
    certified, lines = _certified(console, result.certification)
    shown = ["  " + console.text("proof.extends", old=result.old.size, new=result.new.size)]
    document = {"kind": "consistency", "certification": certified, "old": result.old.size, "new": result.new.size}
    return document, [*shown, *lines], False


def _fork(console: Console, result: ForkResult) -> Described:
    names = ", ".join(safe(name) for name, _ in result.guilty)
    shown = [
        "  " + console.text("proof.fork-sizes", first=result.first.size, second=result.second.size),
        "  " + console.text("proof.guilty", names=names),
    ]
    document = {
        "kind": "fork",
        "first": result.first.size,
        "second": result.second.size,
        "guilty": [{"name": name, "key_id": key_id.hex()} for name, key_id in result.guilty],
    }
    return document, shown, True
