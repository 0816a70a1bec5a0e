"""The auditor's state while it recomputes a ledger: a temporary SQLite file under write-back caches of bounded size.

Rules: nothing here outlives the audit, so nothing is synced, and a crash costs only the run. Rows that are touched again
and again stay in memory and reach the file when they cool down; memory does not grow with the ledger, but for the map's
tree (150 bytes a bucket, which is some 16 keys). Not here: what the state means (see `ledger.verify.scratch`), the index
of events (see `eventindex`).
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from ledger.adapters.audit.eventindex import SCHEMA as EVENTS_SCHEMA
from ledger.adapters.audit.eventindex import EventIndex
from ledger.adapters.runtime.memory import give_back
from ledger.core.hashing import DIGEST_BYTES, Digest
from ledger.core.leaf import Stream
from ledger.core.mapkeys import stream_key
from ledger.core.maptree import MapTree
from ledger.errors import UnavailableError
from ledger.machine.block import Decision, Item, Sealed, StateRow
from ledger.verify.scratch import EventEntry

K = TypeVar("K")
V = TypeVar("V")

CACHE_BYTES = 6 * 1024 * 1024  # of each of the two generations of one kind; eight times as much saves hardly a query
PAGES_BYTES = 8 * 1024 * 1024  # that SQLite keeps of its file
ENTRY_BYTES = 250  # what Python adds to the bytes of an entry
SELECT_MAX = 500  # keys of one query

_SCHEMA = f"""
CREATE TABLE rows (key BLOB PRIMARY KEY, value BLOB NOT NULL, range BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE objects (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE buckets (key INTEGER PRIMARY KEY, value BLOB NOT NULL);
{EVENTS_SCHEMA}
CREATE TABLE timers (key TEXT PRIMARY KEY, due INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX timers_due ON timers (due, key);
"""


class WriteBack(Generic[K, V]):
    """Entries by key: the recently used in memory, the others in one table.

    Two generations: what is used moves to the young one; when that is full the old one is written out and dropped.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        table: str,
        columns: int,
        to_row: Callable[[V], tuple[Any, ...]],
        from_row: Callable[..., V],
        cost: Callable[[V], int],
        cache_bytes: int,
    ) -> None:
        self._connection, self._to_row, self._from_row, self._cost = connection, to_row, from_row, cost
        self._bytes_max = cache_bytes
        marks = ", ".join("?" * (columns + 1))
        self._insert = f"INSERT OR REPLACE INTO {table} VALUES ({marks})"  # noqa: S608 - names of our own
        self._select = f"SELECT * FROM {table} WHERE key IN "  # noqa: S608
        self._all = f"SELECT * FROM {table}"  # noqa: S608
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._dirty: set[K] = set()
        self._bytes = 0
        self.spilled = False

    def memory_bytes(self) -> int:
        """About what is held in memory: at most twice the size of the cache, and one block's entries."""
        cost = self._cost
        return sum(cost(value) for generation in (self._young, self._old) for value in generation.values())

    def get_many(self, keys: Collection[K]) -> dict[K, V]:
        """The entries of those keys that have one."""
        young, old = self._young, self._old
        found: dict[K, V] = {}
        missing: list[K] = []
        for key in keys:
            value = young.get(key)
            if value is None:
                value = old.get(key)
                if value is None:
                    missing.append(key)
                    continue
                young[key] = value
                self._bytes += self._cost(value)
            found[key] = value
        if missing and self.spilled:
            self._load(missing, found)
        return found

    def put_many(self, entries: Iterable[tuple[K, V]]) -> None:
        """Set entries."""
        young, dirty, cost = self._young, self._dirty, self._cost
        for key, value in entries:
            if key not in young:
                self._bytes += cost(value)
            young[key] = value
            dirty.add(key)

    def tidy(self) -> None:
        """Write out what was not used lately, where there is more than may be kept: after each block."""
        if self._bytes > self._bytes_max:
            self._turn()

    def entries(self) -> Iterator[tuple[K, V]]:
        """All entries, in no order; nothing may be set meanwhile."""
        young, old = self._young, self._old
        yield from young.items()
        yield from ((key, value) for key, value in old.items() if key not in young)
        if self.spilled:
            for key, *columns in self._connection.execute(self._all):
                if key not in young and key not in old:
                    yield key, self._from_row(*columns)

    def _load(self, missing: list[K], found: dict[K, V]) -> None:
        for first in range(0, len(missing), SELECT_MAX):
            wanted = missing[first : first + SELECT_MAX]
            marks = ",".join("?" * len(wanted))
            for key, *columns in self._connection.execute(f"{self._select}({marks})", wanted):
                value = self._from_row(*columns)
                found[key] = self._young[key] = value
                self._bytes += self._cost(value)

    def _turn(self) -> None:
        """Begin a new generation."""
        young, dirty = self._young, self._dirty
        cold = {key: value for key, value in self._old.items() if key in dirty and key not in young}
        if cold:
            to_row = self._to_row
            self._connection.executemany(self._insert, [(key, *to_row(value)) for key, value in cold.items()])
            dirty.difference_update(cold)
            self.spilled = True
        self._old, self._young, self._bytes = young, {}, 0


class ScratchState:
    """`ledger.verify.scratch.Scratch` on a temporary file in `directory`; use it as a context manager."""

    def __init__(self, directory: Path | None = None, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ledger-verify-", dir=directory)
        try:
            self._db = sqlite3.connect(Path(self._folder.name) / "scratch.sqlite", isolation_level=None)
            pages = f"cache_size=-{PAGES_BYTES // 1024}"
            for pragma in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", pages):
                self._db.execute(f"PRAGMA {pragma}")
            self._db.executescript(_SCHEMA)
            self._db.execute("BEGIN")
        except sqlite3.Error as error:
            self._folder.cleanup()
            raise UnavailableError("scratch", "no temporary database could be made", reason=str(error)) from error
        self._cache_bytes = cache_bytes
        self._begin()

    def _begin(self) -> None:
        """Caches over empty tables."""
        cache_bytes = self._cache_bytes
        self._rows: WriteBack[bytes, StateRow] = WriteBack(
            self._db, "rows", 2, lambda row: (row.value, row.range), StateRow, _row_cost, cache_bytes
        )
        self._objects: WriteBack[str, bytes] = WriteBack(
            self._db, "objects", 1, lambda value: (value,), lambda value: value, _bytes_cost, cache_bytes
        )
        self._buckets: WriteBack[int, bytes] = WriteBack(
            self._db, "buckets", 1, lambda value: (value,), lambda value: value, _bytes_cost, cache_bytes
        )
        self._events = EventIndex(self._db, cache_bytes)
        self._unsealed: list[Item] = []  # decided since the last seal
        self._timers = 0
        self._rows_total = 0
        self.tree = MapTree.empty()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the temporary file."""
        self.close()

    def close(self) -> None:
        """Remove the temporary file; idempotent."""
        self._db.close()
        self._folder.cleanup()

    # --- reading -----------------------------------------------------------------------------------------------------

    def read_objects(self, keys: Collection[str]) -> dict[str, bytes]:
        """See `DecideView`."""
        return {key: value for key, value in self._objects.get_many(keys).items() if value}

    def due_timers(self, time: int, count_max: int) -> list[tuple[int, str]]:
        """See `DecideView`."""
        if not self._timers:
            return []
        return self._db.execute(
            "SELECT due, key FROM timers WHERE due <= ? ORDER BY due, key LIMIT ?", (time, count_max)
        ).fetchall()

    def find_events(self, ids: Collection[tuple[str, str]]) -> dict[tuple[str, str], list[Digest]]:
        """See `DecideView`."""
        return {
            name: [Digest(value[at : at + DIGEST_BYTES]) for at in range(0, len(value), DIGEST_BYTES)]
            for name, value in self._events.find(ids).items()
        }

    def missing_streams(self, streams: Collection[Stream]) -> set[Stream]:
        """See `DecideView`."""
        keys = {stream_key(kind, name, False): (kind, name) for kind, name in streams}
        found = self._rows.get_many(keys)
        missing = {stream for key, stream in keys.items() if key not in found}
        return missing - self._joining(missing) if missing and self._unsealed else missing

    def _joining(self, missing: set[Stream]) -> set[Stream]:
        """Those of the streams that a block which is decided and not yet sealed opens."""
        joining: set[Stream] = set()
        for item in self._unsealed:
            if not item.refused_streams and not missing.isdisjoint(item.streams):
                joining.update(item.streams)
            if item.extra_streams:
                joining.update(item.extra_streams)
        return joining

    def read_rows(self, keys: Sequence[bytes]) -> dict[bytes, StateRow]:
        """See `SealView`."""
        found = self._rows.get_many(keys)
        self._rows.tidy()
        return found

    def read_buckets(self, indexes: Sequence[int]) -> Sequence[bytes]:
        """See `SealView`."""
        found = self._buckets.get_many(indexes)
        return [found.get(index, b"") for index in indexes]

    def map_size(self) -> int:
        """See `Scratch`."""
        return self._rows_total

    def memory_bytes(self) -> int:
        """About what the caches hold: bounded, whatever the length of the ledger."""
        caches = (self._rows, self._objects, self._buckets, self._events)
        return sum(cache.memory_bytes() for cache in caches)

    def entries(self) -> tuple[Iterator[tuple[bytes, StateRow]], Iterator[tuple[int, bytes]]]:
        """All rows and all buckets, in no order; nothing may be written while they are read."""
        return self._rows.entries(), self._buckets.entries()

    # --- writing -----------------------------------------------------------------------------------------------------

    def decided(self, decision: Decision) -> None:
        """See `Scratch`."""
        # The rules wait for this: what only saves memory is done when the block is sealed, while they run on the next one.
        objects: dict[str, bytes] = {}
        timers: dict[str, int | None] = {}
        events: list[EventEntry] = []
        for item in decision.items:
            if item.timer_key:
                timers[item.timer_key] = None
            if item.writes:
                objects.update(item.writes)
            if item.timers:
                timers.update(item.timers)
            event = item.event
            if event is not None:
                events.append((item.member, event.fields["id"], event.hash))
        self._unsealed.extend(decision.items)
        self._objects.put_many(objects.items())
        self._set_timers(timers)
        self._events.add(events)

    def sealed(self, sealed: Sealed) -> None:
        """See `Scratch`."""
        self._rows.put_many(sealed.rows.items())
        self._buckets.put_many(sealed.buckets.items())
        self._rows_total = sealed.header.state_keys
        self._unsealed = []
        self._tidy()

    def add_events(self, events: Iterable[EventEntry]) -> None:
        """See `Scratch`."""
        self._events.add(events)
        self._tidy_events()

    def write_rows(self, rows: dict[bytes, StateRow]) -> None:
        """See `Scratch`."""
        self._rows.put_many(rows.items())
        self._rows.tidy()

    def clear(self) -> None:
        """See `Scratch`."""
        for table in ("rows", "objects", "buckets", "events", "timers"):
            self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - names of our own
        self._begin()

    def write_buckets(self, buckets: Mapping[int, bytes]) -> None:
        """See `Scratch`."""
        self._buckets.put_many(buckets.items())
        self._buckets.tidy()

    def write_objects(self, objects: Mapping[str, bytes], timers: Mapping[str, int | None]) -> None:
        """See `Scratch`."""
        self._objects.put_many(objects.items())
        self._objects.tidy()
        self._set_timers(dict(timers))

    def write_tree(self, tree: MapTree, rows: int) -> None:
        """See `Scratch`."""
        self.tree, self._rows_total = tree, rows

    def _tidy(self) -> None:
        self._rows.tidy()
        self._objects.tidy()
        self._buckets.tidy()
        self._tidy_events()

    def _tidy_events(self) -> None:
        if self._events.tidy():
            give_back()  # every ten or twenty thousand events: else what is kept lies thinly among what was freed

    def _set_timers(self, timers: dict[str, int | None]) -> None:
        if not timers:
            return
        cleared = [(key,) for key, due in timers.items() if due is None]
        if cleared:
            self._db.executemany("DELETE FROM timers WHERE key = ?", cleared)
        armed = [(key, due) for key, due in timers.items() if due is not None]
        if armed:
            self._timers += len(armed)
            self._db.executemany("INSERT OR REPLACE INTO timers VALUES (?, ?)", armed)


def _row_cost(row: StateRow) -> int:
    # A stream's row keeps its value and its compact range in parsed form too, an object for each hash.
    return 2 * len(row.value) + 4 * len(row.range) + 4 * ENTRY_BYTES


def _bytes_cost(value: bytes) -> int:
    return len(value) + ENTRY_BYTES
