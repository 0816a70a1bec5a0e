"""The block header: the last leaf of a block, binding what was decided to everything before it (SPEC R-H01 to R-H05).

It names the block's height, time and leaves, the log before the block, the state after it and the config in force, so a
checkpoint over the log also vouches for state and rules. Not here: how any of these values come about (see `machine`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ledger.core import canonical
from ledger.core.hashing import Digest, parse_hex_digest
from ledger.core.leaf import LEAF_VERSION, TYPE_HEADER
from ledger.errors import MalformedError
from ledger.limits import INT_MAX

_PREFIX: Final = bytes((TYPE_HEADER, LEAF_VERSION))
_FIELDS: Final = frozenset({"config", "count", "first_seq", "height", "prev", "state", "time"})


@dataclass(frozen=True, slots=True)
class Header:
    """One block header.

    `time` is unix ms and never decreases; `first_seq` is the index of the block's first leaf and `count` the number of
    leaves before the header, so the header's own index is first_seq + count. `prev_*` describe the log before the block,
    `state_*` the state map after it (root, number of buckets, number of keys). `genesis` stands in height 0 only.
    """

    height: int
    time: int
    first_seq: int
    count: int
    prev_size: int
    prev_root: Digest
    state_root: Digest
    state_buckets: int
    state_keys: int
    config: Digest
    genesis: Digest | None = None

    @property
    def index(self) -> int:
        """The header's own leaf index; the checkpoint of the block has size index + 1."""
        return self.first_seq + self.count


def encode_header(header: Header) -> bytes:
    """The leaf bytes of `header`."""
    fields: dict[str, Any] = {
        "config": header.config.hex(),
        "count": header.count,
        "first_seq": header.first_seq,
        "height": header.height,
        "prev": {"root": header.prev_root.hex(), "size": header.prev_size},
        "state": {
            "buckets": header.state_buckets,
            "keys": header.state_keys,
            "root": header.state_root.hex(),
        },
        "time": header.time,
    }
    if header.genesis is not None:
        fields["genesis"] = header.genesis.hex()
    return _PREFIX + canonical.encode(fields)


def parse_header(leaf: bytes) -> Header:
    """The header in leaf bytes (type and version included). Raises `MalformedError`."""
    if leaf[:2] != _PREFIX:
        raise MalformedError("header", "not a block header leaf", got=leaf[:2])
    fields = canonical.parse(leaf[2:])
    names = set(fields)
    if names != _FIELDS and names != _FIELDS | {"genesis"}:
        raise MalformedError("header-fields", "missing or unknown fields", got=sorted(names))
    prev, state = _object(fields["prev"], {"root", "size"}), _object(fields["state"], {"buckets", "keys", "root"})
    header = Header(
        height=_count(fields["height"], "height"),
        time=_count(fields["time"], "time"),
        first_seq=_count(fields["first_seq"], "first_seq"),
        count=_count(fields["count"], "count"),
        prev_size=_count(prev["size"], "prev.size"),
        prev_root=parse_hex_digest(prev["root"]),
        state_root=parse_hex_digest(state["root"]),
        state_buckets=_count(state["buckets"], "state.buckets"),
        state_keys=_count(state["keys"], "state.keys"),
        config=parse_hex_digest(fields["config"]),
        genesis=parse_hex_digest(fields["genesis"]) if "genesis" in fields else None,
    )
    # R-H04: a header follows its predecessor without a gap, and only height 0 names the genesis.
    if header.first_seq != header.prev_size or (header.genesis is None) != (header.height > 0):
        raise MalformedError("header", "first_seq, prev.size and genesis do not agree", height=header.height)
    return header


def _object(value: object, names: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != names:
        raise MalformedError("header-fields", "missing or unknown fields", got=value)
    return value


def _count(value: object, name: str) -> int:
    if type(value) is not int or not 0 <= value <= INT_MAX:
        raise MalformedError("header-number", "expected a non-negative integer", field=name, got=value)
    return value
