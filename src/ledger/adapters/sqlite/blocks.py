"""Blocks, leaves and submissions on disk: what of a sealed block is written, and how it is read back exactly.

Rules: the header leaf, the note and the submissions' metadata are one row; leaves with their heads, and bodies apart, lie
in segments keyed by the log index of their first leaf. Items are in submission order, so the place of an event follows
from the counts, the duplicates (no leaf) and the timers (no event). Not here: hashes and the state.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ledger.adapters.sqlite import query
from ledger.adapters.sqlite.dictionaries import BLOCKS, BODIES, RECORDS, Dictionaries, read_dictionary
from ledger.adapters.sqlite.faults import damaged
from ledger.adapters.sqlite.frames import Compressor, Decompressor, pack, unpack
from ledger.core.hashing import DIGEST_BYTES, Digest
from ledger.machine.block import Sealed


@dataclass(frozen=True, slots=True)
class StoredSubmission:
    """A submission without its events: `count` of them stand in the block one after the other."""

    member: str
    key_id: Digest
    signature: bytes
    count: int


@dataclass(frozen=True, slots=True)
class BlockData:
    """What the row of a block holds beside its leaves.

    `duplicates` number the block's events that made no leaf, `timers` the leaf positions that are no events.
    """

    header_leaf: bytes
    note: bytes
    submissions: tuple[StoredSubmission, ...]
    duplicates: tuple[int, ...]
    timers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Erased:
    """A body that was erased: H(body) is kept, so that the event's hash can still be checked."""

    hash: Digest


Body = bytes | Erased | None
"""A body, what is left of an erased one, or None where there is none or its segment is not here."""


class Signers:
    """Numbers of (member, key) pairs, so that a signature costs 65 bytes and no names."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._numbers: dict[tuple[str, bytes], int] = {}
        found = query.rows(connection, "SELECT no, member, key_id FROM signers ORDER BY no", (), (int, str, bytes))
        for number, member, key_id in found:
            self._numbers[member, key_id] = number

    def number(self, member: str, key_id: bytes) -> int:
        """The pair's number; a new one is written in the open transaction."""
        number = self._numbers.get((member, key_id))
        if number is None:
            number = self._numbers[member, key_id] = len(self._numbers) + 1
            self._connection.execute("INSERT INTO signers VALUES (?, ?, ?)", (number, member, key_id))
        return number


class BlockWriter:
    """Writes the block tables inside the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._signers = Signers(connection)
        self._dictionaries = Dictionaries(connection)

    def write(self, sealed: Sealed, note: bytes) -> None:
        """Write one block."""
        header, block = sealed.header, sealed.decision.block
        items = sealed.decision.items
        records: list[tuple[bytes, bytes | None]] = []
        bodies: list[bytes | None] = []
        timers: list[int] = []
        for position, item in enumerate(items):
            event = item.event
            if event is None:
                timers.append(position)
                records.append((sealed.leaves[position], None))
                bodies.append(None)
            else:
                records.append((sealed.leaves[position], event.head))
                bodies.append(event.body)
        self._segments("records", RECORDS, header.first_seq, records)
        if block.submissions:
            self._segments("bodies", BODIES, header.first_seq, bodies)
        numbers: list[int] = []
        if sealed.decision.duplicates:
            numbers = self._extras(sealed)
        data = [
            sealed.leaves[-1],
            note,
            [[self._signers.number(s.member, s.key_id), s.signature, len(s.events)] for s in block.submissions],
            numbers,
            timers,
        ]
        row = self._dictionaries.compressor(BLOCKS).single(data)
        self._connection.execute("INSERT INTO blocks VALUES (?, ?, ?)", (header.height, header.first_seq, row))
        if block.attachments:
            attached = Compressor().single(list(block.attachments))
            self._connection.execute("INSERT INTO attachments VALUES (?, ?)", (header.height, attached))
        self._dictionaries.learn(RECORDS, lambda: records)
        self._dictionaries.learn(BODIES, lambda: [body for body in bodies if body is not None])
        self._dictionaries.learn(BLOCKS, lambda: [data])

    def _segments(self, table: str, kind: int, first_seq: int, entries: Sequence[Any]) -> None:
        segments = self._dictionaries.compressor(kind).segments(entries)
        rows = [(first_seq + at, data) for at, data in segments]
        self._connection.executemany(f"INSERT INTO {table} VALUES (?, ?)", rows)  # noqa: S608 - one of two names

    def _extras(self, sealed: Sealed) -> list[int]:
        """Keep the events without a leaf; their numbers among the block's events."""
        submissions = sealed.decision.block.submissions
        starts = [0]
        for submission in submissions:
            starts.append(starts[-1] + len(submission.events))
        places = sorted(sealed.decision.duplicates)
        pairs = [(submissions[s].events[e].head, submissions[s].events[e].body) for s, e in places]
        rows = self._dictionaries.compressor(BODIES).segments(pairs)
        packed = pack([data for _, data in rows])
        self._connection.execute("INSERT INTO extras VALUES (?, ?)", (sealed.height, packed))
        return [starts[s] + e for s, e in places]


