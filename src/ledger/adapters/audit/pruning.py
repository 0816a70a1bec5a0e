"""Carries out an accepted `archive.prune` on one stopped node: erases the bodies that it covers, after every check.

Rules: nothing is erased before the record and the height that it names are certified and the export it names lies here,
whole, with a state that is the ledger's at that height; a body that a grant or entry not yet pruned needs, or that is
younger, stays. Erasing goes in batches, each in one transaction: what was interrupted is simply run again.
Not here: whether the pruning was right (rule C1), how a body is erased (see `sqlite.erasure`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ledger.adapters.audit.archive import ArchiveSource
from ledger.adapters.home import datadir
from ledger.adapters.runtime.compiling import checked_rulebook
from ledger.adapters.sqlite.reader import Snapshot, SqliteReader
from ledger.adapters.sqlite.snapshot import StoredLeaf
from ledger.adapters.sqlite.store import SqliteStore
from ledger.archiveformat import MANIFEST
from ledger.blockcodec import parse_block
from ledger.core import canonical
from ledger.core.buckets import bucket_count
from ledger.core.config import parse_config
from ledger.core.event import parse_body, parse_head
from ledger.core.hashing import sha256
from ledger.core.header import parse_header
from ledger.core.leaf import Record, parse_leaf
from ledger.core.mapkeys import config_key, object_key, parse_object_value, stream_key
from ledger.errors import MalformedError, NotFoundError, RejectedError, VerificationError
from ledger.limits import LEAF_BYTES_MAX, MANIFEST_BYTES_MAX
from ledger.machine.pruning import KIND, Permit, named_objects, parse_permit
from ledger.rules.kinds import Kind
from ledger.verify.state import MapBuilder

READ_AT_ONCE: Final = 2_000
ERASED_AT_ONCE: Final = 500
ROWS_AT_ONCE: Final = 4_096


@dataclass(slots=True)
class Plan:
    """What a pruning comes to here: log indexes to erase, how many are gone already, and why others stay, counted."""

    permit: Permit
    seqs: list[int] = field(default_factory=list)
    gone: int = 0
    kept: Counter[str] = field(default_factory=Counter)


def plan_pruning(data_dir: Path, name: str) -> Plan:
    """The bodies that the record `name` (`<member>/<event id>`) lets this node erase.

    Raises `NotFoundError` where there is no such record, `RejectedError` where it was not accepted or is not certified.
    """
    reader = SqliteReader(data_dir / datadir.DATABASE)
    try:
        with reader.snapshot() as snap:
            permit = _permit(snap, name)
            return _plan(snap, permit)
    finally:
        reader.close()


def check_export(data_dir: Path, permit: Permit, export: Path) -> None:
    """The export at `export` is the one that the record names, and its state is this ledger's at that height.

    Raises `VerificationError` (code `prune-export`), or what reading the export raises.
    """
    source = ArchiveSource(export)
    got = sha256(source.files.read(MANIFEST, MANIFEST_BYTES_MAX))
    if got != permit.export:
        raise _other("not the export that the record names", expected=permit.export, got=got)
    last = None
    for piece in source.pieces():
        last = piece.load().blocks[-1]
    if last is None or (rows := source.state()) is None:
        raise _other("the export holds no state")
    leaf = parse_block(last).leaves[-1]
    header = parse_header(leaf)
    reader = SqliteReader(data_dir / datadir.DATABASE)
    try:
        with reader.snapshot() as snap:
            if header.height != permit.height or snap.block(permit.height).header_leaf != leaf:
                raise _other("the export ends at another block", expected=permit.height, got=header.height)
    finally:
        reader.close()
    builder, batch = MapBuilder(), []
    for row in rows:
        batch.append(row)
        if len(batch) == ROWS_AT_ONCE:
            builder.add(batch)
            batch = []
    builder.add(batch)
    if (builder.keys, bucket_count(builder.keys), builder.tree.root()) != (
        header.state_keys,
        header.state_buckets,
        header.state_root,
    ):
        raise _other("its state is not that of its last block", expected=header.state_root, got=builder.tree.root())


def erase(data_dir: Path, plan: Plan, progress: Callable[[int], None] | None = None) -> int:
    """Erase what `plan` names; how many bodies were erased. The node must be stopped (`UnavailableError` otherwise)."""
    store = SqliteStore.open(data_dir / datadir.DATABASE)
    done = 0
    try:
        for start in range(0, len(plan.seqs), ERASED_AT_ONCE):
            done += store.erase_bodies(plan.seqs[start : start + ERASED_AT_ONCE])
            if progress is not None:
                progress(done)
    finally:
        store.close()
    return done


def _permit(snap: Snapshot, name: str) -> Permit:
    member, _, event_id = name.rpartition("/")
    for leaf in snap.leaves(snap.find_event(member, event_id)):
        record = parse_leaf(leaf.leaf)
        if not isinstance(record, Record) or leaf.head is None or leaf.body is None:
            continue
        fields = parse_head(leaf.head)
        if fields["kind"] != KIND:
            raise RejectedError("prune-record", "not a pruning", event=name, got=fields["kind"])
        outcome = canonical.parse(record.verdict, bytes_max=LEAF_BYTES_MAX)["outcome"]
        if outcome != "accepted":
            raise RejectedError("prune-record", "the pruning was not accepted", event=name, got=outcome)
        permit = parse_permit(name, fields["refs"], parse_body(leaf.body))
        certified = snap.certificates.latest()
        needed = max(snap.block(record.height).size, _size_at(snap, permit.height))
        if certified is None or certified[0] < needed:
            raise RejectedError("prune-uncertified", "the record or its height is not certified yet", event=name)
        return permit
    raise NotFoundError("event-absent", "the ledger has no such event", event=name)


def _size_at(snap: Snapshot, height: int) -> int:
    try:
        return snap.block(height).size
    except NotFoundError as error:
        raise RejectedError("prune-uncertified", "the record names a block that is not here", height=height) from error


def _plan(snap: Snapshot, permit: Permit) -> Plan:
    kinds, zone_ms = _kinds(snap)
    plan, objects = Plan(permit), _Objects(snap)
    before = permit.before_ms(zone_ms)
    seen: set[int] = set()
    for leaf in _candidates(snap, permit):
        record = parse_leaf(leaf.leaf)
        if leaf.seq in seen or not isinstance(record, Record) or leaf.head is None:
            continue
        seen.add(leaf.seq)
        time = snap.block(record.height).time
        if time >= before:
            reason = "younger"
        else:
            reason = _stays(permit, objects, parse_head(leaf.head), kinds, time, record.height)
        if reason:
            plan.kept[reason] += 1
        elif leaf.body is None:
            plan.gone += 1
        else:
            plan.seqs.append(leaf.seq)
    plan.seqs.sort()
    return plan


def _stays(
    permit: Permit, objects: _Objects, fields: Mapping[str, Any], kinds: Mapping[str, Kind], time: int, height: int
) -> str:
    """Why a body stays ("" where it may go): its class, the export's height, another grant or entry, a hold."""
    kind = kinds.get(fields["kind"])
    if kind is None or kind.retention not in permit.classes:
        return "class"
    if height > permit.height:
        return "export"
    for key in named_objects(fields["refs"], kind):
        found = objects.read(key)
        if found.get("pruned", {}).get(kind.retention, 0) <= time:
            return "shared"
        if found.get("held"):
            return "held"
    return ""


