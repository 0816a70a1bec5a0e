"""What an audit remembers while it runs: the state of the ledger as recomputed so far, behind one port.

It serves the machine's two views. What the rules decided shows in `DecideView` from `decided` on; rows, buckets and the
tree change with `sealed`. Memory is bounded by the implementation, not by the ledger. Not here: any implementation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from ledger.core.hashing import Digest
from ledger.core.leaf import Stream
from ledger.core.maptree import MapTree
from ledger.machine.block import Decision, Head, Sealed, StateRow

EventEntry = tuple[str, str, Digest]
"""(member, event id, event hash) of a record."""


class Scratch(Protocol):
    """The recomputed state; one caller, one thread. Raises `UnavailableError` when its own disk fails."""

    @property
    def tree(self) -> MapTree:
        """See `SealView`."""
        ...

    def read_objects(self, keys: Collection[str]) -> dict[str, bytes]:
        """See `DecideView`."""
        ...

    def due_timers(self, time: int, count_max: int) -> list[tuple[int, str]]:
        """See `DecideView`."""
        ...

    def find_events(self, ids: Collection[tuple[str, str]]) -> dict[tuple[str, str], list[Digest]]:
        """See `DecideView`."""
        ...

    def missing_streams(self, streams: Collection[Stream]) -> set[Stream]:
        """See `DecideView`."""
        ...

    def read_rows(self, keys: Sequence[bytes]) -> dict[bytes, StateRow]:
        """See `SealView`."""
        ...

    def read_buckets(self, indexes: Sequence[int]) -> Sequence[bytes]:
        """See `SealView`."""
        ...

    def decided(self, decision: Decision) -> None:
        """Take over what a block decided: objects, timers, event ids, streams."""
        ...

    def sealed(self, sealed: Sealed) -> None:
        """Take over what a block sealed: rows and buckets (the tree advanced while sealing)."""
        ...

    def add_events(self, events: Iterable[EventEntry]) -> None:
        """Remember records whose block is not replayed."""
        ...

    def write_rows(self, rows: dict[bytes, StateRow]) -> None:
        """Remember stream rows whose block is not replayed."""
        ...

    def map_size(self) -> int:
        """Number of rows ever written."""
        ...

    # What a state is put back with, beside `write_rows` and `add_events`:

    def clear(self) -> None:
        """Forget everything."""
        ...

    def write_buckets(self, buckets: Mapping[int, bytes]) -> None:
        """Put buckets back."""
        ...

    def write_objects(self, objects: Mapping[str, bytes], timers: Mapping[str, int | None]) -> None:
        """Put objects and timers (key → due, unix ms) back."""
        ...

    def write_tree(self, tree: MapTree, rows: int) -> None:
        """Put the tree over the buckets back; `rows` is the number of rows."""
        ...


class ScratchView:
    """`Scratch` as the machine's two views, each with its own head."""

    def __init__(self, scratch: Scratch, head: Head) -> None:
        self.head = head
        self.tree = scratch.tree
        self.read_objects = scratch.read_objects
        self.due_timers = scratch.due_timers
        self.find_events = scratch.find_events
        self.missing_streams = scratch.missing_streams
        self.read_rows = scratch.read_rows
        self.read_buckets = scratch.read_buckets
