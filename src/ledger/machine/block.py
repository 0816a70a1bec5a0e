"""The values that pass through a transition: inputs, items, decision, sealed block.

Rule: plain data, no behaviour beyond derived properties. Not here: how one becomes the next.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger.core.config import Config
from ledger.core.event import Event
from ledger.core.hashing import Digest
from ledger.core.header import Header
from ledger.core.leaf import Stream
from ledger.core.maptree import TreeUndo
from ledger.core.merkle import CompactRange
from ledger.core.registry import Registry
from ledger.core.stream import StreamValue
from ledger.core.submission import Submission

REFUSED, ACCEPTED, IRREGULAR = 0, 1, 2


@dataclass(frozen=True, slots=True)
class BlockInput:
    """What an engine orders: everything a block is a function of, beside the state before it.

    `time` is unix ms, never below the time of the block before.
    """

    height: int
    time: int
    submissions: tuple[Submission, ...] = ()
    attachments: tuple[bytes, ...] = ()


@dataclass(slots=True)
class Item:
    """One leaf to be: an event (`event` set, at `place` = (submission, position) in the block) or a fired timer.

    `streams` are those of author, refs and data subjects; `extra_streams` those that the verdict adds.
    `writes` are (state key, object bytes) in order, b"" deletes; `timers` are (timer key, due or None for cleared).
    `refused_streams` sends the record to the `!refused` streams; `author_only` to no stream but its author's.
    """

    verdict: bytes
    outcome: int
    refused_streams: bool
    extra_streams: tuple[Stream, ...]
    writes: list[tuple[str, bytes]]
    timers: list[tuple[str, int | None]]
    streams: list[Stream] = field(default_factory=list)
    event: Event | None = None
    member: str = ""
    place: tuple[int, int] = (-1, -1)
    timer_key: str = ""
    timer_due: int = 0
    author_only: bool = False


@dataclass(slots=True)
class Decision:
    """A decided block: the items in leaf order, and members, keys and config in force after it.

    `duplicates` are the places of events that make no leaf, because they stand in the log already.
    """

    block: BlockInput
    items: list[Item]
    duplicates: list[tuple[int, int]]
    registry: Registry
    config: Config
    registry_writes: list[tuple[bytes, bytes, Digest]] = field(default_factory=list)


@dataclass(slots=True)
class StateRow:
    """A value of the state map as stored: `value` is what is hashed, `range` the compact range of a stream.

    `parsed` is a stream's value and range as objects, kept beside a cached row so that a busy stream is parsed once.
    """

    value: bytes
    range: bytes = b""
    parsed: tuple[StreamValue, CompactRange] | None = field(default=None, compare=False, repr=False)


@dataclass(slots=True)
class Sealed:
    """A block with all that has to be stored for it; nothing has been written yet.

    `rows` are new state rows by map key, `stream_seqs` the leaf indexes that joined each stream (by map key),
    `buckets` the new contents of the touched buckets, `changed` the written pairs alone where they are all that changed in a
    bucket, `undo` what takes the map tree back to before this block.
    `size` and `root` are the checkpoint of the block.
    """

    decision: Decision
    header: Header
    leaves: list[bytes]
    leaf_hashes: list[Digest]
    log: CompactRange
    rows: dict[bytes, StateRow]
    old_rows: dict[bytes, StateRow | None]
    stream_seqs: dict[bytes, list[int]]
    buckets: dict[int, bytes]
    old_buckets: dict[int, bytes]
    undo: TreeUndo
    size: int
    root: Digest
    changed: dict[int, bytes] = field(default_factory=dict)

    @property
    def height(self) -> int:
        """Height of the block."""
        return self.header.height


@dataclass(frozen=True, slots=True)
class Head:
    """Where the ledger stands: the last sealed block."""

    height: int
    time: int
    log: CompactRange
    state_keys: int
    config: Config
    registry: Registry

    @property
    def size(self) -> int:
        """Number of leaves."""
        return self.log.size
