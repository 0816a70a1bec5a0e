"""Rulebooks as a network names them: by hash, from bundles that are checked before anything is read or compiled.

Not here: where bundles lie, and running what was compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ledger.core.bundle import bundle_hash, parse_bundle
from ledger.core.config import Config
from ledger.core.genesis import Genesis
from ledger.core.hashing import Digest
from ledger.core.keys import COSIGN
from ledger.errors import VerificationError
from ledger.limits import RULE_STEPS_MAX
from ledger.rules.program import Program
from ledger.rules.rulebook import Rulebook, parse_rulebook


def genesis_config(genesis: Genesis, program: Program) -> Config:
    """The config in force from height 0."""
    cosigners = tuple((member, key.public.key_id) for member, key in genesis.keys(COSIGN))
    return Config(
        rulebook=genesis.rulebook,
        calendar=genesis.calendar,
        program=program.source_hash,
        language=program.language_version,
        parameters=genesis.parameters,
        cosigners=cosigners,
        next_cosigners=cosigners,
    )


def compile_program(
    rulebook: Digest, calendar: Digest, bundles: Mapping[Digest, bytes], steps: int = RULE_STEPS_MAX
) -> Program:
    """The compiled program of two bundles, whose hashes are checked, under a step budget."""
    return Program.compile(_checked_bundle(rulebook, bundles), _checked_bundle(calendar, bundles), steps)


def _checked_bundle(digest: Digest, bundles: Mapping[Digest, bytes]) -> dict[str, bytes]:
    if digest not in bundles:
        raise VerificationError("bundle-missing", "a bundle that the genesis names is missing", expected=digest)
    files = parse_bundle(bundles[digest])
    if bundle_hash(files) != digest:
        raise VerificationError("bundle-hash", "not the bundle that the genesis names", expected=digest)
    return files


def checked_rulebook(rulebook: Digest, calendar: Digest, bundle: Callable[[Digest], bytes]) -> Rulebook:
    """The declarations of two bundles, whose hashes are checked; nothing is compiled."""
    bundles = {digest: bundle(digest) for digest in (rulebook, calendar)}
    return parse_rulebook(_checked_bundle(rulebook, bundles), _checked_bundle(calendar, bundles))
