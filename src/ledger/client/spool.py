"""Decides when an event is safe on this machine: written as one JSON line and fdatasynced before `append` returns.

A spool is a folder. Each writing process has files of its own (`<time>-<pid>-<n>.jsonl`), held by a lock while it may
still write; one shipper at a time (lock `ship.lock`) reads all of them and remembers in `offsets.json`, replaced by
rename, how far it has come. A file that nobody can write any more and that is shipped to its end is removed.
Rules: a torn last line was never acknowledged, so it is skipped once its writer is gone; a line that cannot be read is
kept aside in `damaged.jsonl`, never dropped. Threads that append at once share one fdatasync.
Not here: sending (see `shipper`).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ledger.errors import ConflictError, FatalError, MalformedError, UnavailableError

SEGMENT_BYTES: Final = 32 * 1024 * 1024  # a new file after this, so that shipped ones can go
VERSION: Final = 1
OFFSETS: Final = "offsets.json"
SHIP_LOCK: Final = "ship.lock"
DAMAGED: Final = "damaged.jsonl"
REJECTED: Final = "rejected.jsonl"


@dataclass(frozen=True, slots=True)
class Entry:
    """One spooled event: its member, canonical head and body, and where its line ends."""

    member: str
    head: bytes
    body: bytes
    file: str = ""
    end: int = 0

    def encode(self) -> bytes:
        """The line, newline included."""
        fields = {"body": self.body.decode("utf-8"), "head": self.head.decode("utf-8"), "m": self.member, "v": VERSION}
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8") + b"\n"


def parse_entry(line: bytes, file: str = "", end: int = 0) -> Entry:
    """The entry of a line; `MalformedError` (code `spool-line`) for other bytes."""
    try:
        fields = json.loads(line)
        if set(fields) != {"body", "head", "m", "v"} or fields["v"] != VERSION:
            raise ValueError("fields")
        return Entry(str(fields["m"]), fields["head"].encode("utf-8"), fields["body"].encode("utf-8"), file, end)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise MalformedError("spool-line", "not a line of a spool", file=file, end=end) from error


class _Segment:
    """One file that this process writes: how much is written, how much of it is on the disk."""

    def __init__(self, fd: int) -> None:
        self.fd, self.written, self.synced = fd, 0, 0
        self.failed: OSError | None = None
        self.lock = threading.Lock()

    def write(self, data: bytes) -> int:
        """Append `data`; the bytes written so far. A write that fails is taken back, so that no part of a line stays."""
        try:
            _write_all(self.fd, data)
        except OSError:
            os.ftruncate(self.fd, self.written)
            raise
        self.written += len(data)
        return self.written

    def sync(self, mine: int) -> None:
        """Return once the first `mine` bytes are on the disk; one fdatasync serves all threads that wait."""
        with self.lock:
            if self.failed is not None:
                raise self.failed
            if self.synced >= mine:
                return
            upto = self.written
            try:
                os.fdatasync(self.fd)
            except OSError as error:
                # Whether the bytes are safe is unknown from here on: everyone who waits is told.
                self.failed = error
                raise
            self.synced = upto

    def close(self) -> None:
        """Give the file up; its lock ends with it."""
        with self.lock:
            if self.fd >= 0:
                os.close(self.fd)
                self.fd = -1


class SpoolWriter:
    """This process's end of a spool. Thread-safe; `append` is durable when it returns."""

    def __init__(self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder, self._segment_bytes = folder, segment_bytes
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._number = 0
        self._lock = threading.Lock()
        self._segment: _Segment | None = None
        # A forked child shares its parent's file and lock, so it begins a file of its own.
        reference = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _forked(reference))

    def append(self, entries: Sequence[Entry]) -> None:
        """Write the entries. Raises `UnavailableError` (code `spool`) when they are not known to be safe; the shipper
        may find them all the same when only the last step, the fdatasync, failed."""
        data = b"".join(entry.encode() for entry in entries)
        segment: _Segment | None = None
        try:
            with self._lock:
                segment = self._open(len(data))
                mine = segment.write(data)
            segment.sync(mine)
        except OSError as error:
            with self._lock:
                if segment is not None and segment is self._segment:
                    # Other threads may wait for lines before this one; those are still good.
                    with contextlib.suppress(OSError):
                        segment.sync(segment.written)
                    self._close()
            reason = error.strerror or str(error)
            raise UnavailableError(
                "spool", "the event could not be made safe", folder=str(self.folder), reason=reason
            ) from error

    def close(self) -> None:
        """Give the file up; what was appended stays for the shipper."""
        with self._lock:
            self._close()

    def _open(self, size: int) -> _Segment:
        segment = self._segment
        if segment is not None and segment.written and segment.written + size > self._segment_bytes:
            segment.sync(segment.written)
            self._close()
        if self._segment is None:
            self._number += 1
            name = f"{time.time_ns():020d}-{os.getpid()}-{self._number}.jsonl"
            temporary = self.folder / f"{name}.new"
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
            # Locked before it has the name that a shipper looks for: an unlocked empty file would be tidied away.
            fcntl.flock(fd, fcntl.LOCK_EX)
            temporary.rename(self.folder / name)
            _sync_folder(self.folder)
            self._segment = _Segment(fd)
        return self._segment

    def _close(self) -> None:
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def after_fork(self) -> None:
        """Forget the parent's file, in a child; closing the copy of its descriptor leaves the parent's lock alone."""
        inherited, self._segment = self._segment, None
        self._lock = threading.Lock()
        if inherited is not None and inherited.fd >= 0:
            os.close(inherited.fd)


