"""Decides who may write a data directory: one process, by an operating system lock that ends with the process.

Rule: the lock is `flock` on DATA_DIR/lock, never the mere existence of the file, so a crash leaves nothing to clean up; the
file names the holder for people. Not here: readers, which need no lock.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from ledger.errors import UnavailableError

FILE_NAME = "lock"


class DataDirLock:
    """Held from construction until `close`. Raises `UnavailableError` (code `data-dir-locked`) naming the holder's pid."""

    def __init__(self, directory: Path) -> None:
        self._file = os.open(directory / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._file, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._file)
            self._file = -1
            raise UnavailableError(
                "data-dir-locked", "another process writes this data directory", directory=str(directory), pid=holder
            ) from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode("ascii"), 0)

    def close(self) -> None:
        """Let go; idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
