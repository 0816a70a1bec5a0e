"""Collects what a report says from records and state objects, each looked at once.

Rules: memory holds counts, the rows that are shown (at most `ROWS_SHOWN_MAX` of a table), with a dataset as filter the
names of its objects, of two objects that a table shows as one what it needs of the first seen, and the names of the duties
that somebody else than the obligor ended. Whoever asks for one member, one dataset or a period gets exactly what concerns
it. A duty is on time when its obligor discharged it before its due, late when it ended at its due or after, whoever ended
it, and waived when somebody else ended it before or it had none; one without a due is open or has no term, never on time
and never overdue. Never here: whether any of it is true.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ledger.core import canonical
from ledger.core.mapkeys import NS_OBJECT, object_name, parse_object_value
from ledger.rules.sections import DATASET, ID, Section

ROWS_SHOWN_MAX: Final = 1_000
GROUPS_MAX: Final = 10_000
DAY_MS: Final = 86_400_000
TENTHS: Final = 10  # of a day, in which the time that a duty took is counted
_DISCHARGED: Final = b'"discharged"'

Row = list[Any]


@dataclass(frozen=True, slots=True)
class Filter:
    """What a report is about; empty means everything. Times are unix ms, `until` is excluded."""

    member: str = ""
    dataset: str = ""
    since: int | None = None
    until: int | None = None

    def covers(self, time: int | None) -> bool:
        """Whether a time lies in the period; nothing without a time does, unless no period was asked for."""
        if self.since is None and self.until is None:
            return True
        if time is None:
            return False
        return (self.since is None or time >= self.since) and (self.until is None or time < self.until)


@dataclass(slots=True)
class Listed:
    """Rows of a list: those shown, and how many there are."""

    rows: list[Row] = field(default_factory=list)
    total: int = 0

    def add(self, row: Row) -> None:
        """One more row."""
        self.total += 1
        if len(self.rows) < ROWS_SHOWN_MAX:
            self.rows.append(row)


@dataclass(slots=True)
class Facts:
    """What was collected. Duties by rule and member: on time, late, waived, no term, open, overdue; `groups` and `lists` by
    section id. `period`: a period was asked for.

    `taken`: how many of those that their obligor discharged took how many tenths of a natural day.
    """

    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    timers: int = 0
    duties: dict[tuple[str, str], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    taken: dict[tuple[str, str], Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    open_duties: list[Row] = field(default_factory=list)
    findings: Counter[tuple[str, str]] = field(default_factory=Counter)
    found: Listed = field(default_factory=Listed)
    groups: dict[str, dict[tuple[Any, ...], list[int]]] = field(default_factory=lambda: defaultdict(dict))
    lists: dict[str, Listed] = field(default_factory=lambda: defaultdict(Listed))
    period: bool = False


class Collector:
    """Takes records in the order of the ledger, then state rows in any order; `finish` gives the facts. `now` is the head's
    block time, unix ms."""

    def __init__(self, sections: Sequence[Section], wanted: Filter, now: int) -> None:
        self._wanted, self._now = wanted, now
        self._sections: dict[str, list[Section]] = defaultdict(list)
        self._counted: dict[str, list[Section]] = defaultdict(list)
        self._joined: dict[str, list[Section]] = defaultdict(list)
        self._halves: dict[str, dict[str, tuple[bool, dict[str, Any]]]] = defaultdict(dict)  # by section id and name
        for section in sections:
            for kind in section.events:
                self._counted[kind].append(section)
            if section.events:
                continue
            if _needs_both(section, wanted):
                self._joined[section.object].append(section)
                self._joined[section.beside].append(section)
            else:
                self._sections[section.object].append(section)
        self.facts = Facts(period=wanted.since is not None or wanted.until is not None)
        self._ended_by_others: set[str] = set()  # names of duties, by what discharged each last
        self._related: set[str] = set()
        self._waiting: list[tuple[str, str, dict[str, Any]]] = []

    # --- records -----------------------------------------------------------------------------------------------------

    def record(
        self,
        time: int,
        member: str,
        head: Mapping[str, Any],
        verdict: bytes,
        datasets: Iterable[str],
        body: bytes | None = None,
    ) -> None:
        """One record: its block time, its event's head, its verdict, the datasets that its refs name, and its body,
        None where that is withheld or erased."""
        decided = canonical.parse(verdict) if _DISCHARGED in verdict else None
        if decided is not None:
            self._discharges(member, decided)  # a duty's obligor need not be who is asked about
        wanted = self._wanted
        if not wanted.covers(time) or (wanted.member and wanted.member != member):
            return
        if wanted.dataset and wanted.dataset not in datasets:
            return
        decided = decided or canonical.parse(verdict)
        self.facts.events[head["kind"], str(decided["outcome"])] += 1
        if decided["outcome"] == "refused":
            for reason in decided.get("reasons", ()):
                self.facts.refusals[str(reason[1])] += 1  # [rule, code, arguments]
        for section in self._counted.get(head["kind"], ()):
            self._count(section, member, "intent" in head, decided, body)

    def _discharges(self, member: str, decided: Mapping[str, Any]) -> None:
        """Which duties a record of `member` discharged, and whether they were its own."""
        for each in decided.get("duties", ()):
            if each["status"] == "discharged":
                label = each.get("label")
                name = f"{each['rule']}/{each['on']}" + ("" if label is None else f"#{label}")
                if each["by"] == member:
                    self._ended_by_others.discard(name)
                else:
                    self._ended_by_others.add(name)

    def _count(
        self, section: Section, member: str, asked: bool, decided: Mapping[str, Any], body: bytes | None
    ) -> None:
        done = not asked and decided["outcome"] != "refused"
        if not done and not section.finding:
            return
        content = canonical.parse(body) if done and body is not None and (section.sums or section.by) else {}
        key = (member, *(content.get(name) for name in section.by))
        groups = self.facts.groups[section.id]
        if section.by and key not in groups and len(groups) >= GROUPS_MAX:
            key = tuple("…" for _ in key)
        # [done, asked beforehand, refused beforehand for the finding's code, done with the finding, sums …]
        counts = groups.setdefault(key, [0] * (4 + len(section.sums)))
        found = any(reason[1] == section.finding for reason in decided.get("reasons", ()))
        counts[0] += done
        counts[1] += asked
        counts[2] += asked and found
        counts[3] += done and found
        for place, name in enumerate(section.sums, 4):
            counts[place] += content.get(name, 0)

    def timer(self, time: int) -> None:
        """One deadline that fell due."""
        self.facts.timers += self._wanted.covers(time)

    # --- state -------------------------------------------------------------------------------------------------------

    def row(self, key: bytes, value: bytes) -> None:
        """One row of the state map."""
        if key[:1] != bytes((NS_OBJECT,)) or not value:
            return
        kind, identifier = object_name(key)
        fields = canonical.parse(parse_object_value(value)[1])
        for section in self._joined.get(kind, ()):
            self._half(section, kind, identifier, fields)
        if self._wanted.dataset:
            if fields.get("dataset") == self._wanted.dataset or (kind, identifier) == ("dataset", self._wanted.dataset):
                self._related.add(f"{kind}/{identifier}")
            elif kind in ("duty", "finding"):
                self._waiting.append((kind, identifier, fields))  # its object may still come
                return
            else:
                return
        self._object(kind, identifier, fields)

    def finish(self) -> Facts:
        """Everything, once all rows were given."""
        for kind, identifier, fields in self._waiting:
            on = fields.get("on") if kind == "finding" else identifier.partition("/")[2].partition("#")[0]
            if on in self._related:
                self._object(kind, identifier, fields)
        self._waiting = []
        for sections in self._joined.values():
            for section in sections:
                for identifier, (own, half) in self._halves.pop(section.id, {}).items():
                    if own:
                        self._join(section, identifier, half, {})
        self.facts.open_duties.sort(key=lambda row: (row[4] is None, row[4], row[0], row[1]))
        return self.facts

    def _half(self, section: Section, kind: str, identifier: str, fields: dict[str, Any]) -> None:
        """One of two objects that a section shows as one; the first waits for the other."""
        own = kind == section.object
        names = section.own if own else [name for name, _ in section.others]
        half = {name: fields[name] for name in names if name in fields}
        first = self._halves[section.id].pop(identifier, None)
        if first is None:
            self._halves[section.id][identifier] = (own, half)
        else:
            self._join(section, identifier, *((half, first[1]) if own else (first[1], half)))

    def _join(self, section: Section, identifier: str, own: dict[str, Any], others: dict[str, Any]) -> None:
        absent = {name: default for name, default in section.others if default is not None}
        fields = {**absent, **others, **own}
        if not self._wanted.dataset or fields.get(DATASET) == self._wanted.dataset:
            self._section(section, identifier, fields)

    def _object(self, kind: str, identifier: str, fields: dict[str, Any]) -> None:
        if kind == "duty":
            self._duty(identifier, fields)
        elif kind == "finding":
            self._finding(identifier, fields)
        for section in self._sections.get(kind, ()):
            self._section(section, identifier, fields)

    def _duty(self, identifier: str, fields: dict[str, Any]) -> None:
        rule, _, rest = identifier.partition("/")
        on, _, label = rest.partition("#")
        by, due, since = fields.get("by", ""), fields.get("due"), fields.get("since")
        if self._wanted.member and self._wanted.member != by:
            return
        counts = self.facts.duties[rule, by]
        if fields.get("status") == "discharged":
            at, own = fields.get("at"), identifier not in self._ended_by_others
            if self._wanted.covers(at):
                late = due is not None and at is not None and at >= due
                counts["late" if late else "waived" if not own else "no-term" if due is None else "on-time"] += 1
                if own and at is not None and since is not None:
                    self.facts.taken[rule, by][(at - since) * TENTHS // DAY_MS] += 1
            return
        # What is open now belongs to every period that reaches up to it.
        if self._wanted.until is not None and (since is None or since >= self._wanted.until):
            return
        overdue = due is not None and due <= self._now
        counts["overdue" if overdue else "open"] += 1
        self.facts.open_duties.append([rule, on, label, by, due, overdue])

    def _finding(self, identifier: str, fields: dict[str, Any]) -> None:
        about = fields.get("about", "")
        if (self._wanted.member and self._wanted.member != about) or not self._wanted.covers(fields.get("at")):
            return
        status = str(fields.get("status", "raised"))
        self.facts.findings[fields.get("code", ""), status] += 1
        self.facts.found.add(
            [
                fields.get("code", ""),
                about,
                fields.get("on", ""),
                fields.get("at"),
                fields.get("due"),
                status,
                identifier,
            ]
        )

    @staticmethod
    def _concerned(section: Section, identifier: str, fields: Mapping[str, Any]) -> list[Any]:
        """The members that an object is about."""
        return [identifier if name == ID else fields.get(name) for name in section.member]

    def _section(self, section: Section, identifier: str, fields: dict[str, Any]) -> None:
        wanted = self._wanted
        if any(fields.get(name) not in values for name, values in section.where.items()):
            return
        if wanted.member and wanted.member not in self._concerned(section, identifier, fields):
            return
        if section.time and not wanted.covers(fields.get(section.time)):
            return
        if any(not isinstance(fields.get(name), int) or fields[name] < number for name, number in section.least):
            return
        if section.older is not None:
            times = [time for name in section.older[0] if isinstance(time := fields.get(name), int)]
            if times and max(times) > self._now - section.older[1] * DAY_MS:
                return
        if section.is_list:
            self.facts.lists[section.id].add([identifier, *(fields.get(name) for name in section.columns)])
            return
        groups = self.facts.groups[section.id]
        key = tuple(_plain(fields.get(name)) for name in section.group)
        if key not in groups and len(groups) >= GROUPS_MAX:
            key = tuple("…" for _ in section.group)
        counts = groups.setdefault(key, [0] * (1 + len(section.sums) + 2 * bool(section.ratio or section.share)))
        counts[0] += 1
        for place, name in enumerate((*section.sums, *(section.ratio or ())), 1):
            amount = fields.get(name)
            counts[place] += amount if isinstance(amount, int) else 0
        if section.share:
            counts[-2] += all(fields.get(name) in values for name, values in section.share.items())
            counts[-1] += 1


def _needs_both(section: Section, wanted: Filter) -> bool:
    """Whether a section reads a field of the object beside; whom and what it concerns matters only when asked for."""
    read = {*section.columns, *section.group, *section.where, *section.sums, *section.share, *(section.ratio or ())}
    read.update(name for name, _ in section.least)
    read.update((section.older or ((), 0))[0], [section.time])
    if wanted.member:
        read.update(section.member)
    if wanted.dataset:
        read.add(DATASET)
    return any(name in read for name, _ in section.others)


def _plain(value: Any) -> Any:
    return tuple(map(str, value)) if isinstance(value, list) else str(value) if isinstance(value, dict) else value
