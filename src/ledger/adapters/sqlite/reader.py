"""Reads a ledger file without its writer: pinned snapshots for answers, proofs, exports and the auditor.

Rules: one snapshot is one read transaction, so everything in it is of one head; a reader is shared by threads and gives each
snapshot a connection of its own. It needs sqlite3, zstandard and msgpack, never sqlite-utils. Rows of the state are checked
against their bucket and events against their record when they are read; roots are the caller's to check.
Not here: writing, and what an answer means.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ledger.adapters.sqlite import load, schema
from ledger.adapters.sqlite.faults import translated
from ledger.adapters.sqlite.snapshot import BlockContent, Snapshot, StoredBlock, StoredLeaf
from ledger.errors import FatalError, UnavailableError

__all__ = ["BlockContent", "Snapshot", "SqliteReader", "StoredBlock", "StoredLeaf"]

IDLE_CONNECTIONS_MAX: Final = 16


class SqliteReader:
    """Opens snapshots of the ledger at `path`; thread-safe.

    `restored_height` is the block up to which it was filled from a snapshot (0: all of it was decided here). Raises
    `NotFoundError` where there is no file, `FatalError` for a schema this version does not read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mutex = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        connection = self._connect()
        try:
            with translated("reading how the ledger was made"):
                self.restored_height = load.read_restored(connection)
        except BaseException:
            connection.close()
            raise
        self._give_back(connection)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """One read transaction: everything read through it is of one head."""
        connection = self._take()
        try:
            with translated("reading the ledger"):
                connection.execute("BEGIN")
                snapshot = Snapshot(connection)
                try:
                    yield snapshot
                finally:
                    if connection.in_transaction:
                        # Nothing was written: where even this fails, what was read before has told why.
                        with suppress(sqlite3.Error):
                            connection.execute("COMMIT")
                if connection.in_transaction:
                    connection.close()
                    return
        except BaseException:
            # What went wrong may be the connection itself: let the next snapshot have a new one.
            connection.close()
            raise
        self._give_back(connection)

    def close(self) -> None:
        """Close idle connections; those in use close when their snapshot ends. Idempotent."""
        with self._mutex:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _connect(self) -> sqlite3.Connection:
        connection = schema.connect_reader(self._path)
        try:
            with translated("opening the store for reading"):
                version = schema.check_application(connection)
            if version != schema.SCHEMA_VERSION:
                raise FatalError(
                    "schema-older", "open it with a writing node first", got=version, expected=schema.SCHEMA_VERSION
                )
        except BaseException:
            connection.close()
            raise
        return connection

    def _take(self) -> sqlite3.Connection:
        with self._mutex:
            if self._closed:
                raise UnavailableError("reader-closed", "the reader was closed")
            if self._idle:
                return self._idle.pop()
        return self._connect()

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._mutex:
            if not self._closed and len(self._idle) < IDLE_CONNECTIONS_MAX:
                self._idle.append(connection)
                return
        connection.close()
