"""Says what other rules would have decided on a real ledger: the differences of verdicts, one by one and summed up.

Rules: a verdict is compared by its parts (outcome, reasons, findings, duties, alerts, timers), each under the rule that
speaks there; numbers that only follow from an earlier difference (ids and repeats of findings, lines of a rule file) are
left out. Every difference is counted; only the first ones are kept, so that memory does not grow with the ledger.
Never here: the decisions (see `redecide`), files, words.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from ledger.core.leaf import Record, TimerLeaf
from ledger.machine.block import Item
from ledger.verify.redecide import Redecided

OUTCOME, REASON, FINDING, DUTY, ALERT, TIMER, LEAF = "outcome", "reason", "finding", "duty", "alert", "timer", "leaf"
PARTS: Final = (OUTCOME, REASON, FINDING, DUTY, ALERT, TIMER, LEAF)
KEPT_DEFAULT: Final = 50
GROUPS_MAX: Final = 10_000  # rows of the summary; codes come from both rulebooks, so there are far fewer

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One part that differs. `before` is what stands in the log, `after` what these rules say; None: nothing."""

    part: str
    rule: str
    code: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Difference:
    """An event or deadline whose verdict differs. `name` is `<member>/<event id>` or a timer's key; `due` of a timer."""

    height: int
    time: int
    kind: str
    name: str
    due: int | None
    changes: tuple[Change, ...]


@dataclass(slots=True)
class Simulation:
    """What a run found so far. `groups` counts (part, rule, code, direction), direction one of added, gone, changed."""

    kept_max: int = KEPT_DEFAULT
    blocks: int = 0
    events: int = 0
    timers: int = 0
    missing: int = 0
    different: int = 0
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    groups: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    kept: list[Difference] = field(default_factory=list)
    stopped: tuple[int, str] | None = None
    _waiting: dict[tuple[str, int], tuple[int, int, dict[str, Any] | None, dict[str, Any] | None]] = field(
        default_factory=dict
    )

    def add(self, block: Redecided) -> list[Difference]:
        """Compare one block; the differences found, whether kept or not."""
        self.blocks += 1
        self.missing += block.missing
        found = list(self._events(block))
        found.extend(self._deadlines(block))
        for difference in found:
            self._count(difference)
        return found

    def end(self) -> list[Difference]:
        """No more blocks follow."""
        found = self._flush()
        for difference in found:
            self._count(difference)
        return found

    def _events(self, block: Redecided) -> Iterator[Difference]:
        records: dict[tuple[str, str, bytes], Record] = {}
        for leaf in block.recorded:
            if isinstance(leaf, Record):
                records[(leaf.member, leaf.id, bytes(leaf.event_hash))] = leaf
        for item in block.items:
            if item.event is None:
                continue
            self.events += 1
            event = item.event
            recorded = records.pop((item.member, event.fields["id"], bytes(event.hash)), None)
            if recorded is not None and recorded.verdict == item.verdict:
                continue
            before = None if recorded is None else json.loads(recorded.verdict)
            changes = compare(before, json.loads(item.verdict))
            if changes:
                name = f"{item.member}/{event.fields['id']}"
                yield Difference(block.height, block.time, str(event.fields["kind"]), name, None, changes)

    def _deadlines(self, block: Redecided) -> list[Difference]:
        """Deadlines by (key, due). When a block had no room for all, the rest may stand in the next one."""
        for leaf in block.recorded:
            if isinstance(leaf, TimerLeaf):
                self._meet((leaf.key, leaf.due), block, json.loads(leaf.verdict), None)
        for item in block.items:
            if item.event is None:
                self.timers += 1
                self._meet((item.timer_key, item.timer_due), block, None, _verdict(item))
        return [] if block.full else self._flush()

    def _meet(
        self, key: tuple[str, int], block: Redecided, before: dict[str, Any] | None, after: dict[str, Any] | None
    ) -> None:
        held = self._waiting.get(key)
        if held is not None:
            before, after = before or held[2], after or held[3]
        self._waiting[key] = (block.height, block.time, before, after)

    def _flush(self) -> list[Difference]:
        found = []
        for (key, due), (height, time, before, after) in sorted(self._waiting.items(), key=lambda each: each[0][::-1]):
            changes = compare(before, after)
            if changes:
                found.append(Difference(height, time, f"timer {key.split('/')[1]}", key, due, changes))
        self._waiting.clear()
        return found

    def _count(self, difference: Difference) -> None:
        self.different += 1
        if len(self.kept) < self.kept_max:
            self.kept.append(difference)
        for change in difference.changes:
            if change.part == OUTCOME:
                self.outcomes[(change.before or "-", change.after or "-")] += 1
                continue
            direction = "added" if change.before is None else "gone" if change.after is None else "changed"
            group = (change.part, change.rule, change.code, direction)
            if group in self.groups or len(self.groups) < GROUPS_MAX:
                self.groups[group] += 1


