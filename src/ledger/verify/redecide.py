"""Decides the events of a ledger again, block by block, by any rulebook: verdicts only, no hashes, no signatures.

Rules: events, their order and the times of blocks are the ledger's; objects and timers are this run's own, so that what
one event changes shows in all that follow. What the ledger itself decided (a conflict, too many new streams) stays.
An event whose body is gone cannot be decided: it is counted and left out, and what follows may differ because of it.
Never here: whether the source tells the truth (see `ledger`), what a difference means (see `simulate`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ledger.blockcodec import BlockData, SubmissionData, parse_block
from ledger.core.bundle import bundle_hash
from ledger.core.config import Config
from ledger.core.event import Event, parse_event
from ledger.core.genesis import Genesis
from ledger.core.hashing import ZERO_DIGEST, Digest, parse_hex_digest
from ledger.core.leaf import Record, Stream, TimerLeaf, parse_leaf
from ledger.core.merkle import EMPTY_RANGE
from ledger.core.registry import genesis_registry
from ledger.core.submission import Submission
from ledger.errors import MalformedError
from ledger.machine.block import BlockInput, Decision, Head, Item
from ledger.machine.decide import begin, finish, timers_alone
from ledger.machine.views import Rules
from ledger.verify.source import Piece

RunBlock = Callable[[dict[str, Any]], list[Any]]
"""Decides one block call; raises `RuntimeFault`."""

Follow = Callable[[Config], tuple[Rules, RunBlock]]
"""What decides under a config that a change of the ledger brought."""

_LIMIT_MARK = b'["ledger","stream-limit"'


class Objects(Protocol):
    """Objects, timers and event ids of the run; memory is bounded by the implementation."""

    def read_objects(self, keys: Any) -> dict[str, bytes]:
        """See `DecideView`."""
        ...

    def due_timers(self, time: int, count_max: int) -> list[tuple[int, str]]:
        """See `DecideView`."""
        ...

    def find_events(self, ids: Any) -> dict[tuple[str, str], list[Digest]]:
        """See `DecideView`."""
        ...

    def decided(self, decision: Decision) -> None:
        """Take over what a block decided."""
        ...


class _View:
    """`Objects` as the view that deciding reads; every stream counts as known, for that limit is not the rulebook's."""

    def __init__(self, objects: Objects, head: Head) -> None:
        self.head = head
        self.read_objects = objects.read_objects
        self.due_timers = objects.due_timers
        self.find_events = objects.find_events

    def missing_streams(self, streams: Iterable[Stream]) -> set[Stream]:  # noqa: ARG002 - the port's signature
        """See `DecideView`."""
        return set()


@dataclass(slots=True)
class Redecided:
    """One block: what stands in the log, and what was decided now, each in leaf order."""

    height: int
    time: int
    recorded: list[Record | TimerLeaf]
    items: list[Item]
    missing: int = 0
    full: bool = False
    left_out: set[tuple[str, str]] = field(default_factory=set)


