"""A ledger small enough for a case: objects and due timers in memory, blocks decided by any rule runtime.

Rules: it does what the machine does around the rules (plan, read, decide, write, due index) and nothing else: no
signatures, no hashes, no log. Timers fall due in blocks of their own when time passes.
Not here: the real transition (see `machine`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ledger.core import canonical
from ledger.core.ident import format_time
from ledger.rules.program import Outcome, Program

RunBlock = Callable[[dict[str, Any]], list[Outcome]]
"""Decides one block call: `Program.run_block`, or a runtime's."""


@dataclass(frozen=True, slots=True)
class Step:
    """One event as a member signs it: canonical head and body, and the key that signed."""

    member: str
    key: str
    roles: tuple[str, ...]
    head: bytes
    body: bytes


def make_step(
    member: str, event_id: str, kind: str, time: int, refs: dict[str, Any], body: dict[str, Any], *,
    key: str = "", roles: Sequence[str] = (), intent: bool = False,
) -> Step:  # fmt: skip
    """An event of these parts with a fixed salt; `time` is the claimed time in unix ms."""
    head: dict[str, Any] = {"id": event_id, "kind": kind, "refs": refs, "time": format_time(time), "v": 1}
    if intent:
        head["intent"] = True
    content = {**body, "salt": "AAAAAAAAAAAAAAAAAAAAAA"}
    return Step(member, key or f"key-{member}", tuple(roles), canonical.encode(head), canonical.encode(content))


@dataclass(slots=True)
class Scratch:
    """State objects, due timers and block time of one case."""

    program: Program
    run: RunBlock
    objects: dict[str, bytes] = field(default_factory=dict)
    due: dict[str, int] = field(default_factory=dict)
    time: int = 0
    height: int = 0
    strict: bool = True

    def advance(self, time: int) -> list[Outcome]:
        """Pass to `time`; timers that fall due on the way fire, each in a block at its own due."""
        outcomes: list[Outcome] = []
        while True:
            waiting = sorted((due, key) for key, due in self.due.items() if due <= time)
            if not waiting:
                break
            moment = max(waiting[0][0], self.time)
            outcomes += self._decide(moment, [[1, key, due] for due, key in waiting if due <= moment][:1000], [])
        self.time = max(self.time, time)
        return outcomes

    def block(self, time: int, steps: Sequence[Step]) -> list[Outcome]:
        """Decide `steps` in one block at `time`, after every timer that is due."""
        outcomes = self.advance(time)
        return outcomes + self._decide(time, [], steps)

    def one_block(self, time: int, steps: Sequence[Step]) -> list[Outcome]:
        """The same with the due timers inside the block, as the machine does it."""
        waiting = sorted((due, key) for key, due in self.due.items() if due <= time)
        return self._decide(time, [[1, key, due] for due, key in waiting], steps)

    def value(self, key: str) -> dict[str, Any] | None:
        """The state object `key` as a value, None where there is none."""
        data = self.objects.get(key, b"")
        return canonical.parse(data) if data else None

    def call(self, time: int, timers: list[list[Any]], steps: Sequence[Step]) -> dict[str, Any]:
        """The block call that the machine would make."""
        keys = {key for _, key, _ in timers}
        for step in steps:
            keys.update(self.program.plan(step.member, canonical.parse(step.head), canonical.parse(step.body)))
        for key in sorted(keys):
            if key.startswith("timer/") and self.objects.get(key):
                keys.update(self.program.plan_timer(canonical.parse(self.objects[key])))
        return {
            "height": self.height + 1,
            "time": time,
            "objects": {key: self.objects[key] for key in sorted(keys) if self.objects.get(key)},
            "steps": timers + [[0, s.member, s.key, list(s.roles), s.head, s.body, b""] for s in steps],
        }

    def _decide(self, time: int, timers: list[list[Any]], steps: Sequence[Step]) -> list[Outcome]:
        call = self.call(time, timers, steps)
        outcomes = self.run(call)
        self.height += 1
        self.time = max(self.time, time)
        for outcome in outcomes:
            for key, data in outcome[7]:
                canonical.parse(data) if data else None
                self.objects[key] = data
            for key, due in outcome[8]:
                if due is None:
                    self.due.pop(key, None)
                else:
                    self.due[key] = due
        return outcomes
