"""The state map on disk behind bounded caches that are written through.

Rules: a key gets a number when it is first written and keeps it; a key stands once, in `names`, its packed value under the
number in `state`. A value read from disk is checked against its bucket, and the bucket against its leaf hash, which was
checked at the start and is kept in memory since. Caches hold what the last committed block left; after a failed write
nobody asks them again. Not here: sealing, and the rows of long streams (`streams`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from ledger.adapters.sqlite.cache import Cache
from ledger.adapters.sqlite.faults import damaged
from ledger.adapters.sqlite.load import check_row, is_registry_key, write_registry_keys
from ledger.adapters.sqlite.packing import Entry, pack_entry, unpack_entry
from ledger.adapters.sqlite.query import select_in
from ledger.adapters.sqlite.streams import StreamTables
from ledger.core.buckets import bucket_index, bucket_leaf_hash
from ledger.core.hashing import DIGEST_BYTES
from ledger.core.leaf import Stream
from ledger.core.mapkeys import key_hash, object_key, parse_object_value, stream_key
from ledger.core.maptree import MapTree
from ledger.machine.block import Sealed, StateRow

ENTRIES_CACHED: Final = 20_000  # about 30 MB
OBJECTS_CACHED: Final = 20_000  # about 10 MB
BUCKETS_CACHED: Final = 8_000  # about 10 MB
STREAMS_CACHED: Final = 50_000

_BUCKETS: Final = "SELECT i, pairs FROM buckets WHERE i IN ({})"
_NUMBERS: Final = "SELECT key, id FROM names WHERE key IN ({})"
_ROWS: Final = "SELECT n.key, n.id, s.value FROM names n JOIN state s ON s.id = n.id WHERE n.key IN ({})"


class StateTables:
    """Reads and writes `names`, `state` and `buckets`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._streams = StreamTables(connection)
        self._entries: Cache[bytes, Entry] = Cache(ENTRIES_CACHED)
        self._absent: Cache[bytes, bool] = Cache(ENTRIES_CACHED)  # keys that were looked for and never written
        self._objects: Cache[str, bytes] = Cache(OBJECTS_CACHED)  # by name, b"" for one that is not there
        self._numbers: Cache[bytes, int] = Cache(ENTRIES_CACHED)
        self._buckets: Cache[int, bytes] = Cache(BUCKETS_CACHED)
        self._known: Cache[Stream, bool] = Cache(STREAMS_CACHED)
        self._tree: MapTree | None = None
        self._leaves: bytearray | None = None  # leaf hashes of the buckets on disk, once the tree was loaded
        self._next = int(connection.execute("SELECT coalesce(max(id), 0) + 1 FROM state").fetchone()[0])

    def check_against(self, tree: MapTree) -> None:
        """From now on check each bucket read from disk: `tree` is checked, and follows the blocks that are written."""
        self._tree, self._leaves = tree, bytearray(tree.leaves())

    # --- reading -----------------------------------------------------------------------------------------------------

    def read_rows(self, keys: Sequence[bytes]) -> dict[bytes, StateRow]:
        """Rows of the keys that were ever written."""
        found: dict[bytes, StateRow] = {}
        missing: list[bytes] = []
        get = self._entries.get
        for key in keys:
            entry = get(key)
            if entry is not None:
                found[key] = entry.row
            elif self._absent.get(key) is None:
                missing.append(key)
        if missing:
            for key, entry in self._load_entries(missing).items():
                found[key] = entry.row
        return found

    def read_objects(self, keys: Collection[str]) -> dict[str, bytes]:
        """Object bytes of the state keys that exist and are not deleted."""
        found: dict[str, bytes] = {}
        missing: dict[bytes, str] = {}
        get = self._objects.get
        # A block asks for three keys an event, nearly all of them again: so by their names, and without the row around.
        for name in keys:
            value = get(name)
            if value:
                found[name] = value
            elif value is None:
                missing[object_key(name)] = name
        if missing:
            rows = self.read_rows(list(missing))
            for key, name in missing.items():
                row = rows.get(key)
                value = parse_object_value(row.value)[1] if row is not None and row.value else b""
                self._objects.put(name, value)
                if value:
                    found[name] = value
        return found

    def missing_streams(self, streams: Collection[Stream]) -> set[Stream]:
        """Those streams that no accepted record has joined."""
        known = self._known
        unsure = {stream_key(*stream, False): stream for stream in streams if known.get(stream) is None}
        if not unsure:
            return set()
        for key in self.read_rows(list(unsure)):
            known.put(unsure.pop(key), True)
        return set(unsure.values())

    def read_buckets(self, indexes: Sequence[int]) -> list[bytes]:
        """Packed buckets in the order asked for; b"" for one that was never written."""
        found = self._load_buckets(indexes)
        return [found.get(index, b"") for index in indexes]

    def _load_entries(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        entries: dict[bytes, Entry] = {}
        for key, number, value in select_in(self._connection, _ROWS, keys, (bytes, int, bytes)):
            entries[key] = unpack_entry(value)
            self._numbers.put(key, number)
        if self._leaves is not None:
            # A changed byte in a value must not reach the rules, and neither must the absence of a row that was lost.
            n = len(self._leaves) // DIGEST_BYTES
            places = {key: bucket_index(key_hash(key), n) for key in keys}
            buckets = self._load_buckets(places.values())
            for key, index in places.items():
                entry = entries.get(key)
                check_row(key, entry.row.value if entry is not None else None, index, buckets.get(index, b""))
                if entry is None:
                    self._absent.put(key, True)
        for key, entry in entries.items():
            self._entries.put(key, entry)
        return entries

    def _load_buckets(self, indexes: Iterable[int]) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        missing: set[int] = set()
        for index in indexes:
            packed = self._buckets.get(index)
            if packed is None:
                missing.add(index)
            else:
                found[index] = packed
        if missing:
            loaded = dict(select_in(self._connection, _BUCKETS, sorted(missing), (int, bytes)))
            for index in missing:
                packed = loaded.get(index, b"")
                self._check_bucket(index, packed)
                found[index] = packed
                self._buckets.put(index, packed)
        return found

    def _check_bucket(self, index: int, packed: bytes) -> None:
        """A bucket from disk must have the leaf hash that was checked at the start or written since."""
        if self._leaves is None or index * DIGEST_BYTES >= len(self._leaves):
            return
        expected = bytes(self._leaves[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES])
        if bucket_leaf_hash(packed) != expected:
            raise damaged("state map", reason="a bucket is not what it was", bucket=index)

    # --- writing -----------------------------------------------------------------------------------------------------

    def write(self, sealed: Sealed) -> None:
        """Write the block's rows, buckets and streams in the open transaction."""
        numbers = self._number(sealed)
        streams = {key: self._entries.get(key) for key in sealed.stream_seqs if sealed.old_rows[key] is not None}
        streams.update(self._load_entries([key for key, entry in streams.items() if entry is None]))
        rows: list[tuple[int, bytes]] = []
        for key, row in sealed.rows.items():
            seqs = sealed.stream_seqs.get(key)
            number = numbers[key]
            if seqs is None:
                entry = Entry(row)
            else:
                entry = self._streams.append(sealed, number, row, seqs, streams.get(key))
            rows.append((number, pack_entry(entry)))
            self._entries.put(key, entry)
        for item in sealed.decision.items:
            for name, value in item.writes:
                self._objects.put(name, value)
        rows.sort()  # neighbours share pages
        self._connection.executemany("INSERT OR REPLACE INTO state (id, value) VALUES (?, ?)", rows)
        self._streams.flush()
        self._write_buckets(sealed)

    def _write_buckets(self, sealed: Sealed) -> None:
        buckets = sorted(sealed.buckets.items())
        self._connection.executemany("INSERT OR REPLACE INTO buckets (i, pairs) VALUES (?, ?)", buckets)
        for index, packed in buckets:
            self._buckets.put(index, packed)
        if self._tree is not None and self._leaves is not None:
            # The tree has these hashes already, unless it has moved on.
            current = self._tree.root() == sealed.header.state_root
            for index, packed in buckets:
                leaf = self._tree.node(0, index) if current else bucket_leaf_hash(packed)
                self._leaves[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES] = leaf

    def _number(self, sealed: Sealed) -> dict[bytes, int]:
        numbers: dict[bytes, int] = {}
        unknown: list[bytes] = []
        new: list[tuple[bytes, int]] = []
        for key in sealed.rows:
            number = self._numbers.get(key)
            if sealed.old_rows[key] is None:
                self._absent.drop(key)
            if number is None:
                if sealed.old_rows[key] is not None:
                    unknown.append(key)
                    continue
                number = self._next
                self._next += 1
                new.append((key, number))
                self._numbers.put(key, number)
            numbers[key] = number
        for key, number in select_in(self._connection, _NUMBERS, unknown, (bytes, int)):
            numbers[key] = number
            self._numbers.put(key, number)
        new.sort()
        self._connection.executemany("INSERT INTO names (key, id) VALUES (?, ?)", new)
        registered = [key for key, _ in new if is_registry_key(key)]
        if registered:
            write_registry_keys(self._connection, registered)
        return numbers
