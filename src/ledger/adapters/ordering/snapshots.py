"""Keeps snapshots of the state as files, which CometBFT hands to nodes that join (SPEC R-N70 to R-N73).

    snapshots/1200/manifest   what `snapshotformat.Manifest` encodes; 1200 is CometBFT's height
    snapshots/1200/0          the first chunk, and so on

Rules: one snapshot is made from one read transaction, beside the node's work and slower than that; it appears whole, by one
rename, or not at all. The newest stay and are offered; an older one that somebody fetches stays until it was not asked for
in a while, or whoever fetches would have to begin again. What cannot be written is left out: a snapshot is a service to
others, and no node needs its own. Not here: when one is taken, and what a node does with one (see `restoring`).
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ledger import snapshotformat
from ledger.core.hashing import Digest, sha256
from ledger.errors import MalformedError, UnavailableError
from ledger.limits import (
    SNAPSHOT_CHUNK_BYTES_MAX,
    SNAPSHOT_CHUNKS_MAX,
    SNAPSHOT_METADATA_BYTES_MAX,
    SNAPSHOTS_FETCHED_MAX,
    SNAPSHOTS_KEPT,
    SNAPSHOTS_LISTED_MAX,
)
from ledger.snapshotformat import Manifest, Row

if TYPE_CHECKING:
    from ledger.adapters.sqlite.snapshot import Snapshot

FOLDER: Final = "snapshots"
MANIFEST: Final = "manifest"
_PART: Final = ".part"
PAGE_ROWS: Final = 256
PAUSE_S: Final = 0.004
"""Between two pages: about as long as one takes, so that blocks get at least every other moment."""
FETCHED_S: Final = 600.0
"""So long after its last chunk was asked for, a snapshot is still being fetched."""


class StateSnapshots:
    """The snapshots in a data directory. One thread writes at a time; any thread reads."""

    def __init__(self, data_dir: Path, kept: int = SNAPSHOTS_KEPT) -> None:
        self._folder, self._kept = data_dir / FOLDER, kept
        self._asked: dict[int, float] = {}  # height: when a chunk of it was last asked for

    def write(self, height: int, snap: Snapshot, stopped: Callable[[], bool] = lambda: False) -> Manifest | None:
        """Write the snapshot of the state in `snap`, the one after CometBFT's `height`; older ones beyond the bound go.

        None where `stopped` says so meanwhile. Raises `OSError` where the disk does not take it, with nothing left of it.
        """
        made = self._folder / f"{height}{_PART}"
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir(mode=0o700)
            hashes: list[Digest] = []
            for number, chunk in enumerate(snapshotformat.encode_chunks(_rows(snap, stopped))):
                _write(made / str(number), chunk)
                hashes.append(sha256(chunk))
            if stopped() or len(hashes) > SNAPSHOT_CHUNKS_MAX:
                return None
            size = snap.head_size
            manifest = Manifest(snap.head_height, size, snap.root_at(size), tuple(hashes))
            _write(made / MANIFEST, manifest.encode())
            shutil.rmtree(self._folder / str(height), ignore_errors=True)
            made.rename(self._folder / str(height))
        finally:
            shutil.rmtree(made, ignore_errors=True)
        self._drop()
        return manifest

    def _drop(self) -> None:
        """Remove what is neither among the newest nor being fetched."""
        since = time.monotonic() - FETCHED_S
        older = self.heights()[self._kept :]
        fetched = [height for height in older if self._asked.get(height, since) > since][:SNAPSHOTS_FETCHED_MAX]
        for height in older:
            if height not in fetched:
                shutil.rmtree(self._folder / str(height), ignore_errors=True)
                self._asked.pop(height, None)

    def heights(self) -> list[int]:
        """CometBFT's heights of the snapshots that are there, the newest first."""
        names = [path.name for path in self._folder.iterdir()] if self._folder.is_dir() else []
        found = [int(name) for name in names if name.isascii() and name.isdecimal()]
        return sorted(found, reverse=True)[:SNAPSHOTS_LISTED_MAX]

    def listed(self) -> list[tuple[int, Manifest]]:
        """CometBFT's height and the manifest of each of the newest snapshots that can be read, the newest first."""
        found: list[tuple[int, Manifest]] = []
        for height in self.heights()[: self._kept]:
            with suppress(OSError, MalformedError):
                data = _read(self._folder / str(height) / MANIFEST, SNAPSHOT_METADATA_BYTES_MAX)
                found.append((height, snapshotformat.parse_manifest(data)))
        return found

    def chunk(self, height: int, number: int) -> bytes:
        """A chunk, b"" where there is none: whoever asked for it asks somebody else then."""
        try:
            found = _read(self._folder / str(height) / str(number), SNAPSHOT_CHUNK_BYTES_MAX)
        except OSError:
            return b""
        self._asked[height] = time.monotonic()
        return found


class ChunkFiles:
    """Chunks of one snapshot that is being fetched, in a folder of their own."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._folder, self.manifest = folder, manifest
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)

    def put(self, number: int, chunk: bytes) -> bool:
        """Keep a chunk; False, with nothing kept, for one that is not what the manifest names."""
        hashes = self.manifest.chunks
        if not 0 <= number < len(hashes) or sha256(chunk) != hashes[number]:
            return False
        _write(self._folder / str(number), chunk)
        return True

    def rows(self) -> Iterator[Row]:
        """All rows by ascending key. Raises `MalformedError` (code `snapshot`), `UnavailableError` for a missing chunk."""
        last = b""
        for number, expected in enumerate(self.manifest.chunks):
            try:
                chunk = _read(self._folder / str(number), SNAPSHOT_CHUNK_BYTES_MAX)
            except OSError as error:
                raise UnavailableError("snapshot-chunk", "a chunk is not here", number=number) from error
            if sha256(chunk) != expected:
                raise UnavailableError("snapshot-chunk", "a chunk changed on the disk", number=number)
            rows = snapshotformat.parse_chunk(chunk, last)
            yield from rows
            last = rows[-1][0]

    def clear(self) -> None:
        """Remove them."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _rows(snap: Snapshot, stopped: Callable[[], bool]) -> Iterator[Row]:
    after: bytes | None = None
    while not stopped():
        page = snap.rows_with_prefix(b"", after, PAGE_ROWS)
        yield from ((key, row.value) for key, row in page)
        if len(page) < PAGE_ROWS:
            return
        after = page[-1][0]
        time.sleep(PAUSE_S)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path, bytes_max: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(bytes_max + 1)
    return data if len(data) <= bytes_max else b""
