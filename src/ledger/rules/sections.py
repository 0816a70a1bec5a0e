"""Decides what a rulebook's `reports.toml` asks for: tables over its state objects or its events, by filters and groups.

Rules: a section counts or lists objects of one kind, or counts events of some kinds; it names declared fields only; it
changes no verdict, and an old ledger may be reported on by a newer file. Never here: reading objects (see `facts`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ledger.rules.kinds import Kind, ObjectKind, Reader, Title

FILE: Final = "reports.toml"
DAYS_MAX: Final = 36_500
ID: Final = "id"
DATASET: Final = "dataset"  # the field that a report about one dataset selects by
_ID: Final = re.compile(r"[a-z][a-z0-9-]{0,63}").fullmatch


@dataclass(frozen=True, slots=True)
class Section:
    """One table of a report.

    `where`: a field and the values that count; `older`: (fields, days) for objects whose latest of these times lies that
    far back or is not there; `least`: fields that hold a number, and the smallest that counts; `member`: fields that hold
    the member concerned, `id` for an object that is named by it; `time`: the field (unix ms) that a period selects by;
    `group`: count by these fields, with `sums` of others and, as a percentage, `ratio` (part, whole) or `share`: how many of
    those counted hold one of the values; else `columns` list each object. `times` are fields to be shown as times.
    `beside`: a kind whose object of the same name gives the fields that `object` does not declare: `own` of the one and
    `others`, with what they are where there is no such object, of the other are all that the section reads.
    `events`: instead of objects, count events of these kinds by author and by the codes `by` in their bodies, with `sums` of
    their body fields; `finding`: and how many of them, asked for beforehand, were refused for this code, and how many were
    done and are a finding of it.
    """

    id: str
    title: Title
    object: str
    where: dict[str, tuple[Any, ...]]
    older: tuple[tuple[str, ...], int] | None
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
    share: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    by: tuple[str, ...] = ()
    beside: str = ""
    own: tuple[str, ...] = ()
    others: tuple[tuple[str, Any], ...] = ()

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
        share=_where(reader, reader.take("share", dict, {}), "share"),
        beside=reader.take("beside", str, ""),
    )
    reader.done()
    if ratio and len(ratio) != 2:
        reader.fail("ratio names two fields, the part and the whole")
    if section.share and ratio:
        reader.fail("a section has a ratio or a share; not both")
    if section.is_list and (section.group or section.sums or section.ratio or section.share):
        reader.fail("a section lists columns, or counts by group; not both")
    return _halves(reader, section, objects)


def _halves(reader: Reader, section: Section, objects: dict[str, ObjectKind]) -> Section:
    """The section with the fields that it reads, by the object that declares them."""
    if section.beside and section.beside not in objects:
        reader.fail(f"no such object: {section.beside!r}")
    own, others = objects[section.object].fields, objects[section.beside].fields if section.beside else {}
    named = [*section.where, *section.group, *section.sums, *section.columns, *section.times, *section.share]
    named += [*(name for name in section.member if name != ID), *(section.ratio or ())]
    named += [name for name, _ in section.least]
    named += [*(section.older or ((), 0))[0], *([section.time] if section.time else [])]
    unknown = sorted({name for name in named if name not in own and name not in others})
    if unknown:
        reader.fail(f"{section.object} has no field {unknown[0]!r}")
    read = dict.fromkeys([*named, DATASET])
    return replace(
        section,
        own=tuple(name for name in read if name in own),
        others=tuple((name, others[name]) for name in read if name not in own and name in others),
    )


def _events(reader: Reader, name: str, title: Title, events: tuple[str, ...], kinds: Mapping[str, Kind]) -> Section:
    finding, sums, by = reader.take("finding", str, ""), reader.names("sums"), reader.names("by")
    reader.done()
    unknown = sorted(set(events) - kinds.keys())
    if unknown:
        reader.fail(f"no such kind: {unknown[0]!r}")
    numbers = {field.name for kind in events for field in kinds[kind].fields if field.type == "int"}
    unknown = sorted(set(sums) - numbers)
    if unknown:
        reader.fail(f"no number {unknown[0]!r} in the body of {events[0]}")
    codes = {field.name for kind in events for field in kinds[kind].fields if field.type == "code"}
    unknown = sorted(set(by) - codes)
    if unknown:
        reader.fail(f"no code {unknown[0]!r} in the body of {events[0]}")
    return Section(
        name, title, "", {}, None, (), "", (), sums, None, (), frozenset(), events=events, finding=finding, by=by
    )  # fmt: skip


def _where(reader: Reader, table: dict[str, Any], name: str = "where") -> dict[str, tuple[Any, ...]]:
    found: dict[str, tuple[Any, ...]] = {}
    for entry, values in table.items():
        if not isinstance(values, list) or not values or not all(isinstance(each, str | int) for each in values):
            reader.fail(f"{name}.{entry} must list strings, numbers or true and false")
        found[entry] = tuple(values)
    return found


def _least(reader: Reader, table: dict[str, Any]) -> tuple[tuple[str, int], ...]:
    for entry, number in table.items():
        if type(number) is not int:
            reader.fail(f"least.{entry} must be a whole number")
    return tuple(table.items())


def _older(reader: Reader, table: dict[str, Any]) -> tuple[tuple[str, ...], int]:
    entry = Reader(FILE, f"{reader.where}.older", table)
    several = isinstance(table.get("field"), list)
    fields = entry.names("field") if several else (entry.take("field", str, ...),)
    days = entry.take("days", int, ...)
    entry.done()
    if not fields:
        entry.fail("field is missing")
    if not 0 < days <= DAYS_MAX:
        entry.fail("days must be a positive number")
    return fields, days
