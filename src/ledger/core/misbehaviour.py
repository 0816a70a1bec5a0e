"""Evidence that a validator voted for two blocks at once, as an event carries it (SPEC R-N54).

Rules: the two votes share height, round and type and differ in what they are for; they stand in a fixed order, so that one
piece of evidence has one form. Of what a key does again and again one piece in `SPAN_HEIGHTS` heights counts: the first
convicts, and a validator that votes twice at every height shall not fill the ledger.
Not here: whether the signatures hold (see `machine.misbehaviour`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ledger.core.hashing import parse_hex_digest
from ledger.core.keys import SIGNATURE_BYTES
from ledger.core.nativevote import PRECOMMIT, PREVOTE, BlockId, vote_message
from ledger.errors import MalformedError

DUPLICATE_VOTE: Final = "duplicate-vote"
VOTE_TYPES: Final = {"precommit": PRECOMMIT, "prevote": PREVOTE}
STATE_KIND: Final = "sys-misbehaviour"
SPAN_HEIGHTS: Final = 100_000
"""Of so many heights of CometBFT one double vote of a key is recorded: as long as evidence lasts (R-N03)."""

_VOTE_FIELDS: Final = frozenset({"block", "nanos", "parts_hash", "parts_total", "seconds", "signature"})


def misbehaviour_key(member: str, key_id: str, chain_id: str, height: int, kind: str) -> str:
    """State key of what the validator key `key_id` (hex) of `member` did in the span of a height of a CometBFT chain."""
    return f"{STATE_KIND}/{member}/{key_id}/{chain_id}/{height // SPAN_HEIGHTS}/{kind}"


@dataclass(frozen=True, slots=True)
class SignedVote:
    """One of the two votes: what it is for (None: no block), its own time, and the signature."""

    block: BlockId | None
    seconds: int
    nanos: int
    signature: bytes

    def message(self, chain_id: str, vote_type: int, height: int, round_: int) -> bytes:
        """What was signed. Raises `MalformedError` for numbers out of range."""
        return vote_message(chain_id, vote_type, height, round_, self.block, self.seconds, self.nanos)

    def document(self) -> dict[str, Any]:
        """The vote as the body of an event holds it."""
        block = self.block
        return {
            "block": "" if block is None else block.hash.hex(),
            "nanos": self.nanos,
            "parts_hash": "" if block is None else block.parts_hash.hex(),
            "parts_total": 0 if block is None else block.parts,
            "seconds": self.seconds,
            "signature": self.signature.hex(),
        }

    @property
    def order(self) -> tuple[bytes, bytes, int]:
        """Sorts the two votes; equal where they do not contradict each other."""
        return (b"", b"", 0) if self.block is None else (self.block.hash, self.block.parts_hash, self.block.parts)


def parse_votes(value: object) -> tuple[SignedVote, SignedVote]:
    """The two votes of an event's body. Raises `MalformedError` (code `misbehaviour`) unless they contradict each other."""
    if not isinstance(value, list) or len(value) != 2:
        raise MalformedError("misbehaviour", "expected two votes")
    first, second = (_vote(each) for each in value)
    if not first.order < second.order:
        raise MalformedError("misbehaviour", "the votes are not for two blocks, in order of their hashes")
    return first, second


def _vote(fields: object) -> SignedVote:
    if not isinstance(fields, dict) or set(fields) != _VOTE_FIELDS or type(fields["parts_total"]) is not int:
        raise MalformedError("misbehaviour", "missing or unknown fields of a vote")
    block = None
    if (fields["block"], fields["parts_hash"], fields["parts_total"]) != ("", "", 0):
        block = BlockId(
            parse_hex_digest(fields["block"]), fields["parts_total"], parse_hex_digest(fields["parts_hash"])
        )
    signature = fields["signature"]
    if type(signature) is not str or len(signature) != 2 * SIGNATURE_BYTES or signature.lower() != signature:
        raise MalformedError("misbehaviour", "a signature has 64 bytes, in hex")
    try:
        raw = bytes.fromhex(signature)
    except ValueError as error:
        raise MalformedError("misbehaviour", "a signature has 64 bytes, in hex") from error
    if len(raw) != SIGNATURE_BYTES:  # fromhex skips blanks
        raise MalformedError("misbehaviour", "a signature has 64 bytes, in hex")
    return SignedVote(block, fields["seconds"], fields["nanos"], raw)
