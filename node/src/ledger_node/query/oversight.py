"""What a regulator watches: findings, duties and deadlines, open and overdue.

Rule: lists come from the search index, every item is read from the certified state, and `now` is the certified block time,
so that "overdue" means the same to everybody. A finding is a candidate for a human. Not here: texts of codes.
"""

from __future__ import annotations

from typing import Any

from ledger.core import canonical
from ledger.core.mapkeys import object_key
from ledger_node.query.candidates import Candidates
from ledger_node.query.entries import join
from ledger_node.query.objects import page
from ledger_node.query.standing import Standing


def list_findings(
    candidates: Candidates, *, code: str | None, status: str | None, about: str | None, after: int, limit: int
) -> bytes:
    """Findings in the order they were raised, narrowed by code, status and member."""
    where, values = _where(candidates, {"code": code, "status": status, "about": about})
    count, rows = _rows(candidates, "findings", "id", where, values, after, limit)
    items: list[bytes] = []
    for name, seq in rows:
        found = candidates.standing.object(object_key(f"finding/{name}"))
        if found is not None:
            items.append(b'{"finding":%b,"id":%b,"seq":%d}' % (found, canonical.quote(name), seq))
    return page(candidates.standing, join(items), count, after, len(rows))


def list_duties(
    candidates: Candidates, *, by: str | None, status: str | None, overdue: bool, after: int, limit: int
) -> bytes:
    """Duties in the order they arose, narrowed by member and status, or to those open past their due time."""
    where, values = _where(candidates, {"by": by, "status": "open" if overdue else status})
    if overdue:
        where += " AND due<=?"
        values.append(candidates.standing.state.time)
    count, rows = _rows(candidates, "duties", "key", where, values, after, limit)
    items: list[bytes] = []
    for key, seq in rows:
        found = candidates.standing.object(object_key(key))
        if found is not None:
            items.append(b'{"duty":%b,"key":%b,"seq":%d}' % (found, canonical.quote(key), seq))
    return page(candidates.standing, join(items), count, after, len(rows))


def list_timers(standing: Standing, after: tuple[int, str] | None, limit: int) -> bytes:
    """Armed timers by due time; the cursor is the last one's `due,key`."""
    rows = standing.snap.timers(after, limit + 1)
    items: list[bytes] = []
    for due, key in rows[:limit]:
        found = standing.object(object_key(key))
        if found is not None:  # else armed after the certified block
            items.append(b'{"due":%d,"key":%b,"timer":%b}' % (due, canonical.quote(key), found))
    following = b"null"
    if len(rows) > limit:
        due, key = rows[limit - 1]
        following = canonical.quote(f"{due},{key}")
    return b'{"checkpoint":%b,"items":%b,"next":%b,"now":%d}' % (
        standing.encode(),
        join(items),
        following,
        standing.state.time,
    )


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