class ForeignRules:
    """Rules that the ledger never had: what a proposal says of a bundle is taken as said, for it was judged by others."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.plan, self.plan_timer = rules.plan, rules.plan_timer
        self._said: dict[Digest | int, tuple[Digest, int]] = {}  # by bundle, or by step budget

    def hear(self, event: Event) -> None:
        """Note what a proposal says its bundle, or its step budget, compiles to."""
        args = event.content.get("args")
        if isinstance(args, dict) and isinstance(args.get("language"), int):
            try:
                program, steps = parse_hex_digest(args.get("program", "")), args.get("steps")
                named = steps if isinstance(steps, int) else parse_hex_digest(args.get("bundle", ""))
            except MalformedError:
                return
            self._said[named] = program, args["language"]

    def successor(
        self, rulebook: Mapping[str, bytes] | None, calendar: Mapping[str, bytes] | None, steps: int | None = None
    ) -> tuple[Digest, int]:
        """See `Rules`."""
        files = rulebook if rulebook is not None else calendar
        named = bundle_hash(files) if files is not None else steps
        said = self._said.get(named) if named is not None else None
        return said if said is not None else self._rules.successor(rulebook, calendar, steps)


class Redecision:
    """One run from block 0. `run` decides a block call; `rules` are those of the same program.

    With `follow` the rules change where the ledger's own changed; without, `rules` decide the whole history.
    """

    def __init__(
        self,
        genesis: Genesis,
        config: Config,
        rules: Rules | ForeignRules,
        run: RunBlock,
        objects: Objects,
        follow: Follow | None = None,
    ) -> None:
        self._origin, self._rules, self._run, self._objects = genesis.origin, rules, run, objects
        self._follow, self._program = follow, config.program
        self._head = Head(0, genesis.time, EMPTY_RANGE, 0, config, genesis_registry(genesis))

    def block(self, data: BlockData) -> Redecided:
        """Decide the events of `data` again. Raises `MalformedError`, `RejectedError` where the source holds what no
        honest ledger does."""
        recorded = read_records(data)
        result = Redecided(data.height, data.time, recorded, [])
        if data.height == 0:
            return result
        for leaf in recorded:
            if isinstance(leaf, Record) and _LIMIT_MARK in leaf.verdict:
                result.left_out.add((leaf.member, leaf.id))
        submissions = tuple(self._submission(each, result) for each in data.submissions)
        self._head = replace(self._head, height=data.height - 1)
        limit = self._head.config.parameters["timers_block"]
        # Under other rules more deadlines may fall due at once than the recorded blocks had room for.
        while any(each.events for each in submissions):
            waiting = self._objects.due_timers(data.time, limit + 1)
            if not waiting or not timers_alone(waiting, limit):
                break
            self._decide(BlockInput(data.height, data.time), result)
        fired = self._decide(BlockInput(data.height, data.time, submissions, data.attachments), result)
        result.full = fired >= limit or sum(isinstance(each, TimerLeaf) for each in recorded) >= limit
        return result

    def _decide(self, block: BlockInput, result: Redecided) -> int:
        """Decide `block` and take it over; the number of timers that were due."""
        if self._follow is not None and self._head.config.program != self._program:
            self._rules, self._run = self._follow(self._head.config)
            self._program = self._head.config.program
        draft = begin(block, _View(self._objects, self._head), self._rules)
        decision = finish(draft, self._run(draft.call) if draft.call["steps"] else [])
        self._objects.decided(decision)
        self._head = replace(self._head, time=block.time, config=decision.config, registry=decision.registry)
        result.items.extend(decision.items)
        return sum(1 for step in draft.call["steps"] if step[0] == 1)

    def _submission(self, data: SubmissionData, result: Redecided) -> Submission:
        events: list[Event] = []
        for head, body, _ in data.events:
            if body is None:
                result.missing += 1
                continue
            event = parse_event(head, body)
            if isinstance(self._rules, ForeignRules) and event.fields["kind"] == "sys.propose":
                self._rules.hear(event)
            if (data.member, event.fields["id"]) not in result.left_out:
                events.append(event)
        return Submission(
            self._origin, data.member, data.key_id, tuple(events), data.signature, ZERO_DIGEST, ZERO_DIGEST
        )


def read_records(data: BlockData) -> list[Record | TimerLeaf]:
    """The records and timer leaves of a block. Raises `MalformedError`."""
    found: list[Record | TimerLeaf] = []
    for leaf in data.leaves:
        parsed = parse_leaf(leaf)
        if not isinstance(parsed, bytes):
            found.append(parsed)
    return found


def read_blocks(pieces: Iterable[Piece]) -> Iterator[BlockData]:
    """All blocks of a source in order, one piece in memory at a time. Raises `MalformedError`, and what `load` raises."""
    height = 0
    for piece in pieces:
        for encoded in piece.load().blocks:
            block = parse_block(encoded)
            if block.height != height:
                raise MalformedError("block-order", "blocks do not follow one another", height=block.height, got=height)
            height += 1
            yield block


__all__ = ["ForeignRules", "Objects", "Redecided", "Redecision", "RunBlock", "read_blocks", "read_records"]
