"""Writes and reads exports: a directory or a tar of gzip segments, which `ledger verify` checks without a database.

Rules: an export appears whole or not at all (written beside its place, synced, renamed); an existing one is never touched.
Reading follows no link, opens only files that the manifest lists, and compares size and SHA-256 before it expands anything.
Not here: the format of the files (see `ledger.archiveformat`) and whether their content is true.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol

from ledger import archiveformat as form
from ledger.archiveformat import GENESIS, MANIFEST, ListedFile, Manifest
from ledger.core.genesis import parse_genesis
from ledger.core.hashing import Digest
from ledger.errors import ConflictError, LedgerError, MalformedError, NotFoundError, UnavailableError
from ledger.limits import MANIFEST_BYTES_MAX, SEGMENT_BYTES_MAX
from ledger.verify.findings import BYTES, Finding, Gap
from ledger.verify.source import BrokenPart, NativeEntry, PieceData, StateEntry, read_or_note

STATE_ROWS = 8_192  # rows of one state file
NATIVE_COMMITS = 2_048  # native commits of one file, about 2 KiB each


class Files(Protocol):
    """The files of one export, by name; pickles, so that workers read for themselves."""

    def names(self) -> list[str]:
        """All files beside the manifest."""
        ...

    def size(self, name: str) -> int:
        """Bytes of a file; `NotFoundError`."""
        ...

    def read(self, name: str, bytes_max: int) -> bytes:
        """The bytes of a file of at most `bytes_max`; `NotFoundError`, `MalformedError`."""
        ...


@dataclass(frozen=True, slots=True)
class DirectoryFiles:
    """An export in a directory."""

    path: Path

    def names(self) -> list[str]:
        """See `Files`; links and odd files are named as they are, and never followed."""
        found: list[str] = []
        for folder, folders, files in os.walk(self.path):
            links = [name for name in folders if (Path(folder) / name).is_symlink()]
            found.extend((Path(folder) / name).relative_to(self.path).as_posix() for name in (*files, *links))
        return sorted(name for name in found if name != MANIFEST)

    def size(self, name: str) -> int:
        """See `Files`."""
        try:
            found = os.stat(self.path / name, follow_symlinks=False)  # noqa: PTH116 - pathlib follows in 3.11
        except OSError as error:
            raise NotFoundError("archive-file", "a file is missing", name=name, reason=error.strerror) from error
        if not stat.S_ISREG(found.st_mode):
            raise MalformedError("archive-file", "not a plain file", name=name)
        return found.st_size

    def read(self, name: str, bytes_max: int) -> bytes:
        """See `Files`."""
        if self.size(name) > bytes_max:
            raise MalformedError("archive-file", "too large", name=name, limit=bytes_max)
        # O_NOFOLLOW: what is a plain file in one moment must not be a link to elsewhere in the next.
        try:
            handle = os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise NotFoundError("archive-file", "cannot be opened", name=name, reason=error.strerror) from error
        with os.fdopen(handle, "rb") as file:
            data = file.read(bytes_max + 1)
        if len(data) > bytes_max:
            raise MalformedError("archive-file", "too large", name=name, limit=bytes_max)
        return data


@dataclass(frozen=True, slots=True)
class TarFiles:
    """An export in a tar: `members` are (offset, size) by name."""

    path: Path
    members: dict[str, tuple[int, int]]

    @staticmethod
    def open(path: Path) -> TarFiles:
        """Read all headers. Raises `MalformedError` for a tar that is not an export's, byte for byte."""
        members: dict[str, tuple[int, int]] = {}
        total = path.stat().st_size
        with path.open("rb") as file:
            at = 0
            while True:
                header = file.read(form.TAR_BLOCK)
                if header == bytes(form.TAR_BLOCK):
                    break
                if len(header) != form.TAR_BLOCK:
                    raise MalformedError("archive", "the tar is cut off", offset=at)
                try:
                    name, size = form.parse_tar_header(header)
                except MalformedError as error:
                    raise MalformedError(error.code, error.message, offset=at, **error.evidence) from None
                if name in members or MANIFEST in members:
                    raise MalformedError("archive", "a file stands twice, or behind the manifest", name=name)
                members[name] = (at + form.TAR_BLOCK, size)
                end = at + form.TAR_BLOCK + size
                file.seek(end)
                padding = -size % form.TAR_BLOCK
                empty = file.read(padding)
                if end + padding > total:
                    raise MalformedError("archive", "the tar is cut off", offset=total, name=name)
                if empty != bytes(padding):
                    raise MalformedError("archive", "the padding of a member is not empty", name=name)
                at = end + padding
            if file.read() != bytes(form.TAR_BLOCK) or at + len(form.TAR_END) != total:
                raise MalformedError("archive", "the tar does not end with two empty blocks", offset=at)
        return TarFiles(path, members)

    def names(self) -> list[str]:
        """See `Files`."""
        return sorted(name for name in self.members if name != MANIFEST)

    def size(self, name: str) -> int:
        """See `Files`."""
        if name not in self.members:
            raise NotFoundError("archive-file", "a file is missing", name=name)
        return self.members[name][1]

    def read(self, name: str, bytes_max: int) -> bytes:
        """See `Files`."""
        size = self.size(name)
        if size > bytes_max:
            raise MalformedError("archive-file", "too large", name=name, limit=bytes_max)
        with self.path.open("rb") as file:
            file.seek(self.members[name][0])
            return file.read(size)


