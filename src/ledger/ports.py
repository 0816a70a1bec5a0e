"""What the application needs from the world, each need one small Protocol with its contract in prose.

Rule: a port exists only where two adapters do (memory and the real one), and both pass one conformance suite.
Not here: any implementation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol

from ledger.core.hashing import Digest
from ledger.core.leaf import Stream
from ledger.core.maptree import MapTree
from ledger.machine.block import Head, Sealed, StateRow


class Store(Protocol):
    """Remembers one ledger. One writer, single-threaded; readers have adapters of their own.

    Durability: when `write_genesis`, `write` or `write_certificates` returns, what it wrote survives power loss as far as
    fsync is honest. Atomicity: each is all or nothing. After any exception from them the state is unknown: the caller
    closes the store and opens it again.
    """

    def load_head(self) -> Head | None:
        """The head as stored, None for an empty store. Raises `FatalError` when the stored head block does not check:
        its header leaf, config and registry rows, log root and state root are recomputed from what is stored."""

    def load_tree(self) -> MapTree:
        """The state map's tree, rebuilt from the stored buckets."""

    def genesis(self) -> bytes:
        """The genesis document."""

    def bundle(self, digest: Digest) -> bytes:
        """A rulebook or calendar bundle by hash; `NotFoundError`."""

    def write_genesis(self, genesis: bytes, bundles: Mapping[Digest, bytes], sealed: Sealed, note: bytes) -> None:
        """Store block 0 into an empty store."""

    def write(
        self,
        sealed: Sealed,
        note: bytes,
        certificates: Sequence[tuple[int, bytes]] = (),
        engine_height: int | None = None,
    ) -> None:
        """Store one block with the log-signed note of its checkpoint, (size, note) of certificates that came meanwhile,
        and the height of the engine that ordered it where that counts for itself (CometBFT), in one transaction."""

    def engine_height(self) -> int:
        """The engine's own height up to which everything is stored; 0 for an engine that has none."""

    def write_engine_height(self, height: int) -> None:
        """Keep the engine's height where its blocks said nothing to the ledger."""

    def write_certificates(self, certificates: Sequence[tuple[int, bytes]]) -> None:
        """Keep notes with cosignatures, (checkpoint size, note) each; a later one of the same size replaces it."""

    def write_native(self, size: int, data: bytes) -> None:
        """Keep CometBFT's own commit (`core.nativecommit`, encoded) over the checkpoint of `size` leaves, which the caller
        has verified; a later one of the same size replaces it."""

    def read_objects(self, keys: Collection[str]) -> dict[str, bytes]:
        """See `DecideView.read_objects`, of the last written block."""

    def due_timers(self, time: int, count_max: int) -> list[tuple[int, str]]:
        """See `DecideView.due_timers`."""

    def next_due(self) -> int | None:
        """Due time (unix ms) of the earliest timer, None where there is none."""

    def find_events(self, ids: Collection[tuple[str, str]]) -> dict[tuple[str, str], list[Digest]]:
        """See `DecideView.find_events`."""

    def missing_streams(self, streams: Collection[Stream]) -> set[Stream]:
        """See `DecideView.missing_streams`."""

    def read_rows(self, keys: Sequence[bytes]) -> dict[bytes, StateRow]:
        """See `SealView.read_rows`."""

    def read_buckets(self, indexes: Sequence[int]) -> Sequence[bytes]:
        """See `SealView.read_buckets`; a bucket that was never written is empty."""

    def close(self) -> None:
        """Release everything; idempotent."""


class Clock(Protocol):
    """Block time of an ordering node."""

    def now_ms(self) -> int:
        """Unix milliseconds; may jump, callers keep block time from decreasing."""


class BlockStream(Protocol):
    """Stored blocks in order, for replay: (time, framed submissions, attachments, leaves, note)."""

    def blocks(
        self, first_height: int
    ) -> Iterator[tuple[int, Sequence[bytes], Sequence[bytes], Sequence[bytes], bytes]]:
        """Blocks from `first_height` on."""
