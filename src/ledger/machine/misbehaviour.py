"""`sys.misbehaviour`: two votes that no honest validator signs both, recorded once they are proven (SPEC R-N54, R-N55).

Rules: both signatures are checked here against the registered consensus key, so that no false accusation is ever recorded as
accepted; each (key, chain, span of heights, type) counts once. Ending the guilty stays a vote. Not here: light-client
attacks, whose evidence is too large for an event; where one signed two blocks of a height and round, just that is proven by
its votes.
"""

from __future__ import annotations

from typing import Any, Final

from ledger.core import canonical
from ledger.core.hashing import parse_hex_digest
from ledger.core.keys import CONSENSUS, PublicKey
from ledger.core.misbehaviour import DUPLICATE_VOTE, VOTE_TYPES, misbehaviour_key, parse_votes
from ledger.core.registry import Registry
from ledger.errors import VerificationError
from ledger.machine.admit import Admitted
from ledger.machine.standing import Refused, closed, one

KIND: Final = "sys.misbehaviour"


def accuse(entry: Admitted, body: dict[str, Any], registry: Registry, chain_id: str) -> tuple[str, bytes]:
    """State key and object of what the event proves. Raises `Refused`, and `MalformedError` for a wrong shape."""
    member, key_id = one(entry.event.fields["refs"], "member", "key")
    height, round_, _, kind, vote_type, votes = closed(body, "height", "round", "salt", "type", "vote_type", "votes")
    if kind != DUPLICATE_VOTE or not isinstance(vote_type, str) or vote_type not in VOTE_TYPES:
        raise Refused("shape")
    if entry.member not in {name for name, _ in registry.validators()}:
        raise Refused("author")
    found = registry.keys.get(parse_hex_digest(key_id))
    if found is None or found.member != member:
        raise Refused("key-unknown")
    if found.use != CONSENSUS:
        raise Refused("key-use")
    for vote in parse_votes(votes):
        message = vote.message(chain_id, VOTE_TYPES[vote_type], height, round_)
        _check(found.public, message, vote.signature)
    event = f"{entry.member}/{entry.event.fields['id']}"
    data = canonical.encode({"event": event, "height": height, "round": round_, "vote_type": vote_type})
    return misbehaviour_key(member, key_id, chain_id, height, kind), data


def _check(key: PublicKey, message: bytes, signature: bytes) -> None:
    try:
        key.verify(message, signature)
    except VerificationError as error:
        raise Refused("misbehaviour-proof") from error