class BlockReader:
    """Reads the block tables of one connection; `StoredBlock`s and leaves come out as they went in."""

    def __init__(self, connection: sqlite3.Connection, decompressor: Decompressor | None = None) -> None:
        self._connection = connection
        self.decompressor = decompressor or Decompressor(lambda number: read_dictionary(connection, number))

    def data(self, packed: bytes) -> BlockData:
        """The contents of a block's row."""
        value = self.decompressor.single(packed)
        if not _is_block(value):
            raise damaged("block row", reason="not what a block's row holds")
        header_leaf, note, submissions, duplicates, timers = value
        signers = {number: self._signer(number) for number in {number for number, _, _ in submissions}}
        found = tuple(StoredSubmission(*signers[number], signature, n) for number, signature, n in submissions)
        return BlockData(header_leaf, note, found, tuple(duplicates), tuple(timers))

    def _signer(self, number: int) -> tuple[str, Digest]:
        row = query.row(self._connection, "SELECT member, key_id FROM signers WHERE no=?", (number,), (str, bytes))
        if row is None:
            raise damaged("block row", reason="a signer is missing", number=number)
        return row[0], Digest(row[1])

    def records(self, first_seq: int, count: int) -> list[tuple[bytes, bytes | None]]:
        """(leaf, head) of all leaves of a block before its header; head None for a timer."""
        return [check_record(entry) for entry in self._entries("records", first_seq, count)]

    def bodies(self, first_seq: int, count: int) -> list[Body]:
        """Bodies at the same places; None for a timer, and where the segment is not here."""
        found: list[Body] = [None] * count
        for seq, data in self._segments("bodies", first_seq, count):
            for at, entry in enumerate(self.decompressor.entries(data), seq - first_seq):
                if at < count:
                    found[at] = check_body(entry)
        return found

    def _entries(self, table: str, first_seq: int, count: int) -> list[Any]:
        found: list[Any] = []
        for seq, data in self._segments(table, first_seq, count):
            if seq != first_seq + len(found):
                raise damaged(table, reason="a segment is missing", seq=seq)
            found.extend(self.decompressor.entries(data))
        if len(found) != count:
            raise damaged(table, reason="a segment is missing", first_seq=first_seq, expected=count, got=len(found))
        return found

    def _segments(self, table: str, first_seq: int, count: int) -> Iterator[tuple[Any, ...]]:
        return query.rows(
            self._connection,
            f"SELECT seq, data FROM {table} WHERE seq>=? AND seq<? ORDER BY seq",  # noqa: S608 - one of two names
            (first_seq, first_seq + count),
            (int, bytes),
        )

    def extras(self, height: int) -> list[tuple[bytes, Body]]:
        """(head, body) of the block's events without a leaf."""
        packed = query.value(self._connection, "SELECT data FROM extras WHERE height=?", (height,), bytes)
        segments = unpack(packed) if packed is not None else []
        if not isinstance(segments, list) or not all(type(segment) is bytes for segment in segments):
            raise damaged("extras", height=height)
        entries = [entry for segment in segments for entry in self.decompressor.entries(segment)]
        if not all(isinstance(pair, list) and len(pair) == 2 and type(pair[0]) is bytes for pair in entries):
            raise damaged("extras", height=height)
        return [(head, check_body(body)) for head, body in entries]


def check_record(entry: Any) -> tuple[bytes, bytes | None]:
    """(leaf, head) of an entry of `records`."""
    if isinstance(entry, list) and len(entry) == 2 and type(entry[0]) is bytes and type(entry[1]) in _BYTES_OR_NONE:
        return entry[0], entry[1]
    raise damaged("records", reason="an entry is no leaf with its head")


def check_body(entry: Any) -> Body:
    """The body of an entry of `bodies`."""
    if isinstance(entry, list) and len(entry) == 1 and type(entry[0]) is bytes and len(entry[0]) == DIGEST_BYTES:
        return Erased(Digest(entry[0]))
    if type(entry) not in _BYTES_OR_NONE:
        raise damaged("bodies", reason="an entry is no body")
    body: bytes | None = entry
    return body


def pack_body(body: Body) -> Any:
    """What stands for a body in its frame: itself, or of an erased one its hash in a list."""
    return [body.hash] if isinstance(body, Erased) else body


_BYTES_OR_NONE: Final = (bytes, type(None))


def _is_block(value: Any) -> bool:
    if not isinstance(value, list) or [type(part) for part in value] != [bytes, bytes, list, list, list]:
        return False
    _, _, submissions, duplicates, timers = value
    return all(type(number) is int for number in (*duplicates, *timers)) and all(
        isinstance(submission, list) and [type(part) for part in submission] == [int, bytes, int]
        for submission in submissions
    )


__all__ = ["BlockData", "BlockReader", "BlockWriter", "Erased", "StoredSubmission"]
