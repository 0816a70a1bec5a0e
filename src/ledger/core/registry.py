"""Members and keys in force at a height (SPEC R-K01 to R-K06): who may sign what, since when, until when.

Rule: keys in force in block H are those of the state after H − 1; claimed times never matter. Entries are never removed,
so that old signatures stay checkable. Not here: how entries change (see `machine.governance`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from ledger.core import canonical
from ledger.core.config import Cosigner
from ledger.core.genesis import Genesis
from ledger.core.hashing import Digest
from ledger.core.keys import CONSENSUS, COSIGN, LOG, P2P, PublicKey, node_id, parse_public_key
from ledger.errors import MalformedError, RejectedError

_KEY_FIELDS: Final = frozenset({"algorithm", "from", "member", "proof", "public", "roles", "use"})
_MEMBER_FIELDS: Final = frozenset({"attributes", "roles", "title"})
_MEMBER_OPTIONAL: Final = frozenset({"status", "successor"})

ACTIVE: Final = ""
SUSPENDED: Final = "suspended"
REMOVED: Final = "removed"
NODE_ATTRIBUTE: Final = "node"
"""The member attribute with the address of its node, `http://host:port` (SPEC R-N22)."""
AUTHORITY: Final = "authority"
"""The member role whose holders vote on changes (SPEC R-G13)."""


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A registered key: valid in blocks `from_height` … `until_height` (None: no end known)."""

    member: str
    public: PublicKey
    use: str
    roles: tuple[str, ...]
    from_height: int
    until_height: int | None = None
    proof: bytes = b""

    def encode(self) -> bytes:
        """Canonical JSON, the object of the state value under this key."""
        fields: dict[str, Any] = {
            "algorithm": self.public.algorithm,
            "from": self.from_height,
            "member": self.member,
            "proof": self.proof.hex(),
            "public": self.public.raw.hex(),
            "roles": list(self.roles),
            "use": self.use,
        }
        if self.until_height is not None:
            fields["until"] = self.until_height
        return canonical.encode(fields)


def parse_key_entry(data: bytes) -> KeyEntry:
    """The entry in canonical JSON `data`. Raises `MalformedError`."""
    fields = canonical.parse(data)
    names = set(fields)
    if names != _KEY_FIELDS and names != _KEY_FIELDS | {"until"}:
        raise MalformedError("key-entry", "missing or unknown fields", got=sorted(names))
    try:
        entry = KeyEntry(
            member=fields["member"],
            public=parse_public_key(fields["algorithm"], bytes.fromhex(fields["public"])),
            use=fields["use"],
            roles=tuple(fields["roles"]),
            from_height=fields["from"],
            until_height=fields.get("until"),
            proof=bytes.fromhex(fields["proof"]),
        )
        encoded = entry.encode()
    except (TypeError, ValueError, AttributeError) as error:
        raise MalformedError("key-entry", "a field has the wrong type") from error
    if encoded != data:
        raise MalformedError("key-entry", "not in canonical form")
    return entry


@dataclass(frozen=True, slots=True)
class MemberEntry:
    """A member's public face on the ledger.

    `status` is "" (may sign), "suspended" or "removed"; `successor` is the member that took over from a removed one.
    """

    id: str
    title: dict[str, str]
    roles: tuple[str, ...]
    attributes: dict[str, Any]
    status: str = ACTIVE
    successor: str = ""

    def encode(self) -> bytes:
        """Canonical JSON, the object of the state value under this member."""
        fields: dict[str, Any] = {"attributes": self.attributes, "roles": list(self.roles), "title": self.title}
        if self.status:
            fields["status"] = self.status
        if self.successor:
            fields["successor"] = self.successor
        return canonical.encode(fields)


def parse_member_entry(member_id: str, data: bytes) -> MemberEntry:
    """The entry of `member_id` in canonical JSON `data`. Raises `MalformedError`."""
    fields = canonical.parse(data)
    if not _MEMBER_FIELDS <= set(fields) <= _MEMBER_FIELDS | _MEMBER_OPTIONAL:
        raise MalformedError("member-entry", "missing or unknown fields", got=sorted(fields))
    status, successor = fields.get("status", ACTIVE), fields.get("successor", "")
    if type(fields["roles"]) is not list or type(fields["title"]) is not dict or type(fields["attributes"]) is not dict:
        raise MalformedError("member-entry", "fields of a wrong type", member=member_id)
    entry = MemberEntry(member_id, fields["title"], tuple(fields["roles"]), fields["attributes"], status, successor)
    if status not in (ACTIVE, SUSPENDED, REMOVED) or entry.encode() != data:
        raise MalformedError("member-entry", "not in canonical form", member=member_id)
    return entry


