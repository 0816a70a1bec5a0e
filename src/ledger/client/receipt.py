"""Checks receipts and other proof files without a network: with a pinned genesis, a clock reading, and nothing else.

Rules: the genesis is believed only under a pinned origin, of which it is the preimage; keys come from it, never from the
proof; failures raise, and what could not be checked is named in the result. Not here: where files lie.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ledger.core.genesis import Genesis, parse_genesis
from ledger.core.proof import Receipt, ReceiptResult, Result, Trust, parse_proof, trust_genesis
from ledger.errors import MalformedError, VerificationError
from ledger.limits import MAX_AGE_DEFAULT_MS

MAX_AGE_DEFAULT_S: Final = MAX_AGE_DEFAULT_MS // 1000


@dataclass(frozen=True, slots=True)
class Pinned:
    """A network as its user pinned it; `anchor` is a checkpoint note he holds, `max_age_s` the oldest answer he takes."""

    genesis: Genesis
    anchor: bytes | None = None
    max_age_s: int | None = MAX_AGE_DEFAULT_S

    def trust(self, now_s: int) -> Trust:
        """What to verify with at `now_s` (Unix seconds)."""
        return trust_genesis(self.genesis, now_s, max_age_s=self.max_age_s, anchor=self.anchor)


def pin(
    genesis: bytes, origin: str, *, anchor: bytes | None = None, max_age_s: int | None = MAX_AGE_DEFAULT_S
) -> Pinned:
    """The network of a pinned `origin`; `VerificationError` (code `origin`) when the genesis is another network's."""
    parsed = parse_genesis(genesis)
    if parsed.origin != origin:
        raise VerificationError("origin", "the genesis is another network's", expected=origin, got=parsed.origin)
    return Pinned(parsed, anchor, max_age_s)


def check_proof(data: bytes, pinned: Pinned, now_s: int) -> Result:
    """What a proof file shows; raises `MalformedError` or `VerificationError` (`stale` when all holds but is too old)."""
    return parse_proof(data).verify(pinned.trust(now_s))


def check_receipt(
    data: bytes, pinned: Pinned, now_s: int, *, member: str | None = None, event_id: str | None = None
) -> ReceiptResult:
    """What a receipt shows, of the very event that the caller means when he names it."""
    proof = parse_proof(data)
    if not isinstance(proof, Receipt):
        raise MalformedError("receipt", "a proof of another kind", got=type(proof).__name__)
    result = proof.verify(pinned.trust(now_s))
    for name, wanted, got in (("member", member, result.record.member), ("id", event_id, result.record.id)):
        if wanted is not None and wanted != got:
            raise VerificationError(
                "receipt-event", "the receipt of another event", field=name, expected=wanted, got=got
            )
    return result
