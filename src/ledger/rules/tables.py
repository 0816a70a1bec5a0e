"""Decides what a state table may say: from which status an event of which kind leads where.

Rules: a table belongs to one object kind and moves one of its fields; kinds start or move it, `!signals` are moves that a
rule asks for; `otherwise` names the finding raised when an act comes out of order. Tables are literal: diagrams are
generated from them.
Never here: running them (see the prelude's engine).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from ledger.rules.kinds import Kind, ObjectKind, Reader

_STATUS: Final = re.compile(r"[a-z][a-z_]*").fullmatch
_SIGNAL: Final = re.compile(r"![a-z][a-z_]*").fullmatch


@dataclass(frozen=True, slots=True)
class Table:
    """The life of one object kind. `start`: kind → first status; `moves`: status → {kind or !signal: next status}."""

    object: str
    field: str
    start: dict[str, str]
    moves: dict[str, dict[str, str]]
    otherwise: dict[str, str]

    def kinds(self) -> set[str]:
        """Kinds that start or move this table."""
        moved = {name for edges in self.moves.values() for name in edges if not name.startswith("!")}
        return moved | set(self.start)

    def moves_by(self, kind: str) -> bool:
        """Whether events of `kind` move an object that has a status."""
        return any(kind in edges for edges in self.moves.values())

    def signals(self) -> set[str]:
        """Signals without their mark."""
        return {name[1:] for edges in self.moves.values() for name in edges if name.startswith("!")}


def parse_tables(
    file: str, document: dict[str, Any], kinds: dict[str, Kind], objects: dict[str, ObjectKind]
) -> dict[str, Table]:
    """Tables by object kind. Raises `MalformedError`."""
    found: dict[str, Table] = {}
    for name, entry in document.items():
        reader = Reader(file, name, entry)
        table = Table(
            object=name,
            field=reader.take("field", str, "status"),
            start=reader.take("start", dict, {}),
            moves=reader.take("moves", dict, {}),
            otherwise=reader.take("otherwise", dict, {}),
        )
        reader.done()
        _check(reader, table, kinds, objects)
        found[name] = table
    return found


def _check(reader: Reader, table: Table, kinds: dict[str, Kind], objects: dict[str, ObjectKind]) -> None:
    if table.object not in objects or table.field not in objects[table.object].fields:
        reader.fail(f"no field {table.field!r} of an object kind {table.object!r}")
    statuses = set(table.moves) | set(table.start.values())
    for status, edges in table.moves.items():
        if not _STATUS(status) or not isinstance(edges, dict):
            reader.fail(f"bad status {status!r}")
        for after in edges.values():
            if not isinstance(after, str) or not _STATUS(after):
                reader.fail(f"bad status after {status!r}")
            statuses.add(after)
        for name in edges:
            if name.startswith("!") and not _SIGNAL(name):
                reader.fail(f"bad signal {name!r}")
    for name in table.kinds() | set(table.otherwise):
        if name not in kinds or table.object not in kinds[name].objects().values():
            reader.fail(f"{name!r} is no kind that touches {table.object}")
    for name in table.otherwise:
        if not kinds[name].act:
            reader.fail(f"{name!r} is a request: out of order it is refused, not found")
