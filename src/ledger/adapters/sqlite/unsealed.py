"""What the writers of blocks need of a block that others decided: its items in leaf order, without their effects.

Rules: a record's leaf belongs to the next event with its hash and member; an event without a leaf stood in the log already.
A body that is not here is written as an erased one is, by its hash. Not here: whether any of it is true.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ledger.adapters.sqlite.blocks import Erased, pack_body
from ledger.blockcodec import BlockData
from ledger.core import canonical, merkle
from ledger.core.event import Event, event_hash_parts, parse_head
from ledger.core.hashing import sha256
from ledger.core.header import parse_header
from ledger.core.leaf import Record, parse_leaf, timer_streams
from ledger.core.mapkeys import stream_key
from ledger.core.maptree import TreeUndo
from ledger.core.merkle import EMPTY_RANGE
from ledger.core.stream import event_streams
from ledger.core.submission import Submission
from ledger.errors import MalformedError
from ledger.machine.block import REFUSED, BlockInput, Decision, Item, Sealed

if TYPE_CHECKING:
    from ledger.core.config import Config
    from ledger.core.registry import Registry

# Verdicts of the ledger itself after which a record joins its author's stream only (SPEC R-L12, R-S05).
_AUTHOR_ONLY = frozenset(("conflict", "stream-limit"))


def unsealed(block: BlockData) -> Sealed:
    """`block` as the writers of blocks, tiles and the event index take it.

    Its rows, its buckets, registry and config are not what it made: none of these writers reads them. Raises
    `MalformedError` (code `block`) where its leaves are not those of its events.
    """
    if not block.leaves:
        raise MalformedError("block", "a block without leaves", height=block.height)
    header = parse_header(block.leaves[-1])
    leaves = [parse_leaf(leaf) for leaf in block.leaves[:-1]]
    records = [(at, leaf) for at, leaf in enumerate(leaves) if isinstance(leaf, Record)]
    items: list[Item] = [_item() for _ in leaves]
    duplicates: list[tuple[int, int]] = []
    submissions: list[Submission] = []
    found = 0
    for number, each in enumerate(block.submissions):
        events: list[Event] = []
        for place, (head, body, body_hash) in enumerate(each.events):
            stored = body if body is not None else cast("bytes", pack_body(Erased(body_hash)))
            event = Event(head, stored, parse_head(head), {}, event_hash_parts(sha256(head), body_hash))
            events.append(event)
            record = records[found][1] if found < len(records) else None
            if record is not None and (record.event_hash, record.member) == (event.hash, each.member):
                at = records[found][0]
                items[at].event, items[at].member, items[at].place = event, each.member, (number, place)
                found += 1
            else:
                duplicates.append((number, place))
        submissions.append(
            Submission("", each.member, each.key_id, tuple(events), each.signature, header.prev_root, header.prev_root)
        )
    if found != len(records) or header.count != len(leaves) or header.height != block.height:
        raise MalformedError("block", "leaves without their events", height=block.height)
    inputs = BlockInput(block.height, block.time, tuple(submissions), block.attachments)
    decision = Decision(inputs, items, duplicates, cast("Registry", None), cast("Config", None))
    hashes = [merkle.leaf_hash(leaf) for leaf in block.leaves]
    size = header.index + 1
    return Sealed(
        decision,
        header,
        list(block.leaves),
        hashes,
        EMPTY_RANGE,
        {},
        {},
        {},
        {},
        {},
        TreeUndo(0),
        size,
        header.prev_root,
    )


def _item() -> Item:
    return Item(b"", REFUSED, refused_streams=False, extra_streams=(), writes=[], timers=[])


def joined_streams(leaf: bytes, head: bytes | None) -> list[bytes]:
    """Map keys of the streams that a record (with its head) or a timer leaf joined (SPEC R-S02, R-S03)."""
    read = parse_leaf(leaf)
    if isinstance(read, bytes):
        raise MalformedError("block", "a header among the records")
    verdict = canonical.parse(read.verdict)
    refused = verdict["outcome"] == "refused"
    if not isinstance(read, Record):
        names = list(timer_streams(read.key))
    elif any(reason[0] == "ledger" and reason[1] in _AUTHOR_ONLY for reason in verdict.get("reasons", ())):
        names = [("member", read.member)]
    else:
        names = event_streams(read.member, parse_head(head or b""))
    keys = dict.fromkeys(stream_key(kind, name, refused) for kind, name in names)
    keys.update(dict.fromkeys(stream_key(kind, name, False) for kind, name in read.extra_streams))
    return list(keys)
