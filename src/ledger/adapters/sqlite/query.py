"""Reads many rows by key in few statements.

Rule: the number of placeholders comes from a short list and the last key is repeated, so that SQLite's prepared statements
are found again. Not here: any particular table.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, Final

_SIZES: Final = (1, 4, 16, 64, 256)


def select_in(connection: sqlite3.Connection, sql: str, keys: Sequence[Any]) -> Iterator[Any]:
    """Rows of `sql`, in which `{}` stands for the placeholders of an `IN (…)`, for all `keys`; in no certain order."""
    start, count = 0, len(keys)
    while start < count:
        rest = count - start
        size = next((size for size in _SIZES if size >= rest), _SIZES[-1])
        wanted = list(keys[start : start + size])
        wanted.extend(wanted[-1:] * (size - len(wanted)))
        yield from connection.execute(sql.format(",".join("?" * size)), wanted)
        start += size
