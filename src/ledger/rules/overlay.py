"""Decides what a local law changes: `overlays/<name>.toml`, parameters of one jurisdiction within the rulebook's bounds.

Rules: an overlay names its jurisdiction, its law and the day from which it holds; its `params` stay on the safe side of the
bounds (see `params.check_overlay`), its `added` are parameters of steps that only it has; what it cannot say, it says so in
`left_out`. Rules read the values of all jurisdictions as `env.params["local.<name>"]`, a map by jurisdiction, so that the
obligor's place decides; a value that no rule reads is refused, as it would only look like law.
Never here: who is in which jurisdiction (an attribute of the registry), what a rule does with a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ledger.rules.calendar import day_number
from ledger.rules.kinds import Reader, Title, refuse
from ledger.rules.params import Parameter, Value, check_overlay, parse_params

LOCAL: Final = "local."
_JURISDICTION: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}").fullmatch


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A part of the local law that the overlay does not apply, and why."""

    article: str
    title: Title


@dataclass(frozen=True, slots=True)
class Overlay:
    """The local law of one jurisdiction. `first`: day number from which it holds."""

    file: str
    jurisdiction: str
    title: Title
    first: int
    params: dict[str, Parameter]
    added: dict[str, Parameter]
    left_out: tuple[LeftOut, ...]


def parse_overlay(file: str, document: dict[str, Any], base: dict[str, Parameter]) -> Overlay:
    """One overlay, held against the bounds of `base`. Raises `MalformedError`."""
    reader = Reader(file, "", document)
    jurisdiction, title = reader.take("jurisdiction", str, ...), reader.title()
    if not _JURISDICTION(jurisdiction):
        reader.fail("a jurisdiction is named by letters, digits and -", "for example cn-sc")
    first = day_number(file, reader.take("effective", str, ...))
    params = _params(file, reader.take("params", dict, {}), base)
    added = parse_params(file, reader.take("added", dict, {}))
    left_out = tuple(_left_out(reader, entry) for entry in reader.take("left_out", list, []))
    reader.done()
    for name, parameter in {**params, **added}.items():
        if parameter.values[0].first < first:
            refuse(file, name, "a value holds before its overlay does", "from = the day of `effective`")
    for name in added:
        if name in base:
            refuse(file, name, "the rulebook has this parameter already", "an overlay moves it in params")
    check_overlay(file, base, params)
    return Overlay(file, jurisdiction, title, first, params, added, left_out)


def _params(file: str, document: dict[str, Any], base: dict[str, Parameter]) -> dict[str, Parameter]:
    """Values of the rulebook's own parameters: title and unit are theirs."""
    found: dict[str, Parameter] = {}
    for name, table in document.items():
        entry = Reader(file, name, table)
        if name not in base:
            entry.fail("the rulebook has no such parameter")
        values = {"values": entry.take("values", list, ...), "title": base[name].title, "unit": base[name].unit}
        entry.done()
        found |= parse_params(file, {name: values})
    return found


def _left_out(reader: Reader, table: object) -> LeftOut:
    entry = Reader(reader.file, "left_out", table)
    found = LeftOut(entry.take("article", str, ...), entry.title())
    entry.done()
    return found


def local_params(
    overlays: Mapping[str, Overlay], base: dict[str, Parameter], read: Mapping[str, str]
) -> dict[str, Parameter]:
    """The parameters `local.<name>` by name: what `overlays` say, and an empty map for what rules read and none says.

    `read`: the names that rules read, each with a rule file. Raises `MalformedError` for a value that no rule reads.
    """
    names: dict[str, Parameter] = {name: base[name] for name in base if LOCAL + name in read}
    for overlay in overlays.values():
        for name, parameter in {**overlay.params, **overlay.added}.items():
            if LOCAL + name not in read:
                refuse(overlay.file, name, "no rule reads this value of the overlay", f'env.params["{LOCAL}{name}"]')
            names.setdefault(name, parameter)
    return {LOCAL + name: _by_jurisdiction(name, shown, overlays) for name, shown in sorted(names.items())}


def _by_jurisdiction(name: str, shown: Parameter, overlays: Mapping[str, Overlay]) -> Parameter:
    said = {
        overlay.jurisdiction: ({**overlay.params, **overlay.added}[name], overlay.file)
        for _, overlay in sorted(overlays.items())
        if name in overlay.params or name in overlay.added
    }
    values = [Value(0, {}, "no local law", "none")]
    for day in sorted({value.first for parameter, _ in said.values() for value in parameter.values} - {0}):
        held = {
            place: [value for value in parameter.values if value.first <= day][-1:]
            for place, (parameter, _) in said.items()
        }
        now = {place: found[0] for place, found in sorted(held.items()) if found}
        sources = "; ".join(dict.fromkeys(value.source for value in now.values()))
        values.append(Value(day, {place: value.value for place, value in now.items()}, sources, "none"))
    file = next((file for _, file in said.values()), "params.toml")
    return Parameter(LOCAL + name, shown.title, shown.unit, tuple(values), file)
