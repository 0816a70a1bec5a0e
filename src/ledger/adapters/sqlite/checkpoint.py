"""Moves pages from SQLite's write-ahead log into the file, beside the writer instead of inside its commits.

Rules: a thread with a connection of its own runs passive checkpoints, which never block the writer and lose nothing when
they fail; the log starts anew once a pass has caught up. The writer's own automatic checkpoint stays as the bound on the
log's length. Not here: durability, which the log alone gives.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path
from typing import Final

from ledger.adapters.sqlite import schema
from ledger.adapters.sqlite.faults import storage_error
from ledger.errors import LedgerError

LOG_BYTES_START: Final = 16 * 1024 * 1024  # long enough that pages written again and again are moved once
PASSES_MAX: Final = 8  # of one run: each moves what came in during the one before
_HEADER_BYTES: Final = 32  # of the log
_FRAME_HEADER_BYTES: Final = 24  # before each page in it


class Checkpointer:
    """Watches the log beside `path`; `failure` holds why the last pass could not be made, None when it could."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = _Log(path.with_name(path.name + "-wal"))
        self._wake = threading.Event()
        self._closing = False
        self.failure: LedgerError | None = None
        self._thread = threading.Thread(target=self._run, name="checkpoint", daemon=True)
        self._thread.start()

    def committed(self) -> None:
        """Called after each commit; wakes the thread when the log is long."""
        try:
            if self._log.holds(LOG_BYTES_START):
                self._wake.set()
        except OSError:
            return  # no log: nothing to move

    def close(self) -> None:
        """Wait for the pass that is running; idempotent."""
        self._closing = True
        self._wake.set()
        self._thread.join()
        self._log.close()

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


class _Log:
    """How long the write-ahead log is, from its bytes (https://sqlite.org/fileformat2.html#walformat).

    Its file never shrinks: once moved, it is written from its beginning again under new salts, and what stands behind is
    old. Going by the file's size, every commit after the first long log would be followed by a pass with its two syncs.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def holds(self, size: int) -> bool:
        """Whether `size` bytes or more were written since the log began anew. Raises `OSError` where there is none."""
        if self._file is None:
            self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        header = os.pread(self._file, _HEADER_BYTES, 0)
        page_bytes = int.from_bytes(header[8:12], "big")
        frame = size // (_FRAME_HEADER_BYTES + page_bytes) * (_FRAME_HEADER_BYTES + page_bytes)
        salts = os.pread(self._file, 8, _HEADER_BYTES + frame + 8)
        return len(salts) == 8 and salts == header[16:24]

    def close(self) -> None:
        """Close the file; idempotent."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
