"""Reads a permit log (CSV, plain or gzip) and says what happened in it, in the words of a data life cycle.

Reading: the first task of a case is a *collection* through its channel; work that passes to another group is a *sharing*
of the case's record; each further task is a *use* for that task's purpose; the end of a case starts *disposal*; the
deadline of a case is a field. Members are the groups of the log, by slug; a case's record belongs to the group that
collected it.
Rules: a row that cannot be read is kept with its line number and reason, and nothing else of its case changes; names of
persons leave this module only as keyed tags. Not here: ids, salts, signing, sending.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import hmac
import io
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ledger.core.ident import format_time
from ledger.errors import LedgerError, MalformedError, NotFoundError

if TYPE_CHECKING:
    from ledger.adapters.home.network import MemberPlan

COLUMNS: Final = (
    "case:channel", "case:concept:name", "case:deadline", "case:department", "case:enddate", "case:enddate_planned",
    "case:group", "case:responsible", "case:startdate", "concept:instance", "concept:name", "lifecycle:transition",
    "org:group", "org:resource", "time:timestamp",
)  # fmt: skip
NEEDED: Final = ("case:concept:name", "concept:name", "org:group", "time:timestamp")
LOG_BYTES_MAX: Final = 512 * 1024 * 1024
FIELD_CHARS_MAX: Final = 10_000
KIND: Final = "import.batch"
DATASET: Final = "permits"
TAG_CHARS: Final = 32
_GZIP: Final = b"\x1f\x8b"
_SLUG: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that could not be read: its line in the file and why."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Task:
    """One row: a task of a case, done by a person of a group. Times are unix ms."""

    line: int
    case: str
    activity: str
    group: str
    person: str
    time: int
    channel: str
    deadline: int | None
    end: int | None


@dataclass(frozen=True, slots=True)
class PermitLog:
    """A log as read: tasks in file order, rows that could not be read, rows in all."""

    tasks: tuple[Task, ...]
    bad: tuple[BadRow, ...]
    rows: int

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups, sorted by their slug."""
        return tuple(sorted({task.group for task in self.tasks}, key=slug))


@dataclass(frozen=True, slots=True)
class Statement:
    """One event to be: its author, body and refs without id and salt; `line` is the row it comes from."""

    member: str
    refs: dict[str, str]
    body: dict[str, Any]
    time: int
    line: int
    person: str = field(default="", repr=False)


def read_log(path: Path) -> PermitLog:
    """The log in a file. `NotFoundError` without one, `MalformedError` (code `permit-log`) where it is none at all."""
    try:
        data = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFoundError("input-file", "no such file", path=str(path)) from error
    return parse_log(data, str(path))


def parse_log(data: bytes, where: str = "") -> PermitLog:
    """The log in plain or gzip-compressed CSV bytes."""
    text = _decompress(data, where).decode("utf-8-sig", "surrogateescape")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header = _header(reader, where)
    tasks: list[Task] = []
    bad: list[BadRow] = []
    rows = 0
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            rows += 1
            bad.append(BadRow(line, str(error)))
            continue
        if not cells:
            continue
        rows += 1
        try:
            tasks.append(_task(header, cells, line))
        except MalformedError as error:
            bad.append(BadRow(line, error.message))
    return PermitLog(tuple(tasks), tuple(bad), rows)


def statements(log: PermitLog) -> Iterator[Statement]:
    """What the log says, case by case in the order of first appearance, each case in the order of its times."""
    cases: dict[str, list[Task]] = {}
    for task in log.tasks:
        cases.setdefault(task.case, []).append(task)
    for name, rows in cases.items():
        ordered = sorted(rows, key=lambda task: (task.time, task.line))
        owner = slug(ordered[0].group)
        refs = {"dataset": f"{owner}/{DATASET}", "case": f"{owner}/{slug(name)}"}
        before = ordered[0]
        for at, task in enumerate(ordered):
            if task.group != before.group:
                # Whoever did the task before handed the record on; when, is known from the next task only.
                handed = {**refs, "member": slug(task.group)}
                yield replace(_statement(slug(before.group), handed, "share", task, task.time), person=before.person)
            before = task
            yield _statement(slug(task.group), refs, "use" if at else "collect", task, task.time)
        last = ordered[-1]
        if last.end is not None:
            yield _statement(slug(last.group), refs, "dispose", last, last.end)


