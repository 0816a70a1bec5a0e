"""Decides which error family a failure of SQLite or of stored bytes belongs to.

Rule: what a later try may cure (full disk, a lock, a read-only medium) is `UnavailableError`; what says that stored bytes
are not what was written (I/O errors, corruption) is `FatalError`, with the evidence. Never a false success.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from ledger.errors import FatalError, LedgerError, UnavailableError

_CURABLE = {
    sqlite3.SQLITE_FULL: "storage-full",
    sqlite3.SQLITE_BUSY: "storage-busy",
    sqlite3.SQLITE_LOCKED: "storage-busy",
    sqlite3.SQLITE_READONLY: "storage-readonly",
    sqlite3.SQLITE_CANTOPEN: "storage-open",
    sqlite3.SQLITE_PERM: "storage-permission",
    sqlite3.SQLITE_NOMEM: "storage-memory",
}
_PRIMARY_MASK = 0xFF  # extended result codes keep the primary one in their low byte


def storage_error(error: sqlite3.Error, what: str) -> LedgerError:
    """The ledger's error for SQLite's, naming what was being done."""
    extended = getattr(error, "sqlite_errorcode", None)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    code = _CURABLE.get(extended & _PRIMARY_MASK) if isinstance(extended, int) else None
    if code is not None:
        return UnavailableError(code, "the store cannot do this now", doing=what, sqlite=name, reason=str(error))
    return FatalError("storage", "the store failed", doing=what, sqlite=name, reason=str(error))


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn SQLite's errors inside the block into the ledger's."""
    try:
        yield
    except sqlite3.Error as error:
        raise storage_error(error, what) from error
    except UnicodeDecodeError as error:
        # Names in a damaged schema, which SQLite quotes in its messages and Python cannot decode.
        raise FatalError("storage", "the store failed", doing=what, reason=str(error)) from error


def damaged(what: str, **evidence: object) -> FatalError:
    """Stored bytes that cannot be what was written."""
    return FatalError("storage-damaged", f"stored {what} is damaged", **evidence)
