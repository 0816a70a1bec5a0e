"""What each governance action does to members, keys and config, and when it cannot be done (SPEC R-G11, R-G18, R-G20).

Rules: one function for each action, asked when it is proposed and again when it takes effect; it gives the new values or
raises `Refused` with a reason code. Nothing is ever removed: members and keys end, so that old signatures stay checkable.
Not here: votes and time (see `governance`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ledger.core.config import Config, Cosigner
from ledger.core.genesis import KEYS_MEMBER_MAX, MEMBERS_MAX, PARAMETERS, check_member_id
from ledger.core.hashing import Digest, parse_hex_digest
from ledger.core.ident import check_identifier
from ledger.core.keys import COSIGN, EVENT, LOG, check_use, parse_public_key, registration_message
from ledger.core.note import TYPE_ED25519, key_hash_of
from ledger.core.registry import ACTIVE, REMOVED, SUSPENDED, KeyEntry, MemberEntry, Registry
from ledger.errors import MalformedError, VerificationError
from ledger.limits import COSIGNERS_MAX, INT_MAX, STATE_OBJECT_BYTES_MAX, TIMERS_BLOCK_MAX

ROLES_MAX: Final = 16
PARAMETERS_MAX: Final = {"notice_hours": 8_760, "skew_ms": 86_400_000, "timers_block": TIMERS_BLOCK_MAX}
"""The largest value a vote may give each parameter; the smallest is 0, for `timers_block` 1."""


class Refused(Exception):
    """The action cannot be done; `code` is the reason in the verdict, of rule `ledger`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True)
class Standing:
    """Members, keys and config, as a change finds and leaves them; `members` and `keys` name the entries that it wrote.

    `height` is the block of the change: keys that it adds sign from the next block on, those it ends up to this one.
    `origin` is None once possession proofs have been checked.
    """

    registry: Registry
    config: Config
    height: int
    origin: str | None = None
    members: list[str] = field(default_factory=list)
    keys: list[Digest] = field(default_factory=list)

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


Refs = Mapping[str, Any]
Args = Mapping[str, Any]


def apply(standing: Standing, action: str, refs: Refs, args: Args) -> None:
    """Do `action`, or raise `Refused`, after which `standing` is of no use."""
    do = ACTIONS.get(action)
    if do is None:
        raise Refused("shape")
    try:
        do(standing, refs, args)
    except MalformedError as error:
        raise Refused("shape") from error


def _closed(value: Mapping[str, Any], *names: str) -> list[Any]:
    """The values of `names`, which must be all there are."""
    if not isinstance(value, Mapping) or set(value) != set(names):
        raise Refused("shape")
    return [value[name] for name in names]


def _one(refs: Refs, *names: str) -> list[str]:
    """One identifier for each of `names`, which must be all refs."""
    values = _closed(refs, *names)
    if not all(isinstance(value, str) for value in values):
        raise Refused("shape")
    return values


def _two(value: object) -> tuple[str, str]:
    if not isinstance(value, list) or len(value) != 2:
        raise Refused("shape")
    return value[0], value[1]


