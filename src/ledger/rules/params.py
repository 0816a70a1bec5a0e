"""Decides which parameter values hold on a day, and whether an overlay may change them.

Rules: every value has a first day, a source and a bound; where the law is silent the value says so (`open` names the
point, `strict` serves alerts, `lenient` findings). An overlay may only move a value to the safe side of its bound.
Never here: which event is judged by which day (requests by the record date, acts by the claimed one; see the prelude).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from ledger.rules.calendar import day_number
from ledger.rules.kinds import Reader, Title, refuse

BOUNDS: Final = ("max", "min", "subset", "none")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*").fullmatch


@dataclass(frozen=True, slots=True)
class Value:
    """What a parameter is from day number `first` on. An open point's `value` is {"open", "strict", "lenient"}."""

    first: int
    value: Any
    source: str
    bound: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the rulebook with its history."""

    name: str
    title: Title
    unit: str
    values: tuple[Value, ...]
    file: str = "params.toml"


def parse_params(file: str, document: dict[str, Any]) -> dict[str, Parameter]:
    """Parameters by name. Raises `MalformedError`."""
    found: dict[str, Parameter] = {}
    for name, entry in document.items():
        reader = Reader(file, name, entry)
        title, unit = reader.title(), reader.take("unit", str, "")
        values = tuple(_value(reader, item) for item in reader.take("values", list, ...))
        reader.done()
        if not values or [value.first for value in values] != sorted({value.first for value in values}):
            reader.fail("values are listed by ascending `from`, at least one")
        if not _NAME(name):
            reader.fail("a parameter is named by lower-case words", "for example reply_days")
        found[name] = Parameter(name, title, unit, values, file)
    return found


def _value(reader: Reader, table: object) -> Value:
    entry = Reader(reader.file, f"{reader.where}.values", table)
    first = day_number(reader.file, entry.take("from", str, ...))
    source, bound = entry.take("source", str, ...), entry.take("bound", str, "none")
    left = entry.rest()
    if bound not in BOUNDS:
        entry.fail(f"bound is one of {', '.join(BOUNDS)}")
    if set(left) == {"value"} and _is_plain(left["value"]):
        return Value(first, left["value"], source, bound)
    if set(left) == {"open", "strict", "lenient"} and type(left["open"]) is str and all(map(_is_plain, left.values())):
        return Value(first, {"lenient": left["lenient"], "open": left["open"], "strict": left["strict"]}, source, bound)
    return entry.fail("a value is `value`, or `open`, `strict` and `lenient` where the law is silent")


def _is_plain(value: object) -> bool:
    if type(value) is list:
        return all(_is_plain(item) for item in value)
    if type(value) is dict:
        return all(type(name) is str and _is_plain(item) for name, item in value.items())
    return type(value) in (str, int, bool)


def in_force(params: dict[str, Parameter]) -> list[tuple[int, dict[str, Any]]]:
    """(first day, all values) for each day on which something changes, ascending.

    Before its first day a parameter has its first value: a date the rulebook does not reach is judged by its beginning.
    """
    days = sorted({value.first for parameter in params.values() for value in parameter.values}) or [0]
    return [(first, {name: _at(parameter, first) for name, parameter in params.items()}) for first in days]


def _at(parameter: Parameter, day: int) -> Any:
    found = parameter.values[0].value
    for value in parameter.values:
        if value.first <= day:
            found = value.value
    return found


def check_overlay(file: str, base: dict[str, Parameter], overlay: dict[str, Parameter]) -> None:
    """Refuse an overlay that is laxer than the law above it, or moves what that law leaves no room for.

    Each value is held against every value of `base` in force while it is: `max`: not above, and not "no term"; `min`: not
    below; `subset`: no new member. Of a map each entry is held so, and there is no new one. An open point may be settled;
    a value that the law sets without a bound may not be moved.
    """
    for name, parameter in overlay.items():
        if name not in base:
            refuse(file, name, "the rulebook has no such parameter")
        for position, value in enumerate(parameter.values):
            ends = parameter.values[position + 1].first if position + 1 < len(parameter.values) else None
            for ruling in _ruling(base[name], value.first, ends):
                if is_open(value.value):
                    refuse(file, name, "an overlay settles a point, or leaves it to the nation's law")
                if is_open(ruling.value):
                    continue
                if ruling.bound == "none":
                    refuse(file, name, f"{ruling.source} leaves no room", "a bound says which way a value may move")
                if not _within(ruling.bound, value.value, ruling.value):
                    refuse(file, name, f"laxer than {ruling.source}", f"{ruling.bound} {ruling.value}")


def is_open(value: Any) -> bool:
    """Whether a value says that the law is silent."""
    return isinstance(value, dict) and set(value) == {"open", "strict", "lenient"}


def _ruling(parameter: Parameter, first: int, ends: int | None) -> list[Value]:
    """The values of a parameter in force on a day from `first` up to `ends`."""
    before = [value for value in parameter.values if value.first <= first]
    after = [value for value in parameter.values if value.first > first and (ends is None or value.first < ends)]
    # Before its first day a parameter has its first value.
    return (before[-1:] or list(parameter.values[:1])) + after


def _within(bound: str, value: Any, ruling: Any) -> bool:
    if type(value) is not type(ruling):
        return False
    if type(value) is dict:
        return all(name in ruling and _within(bound, value[name], ruling[name]) for name in value)
    if bound == "subset":
        return type(value) is list and all(item in ruling for item in value)
    if type(value) is not int:
        return False
    return bool(0 <= value <= ruling if bound == "max" else value >= ruling)
