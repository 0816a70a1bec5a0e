"""State rows and buckets on disk, behind bounded caches that are written through.

Rules: a key gets a number when it is first written and keeps it; a key stands once, in `names`, its packed value under the
number in `state`. A row read from disk is checked against its bucket, and a bucket, when it is sealed, against the tree in
memory. Caches hold what the last committed block left; after a failed write nobody asks them again. Not here: sealing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from typing import Final

from ledger.adapters.sqlite.cache import Cache
from ledger.adapters.sqlite.faults import damaged
from ledger.adapters.sqlite.load import check_row
from ledger.adapters.sqlite.packing import pack_row, unpack_row
from ledger.adapters.sqlite.query import select_in
from ledger.core.buckets import bucket_index, bucket_leaf_hash
from ledger.core.leaf import Stream
from ledger.core.mapkeys import key_hash, object_key, parse_object_value, stream_key
from ledger.core.maptree import MapTree
from ledger.machine.block import Sealed, StateRow

ROWS_CACHED: Final = 20_000  # about 25 MB
BUCKETS_CACHED: Final = 8_000  # about 10 MB
STREAMS_CACHED: Final = 50_000

_BUCKETS: Final = "SELECT i, pairs FROM buckets WHERE i IN ({})"
_NUMBERS: Final = "SELECT key, id FROM names WHERE key IN ({})"
_ROWS: Final = "SELECT n.key, n.id, s.value FROM names n JOIN state s ON s.id = n.id WHERE n.key IN ({})"


class StateTables:
    """Reads and writes `names`, `state` and `buckets`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._rows: Cache[bytes, StateRow] = Cache(ROWS_CACHED)
        self._ids: Cache[bytes, int] = Cache(ROWS_CACHED)
        self._buckets: Cache[int, bytes] = Cache(BUCKETS_CACHED)
        self._peeked: Cache[int, bytes] = Cache(BUCKETS_CACHED // 4)
        self._streams: Cache[Stream, bool] = Cache(STREAMS_CACHED)
        self._buckets_count = 0  # 0 until the state was loaded: then nothing is compared
        self._tree: MapTree | None = None
        self._next_id = int(connection.execute("SELECT coalesce(max(id), 0) + 1 FROM state").fetchone()[0])

    # --- reading -----------------------------------------------------------------------------------------------------

    def check_against(self, tree: MapTree) -> None:
        """From now on compare what is read from disk with `tree`, which follows the sealed blocks."""
        self._tree, self._buckets_count = tree, tree.size

    def read_rows(self, keys: Sequence[bytes]) -> dict[bytes, StateRow]:
        """Rows of the keys that were ever written."""
        found: dict[bytes, StateRow] = {}
        missing: list[bytes] = []
        get = self._rows.get
        for key in keys:
            row = get(key)
            if row is None:
                missing.append(key)
            else:
                found[key] = row
        if missing:
            found.update(self._load_rows(missing))
        return found

    def _load_rows(self, keys: Sequence[bytes]) -> dict[bytes, StateRow]:
        rows: dict[bytes, StateRow] = {}
        for key, number, value in select_in(self._connection, _ROWS, keys, (bytes, int, bytes)):
            rows[key] = unpack_row(value)
            self._ids.put(key, number)
        if self._buckets_count:
            # A flipped byte in a value must not reach the rules; a row from the cache was checked before.
            places = {key: bucket_index(key_hash(key), self._buckets_count) for key in rows}
            buckets = self._peek(sorted(set(places.values())))
            for key, index in places.items():
                check_row(key, rows[key].value, index, buckets.get(index, b""))
        for key, row in rows.items():
            self._rows.put(key, row)
        return rows

    def read_objects(self, keys: Collection[str]) -> dict[str, bytes]:
        """Object bytes of the state keys that exist and are not deleted."""
        wanted = {object_key(key): key for key in keys}
        return {
            wanted[key]: parse_object_value(row.value)[1]
            for key, row in self.read_rows(list(wanted)).items()
            if row.value
        }

    def missing_streams(self, streams: Collection[Stream]) -> set[Stream]:
        """Those streams that no accepted record has joined."""
        known = self._streams
        unsure = {stream_key(*stream, False): stream for stream in streams if known.get(stream) is None}
        if not unsure:
            return set()
        for key in self.read_rows(list(unsure)):
            known.put(unsure.pop(key), True)
        return set(unsure.values())

    def read_buckets(self, indexes: Sequence[int]) -> list[bytes]:
        """Packed buckets in the order asked for; b"" for one that was never written."""
        found: dict[int, bytes] = {}
        missing: list[int] = []
        for index in indexes:
            packed = self._buckets.get(index)
            if packed is None:
                missing.append(index)
            else:
                found[index] = packed
        for index, packed in self._peek(missing).items():
            # Sealing reads when the tree in memory is exactly what is on disk.
            if self._tree is not None and bucket_leaf_hash(packed) != self._tree.node(0, index):
                raise damaged("state map", reason="a bucket is not what the tree says", bucket=index)
            found[index] = packed
            self._buckets.put(index, packed)
        return [found.get(index, b"") for index in indexes]

    def _peek(self, indexes: Sequence[int]) -> dict[int, bytes]:
        """Buckets that need not have been compared with the tree yet."""
        found: dict[int, bytes] = {}
        missing: list[int] = []
        for index in indexes:
            packed = self._buckets.get(index) or self._peeked.get(index)
            if packed is None:
                missing.append(index)
            else:
                found[index] = packed
        for index, packed in select_in(self._connection, _BUCKETS, missing, (int, bytes)):
            found[index] = packed
            self._peeked.put(index, packed)
        return found

    # --- writing -----------------------------------------------------------------------------------------------------

    def write(self, sealed: Sealed) -> dict[bytes, int]:
        """Write the block's rows and buckets in the open transaction; the number of every written key."""
        numbers = self._number(sealed)
        self._connection.executemany(
            "INSERT OR REPLACE INTO state (id, value) VALUES (?, ?)",
            [(numbers[key], pack_row(row)) for key, row in sealed.rows.items()],
        )
        self._connection.executemany(
            "INSERT OR REPLACE INTO buckets (i, pairs) VALUES (?, ?)", sorted(sealed.buckets.items())
        )
        for key, row in sealed.rows.items():
            self._rows.put(key, row)
        for index, packed in sealed.buckets.items():
            self._buckets.put(index, packed)
            self._peeked.drop(index)
        self._buckets_count = sealed.header.state_buckets
        return numbers

    def _number(self, sealed: Sealed) -> dict[bytes, int]:
        numbers: dict[bytes, int] = {}
        unknown: list[bytes] = []
        new: list[tuple[bytes, int]] = []
        for key in sealed.rows:
            number = self._ids.get(key)
            if number is None:
                if sealed.old_rows[key] is not None:
                    unknown.append(key)
                    continue
                number = self._next_id
                self._next_id += 1
                new.append((key, number))
                self._ids.put(key, number)
            numbers[key] = number
        for key, number in select_in(self._connection, _NUMBERS, unknown, (bytes, int)):
            numbers[key] = number
            self._ids.put(key, number)
        new.sort()
        self._connection.executemany("INSERT INTO names (key, id) VALUES (?, ?)", new)
        return numbers
