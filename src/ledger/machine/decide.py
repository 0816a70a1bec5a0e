"""Decide a block: plan what to read, read it once, let the rules run, pair the outcomes with the events.

Rule: a local fault of the runtime passes through as `RuntimeFault` and never becomes a verdict. Verdicts of the ledger
itself (conflict, stream-limit, governance) are made here; all others come from the rulebook. Not here: leaves and hashes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ledger.core.bundle import parse_bundle
from ledger.core.canonical import parse
from ledger.core.hashing import Digest, parse_hex_digest
from ledger.core.leaf import timer_streams
from ledger.core.stream import event_streams
from ledger.errors import RejectedError, RuntimeFault
from ledger.limits import VERDICT_BYTES_MAX
from ledger.machine import changes, governance
from ledger.machine.admit import CONFLICT, DUPLICATE, Admitted, admit
from ledger.machine.block import REFUSED, BlockInput, Decision, Item
from ledger.machine.streams import StreamQuota
from ledger.machine.supported import check_supported
from ledger.machine.views import DecideView, RuleRuntime, Rules

CONFLICT_VERDICT: Final = b'{"outcome":"refused","reasons":[["ledger","conflict",{}]]}'
STREAM_LIMIT_VERDICT: Final = b'{"outcome":"refused","reasons":[["ledger","stream-limit",{}]]}'

LEAF_SIZE_VERDICT: Final = b'{"outcome":"refused","reasons":[["ledger","leaf-size",{}]]}'

_MEMBER: Final = "member/"

Timer = tuple[int, str]
"""(due, timer key)."""


def decide(block: BlockInput, view: DecideView, rules: Rules, runtime: RuleRuntime) -> Decision:
    """The decision of `block` after `view`: `begin`, the runtime's call, `finish` in one."""
    draft = begin(block, view, rules)
    return finish(draft, runtime.run_block(draft.call) if draft.call["steps"] else [])


def begin(block: BlockInput, view: DecideView, rules: Rules) -> Draft:
    """Everything up to the runtime's call, which is `draft.call` (skip the call when it has no steps).

    Raises `RejectedError` for a block that no honest engine makes: height, time, events while more timers are due than
    one block fires; `FatalError` under a protocol that this software does not know.
    """
    head = view.head
    check_supported(head.config)
    if block.height != head.height + 1 or block.time < head.time:
        raise RejectedError("block-order", "height or time does not follow", height=block.height, time=block.time)
    bundles = governance.check_attachments(block)
    admitted = admit(block, view)
    timers = due_timers(block, view)
    draft = Draft(block, view, admitted, timers, _successor(rules, bundles))
    draft.call = plan_call(block, rules, view, draft.rule_timers, draft.for_rules)
    return draft


def _successor(rules: Rules, bundles: Mapping[Digest, bytes]) -> governance.Compile:
    """What a proposed bundle would make of the rules in force."""

    def compile_bundle(action: str, args: Mapping[str, Any]) -> tuple[Digest, int]:
        if action == changes.RUNTIME_SET:
            return rules.successor(None, None, args["steps"])
        files = parse_bundle(bundles[parse_hex_digest(args["bundle"])])
        calendar = action == changes.CALENDAR_ACTION
        return rules.successor(None if calendar else files, files if calendar else None)

    return compile_bundle


def finish(draft: Draft, outcomes: Sequence[Any]) -> Decision:
    """The decision, once the runtime has answered. Raises `RuntimeFault` when the answer does not fit the call."""
    return draft.finish(outcomes)


def due_timers(block: BlockInput, view: DecideView) -> list[Timer]:
    """The timers that the block fires, in order; a block that holds events must fire all that are due (R-T04).

    A timer of the ledger's own is the last leaf of its block (R-G16): what follows it lives under what it changed.
    """
    count_max = view.head.config.parameters["timers_block"]
    timers = view.due_timers(block.time, count_max + 1)
    if timers and timers_alone(timers, count_max):
        if block.submissions:
            raise RejectedError("timers-first", "more timers are due than one block fires", limit=count_max)
        timers = timers[:count_max]
        for number, (_, key) in enumerate(timers, 1):
            if governance.is_governance_timer(key):
                return timers[:number]
    return timers


