"""What votes do to the config: parameters, rulebook, calendar, cosigners, protocol, runtime (SPEC R-G11, R-G20, R-G25).

Rule: one function for each action, asked when it is proposed and again when it takes effect. Not here: members and keys
(see `memberchanges`), votes and time (see `governance`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ledger.core.config import Config, Cosigner
from ledger.core.genesis import PARAMETERS, check_member_id
from ledger.core.hashing import Digest, parse_hex_digest
from ledger.core.keys import COSIGN
from ledger.core.registry import ACTIVE
from ledger.limits import (
    COSIGNERS_MAX,
    RULE_STEPS_MAX,
    RULE_STEPS_VOTE_MAX,
    STATE_OBJECT_BYTES_MAX,
    TIMERS_BLOCK_MAX,
)
from ledger.machine import validators
from ledger.machine.standing import Args, Refs, Refused, Standing, closed, pair

PROTOCOL_VERSION_MAX: Final = 1_000
PARAMETER_RANGES: Final = {
    "notice_hours": range(8_760 + 1),
    "skew_ms": range(86_400_000 + 1),
    "timers_block": range(1, TIMERS_BLOCK_MAX + 1),
}
"""The values that a vote may give each parameter (R-G03)."""


def param_set(standing: Standing, refs: Refs, args: Args) -> None:
    """Parameters of the network (R-G03), those that change."""
    closed(refs)
    (parameters,) = closed(args, "parameters")
    if not isinstance(parameters, dict) or not parameters or not set(parameters) <= set(PARAMETERS):
        raise Refused("shape")
    for name, value in parameters.items():
        if type(value) is not int or value not in PARAMETER_RANGES[name]:
            raise Refused("shape")
    standing.config = replace(standing.config, parameters={**standing.config.parameters, **parameters})


def rulebook(standing: Standing, refs: Refs, args: Args) -> None:
    """Another rulebook, with the program that it compiles to."""
    bundle, program = _bundle_args(standing, refs, args)
    standing.config = replace(standing.config, rulebook=bundle, program=program)


def calendar(standing: Standing, refs: Refs, args: Args) -> None:
    """Another calendar, with the program that the rulebook compiles to under it."""
    bundle, program = _bundle_args(standing, refs, args)
    standing.config = replace(standing.config, calendar=bundle, program=program)


def _bundle_args(standing: Standing, refs: Refs, args: Args) -> tuple[Digest, Digest]:
    closed(refs)
    bundle, language, program = closed(args, "bundle", "language", "program")
    digest = parse_hex_digest(bundle)
    if digest in (standing.config.rulebook, standing.config.calendar):
        raise Refused("in-force")
    # Another language version is another runtime, which rules change for everybody: that is not a rulebook's to say.
    if type(language) is not int or language != standing.config.language:
        raise Refused("language")
    return digest, parse_hex_digest(program)


def program_base(config: Config) -> tuple[str, ...]:
    """What the program of a proposal is compiled with (R-G17): rulebook and calendar in force, and where a vote set
    another step budget than the first, the program in force, which names it."""
    base = (config.rulebook.hex(), config.calendar.hex())
    return base if config.steps == RULE_STEPS_MAX else (*base, config.program.hex())


def retire(standing: Standing, refs: Refs, args: Args) -> None:
    """A rulebook or calendar that is not in force can never be put in force (again); `governance` keeps its name."""
    closed(refs)
    (bundle,) = closed(args, "bundle")
    if parse_hex_digest(bundle) in (standing.config.rulebook, standing.config.calendar):
        raise Refused("in-force")


def set_change(standing: Standing, refs: Refs, args: Args) -> None:
    """Announce the next cosigner set (R-G20); the epoch's last block is that of `end_epoch`.

    With `validators` the validator set changes in that same block; what could not be done then is refused now.
    """
    (named,) = closed(refs, "member")
    pairs, *changed = closed(args, "cosigners", *(("validators",) if "validators" in args else ()))
    config = standing.config
    if config.cosigners != config.next_cosigners:
        raise Refused("set-changing")
    if not isinstance(pairs, list) or not 1 <= len(pairs) <= COSIGNERS_MAX:
        raise Refused("shape")
    cosigners: list[Cosigner] = []
    for each in pairs:
        member, key_id = pair(each)
        standing.member(check_member_id(member), ACTIVE)
        if standing.key(key_id, member).use != COSIGN:
            raise Refused("key-use")
        cosigners.append((member, parse_hex_digest(key_id)))
    names = [name for name, _ in cosigners]
    about = sorted({*names, *(validators.named(changed[0]) if changed else ())})
    if names != sorted(set(names)) or (about if len(about) > 1 else about[0]) != named:
        raise Refused("shape")
    if tuple(cosigners) == config.cosigners:
        raise Refused("in-force")
    if changed:
        validators.change(standing.trial(), changed[0])
    standing.config = replace(config, next_cosigners=tuple(cosigners))
    if len(standing.config.encode()) > STATE_OBJECT_BYTES_MAX:
        raise Refused("size")


def end_epoch(standing: Standing, args: Args) -> None:
    """The block of this change is the last of its epoch: from the next on the announced set cosigns.

    `args` are those of the `set_change` that announced it.
    """
    config = standing.config
    if config.cosigners == config.next_cosigners:
        raise Refused("in-force")
    for member, key_id in config.next_cosigners:
        standing.member(member, ACTIVE)
        standing.key(key_id.hex(), member)
    if "validators" in args:
        validators.change(standing, args["validators"])
    standing.config = replace(config, cosigners=config.next_cosigners, epoch=config.epoch + 1)


def cancel_epoch(standing: Standing) -> None:
    """The announced set cannot take over (a key of it ended): the old one stays."""
    standing.config = replace(standing.config, next_cosigners=standing.config.cosigners)


def proto_raise(standing: Standing, refs: Refs, args: Args) -> None:
    """The next protocol version (R-G25). Software that does not know it stops before the first block under it."""
    closed(refs)
    (version,) = closed(args, "version")
    if type(version) is not int or version > PROTOCOL_VERSION_MAX:
        raise Refused("shape")
    if version <= standing.config.protocol_version:
        raise Refused("in-force")
    # One step at a time: each version says how a ledger of the one before goes on.
    if version != standing.config.protocol_version + 1:
        raise Refused("version")
    standing.config = replace(standing.config, protocol_version=version)


def runtime_set(standing: Standing, refs: Refs, args: Args) -> None:
    """Language version, step budget and the program that rulebook and calendar in force compile to there (R-G25)."""
    closed(refs)
    language, program, steps = closed(args, "language", "program", "steps")
    config = standing.config
    whole = type(language) is int and type(steps) is int
    if not whole or not 1 <= language <= PROTOCOL_VERSION_MAX or not 1 <= steps <= RULE_STEPS_VOTE_MAX:
        raise Refused("shape")
    # A program of an older language would bring back what was left behind.
    if language < config.language:
        raise Refused("version")
    changed = replace(config, language=language, program=parse_hex_digest(program), steps=steps)
    if changed == config:
        raise Refused("in-force")
    standing.config = changed