def read_listed(files: Files, name: str, listed: ListedFile, bytes_max: int = SEGMENT_BYTES_MAX) -> bytes:
    """A file that is what the manifest says. Raises `MalformedError` (code `archive-file`), `NotFoundError`."""
    data = files.read(name, bytes_max)
    got = hashlib.sha256(data).hexdigest()
    if len(data) != listed.size or got != listed.sha256:
        raise MalformedError(
            "archive-file", "not the file that the manifest lists", name=name, expected=listed.sha256, got=got
        )
    return data


@dataclass(frozen=True, slots=True)
class ArchivePiece:
    """One segment with its certificates; see `ledger.verify.source.Piece`."""

    files: Files
    segment: str
    listed: ListedFile
    certificates: str | None = None
    certificates_listed: ListedFile | None = None

    @property
    def place(self) -> str:
        """The segment's name."""
        return self.segment

    def load(self) -> PieceData:
        """See `Piece`."""
        items = [self._items(name, listed) for name, listed in self._parts()]
        return PieceData(items[0], items[1] if len(items) > 1 else [])

    def salvage(self) -> tuple[PieceData, list[BrokenPart]]:
        """See `SalvageablePiece`: segment and certificates are two files, each damaged by itself."""
        broken: list[BrokenPart] = []
        items = [read_or_note(partial(self._items, name, listed), broken, name) or [] for name, listed in self._parts()]
        return PieceData(items[0], items[1] if len(items) > 1 else []), broken

    def _parts(self) -> list[tuple[str, ListedFile]]:
        """The segment, and its certificates where there are any."""
        parts = [(self.segment, self.listed)]
        if self.certificates is not None and self.certificates_listed is not None:
            parts.append((self.certificates, self.certificates_listed))
        return parts

    def _items(self, name: str, listed: ListedFile) -> list[bytes]:
        return form.unpack(read_listed(self.files, name, listed))