def _verdict(item: Item) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(item.verdict)
    return found


def compare(before: dict[str, Any] | None, after: dict[str, Any] | None) -> tuple[Change, ...]:
    """How the verdict `after` differs from the recorded `before`; None where there is no such leaf."""
    if before is None or after is None:
        there, missing = (before, after) if after is None else (after, before)
        rules = sorted({key[0] for part in (REASON, FINDING, DUTY) for key in _parts(there or {}, part)})
        said = _said(there or {})
        pair = (said, None) if missing is after else (None, said)
        return (Change(LEAF, rules[0] if rules else "", "", *pair),)
    changes: list[Change] = []
    if before["outcome"] != after["outcome"]:
        changes.append(Change(OUTCOME, "", "", before["outcome"], after["outcome"]))
    for part in (REASON, FINDING, DUTY, ALERT, TIMER):
        old, new = _parts(before, part), _parts(after, part)
        changes.extend(
            Change(part, key[0], key[1], old.get(key), new.get(key))
            for key in sorted(old.keys() | new.keys())
            if old.get(key) != new.get(key)
        )
    return tuple(changes)


def _parts(verdict: dict[str, Any], part: str) -> dict[Key, str]:
    """The items of one part, as (rule, code, …) → the rest in words."""
    found: dict[Key, str] = {}
    if part == REASON:
        for rule, code, args in verdict.get("reasons", ()):
            shown = {name: args[name] for name in args if code != "rule-error" or name != "line"}
            found[(rule, code, str(shown.get("object", "")))] = _show(shown)
    elif part == FINDING:
        for item in verdict.get("findings", ()):
            rest = _without(item, ("rule", "code", "about", "on", "id", "repeats"))
            place = (item["about"], item.get("on", ""))
            found[(item["rule"], item["code"], *place)] = _join(*place, _show(rest))
    elif part == DUTY:
        for item in verdict.get("duties", ()):
            rest = _without(item, ("rule", "by", "on", "label", "cured"))
            whose = (item["by"], item["on"], item.get("label", ""))
            found[(item["rule"], "", *whose)] = _join(*whose, _show(rest))
    elif part == ALERT:
        for item in verdict.get("alerts", ()):
            found[(item["rule"], item["code"])] = _show(item.get("args", {}))
    else:
        owed = {f"timer/{item['rule']}/{item['on']}" for item in verdict.get("duties", ())}
        for key, due in verdict.get("timers", ()):
            if key.partition("#")[0] not in owed:  # the duty says it already
                found[(key.split("/")[1], "", key)] = _join(key, _show({"due": due}))
    return found


def _without(item: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    left = set(names)
    return {name: value for name, value in item.items() if name not in left}


def _join(*texts: str) -> str:
    return " ".join(text for text in texts if text)


def _said(verdict: dict[str, Any]) -> str:
    parts = [str(verdict["outcome"])] if "outcome" in verdict else []
    parts += [f"{item['rule']} {item['code']}" for item in verdict.get("findings", ())]
    parts += [f"{rule} {code}" for rule, code, _ in verdict.get("reasons", ())]
    return ", ".join(parts)


def _show(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True) if value else ""


__all__ = ["GROUPS_MAX", "KEPT_DEFAULT", "PARTS", "Change", "Difference", "Simulation", "compare"]
