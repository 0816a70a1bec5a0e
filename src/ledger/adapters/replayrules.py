"""Gives an auditor the network's rules: the bundles that the genesis names, compiled here, in the runtime that is asked for.

Rule: bundles are checked against their hashes before anything is compiled. Not here: what the rules decide.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ledger.core.genesis import Genesis
from ledger.core.hashing import Digest
from ledger.errors import NotFoundError
from ledger.verify.ledger import LoadNetworkRules
from ledger.verify.replay import LoadedRules, Runtime

COMPILED, INLINE, NONE = "compiled", "inline", "none"
RUNTIMES: Final = (COMPILED, INLINE, NONE)


def rules_loader(runtime: str) -> LoadNetworkRules:
    """How `verify_ledger` gets its rules: `compiled` runs them in a confined worker process, `inline` in this one."""

    def load(genesis: Genesis, bundle: Callable[[Digest], bytes]) -> LoadedRules:
        from ledger.adapters.datadir import compile_program, genesis_config

        bundles = {digest: bundle(digest) for digest in (genesis.rulebook, genesis.calendar)}
        program = compile_program(genesis.rulebook, genesis.calendar, bundles)
        return LoadedRules(genesis_config(genesis, program), program, _runtime(program, runtime))

    return load


def _runtime(program: object, runtime: str) -> Runtime:
    from ledger.adapters.worker import Inline, Worker
    from ledger.rules.program import Program

    if not isinstance(program, Program):
        raise NotFoundError("runtime", "no such runtime", got=runtime)
    return Worker(program) if runtime == COMPILED else Inline(program)
