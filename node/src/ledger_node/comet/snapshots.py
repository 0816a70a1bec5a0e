"""Takes snapshots of the state at round heights, beside everything else, and hands their chunks out (SPEC R-N70 to R-N73).

Rules: the heights are the same on every node, multiples of `snapshots_every`; the read transaction begins on the engine's
thread right after the height was written, so that it shows just that state, and the rest happens on a thread of its own.
A snapshot that cannot be taken, for want of disk or because the one before is not finished, is left out and logged.
Not here: the files (see `ledger.adapters.ordering.snapshots`), and joining by them (see `statesync`).
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import ExitStack
from pathlib import Path

import structlog

from ledger.adapters.ordering.snapshots import StateSnapshots
from ledger.adapters.sqlite.reader import Snapshot, SqliteReader
from ledger.errors import LedgerError
from ledger.limits import SNAPSHOT_CHUNKS_MAX
from ledger.snapshotformat import FORMAT
from ledger_node.comet import abci_pb2 as pb

CLOSE_S = 10.0


class SnapshotTaker:
    """Takes and serves the snapshots of one node; `every` 0 takes none. `after` is called on the engine's thread."""

    def __init__(self, data_dir: Path, reader: SqliteReader, every: int) -> None:
        self._files, self._reader, self._every = StateSnapshots(data_dir), reader, every
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._log = structlog.get_logger("snapshots")
        self.oldest = self._oldest()
        """The lowest height of a snapshot that is offered, 0 for none: CometBFT keeps its blocks from there on."""

    def after(self, height: int) -> None:
        """CometBFT's `height` was written: the moment to begin with its snapshot, where it is one's turn."""
        if not self._every or height % self._every or self._stop.is_set():
            return
        if self._thread is not None and self._thread.is_alive():
            self._log.info("snapshot.skipped", height=height, reason="the one before is not finished")
            return
        held = ExitStack()
        try:
            snap = held.enter_context(self._reader.snapshot())
        except LedgerError as error:
            self._log.warning("snapshot.skipped", height=height, reason=str(error))
            return
        if snap.head_height < 1:
            held.close()
            return  # nothing but the genesis, which everybody has
        self._thread = threading.Thread(target=self._take, args=(height, snap, held), name="snapshot", daemon=True)
        self._thread.start()

    def _take(self, height: int, snap: Snapshot, held: ExitStack) -> None:
        try:
            with held:
                made = self._files.write(height, snap, self._stop.is_set)
            self.oldest = self._oldest()
        except (OSError, LedgerError, sqlite3.Error) as error:
            self._log.warning("snapshot.skipped", height=height, reason=str(error))
            return
        except Exception:  # noqa: BLE001 - a defect of ours: the next height has its own turn
            self._log.exception("snapshot.failed", height=height)
            return
        if made is not None:
            self._log.info("snapshot.taken", height=height, size=made.size, chunks=len(made.chunks))

    def close(self) -> None:
        """Give up what is under way."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(CLOSE_S)

    def _oldest(self) -> int:
        return min(self._files.heights(), default=0)

    def list(self) -> pb.ResponseListSnapshots:
        """What is offered to nodes that join, the newest first."""
        return pb.ResponseListSnapshots(
            snapshots=[
                pb.Snapshot(
                    height=height,
                    format=FORMAT,
                    chunks=len(manifest.chunks),
                    hash=manifest.hash,
                    metadata=manifest.encode(),
                )
                for height, manifest in self._files.listed()
            ]
        )

    def load(self, request: pb.RequestLoadSnapshotChunk) -> pb.ResponseLoadSnapshotChunk:
        """One chunk; none of a snapshot that is not here, or is no more."""
        wanted = request.format == FORMAT and request.chunk < SNAPSHOT_CHUNKS_MAX
        return pb.ResponseLoadSnapshotChunk(chunk=self._files.chunk(request.height, request.chunk) if wanted else b"")
