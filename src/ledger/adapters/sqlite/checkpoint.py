"""Moves pages from SQLite's write-ahead log into the file, beside the writer instead of inside its commits.

Rules: a thread with a connection of its own runs passive checkpoints, which never block the writer and lose nothing when
they fail; the log starts anew once a pass has caught up. The writer's own automatic checkpoint stays as the bound on the
log's length. Not here: durability, which the log alone gives.
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Final

from ledger.adapters.sqlite import schema
from ledger.adapters.sqlite.faults import storage_error
from ledger.errors import LedgerError

LOG_BYTES_START: Final = 16 * 1024 * 1024  # long enough that pages written again and again are moved once
PASSES_MAX: Final = 8  # of one run: each moves what came in during the one before


class Checkpointer:
    """Watches the log beside `path`; `failure` holds why the last pass could not be made, None when it could."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = path.with_name(path.name + "-wal")
        self._wake = threading.Event()
        self._closing = False
        self.failure: LedgerError | None = None
        self._thread = threading.Thread(target=self._run, name="checkpoint", daemon=True)
        self._thread.start()

    def committed(self) -> None:
        """Called after each commit; wakes the thread when the log is long."""
        try:
            if self._log.stat().st_size >= LOG_BYTES_START:
                self._wake.set()
        except OSError:
            return  # no log: nothing to move

    def close(self) -> None:
        """Wait for the pass that is running; idempotent."""
        self._closing = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        while True:
            self._wake.wait()
            if self._closing:
                break
            self._wake.clear()
            try:
                if connection is None:
                    connection = schema.connect_writer(self._path)
                self._passes(connection)
                self.failure = None
            except sqlite3.Error as error:
                self.failure = storage_error(error, "moving the log into the file")
            except LedgerError as error:
                self.failure = error
        if connection is not None:
            connection.close()

    def _passes(self, connection: sqlite3.Connection) -> None:
        for _ in range(PASSES_MAX):
            _, written, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if moved == written or self._closing:
                return
