"""Makes a report of facts: tables with titled columns, the same for every way of showing them.

Rule: figures and codes are never translated, everything a person reads exists in zh and en. Not here: layout.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ledger.report.facts import TENTHS, Facts, Filter, Row
from ledger.rules.kinds import Title
from ledger.rules.rulebook import Rulebook
from ledger.rules.sections import Section

TEXT: Final = "text"
CODE: Final = "code"
COUNT: Final = "count"
TIME: Final = "time"
RATE: Final = "rate"
DAYS: Final = "days"

AT_END: Final[Title] = {"zh": "账本末尾的状态", "en": "State at the end of the ledger"}

_PERCENT: Final = 100
_PLACE: Final = re.compile(r"\{[a-z_]+\}")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; `type` says how its values are shown: text, code, count, time (unix ms), rate (0 to 100),
    days (natural days, one decimal)."""

    id: str
    title: Title
    type: str = TEXT


@dataclass(frozen=True, slots=True)
class Table:
    """A table; `total` is the number of rows there are, of which `rows` shows at most a thousand. `at_end`: a period was
    asked for, and the table shows the state at the end of the ledger all the same."""

    id: str
    title: Title
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    total: int
    at_end: bool = False

    def document(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "id": self.id,
            "title": dict(self.title),
            "columns": [{"id": each.id, "title": dict(each.title), "type": each.type} for each in self.columns],
            "rows": [list(row) for row in self.rows],
            "total": self.total,
            "state_at_end": self.at_end,
        }


@dataclass(slots=True)
class Report:
    """A whole report. `checked`: the state's root is that of the head's header; nothing else was verified."""

    source: str
    origin: str
    rulebook: Title
    filter: Filter
    zone_ms: int
    height: int = 0
    time: int = 0
    size: int = 0
    root: str = ""
    state_root: str = ""
    checked: bool = False
    simulated: bool = False
    tables: list[Table] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """The JSON document; times are unix ms."""
        wanted = self.filter
        return {
            "v": 1,
            "source": self.source,
            "origin": self.origin,
            "rulebook": dict(self.rulebook),
            "head": {
                "height": self.height,
                "time": self.time,
                "size": self.size,
                "root": self.root,
                "state_root": self.state_root,
            },
            "state_checked": self.checked,
            "simulated_time": self.simulated,
            "filter": {
                "member": wanted.member or None,
                "dataset": wanted.dataset or None,
                "since": wanted.since,
                "until": wanted.until,
            },
            "tables": [table.document() for table in self.tables],
        }


def build_tables(facts: Facts, book: Rulebook, sections: Sequence[Section]) -> list[Table]:
    """All tables that have something to say, the platform's first, then the rulebook's in its order."""
    tables = [_events(facts, book), _duties(facts), _open(facts), *_findings(facts, book), _refusals(facts, book)]
    for section in sections:
        at_end = facts.period and not section.events and not section.time
        tables.append(replace(_section(section, facts, book), at_end=at_end))
    return [table for table in tables if table.rows]


# --- what every ledger has -------------------------------------------------------------------------------------------

_OUTCOMES: Final = {
    "accepted": {"zh": "通过", "en": "accepted"},
    "irregular": {"zh": "记录在案、有问题", "en": "irregular"},
    "refused": {"zh": "拒绝", "en": "refused"},
}
_COUNT: Final = Column("count", {"zh": "数量", "en": "Count"}, COUNT)


def _events(facts: Facts, book: Rulebook) -> Table:
    by_kind: dict[str, dict[str, int]] = defaultdict(dict)
    for (kind, outcome), count in facts.events.items():
        by_kind[kind][outcome] = count
    columns = (
        Column("kind", {"zh": "事项", "en": "Kind"}, CODE),
        Column("meaning", {"zh": "含义", "en": "Meaning"}),
        *(Column(name, title, COUNT) for name, title in _OUTCOMES.items()),
    )
    rows = tuple(
        (kind, dict(book.kinds[kind].title) if kind in book.kinds else None, *(counts.get(n, 0) for n in _OUTCOMES))
        for kind, counts in sorted(by_kind.items())
    )
    return Table("events", {"zh": "记录的事项", "en": "Recorded events"}, columns, rows, len(rows))


