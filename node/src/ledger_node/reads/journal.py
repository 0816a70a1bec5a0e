"""What was read since the last batch: counted in memory, and on disk before the answer leaves.

Rules: one line for each reading in `reads/current.jsonl`; a batch begins by moving that file aside, and ends when its events
are recorded, so a restart counts nothing twice and loses at most what the operating system had not written. Rows are
bounded: a full journal asks for its batch. Not here: recording (see `recorder`), who may read (see `entitled`).
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

FOLDER: Final = "reads"
ROWS_MAX: Final = 20_000

Row = tuple[str, str, str]
"""(reader, capacity, dataset or "")."""


@dataclass(slots=True)
class Reads:
    """Readings of one batch: by row, and how many were refused."""

    rows: Counter[Row] = field(default_factory=Counter)
    served: int = 0
    denied: int = 0

    def add(self, reader: str, capacity: str, datasets: Sequence[str]) -> None:
        """One reading; one without a capacity was refused."""
        if not capacity:
            self.denied += 1
            return
        self.served += 1
        for each in datasets or ("",):
            self.rows[reader, capacity, each] += 1


class Journal:
    """The journal below a data directory. Thread-safe."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / FOLDER
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._current, self._batch = self._folder / "current.jsonl", self._folder / "batch.jsonl"
        self._mutex = threading.Lock()
        self._reads = _load(self._current)
        self._file: IO[bytes] = self._current.open("ab")

    @property
    def sent(self) -> Path:
        """Where the signed events of a batch lie until they are recorded."""
        return self._folder / "batch.submission"

    @property
    def full(self) -> bool:
        """Whether the batch should not wait for its hour."""
        return len(self._reads.rows) >= ROWS_MAX

    def note(self, reader: str, capacity: str, datasets: Sequence[str]) -> None:
        """One reading, allowed or (with an empty capacity) refused."""
        line = json.dumps([reader, capacity, list(datasets)], separators=(",", ":")).encode("ascii")
        with self._mutex:
            self._file.write(line + b"\n")
            self._file.flush()
            self._reads.add(reader, capacity, datasets)

    def begin(self) -> Reads:
        """What the next batch holds: one that was begun and never recorded, else everything since."""
        with self._mutex:
            if not self._batch.exists():
                self._file.close()
                self._current.replace(self._batch)
                self._file = self._current.open("ab")
                self._reads = Reads()
        return _load(self._batch)

    def recorded(self) -> None:
        """The batch that was begun is on the ledger."""
        self._batch.unlink(missing_ok=True)
        self.sent.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; idempotent."""
        with self._mutex:
            self._file.close()


def _load(path: Path) -> Reads:
    found = Reads()
    if path.exists():
        for line in path.read_bytes().split(b"\n"):
            try:
                reader, capacity, datasets = json.loads(line)
            except ValueError:
                continue  # cut off by a crash: that answer never left
            found.add(reader, capacity, datasets)
    return found
