"""The state map on disk behind bounded caches that are written through.

Rules: a key gets a number when it is first written and keeps it; a key stands once, in `names`, its packed value under the
number in `state`. A value read from disk is checked against its bucket, and so is that there is none. Caches hold what the
last committed block left; after a failed write nobody asks them again. Not here: sealing, the buckets (`buckets`), and the
rows of long streams (`streams`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from typing import Final

from ledger.adapters.sqlite.buckets import BucketTables, StoredMap
from ledger.adapters.sqlite.cache import Cache
from ledger.adapters.sqlite.load import check_row, is_registry_key, write_registry_keys
from ledger.adapters.sqlite.packing import Entry, pack_entry, unpack_entry
from ledger.adapters.sqlite.query import select_in
from ledger.adapters.sqlite.streams import StreamTables
from ledger.core.buckets import bucket_index, lookup
from ledger.core.hashing import Digest
from ledger.core.leaf import Stream
from ledger.core.mapkeys import key_hash, object_key, parse_object_value, stream_key
from ledger.machine.block import Sealed, StateRow

ENTRIES_CACHED: Final = 20_000  # about 30 MB
OBJECTS_CACHED: Final = 20_000  # about 10 MB
STREAMS_CACHED: Final = 50_000

_NUMBERS: Final = "SELECT key, id FROM names WHERE key IN ({})"
_ROWS: Final = "SELECT n.key, n.id, s.value FROM names n JOIN state s ON s.id = n.id WHERE n.key IN ({})"


class StateTables:
    """Reads and writes `names` and `state`, and the tables of buckets and streams beside them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._streams = StreamTables(connection)
        self._entries: Cache[bytes, Entry] = Cache(ENTRIES_CACHED)
        self._absent: Cache[bytes, bool] = Cache(ENTRIES_CACHED)  # keys that were looked for and never written
        self._objects: Cache[str, bytes] = Cache(OBJECTS_CACHED)  # by name, b"" for one that is not there
        self._numbers: Cache[bytes, int] = Cache(ENTRIES_CACHED)
        self._buckets = BucketTables(connection)
        self._known: Cache[Stream, bool] = Cache(STREAMS_CACHED)
        self._next = int(connection.execute("SELECT coalesce(max(id), 0) + 1 FROM state").fetchone()[0])

    def check_against(self, loaded: StoredMap) -> None:
        """From now on check what is read against the map, which was checked as a whole and follows the blocks written."""
        self._buckets.check_against(loaded)

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
        found = self._buckets.load(indexes)
        return [found[index] for index in indexes]

    def _load_entries(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        n = self._buckets.checked
        places: dict[bytes, tuple[int, bytes]] = {}
        if n:
            # A changed byte in a value must not reach the rules, and neither must the absence of a row that was lost.
            # So the map is asked first: for a new key, of which a block has many, it alone.
            doubtful: list[tuple[bytes, Digest, int]] = []
            for key in keys:
                hashed = key_hash(key)
                index = bucket_index(hashed, n)
                if self._buckets.lacks(index, hashed):
                    self._absent.put(key, True)
                else:
                    doubtful.append((key, hashed, index))
            buckets = self._buckets.load([index for _, _, index in doubtful])
            for key, hashed, index in doubtful:
                if lookup(buckets[index], hashed) is None:
                    self._absent.put(key, True)
                else:
                    places[key] = (index, buckets[index])
            keys = list(places)
        entries: dict[bytes, Entry] = {}
        for key, number, value in select_in(self._connection, _ROWS, keys, (bytes, int, bytes)):
            entries[key] = unpack_entry(value)
            self._numbers.put(key, number)
        for key, (index, packed) in places.items():
            entry = entries.get(key)
            check_row(key, entry.row.value if entry is not None else None, index, packed)
        for key, entry in entries.items():
            self._entries.put(key, entry)
        return entries

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
        self._buckets.write(sealed)

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
