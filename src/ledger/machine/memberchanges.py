"""What votes do to members, their keys and roles, and when it cannot be done (SPEC R-G11, R-G18).

Rule: members and keys end and stay, so that old signatures stay checkable. Not here: cosigners, rules and engine (see
`configchanges`, `enginemove`), and how many validators must stay (see `validators`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ledger.core.genesis import KEYS_MEMBER_MAX, MEMBERS_MAX, check_member_id
from ledger.core.keys import EVENT, LOG, check_use, parse_public_key, registration_message
from ledger.core.note import TYPE_ED25519, key_hash_of
from ledger.core.registry import ACTIVE, REMOVED, SUSPENDED, KeyEntry, MemberEntry
from ledger.errors import VerificationError
from ledger.machine.standing import Args, Refs, Refused, Standing, closed, hex_bytes, one, pair, sorted_roles


def add_key(standing: Standing, member: str, value: Any) -> KeyEntry:
    """Register a key; it proves that its holder asked for just this (R-K04), and no key comes twice (R-K03)."""
    algorithm, proof, public, roles, use = closed(value, "algorithm", "proof", "public", "roles", "use")
    check_use(use)
    if type(algorithm) is not int or not 0 <= algorithm <= 255:
        raise Refused("shape")
    key = parse_public_key(algorithm, hex_bytes(public))
    if key.key_id in standing.registry.keys:
        raise Refused("key-twice")
    signature = hex_bytes(proof)
    if standing.origin is not None:
        try:
            key.verify(registration_message(standing.origin, member, use), signature)
        except VerificationError as error:
            raise Refused("key-proof") from error
    valid = [k for k in standing.registry.keys.values() if k.member == member and k.until_height is None]
    if len(valid) >= KEYS_MEMBER_MAX:
        raise Refused("key-count")
    # Notes point at log keys by four bytes under one name: two that look alike would stop every verifier.
    if use == LOG and standing.origin is not None:
        short = key_hash_of(standing.origin, TYPE_ED25519, key.raw)
        logs = standing.registry.log_keys()
        if any(key_hash_of(standing.origin, TYPE_ED25519, other.raw) == short for other in logs):
            raise Refused("key-twice")
    entry = KeyEntry(member, key, use, sorted_roles(roles), standing.height + 1, None, signature)
    standing.put_key(entry)
    return entry


def check_ending(standing: Standing, entry: KeyEntry) -> None:
    """A key in the cosigner set leaves by a change of the set; somebody must be able to speak and to order."""
    registry, config = standing.registry, standing.config
    if (entry.member, entry.public.key_id) in {*config.cosigners, *config.next_cosigners}:
        raise Refused("cosigner")
    if entry.use == EVENT and len(registry.valid_keys(entry.member, EVENT)) == 1:
        raise Refused("key-last")
    if entry.use == LOG and sum(1 for k in registry.keys.values() if k.use == LOG and k.until_height is None) == 1:
        raise Refused("key-last")


# --- members -----------------------------------------------------------------------------------------------------------


def admit(standing: Standing, refs: Refs, args: Args) -> None:
    (member,) = one(refs, "member")
    attributes, keys, roles, title = closed(args, "attributes", "keys", "roles", "title")
    check_member_id(member)
    if member in standing.registry.members:
        raise Refused("member-exists")
    if len(standing.registry.members) >= MEMBERS_MAX:
        raise Refused("member-count")
    texts = closed(title, "en", "zh")
    if not all(isinstance(text, str) and text for text in texts) or not isinstance(attributes, dict):
        raise Refused("shape")
    if not isinstance(keys, list):
        raise Refused("shape")
    standing.put_member(MemberEntry(member, dict(title), sorted_roles(roles), attributes))
    if EVENT not in {add_key(standing, member, key).use for key in keys}:
        raise Refused("key-last")


def suspend(standing: Standing, refs: Refs, args: Args) -> None:
    (member,) = one(refs, "member")
    closed(args)
    found = standing.member(member, ACTIVE)
    _check_leaving(standing, member)
    standing.put_member(replace(found, status=SUSPENDED))


def resume(standing: Standing, refs: Refs, args: Args) -> None:
    (member,) = one(refs, "member")
    closed(args)
    standing.put_member(replace(standing.member(member, SUSPENDED), status=ACTIVE))


def remove(standing: Standing, refs: Refs, args: Args) -> None:
    (member,) = one(refs, "member")
    closed(args)
    _end_member(standing, member, "")


def succeed(standing: Standing, refs: Refs, args: Args) -> None:
    """Another member takes over; what stands under the old name stays there and points to the new one."""
    (both,) = closed(refs, "member")
    closed(args)
    old, new = pair(both)
    standing.member(new, ACTIVE)
    _end_member(standing, old, new)


def _end_member(standing: Standing, member: str, successor: str) -> None:
    found = standing.member(member, ACTIVE, SUSPENDED)
    _check_leaving(standing, member)
    standing.put_member(replace(found, status=REMOVED, successor=successor))
    for entry in [key for key in standing.registry.keys.values() if key.member == member]:
        standing.end_key(entry)


def _check_leaving(standing: Standing, member: str) -> None:
    """Who cosigns or alone orders cannot leave before somebody else does it."""
    config = standing.config
    if member in {name for name, _ in (*config.cosigners, *config.next_cosigners)}:
        raise Refused("cosigner")
    active = {m.id for m in standing.registry.members.values() if not m.status and m.id != member}
    keys = standing.registry.keys.values()
    if not any(key.use == LOG and key.until_height is None and key.member in active for key in keys):
        raise Refused("key-last")


# --- keys and roles ----------------------------------------------------------------------------------------------------


def key_add(standing: Standing, refs: Refs, args: Args) -> None:
    member, key_id = one(refs, "member", "key")
    (key,) = closed(args, "key")
    standing.member(member, ACTIVE)
    if add_key(standing, member, key).public.key_id.hex() != key_id:
        raise Refused("shape")


def key_rotate(standing: Standing, refs: Refs, args: Args) -> None:
    """A new key takes the place of an old one with the same use and roles."""
    member, keys = closed(refs, "member", "key")
    (key,) = closed(args, "key")
    old_id, new_id = pair(keys)
    standing.member(member, ACTIVE)
    old = standing.key(old_id, member)
    added = add_key(standing, member, key)
    if added.public.key_id.hex() != new_id or (added.use, added.roles) != (old.use, old.roles):
        raise Refused("shape")
    check_ending(standing, old)
    standing.end_key(old)


def key_revoke(standing: Standing, refs: Refs, args: Args) -> None:
    member, key_id = one(refs, "member", "key")
    closed(args)
    standing.member(member, ACTIVE, SUSPENDED)
    entry = standing.key(key_id, member)
    check_ending(standing, entry)
    standing.end_key(entry)


def role_set(standing: Standing, refs: Refs, args: Args) -> None:
    """Roles of a member, or with the ref `key` of one of its keys."""
    (roles,) = closed(args, "roles")
    if "key" in refs:
        member, key_id = one(refs, "member", "key")
        standing.member(member, ACTIVE, SUSPENDED)
        standing.put_key(replace(standing.key(key_id, member), roles=sorted_roles(roles)))
        return
    (member,) = one(refs, "member")
    standing.put_member(replace(standing.member(member, ACTIVE, SUSPENDED), roles=sorted_roles(roles)))
