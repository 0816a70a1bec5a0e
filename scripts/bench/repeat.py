"""Repetitions of one measurement as one row: the median of every figure, with minimum and maximum of those that matter."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any, Final

SPREAD: Final = ("events_per_s", "p50_ms", "p95_ms", "us_per_event", "build_us_per_event")
"""Figures shown with their extremes; names that end so count too (`full_events_per_s`)."""


def summary(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One row of several; a single round stays as it is.

    Counts of failures add up, what is no number is taken from the first round.
    """
    first = rounds[0]
    if len(rounds) == 1:
        return dict(first)
    row: dict[str, Any] = {}
    for name, value in first.items():
        if isinstance(value, bool):
            row[name] = any(each[name] for each in rounds)
        elif not isinstance(value, int | float):
            row[name] = value
        elif name == "failed":
            row[name] = sum(each[name] for each in rounds)
        else:
            values = sorted(each[name] for each in rounds)
            row[name] = like(value, statistics.median(values))
            if name.endswith(SPREAD):
                row[f"{name}_min"], row[f"{name}_max"] = values[0], values[-1]
    row["rounds"] = len(rounds)
    return row


def like(sample: float, value: float) -> float:
    """`value` as precise as `sample` is given: a whole number where that is one."""
    return round(value) if isinstance(sample, int) else round(value, 4)


def columns(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Names of all figures, in the order in which they first appear."""
    return list(dict.fromkeys(name for row in rows for name in row))
