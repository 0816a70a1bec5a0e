"""Turns CometBFT's evidence of a double vote into the event that records it (SPEC R-N54).

Rule: what comes from CometBFT's JSON is checked like anything from outside; whether the signatures hold is for the ledger
to say. Not here: fetching the evidence, sending the event; light-client attacks, which are no double vote as they stand.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from ledger.core.keys import CONSENSUS
from ledger.core.misbehaviour import DUPLICATE_VOTE, VOTE_TYPES, SignedVote
from ledger.core.nativecommit import address_of
from ledger.core.nativevote import BlockId
from ledger.core.registry import Registry
from ledger.errors import MalformedError, NotFoundError

_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)
_NAMES: Final = {number: name for name, number in VOTE_TYPES.items()}


def accusation(evidence: Mapping[str, Any], registry: Registry) -> dict[str, Any]:
    """The event `sys.misbehaviour`, without id, time and salt, of one piece of evidence in CometBFT's JSON of a block.

    Raises `MalformedError` (code `evidence`) for anything but a duplicate vote, `NotFoundError` (code
    `validator-unknown`) where no key of the registry has the address.
    """
    try:
        value = evidence["value"]
        first, second = value["vote_a"], value["vote_b"]
        shared = {(vote["type"], vote["height"], vote["round"], vote["validator_address"]) for vote in (first, second)}
        ((vote_type, height, round_, address),) = shared
        votes = sorted((_vote(first), _vote(second)), key=lambda vote: vote.order)
        name, raw = _NAMES[vote_type], bytes.fromhex(address)
        body = {
            "height": int(height),
            "round": round_,
            "type": DUPLICATE_VOTE,
            "vote_type": name,
            "votes": [vote.document() for vote in votes],
        }
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedError("evidence", "not a duplicate vote as CometBFT shows it", reason=str(error)) from error
    for entry in registry.keys.values():
        if entry.use == CONSENSUS and address_of(entry.public) == raw:
            refs = {"key": entry.public.key_id.hex(), "member": entry.member}
            return {"kind": "sys.misbehaviour", "refs": refs, "body": body}
    raise NotFoundError("validator-unknown", "no member registered a key of this address", address=raw)


def _vote(fields: Mapping[str, Any]) -> SignedVote:
    block, parts = fields["block_id"], fields["block_id"]["parts"]
    found = None
    if block["hash"]:
        found = BlockId(bytes.fromhex(block["hash"]), parts["total"], bytes.fromhex(parts["hash"]))
    when = _TIME.fullmatch(fields["timestamp"])
    if when is None:
        raise ValueError("a time of RFC 3339 in UTC is expected")
    seconds = int(datetime.fromisoformat(when[1]).replace(tzinfo=UTC).timestamp())
    return SignedVote(found, seconds, int((when[2] or "").ljust(9, "0")), b64decode(fields["signature"], validate=True))
