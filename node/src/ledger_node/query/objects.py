"""State objects for readers: one by name, or all of a kind in the order they appeared.

Rule: an object's JSON is the certified state's own bytes; `cursor` counts objects of the kind by appearance, so pages are
stable and the count is exact. Not here: what the fields mean (the rulebook says that).
"""

from __future__ import annotations

from ledger.core.ident import check_identifier
from ledger.core.mapkeys import object_key
from ledger.core.proof import StreamName
from ledger.errors import MalformedError, NotFoundError
from ledger_node.query.candidates import Candidates
from ledger_node.query.entries import join
from ledger_node.query.index import word_number
from ledger_node.query.standing import Standing
from ledger_node.query.streams import encode_stream, stream_value


def object_name(kind: str, identifier: str) -> bytes:
    """The map key of an object; raises `MalformedError` for what names nothing."""
    check_identifier(kind, "object kind")
    if "/" in kind:
        raise MalformedError("identifier", "a kind has no slash", what="object kind", got=kind)
    # Ids of duties and timers may be longer than identifiers, and all are bounded by the map key's length prefixes.
    if not identifier or len(identifier) > 400 or not identifier.isascii() or not identifier.isprintable():
        raise MalformedError("identifier", "not the id of an object", what="object id", got=identifier)
    return object_key(f"{kind}/{identifier}")


def show_object(standing: Standing, kind: str, identifier: str) -> bytes:
    """One object with its stream's size; raises `NotFoundError`."""
    found = standing.object(object_name(kind, identifier))
    if found is None:
        raise NotFoundError("object", "nothing of this kind and name", kind=kind, id=identifier)
    return b'{"checkpoint":%b,%b}' % (standing.encode(), _fields(standing, kind, identifier, found))


def list_objects(candidates: Candidates, kind: str, *, after: int, limit: int) -> bytes:
    """The objects of a kind behind the first `after`, in the order they appeared."""
    standing, connection = candidates.standing, candidates.connection
    check_identifier(kind, "object kind")
    number = word_number(connection, kind)
    count = connection.execute(
        "SELECT count(*) FROM objects WHERE kind=? AND seq<?", (number, candidates.size)
    ).fetchone()[0]
    rows = connection.execute(
        "SELECT id FROM objects WHERE kind=? AND seq<? ORDER BY no LIMIT ? OFFSET ?",
        (number, candidates.size, limit, after),
    ).fetchall()
    items: list[bytes] = []
    for (identifier,) in rows:
        found = standing.object(object_name(kind, identifier))
        if found is not None:
            items.append(b"{%b}" % _fields(standing, kind, identifier, found))
    return page(standing, join(items), count, after, len(rows))


def page(standing: Standing, items: bytes, count: int, after: int, taken: int) -> bytes:
    """A page of a list: exact count, and the cursor of the next page where there is one."""
    end = after + taken
    following = b"%d" % end if end < count and taken else b"null"
    return b'{"checkpoint":%b,"count":%d,"items":%b,"next":%b}' % (standing.encode(), count, items, following)


def _fields(standing: Standing, kind: str, identifier: str, found: bytes) -> bytes:
    stream = StreamName(kind, identifier)
    try:
        value = stream_value(standing, stream)
        shown = encode_stream(standing, stream, value)
    except MalformedError:
        shown = b"null"  # an id that is no identifier has no stream of its own
    return b'"id":"%b","kind":"%b","object":%b,"stream":%b' % (identifier.encode(), kind.encode(), found, shown)
