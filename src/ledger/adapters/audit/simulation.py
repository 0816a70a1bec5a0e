"""Runs a ledger's history under a rulebook: opens the source, keeps the run's state in a temporary file, confines the rules.

Rules: memory holds one piece of the source and bounded caches, whatever the ledger's length; rules of a folder run in the
confined worker, for they may be somebody's proposal. Not here: what is decided (see `ledger.verify.redecide`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from ledger.adapters.audit.replayrules import COMPILED, MONTY
from ledger.adapters.audit.scratch import ScratchState
from ledger.adapters.runtime.compiling import compile_program, genesis_config
from ledger.blockcodec import BlockData
from ledger.core.bundle import bundle_hash, parse_bundle
from ledger.core.config import Config
from ledger.core.event import parse_head
from ledger.core.genesis import Genesis, parse_genesis
from ledger.core.hashing import Digest
from ledger.core.leaf import Record, TimerLeaf
from ledger.errors import NotFoundError, RejectedError, VerificationError
from ledger.limits import RULE_STEPS_MAX
from ledger.machine.block import Decision
from ledger.rules.program import Program
from ledger.verify.redecide import ForeignRules, Redecided, Redecision, RunBlock, read_blocks, read_records
from ledger.verify.simulate import Difference, Simulation
from ledger.verify.source import LedgerSource

CACHE_BYTES: Final = 12 * 1024 * 1024  # an auditor's run keeps rows and buckets too, and has four times as much


class Decided(ScratchState):
    """The state of a run that seals nothing."""

    def decided(self, decision: Decision) -> None:
        """See `Scratch`; streams are forgotten, because nothing asks for them."""
        super().decided(decision)
        self._unsealed = []
        self._tidy()


@contextmanager
def running(program: Program, runtime: str) -> Iterator[RunBlock]:
    """A function that decides block calls in `runtime` (compiled, inline or monty), without a time limit."""
    from ledger.adapters.runtime.worker import Inline, Worker

    engine: Any
    if runtime == MONTY:
        from ledger.adapters.runtime.monty import Monty

        engine = Monty(program)
    else:
        engine = Worker(program) if runtime == COMPILED else Inline(program)
    try:
        yield lambda call: engine.run_block(call, patient=True)
    finally:
        engine.close()


class OwnRules:
    """The rulebooks that a ledger was decided by, compiled as they come into force. `program` is the present one."""

    def __init__(self, source: LedgerSource, genesis: Genesis) -> None:
        self._source = source
        self._attached: dict[Digest, bytes] = {}
        self.program = self._compile(genesis.rulebook, genesis.calendar)

    def attached(self, data: BlockData) -> None:
        """Keep the bundles that came with a block: they may come into force later."""
        for bundle in data.attachments:
            self._attached[bundle_hash(parse_bundle(bundle))] = bundle

    def change(self, config: Config) -> Program:
        """The program of a later config. Raises `NotFoundError` where a bundle is missing."""
        self.program = self._compile(config.rulebook, config.calendar, config.steps)
        return self.program

    def _compile(self, rulebook: Digest, calendar: Digest, steps: int = RULE_STEPS_MAX) -> Program:
        bundles = {each: self._attached.get(each) or self._source.bundle(each) for each in (rulebook, calendar)}
        return compile_program(rulebook, calendar, bundles, steps)


def simulate(
    source: LedgerSource,
    program: Program,
    *,
    runtime: str = COMPILED,
    kept_max: int,
    progress: Callable[[int], None] | None = None,
    tell: Callable[[Difference], None] | None = None,
) -> Simulation:
    """Decide the whole of `source` by `program`. `tell` gets every difference, `progress` the events so far."""
    genesis = parse_genesis(source.genesis())
    found = Simulation(kept_max)
    height = 0
    with Decided(cache_bytes=CACHE_BYTES) as objects, running(program, runtime) as run:
        rules = ForeignRules(program)
        redecision = Redecision(genesis, genesis_config(genesis, program), rules, run, objects)
        try:
            for block in read_blocks(source.pieces()):
                height = block.height
                differences = found.add(redecision.block(block))
                if tell is not None:
                    for difference in differences:
                        tell(difference)
                if progress is not None:
                    progress(found.events + found.timers)
        except (RejectedError, VerificationError) as error:
            found.stopped = (height, str(error))
        for difference in found.end():
            if tell is not None:
                tell(difference)
    return found


@dataclass(frozen=True, slots=True)
class Found:
    """An event in its block: its record, its bytes, the block decided again, and the call that the rules were asked.

    `program` is the one in force there; `call` is None when the rules were not asked; `body` when it is gone.
    """

    program: Program
    record: Record
    head: bytes
    body: bytes | None
    block: Redecided
    call: dict[str, Any] | None


def until_event(
    source: LedgerSource, member: str, event_id: str, progress: Callable[[int], None] | None = None
) -> Found:
    """The event `member`/`event_id`, everything before it decided again. Raises `NotFoundError` where there is none."""
    genesis = parse_genesis(source.genesis())
    own = OwnRules(source, genesis)
    needle = f'"id":"{event_id}"'.encode()
    caught: list[tuple[Program, dict[str, Any]]] = []
    wanted = False
    count = 0

    def run(call: dict[str, Any]) -> list[Any]:
        if wanted and any(step[0] == 0 and step[1] == member and needle in step[4] for step in call["steps"]):
            caught.append((own.program, call))
        return own.program.run_block(call)

    def follow(config: Config) -> tuple[Program, RunBlock]:
        return own.change(config), run

    with Decided(cache_bytes=CACHE_BYTES) as objects:
        config = genesis_config(genesis, own.program)
        redecision = Redecision(genesis, config, own.program, run, objects, follow)
        for block in read_blocks(source.pieces()):
            events = [
                (head, body)
                for data in block.submissions
                for head, body, _ in data.events
                if data.member == member and needle in head and parse_head(head)["id"] == event_id
            ]
            wanted = bool(events)
            decided = redecision.block(block)
            own.attached(block)
            count += len(decided.items)
            if progress is not None:
                progress(count)
            for leaf in decided.recorded if wanted else ():
                if isinstance(leaf, Record) and (leaf.member, leaf.id) == (member, event_id):
                    program, call = caught[0] if caught else (own.program, None)
                    return Found(program, leaf, *events[0], decided, call)
    raise NotFoundError("event-absent", "the ledger has no such event", event=f"{member}/{event_id}")


@dataclass(frozen=True, slots=True)
class FoundTimer:
    """A timer that fired: its leaf, the block decided again, the call that the rules were asked and their program."""

    program: Program
    leaf: TimerLeaf
    block: Redecided
    call: dict[str, Any] | None


def until_timer(
    source: LedgerSource, key: str, due: int | None = None, progress: Callable[[int], None] | None = None
) -> FoundTimer:
    """The timer `key` as it fired for `due`, or for the last time, everything before it decided again.

    Raises `NotFoundError` where it never did.
    """
    genesis = parse_genesis(source.genesis())
    own = OwnRules(source, genesis)
    caught: list[tuple[Program, dict[str, Any]]] = []
    wanted: set[int] = set()
    found: FoundTimer | None = None
    count = 0

    def run(call: dict[str, Any]) -> list[Any]:
        outcomes = own.program.run_block(call)
        if wanted and any(outcome[1] == key and outcome[2] in wanted for outcome in outcomes):
            caught.append((own.program, call))
        return outcomes

    def follow(config: Config) -> tuple[Program, RunBlock]:
        return own.change(config), run

    with Decided(cache_bytes=CACHE_BYTES) as objects:
        redecision = Redecision(genesis, genesis_config(genesis, own.program), own.program, run, objects, follow)
        for block in read_blocks(source.pieces()):
            leaves = [
                leaf
                for leaf in read_records(block)
                if isinstance(leaf, TimerLeaf) and leaf.key == key and due in (None, leaf.due)
            ]
            wanted = {leaf.due for leaf in leaves}
            caught.clear()
            decided = redecision.block(block)
            own.attached(block)
            count += len(decided.items)
            if progress is not None:
                progress(count)
            if leaves:
                program, call = caught[-1] if caught else (own.program, None)
                found = FoundTimer(program, leaves[-1], decided, call)
                if due is not None:
                    break
    if found is None:
        raise NotFoundError("timer-absent", "the timer never fired in this ledger", key=key)
    return found


__all__ = ["Decided", "Found", "FoundTimer", "OwnRules", "running", "simulate", "until_event", "until_timer"]
