"""Reads what is kept by the size of a checkpoint: certificates, and CometBFT's own commits.

Not here: whether any of it is true (see `ledger.core.quorum`).
"""

from __future__ import annotations

import sqlite3
from typing import Final, Literal

from ledger.adapters.sqlite import query
from ledger.adapters.sqlite.faults import damaged
from ledger.adapters.sqlite.frames import Decompressor

Table = Literal["certificates", "native"]


class CertificateReader:
    """The documents of one of the two tables, within one snapshot; raises `FatalError` for what was not written so."""

    def __init__(self, connection: sqlite3.Connection, decompressor: Decompressor, table: Table) -> None:
        self._connection, self._decompressor = connection, decompressor
        self._least: Final = f"SELECT size, data FROM {table} WHERE size>=? ORDER BY size LIMIT 1"  # noqa: S608
        self._latest: Final = f"SELECT size, data FROM {table} WHERE size>=? ORDER BY size DESC LIMIT 1"  # noqa: S608

    def of(self, size: int) -> bytes | None:
        """That of the checkpoint of exactly `size` leaves, None where none is kept."""
        found = self.least(size)
        return found[1] if found is not None and found[0] == size else None

    def least(self, size_min: int) -> tuple[int, bytes] | None:
        """(size, document) of the smallest size ≥ `size_min`: one after the other gives all."""
        return self._read(self._least, size_min)

    def latest(self) -> tuple[int, bytes] | None:
        """(size, document) of the largest size."""
        return self._read(self._latest, 0)

    def _read(self, sql: str, size: int) -> tuple[int, bytes] | None:
        row = query.row(self._connection, sql, (size,), (int, bytes))
        if row is None:
            return None
        document = self._decompressor.single(row[1])
        if type(document) is not bytes:
            raise damaged("certificate", size=row[0])
        return row[0], document
