"""What CometBFT signs and hashes, as values: header, block id, votes, and the bytes that they stand for.

Rules (SPEC R-N41, R-N43): CometBFT's protobuf messages, encoded by hand: fields of value zero are left out (proto3),
embedded messages that Go holds by value are written even when empty. Header hash = RFC 6962 root over the 14 encoded fields.
Not here: reading them from outside (see `nativeform`), the message of a vote (see `nativevote`), and whether a commit holds
(see `nativecommit`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ledger.core import canonical, merkle
from ledger.core.hashing import Digest
from ledger.core.nativevote import PRECOMMIT, message_field, timestamp_bytes, uint_field, vote_message
from ledger.core.nativevote import BlockId as VotedBlock
from ledger.limits import NATIVE_BYTES_MAX

ABSENT: Final = 1
COMMIT: Final = 2
NIL: Final = 3
"""Flags of a place in a commit (CometBFT, `BlockIDFlag`): no vote came, a vote for the block, a vote for no block."""

ADDRESS_BYTES: Final = 20

VERSION: Final = 1
"""Of our own encoding."""

Time = tuple[int, int]
"""Seconds since 1970 and nanoseconds."""

HASHES: Final = (
    "consensus_hash", "data_hash", "evidence_hash", "last_commit_hash", "last_results_hash", "next_validators_hash",
    "validators_hash",
)  # fmt: skip
"""Fields of a header that are hashes of 32 bytes, or empty."""


@dataclass(frozen=True, slots=True)
class BlockId:
    """What a vote is for: the header's hash and the part set the block was sent in. All empty before the first block."""

    hash: bytes
    parts_total: int
    parts_hash: bytes


@dataclass(frozen=True, slots=True)
class NativeHeader:
    """A CometBFT header. Hashes have 32 bytes or none, `app_hash` as many as the application gave."""

    version_block: int
    version_app: int
    chain_id: str
    height: int
    time: Time
    last_block_id: BlockId
    last_commit_hash: bytes
    data_hash: bytes
    validators_hash: bytes
    next_validators_hash: bytes
    consensus_hash: bytes
    app_hash: bytes
    last_results_hash: bytes
    evidence_hash: bytes
    proposer_address: bytes

    def hash(self) -> Digest:
        """The RFC 6962 root over the 14 encoded fields, in CometBFT's order."""
        wrapped = (
            self.last_commit_hash, self.data_hash, self.validators_hash, self.next_validators_hash, self.consensus_hash,
            self.app_hash, self.last_results_hash, self.evidence_hash, self.proposer_address,
        )  # fmt: skip
        leaves = [
            uint_field(1, self.version_block) + uint_field(2, self.version_app),
            bytes_field(1, self.chain_id.encode()),
            uint_field(1, self.height),
            timestamp_bytes(*self.time),
            _block_id(self.last_block_id),
            *(bytes_field(1, each) for each in wrapped),
        ]
        return merkle.root([merkle.leaf_hash(leaf) for leaf in leaves])


@dataclass(frozen=True, slots=True)
class Vote:
    """One place of a commit; an absent one has neither address, time nor signature."""

    flag: int
    address: bytes = b""
    time: Time = (0, 0)
    signature: bytes = b""


ABSENT_VOTE: Final = Vote(ABSENT)


@dataclass(frozen=True, slots=True)
class NativeCommit:
    """A header with the votes over it, one place a validator of its height: CometBFT's `SignedHeader`."""

    header: NativeHeader
    height: int
    round: int
    block_id: BlockId
    votes: tuple[Vote, ...]

    def encode(self) -> bytes:
        """Canonical JSON, as it is stored, exported and served."""
        header = self.header
        document = {
            "commit": {
                "block_id": _show_block_id(self.block_id),
                "height": self.height,
                "round": self.round,
                "votes": [_show_vote(vote) for vote in self.votes],
            },
            "header": {
                **{name: getattr(header, name).hex() for name in (*HASHES, "app_hash", "proposer_address")},
                "chain_id": header.chain_id,
                "height": header.height,
                "last_block_id": _show_block_id(header.last_block_id),
                "time": list(header.time),
                "version": [header.version_block, header.version_app],
            },
            "v": VERSION,
        }
        return canonical.encode(document, bytes_max=NATIVE_BYTES_MAX)

    def sign_bytes(self, vote: Vote) -> bytes:
        """What the validator of `vote` signed: a `CanonicalVote`, without a block id where it is for no block."""
        block_id, (seconds, nanos) = self.block_id, vote.time
        voted = VotedBlock(block_id.hash, block_id.parts_total, block_id.parts_hash) if vote.flag == COMMIT else None
        return vote_message(self.header.chain_id, PRECOMMIT, self.height, self.round, voted, seconds, nanos)


def _show_block_id(block_id: BlockId) -> dict[str, Any]:
    return {
        "hash": block_id.hash.hex(),
        "parts_hash": block_id.parts_hash.hex(),
        "parts_total": block_id.parts_total,
    }


def _show_vote(vote: Vote) -> dict[str, Any]:
    if vote.flag == ABSENT:
        return {"flag": ABSENT}
    return {
        "address": vote.address.hex(),
        "flag": vote.flag,
        "signature": vote.signature.hex(),
        "time": list(vote.time),
    }


# --- protobuf, as far as hashes need it ------------------------------------------------------------------------------


def bytes_field(number: int, data: bytes) -> bytes:
    """A field of bytes, left out when empty."""
    return message_field(number, data) if data else b""


def _block_id(block_id: BlockId) -> bytes:
    parts = uint_field(1, block_id.parts_total) + bytes_field(2, block_id.parts_hash)
    return bytes_field(1, block_id.hash) + message_field(2, parts)
