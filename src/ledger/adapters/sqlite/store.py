"""The durable store: one ledger, one SQLite file, one transaction a block.

Rules: WAL with synchronous=FULL, so what `write` returned for survives power loss; one process writes (an OS lock); after
any failed write the store is unusable until it is opened again, because what is on disk is then unknown.
Not here: answers to readers (`reader`), and whether the blocks are right (`load` for the head, the verifier for all).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from ledger.adapters.sqlite import load, query, schema
from ledger.adapters.sqlite.blocks import BlockReader, BlockWriter
from ledger.adapters.sqlite.buckets import StoredMap, load_map
from ledger.adapters.sqlite.checkpoint import Checkpointer
from ledger.adapters.sqlite.erasure import plan_erasure
from ledger.adapters.sqlite.events import EventIndex, make_secret
from ledger.adapters.sqlite.faults import damaged, storage_error, translated
from ledger.adapters.sqlite.frames import Compressor
from ledger.adapters.sqlite.leaves import LeafReader
from ledger.adapters.sqlite.lock import DataDirLock
from ledger.adapters.sqlite.state import StateTables
from ledger.adapters.sqlite.tiles import TileWriter
from ledger.core.bundle import bundle_hash, parse_bundle
from ledger.core.hashing import Digest, sha256
from ledger.core.leaf import Stream
from ledger.core.maptree import MapTree
from ledger.errors import ConflictError, LedgerError, NotFoundError, UnavailableError, invariant
from ledger.limits import INT_MAX
from ledger.machine.block import Head, Sealed, StateRow

_ENGINE_HEIGHT = "engine-height"


class SqliteStore:
    """The `Store` port on a file. Single-threaded; the thread that uses it may differ from the one that made it."""

    def __init__(self, path: Path, lock: DataDirLock) -> None:
        self._lock = lock
        self._usable = True
        self._quiet_until = 0  # unix ms: no timer is due before; 0 when that is unknown
        self._loaded: StoredMap | None = None
        self._connection = schema.connect_writer(path)
        try:
            with translated("bringing the schema up to date"):
                schema.migrate(self._connection)
                if self._connection.execute("SELECT count(*) FROM meta").fetchone()[0] == 0:
                    make_secret(self._connection)
            self._open_tables()
            self._checkpointer = Checkpointer(path)
        except BaseException:
            self._connection.close()
            raise

    @classmethod
    def create(cls, path: Path) -> SqliteStore:
        """A new, empty store; `ConflictError` where a file stands already."""
        if path.exists():
            raise ConflictError("store-exists", "a ledger is stored here already", path=str(path))
        return cls._locked(path)

    @classmethod
    def open(cls, path: Path) -> SqliteStore:
        """An existing store; `NotFoundError` where there is none, `UnavailableError` where another process writes it."""
        if not path.is_file():
            raise NotFoundError("store", "no ledger is stored here", path=str(path))
        return cls._locked(path)

    @classmethod
    def _locked(cls, path: Path) -> SqliteStore:
        lock = DataDirLock(path.parent)
        try:
            return cls(path, lock)
        except BaseException:
            lock.close()
            raise

    def _open_tables(self) -> None:
        connection = self._connection
        with translated("reading the store"):
            self._block_reader = BlockReader(connection)
            self._leaf_reader = LeafReader(connection, self._block_reader)
            self._blocks = BlockWriter(connection)
            self._events = EventIndex(connection, self._leaf_reader.read_leaves)
            self._state = StateTables(connection)
            self._tiles = TileWriter(connection)
            row = connection.execute("SELECT max(height) FROM blocks").fetchone()
            self._height = -1 if row[0] is None else int(row[0])

    # --- reading -----------------------------------------------------------------------------------------------------

    def load_head(self) -> Head | None:
        """See `Store`."""
        with self._reading("loading the head"):
            found = load.load_head(self._connection, self._block_reader)
        if found is None:
            return None
        head, self._loaded = found
        return head

    def load_tree(self) -> MapTree:
        """See `Store`. The tree that `load_head` has just built and checked is not built again."""
        loaded, self._loaded = self._loaded, None
        if loaded is None:
            with self._reading("loading the state map"):
                loaded = load_map(self._connection)
        self._state.check_against(loaded)
        return loaded.tree

    def genesis(self) -> bytes:
        """See `Store`."""
        with self._reading("reading the genesis"):
            return load.read_genesis(self._connection)

    def bundle(self, digest: Digest) -> bytes:
        """See `Store`."""
        with self._reading("reading a bundle"):
            return load.read_bundle(self._connection, digest)

    def read_objects(self, keys: Collection[str]) -> dict[str, bytes]:
        """See `Store`."""
        with self._reading("reading state"):
            return self._state.read_objects(keys)

    def due_timers(self, time: int, count_max: int) -> list[tuple[int, str]]:
        """See `Store`. Asked several times for each block, mostly before anything is due."""
        if time < self._quiet_until:
            return []
        with self._reading("reading timers"):
            rows = query.rows(
                self._connection,
                "SELECT due, key FROM timers WHERE due <= ? ORDER BY due, key LIMIT ?",
                (time, count_max),
                (int, str),
            )
            found = [(due, key) for due, key in rows]
        if not found:
            next_due = self.next_due()
            self._quiet_until = INT_MAX if next_due is None else next_due
        return found

    def next_due(self) -> int | None:
        """See `Store`."""
        with self._reading("reading timers"):
            due = self._connection.execute("SELECT min(due) FROM timers").fetchone()[0]
            return None if due is None else int(due)

    def find_events(self, ids: Collection[tuple[str, str]]) -> dict[tuple[str, str], list[Digest]]:
        """See `Store`."""
        with self._reading("looking up events"):
            return self._events.find(ids)

    def missing_streams(self, streams: Collection[Stream]) -> set[Stream]:
        """See `Store`."""
        with self._reading("looking up streams"):
            return self._state.missing_streams(streams)

    def read_rows(self, keys: Sequence[bytes]) -> dict[bytes, StateRow]:
        """See `Store`."""
        with self._reading("reading state"):
            return self._state.read_rows(keys)

    def read_buckets(self, indexes: Sequence[int]) -> Sequence[bytes]:
        """See `Store`."""
        with self._reading("reading buckets"):
            return self._state.read_buckets(indexes)

    # --- writing -----------------------------------------------------------------------------------------------------

    def write_genesis(self, genesis: bytes, bundles: Mapping[Digest, bytes], sealed: Sealed, note: bytes) -> None:
        """See `Store`."""
        self._check_usable()
        invariant(self._height == -1 and sealed.height == 0, "genesis goes into an empty store")

        def statements() -> None:
            self._connection.execute("INSERT INTO meta VALUES ('genesis', ?)", (genesis,))
            self._connection.executemany("INSERT INTO bundles VALUES (?, ?)", bundles.items())
            self._write_block(sealed, note)

        self._transaction("writing the genesis", statements)
        self._height = 0

    def write(
        self,
        sealed: Sealed,
        note: bytes,
        certificates: Sequence[tuple[int, bytes]] = (),
        engine_height: int | None = None,
    ) -> None:
        """See `Store`."""
        self._check_usable()
        invariant(self._height >= 0 and sealed.height == self._height + 1, "a block follows the last one")

        def statements() -> None:
            self._write_block(sealed, note)
            self._put_certificates(certificates)
            if engine_height is not None:
                self._put_engine_height(engine_height)

        self._transaction("writing a block", statements)
        self._height = sealed.height
        self._loaded = None

    def write_certificates(self, certificates: Sequence[tuple[int, bytes]]) -> None:
        """See `Store`."""
        self._check_usable()
        self._transaction("writing certificates", lambda: self._put_certificates(certificates))

    def write_native(self, size: int, data: bytes) -> None:
        """See `Store`."""
        self._check_usable()
        row = (size, Compressor().single(data))
        statement = "INSERT OR REPLACE INTO native VALUES (?, ?)"
        self._transaction("writing a native commit", lambda: self._connection.execute(statement, row))

    def engine_height(self) -> int:
        """See `Store`."""
        with self._reading("reading the engine's height"):
            packed = query.value(self._connection, "SELECT value FROM meta WHERE name=?", (_ENGINE_HEIGHT,), bytes)
        if packed is None:
            return 0
        height = int.from_bytes(packed[:8], "big")
        if packed != _pack_height(height):
            raise damaged("engine-height", got=packed)
        return height

    def write_engine_height(self, height: int) -> None:
        """See `Store`."""
        self._check_usable()
        self._transaction("writing the engine's height", lambda: self._put_engine_height(height))

    def _put_engine_height(self, height: int) -> None:
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_ENGINE_HEIGHT, _pack_height(height)))

    def _put_certificates(self, certificates: Sequence[tuple[int, bytes]]) -> None:
        frame = Compressor().single
        rows = [(size, frame(note)) for size, note in certificates]
        if rows:
            self._connection.executemany("INSERT OR REPLACE INTO certificates VALUES (?, ?)", rows)

    def erase_bodies(self, seqs: Collection[int]) -> int:
        """Erase the bodies of records for ever (see `erasure`); how many there were. Not part of the `Store` port.

        Raises `NotFoundError` where a log index is no record, with nothing erased.
        """
        with self._reading("looking up bodies"):
            erasure = plan_erasure(self._connection, self._block_reader, seqs)
            self._connection.execute("PRAGMA secure_delete=ON")
        self._transaction("erasing bodies", lambda: erasure.write(self._connection))
        self._connection.execute("PRAGMA secure_delete=OFF")
        with suppress(sqlite3.Error):
            # The log still holds the old pages until it is moved and cut; readers may delay that.
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return len(erasure.events)

    @property
    def upkeep_failure(self) -> LedgerError | None:
        """Why the last attempt to move the log into the file failed; None when it did not. What was written is safe, but
        the log grows until an attempt succeeds. Any thread may ask."""
        return self._checkpointer.failure

    def close(self) -> None:
        """See `Store`."""
        self._checkpointer.close()
        if self._usable:
            # With readers still open SQLite would leave everything in the log beside the file.
            with suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        self._usable = False
        self._connection.close()
        self._lock.close()

    def _write_block(self, sealed: Sealed, note: bytes) -> None:
        self._blocks.write(sealed, note)
        for data in sealed.decision.block.attachments:
            digest = bundle_hash(parse_bundle(data))
            self._connection.execute("INSERT OR IGNORE INTO bundles VALUES (?, ?)", (digest, data))
        self._tiles.append_log(sealed.header.first_seq, sealed.leaf_hashes)
        self._events.write(sealed)
        self._state.write(sealed)
        self._write_timers(sealed)

    def _write_timers(self, sealed: Sealed) -> None:
        last: dict[str, int | None] = {}
        for item in sealed.decision.items:
            if item.timer_key:
                last[item.timer_key] = None  # it fired; its handler may set it again
            last.update(item.timers)
        if last:
            cleared = [(key,) for key, due in last.items() if due is None]
            self._connection.executemany("DELETE FROM timers WHERE key=?", cleared)
            armed = [(key, due) for key, due in last.items() if due is not None]
            self._quiet_until = min([self._quiet_until, *(due for _, due in armed)])
            self._connection.executemany("INSERT OR REPLACE INTO timers VALUES (?, ?)", armed)

    def _transaction(self, what: str, statements: Callable[[], object]) -> None:
        """Run `statements` in one transaction, durable on return; any failure makes the store unusable."""
        try:
            # IMMEDIATE: a second writer is met here, before anything is computed for nothing.
            self._connection.execute("BEGIN IMMEDIATE")
            statements()
            self._connection.execute("COMMIT")
            self._checkpointer.committed()
        except BaseException as error:
            self._fail()
            if isinstance(error, sqlite3.Error):
                raise storage_error(error, what) from error
            raise

    def _fail(self) -> None:
        """Whether the transaction happened is unknown: nothing that is cached may be served again."""
        self._usable = False
        with suppress(sqlite3.Error):
            self._connection.rollback()

    def _reading(self, what: str) -> AbstractContextManager[None]:
        self._check_usable()
        return translated(what)

    def _check_usable(self) -> None:
        if not self._usable:
            raise UnavailableError("store-closed", "the store was closed or a write failed; open it again")


def _pack_height(height: int) -> bytes:
    """u64 and the first bytes of its hash: a flipped byte would have the engine replay or skip blocks."""
    number = height.to_bytes(8, "big")
    return number + sha256(number)[:8]
