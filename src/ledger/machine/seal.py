"""Seal a decided block: append its leaves, advance streams and state map, close it with the header (SPEC R-B01 to R-B06).

Rule: everything is computed here and nothing is written; whoever commits persists the `Sealed` in one transaction. The
map tree in memory advances with the seal, its undo layer takes it back. Not here: verdicts.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256

from ledger.core.buckets import update
from ledger.core.config import Config
from ledger.core.genesis import Genesis
from ledger.core.hashing import Digest
from ledger.core.header import Header, encode_header
from ledger.core.leaf import TimerLeaf, encode_record_parts, encode_timer, record_common
from ledger.core.mapkeys import (
    config_key,
    key_hash,
    key_key,
    member_key,
    next_blind,
    object_key,
    object_value,
    parse_object_value,
    stream_key,
    value_hash,
)
from ledger.core.maptree import MapTree
from ledger.core.merkle import EMPTY_RANGE, EMPTY_ROOT, CompactRange
from ledger.core.registry import genesis_registry
from ledger.core.stream import StreamValue, advance, parse_stream_value
from ledger.machine.block import BlockInput, Decision, Head, Item, Sealed, StateRow
from ledger.machine.views import SealView

# Pure functions of names that come again in every block; the bound is some megabytes.
_stream_key = lru_cache(maxsize=8_192)(stream_key)
_object_key = lru_cache(maxsize=8_192)(object_key)
_key_hash = lru_cache(maxsize=16_384)(key_hash)


def seal(decision: Decision, view: SealView) -> Sealed:
    """The sealed block of `decision`, whose predecessor `view` shows; advances `view.tree` in memory."""
    head, block = view.head, decision.block
    leaves, hashes = _leaves(decision)
    streams = _Streams(head.size)
    objects: dict[bytes, tuple[bytes, Digest]] = {}
    for position, item in enumerate(decision.items):
        leaf_hash = hashes[position]
        touch = item.event.hash if item.event is not None else leaf_hash
        streams.join(item, position, leaf_hash, touch)
        for name, value in item.writes:
            objects[_object_key(name)] = (value, touch)
    for key, value, touch in decision.registry_writes:
        objects[key] = (value, touch)
    if decision.config != head.config:
        objects[config_key()] = (decision.config.encode(), decision.registry_writes[-1][2])
    stream_keys = streams.keys()
    old = view.read_rows([*stream_keys, *objects])
    rows = streams.rows(stream_keys, old, block.time)
    for key, (value, touch) in objects.items():
        rows[key] = _object_row(value, touch, old.get(key))
    return _close(decision, view, leaves, hashes, rows, old, streams.seqs(stream_keys))


def seal_genesis(genesis: Genesis, config: Config, tree: MapTree) -> tuple[Sealed, Head]:
    """Block 0: one leaf, the header with the genesis hash; the state holds members, keys and config."""
    registry = genesis_registry(genesis)
    block = BlockInput(height=0, time=genesis.time)
    decision = Decision(block, [], [], registry, config)
    before = Head(-1, genesis.time, EMPTY_RANGE, 0, config, registry)
    blind = next_blind(None, genesis.hash)
    documents = {config_key(): config.encode()}
    documents.update({member_key(entry.id): entry.encode() for entry in registry.members.values()})
    documents.update({key_key(key_id): entry.encode() for key_id, entry in registry.keys.items()})
    rows = {key: StateRow(object_value(blind, data)) for key, data in documents.items()}
    sealed = _close(decision, _GenesisView(before, tree), [], [], rows, {}, {}, genesis.hash)
    return sealed, head_after(sealed)


def head_after(sealed: Sealed) -> Head:
    """The head once `sealed` is the last block."""
    decision = sealed.decision
    return Head(
        height=sealed.header.height,
        time=sealed.header.time,
        log=sealed.log,
        state_keys=sealed.header.state_keys,
        config=decision.config,
        registry=decision.registry,
    )


class _GenesisView:
    """A `SealView` of nothing."""

    def __init__(self, head: Head, tree: MapTree) -> None:
        self.head, self.tree = head, tree

    def read_rows(self, keys: Iterable[bytes]) -> dict[bytes, StateRow]:
        """No rows."""
        del keys
        return {}

    def read_buckets(self, indexes: Iterable[int]) -> list[bytes]:
        """One empty bucket each."""
        return [b"" for _ in indexes]


def _leaves(decision: Decision) -> tuple[list[bytes], list[Digest]]:
    """Leaf bytes and RFC 6962 leaf hashes of the items."""
    height = decision.block.height
    common = [record_common(each.key_id, each.member, each.identity) for each in decision.block.submissions]
    leaves: list[bytes] = []
    hashes: list[Digest] = []
    for item in decision.items:
        event = item.event
        if event is None:
            timer = TimerLeaf(height, item.timer_due, item.timer_key, item.verdict, item.extra_streams)
            leaf = encode_timer(timer)
        else:
            leaf = encode_record_parts(
                height, event.fields["id"], event.hash, common[item.place[0]], item.verdict, item.extra_streams
            )
        leaves.append(leaf)
        hashes.append(Digest(sha256(b"\x00" + leaf).digest()))
    return leaves, hashes


class _Streams:
    """Who joins which stream in this block."""

    def __init__(self, first_seq: int) -> None:
        self._first_seq = first_seq
        self._joined: dict[tuple[str, str, bool], tuple[list[int], list[Digest], list[Digest]]] = {}

    def join(self, item: Item, position: int, leaf_hash: Digest, touch: Digest) -> None:
        """Let the leaf at `position` join its streams; those that a finding names are never suffixed (R-S03)."""
        refused = item.refused_streams
        names = [(kind, name, refused) for kind, name in item.streams]
        for kind, name in item.extra_streams:
            if (kind, name, False) not in names:
                names.append((kind, name, False))
        joined, seq = self._joined, self._first_seq + position
        for stream in names:
            found = joined.get(stream)
            if found is None:
                joined[stream] = ([seq], [leaf_hash], [touch])
            else:
                found[0].append(seq)
                found[1].append(leaf_hash)
                found[2][0] = touch

    def keys(self) -> dict[bytes, tuple[str, str, bool]]:
        """Map key of every joined stream."""
        return {_stream_key(*stream): stream for stream in self._joined}

    def rows(
        self, keys: dict[bytes, tuple[str, str, bool]], old: dict[bytes, StateRow], time: int
    ) -> dict[bytes, StateRow]:
        """The advanced stream rows. The blind advances once per block, by the last record that joined (R-S04)."""
        rows: dict[bytes, StateRow] = {}
        for key, stream in keys.items():
            seqs, hashes, touches = self._joined[stream]
            before = old.get(key)
            previous, tree = (None, EMPTY_RANGE) if before is None else before.parsed or _parse_stream(before)
            value, tree = advance(previous, tree, seqs, hashes, time, touches)
            rows[key] = StateRow(value.encode(), tree.encode(), (value, tree))
        return rows

    def seqs(self, keys: dict[bytes, tuple[str, str, bool]]) -> dict[bytes, list[int]]:
        """Leaf indexes that joined each stream, by map key."""
        return {key: self._joined[stream][0] for key, stream in keys.items()}


def _parse_stream(row: StateRow) -> tuple[StreamValue, CompactRange]:
    value = parse_stream_value(row.value)
    return value, CompactRange.parse(value.size, row.range)


def _object_row(value: bytes, touch: Digest, before: StateRow | None) -> StateRow:
    """The row of a written object; its blind follows the one before (R-M06), a deleted object starts anew."""
    if not value:
        return StateRow(b"")
    blind = parse_object_value(before.value)[0] if before is not None and before.value else None
    return StateRow(object_value(next_blind(blind, touch), value))


def _close(
    decision: Decision,
    view: SealView | _GenesisView,
    leaves: list[bytes],
    hashes: list[Digest],
    rows: dict[bytes, StateRow],
    old: dict[bytes, StateRow],
    stream_seqs: dict[bytes, list[int]],
    genesis: Digest | None = None,
) -> Sealed:
    """Advance the map, write the header, append everything to the log."""
    head, block, tree = view.head, decision.block, view.tree
    old_buckets: dict[int, bytes] = {}

    def read_buckets(indexes: Iterable[int]) -> list[bytes]:
        wanted = list(indexes)
        contents = list(view.read_buckets(wanted))
        old_buckets.update(zip(wanted, contents, strict=True))
        return contents

    changes = {_key_hash(key): value_hash(row.value) for key, row in rows.items()}
    updated = update(tree.size, head.state_keys, changes, read_buckets)
    undo = tree.apply(updated.leaf_hashes(), updated.n)
    header = Header(
        height=block.height,
        time=block.time,
        first_seq=head.size,
        count=len(leaves),
        prev_size=head.size,
        prev_root=head.log.root() if head.size else EMPTY_ROOT,
        state_root=tree.root(),
        state_buckets=updated.n,
        state_keys=updated.keys,
        config=head.config.hash,
        genesis=genesis,
    )
    leaf = encode_header(header)
    leaves, hashes = [*leaves, leaf], [*hashes, Digest(sha256(b"\x00" + leaf).digest())]
    log = head.log.extend(hashes)
    return Sealed(
        decision=decision,
        header=header,
        leaves=leaves,
        leaf_hashes=hashes,
        log=log,
        rows=rows,
        old_rows={key: old.get(key) for key in rows},
        stream_seqs=stream_seqs,
        buckets=updated.buckets,
        old_buckets=old_buckets,
        undo=undo,
        size=log.size,
        root=log.root(),
        changed=updated.changed,
    )
