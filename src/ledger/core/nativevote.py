"""The bytes that a CometBFT validator signs when it votes, from the vote's parts (SPEC R-N55).

Rules: a `CanonicalVote` of CometBFT 0.38 and 0.39 in protobuf, length first; fields with the value zero are left out, the
timestamp stands always, a vote for no block has no block id. Vote extensions are off and not covered.
Not here: which key counts (see the registry), and commits (see `nativecommit`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ledger.errors import MalformedError

PREVOTE: Final = 1
PRECOMMIT: Final = 2
HASH_BYTES: Final = 32
INT64_MAX: Final = 2**63 - 1
INT32_MAX: Final = 2**31 - 1
UINT32_MAX: Final = 2**32 - 1
NANOS_MAX: Final = 999_999_999


@dataclass(frozen=True, slots=True)
class BlockId:
    """What a vote is for: the block's hash, and number and root hash of the parts it travels in.

    Raises `MalformedError` (code `vote-form`) for hashes that have not 32 bytes or a number that is no uint32.
    """

    hash: bytes
    parts: int
    parts_hash: bytes

    def __post_init__(self) -> None:
        if len(self.hash) != HASH_BYTES or len(self.parts_hash) != HASH_BYTES:
            raise MalformedError("vote-form", "a block id has two hashes of 32 bytes")
        if type(self.parts) is not int or not 1 <= self.parts <= UINT32_MAX:
            raise MalformedError("vote-form", "a block travels in 1 to 2^32 - 1 parts", got=self.parts)


def vote_message(
    chain_id: str, vote_type: int, height: int, round_: int, block: BlockId | None, seconds: int, nanos: int
) -> bytes:
    """What is signed for a vote of `vote_type` (`PREVOTE`, `PRECOMMIT`); `block` None is a vote for no block.

    `seconds` and `nanos` are the vote's own time since 1970 (before it: negative seconds). Raises `MalformedError`
    (code `vote-form`) for numbers out of their range.
    """
    whole = all(type(number) is int for number in (vote_type, height, round_, seconds, nanos))
    if not whole or vote_type not in (PREVOTE, PRECOMMIT) or not 0 <= height <= INT64_MAX:
        raise MalformedError("vote-form", "type or height of a vote is out of range", got=[vote_type, height])
    if not 0 <= round_ <= INT32_MAX or not -INT64_MAX <= seconds <= INT64_MAX or not 0 <= nanos <= NANOS_MAX:
        raise MalformedError("vote-form", "round or time of a vote is out of range", got=[round_, seconds, nanos])
    parts = [uint_field(1, vote_type), _fixed(2, height), _fixed(3, round_)]
    if block is not None:
        header = uint_field(1, block.parts) + message_field(2, block.parts_hash)
        parts.append(message_field(4, message_field(1, block.hash) + message_field(2, header)))
    parts.append(message_field(5, timestamp_bytes(seconds, nanos)))
    if chain_id:
        parts.append(message_field(6, chain_id.encode()))
    message = b"".join(parts)
    return varint(len(message)) + message


def timestamp_bytes(seconds: int, nanos: int) -> bytes:
    """A `google.protobuf.Timestamp`."""
    return uint_field(1, seconds) + uint_field(2, nanos)


def varint(value: int) -> bytes:
    """A protobuf varint; a negative int64 takes ten bytes."""
    rest = value & 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def uint_field(field: int, value: int) -> bytes:
    """A varint field, left out when zero."""
    return varint(field << 3) + varint(value) if value else b""


def _fixed(field: int, value: int) -> bytes:
    """An sfixed64 field, left out when zero."""
    return varint(field << 3 | 1) + value.to_bytes(8, "little", signed=True) if value else b""


def message_field(field: int, data: bytes) -> bytes:
    """A length-delimited field or embedded message, there also when empty; left out by the caller where proto3 does."""
    return varint(field << 3 | 2) + varint(len(data)) + data


__all__ = [
    "PRECOMMIT", "PREVOTE", "BlockId", "message_field", "timestamp_bytes", "uint_field", "varint", "vote_message",
]  # fmt: skip