class ArchiveSource:
    """An export as an auditor's source. Opening raises `MalformedError` for a manifest that cannot be used."""

    is_live = False

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.files: Files = DirectoryFiles(path) if path.is_dir() else TarFiles.open(path)
        self.manifest: Manifest = form.parse_manifest(self.files.read(MANIFEST, MANIFEST_BYTES_MAX))

    def genesis(self) -> bytes:
        """See `LedgerSource`."""
        return read_listed(self.files, GENESIS, self.manifest.files[GENESIS])

    def bundle(self, digest: Digest) -> bytes:
        """See `LedgerSource`."""
        name = f"bundles/{digest.hex()}.json"
        if name not in self.manifest.files:
            raise NotFoundError("bundle", "the export holds no such bundle", digest=digest)
        return read_listed(self.files, name, self.manifest.files[name])

    def pieces(self) -> Iterator[ArchivePiece]:
        """See `LedgerSource`."""
        listed = self.manifest.files
        for name in self.manifest.numbered("segments"):
            notes = name.replace("segments", "certificates")
            found = listed.get(notes)
            yield ArchivePiece(self.files, name, listed[name], None if found is None else notes, found)

    def head(self) -> tuple[int, int] | None:
        """See `LedgerSource`."""
        return self.manifest.height, self.manifest.size

    def events_hint(self) -> int | None:
        """About how many leaves there are, for a progress bar."""
        return self.manifest.size

    def state(self) -> Iterable[StateEntry] | None:
        """See `LedgerSource`."""
        return self._rows() if self.manifest.numbered("state") else None

    def _rows(self) -> Iterator[StateEntry]:
        for name in self.manifest.numbered("state"):
            items = form.unpack(read_listed(self.files, name, self.manifest.files[name]))
            if len(items) % 2:
                raise MalformedError("archive", "a key without its value", name=name)
            yield from zip(items[::2], items[1::2], strict=True)

    def natives(self) -> Iterator[NativeEntry]:
        """See `LedgerSource`."""
        for name in self.manifest.numbered("native"):
            for item in form.unpack(read_listed(self.files, name, self.manifest.files[name])):
                yield form.parse_native(item)

    def inspect(self) -> Iterator[Finding | Gap]:
        """Files that the manifest does not list, listed ones that nothing above has read, and the manifest's origin."""
        origin = parse_genesis(self.genesis()).origin
        if origin != self.manifest.origin:
            yield Finding("manifest", BYTES, None, None, None, "origin", origin, self.manifest.origin, MANIFEST)
        for name in self.files.names():
            if name not in self.manifest.files:
                yield Finding("file-unlisted", BYTES, place=name)
        used = {GENESIS, *self.manifest.numbered("segments"), *self.manifest.numbered("certificates")}
        for name in self.manifest.files:
            if name in used:
                continue
            try:
                read_listed(self.files, name, self.manifest.files[name])
            except LedgerError as error:
                yield Finding("file-differs", BYTES, place=name, got=str(error))


# --- writing ---------------------------------------------------------------------------------------------------------


class ArchiveWriter:
    """Writes one export to `target`, a directory or, by its name, a `.tar`; call `add_*`, then `finish`, else `abandon`.

    Raises `ConflictError` where something is there already, `UnavailableError` when the disk refuses.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        if target.exists() and not (target.is_dir() and not any(target.iterdir()) and target.suffix != ".tar"):
            raise ConflictError("archive-exists", "the target exists and is not an empty directory", path=str(target))
        self._partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
        self._files: dict[str, ListedFile] = {}
        self._tar: BinaryIO | None = None
        try:
            if target.suffix == ".tar":
                self._tar = self._partial.open("xb")
            else:
                self._partial.mkdir(parents=True)
        except OSError as error:
            raise _disk(error, self._target) from error

    def add(self, name: str, data: bytes) -> None:
        """Add a file."""
        self._write(name, data)
        self._files[name] = ListedFile(len(data), hashlib.sha256(data).hexdigest())

    def finish(self, origin: str, height: int, size: int) -> Manifest:
        """Write the manifest and put the export in its place; durable on return."""
        manifest = Manifest(origin, height, size, self._files)
        self._write(MANIFEST, form.encode_manifest(manifest))
        try:
            if self._tar is not None:
                self._tar.write(form.TAR_END)
                self._tar.flush()
                os.fsync(self._tar.fileno())
                self._tar.close()
            else:
                for folder in {(self._partial / name).parent for name in self._files} | {self._partial}:
                    _sync_directory(folder)
            os.rename(self._partial, self._target)  # noqa: PTH104 - onto an empty directory, which Path.rename documents less
            _sync_directory(self._target.parent)
        except OSError as error:
            raise _disk(error, self._target) from error
        return manifest

    def abandon(self) -> None:
        """Remove what was written; idempotent, and harmless after `finish`."""
        if self._tar is not None:
            self._tar.close()
            self._partial.unlink(missing_ok=True)
        else:
            shutil.rmtree(self._partial, ignore_errors=True)

    def _write(self, name: str, data: bytes) -> None:
        try:
            if self._tar is not None:
                self._tar.write(form.tar_header(name, len(data)) + data + bytes(-len(data) % form.TAR_BLOCK))
                return
            path = self._partial / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _disk(error, self._target) from error


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _disk(error: OSError, path: Path) -> LedgerError:
    return UnavailableError("archive-write", "the export cannot be written", path=str(path), reason=error.strerror)