@dataclass(frozen=True, slots=True)
class Registry:
    """All members and keys after some height; immutable, each change gives a new one."""

    members: dict[str, MemberEntry]
    keys: dict[Digest, KeyEntry]

    def signer(self, key_id: Digest, member: str, use: str, height: int) -> KeyEntry:
        """The entry of a key that may sign for `member` and `use` in block `height`; raises `RejectedError`."""
        known = self.members.get(member)
        if known is None:
            raise RejectedError("member-unknown", "no such member in this network", member=member)
        if known.status:
            raise RejectedError(
                "member-inactive", "the member is suspended or removed", member=member, got=known.status
            )
        entry = self.keys.get(key_id)
        if entry is None or entry.member != member:
            raise RejectedError("key-unknown", "this member registered no such key", member=member, key=key_id)
        if entry.use != use:
            raise RejectedError("key-use", "the key is registered for another use", key=key_id, use=entry.use)
        if height < entry.from_height or (entry.until_height is not None and height > entry.until_height):
            raise RejectedError("key-revoked", "the key is not valid at this height", key=key_id, height=height)
        return entry

    def with_key(self, entry: KeyEntry) -> Registry:
        """This registry with one entry added or replaced."""
        return replace(self, keys={**self.keys, entry.public.key_id: entry})

    def with_member(self, entry: MemberEntry) -> Registry:
        """This registry with one member added or replaced."""
        return replace(self, members={**self.members, entry.id: entry})

    def authorities(self) -> tuple[str, ...]:
        """Members with the role `authority` that may sign now, sorted."""
        return tuple(sorted(m.id for m in self.members.values() if AUTHORITY in m.roles and not m.status))

    def valid_keys(self, member: str, use: str) -> tuple[KeyEntry, ...]:
        """Keys of `member` for `use` without a known end."""
        return tuple(
            key for key in self.keys.values() if key.member == member and key.use == use and key.until_height is None
        )

    def log_keys(self) -> tuple[PublicKey, ...]:
        """Every key ever registered for ordering: notes of any age must open."""
        return tuple(entry.public for entry in self.keys.values() if entry.use == LOG)

    def validators(self) -> tuple[tuple[str, PublicKey], ...]:
        """(member, consensus key) of every validator in the engine CometBFT, in order of member then key id (R-N02)."""
        return tuple((entry.member, entry.public) for entry in self._standing(CONSENSUS))

    def peer_ids(self) -> tuple[tuple[str, str], ...]:
        """(member, CometBFT node id) of every node that may connect to validators, in order of member then key id."""
        return tuple((entry.member, node_id(entry.public)) for entry in self._standing(P2P))

    def _standing(self, use: str) -> list[KeyEntry]:
        """Keys of `use` without a known end, of members that are neither suspended nor removed."""
        found = [
            key
            for key in self.keys.values()
            if key.use == use and key.until_height is None and not self.members[key.member].status
        ]
        return sorted(found, key=lambda key: (key.member, key.public.key_id))

    def cosigner_keys(self, cosigners: tuple[Cosigner, ...]) -> tuple[tuple[str, PublicKey], ...]:
        """(name, key) of a config's cosigners; raises `RejectedError` when one is not registered."""
        found: list[tuple[str, PublicKey]] = []
        for name, key_id in cosigners:
            entry = self.keys.get(key_id)
            if entry is None or entry.use != COSIGN:
                raise RejectedError("cosigner-unknown", "a cosigner's key is not registered", member=name, key=key_id)
            found.append((name, entry.public))
        return tuple(found)


def genesis_registry(genesis: Genesis) -> Registry:
    """Members and keys as the genesis names them, valid from height 0."""
    members = {m.id: MemberEntry(m.id, m.title, m.roles, m.attributes) for m in genesis.members}
    keys = {
        key.public.key_id: KeyEntry(m.id, key.public, key.use, key.roles, 0, None, key.proof)
        for m in genesis.members
        for key in m.keys
    }
    return Registry(members, keys)
