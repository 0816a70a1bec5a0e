"""Decides what a rulebook's `reports.toml` asks for: tables over its state objects or its events, by filters and groups.

Rules: a section counts or lists objects of one kind, or counts events of some kinds; it names declared fields only; it
changes no verdict, and an old ledger may be reported on by a newer file. Never here: reading objects (see `facts`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ledger.rules.kinds import Kind, ObjectKind, Reader, Title

FILE: Final = "reports.toml"
DAYS_MAX: Final = 36_500
_ID: Final = re.compile(r"[a-z][a-z0-9-]{0,63}").fullmatch


@dataclass(frozen=True, slots=True)
class Section:
    """One table of a report.

    `where`: a field and the values that count; `older`: (field, days) for objects whose time lies that far back or is not
    there; `least`: fields that hold a number, and the smallest that counts; `member`: fields that hold the member
    concerned; `time`: the field (unix ms) that a period selects by;
    `group`: count by these fields, with `sums` of others and `ratio` (part, whole) as a percentage; else `columns` list
    each object. `times` are fields to be shown as times.
    `events`: instead of objects, count events of these kinds by author, with `sums` of their body fields; `finding`: and how
    many of them, asked for beforehand, were refused for this code, and how many were done and are a finding of it.
    """

    id: str
    title: Title
    object: str
    where: dict[str, tuple[Any, ...]]
    older: tuple[str, int] | None
    member: tuple[str, ...]
    time: str
    group: tuple[str, ...]
    sums: tuple[str, ...]
    ratio: tuple[str, str] | None
    columns: tuple[str, ...]
    times: frozenset[str]
    events: tuple[str, ...] = ()
    finding: str = ""
    least: tuple[tuple[str, int], ...] = ()

    @property
    def is_list(self) -> bool:
        """Whether it lists objects one by one."""
        return bool(self.columns)


def parse_sections(
    document: dict[str, Any],
    objects: dict[str, ObjectKind],
    kinds: Mapping[str, Kind] | None = None,
    codes: Collection[str] = (),
) -> tuple[Section, ...]:
    """The sections in the file's order. `codes`: those that have a text. Raises `MalformedError` (code `rulebook`) that
    names the place."""
    found = tuple(_section(name, table, objects, kinds or {}) for name, table in document.items())
    for section in found:
        if section.finding and section.finding not in codes:
            Reader(FILE, section.id, {}).fail(f"no text for {section.finding!r}", "declare it in texts.toml")
    return found


def _section(name: str, table: object, objects: dict[str, ObjectKind], kinds: Mapping[str, Kind]) -> Section:
    reader = Reader(FILE, name, table)
    if not _ID(name):
        reader.fail("a section's name is lower case letters, digits and dashes")
    title = reader.title()
    events = reader.names("events")
    if events:
        return _events(reader, name, title, events, kinds)
    kind = reader.take("object", str, ...)
    if kind not in objects:
        reader.fail(f"no such object: {kind!r}")
    older = reader.take("older", dict, None)
    ratio = reader.names("ratio")
    section = Section(
        id=name,
        title=title,
        object=kind,
        where=_where(reader, reader.take("where", dict, {})),
        older=None if older is None else _older(reader, older),
        member=reader.names("member"),
        time=reader.take("time", str, ""),
        group=reader.names("group"),
        sums=reader.names("sums"),
        ratio=(ratio[0], ratio[1]) if len(ratio) == 2 else None,
        columns=reader.names("columns"),
        times=frozenset(reader.names("times")),
        least=_least(reader, reader.take("least", dict, {})),
    )
    reader.done()
    if ratio and len(ratio) != 2:
        reader.fail("ratio names two fields, the part and the whole")
    if section.is_list and (section.group or section.sums or section.ratio):
        reader.fail("a section lists columns, or counts by group; not both")
    named = [*section.where, *section.member, *section.group, *section.sums, *section.columns, *section.times, *ratio]
    named.extend(field for field, _ in section.least)
    named.extend(field for field in (section.time, older and section.older and section.older[0]) if field)
    unknown = sorted({field for field in named if field not in objects[kind].fields})
    if unknown:
        reader.fail(f"{kind} has no field {unknown[0]!r}")
    return section


def _events(reader: Reader, name: str, title: Title, events: tuple[str, ...], kinds: Mapping[str, Kind]) -> Section:
    finding, sums = reader.take("finding", str, ""), reader.names("sums")
    reader.done()
    unknown = sorted(set(events) - kinds.keys())
    if unknown:
        reader.fail(f"no such kind: {unknown[0]!r}")
    numbers = {field.name for kind in events for field in kinds[kind].fields if field.type == "int"}
    unknown = sorted(set(sums) - numbers)
    if unknown:
        reader.fail(f"no number {unknown[0]!r} in the body of {events[0]}")
    return Section(
        name, title, "", {}, None, (), "", (), sums, None, (), frozenset(), events=events, finding=finding
    )  # fmt: skip


def _where(reader: Reader, table: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    found: dict[str, tuple[Any, ...]] = {}
    for field, values in table.items():
        if not isinstance(values, list) or not values or not all(isinstance(each, str | int) for each in values):
            reader.fail(f"where.{field} must list strings, numbers or true and false")
        found[field] = tuple(values)
    return found


def _least(reader: Reader, table: dict[str, Any]) -> tuple[tuple[str, int], ...]:
    for field, number in table.items():
        if type(number) is not int:
            reader.fail(f"least.{field} must be a whole number")
    return tuple(table.items())


def _older(reader: Reader, table: dict[str, Any]) -> tuple[str, int]:
    entry = Reader(FILE, f"{reader.where}.older", table)
    field, days = entry.take("field", str, ...), entry.take("days", int, ...)
    entry.done()
    if not 0 < days <= DAYS_MAX:
        entry.fail("days must be a positive number")
    return field, days
