"""Proposals and their votes as the certified state has them, and who votes.

Rule: documents are the state's own bytes; who votes now is computed by the machine's own functions. Not here: voting.
"""

from __future__ import annotations

from typing import Any, Final

from ledger.core import canonical
from ledger.core.hashing import lp
from ledger.core.mapkeys import NS_OBJECT, object_key
from ledger.core.proposal import proposal_key, vote_key
from ledger.core.quorum import threshold
from ledger.errors import NotFoundError
from ledger.machine.changes import needs_cosigners
from ledger.machine.governance import electorate
from ledger_node.query.ports import Node
from ledger_node.query.standing import Standing

PREFIX: Final = bytes((NS_OBJECT,)) + lp(b"sys-proposal")
SCANNED: Final = 1_000  # rows read at a time


def list_proposals(standing: Standing, status: str | None, *, after: int, limit: int) -> dict[str, Any]:
    """Proposals of a status (None: all), oldest first, behind the first `after`."""
    found = sorted(_all(standing, status), key=lambda each: (each["proposal"]["at"], each["name"]))
    items = found[after : after + limit]
    end = after + len(items)
    following = end if end < len(found) and items else None
    return {"count": len(found), "items": items, "next": following, **_voters(standing)}


def show_proposal(standing: Standing, name: str) -> dict[str, Any]:
    """One proposal with every vote on it; raises `NotFoundError`."""
    # A name from outside may be anything; only an ASCII one can be a key.
    data = standing.object(object_key(proposal_key(name))) if name.isascii() and 0 < len(name) <= 256 else None
    if data is None:
        raise NotFoundError("proposal", "no such proposal under this checkpoint", name=name)
    votes: dict[str, Any] = {}
    for member in sorted(standing.node.registry.members):
        vote = standing.object(object_key(vote_key(name, member)))
        if vote is not None:
            votes[member] = canonical.parse(vote)
    proposal = canonical.parse(data)
    needs = needs_cosigners(proposal["action"], validators_change="validators" in proposal)
    return {"name": name, "needs_cosigners": needs, "proposal": proposal, "votes": votes, **_voters(standing)}


def kept_certificate(node: Node, size: str) -> bytes:
    """The certificate over the checkpoint of `size` (plain decimal); raises `NotFoundError` where none is kept."""
    if not size.isascii() or not size.isdecimal() or len(size) > 16:
        raise NotFoundError("certificate", "no certificate of this size is kept", size=size)
    with node.reader.snapshot() as snap:
        found = snap.certificates.of(int(size))
    if found is None:
        raise NotFoundError("certificate", "no certificate of this size is kept", size=size)
    return found


def _voters(standing: Standing) -> dict[str, Any]:
    """Who votes now, and how many of them decide."""
    registry, config = standing.node.registry, standing.node.config
    voters, cosigners = electorate(registry, config), config.cosigners
    return {
        "cosigners": [[name, key.hex()] for name, key in cosigners],
        "cosigners_needed": threshold(len(cosigners)) if cosigners else 0,
        "electorate": list(voters),
        "needed": threshold(len(voters)) if voters else 0,
    }


def _all(standing: Standing, status: str | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after: bytes | None = None
    while True:
        rows = standing.snap.rows_with_prefix(PREFIX, after, SCANNED)
        for key, _ in rows:
            data = standing.object(key)  # as certified: the snapshot may be newer
            if data is not None:
                proposal = canonical.parse(data)
                if status is None or proposal["status"] == status:
                    found.append({"name": key[len(PREFIX) + 2 :].decode("ascii"), "proposal": proposal})
        if len(rows) < SCANNED:
            return found
        after = rows[-1][0]
