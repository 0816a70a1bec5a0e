"""The actions of governance: what each does to members, keys, config and engine, and when it cannot be done (SPEC R-G11).

Rules: one function for each action, asked when it is proposed and again when it takes effect; it gives the new values or
raises `Refused` with a reason code; whatever it does, the validator set stays one that can go on (R-N53).
Not here: votes and time (see `governance`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ledger.core.registry import Registry
from ledger.errors import MalformedError
from ledger.machine import configchanges, enginemove, memberchanges, validators
from ledger.machine.standing import Args, Refs, Refused, Standing

RULEBOOK_ACTIONS: Final = ("sys.rulebook.publish", "sys.rulebook.amend")
CALENDAR_ACTION: Final = "sys.calendar.publish"
BUNDLE_ACTIONS: Final = frozenset((*RULEBOOK_ACTIONS, CALENDAR_ACTION))
RETIRE: Final = "sys.rulebook.retire"
SET_CHANGE: Final = "sys.set.change"
ENGINE_MOVE: Final = "sys.engine.move"
RUNTIME_SET: Final = "sys.runtime.set"
KEY_ACTIONS: Final = frozenset(("sys.key.add", "sys.key.rotate", "sys.key.revoke"))
BASED_ACTIONS: Final = BUNDLE_ACTIONS | {RUNTIME_SET}
"""Actions whose program was compiled with rulebook and calendar in force when they were proposed (R-G17)."""
WITH_COSIGNERS: Final = frozenset((SET_CHANGE, "sys.param.set", "sys.proto.raise", RUNTIME_SET, ENGINE_MOVE))
"""Actions that more than two thirds of the cosigners approve too, and that wait for `notice_hours` (R-G13, R-G15).

So does every proposal that changes the validators (`Proposal.validators`)."""

BELOW_FOUR: Final = "below_four"
_MAY_SHRINK: Final = frozenset(
    (
        "sys.member.suspend", "sys.member.remove", "sys.member.succeed", "sys.key.revoke", SET_CHANGE, ENGINE_MOVE,
    )
)  # fmt: skip
"""Actions that may say `below_four`."""

ACTIONS: Final[dict[str, Callable[[Standing, Refs, Args], None]]] = {
    "sys.member.admit": memberchanges.admit,
    "sys.member.suspend": memberchanges.suspend,
    "sys.member.resume": memberchanges.resume,
    "sys.member.remove": memberchanges.remove,
    "sys.member.succeed": memberchanges.succeed,
    "sys.key.add": memberchanges.key_add,
    "sys.key.rotate": memberchanges.key_rotate,
    "sys.key.revoke": memberchanges.key_revoke,
    "sys.role.set": memberchanges.role_set,
    "sys.param.set": configchanges.param_set,
    "sys.rulebook.publish": configchanges.rulebook,
    "sys.rulebook.amend": configchanges.rulebook,
    "sys.calendar.publish": configchanges.calendar,
    RETIRE: configchanges.retire,
    SET_CHANGE: configchanges.set_change,
    "sys.proto.raise": configchanges.proto_raise,
    RUNTIME_SET: configchanges.runtime_set,
    ENGINE_MOVE: enginemove.engine_move,
}


def apply(standing: Standing, action: str, refs: Refs, args: Args) -> None:
    """Do `action`, or raise `Refused`, after which `standing` is of no use."""
    do = ACTIONS.get(action)
    if do is None:
        raise Refused("shape")
    _do(standing, action, args, lambda plain: do(standing, refs, plain))


def end_epoch(standing: Standing, args: Args) -> None:
    """The second step of a change of the set (R-G20), or raise `Refused`."""
    _do(standing, SET_CHANGE, args, lambda plain: configchanges.end_epoch(standing, plain))


def _do(standing: Standing, action: str, args: Args, do: Callable[[Args], None]) -> None:
    before: Registry = standing.registry
    if BELOW_FOUR in args:
        if args[BELOW_FOUR] is not True or action not in _MAY_SHRINK:
            raise Refused("shape")
        args = {name: value for name, value in args.items() if name != BELOW_FOUR}
        standing.below_four = True
    try:
        do(args)
    except MalformedError as error:
        raise Refused("shape") from error
    validators.check_change(before, standing)


def needs_cosigners(action: str, *, validators_change: bool) -> bool:
    """Whether the cosigners' own two thirds and the notice period are needed."""
    return validators_change or action in WITH_COSIGNERS
