"""The index of all events that an auditor has met: (member, event id) → event hashes, in a table and a bounded memory.

Rules: ids begin with their time, so that almost every event is newer than all that lies in the table and costs no query;
what is old goes to the table in the order in which it came. Memory holds the events of two generations of fixed size,
whatever the length of the ledger.
Not here: what a second event of one name means (see `ledger.machine.admit`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator
from typing import Final

Name = tuple[str, str]
"""(member, event id)."""

SCHEMA: Final = "CREATE TABLE events (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
ENTRY_BYTES: Final = 350  # what Python keeps for an event: its name, its hash, their place in a dictionary
SELECT_MAX: Final = 500  # keys of one query
UUID_CHARS: Final = 36


class EventIndex:
    """Event hashes, concatenated, by name; at most `cache_bytes` in each of two generations."""

    def __init__(self, connection: sqlite3.Connection, cache_bytes: int) -> None:
        self._connection = connection
        self._count_max = max(1, cache_bytes // ENTRY_BYTES)
        self._young: dict[Name, bytes] = {}
        self._old: dict[Name, bytes] = {}
        self._newest_stored = ""  # the newest id in the table

    def memory_bytes(self) -> int:
        """About what is held in memory."""
        return (len(self._young) + len(self._old)) * ENTRY_BYTES

    def find(self, names: Collection[Name]) -> dict[Name, bytes]:
        """The hashes of those names that are known."""
        young, old, newest = self._young, self._old, self._newest_stored
        found = {name: old[name] for name in old.keys() & names}
        found.update((name, young[name]) for name in young.keys() & names)
        if newest:
            # What is newer than everything in the table can only be in memory.
            stored = [name for name in names if name[1] <= newest and name not in found]
            if stored:
                found.update(self._stored(stored))
        return found

    def add(self, events: Iterable[tuple[str, str, bytes]]) -> None:
        """Remember (member, event id, event hash), each behind those that its name has already."""
        added: dict[Name, bytes] = {}
        for member, event_id, digest in events:
            name = member, event_id
            added[name] = added[name] + digest if name in added else digest
        for name, before in self.find(added).items():
            added[name] = before + added[name]
        self._young.update(added)

    def tidy(self) -> bool:
        """Write out the old ones, where there are more than may be kept: after each block; whether that was so."""
        if len(self._young) <= self._count_max:
            return False
        self._turn()
        return True

    def _stored(self, names: list[Name]) -> Iterator[tuple[Name, bytes]]:
        # By id first: new ones go to the end of the table.
        keys = [event_id + member for member, event_id in names]
        for first in range(0, len(keys), SELECT_MAX):
            wanted = keys[first : first + SELECT_MAX]
            marks = ",".join("?" * len(wanted))
            query = f"SELECT key, value FROM events WHERE key IN ({marks})"  # noqa: S608 - marks of our own
            for key, value in self._connection.execute(query, wanted):
                yield (key[UUID_CHARS:], key[:UUID_CHARS]), value

    def _turn(self) -> None:
        """Begin a new generation."""
        old = self._old
        if old:
            self._connection.executemany(
                "INSERT OR REPLACE INTO events VALUES (?, ?)",
                [(event_id + member, hashes) for (member, event_id), hashes in old.items()],
            )
            self._newest_stored = max(self._newest_stored, *(event_id for _, event_id in old))
        self._old, self._young = self._young, {}


__all__ = ["SCHEMA", "EventIndex", "Name"]
