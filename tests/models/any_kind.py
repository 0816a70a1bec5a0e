"""Histories of every kind of a rulebook, made from its declarations: events that mostly have the form and parties asked for.

What an event names is looked up among the objects that the history made so far, so a course of events gets somewhere; what
it says is drawn. Not here: what must come of it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from ledger.core import canonical
from ledger.core.ident import format_time, uuid7_at
from ledger.rules.kinds import Field, Kind
from ledger.rules.program import Outcome, Program
from ledger.rules.scratch import Scratch, Step, make_step
from scripts.bench.workload import KEYS, MEMBERS

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
WORDS = ("name", "address", "school", "tax", "status")


@dataclass(frozen=True, slots=True)
class Draw:
    """One step to make: wait `hours`, then an event of `kind`; `seed` decides everything else about it."""

    hours: int
    kind: str
    seed: int


@dataclass(frozen=True, slots=True)
class Made:
    """One event of a history, when it is recorded, and the label of the key that signs it."""

    time: int
    step: Step
    label: str


class AnyKind:
    """Makes a history and decides it in a `Scratch` ledger, every event in a block of its own."""

    def __init__(self, program: Program, start_ms: int) -> None:
        self.program = program
        self.scratch = Scratch(program, program.run_block)
        self.made: list[Made] = []
        self.outcomes: list[Outcome] = []
        self._time = start_ms
        self._random = random.Random(0)

    def add(self, draw: Draw) -> None:
        """Make and decide the next event."""
        self._time += draw.hours * HOUR_MS
        self._random = random.Random(draw.seed)
        kind = self.program.book.kinds[draw.kind]
        label = self._random.choice(sorted(KEYS))
        refs = self._refs(kind)
        member = self._author(kind, refs)
        for name in kind.owns:
            if not refs[name].startswith(member + "/"):
                refs[name] = f"{member}/own-{self._random.randrange(2)}"
        body = self._fields(kind.fields)
        self._record(kind.name, member, label, refs, body, self._random.random() < 0.05)

    def lead(self, *, entrusted: bool = False) -> None:
        """A published dataset of `ga`, and a grant of it to `rs` that is in use: what most kinds are about; and where wanted
        its processing by `ws` on behalf of `rs`."""
        dataset = {"dataset": "ga/own-0"}
        draft = {
            "name": "户籍", "items": list(WORDS), "format": "table", "frequency": "daily", "sharing": "conditional",
            "methods": ["api"], "level": "general", "purposes": ["school", "tax"],
        }  # fmt: skip
        targets = dict.fromkeys(("completeness", "accuracy", "consistency", "timeliness"), 9_000)
        ask = {"basis": "法", "purpose": "school", "items": ["name"], "method": "api", "until": "2099-12-31"}
        self._exact("catalog.draft", "ga", dataset, draft)
        self._exact("quality.plan", "ga", dataset, targets)
        self._exact("catalog.submit", "ga", dataset, {"attested": ["secrecy", "pi-impact", "no-secrets"]})
        self._exact("catalog.publish", "sj", {**dataset, "item": sorted(set(WORDS))}, {})
        application = self._exact("share.apply", "rs", dataset, ask)
        grant = self._exact("share.approve", "ga", {**dataset, "application": application}, {})
        copy = self._exact("share.deliver", "ga", {**dataset, "grant": grant}, {"to": "rs", "method": "api"})
        self._exact("share.receive", "rs", {"copy": copy, "grant": grant}, {})
        self._exact(
            "use.access", "rs", {**dataset, "grant": grant}, {"purpose": "school", "items": ["name"], "count": 3}
        )
        if entrusted:
            safe = {"type": "security", "result": "passed", "until": "2099-12-31"}
            assessment = self._exact("assess.record", "rs", dataset, safe)
            self._exact(
                "entrust.approve",
                "rs",
                {**dataset, "member": "ws", "grant": grant, "assessment": [assessment]},
                {
                    "contract": "2026-7", "purpose": "school", "items": ["name"], "operations": ["access", "store"],
                    "measures": "加密", "until": "2099-12-31", "linkage": True,
                },
            )  # fmt: skip

    def _exact(self, kind: str, member: str, refs: dict[str, Any], body: dict[str, Any]) -> str:
        self._record(kind, member, "office", refs, body, False)
        head = canonical.parse(self.made[-1].step.head)
        if self.outcomes[-1][4] != 1:
            raise AssertionError(f"{kind} of the lead was not accepted: {self.outcomes[-1][3]!r}")
        return f"{member}/{head['id']}"

    def _record(
        self, kind: str, member: str, label: str, refs: dict[str, Any], body: dict[str, Any], intent: bool
    ) -> None:
        event_id = uuid7_at(self._time, (len(self.made) + 1).to_bytes(10, "big"))
        step = make_step(
            member, event_id, kind, self._time, refs, body, key=f"{member}-{label}", roles=sorted(KEYS[label]),
            intent=intent,
        )  # fmt: skip
        self.made.append(Made(self._time, step, label))
        self.outcomes += self.scratch.block(self._time, [step])

    def _refs(self, kind: Kind) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for ref in kind.refs:
            if ref.optional and self._random.random() < 0.6:
                continue
            known = self._names(ref.object)
            one = self._random.choice(known) if known and self._random.random() < 0.95 else self._unknown()
            found[ref.name] = [one] if ref.many else one
        for name, path in kind.agree:
            value = self._value(kind, found, path)
            if value and self._random.random() < 0.95:
                found[name] = value
        return found

    def _names(self, kind: str) -> list[str]:
        if kind == "member":
            return list(MEMBERS)
        prefix = kind + "/"
        return sorted(
            key.removeprefix(prefix) for key, data in self.scratch.objects.items() if data and key.startswith(prefix)
        )

    def _unknown(self) -> str:
        return f"{self._random.choice(MEMBERS)}/own-{self._random.randrange(2)}"

    def _value(self, kind: Kind, refs: dict[str, Any], path: str) -> Any:
        """The field `object.field` of what the refs name; None where it cannot be told."""
        name, _, field = path.partition(".")
        ref = next((each for each in kind.refs if each.name == name), None)
        named = refs.get(name)
        if ref is None or named is None:
            return None
        found = self.scratch.value(f"{ref.object}/{named[0] if ref.many else named}")
        return found.get(field) if found else None

    def _author(self, kind: Kind, refs: dict[str, Any]) -> str:
        parties = [value for path in kind.by if (value := self._value(kind, refs, path)) in MEMBERS]
        if parties and self._random.random() < 0.95:
            return str(self._random.choice(parties))
        return self._random.choice(MEMBERS)

    def _fields(self, fields: tuple[Field, ...]) -> dict[str, Any]:
        return {field.name: self._field(field) for field in fields if field.required or self._random.random() < 0.4}

    def _field(self, field: Field) -> Any:
        draw = self._random
        if field.type == "code":
            return draw.choice(field.values or (*WORDS, *MEMBERS))
        if field.type == "int":
            return min(field.high, field.low + draw.choice((0, 1, 2, 7, 30, 10_000)))
        if field.type == "bool":
            return draw.random() < 0.5
        if field.type in ("time", "date"):
            moment = format_time(self._time + draw.choice((-40, -1, 0, 1, 20, 400)) * DAY_MS)
            return moment if field.type == "time" else moment[:10]
        if field.type == "digest":
            return draw.randbytes(32).hex()
        if field.type == "list" and field.item is not None:
            return [self._field(field.item) for _ in range(draw.randrange(1, 4))][: field.limit]
        if field.type == "group":
            return self._fields(field.fields)
        return draw.choice(WORDS)


def statuses(program: Program) -> dict[str, tuple[str, set[str]]]:
    """Object kind → (field, statuses) of every table."""
    return {
        name: (
            table.field,
            {*table.start.values(), *table.moves, *(s for e in table.moves.values() for s in e.values())},
        )
        for name, table in program.book.tables.items()
    }
