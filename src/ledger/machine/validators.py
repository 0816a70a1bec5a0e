"""How the validator set of CometBFT may change by vote (SPEC R-N52, R-N53).

Rules: validators are the consensus keys in force of members without status, so whatever ends a key or a member changes the
set, and each change is judged here by the set before and after it: one key a member, never empty, below four only with
`below_four` in the proposal, and every validator holds keys to order, cosign and connect. Growing is always allowed.
Not here: votes (see `governance`); when the engine follows (two blocks of its own later).
"""

from __future__ import annotations

from ledger.core.genesis import VALIDATOR_USES, check_member_id
from ledger.core.keys import CONSENSUS
from ledger.core.registry import ACTIVE, Registry
from ledger.limits import VALIDATORS_FLOOR, VALIDATORS_MAX
from ledger.machine.memberchanges import add_key
from ledger.machine.standing import Refused, Standing, closed, pair


def check_change(before: Registry, standing: Standing) -> None:
    """Raise `Refused` where the validators of `standing` may not follow those of `before`."""
    old, new = before.validators(), standing.registry.validators()
    if len({member for member, _ in new}) != len(new):
        raise Refused("validator-twice")
    if len(new) > VALIDATORS_MAX:
        raise Refused("validator-count")
    if len(new) < len(old):
        if not new:
            raise Refused("validator-last")
        check_floor(standing)
    # What a member gave up by itself before is not the fault of this change.
    if lacking(standing.registry) - lacking(before):
        raise Refused("validator-keys")


def check_floor(standing: Standing) -> None:
    """Raise `Refused` for fewer than four validators, unless the proposal says that this is meant."""
    if len(standing.registry.validators()) < VALIDATORS_FLOOR and not standing.below_four:
        raise Refused("validator-floor")


def lacking(registry: Registry) -> set[tuple[str, str]]:
    """(member, use) of every key that a validator needs and does not hold."""
    held = {(key.member, key.use) for key in registry.keys.values() if key.until_height is None}
    wanted = {(member, use) for member, _ in registry.validators() for use in VALIDATOR_USES}
    return wanted - held


def named(value: object) -> list[str]:
    """The members whose validator keys a change of the set adds or ends. Raises `Refused`."""
    added, ended = closed(value, "add", "end")
    if not isinstance(added, list) or not isinstance(ended, list) or not 1 <= len(added) + len(ended) <= VALIDATORS_MAX:
        raise Refused("shape")
    found = []
    for pairs in (added, ended):
        members = [check_member_id(pair(each)[0]) for each in pairs]
        if members != sorted(set(members)):
            raise Refused("shape")
        found += members
    return found


def change(standing: Standing, value: object) -> None:
    """End and add consensus keys as a change of the set says. Raises `Refused`."""
    before = standing.registry
    added, ended = closed(value, "add", "end")
    for member, key_id in map(pair, ended):
        entry = standing.key(key_id, member)
        if entry.use != CONSENSUS:
            raise Refused("key-use")
        standing.end_key(entry)
    for member, key in map(pair, added):
        standing.member(member, ACTIVE)
        if add_key(standing, member, key).use != CONSENSUS:
            raise Refused("key-use")
    check_change(before, standing)
