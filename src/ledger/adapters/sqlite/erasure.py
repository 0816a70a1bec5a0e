"""Erases bodies: what an event said goes, that it said it stays.

Rules: in place of a body stands its hash, so that record, submission and every proof still check; copies in later
submissions of the same event go too. SQLite overwrites what it frees. What had been used to train a compression dictionary
may survive there in pieces; a later submission that repeats the event brings its body along again; copies elsewhere
(backups, exports, other nodes) are beyond this. Heads and records are never erased. Not here: who may ask for it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from ledger.adapters.sqlite import query
from ledger.adapters.sqlite.blocks import BlockReader, Body, Erased, check_body, pack_body
from ledger.adapters.sqlite.dictionaries import BODIES, Dictionaries
from ledger.adapters.sqlite.faults import damaged
from ledger.adapters.sqlite.frames import pack
from ledger.adapters.sqlite.leaves import LeafReader
from ledger.core.event import event_hash
from ledger.core.hashing import Digest, sha256
from ledger.errors import NotFoundError


@dataclass(slots=True)
class Erasure:
    """What has to be written: new segments of bodies by first log index, new rows of extras by height."""

    bodies: list[tuple[bytes, int]] = field(default_factory=list)
    extras: list[tuple[bytes, int]] = field(default_factory=list)
    events: set[Digest] = field(default_factory=set)

    def write(self, connection: sqlite3.Connection) -> None:
        """Write it in the open transaction."""
        connection.executemany("UPDATE bodies SET data=? WHERE seq=?", self.bodies)
        connection.executemany("UPDATE extras SET data=? WHERE height=?", self.extras)


def plan_erasure(connection: sqlite3.Connection, blocks: BlockReader, seqs: Collection[int]) -> Erasure:
    """What erasing the bodies of these records takes; a body that is gone already is left alone.

    Raises `NotFoundError` where a log index is no record.
    """
    heads: dict[int, bytes] = {}
    segments: dict[int, list[int]] = {}
    for seq, record in LeafReader(connection, blocks).read_records(list(seqs)).items():
        first = query.value(connection, "SELECT max(seq) FROM bodies WHERE seq<=?", (seq,), object)
        if record is None or record[1] is None or type(first) is not int:
            raise NotFoundError("record", "not the log index of a record", seq=seq)
        heads[seq] = record[1]
        segments.setdefault(first, []).append(seq)
    compressor = Dictionaries(connection).compressor(BODIES)
    erasure = Erasure()
    for first, members in segments.items():
        packed = query.value(connection, "SELECT data FROM bodies WHERE seq=?", (first,), bytes)
        entries = blocks.decompressor.entries(packed)
        for seq in members:
            if seq - first >= len(entries):
                raise damaged("bodies", reason="a segment is missing", seq=seq)
            body = check_body(entries[seq - first])
            if isinstance(body, bytes):
                erasure.events.add(event_hash(heads[seq], body))
                entries[seq - first] = pack_body(Erased(sha256(body)))
        erasure.bodies.extend((segment, first) for _, segment in compressor.segments(entries))
    # Copies, where the same events were submitted again.
    for height, pairs in _extras(connection, blocks) if erasure.events else ():
        kept = [
            (
                head,
                Erased(sha256(body)) if isinstance(body, bytes) and event_hash(head, body) in erasure.events else body,
            )
            for head, body in pairs
        ]
        if kept != pairs:
            segments_of = compressor.segments([(head, pack_body(body)) for head, body in kept])
            erasure.extras.append((pack([segment for _, segment in segments_of]), height))
    return erasure


def _extras(connection: sqlite3.Connection, blocks: BlockReader) -> Iterator[tuple[int, list[tuple[bytes, Body]]]]:
    for (height,) in list(query.rows(connection, "SELECT height FROM extras", (), (int,))):
        yield height, blocks.extras(height)