def timers_alone(timers: Sequence[Timer], count_max: int) -> bool:
    """Whether the next block may hold timers only: more are due than it fires, or one of the ledger's own is."""
    return len(timers) > count_max or any(governance.is_governance_timer(key) for _, key in timers)


def plan_call(
    block: BlockInput, rules: Rules, view: DecideView, timers: Sequence[Timer], events: Sequence[Admitted]
) -> dict[str, Any]:
    """The block call of the rule runtime: steps in order, and every object they may read."""
    keys: set[str] = {key for _, key in timers}
    for entry in events:
        keys.update(rules.plan(entry.member, entry.event.fields, entry.event.content))
    objects = _read(view, keys)
    later: set[str] = set()
    # A timer's handler reads what its object lists; a timer that an event of this block supersedes or sets off inside
    # the block names keys that this event planned already (R-T05), so one further read is enough.
    for key, value in objects.items():
        if key.startswith("timer/"):
            later.update(rules.plan_timer(parse(value)))
    later -= keys
    if later:
        objects.update(_read(view, later))
    steps: list[list[Any]] = [[1, key, due] for due, key in timers]
    steps.extend(
        [
            0,
            entry.member,
            entry.signer.public.key_id.hex(),
            list(entry.signer.roles),
            entry.event.head,
            entry.event.body,
            entry.event.hash,
        ]
        for entry in events
    )
    return {
        "height": block.height,
        "time": block.time,
        "objects": objects,
        "steps": steps,
    }


def _read(view: DecideView, keys: set[str]) -> dict[str, bytes]:
    """The objects that exist; `member/<id>` is the member's entry in the registry, which no rule writes (R-R09)."""
    members = {key for key in keys if key.startswith(_MEMBER)}
    if not members:
        return view.read_objects(keys)
    found = view.read_objects(keys - members)
    for key in members:
        entry = view.head.registry.members.get(key[len(_MEMBER) :])
        if entry is not None:
            found[key] = entry.encode()
    return found


class Draft:
    """The items of a block in the making; the ledger's own verdicts stand, the rules' are filled in.

    `call` is what the rule runtime is asked, `for_rules` the events in it, after the due timers.
    """

    def __init__(
        self,
        block: BlockInput,
        view: DecideView,
        admitted: list[Admitted],
        timers: Sequence[Timer],
        compile_bundle: governance.Compile | None = None,
    ) -> None:
        self.call: dict[str, Any] = {}
        self._block = block
        self._entries: list[tuple[Admitted, Item | None, tuple[str, bytes] | None]] = []
        self.for_rules: list[Admitted] = []
        self._duplicates = [entry.place for entry in admitted if entry.status == DUPLICATE]
        for entry in admitted:
            entry.streams = event_streams(entry.member, entry.event.fields)
        quota = StreamQuota(admitted, view, block.time)
        deciding = governance.Governance(view.head, block.height, block.time, view.read_objects, compile_bundle)
        self._governance = deciding
        own = bool(timers) and governance.is_governance_timer(timers[-1][1])
        self.rule_timers: Sequence[Timer] = timers[:-1] if own else timers
        self._own_timer = deciding.fire(timers[-1][1], timers[-1][0]) if own else None
        for entry in admitted:
            if entry.status == DUPLICATE:
                continue
            item: Item | None = None
            write: tuple[str, bytes] | None = None
            if entry.status == CONFLICT:
                item = _ledger_item(entry, CONFLICT_VERDICT, author_only=True)
            else:
                counted = quota.admits(entry)
                if counted is False:
                    item = _ledger_item(entry, STREAM_LIMIT_VERDICT, author_only=True)
                elif isinstance(counted, tuple):
                    write = counted
                if item is None and governance.is_governance(entry.event.fields):
                    submission = block.submissions[entry.place[0]]
                    item = deciding.decide(entry, submission.origin, alone=len(submission.events) == 1)
                    if write is not None:
                        item.writes.append(write)
                        write = None
            if item is None:
                self.for_rules.append(entry)
            self._entries.append((entry, item, write))

    def replays(self) -> list[int]:
        """Numbers of the submissions whose every event is a duplicate."""
        duplicates = Counter(number for number, _ in self._duplicates)
        submissions = self._block.submissions
        return [number for number, count in duplicates.items() if count == len(submissions[number].events)]

    def finish(self, outcomes: Sequence[Any]) -> Decision:
        """The decision, once the rules have answered."""
        timers = self.rule_timers
        items: list[Item] = []
        answers = _Answers(outcomes)
        moved: set[str] = set()
        for number, (_, key) in enumerate(timers):
            # A timer that an earlier one of this block cleared or moved does not fire, wherever blocks are cut (R-R04).
            fired = answers.take(number, optional=key in moved)
            moved.update(name for item in fired for name, _ in item.timers)
            items.extend(fired)
        if self._own_timer is not None:
            items.append(self._own_timer)
        number = len(timers)
        for entry, item, write in self._entries:
            if item is not None:
                items.append(item)
                continue
            taken = answers.take(number)
            number += 1
            first = taken[0]
            first.event, first.member, first.place = entry.event, entry.member, entry.place
            first.streams = entry.streams
            if write is not None:
                first.writes.append(write)
            items.extend(taken)
        answers.check_spent()
        return Decision(
            block=self._block,
            items=items,
            duplicates=self._duplicates,
            registry=self._governance.registry,
            config=self._governance.config,
            registry_writes=self._governance.writes,
        )


