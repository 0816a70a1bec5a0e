"""Keeps the progress of an audit in a file, so that the next run of the same command goes on from there.

Rules: one file, replaced as a whole (written beside, synced, renamed), readable by its owner only; its last bytes are the
SHA-256 of all before. It is written every few seconds, less often the longer that takes, and removed when an audit ends. A
file that does not check, or was left by another question, is passed over with a word; a file that is none of ours is never
replaced. A disk that refuses ends the saving, not the audit. Not here: what may be taken over (see `ledger.verify.resume`).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import BinaryIO, Final

from ledger.adapters.audit.scratch import ScratchState
from ledger.core import canonical
from ledger.core.hashing import u32
from ledger.core.ident import format_time
from ledger.errors import ConflictError, LedgerError
from ledger.machine.block import StateRow
from ledger.verify.restoring import Restoring, refuse
from ledger.verify.resume import Point, parse_point

MAGIC: Final = b"suyuan audit in progress 1\n"
DIGEST_BYTES: Final = 32
ITEM_BYTES_MAX: Final = 64 << 20
BATCH: Final = 2_000
INTERVAL_S: Final = 5.0
SHARE: Final = 40
"""Saving takes at most about one part in so many of the time."""

CONTINUES, OTHER_QUESTION, DAMAGED, UNWRITABLE = "continues", "other-question", "damaged", "unwritable"

LENGTH_BYTES: Final = 4  # of an item's length plus one; 0 ends a section


class ProgressFile:
    """`ledger.verify.resume.Keeper` in the file at `path`, for the audit that works on `scratch`.

    `fresh` passes over what is there. `tell` is called with a code of this module and the reason. `found` is the point that
    this run went on from, `saved` the last one that it saved.
    """

    def __init__(
        self,
        path: Path,
        scratch: ScratchState,
        *,
        fresh: bool = False,
        interval_s: float | None = None,
        tell: Callable[[str, str], None] = lambda _code, _reason: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self._scratch, self._fresh = path, scratch, fresh
        self._interval_s = INTERVAL_S if interval_s is None else interval_s
        self._tell, self._clock = tell, clock
        self._question: dict[str, str] = {}
        self._next: float | None = clock() + self._interval_s
        self.found: Point | None = None
        self.saved: Point | None = None
        if path.exists() and not _is_ours(path):
            raise ConflictError("resume-file", "exists and holds no progress of an audit; not touched", path=str(path))

    def waiting(self) -> bool:
        """See `Keeper`."""
        return not self._fresh and self._path.exists()

    def find(self, question: Mapping[str, str]) -> Point | None:
        """See `Keeper`."""
        self._question = {**question, "version": software()}
        if not self.waiting():
            return None
        try:
            with self._path.open("rb") as file:
                reader = _Reader(file)
                asked, point = canonical.parse(reader.item()), parse_point(reader.item())
        except (OSError, LedgerError) as error:
            self._tell(DAMAGED, _reason(error))
            return None
        if asked != self._question:
            other = sorted(name for name in self._question if asked.get(name) != self._question[name])
            self._tell(OTHER_QUESTION, ", ".join(other))
            return None
        self.found = point
        self._tell(CONTINUES, f"{point.height}, {format_time(point.saved_ms)}")
        return point

    def restore(self, into: Restoring) -> None:
        """See `Keeper`."""
        try:
            with self._path.open("rb", buffering=1 << 20) as file:
                reader = _Reader(file)
                reader.item(), reader.item()
                for found in reader.section(2):
                    into.buckets({_number(index): packed for index, packed in found})
                for found in reader.section(3):
                    into.rows({key: StateRow(value, tree) for key, value, tree in found})
                reader.end()
        except OSError as error:
            raise refuse("damaged", reason=str(error)) from None

    def due(self) -> bool:
        """See `Keeper`."""
        return self._next is not None and self._clock() >= self._next

    def save(self, point: Point) -> None:
        """See `Keeper`."""
        began = self._clock()
        point = replace(point, saved_ms=time.time_ns() // 1_000_000)
        partial = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            partial.unlink(missing_ok=True)
            handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb", buffering=1 << 20) as file:
                self._write(file, point)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            self._next = None
            self._tell(UNWRITABLE, f"{self._path}: {error.strerror}")
            return
        self.saved = point
        now = self._clock()
        self._next = now + max(self._interval_s, SHARE * (now - began))

    def finish(self) -> None:
        """The audit came to its end: nothing is left to go on from."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _write(self, file: BinaryIO, point: Point) -> None:
        hasher = sha256()
        rows, buckets = self._scratch.entries()

        def put(*items: bytes) -> None:
            data = b"".join([part for item in items for part in (u32(len(item) + 1), item)])
            hasher.update(data)
            file.write(data)

        def end() -> None:
            hasher.update(u32(0))
            file.write(u32(0))

        file.write(MAGIC)
        hasher.update(MAGIC)
        put(canonical.encode(self._question), point.encode())
        for index, packed in buckets:
            put(index.to_bytes(8, "big"), packed)
        end()
        for key, row in rows:
            put(key, row.value, row.range)
        end()
        file.write(hasher.digest())


def software() -> str:
    """The version of this package: another one might have checked other things."""
    try:
        return version("suyuan")
    except PackageNotFoundError:
        return "0+source"


def _is_ours(path: Path) -> bool:
    """Whether a file is progress of ours, or empty."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(len(MAGIC))
    return start in (MAGIC, b"")


class _Reader:
    """The items of a progress file. Raises `ResumeError` for bytes that are none."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._hasher = file, sha256()
        if self._take(len(MAGIC)) != MAGIC:
            raise refuse("damaged", reason="not a progress file")

    def section(self, width: int) -> Iterator[list[tuple[bytes, ...]]]:
        """The tuples of a section, some at a time."""
        found: list[tuple[bytes, ...]] = []
        while (first := self._item()) is not None:
            found.append((first, *(self.item() for _ in range(width - 1))))
            if len(found) == BATCH:
                yield found
                found = []
        if found:
            yield found

    def item(self) -> bytes:
        """The next item."""
        found = self._item()
        if found is None:
            raise refuse("damaged", reason="an item is missing")
        return found

    def end(self) -> None:
        """Nothing follows, and the digest is that of all before."""
        wanted = self._hasher.digest()
        if self._file.read(DIGEST_BYTES + 1) != wanted:
            raise refuse("damaged", reason="the file's own digest differs")

    def _item(self) -> bytes | None:
        size = int.from_bytes(self._take(LENGTH_BYTES), "big")
        if size > ITEM_BYTES_MAX:
            raise refuse("damaged", reason="an item is too long")
        return self._take(size - 1) if size else None

    def _take(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) != count:
            raise refuse("damaged", reason="the file is cut off")
        self._hasher.update(data)
        return data


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _reason(error: OSError | LedgerError) -> str:
    return str(error.evidence.get("reason", error.code)) if isinstance(error, LedgerError) else str(error.strerror)


__all__ = ["CONTINUES", "DAMAGED", "OTHER_QUESTION", "UNWRITABLE", "ProgressFile", "software"]
