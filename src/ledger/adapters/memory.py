"""A store in memory: what the `Store` port promises, in dictionaries, with a hook that makes any write fail.

Rule: it survives `close` as long as its `Memory` is kept, so that a test can crash it and open it again. A fault is a
pair (applied, error): the write may be lost, lost with an error, or done although an error is reported.
Not here: durability, and the readers' side (see `ledger.adapters.sqlite`).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ledger.core.buckets import bucket_leaf_hash
from ledger.core.bundle import bundle_hash, parse_bundle
from ledger.core.hashing import Digest
from ledger.core.header import encode_header
from ledger.core.leaf import Stream
from ledger.core.mapkeys import object_key, parse_object_value, stream_key
from ledger.core.maptree import MapTree
from ledger.core.merkle import leaf_hash
from ledger.errors import FatalError, NotFoundError, UnavailableError, invariant
from ledger.machine.block import Head, Sealed, StateRow
from ledger.machine.seal import head_after

Fault = Callable[[str, int], tuple[bool, Exception | None]]
"""Asked before each write with its name and number (height or size): is it applied, and what is raised after it?"""


def no_fault(_operation: str, _number: int) -> tuple[bool, Exception | None]:
    """Every write is applied and nothing is raised."""
    return True, None


@dataclass(slots=True)
class Memory:
    """The contents of a store, which outlive it."""

    genesis: bytes = b""
    bundles: dict[Digest, bytes] = field(default_factory=dict)
    blocks: list[tuple[Sealed, bytes]] = field(default_factory=list)
    certificates: dict[int, bytes] = field(default_factory=dict)
    rows: dict[bytes, StateRow] = field(default_factory=dict)
    buckets: dict[int, bytes] = field(default_factory=dict)
    events: dict[tuple[str, str], list[Digest]] = field(default_factory=dict)
    timers: dict[str, int] = field(default_factory=dict)
    due: list[tuple[int, str]] = field(default_factory=list)
    stream_seqs: dict[bytes, list[int]] = field(default_factory=dict)
    engine_height: int = 0
    native: dict[int, bytes] = field(default_factory=dict)


class MemoryStore:
    """The `Store` port over a `Memory`."""

    def __init__(self, memory: Memory | None = None, fault: Fault = no_fault) -> None:
        self.memory = Memory() if memory is None else memory
        self._fault = fault
        self._usable = True

    # --- reading -----------------------------------------------------------------------------------------------------

    def load_head(self) -> Head | None:
        """See `Store`."""
        memory = self._open()
        if not memory.blocks:
            return None
        sealed, _ = memory.blocks[-1]
        hashes = [leaf_hash(leaf) for leaf in sealed.leaves]
        if hashes != sealed.leaf_hashes or sealed.leaves[-1] != encode_header(sealed.header):
            raise FatalError("head-block", "stored leaves do not give the stored hashes", height=sealed.height)
        root = self.load_tree().root()
        if root != sealed.header.state_root:
            expected = sealed.header.state_root
            raise FatalError("head-state", "state root differs", height=sealed.height, expected=expected, got=root)
        return head_after(sealed)

    def load_tree(self) -> MapTree:
        """See `Store`."""
        buckets = self._open().buckets
        size = max(buckets, default=0) + 1
        return MapTree.from_leaves(b"".join(bucket_leaf_hash(buckets.get(index, b"")) for index in range(size)))

    def genesis(self) -> bytes:
        """See `Store`."""
        memory = self._open()
        if not memory.blocks:
            raise NotFoundError("genesis", "the store is empty")
        return memory.genesis

    def bundle(self, digest: Digest) -> bytes:
        """See `Store`."""
        found = self._open().bundles.get(digest)
        if found is None:
            raise NotFoundError("bundle", "no such bundle is stored", digest=digest)
        return found

    def read_objects(self, keys: Collection[str]) -> dict[str, bytes]:
        """See `Store`."""
        rows = self._open().rows
        found: dict[str, bytes] = {}
        for key in keys:
            row = rows.get(object_key(key))
            if row is not None and row.value:
                found[key] = parse_object_value(row.value)[1]
        return found

    def due_timers(self, time: int, count_max: int) -> list[tuple[int, str]]:
        """See `Store`."""
        due = self._open().due
        return due[: min(bisect_left(due, (time + 1, "")), count_max)]

    def next_due(self) -> int | None:
        """See `Store`."""
        due = self._open().due
        return due[0][0] if due else None

    def find_events(self, ids: Collection[tuple[str, str]]) -> dict[tuple[str, str], list[Digest]]:
        """See `Store`."""
        events = self._open().events
        return {name: list(events[name]) for name in ids if name in events}

    def missing_streams(self, streams: Collection[Stream]) -> set[Stream]:
        """See `Store`."""
        rows = self._open().rows
        return {stream for stream in streams if stream_key(*stream, False) not in rows}

    def read_rows(self, keys: Sequence[bytes]) -> dict[bytes, StateRow]:
        """See `Store`."""
        rows = self._open().rows
        return {key: rows[key] for key in keys if key in rows}

    def read_buckets(self, indexes: Sequence[int]) -> Sequence[bytes]:
        """See `Store`."""
        buckets = self._open().buckets
        return [buckets.get(index, b"") for index in indexes]

    # --- writing -----------------------------------------------------------------------------------------------------

    def write_genesis(self, genesis: bytes, bundles: Mapping[Digest, bytes], sealed: Sealed, note: bytes) -> None:
        """See `Store`."""
        memory = self._open()
        invariant(not memory.blocks and sealed.height == 0, "genesis goes into an empty store")

        def apply() -> None:
            memory.genesis = genesis
            memory.bundles.update(bundles)
            self._apply(sealed, note)

        self._write("genesis", 0, apply)

    def write(
        self,
        sealed: Sealed,
        note: bytes,
        certificates: Sequence[tuple[int, bytes]] = (),
        engine_height: int | None = None,
    ) -> None:
        """See `Store`."""
        memory = self._open()
        invariant(len(memory.blocks) == sealed.height > 0, "a block follows the last one")

        def apply() -> None:
            self._apply(sealed, note)
            memory.certificates.update(certificates)
            if engine_height is not None:
                memory.engine_height = engine_height

        self._write("block", sealed.height, apply)

    def write_certificates(self, certificates: Sequence[tuple[int, bytes]]) -> None:
        """See `Store`."""
        memory = self._open()
        newest = max(size for size, _ in certificates)
        self._write("certificate", newest, lambda: memory.certificates.update(certificates))

    def write_native(self, size: int, data: bytes) -> None:
        """See `Store`."""
        memory = self._open()
        self._write("native", size, lambda: memory.native.update({size: data}))

    def engine_height(self) -> int:
        """See `Store`."""
        return self._open().engine_height

    def write_engine_height(self, height: int) -> None:
        """See `Store`."""
        memory = self._open()

        def apply() -> None:
            memory.engine_height = height

        self._write("engine-height", height, apply)

    def close(self) -> None:
        """See `Store`."""
        self._usable = False

    def _open(self) -> Memory:
        if not self._usable:
            raise UnavailableError("store-closed", "the store was closed or a write failed; open it again")
        return self.memory

    def _write(self, operation: str, number: int, apply: Callable[[], None]) -> None:
        applied, error = self._fault(operation, number)
        if applied:
            apply()
        if error is not None:
            self._usable = False
            raise error
        if not applied:
            self._usable = False  # a silent loss: only the reopened store shows it

    def _apply(self, sealed: Sealed, note: bytes) -> None:
        memory = self.memory
        memory.blocks.append((sealed, note))
        for data in sealed.decision.block.attachments:
            memory.bundles[bundle_hash(parse_bundle(data))] = data
        memory.rows.update(sealed.rows)
        memory.buckets.update(sealed.buckets)
        for key, seqs in sealed.stream_seqs.items():
            memory.stream_seqs.setdefault(key, []).extend(seqs)
        for item in sealed.decision.items:
            if item.event is not None:
                memory.events.setdefault((item.member, item.event.id), []).append(item.event.hash)
            if item.timer_key:
                self._set_timer(item.timer_key, None)
            for timer, due in item.timers:
                self._set_timer(timer, due)

    def _set_timer(self, key: str, due: int | None) -> None:
        memory = self.memory
        old = memory.timers.pop(key, None)
        if old is not None:
            del memory.due[bisect_left(memory.due, (old, key))]
        if due is not None:
            memory.timers[key] = due
            insort(memory.due, (due, key))
