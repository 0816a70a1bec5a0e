"""Search: from a word, a name or an event id to what it may mean.

Rule: names of members, kinds and objects and the words that events gave to objects; never bodies of other events. Bounded in
work and in results: the first `limit` of each group, said to be cut where they are. Not here: full-text ranking.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from ledger.core.ident import UUID7
from ledger.core.registry import Registry
from ledger.rules.kinds import Kind
from ledger_node.query.candidates import Candidates

TEXT_CHARS_MAX: Final = 100
_UUID7: Final = re.compile(UUID7).fullmatch


def search(candidates: Candidates, registry: Registry, kinds: dict[str, Kind], text: str, limit: int) -> bytes:
    """Everything that `text` names, in four groups: members, kinds, objects, events."""
    wanted = text.strip().lower()
    members = [
        {"id": entry.id, "title": entry.title}
        for entry in registry.members.values()
        if wanted in entry.id or any(wanted in title.lower() for title in entry.title.values())
    ]
    named_kinds = [
        {"kind": kind.name, "title": kind.title}
        for kind in kinds.values()
        if wanted in kind.name or any(wanted in title.lower() for title in kind.title.values())
    ]
    objects = _objects(candidates, wanted, limit + 1)
    events = _events(candidates, registry, wanted)
    groups: dict[str, list[Any]] = {"members": members, "kinds": named_kinds, "objects": objects, "events": events}
    answer = {name: found[:limit] for name, found in groups.items()}
    cut = any(len(found) > limit for found in groups.values())
    return b'{"checkpoint":%b,"found":%b,"truncated":%b}' % (
        candidates.standing.encode(),
        msgspec.json.encode(answer),
        b"true" if cut else b"false",
    )


def _objects(candidates: Candidates, wanted: str, limit: int) -> list[dict[str, Any]]:
    """Objects whose id begins with the text, then those whose words hold it."""
    connection = candidates.connection
    found: dict[tuple[str, str], dict[str, Any]] = {}
    if wanted.isascii():
        upper = wanted + "\x7f"  # behind every id with this beginning
        rows = connection.execute(
            "SELECT w.word, o.id FROM objects o JOIN words w ON w.no = o.kind "
            "WHERE o.id>=? AND o.id<? AND o.seq<? ORDER BY o.id LIMIT ?",
            (wanted, upper, candidates.size, limit),
        )
        found.update(((kind, name), {"kind": kind, "id": name, "text": None}) for kind, name in rows)
    pattern = re.sub(r"([%_\\])", r"\\\1", wanted)
    rows = connection.execute(
        "SELECT w.word, o.id, t.text FROM texts t JOIN objects o ON o.no = t.no JOIN words w ON w.no = o.kind "
        "WHERE (t.text LIKE ? ESCAPE '\\' OR o.id LIKE ? ESCAPE '\\') AND o.seq<? ORDER BY o.no LIMIT ?",
        (f"%{pattern}%", f"%{pattern}%", candidates.size, limit),
    )
    for kind, name, text in rows:
        found[kind, name] = {"kind": kind, "id": name, "text": text.split("\n", 1)[0][:TEXT_CHARS_MAX]}
    return list(found.values())[:limit]


def _events(candidates: Candidates, registry: Registry, wanted: str) -> list[dict[str, Any]]:
    """The event of this id, whoever's it is; `member/id` as well."""
    member, _, identifier = wanted.rpartition("/")
    if not _UUID7(identifier):
        return []
    snap, size = candidates.standing.snap, candidates.size
    found: list[dict[str, Any]] = []
    for who in [member] if member in registry.members else registry.members:
        seqs = [seq for seq in snap.find_event(who, identifier) if seq < size]
        if seqs:
            found.append({"member": who, "id": identifier, "seq": seqs[0]})
    return found
