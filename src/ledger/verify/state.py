"""Checks the state map where rules are not replayed, as far as leaves and heads determine it: the streams.

Rules: a stream's value follows from its records alone, for the outcome decides which twin a record joins (SPEC R-S03);
objects follow from verdicts' effects, which only rules know. With a copy of the state's rows the map's root is recomputed
from all of them and must be the last header's, and each stream's row must be the one recomputed; objects are then vouched
for by the root, not recomputed.
Not here: the state during a replay (there every header's state root is compared).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ledger.core.buckets import bucket_count, update
from ledger.core.hashing import Digest
from ledger.core.header import Header
from ledger.core.leaf import TimerLeaf, timer_streams
from ledger.core.mapkeys import NS_STREAM, key_hash, stream_key, value_hash
from ledger.core.maptree import MapTree
from ledger.core.merkle import EMPTY_RANGE, CompactRange
from ledger.core.stream import advance, event_streams, parse_stream_value
from ledger.machine.block import StateRow
from ledger.verify.findings import STATE, Finding, show
from ledger.verify.leaves import ReadLeaf
from ledger.verify.scratch import Scratch
from ledger.verify.source import StateEntry

ROWS_BATCH = 5_000
"""Rows that are put into the map at a time."""


@dataclass(slots=True)
class StreamBook:
    """Streams as their records make them, kept in the scratch state block by block."""

    scratch: Scratch
    joined: dict[bytes, tuple[list[int], list[Digest], list[Digest]]] = field(default_factory=dict)

    def join(self, read: ReadLeaf, seq: int, leaf_hash: Digest, fields: Mapping[str, object] | None) -> None:
        """Let a record (with the fields of its head) or a timer leaf join its streams."""
        leaf = read.leaf
        refused = read.outcome == "refused"
        if isinstance(leaf, TimerLeaf):
            names, touch = list(timer_streams(leaf.key)), leaf_hash
        else:
            touch = leaf.event_hash
            names = [("member", leaf.member)] if read.author_only else event_streams(leaf.member, dict(fields or {}))
        keys = dict.fromkeys(stream_key(kind, name, refused) for kind, name in names)
        keys.update(dict.fromkeys(stream_key(kind, name, False) for kind, name in leaf.extra_streams))
        for key in keys:
            seqs, hashes, touches = self.joined.setdefault(key, ([], [], []))
            seqs.append(seq)
            hashes.append(leaf_hash)
            touches.append(touch)

    def close_block(self, time: int) -> None:
        """Advance the streams that this block's leaves joined."""
        if not self.joined:
            return
        old = self.scratch.read_rows(list(self.joined))
        rows: dict[bytes, StateRow] = {}
        for key, (seqs, hashes, touches) in self.joined.items():
            before = old.get(key)
            previous = parse_stream_value(before.value) if before is not None else None
            tree = (
                EMPTY_RANGE if previous is None or before is None else CompactRange.parse(previous.size, before.range)
            )
            value, tree = advance(previous, tree, seqs, hashes, time, touches[-1:])
            rows[key] = StateRow(value.encode(), tree.encode())
        self.scratch.write_rows(rows)
        self.joined = {}


@dataclass(slots=True)
class StateResult:
    """What `check_rows` found: the number of rows, and how many streams among them were recomputed."""

    rows: int = 0
    streams: int = 0
    findings: list[Finding] = field(default_factory=list)


def check_rows(
    entries: Iterable[StateEntry], header: Header, scratch: Scratch, *, streams: bool, rows: bool
) -> StateResult:
    """Compare a source's copy of the state with the last header, and with what was recomputed.

    `streams`: the scratch state holds every stream; `rows`: it holds every row, as after a full replay.
    """
    result = StateResult()
    builder = None if rows else MapBuilder()
    batch: list[StateEntry] = []
    for entry in entries:
        batch.append(entry)
        if len(batch) == ROWS_BATCH:
            _check_batch(batch, scratch, result, builder, streams)
            batch = []
    _check_batch(batch, scratch, result, builder, streams)
    wanted: tuple[tuple[str, object, object], ...] = ()
    if builder is None:
        # Every row equals the recomputed one, whose root each header named: only their number is left to say.
        wanted = (("rows", scratch.map_size(), result.rows),)
    else:
        wanted = (
            ("state.keys", header.state_keys, builder.keys),
            ("state.buckets", header.state_buckets, bucket_count(builder.keys)),
            ("state.root", header.state_root, builder.tree.root()),
        )
    for name, expected, got in wanted:
        if expected != got:
            result.findings.append(
                Finding("state-copy", STATE, header.height, field=name, expected=show(expected), got=show(got))
            )
    return result


def _check_batch(
    batch: Sequence[StateEntry], scratch: Scratch, result: StateResult, builder: MapBuilder | None, streams: bool
) -> None:
    if not batch:
        return
    known = scratch.read_rows([key for key, _ in batch]) if streams or builder is None else {}
    for key, value in batch:
        result.rows += 1
        is_stream = key[:1] == bytes((NS_STREAM,))
        if builder is not None and not (streams and is_stream):
            continue
        result.streams += is_stream
        row = known.get(key)
        if row is None or row.value != value:
            result.findings.append(_row(key, row, value))
    if builder is not None:
        builder.add(batch)


def _row(key: bytes, row: StateRow | None, got: bytes) -> Finding:
    return Finding(
        "state-row",
        STATE,
        place=f"row {key.hex()}",
        expected="no row" if row is None else show(row.value.decode("utf-8", "replace")),
        got=show(got.decode("utf-8", "replace")),
    )


class MapBuilder:
    """The state map of rows that come in any order, a batch at a time; buckets are held packed, 64 bytes a row."""

    def __init__(self) -> None:
        self.tree = MapTree.empty()
        self.keys = 0
        self._buckets: dict[int, bytes] = {}

    def add(self, rows: Sequence[StateEntry]) -> None:
        """Put rows into the map; a key that comes twice counts once, which the number of keys then shows."""
        changes = {key_hash(key): value_hash(value) for key, value in rows}
        updated = update(
            self.tree.size, self.keys, changes, lambda wanted: [self._buckets.get(index, b"") for index in wanted]
        )
        self.tree.apply(updated.leaf_hashes(), updated.n)
        self.keys = updated.keys
        self._buckets.update(updated.buckets)


__all__ = ["MapBuilder", "StateResult", "StreamBook", "check_rows"]
