"""Reads a source for a report: records block by block, the state row by row, once each.

Rule: the state's root is compared with the head's header, because figures come from it; everything else is `ledger verify`'s
to check, and the report says so. A source without a copy of the state cannot be reported on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ledger.adapters.runtime.compiling import checked_rulebook
from ledger.blockcodec import BlockData, parse_block
from ledger.core.buckets import bucket_count
from ledger.core.config import Config, parse_config
from ledger.core.event import event_hash_parts, parse_head
from ledger.core.genesis import parse_genesis
from ledger.core.hashing import Digest, sha256
from ledger.core.header import Header, parse_header
from ledger.core.leaf import Record, TimerLeaf, parse_leaf
from ledger.core.mapkeys import config_key, parse_object_value
from ledger.errors import NotFoundError, VerificationError
from ledger.report.build import Report, build_tables
from ledger.report.facts import DAY_MS, Collector, Filter
from ledger.rules.kinds import Kind
from ledger.verify.source import LedgerSource
from ledger.verify.state import MapBuilder

ROWS_BATCH = 4_096


def report(
    source: LedgerSource, wanted: Callable[[int], Filter], progress: Callable[[int], None] | None = None
) -> Report:
    """The report on `source`; `wanted` makes the filter for the rulebook's zone (ms east of UTC), `progress`
    gets the leaves read so far.

    Raises `NotFoundError` for a source without state, `VerificationError` when the state is not that of the last header.
    """
    genesis = parse_genesis(source.genesis())
    head = _last_header(source)
    rows = source.state()
    if rows is None or head is None:
        raise NotFoundError("state", "a report needs the state: a data directory, or an export made with --state")
    config = _config(source)
    book = checked_rulebook(config.rulebook, config.calendar, source.bundle)
    filter_ = wanted(book.zone_ms)
    collector = Collector(book.sections, filter_, head.time)
    for block in _blocks(source):
        _records(block, collector, book.kinds)
        if progress is not None:
            progress(parse_header(block.leaves[-1]).index)
    builder, batch = MapBuilder(), []
    for key, value in rows:
        collector.row(key, value)
        batch.append((key, value))
        if len(batch) == ROWS_BATCH:
            builder.add(batch)
            batch = []
    builder.add(batch)
    found = (builder.keys, bucket_count(builder.keys), builder.tree.root())
    if found != (head.state_keys, head.state_buckets, head.state_root):
        raise VerificationError(
            "state-copy", "the state is not that of the last block", expected=head.state_root, got=found[2]
        )
    return Report(
        source=source.name,
        origin=genesis.origin,
        rulebook=book.title,
        filter=filter_,
        zone_ms=book.zone_ms,
        height=head.height,
        time=head.time,
        size=head.index + 1,
        state_root=head.state_root.hex(),
        checked=True,
        simulated=genesis.clock == "scenario",
        tables=build_tables(collector.finish(), book, book.sections),
    )


def parse_period(text: str, zone_ms: int) -> tuple[int | None, int | None]:
    """(since, until) in unix ms of `2026-01-01..2026-03-31`: whole days of the zone, either end may be left out.

    Raises `ValueError` for anything else.
    """
    from datetime import date

    first, dots, last = text.partition("..")
    if not dots or not (first or last):
        raise ValueError("a period is FIRST..LAST, days like 2026-01-31")
    epoch = date(1970, 1, 1).toordinal()
    since = None if not first else (date.fromisoformat(first).toordinal() - epoch) * DAY_MS - zone_ms
    until = None if not last else (date.fromisoformat(last).toordinal() - epoch + 1) * DAY_MS - zone_ms
    if since is not None and until is not None and since >= until:
        raise ValueError("a period ends on or after the day it begins")
    return since, until


def _blocks(source: LedgerSource) -> Iterator[BlockData]:
    for piece in source.pieces():
        for encoded in piece.load().blocks:
            yield parse_block(encoded)


def _last_header(source: LedgerSource) -> Header | None:
    """The header of the last block; only the last piece is read."""
    last = None
    for piece in source.pieces():
        last = piece
    blocks = last.load().blocks if last is not None else ()
    return parse_header(parse_block(blocks[-1]).leaves[-1]) if blocks else None


def _config(source: LedgerSource) -> Config:
    """The config in force after the last block."""
    wanted = config_key()
    for key, value in source.state() or ():
        if key == wanted:
            return parse_config(parse_object_value(value)[1])
    raise NotFoundError("state", "the state holds no config")


def _records(block: BlockData, collector: Collector, kinds: Mapping[str, Kind]) -> None:
    events: dict[Digest, tuple[bytes, bytes | None]] = {
        event_hash_parts(sha256(head), body_hash): (head, body)
        for submission in block.submissions
        for head, body, body_hash in submission.events
    }
    for leaf in block.leaves[:-1]:
        parsed = parse_leaf(leaf)
        if isinstance(parsed, TimerLeaf):
            collector.timer(block.time)
        elif isinstance(parsed, Record) and parsed.event_hash in events:
            data, body = events[parsed.event_hash]
            head = parse_head(data)
            collector.record(block.time, parsed.member, head, parsed.verdict, _datasets(head, kinds), body)


def _datasets(head: dict[str, object], kinds: Mapping[str, Kind]) -> list[str]:
    """The datasets that an event's refs name."""
    kind = kinds.get(str(head["kind"]))
    refs = head["refs"]
    if kind is None or not isinstance(refs, dict):
        return []
    names = {ref.name for ref in kind.refs if ref.object == "dataset"} | {"dataset"}
    found: list[str] = []
    for name in names & refs.keys():
        value = refs[name]
        found.extend(value if isinstance(value, list) else [value])
    return found
