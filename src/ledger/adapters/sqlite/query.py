"""Reads rows and checks the type of every column, so that a damaged row is named and never computed with.

Rules: each read states the types it expects; another type is `FatalError`. Reads of many keys use a short list of statement
sizes and repeat the last key, so that SQLite's prepared statements are found again. Not here: any particular table.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from ledger.adapters.sqlite.faults import damaged, storage_error

READING: Final = "reading the ledger"
_SIZES: Final = (1, 4, 16, 64, 256)


def rows(
    connection: sqlite3.Connection, sql: str, parameters: Sequence[Any], types: tuple[type, ...]
) -> Iterator[tuple[Any, ...]]:
    """Rows of `sql`, whose columns have exactly `types` (`object`: any). SQLite's errors become the ledger's."""
    try:
        found = connection.execute(sql, parameters)
    except sqlite3.Error as error:
        raise storage_error(error, READING) from error
    return checked(found, types)


def checked(found: Iterable[tuple[Any, ...]], types: tuple[type, ...]) -> Iterator[tuple[Any, ...]]:
    """The rows, each when its columns have `types`."""
    wanted = [(at, kind) for at, kind in enumerate(types) if kind is not object]
    try:
        for row in found:
            for at, kind in wanted:
                if type(row[at]) is not kind:
                    raise damaged("row", column=at, expected=kind.__name__, got=type(row[at]).__name__)
            yield row
    except sqlite3.Error as error:
        raise storage_error(error, READING) from error


def row(
    connection: sqlite3.Connection, sql: str, parameters: Sequence[Any], types: tuple[type, ...]
) -> tuple[Any, ...] | None:
    """The first row of `sql`, None where there is none."""
    return next(rows(connection, sql, parameters, types), None)


def value(connection: sqlite3.Connection, sql: str, parameters: Sequence[Any], kind: type) -> Any:
    """The first column of the first row of `sql`, None where there is no row."""
    found = row(connection, sql, parameters, (kind,))
    return found[0] if found is not None else None


def select_in(
    connection: sqlite3.Connection, sql: str, keys: Sequence[Any], types: tuple[type, ...]
) -> Iterator[tuple[Any, ...]]:
    """Rows of `sql`, in which `{}` stands for the placeholders of an `IN (…)`, for all `keys`; in no certain order."""
    start, count = 0, len(keys)
    while start < count:
        rest = count - start
        size = next((size for size in _SIZES if size >= rest), _SIZES[-1])
        wanted = list(keys[start : start + size])
        wanted.extend(wanted[-1:] * (size - len(wanted)))
        yield from rows(connection, sql.format(",".join("?" * size)), wanted, types)
        start += size
