"""Gives an auditor the network's rules: the bundles that the genesis names, compiled here, in the runtime that is asked for.

Rule: bundles are checked against their hashes before anything is compiled. Not here: what the rules decide.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from ledger.adapters.runtime.memory import give_back
from ledger.core.config import Config
from ledger.core.genesis import Genesis
from ledger.core.hashing import Digest
from ledger.errors import MalformedError, RuntimeFault
from ledger.machine.views import Rules
from ledger.verify.ledger import LoadNetworkRules
from ledger.verify.replay import LoadedRules, Runtime

if TYPE_CHECKING:
    from ledger.adapters.runtime.worker import Worker
    from ledger.rules.program import Program

COMPILED: Final = "compiled"
INLINE: Final = "inline"
MONTY: Final = "monty"
NONE: Final = "none"


def rules_loader(runtime: str) -> LoadNetworkRules:
    """How `verify_ledger` gets its rules.

    `compiled` runs them in a confined worker process, `inline` in this one, `monty` in the second, independent sandbox
    (which raises `UnavailableError` where it is not installed); with `none` they are compiled, for the config, and not run.
    """

    def load(genesis: Genesis, bundle: Callable[[Digest], bytes]) -> LoadedRules:
        from ledger.adapters.runtime.compiling import compile_program, genesis_config

        bundles = {digest: bundle(digest) for digest in (genesis.rulebook, genesis.calendar)}
        program = compile_program(genesis.rulebook, genesis.calendar, bundles)
        give_back()  # compiling took more than the whole audit will
        return LoadedRules(genesis_config(genesis, program), program, _runtime(program, runtime), reload)

    def reload(config: Config, bundle: Callable[[Digest], bytes]) -> tuple[Rules, Runtime]:
        """What a later config names; another program than it says is one that this software cannot replay."""
        from ledger.adapters.runtime.compiling import compile_program

        bundles = {digest: bundle(digest) for digest in (config.rulebook, config.calendar)}
        program = compile_program(config.rulebook, config.calendar, bundles, config.steps)
        if program.source_hash != config.program:
            raise MalformedError("rule-program", "compiles to another program here", expected=config.program)
        give_back()
        return program, _runtime(program, runtime)

    return load


def _runtime(program: Program, runtime: str) -> Runtime:
    from ledger.adapters.runtime.worker import Inline

    if runtime == MONTY:
        from ledger.adapters.runtime.monty import Monty

        return Monty(program)
    return _Patient(program) if runtime == COMPILED else Inline(program)


class _Patient:
    """A worker whose calls have no time limit: an auditor repeats what was decided, however busy his machine is.

    It starts beside whatever the auditor does until the first call, which waits for it.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._worker: Worker | None = None
        self._fault: RuntimeFault | None = None
        self._starting = Thread(target=self._begin, daemon=True)
        self._starting.start()

    def start(self, call: dict[str, Any]) -> None:
        """See `Runtime`. Raises `RuntimeFault`, also where no worker could be started."""
        self._started().start(call, patient=True)

    def result(self) -> list[Any]:
        """See `Runtime`."""
        return self._started().result()

    def close(self) -> None:
        """See `Runtime`."""
        self._starting.join()
        if self._worker is not None:
            self._worker.close()

    def _begin(self) -> None:
        from ledger.adapters.runtime.worker import Worker

        try:
            self._worker = Worker(self._program, patient=True)
        except RuntimeFault as fault:
            self._fault = fault

    def _started(self) -> Worker:
        self._starting.join()
        if self._worker is None:
            raise self._fault or RuntimeFault("runtime-start", "the rule worker could not be started")
        return self._worker
