"""Members and their keys as the certified state has them.

Rule: entries are the state's own bytes; public keys are public. Not here: who may read what.
"""

from __future__ import annotations

from ledger.core.genesis import check_member_id
from ledger.core.hashing import Digest
from ledger.core.mapkeys import key_key, member_key
from ledger.errors import NotFoundError
from ledger_node.query.entries import join
from ledger_node.query.events import member_sizes
from ledger_node.query.standing import Standing


def list_members(standing: Standing) -> bytes:
    """Every member, by id."""
    keys = _keys_by_member(standing)
    items = [item for name in sorted(standing.node.registry.members) if (item := _fields(standing, name, keys))]
    return b'{"checkpoint":%b,"count":%d,"items":%b}' % (
        standing.encode(),
        len(items),
        join(b"{%b}" % item for item in items),
    )


def show_member(standing: Standing, member: str) -> bytes:
    """One member; raises `NotFoundError`."""
    found = _fields(standing, check_member_id(member), _keys_by_member(standing))
    if not found:
        raise NotFoundError("member", "no such member under this checkpoint", member=member)
    return b'{"checkpoint":%b,%b}' % (standing.encode(), found)


def _keys_by_member(standing: Standing) -> dict[str, list[Digest]]:
    """Key ids of each member, the oldest registration first."""
    found: dict[str, list[Digest]] = {}
    entries = standing.node.registry.keys.items()
    for key_id, entry in sorted(entries, key=lambda pair: (pair[1].from_height, pair[1].use, pair[1].roles, pair[0])):
        found.setdefault(entry.member, []).append(key_id)
    return found


def _fields(standing: Standing, member: str, keys: dict[str, list[Digest]]) -> bytes:
    """The members of the JSON object; empty where the member is not in this state."""
    entry = standing.object(member_key(member))
    if entry is None:
        return b""
    shown = [
        b'{"entry":%b,"key_id":"%b"}' % (found, key_id.hex().encode())
        for key_id in keys.get(member, [])
        if (found := standing.object(key_key(key_id))) is not None
    ]
    accepted, refused = member_sizes(standing, member)
    return b'"accepted":%d,"id":"%b","keys":%b,"member":%b,"refused":%d' % (
        accepted,
        member.encode(),
        join(shown),
        entry,
        refused,
    )