def datasets(log: PermitLog) -> list[str]:
    """Datasets that the statements name, sorted."""
    return sorted({statement.refs["dataset"] for statement in statements(log)})


def member_plans(log: PermitLog, host: str) -> list[MemberPlan]:
    """The groups as members of a new network, whose keys the node of `host` keeps."""
    from ledger.adapters.home.network import MemberPlan

    return [MemberPlan(slug(group), {"zh": group, "en": group}, ("department",), host=host) for group in log.groups]


def person_tag(secret: bytes, member: str, person: str) -> str:
    """The keyed tag of a person within one department: equal for equal names, and nothing without the key."""
    message = b"suyuan/person-tag\0" + member.encode("ascii") + b"\0" + person.encode("utf-8")
    return "p:" + hmac.new(secret, message, hashlib.sha256).hexdigest()[:TAG_CHARS]


def slug(text: str) -> str:
    """`text` as an identifier without slash or colon; characters outside ASCII become a short hash, so none collide."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii").lower()
    found = _SLUG.sub("-", plain).strip("-")
    if not text.isascii() or len(found) > 60:
        found = f"{found[:50]}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}".strip("-")
    return found or "x-" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _statement(member: str, refs: dict[str, str], stage: str, task: Task, time: int) -> Statement:
    body: dict[str, Any] = {"activity": task.activity, "stage": stage, "happened": format_time(time), "count": 1}
    if stage == "collect" and task.channel:
        body["channel"] = task.channel
    if task.deadline is not None:
        body["deadline"] = format_time(task.deadline)
    return Statement(member, refs, body, time, task.line, task.person)


def _decompress(data: bytes, where: str) -> bytes:
    if data.startswith(_GZIP):
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
                data = file.read(LOG_BYTES_MAX + 1)
        except (OSError, EOFError) as error:
            raise MalformedError("permit-log", "damaged gzip file", path=where, reason=str(error)) from None
    if len(data) > LOG_BYTES_MAX:
        raise MalformedError("permit-log", "too large", path=where, limit=LOG_BYTES_MAX)
    return data


def _header(reader: Any, where: str) -> dict[str, int]:
    try:
        names: Sequence[str] = next(reader, [])
    except csv.Error as error:
        raise MalformedError("permit-log", "not CSV", path=where, reason=str(error)) from None
    missing = [name for name in NEEDED if name not in names]
    if missing or len(set(names)) != len(names):
        raise MalformedError("permit-log", "columns are missing or stand twice", path=where, missing=", ".join(missing))
    return {name: at for at, name in enumerate(names)}


def _task(header: dict[str, int], cells: list[str], line: int) -> Task:
    if len(cells) != len(header):
        raise MalformedError("row", f"{len(cells)} cells instead of {len(header)}")
    row = {name: _cell(cells[at], name) for name, at in header.items()}
    for name in NEEDED:
        if not row[name]:
            raise MalformedError("row", f"{name} is empty")
    return Task(
        line=line,
        case=row["case:concept:name"],
        activity=row["concept:name"][:200],
        group=row["org:group"],
        person=row.get("org:resource", ""),
        time=_moment(row["time:timestamp"], "time:timestamp"),
        channel=row.get("case:channel", "")[:100],
        deadline=_optional(row, "case:deadline"),
        end=_optional(row, "case:enddate"),
    )


def _cell(text: str, name: str) -> str:
    if len(text) > FIELD_CHARS_MAX or "\0" in text or any("\udc80" <= char <= "\udcff" for char in text):
        raise MalformedError("row", f"{name} is too long, not UTF-8 or holds U+0000")
    return text.strip()


def _optional(row: dict[str, str], name: str) -> int | None:
    return _moment(row[name], name) if row.get(name) else None


def _moment(text: str, name: str) -> int:
    """Unix ms of a time with its offset; fractions beyond milliseconds are cut off."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError("no offset")
        ms = int(moment.timestamp() * 1000) if moment.microsecond == 0 else _exact_ms(moment)
        format_time(ms)
    except (ValueError, OverflowError, LedgerError):
        raise MalformedError("row", f"{name} is no time with an offset: {text[:40]!r}") from None
    return ms


def _exact_ms(moment: datetime) -> int:
    whole = moment.replace(microsecond=0)
    return int(whole.timestamp()) * 1000 + moment.microsecond // 1000