class _Objects:
    """State objects, each read once."""

    def __init__(self, snap: Snapshot) -> None:
        self._snap, self._known = snap, dict[str, dict[str, Any]]()

    def read(self, key: str) -> dict[str, Any]:
        """The object under a state key; empty where there is none."""
        if key not in self._known:
            row = self._snap.row(object_key(key))
            data = parse_object_value(row.value)[1] if row is not None and row.value else b""
            self._known[key] = canonical.parse(data) if data else {}
        return self._known[key]


def _candidates(snap: Snapshot, permit: Permit) -> Iterator[StoredLeaf]:
    """The records of every stream that the permit names, oldest first in each."""
    for key in sorted(permit.objects):
        kind, _, identifier = key.partition("/")
        name = stream_key(kind, identifier, False)
        stream = snap.stream(name)
        size = stream.value.size if stream is not None else 0
        for begin in range(0, size, READ_AT_ONCE):
            yield from snap.leaves(snap.stream_seqs(name, begin, min(begin + READ_AT_ONCE, size)), places=False)


def _kinds(snap: Snapshot) -> tuple[Mapping[str, Kind], int]:
    """Declared kinds and zone of the rulebook in force."""
    row = snap.row(config_key())
    if row is None:
        raise MalformedError("state", "the state holds no config")
    config = parse_config(parse_object_value(row.value)[1])
    book = checked_rulebook(config.rulebook, config.calendar, snap.bundle)
    return book.kinds, book.zone_ms


def _other(message: str, **evidence: Any) -> VerificationError:
    return VerificationError("prune-export", message, **evidence)


__all__ = ["Plan", "check_export", "erase", "plan_pruning"]
