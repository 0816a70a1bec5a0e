"""What a change of governance works on: members, keys, config and objects, as it finds and leaves them.

Rules: a change gives new values or raises `Refused` with a reason code (SPEC R-G24); members and keys end and are never
removed, so that old signatures stay checkable. Not here: the changes themselves (see `changes`), votes (see `governance`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ledger.core.config import Config
from ledger.core.engine import Engine
from ledger.core.hashing import Digest, parse_hex_digest
from ledger.core.ident import check_identifier
from ledger.core.registry import KeyEntry, MemberEntry, Registry
from ledger.limits import STATE_OBJECT_BYTES_MAX

ROLES_MAX: Final = 16

Refs = Mapping[str, Any]
Args = Mapping[str, Any]


class Refused(Exception):
    """The action cannot be done; `code` is the reason in the verdict, of rule `ledger`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True)
class Standing:
    """Members, keys and config, as a change finds and leaves them; `members` and `keys` name the entries that it wrote.

    `height` is the block of the change: keys that it adds sign from the next block on, those it ends up to this one.
    `origin` is None once possession proofs have been checked. `engine` is that which governance put in force, None
    before any did. `below_four` allows fewer validators than tolerate a fault. `objects` are state objects that it writes.
    """

    registry: Registry
    config: Config
    height: int
    origin: str | None = None
    engine: Engine | None = None
    below_four: bool = False
    members: list[str] = field(default_factory=list)
    keys: list[Digest] = field(default_factory=list)
    objects: list[tuple[str, bytes]] = field(default_factory=list)

    def trial(self) -> Standing:
        """A copy whose changes leave this one alone."""
        return replace(self, members=[], keys=[], objects=[])

    def put_key(self, entry: KeyEntry) -> None:
        """Add or replace a key."""
        self.registry = self.registry.with_key(entry)
        self.keys.append(entry.public.key_id)

    def put_member(self, entry: MemberEntry) -> None:
        """Add or replace a member. Raises `Refused` where the entry is too long for the state."""
        if len(entry.encode()) > STATE_OBJECT_BYTES_MAX:
            raise Refused("size")
        self.registry = self.registry.with_member(entry)
        self.members.append(entry.id)

    def end_key(self, entry: KeyEntry) -> None:
        """Let a key end with this block."""
        if entry.until_height is None:
            self.put_key(replace(entry, until_height=self.height))

    def member(self, member_id: str, *statuses: str) -> MemberEntry:
        """The entry of a member in one of `statuses`. Raises `Refused`."""
        found = self.registry.members.get(member_id)
        if found is None:
            raise Refused("member-unknown")
        if found.status not in statuses:
            raise Refused("member-status")
        return found

    def key(self, key_id: str, member_id: str) -> KeyEntry:
        """A key of `member_id` that has no end yet. Raises `Refused`."""
        found = self.registry.keys.get(parse_hex_digest(key_id))
        if found is None or found.member != member_id:
            raise Refused("key-unknown")
        if found.until_height is not None:
            raise Refused("key-revoked")
        return found


def closed(value: object, *names: str) -> list[Any]:
    """The values of `names`, which must be all there are. Raises `Refused`."""
    if not isinstance(value, Mapping) or set(value) != set(names):
        raise Refused("shape")
    return [value[name] for name in names]


def one(refs: Refs, *names: str) -> list[str]:
    """One identifier for each of `names`, which must be all refs. Raises `Refused`."""
    values = closed(refs, *names)
    if not all(isinstance(value, str) for value in values):
        raise Refused("shape")
    return values


def pair(value: object) -> tuple[Any, Any]:
    """The two items of a list. Raises `Refused`."""
    if not isinstance(value, list) or len(value) != 2:
        raise Refused("shape")
    return value[0], value[1]


def sorted_roles(value: object) -> tuple[str, ...]:
    """At most 16 roles, sorted, each once. Raises `Refused`."""
    if not isinstance(value, list) or len(value) > ROLES_MAX:
        raise Refused("shape")
    roles = tuple(check_identifier(role, "role") for role in value)
    if list(roles) != sorted(set(roles)):
        raise Refused("shape")
    return roles


def hex_bytes(value: object) -> bytes:
    """The bytes of at most 512 lower-case hex digits. Raises `Refused`."""
    if not isinstance(value, str) or len(value) > 512 or len(value) % 2 or not set(value) <= set("0123456789abcdef"):
        raise Refused("shape")
    return bytes.fromhex(value)