def _duties(facts: Facts) -> Table:
    columns = (
        Column("rule", {"zh": "规则", "en": "Rule"}, CODE),
        Column("member", {"zh": "义务部门", "en": "Obliged"}, CODE),
        Column("on-time", {"zh": "按时", "en": "On time"}, COUNT),
        Column("late", {"zh": "逾期了结", "en": "Late"}, COUNT),
        Column("waived", {"zh": "非由义务部门了结", "en": "Waived (ended by others)"}, COUNT),
        Column("no-term", {"zh": "已履行、无期限", "en": "Done, no term"}, COUNT),
        Column("open", {"zh": "进行中", "en": "Open"}, COUNT),
        Column("overdue", {"zh": "逾期未完成", "en": "Overdue"}, COUNT),
        Column("rate", {"zh": "按时率", "en": "On-time rate"}, RATE),
        Column("median", {"zh": "办结用时中位数（天）", "en": "Median days taken"}, DAYS),
    )
    rows = tuple(
        (
            rule,
            member,
            *(counts[name] for name in ("on-time", "late", "waived", "no-term", "open", "overdue")),
            _on_time(counts),
            median_days(facts.taken.get((rule, member), Counter())),
        )
        for (rule, member), counts in sorted(facts.duties.items())
        if counts.total()
    )
    return Table("duties", {"zh": "义务履行", "en": "Duties and how they were met"}, columns, rows, len(rows))


def _on_time(counts: Mapping[str, int]) -> float | None:
    """Percent met in time, of those with a term that the obligor met or missed."""
    return percent(counts["on-time"], counts["on-time"] + counts["late"] + counts["overdue"])


def median_days(taken: Counter[int]) -> float | None:
    """The median of what was counted in tenths of a day, as natural days; the lower of two middle ones; None of nothing."""
    left = (taken.total() + 1) // 2
    for tenths, count in sorted(taken.items()):
        left -= count
        if left <= 0:
            return tenths / TENTHS
    return None


def _open(facts: Facts) -> Table:
    columns = (
        Column("rule", {"zh": "规则", "en": "Rule"}, CODE),
        Column("on", {"zh": "对象", "en": "Object"}, CODE),
        Column("label", {"zh": "标记", "en": "Label"}, CODE),
        Column("member", {"zh": "义务部门", "en": "Obliged"}, CODE),
        Column("due", {"zh": "期限", "en": "Due"}, TIME),
        Column("overdue", {"zh": "已逾期", "en": "Overdue"}),
    )
    yes, no = {"zh": "是", "en": "yes"}, {"zh": "否", "en": "no"}
    rows = tuple((*row[:5], yes if row[5] else no) for row in facts.open_duties[:1_000])
    return Table("open", {"zh": "未了义务", "en": "Open duties"}, columns, rows, len(facts.open_duties), facts.period)


def _findings(facts: Facts, book: Rulebook) -> list[Table]:
    code = Column("code", {"zh": "代码", "en": "Code"}, CODE)
    meaning = Column("meaning", {"zh": "含义", "en": "Meaning"})
    status = Column("status", {"zh": "状态", "en": "Status"}, CODE)
    counted = tuple(
        (name, _article(book, name), _meaning(book, name), state, count)
        for (name, state), count in sorted(facts.findings.items())
    )
    article = Column("article", {"zh": "条款", "en": "Article"})
    listed_columns = (
        code,
        Column("about", {"zh": "涉及部门", "en": "About"}, CODE),
        Column("on", {"zh": "对象", "en": "Object"}, CODE),
        Column("at", {"zh": "提出时间", "en": "Raised"}, TIME),
        Column("due", {"zh": "当时期限", "en": "Was due"}, TIME),
        status,
        Column("id", {"zh": "编号", "en": "Id"}, CODE),
    )
    rows = _sorted(facts.found.rows)
    return [
        Table(
            "findings", {"zh": "违规线索（按条款）", "en": "Findings by article"},
            (code, article, meaning, status, _COUNT), counted, len(counted),
        ),
        Table(
            "finding-list", {"zh": "违规线索清单", "en": "Findings one by one"}, listed_columns, rows, facts.found.total
        ),
    ]  # fmt: skip


