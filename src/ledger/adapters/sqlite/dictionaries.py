"""Compression dictionaries: trained once from what this ledger holds, used from the next block on, kept for ever.

Rules: one dictionary for each kind of frame; samples are what is written, and after a restart what was written last, so that
a quiet ledger learns too. Dictionaries never matter for any hash, so each carries one of its own: SHA-256, then the
dictionary. Not here: the frames themselves.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, Final

from ledger.adapters.sqlite import query
from ledger.adapters.sqlite.faults import damaged
from ledger.adapters.sqlite.frames import Compressor, Decompressor, pack, train
from ledger.core.hashing import DIGEST_BYTES, sha256

RECORDS, BODIES, BLOCKS = 1, 2, 3
# Kind: samples that training waits for, size of the dictionary in bytes.
_PLANS: Final = {RECORDS: (2_000, 64 * 1024), BODIES: (2_000, 64 * 1024), BLOCKS: (300, 16 * 1024)}
_TABLES: Final = {RECORDS: "records", BODIES: "bodies", BLOCKS: "blocks"}


def read_dictionary(connection: sqlite3.Connection, number: int) -> bytes:
    """The stored dictionary of a number; `FatalError` where a frame names one that is not there."""
    data: bytes | None = query.value(connection, "SELECT data FROM dictionaries WHERE id=?", (number,), bytes)
    if data is None:
        raise damaged("segment", reason="its dictionary is missing", dictionary=number)
    return check_dictionary(number, data)


def check_dictionary(number: int, stored: bytes) -> bytes:
    """The dictionary in a row; `FatalError` where it is not the one that was written."""
    dictionary = stored[DIGEST_BYTES:]
    if sha256(dictionary) != stored[:DIGEST_BYTES]:
        raise damaged("dictionary", dictionary=number)
    return dictionary


class Dictionaries:
    """The writer's compressors, one for each kind, and the samples of kinds that have no dictionary yet."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._compressors = {kind: Compressor() for kind in _PLANS}
        self._samples: dict[int, list[bytes]] = {kind: [] for kind in _PLANS}
        stored = query.rows(connection, "SELECT id, data FROM dictionaries", (), (int, bytes))
        for number, data in stored:
            self._compressors[number] = Compressor(number, check_dictionary(number, data))
            self._samples.pop(number, None)
        opener = Decompressor(lambda number: read_dictionary(connection, number))
        for kind, samples in self._samples.items():
            samples.extend(self._stored_samples(kind, opener))

    def compressor(self, kind: int) -> Compressor:
        """The compressor of a kind of frame."""
        return self._compressors[kind]

    def learn(self, kind: int, values: Callable[[], Iterable[Any]]) -> None:
        """Take `values` as samples where the kind has no dictionary; with enough of them train and store one.

        Runs in the open transaction, so a dictionary is there before any frame needs it.
        """
        samples = self._samples.get(kind)
        if samples is None:
            return
        samples.extend(pack(value) for value in values())
        wanted, size = _PLANS[kind]
        if len(samples) < wanted:
            return
        del self._samples[kind]
        dictionary = train(samples[: 2 * wanted], size)
        if dictionary:
            row = (kind, sha256(dictionary) + dictionary)
            self._connection.execute("INSERT INTO dictionaries VALUES (?, ?)", row)
            self._compressors[kind] = Compressor(kind, dictionary)

    def _stored_samples(self, kind: int, opener: Decompressor) -> Iterable[bytes]:
        wanted = _PLANS[kind][0]
        sql = f"SELECT data FROM {_TABLES[kind]} ORDER BY rowid DESC LIMIT ?"  # noqa: S608 - one of three names
        found = 0
        for (segment,) in query.rows(self._connection, sql, (wanted,), (bytes,)):
            for value in opener.samples(segment, whole=kind == BLOCKS):
                yield pack(value)
                found += 1
            if found >= wanted:
                return
