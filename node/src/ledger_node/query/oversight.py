"""What a regulator watches: findings, duties and deadlines, open and overdue.

Rule: lists come from the search index, every item is read from the certified state, and `now` is the certified block time,
so that "overdue" means the same to everybody. The index knows present statuses only: while newer blocks wait for their
certificate, an item whose certified status is another is left out of a page. A finding is a candidate for a human.
Not here: texts of codes.
"""

from __future__ import annotations

from typing import Any

from ledger.core import canonical
from ledger.core.mapkeys import object_key
from ledger_node.query.candidates import Candidates
from ledger_node.query.entries import join
from ledger_node.query.objects import page


def list_findings(
    candidates: Candidates, *, code: str | None, status: str | None, about: str | None, after: int, limit: int
) -> bytes:
    """Findings in the order they were raised, narrowed by code, status and member."""
    where, values = _where(candidates, {"code": code, "status": status, "about": about})
    count, rows = _rows(candidates, "findings", "id", where, values, after, limit)
    items: list[bytes] = []
    for name, seq in rows:
        found = candidates.standing.object(object_key(f"finding/{name}"))
        if found is not None and _has_status(found, status):
            items.append(b'{"finding":%b,"id":%b,"seq":%d}' % (found, canonical.quote(name), seq))
    return page(candidates.standing, join(items), count, after, len(rows))


def list_duties(candidates: Candidates, *, by: str | None, status: str | None, after: int, limit: int) -> bytes:
    """Duties in the order they arose, narrowed by member and status."""
    where, values = _where(candidates, {"by": by, "status": status})
    count, rows = _rows(candidates, "duties", "key", where, values, after, limit)
    items: list[bytes] = []
    for key, seq in rows:
        found = candidates.standing.object(object_key(key))
        if found is not None and _has_status(found, status):
            items.append(b'{"duty":%b,"key":%b,"seq":%d}' % (found, canonical.quote(key), seq))
    return page(candidates.standing, join(items), count, after, len(rows))


def list_overdue(candidates: Candidates, *, after: int, limit: int) -> bytes:
    """Duties that are not done although their due time has passed, in the order they arose."""
    now = candidates.standing.state.time
    where, values = "seq<? AND due<=? AND status IN ('open', 'overdue')", [candidates.size, now]
    count, rows = _rows(candidates, "duties", "key", where, values, after, limit)
    items: list[bytes] = []
    for key, seq in rows:
        found = candidates.standing.object(object_key(key))
        fields = {} if found is None else canonical.parse(found)
        if found is not None and fields.get("status") in {"open", "overdue"}:
            due = fields.get("due")
            shown = b"%d" % due if isinstance(due, int) else b"null"
            items.append(b'{"due":%b,"duty":%b,"key":%b,"seq":%d}' % (shown, found, canonical.quote(key), seq))
    return _deadlines(candidates, items, count, after, len(rows))


def list_timers(candidates: Candidates, *, after: int, limit: int) -> bytes:
    """Armed timers by due time; those that fire leave the list."""
    connection = candidates.connection
    count = connection.execute("SELECT count(*) FROM timers").fetchone()[0]
    rows = connection.execute("SELECT key FROM timers ORDER BY due, key LIMIT ? OFFSET ?", (limit, after)).fetchall()
    items: list[bytes] = []
    for (key,) in rows:
        found = candidates.standing.object(object_key(key))
        due = None if found is None else canonical.parse(found).get("due")
        if found is not None and isinstance(due, int):  # else armed after the certified block, or fired before it
            items.append(b'{"due":%d,"key":%b,"timer":%b}' % (due, canonical.quote(key), found))
    return _deadlines(candidates, items, count, after, len(rows))


def _deadlines(candidates: Candidates, items: list[bytes], count: int, after: int, taken: int) -> bytes:
    """A page of deadlines, with the certified block time that they are held against."""
    shown = page(candidates.standing, join(items), count, after, taken)
    return b'%b,"now":%d}' % (shown[:-1], candidates.standing.state.time)


def _has_status(found: bytes, status: str | None) -> bool:
    return status is None or canonical.parse(found).get("status") == status


def _where(candidates: Candidates, wanted: dict[str, str | None]) -> tuple[str, list[Any]]:
    chosen = {column: value for column, value in wanted.items() if value is not None}
    clauses = "".join(f" AND {column}=?" for column in chosen)
    return f"seq<?{clauses}", [candidates.size, *chosen.values()]


def _rows(
    candidates: Candidates, table: str, name: str, where: str, values: list[Any], after: int, limit: int
) -> tuple[int, list[tuple[str, int]]]:
    connection = candidates.connection
    # Table, column and clauses are our own words; every value is a parameter.
    count = connection.execute(f"SELECT count(*) FROM {table} WHERE {where}", values).fetchone()[0]  # noqa: S608
    rows = connection.execute(
        f"SELECT {name}, seq FROM {table} WHERE {where} ORDER BY no LIMIT ? OFFSET ?",  # noqa: S608
        (*values, limit, after),
    ).fetchall()
    return int(count), rows