def _roles(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > ROLES_MAX:
        raise Refused("shape")
    roles = tuple(check_identifier(role, "role") for role in value)
    if list(roles) != sorted(set(roles)):
        raise Refused("shape")
    return roles


def _add_key(standing: Standing, member: str, value: Any) -> KeyEntry:
    """Register a key; it proves that its holder asked for just this (R-K04), and no key comes twice (R-K03)."""
    algorithm, proof, public, roles, use = _closed(value, "algorithm", "proof", "public", "roles", "use")
    check_use(use)
    if type(algorithm) is not int or not 0 <= algorithm <= 255:
        raise Refused("shape")
    key = parse_public_key(algorithm, _hex(public))
    if key.key_id in standing.registry.keys:
        raise Refused("key-twice")
    signature = _hex(proof)
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
    entry = KeyEntry(member, key, use, _roles(roles), standing.height + 1, None, signature)
    standing.put_key(entry)
    return entry


def _hex(value: object) -> bytes:
    if not isinstance(value, str) or len(value) > 512 or len(value) % 2 or not set(value) <= set("0123456789abcdef"):
        raise Refused("shape")
    return bytes.fromhex(value)


def _check_ending(standing: Standing, entry: KeyEntry) -> None:
    """A key in the cosigner set leaves by a change of the set; somebody must be able to speak and to order."""
    registry, config = standing.registry, standing.config
    if (entry.member, entry.public.key_id) in {*config.cosigners, *config.next_cosigners}:
        raise Refused("cosigner")
    if entry.use == EVENT and len(registry.valid_keys(entry.member, EVENT)) == 1:
        raise Refused("key-last")
    if entry.use == LOG and sum(1 for k in registry.keys.values() if k.use == LOG and k.until_height is None) == 1:
        raise Refused("key-last")


# --- members -----------------------------------------------------------------------------------------------------------


def _admit(standing: Standing, refs: Refs, args: Args) -> None:
    (member,) = _one(refs, "member")
    attributes, keys, roles, title = _closed(args, "attributes", "keys", "roles", "title")
    check_member_id(member)
    if member in standing.registry.members:
        raise Refused("member-exists")
    if len(standing.registry.members) >= MEMBERS_MAX:
        raise Refused("member-count")
    texts = _closed(title, "en", "zh")
    if not all(isinstance(text, str) and text for text in texts) or not isinstance(attributes, dict):
        raise Refused("shape")
    if not isinstance(keys, list):
        raise Refused("shape")
    standing.put_member(MemberEntry(member, dict(title), _roles(roles), attributes))
    if EVENT not in {_add_key(standing, member, key).use for key in keys}:
        raise Refused("key-last")


def _suspend(standing: Standing, refs: Refs, args: Args) -> None:
    (member,) = _one(refs, "member")
    _closed(args)
    found = standing.member(member, ACTIVE)
    _check_leaving(standing, member)
    standing.put_member(replace(found, status=SUSPENDED))


def _resume(standing: Standing, refs: Refs, args: Args) -> None:
    (member,) = _one(refs, "member")
    _closed(args)
    standing.put_member(replace(standing.member(member, SUSPENDED), status=ACTIVE))


def _remove(standing: Standing, refs: Refs, args: Args) -> None:
    (member,) = _one(refs, "member")
    _closed(args)
    _end_member(standing, member, "")


def _succeed(standing: Standing, refs: Refs, args: Args) -> None:
    """Another member takes over; what stands under the old name stays there and points to the new one."""
    (pair,) = _closed(refs, "member")
    _closed(args)
    old, new = _two(pair)
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


def _key_add(standing: Standing, refs: Refs, args: Args) -> None:
    member, key_id = _one(refs, "member", "key")
    (key,) = _closed(args, "key")
    standing.member(member, ACTIVE)
    if _add_key(standing, member, key).public.key_id.hex() != key_id:
        raise Refused("shape")


def key_rotate(standing: Standing, refs: Refs, args: Args) -> None:
    """A new key takes the place of an old one with the same use and roles."""
    member, pair = _closed(refs, "member", "key")
    (key,) = _closed(args, "key")
    old_id, new_id = _two(pair)
    standing.member(member, ACTIVE)
    old = standing.key(old_id, member)
    added = _add_key(standing, member, key)
    if added.public.key_id.hex() != new_id or (added.use, added.roles) != (old.use, old.roles):
        raise Refused("shape")
    _check_ending(standing, old)
    standing.end_key(old)


def _key_revoke(standing: Standing, refs: Refs, args: Args) -> None:
    member, key_id = _one(refs, "member", "key")
    _closed(args)
    standing.member(member, ACTIVE, SUSPENDED)
    entry = standing.key(key_id, member)
    _check_ending(standing, entry)
    standing.end_key(entry)


def _role_set(standing: Standing, refs: Refs, args: Args) -> None:
    """Roles of a member, or with the ref `key` of one of its keys."""
    (roles,) = _closed(args, "roles")
    if "key" in refs:
        member, key_id = _one(refs, "member", "key")
        standing.member(member, ACTIVE, SUSPENDED)
        standing.put_key(replace(standing.key(key_id, member), roles=_roles(roles)))
        return
    (member,) = _one(refs, "member")
    standing.put_member(replace(standing.member(member, ACTIVE, SUSPENDED), roles=_roles(roles)))


# --- config ------------------------------------------------------------------------------------------------------------


def _param_set(standing: Standing, refs: Refs, args: Args) -> None:
    _closed(refs)
    (parameters,) = _closed(args, "parameters")
    if not isinstance(parameters, dict) or not parameters or not set(parameters) <= set(PARAMETERS):
        raise Refused("shape")
    for name, value in parameters.items():
        lowest = 1 if name == "timers_block" else 0
        if type(value) is not int or not lowest <= value <= min(PARAMETERS_MAX[name], INT_MAX):
            raise Refused("shape")
    standing.config = replace(standing.config, parameters={**standing.config.parameters, **parameters})


def _rulebook(standing: Standing, refs: Refs, args: Args) -> None:
    bundle, program = _bundle_args(standing, refs, args)
    standing.config = replace(standing.config, rulebook=bundle, program=program)


def _calendar(standing: Standing, refs: Refs, args: Args) -> None:
    bundle, program = _bundle_args(standing, refs, args)
    standing.config = replace(standing.config, calendar=bundle, program=program)


def _bundle_args(standing: Standing, refs: Refs, args: Args) -> tuple[Digest, Digest]:
    _closed(refs)
    bundle, language, program = _closed(args, "bundle", "language", "program")
    digest = parse_hex_digest(bundle)
    if digest in (standing.config.rulebook, standing.config.calendar):
        raise Refused("in-force")
    # Another language version is another runtime, which rules change for everybody: that is not a rulebook's to say.
    if type(language) is not int or language != standing.config.language:
        raise Refused("language")
    return digest, parse_hex_digest(program)


def _retire(standing: Standing, refs: Refs, args: Args) -> None:
    """A rulebook or calendar that is not in force can never be put in force (again); `governance` keeps its name."""
    _closed(refs)
    (bundle,) = _closed(args, "bundle")
    if parse_hex_digest(bundle) in (standing.config.rulebook, standing.config.calendar):
        raise Refused("in-force")


def _set_change(standing: Standing, refs: Refs, args: Args) -> None:
    """Announce the next cosigner set (R-G20); the epoch's last block is that of `end_epoch`."""
    (named,) = _closed(refs, "member")
    (pairs,) = _closed(args, "cosigners")
    config = standing.config
    if config.cosigners != config.next_cosigners:
        raise Refused("set-changing")
    if not isinstance(pairs, list) or not 1 <= len(pairs) <= COSIGNERS_MAX:
        raise Refused("shape")
    cosigners: list[Cosigner] = []
    for pair in pairs:
        member, key_id = _two(pair)
        standing.member(check_member_id(member), ACTIVE)
        if standing.key(key_id, member).use != COSIGN:
            raise Refused("key-use")
        cosigners.append((member, parse_hex_digest(key_id)))
    names = [name for name, _ in cosigners]
    if names != sorted(set(names)) or (names if len(names) > 1 else names[0]) != named:
        raise Refused("shape")
    if tuple(cosigners) == config.cosigners:
        raise Refused("in-force")
    standing.config = replace(config, next_cosigners=tuple(cosigners))
    if len(standing.config.encode()) > STATE_OBJECT_BYTES_MAX:
        raise Refused("size")


def end_epoch(standing: Standing) -> None:
    """The block of this change is the last of its epoch: from the next on the announced set cosigns."""
    config = standing.config
    if config.cosigners == config.next_cosigners:
        raise Refused("in-force")
    for member, key_id in config.next_cosigners:
        standing.member(member, ACTIVE)
        standing.key(key_id.hex(), member)
    standing.config = replace(config, cosigners=config.next_cosigners, epoch=config.epoch + 1)


def cancel_epoch(standing: Standing) -> None:
    """The announced set cannot take over (a key of it ended): the old one stays."""
    standing.config = replace(standing.config, next_cosigners=standing.config.cosigners)


RULEBOOK_ACTIONS: Final = ("sys.rulebook.publish", "sys.rulebook.amend")
CALENDAR_ACTION: Final = "sys.calendar.publish"
BUNDLE_ACTIONS: Final = frozenset((*RULEBOOK_ACTIONS, CALENDAR_ACTION))
RETIRE: Final = "sys.rulebook.retire"
SET_CHANGE: Final = "sys.set.change"
KEY_ACTIONS: Final = frozenset(("sys.key.add", "sys.key.rotate", "sys.key.revoke"))
WITH_COSIGNERS: Final = frozenset((SET_CHANGE, "sys.param.set"))
"""Actions that more than two thirds of the cosigners approve too, and that wait for `notice_hours` (R-G13, R-G15)."""

ACTIONS: Final[dict[str, Callable[[Standing, Refs, Args], None]]] = {
    "sys.member.admit": _admit,
    "sys.member.suspend": _suspend,
    "sys.member.resume": _resume,
    "sys.member.remove": _remove,
    "sys.member.succeed": _succeed,
    "sys.key.add": _key_add,
    "sys.key.rotate": key_rotate,
    "sys.key.revoke": _key_revoke,
    "sys.role.set": _role_set,
    "sys.param.set": _param_set,
    "sys.rulebook.publish": _rulebook,
    "sys.rulebook.amend": _rulebook,
    "sys.calendar.publish": _calendar,
    RETIRE: _retire,
    SET_CHANGE: _set_change,
}
