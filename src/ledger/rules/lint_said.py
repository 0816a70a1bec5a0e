"""Turns warnings into notes where the rulebook itself says why: `# examined: <code>: <reason>` in the lines right above.

Rule: only warnings can be explained, each by its own code at its own place, which is the nearest such comment above it with
no empty line between; an explanation that no warning needs is odd itself. An error stays one whatever stands beside it.
Not here: whether the reason is a good one, which readers judge.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from ledger.rules.remark import NOTE, WARNING, Remark

_MARK: Final = re.compile(r"\s*#\s*examined:\s*([a-z-]+):\s*(\S.*?)\s*")

Place = tuple[str, int]
"""(file, line from 1)."""


def explained(remarks: Sequence[Remark], files: Mapping[str, bytes]) -> Iterator[Remark]:
    """`remarks` with the explained ones as notes, and a warning for each explanation that nothing asked for."""
    lines = {
        path: data.decode("utf-8", "replace").split("\n")
        for path, data in files.items()
        if path.endswith((".py", ".toml"))
    }
    said = {(path, at): found for path, each in lines.items() for at, found in _marks(each)}
    used: set[Place] = set()
    for remark in remarks:
        place = _place(remark, lines.get(remark.file, []), said) if remark.severity == WARNING else None
        if place is None:
            yield remark
            continue
        used.add(place)
        yield replace(remark, severity=NOTE, values=(*remark.values, ("why", said[place][1])))
    for path, line in sorted(said.keys() - used):
        yield Remark("explained-nothing", WARNING, path, line, (("code", said[path, line][0]),))


def _place(remark: Remark, lines: Sequence[str], said: Mapping[Place, tuple[str, str]]) -> Place | None:
    """Where `remark` is explained, None where it is not."""
    for line in range(min(remark.line, len(lines)), 0, -1):
        if not lines[line - 1].strip():
            return None
        found = said.get((remark.file, line))
        if found is not None and found[0] == remark.code:
            return remark.file, line
    return None


def _marks(lines: Sequence[str]) -> Iterator[tuple[int, tuple[str, str]]]:
    """(line, (code, reason)) of each explanation."""
    for number, line in enumerate(lines, 1):
        found = _MARK.fullmatch(line)
        if found is not None:
            yield number, (found[1], found[2])
