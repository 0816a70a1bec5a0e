"""Decides which part of a program decides given events: their kinds, the timers that can fire, and what those call.

Rule: a part gives the same outcomes as the whole for any block of these kinds and timers, because it holds every definition
that they can reach: names in their text, and timers that their text names. The whole program stays what the config pins;
a part only spares an interpreter that reads the text anew for every block. Never here: running anything.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

_RULES: Final = "\n# rule "  # behind it the rules begin; what stands before is kept in every part
_DEFINITION: Final = re.compile(r"^(?:def )?(_[A-Za-z0-9_]+)\b", re.MULTILINE)
_NAME: Final = re.compile(r"\b_[A-Za-z0-9_]+\b")
_ENTRY: Final = re.compile(r'^    ("(?:[^"\\]|\\.)*"): (.*),$', re.MULTILINE)
_TABLES: Final = ("_TIMERS", "_KINDS", "_PLANS")


class Slices:
    """The definitions of one program, by name; `part` puts those together that are needed."""

    def __init__(self, text: str) -> None:
        self._base, _, rest = text.partition(_RULES)
        starts = list(_DEFINITION.finditer(rest))
        self._order: list[str] = []
        self._texts: dict[str, str] = {}
        for match, behind in zip(starts, [*starts[1:], None], strict=True):
            self._order.append(match[1])
            self._texts[match[1]] = rest[match.start() : behind.start() if behind is not None else len(rest)]
        self._tables = {name: dict(_ENTRY.findall(self._texts.get(name, ""))) for name in _TABLES}
        self._uses = {
            name: {used for used in _NAME.findall(body) if used in self._texts and used != name}
            for name, body in self._texts.items()
            if name not in _TABLES
        }
        self._timers = {
            name: {timer for timer in self._tables["_TIMERS"] if timer in body}
            for name, body in self._texts.items()
            if name not in _TABLES
        }

    def part(self, kinds: Collection[str], timers: Collection[str]) -> str:
        """The text of a program for events of these kinds and timers of these names (as `A5` or `A5.receipt`)."""
        kept = [entry for entry in self._tables["_KINDS"] if entry[1:-1] in kinds]
        armed = {entry for entry in self._tables["_TIMERS"] if entry[1:-1] in timers}
        waiting = [self._tables["_KINDS"][entry] for entry in kept]
        waiting.extend(name for entry in armed for name in self._used(self._tables["_TIMERS"][entry]))
        found: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name in found:
                continue
            found.add(name)
            waiting.extend(self._uses[name])
            for entry in self._timers[name] - armed:
                armed.add(entry)
                waiting.extend(self._used(self._tables["_TIMERS"][entry]))
        body = "".join(self._texts[name] for name in self._order if name in found)
        return "\n".join(
            (
                self._base,
                body,
                _table("_TIMERS", {entry: self._tables["_TIMERS"][entry] for entry in sorted(armed)}),
                _table("_KINDS", {entry: self._tables["_KINDS"][entry] for entry in kept}),
                "_PLANS = {}\n",
            )
        )

    def _used(self, text: str) -> set[str]:
        return {used for used in _NAME.findall(text) if used in self._uses}


def _table(name: str, entries: dict[str, str]) -> str:
    lines = "".join(f"    {entry}: {value},\n" for entry, value in entries.items())
    return f"{name} = {{\n{lines}}}\n"