def _refusals(facts: Facts, book: Rulebook) -> Table:
    columns = (
        Column("code", {"zh": "代码", "en": "Code"}, CODE),
        Column("article", {"zh": "条款", "en": "Article"}),
        Column("meaning", {"zh": "含义", "en": "Meaning"}),
        _COUNT,
    )
    rows = tuple(
        (code, _article(book, code), _meaning(book, code), count) for code, count in facts.refusals.most_common()
    )
    return Table("refusals", {"zh": "拒绝原因", "en": "Reasons of refusals"}, columns, rows, len(rows))


def _article(book: Rulebook, code: str) -> str:
    return book.texts[code].article if code in book.texts else ""


def _meaning(book: Rulebook, code: str) -> Title | None:
    """What a code means, with dots where each case has a value of its own."""
    if code not in book.texts:
        return None
    return {language: _PLACE.sub("…", text) for language, text in book.texts[code].title.items()}


# --- what a rulebook asks for ----------------------------------------------------------------------------------------


def _section(section: Section, facts: Facts, book: Rulebook) -> Table:
    if section.events:
        return _counted(section, facts, book)
    fields = {**(book.objects[section.beside].titles if section.beside else {}), **book.objects[section.object].titles}
    if section.is_list:
        listed = facts.lists[section.id]
        columns = [Column("id", book.objects[section.object].title, CODE)]
        columns.extend(Column(name, fields[name], TIME if name in section.times else TEXT) for name in section.columns)
        return Table(section.id, section.title, tuple(columns), _sorted(listed.rows), listed.total)
    columns = [Column(name, fields[name], TIME if name in section.times else TEXT) for name in section.group]
    columns.append(_COUNT)
    columns.extend(Column(name, fields[name], COUNT) for name in section.sums)
    if section.ratio or section.share:
        columns.append(Column("rate", {"zh": "比例", "en": "Rate"}, RATE))
    rows: list[tuple[Any, ...]] = []
    for key, counts in facts.groups[section.id].items():
        row: list[Any] = [*key, *counts[: 1 + len(section.sums)]]
        if section.ratio or section.share:
            row.append(percent(counts[-2], counts[-1]))
        rows.append(tuple(row))
    return Table(section.id, section.title, tuple(columns), _sorted(rows), len(rows))


def _counted(section: Section, facts: Facts, book: Rulebook) -> Table:
    """Events by author: those done, and where a finding is named what became of those that were asked for beforehand."""
    titles = {field.name: field.title for kind in section.events for field in book.kinds[kind].fields}
    columns = [
        Column("member", {"zh": "部门", "en": "Member"}, CODE),
        *(Column(name, titles[name], CODE) for name in section.by),
        Column("done", {"zh": "已发生", "en": "Done"}, COUNT),
    ]
    if section.finding:
        columns += [
            Column("asked", {"zh": "事前审核", "en": "Asked beforehand"}, COUNT),
            Column("avoided", {"zh": "事前拒绝（已避免）", "en": "Refused beforehand (avoided)"}, COUNT),
            Column("anyway", {"zh": "仍然发生（线索）", "en": "Done all the same (findings)"}, COUNT),
        ]
    columns.extend(Column(name, titles[name], COUNT) for name in section.sums)
    rows = [
        (*key, *(counts[:4] if section.finding else counts[:1]), *counts[4:])
        for key, counts in facts.groups[section.id].items()
    ]
    return Table(section.id, section.title, tuple(columns), _sorted(rows), len(rows))


def percent(part: int, whole: int) -> float | None:
    """`part` of `whole` in percent with one decimal; None of nothing."""
    return round(_PERCENT * part / whole, 1) if whole else None


def _sorted(rows: Sequence[Row] | Sequence[tuple[Any, ...]]) -> tuple[tuple[Any, ...], ...]:
    return tuple(tuple(row) for row in sorted(rows, key=lambda row: [str(value) for value in row]))