def _forked(reference: weakref.ref[SpoolWriter]) -> None:
    writer = reference()
    if writer is not None:
        writer.after_fork()


class SpoolReader:
    """The shipper's end: one process at a time. Raises `ConflictError` (code `spool-busy`) while another one ships."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(folder / SHIP_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise ConflictError("spool-busy", "another process ships this spool", folder=str(folder)) from error
        self._offsets = read_offsets(folder)
        self._damaged: set[tuple[str, int]] = set()

    def read(self, count_max: int, bytes_max: int) -> list[Entry]:
        """The oldest unshipped entries, at most so many and so large (one at least)."""
        entries: list[Entry] = []
        size = 0
        for name in segment_names(self.folder):
            for entry in self._entries(name):
                size += len(entry.head) + len(entry.body)
                if entries and (len(entries) >= count_max or size > bytes_max):
                    return entries
                entries.append(entry)
            if len(entries) >= count_max:
                break
        return entries

    def shipped(self, entries: Sequence[Entry]) -> None:
        """Remember that `entries` (as `read` gave them, from the start) need not be sent again; durable on return."""
        if not entries:
            return
        for entry in entries:
            self._offsets[entry.file] = max(entry.end, self._offsets.get(entry.file, 0))
        self._write_offsets()
        self.tidy()

    def reject(self, entry: Entry, reason: str) -> None:
        """Keep an entry aside that no node will ever take, with the reason, before it is passed over."""
        line = {"reason": reason, "member": entry.member, "head": entry.head.decode(), "body": entry.body.decode()}
        _append_line(self.folder / REJECTED, json.dumps(line, ensure_ascii=False).encode("utf-8") + b"\n")

    def tidy(self) -> None:
        """Remove files that are shipped to their end and that no process can write any more."""
        gone = False
        for name in segment_names(self.folder):
            path = self.folder / name
            if self._offsets.get(name, 0) >= path.stat().st_size and _is_abandoned(path):
                path.unlink(missing_ok=True)
                self._offsets.pop(name, None)
                gone = True
        if gone:
            _sync_folder(self.folder)
            self._write_offsets()

    def close(self) -> None:
        """Let another process ship."""
        os.close(self._lock)

    def _entries(self, name: str) -> Iterator[Entry]:
        """Entries of one file behind its offset; stops at a line that is not whole yet."""
        path = self.folder / name
        # Asked before reading: a writer that lets go afterwards may have written more, which the next pass sees.
        abandoned = _is_abandoned(path)
        position = self._offsets.get(name, 0)
        found = False
        with path.open("rb") as file:
            file.seek(position)
            while line := file.readline():
                if not line.endswith(b"\n") and not abandoned:
                    break
                position += len(line)
                try:
                    entry = parse_entry(line, name, position)
                except MalformedError:
                    self._keep_damaged(line, name, position)
                else:
                    found = True
                    yield entry
        if not found:
            # Nothing but damaged lines, or a torn one, is left: the entries before them are shipped.
            self._offsets[name] = position

    def _keep_damaged(self, line: bytes, name: str, position: int) -> None:
        """Keep a line that cannot be read, once; a torn last line was never acknowledged and may go."""
        if line.endswith(b"\n") and (name, position) not in self._damaged:
            self._damaged.add((name, position))
            _append_line(self.folder / DAMAGED, line)

    def _write_offsets(self) -> None:
        data = json.dumps(self._offsets, sort_keys=True).encode("ascii")
        temporary = self.folder / f"{OFFSETS}.new"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        temporary.replace(self.folder / OFFSETS)
        _sync_folder(self.folder)


def segment_names(folder: Path) -> list[str]:
    """Names of the spool's files, oldest first."""
    return sorted(name for name in os.listdir(folder) if name.endswith(".jsonl") and name[:1].isdecimal())  # noqa: PTH208


def read_offsets(folder: Path) -> dict[str, int]:
    """How far each file is shipped; nothing where that was never written. Raises `FatalError` for a damaged file:
    guessing would send everything again."""
    try:
        data = (folder / OFFSETS).read_bytes()
    except FileNotFoundError:
        return {}
    try:
        document: dict[str, Any] = json.loads(data)
        return {str(name): int(value) for name, value in document.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise FatalError("spool-offsets", "the spool's offset file is damaged", path=str(folder / OFFSETS)) from error


def backlog(folder: Path) -> tuple[int, int]:
    """(unshipped whole lines, their bytes) of a spool; readable while it is in use."""
    if not folder.is_dir():
        return 0, 0
    offsets = read_offsets(folder)
    lines = size = 0
    for name in segment_names(folder):
        try:
            with (folder / name).open("rb") as file:
                file.seek(offsets.get(name, 0))
                for line in file:
                    if line.endswith(b"\n"):
                        lines, size = lines + 1, size + len(line)
        except FileNotFoundError:
            continue  # shipped and removed meanwhile
    return lines, size


def count_lines(path: Path) -> int:
    """Lines of a file kept aside; 0 where there is none."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        return sum(1 for _ in file)


def _is_abandoned(path: Path) -> bool:
    """Whether no process holds the file for writing; the lock ends with its holder, however that one dies."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _append_line(path: Path, line: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        _write_all(fd, line)
        os.fdatasync(fd)
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
