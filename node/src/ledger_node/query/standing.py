"""What an answer stands on: the certified checkpoint that everything in it was read at, as JSON for every answer.

Rule: provenance is answered from the state at the latest certified checkpoint, never from what is merely written, and every
answer says which one, with the certificate itself. Not here: proofs that the answer follows from it (see `proofs`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

from ledger.adapters.ordering.layers import StateAt
from ledger.adapters.sqlite.reader import Snapshot
from ledger.core.canonical import quote
from ledger.core.mapkeys import parse_object_value
from ledger.machine.block import StateRow
from ledger_node.query.ports import Node


@dataclass(frozen=True, slots=True)
class Standing:
    """One certified state and the log under it, open for reading."""

    node: Node
    state: StateAt

    @property
    def snap(self) -> Snapshot:
        """The database snapshot; it may hold newer blocks than `size`."""
        return self.state.snap

    @property
    def size(self) -> int:
        """Size of the certified checkpoint."""
        return self.state.size

    def row(self, key: bytes) -> StateRow | None:
        """The row of a map key at this state; None where absent or deleted."""
        row = self.state.row(key)
        return row if row is not None and row.value else None

    def object(self, key: bytes) -> bytes | None:
        """The object's canonical JSON under a map key of state objects, members, keys or timers."""
        row = self.row(key)
        return None if row is None else parse_object_value(row.value)[1]

    def encode(self) -> bytes:
        """The `checkpoint` member of an answer."""
        state, genesis = self.state, self.node.genesis
        return _encode(self.node.origin, genesis.clock, state.size, state.height, state.time, state.note)


@contextmanager
def standing(node: Node) -> Iterator[Standing]:
    """The latest certified state; raises `UnavailableError` before the first certificate."""
    with node.proofs() as state:
        yield Standing(node, state)


@lru_cache(maxsize=64)
def _encode(origin: str, clock: str, size: int, height: int, time: int, note: bytes) -> bytes:
    return b'{"certified":true,"clock":"%b","height":%d,"note":%b,"origin":"%b","size":%d,"time":%d}' % (
        clock.encode(),
        height,
        quote(note.decode("utf-8")),
        origin.encode(),
        size,
        time,
    )
