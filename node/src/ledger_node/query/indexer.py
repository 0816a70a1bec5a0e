"""Keeps the index close behind the ledger: blocks as they are committed, or read back where it fell behind.

Rule: the engine's thread only hands over what it has in memory; everything else happens on the indexer's own thread, in
transactions of many blocks. A block that was not handed over (start, rebuild, a full queue) is read from the store.
Not here: what of a leaf is indexed (see `facts`).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import structlog

from ledger.adapters.sqlite.reader import SqliteReader
from ledger.adapters.sqlite.snapshot import Snapshot
from ledger.core import canonical
from ledger.core.event import parse_head
from ledger.core.leaf import Record, TimerLeaf, parse_leaf
from ledger.core.mapkeys import object_key, parse_object_value
from ledger.machine.block import Sealed
from ledger.rules.kinds import Kind
from ledger_node.query.facts import Facts, describes, record_facts, timer_facts
from ledger_node.query.index import FILE_NAME, Index, Status
from ledger_node.query.ports import Node

HELD_LEAVES_MAX: Final = 20_000  # handed over and not indexed yet: bounds memory when blocks come fast
BATCH_BLOCKS_MAX: Final = 200
RETRY_S: Final = 2.0  # after a failure, before the index is begun anew
PAUSE_S: Final = 0.1  # blocks of this time share one transaction


class Indexer:
    """One thread that writes one index. `kinds` are the declarations of the rulebook in force."""

    def __init__(self, index: Index, reader: SqliteReader, kinds: Mapping[str, Kind]) -> None:
        self.index, self._reader, self._kinds = index, reader, kinds
        self._queue: queue.SimpleQueue[Sealed | None] = queue.SimpleQueue()
        self._held = 0  # leaves in the queue
        self._moved = threading.Condition()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="index", daemon=True)
        self.failure: Exception | None = None
        self._log = structlog.get_logger("index")

    def start(self) -> None:
        """Start indexing."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the transaction in hand."""
        self._closing.set()
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join(10)
        self.index.close()

    def committed(self, sealed: Sealed, _note: bytes) -> None:
        """A block is durable (called on the engine's thread). Beyond the queue's bound it is read back later."""
        count = len(sealed.leaves)
        with self._moved:
            if self._held + count > HELD_LEAVES_MAX:
                return
            self._held += count
        self._queue.put(sealed)

    def wait(self, height: int, timeout_s: float) -> bool:
        """Whether the index holds block `height`, at the latest after `timeout_s`."""
        with self._moved:
            return self._moved.wait_for(lambda: self.index.height >= height, timeout_s)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._catch_up()
                while not self._closing.is_set():
                    if not self._follow(self._take()):
                        self._catch_up()
            except Exception as error:  # noqa: BLE001 - an index is never worth a node: say so and go on without
                self.failure = error
                self._log.exception("index.failed", height=self.index.height)
                self._start_over()

    def _start_over(self) -> None:
        """Losing the index costs a rebuild, so whatever is wrong with it is not examined further."""
        if self._closing.wait(RETRY_S):
            return
        try:
            self.index.start_over()
        except Exception as error:  # noqa: BLE001 - such as a full disk; tried again after the next failure
            self.failure = error

    def _catch_up(self) -> None:
        """Index what stands in the store already, many blocks at a time."""
        while not self._closing.is_set():
            with self._reader.snapshot() as snap:
                first = self.index.height + 1
                last = min(snap.head_height, first + BATCH_BLOCKS_MAX - 1)
                if last < first:
                    return
                heights = range(first, last + 1)
                facts = [each for height in heights for each in read_block_facts(snap, height, self._kinds)]
                self._write(snap, last, facts)

    def _take(self) -> list[Sealed]:
        """The blocks handed over within a moment; empty when there were none for a second."""
        try:
            found = [self._queue.get(timeout=1)]
        except queue.Empty:
            return []
        self._closing.wait(PAUSE_S)
        while len(found) < BATCH_BLOCKS_MAX and not self._queue.empty():
            found.append(self._queue.get())
        blocks = [sealed for sealed in found if sealed is not None]
        with self._moved:
            self._held -= sum(len(sealed.leaves) for sealed in blocks)
        return blocks

    def _follow(self, blocks: list[Sealed]) -> bool:
        """Index the blocks that follow one another; False where the store has to be read instead."""
        height = self.index.height
        facts: list[Facts] = []
        for sealed in blocks:
            if sealed.height == height + 1:
                facts.extend(sealed_facts(sealed, self._kinds))
                height = sealed.height
        if height > self.index.height:
            with self._reader.snapshot() as snap:
                self._write(snap, height, facts)
        return bool(blocks) and blocks[-1].height <= height

    def _write(self, snap: Snapshot, height: int, facts: list[Facts]) -> None:
        touched = {name for each in facts for name in each.touched}
        self.index.write(height, facts, read_statuses(snap, touched))
        self.failure = None
        with self._moved:
            self._moved.notify_all()


class _KindsInForce(Mapping[str, Kind]):
    """The declarations of the rulebook in force, also after another one took effect."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def __getitem__(self, name: str) -> Kind:
        return self._node.rules.book.kinds[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._node.rules.book.kinds)

    def __len__(self) -> int:
        return len(self._node.rules.book.kinds)


def open_indexer(node: Node) -> Indexer:
    """The indexer of a node, listening to its engine; its file lies in the node's data directory."""
    index = Index(node.options.data_dir / FILE_NAME, node.origin)
    indexer = Indexer(index, node.reader, _KindsInForce(node))
    node.engine.on_commit.append(indexer.committed)
    return indexer


def sealed_facts(sealed: Sealed, kinds: Mapping[str, Kind]) -> Iterator[Facts]:
    """The facts of a block as it was sealed, nothing read or parsed twice."""
    known: dict[str, Kind] = dict(kinds)  # asking for those in force costs more than a leaf's facts
    for seq, item in enumerate(sealed.decision.items, sealed.header.first_seq):
        event = item.event
        if event is None:
            yield timer_facts(seq, TimerLeaf(sealed.height, item.timer_due, item.timer_key, item.verdict))
        else:
            yield record_facts(seq, item.member, event.id, item.verdict, event.fields, event.content, known)


def read_block_facts(snap: Snapshot, height: int, kinds: Mapping[str, Kind]) -> Iterator[Facts]:
    """The facts of a stored block."""
    block = snap.block(height)
    for stored in snap.leaves(range(block.first_seq, block.first_seq + block.count), places=False):
        leaf = parse_leaf(stored.leaf)
        if isinstance(leaf, TimerLeaf):
            yield timer_facts(stored.seq, leaf)
        elif isinstance(leaf, Record) and stored.head is not None:
            head = parse_head(stored.head)
            wanted = stored.body is not None and describes(kinds.get(head["kind"]))
            body = canonical.parse(stored.body) if wanted and stored.body is not None else None
            yield record_facts(stored.seq, leaf.member, leaf.id, leaf.verdict, head, body, kinds)


def read_statuses(snap: Snapshot, names: Iterable[str]) -> dict[str, Status]:
    """The present (status, due) of findings and duties by state key; those without one are left out."""
    found: dict[str, Status] = {}
    for name in names:
        row = snap.row(object_key(name))
        if row is None or not row.value:
            continue
        fields = canonical.parse(parse_object_value(row.value)[1])
        status, due = fields.get("status"), fields.get("due")
        if isinstance(status, str):
            found[name] = (status, due if isinstance(due, int) else None)
    return found
