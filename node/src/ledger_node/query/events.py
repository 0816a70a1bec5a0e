"""Events by name, by kind and by member.

Rule: one event is found by the log's own index and shown with everything recorded under its id, conflicts included; lists
come from the search index and are ordered as recorded, with the leaf index as cursor. Not here: receipts (see `receipts`).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import islice

from ledger.core.ident import check_identifier, check_uuid7
from ledger.core.proof import StreamName
from ledger.errors import NotFoundError
from ledger_node.query.blocktimes import BlockTimes
from ledger_node.query.candidates import Candidates
from ledger_node.query.entries import join, read_entries
from ledger_node.query.index import word_number
from ledger_node.query.standing import Standing
from ledger_node.query.streams import stream_value


def find_certified(standing: Standing, member: str, event_id: str) -> list[int]:
    """Log indexes of the records of (member, id) under the certified checkpoint; raises `NotFoundError`."""
    check_identifier(member, "member")
    check_uuid7(event_id, "id")
    seqs = [seq for seq in standing.snap.find_event(member, event_id) if seq < standing.size]
    if not seqs:
        raise NotFoundError("event", "no such event is recorded under this checkpoint", member=member, id=event_id)
    return seqs


def show_event(standing: Standing, times: BlockTimes, member: str, event_id: str) -> bytes:
    """The event's record, and the refused ones of other content under the same id behind it."""
    entries = read_entries(standing.snap, times, find_certified(standing, member, event_id))
    return b'{"checkpoint":%b,"conflicts":%b,"entry":%b}' % (standing.encode(), join(entries[1:]), entries[0])


def list_events(
    candidates: Candidates, times: BlockTimes, *, kind: str | None, member: str | None, after: int, limit: int
) -> bytes:
    """Records from leaf index `after` on, refused ones included, narrowed by kind and member."""
    standing = candidates.standing
    pairs, count = _pairs(candidates, kind, member)
    rows = heapq.merge(*(_seqs(candidates, *pair, after, limit + 1) for pair in pairs))
    found = list(islice(rows, limit + 1))
    entries = read_entries(standing.snap, times, found[:limit])
    following = b"%d" % found[limit] if len(found) > limit else b"null"
    return b'{"checkpoint":%b,"count":%d,"entries":%b,"next":%b}' % (standing.encode(), count, join(entries), following)


def _pairs(candidates: Candidates, kind: str | None, member: str | None) -> tuple[list[tuple[int, int]], int]:
    """The (kind, member) partitions asked for, and how many records below the certified size they hold."""
    connection = candidates.connection
    sql, values = "SELECT kind, member, count FROM counts WHERE 1", []
    for column, word, what in (("kind", kind, "kind"), ("member", member, "member")):
        if word is not None:
            sql += f" AND {column}=?"
            values.append(word_number(connection, check_identifier(word, what)))
    rows = connection.execute(sql, values).fetchall()
    newer = 0
    for number, who, _ in rows:
        # What is indexed beyond the certified size is short.
        newer += connection.execute(
            "SELECT count(*) FROM events WHERE kind=? AND member=? AND seq>=?", (number, who, candidates.size)
        ).fetchone()[0]
    return [(number, who) for number, who, _ in rows], sum(count for _, _, count in rows) - newer


def _seqs(candidates: Candidates, kind: int, member: int, after: int, limit: int) -> Iterator[int]:
    rows = candidates.connection.execute(
        "SELECT seq FROM events WHERE kind=? AND member=? AND seq>=? AND seq<? ORDER BY seq LIMIT ?",
        (kind, member, after, candidates.size, limit),
    )
    return (seq for (seq,) in rows)


def member_sizes(standing: Standing, member: str) -> tuple[int, int]:
    """(accepted and irregular, refused) records of a member, from its two streams."""
    values = [stream_value(standing, StreamName("member", member, refused)) for refused in (False, True)]
    return (values[0].size if values[0] else 0), (values[1].size if values[1] else 0)
