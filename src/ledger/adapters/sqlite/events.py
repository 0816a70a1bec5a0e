"""The event index: which leaves hold the event of a (member, id).

Rules: an index key is the id's time and 22 bits of a keyed hash, so several events may share one; what decides is the
record itself, which is read. An id whose time is beyond every earlier one of its member is new without a look.
Not here: what a second event under one id means.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Collection, Sequence
from typing import Final

from ledger.adapters.sqlite import query
from ledger.adapters.sqlite.faults import damaged
from ledger.adapters.sqlite.packing import SECRET_BYTES, event_key, id_time
from ledger.core.hashing import Digest
from ledger.core.leaf import Record, parse_leaf
from ledger.machine.block import Sealed

SECRET_NAME: Final = "event-index-secret"  # noqa: S105 - the name of a row

ReadLeaves = Callable[[Sequence[int]], dict[int, bytes]]


def index_secret(connection: sqlite3.Connection) -> int:
    """The store's own odd factor under the keyed hash."""
    secret: bytes | None = query.value(connection, "SELECT value FROM meta WHERE name=?", (SECRET_NAME,), bytes)
    if secret is None or len(secret) != SECRET_BYTES:
        raise damaged("secret of the event index")
    return int.from_bytes(secret, "big") | 1


def make_secret(connection: sqlite3.Connection) -> None:
    """Draw the secret of a new store."""
    connection.execute("INSERT INTO meta VALUES (?, ?)", (SECRET_NAME, secrets.token_bytes(SECRET_BYTES)))


def parse_seqs(value: object) -> list[int]:
    """The log indexes of one row of the index."""
    if isinstance(value, int):
        return [value]
    try:
        return [int(part) for part in str(value).split(",")]
    except ValueError as error:
        raise damaged("event index", got=value) from error


def find_records(
    connection: sqlite3.Connection, secret: int, ids: Collection[tuple[str, str]], read_leaves: ReadLeaves
) -> dict[tuple[str, str], list[tuple[int, Record]]]:
    """(seq, record) of every leaf under each (member, id), ascending."""
    names: dict[int, list[tuple[str, str]]] = {}
    for member, event_id in ids:
        names.setdefault(event_key(secret, event_id), []).append((member, event_id))
    places: dict[int, list[int]] = {}
    for key, value in query.select_in(
        connection, "SELECT k, seq FROM events WHERE k IN ({})", list(names), (int, object)
    ):
        places[key] = parse_seqs(value)
    if not places:
        return {}
    leaves = read_leaves(sorted({seq for seqs in places.values() for seq in seqs}))
    found: dict[tuple[str, str], list[tuple[int, Record]]] = {}
    for key, seqs in places.items():
        for seq in seqs:
            record = parse_leaf(leaves[seq])
            if not isinstance(record, Record):
                raise damaged("event index", reason="names a leaf that is no record", seq=seq)
            if (record.member, record.id) in names[key]:
                found.setdefault((record.member, record.id), []).append((seq, record))
    return found


class EventIndex:
    """The writer's side of the index."""

    def __init__(self, connection: sqlite3.Connection, read_leaves: ReadLeaves) -> None:
        self._connection = connection
        self._read_leaves = read_leaves
        self._secret = index_secret(connection)
        authors = query.rows(connection, "SELECT member, newest FROM authors", (), (str, int))
        self._newest: dict[str, int] = {row[0]: row[1] for row in authors}

    def find(self, ids: Collection[tuple[str, str]]) -> dict[tuple[str, str], list[Digest]]:
        """Event hashes recorded under each (member, id)."""
        newest = self._newest
        doubtful = [name for name in ids if id_time(name[1]) <= newest.get(name[0], -1)]
        if not doubtful:
            return {}
        found = find_records(self._connection, self._secret, doubtful, self._read_leaves)
        return {name: [record.event_hash for _, record in records] for name, records in found.items()}

    def write(self, sealed: Sealed) -> None:
        """Index the block's records in the open transaction."""
        secret, first_seq = self._secret, sealed.header.first_seq
        rows: list[tuple[int, int]] = []
        latest: dict[str, str] = {}
        for seq, item in enumerate(sealed.decision.items, first_seq):
            if item.event is not None:
                event_id, member = item.event.id, item.member
                rows.append((event_key(secret, event_id), seq))
                # Ids of one length and alphabet: the greatest text is the latest time.
                if event_id > latest.get(member, ""):
                    latest[member] = event_id
        newest = {member: id_time(event_id) for member, event_id in latest.items()}
        self._connection.executemany(
            "INSERT INTO events (k, seq) VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET seq = seq || ',' || excluded.seq",
            rows,
        )
        later = {member: time for member, time in newest.items() if time > self._newest.get(member, -1)}
        self._connection.executemany("INSERT OR REPLACE INTO authors VALUES (?, ?)", later.items())
        self._newest.update(later)