class _Answers:
    """The runtime's outcomes, read in step order; a malformed answer is a fault of the runtime."""

    def __init__(self, outcomes: Sequence[Any]) -> None:
        self._outcomes, self._next = outcomes, 0

    def take(self, step: int, *, optional: bool = False) -> list[Item]:
        """The item of step `step`, followed by those of timers that fired right after it; `optional` may be none."""
        items: list[Item] = []
        while self._next < len(self._outcomes):
            outcome = self._outcomes[self._next]
            if outcome[0] != (step if not items else -1):
                break
            items.append(_item(outcome))
            self._next += 1
        if not items and not optional:
            raise RuntimeFault("runtime-answer", "the rule runtime left a step without an outcome", step=step)
        return items

    def check_spent(self) -> None:
        """Raise `RuntimeFault` when outcomes are left over."""
        if self._next != len(self._outcomes):
            raise RuntimeFault("runtime-answer", "the rule runtime answered more than it was asked")


def _item(outcome: Sequence[Any]) -> Item:
    _, timer_key, due, verdict, accepted, _refused_streams, extra, writes, timers = outcome
    if (extra or len(verdict) > VERDICT_BYTES_MAX) and _leaf_bytes(verdict, extra) > VERDICT_BYTES_MAX:
        # R-L14: decided here and not when sealing, for the next block may already build on what this event writes.
        verdict, accepted, extra, writes, timers = LEAF_SIZE_VERDICT, REFUSED, (), (), ()
    item = Item(
        verdict=verdict,
        outcome=accepted,
        refused_streams=accepted == REFUSED,  # R-S03: the outcome alone decides, so that every reader can tell
        extra_streams=tuple((kind, name) for kind, name in extra) if extra else (),
        writes=[(key, value) for key, value in writes],
        timers=[(key, when) for key, when in timers] if timers else [],
    )
    if timer_key is not None:
        item.timer_key, item.timer_due = timer_key, due
        item.streams = list(timer_streams(timer_key))
    return item


def _leaf_bytes(verdict: bytes, extra: Sequence[Sequence[str]]) -> int:
    """What verdict and extra streams take in a leaf."""
    return len(verdict) + sum(len(kind) + len(name) + 6 for kind, name in extra)


def _ledger_item(entry: Admitted, verdict: bytes, *, author_only: bool) -> Item:
    """An event that the ledger itself refuses; it joins only its author's `!refused` stream."""
    return Item(
        verdict=verdict,
        outcome=REFUSED,
        refused_streams=True,
        extra_streams=(),
        writes=[],
        timers=[],
        streams=[("member", entry.member)] if author_only else entry.streams,
        event=entry.event,
        member=entry.member,
        place=entry.place,
        author_only=author_only,
    )
