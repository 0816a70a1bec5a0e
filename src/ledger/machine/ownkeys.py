"""What a member does to its own keys without a vote: end one, or replace one (SPEC R-K05, R-G23).

Rules: the last event key stays, for nobody could speak for the member afterwards; keys of a validator's node change by vote
only, because they change who orders. Not here: keys by vote (see `memberchanges`).
"""

from __future__ import annotations

from typing import Any, Final

from ledger.core.keys import CONSENSUS, EVENT, HTTP, P2P
from ledger.machine import changes
from ledger.machine.admit import Admitted
from ledger.machine.standing import Refused, Standing, one

BY_VOTE: Final = (CONSENSUS, P2P)


def revoke(standing: Standing, entry: Admitted) -> None:
    """End a key of the signer's own member with this block. Raises `Refused`."""
    member, key_id = one(entry.event.fields["refs"], "member", "key")
    if member != entry.member:
        raise Refused("shape")
    found = standing.key(key_id, member)
    if found.use in BY_VOTE:
        raise Refused("key-use")
    if found.use == EVENT and len(standing.registry.valid_keys(member, EVENT)) == 1:
        raise Refused("key-last")
    standing.end_key(found)


def rotate(standing: Standing, entry: Admitted, body: dict[str, Any]) -> None:
    """Replace an event or HTTP key of the signer's own member. Raises `Refused`."""
    refs, key = entry.event.fields["refs"], body.get("key")
    if refs.get("member") != entry.member or set(body) != {"key", "salt"} or not isinstance(key, dict):
        raise Refused("shape")
    if key.get("use") not in (EVENT, HTTP):
        raise Refused("key-use")
    changes.apply(standing, "sys.key.rotate", refs, {"key": key})
