"""Remembers the last certified checkpoint that was verified of each network, so that the next audit demands consistency.

Rules: one file a network, named by the hash of its origin, holding the signed note as it was verified; written whole
(beside, synced, renamed). A damaged file is an error, never silently forgotten. Not here: what consistency means.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ledger.core.checkpoint import parse_checkpoint_text
from ledger.core.note import parse_note
from ledger.errors import UnavailableError
from ledger.limits import NOTE_BYTES_MAX


class Remembered:
    """The notes below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, origin: str) -> Path:
        """The file of a network."""
        return self._folder / f"{hashlib.sha256(origin.encode()).hexdigest()[:32]}.note"

    def read(self, origin: str) -> bytes | None:
        """The note that was remembered, None before the first. Raises `UnavailableError` where it cannot be read."""
        path = self.path(origin)
        try:
            with path.open("rb") as file:
                return file.read(NOTE_BYTES_MAX + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UnavailableError("remembered", "cannot be read", path=str(path), reason=error.strerror) from error

    def write(self, origin: str, note: bytes) -> bool:
        """Remember `note`, unless a larger one is remembered; True when it was written. Durable on return."""
        known = self.read(origin)
        if known is not None and _size(known) >= _size(note):
            return False
        path = self.path(origin)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                file.write(note)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError as error:
            raise UnavailableError("remembered", "cannot be written", path=str(path), reason=error.strerror) from error
        return True


def _size(note: bytes) -> int:
    return parse_checkpoint_text(parse_note(note).text).size
