"""The index as of a certified state: candidates below its size, and an honest refusal while the index is behind.

Rule: an answer names only what the certified checkpoint covers, so counts are exact for it however far the ledger has moved
on. Not here: what is asked of the index.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from ledger.errors import UnavailableError
from ledger_node.query.indexer import Indexer
from ledger_node.query.standing import Standing

WAIT_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Candidates:
    """An open index under a certified state."""

    standing: Standing
    connection: sqlite3.Connection

    @property
    def size(self) -> int:
        """Only leaves below this count."""
        return self.standing.size


@contextmanager
def candidates(indexer: Indexer, standing: Standing) -> Iterator[Candidates]:
    """The index, once it covers the certified state; raises `UnavailableError` (`index-behind`) when that takes long."""
    height = standing.state.height
    if not indexer.wait(height, WAIT_S):
        raise UnavailableError(
            "index-behind",
            "the search index is being built",
            indexed=indexer.index.height,
            needed=height,
            retry_after_s=2,
        )
    with indexer.index.read() as connection:
        yield Candidates(standing, connection)
