"""Puts the state of an interrupted audit back, and believes none of it (SPEC R-M01 to R-M05, R-T01).

Rule: rows are checked against buckets, and buckets against the state root of the header; what else an audit holds of the
state is read out of the rows. Not here: where the rows come from, and whose header it is (see `resume`).
"""

from __future__ import annotations

from collections.abc import Mapping

from ledger.core import canonical
from ledger.core.buckets import PAIR_BYTES, bucket_count, bucket_index, bucket_leaf_hash, lookup
from ledger.core.config import Config, parse_config
from ledger.core.hashing import Digest
from ledger.core.header import Header
from ledger.core.mapkeys import (
    NS_CONFIG,
    NS_KEY,
    NS_MEMBER,
    NS_OBJECT,
    NS_STREAM,
    NS_TIMER,
    key_hash,
    key_parts,
    object_name,
    parse_object_value,
    value_hash,
)
from ledger.core.maptree import MapTree
from ledger.core.merkle import CompactRange
from ledger.core.registry import KeyEntry, MemberEntry, Registry, parse_key_entry, parse_member_entry
from ledger.core.stream import parse_stream_value
from ledger.errors import LedgerError, UnavailableError
from ledger.machine.block import StateRow
from ledger.verify.scratch import Scratch


class ResumeError(UnavailableError):
    """What an earlier run left cannot be gone on from; nothing is said of the ledger."""


def refuse(why: str, **evidence: object) -> ResumeError:
    """The error for a reason: `damaged`, `other-content`, `other-state`."""
    return ResumeError("resume", "the interrupted run cannot be continued", why=why, **evidence)


class Restoring:
    """Puts a state back into `scratch`: all buckets first, then all rows; nothing is believed.

    A row must stand in its bucket, the buckets must have the state root of the header, and each row comes once, so that
    none is missing. Objects and timers are read out of their rows (SPEC R-T01); a stream's compact range must have the
    stream's root.
    """

    def __init__(self, scratch: Scratch) -> None:
        scratch.clear()
        self._scratch = scratch
        self._hashes: dict[int, Digest] = {}
        self._pairs = 0
        self._rows = 0
        self._members: dict[str, MemberEntry] = {}
        self._keys: dict[Digest, KeyEntry] = {}
        self._config: Config | None = None

    def buckets(self, batch: Mapping[int, bytes]) -> None:
        """Some buckets by number."""
        for index, packed in batch.items():
            self._hashes[index] = bucket_leaf_hash(packed)
            self._pairs += len(packed) // PAIR_BYTES
        self._scratch.write_buckets(batch)

    def rows(self, batch: Mapping[bytes, StateRow]) -> None:
        """Some rows by map key. Raises `ResumeError` for one that its bucket does not hold."""
        try:
            self._check(batch)
            objects, timers = self._objects(batch)
        except (LedgerError, ValueError) as error:
            raise refuse("other-state", reason=str(error)) from None
        self._rows += len(batch)
        self._scratch.write_rows(dict(batch))
        self._scratch.write_objects(objects, timers)

    def end(self, header: Header) -> tuple[Config, Registry]:
        """Config, members and keys of the state, which is the one that `header` names. Raises `ResumeError`."""
        count = len(self._hashes)
        if self._hashes.keys() != set(range(count)) or not count:
            raise refuse("other-state", reason="a bucket is missing")
        tree = MapTree.from_leaves(b"".join(self._hashes[index] for index in range(count)))
        got = (tree.root(), tree.size, self._pairs)
        wanted = (header.state_root, header.state_buckets, header.state_keys)
        if got != wanted or self._rows != self._pairs or bucket_count(self._rows) != count or self._config is None:
            raise refuse("other-state", height=header.height, expected=header.state_root, got=tree.root())
        self._scratch.write_tree(tree, self._rows)
        return self._config, Registry(self._members, self._keys)

    def _check(self, batch: Mapping[bytes, StateRow]) -> None:
        count = len(self._hashes)
        hashes = {key: key_hash(key) for key in batch}
        places = {key: bucket_index(digest, count) for key, digest in hashes.items()}
        wanted = sorted(set(places.values()))
        buckets = dict(zip(wanted, self._scratch.read_buckets(wanted), strict=True))
        if self._scratch.read_rows(list(batch)):
            raise refuse("other-state", reason="a row stands twice")
        for key, row in batch.items():
            if lookup(buckets[places[key]], hashes[key]) != value_hash(row.value):
                raise refuse("other-state", reason="a row is not what its bucket says")
            if key[0] != NS_STREAM:
                if row.range:
                    raise refuse("other-state", reason="a compact range beside no stream")
                continue
            stream = parse_stream_value(row.value)
            if CompactRange.parse(stream.size, row.range).root() != stream.root:
                raise refuse("other-state", reason="a stream's compact range has another root")

    def _objects(self, batch: Mapping[bytes, StateRow]) -> tuple[dict[str, bytes], dict[str, int | None]]:
        """Objects by name, and the dues of armed timers; what governs the ledger is kept here."""
        objects: dict[str, bytes] = {}
        timers: dict[str, int | None] = {}
        for key, row in batch.items():
            namespace = key[0]
            if namespace == NS_STREAM or not row.value:
                continue
            value = parse_object_value(row.value)[1]
            if namespace == NS_OBJECT:
                objects["/".join(object_name(key))] = value
            elif namespace == NS_TIMER:
                name = f"timer/{key_parts(key)[0]}"
                objects[name] = value
                due = canonical.parse(value).get("due")
                if type(due) is int:
                    timers[name] = due
            elif namespace == NS_MEMBER:
                member = parse_member_entry(key_parts(key)[0], value)
                self._members[member.id] = member
            elif namespace == NS_KEY:
                registered = parse_key_entry(value)
                self._keys[registered.public.key_id] = registered
            elif namespace == NS_CONFIG:
                self._config = parse_config(value)
        return objects, timers


__all__ = ["Restoring", "ResumeError", "refuse"]
