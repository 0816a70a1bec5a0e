"""CometBFT commits made here, by validators whose keys are known: what the engine would sign, without the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ledger.core.hashing import sha256
from ledger.core.keys import Ed25519Signer
from ledger.core.nativecommit import (
    ABSENT,
    COMMIT,
    NIL,
    BlockId,
    NativeCommit,
    NativeHeader,
    Vote,
    address_of,
    validators_hash,
)
from ledger.core.nativeheader import ABSENT_VOTE

TIME = (1_795_248_000, 123_456_789)


def consensus_signer(member: str) -> Ed25519Signer:
    """The consensus key of a member."""
    return Ed25519Signer(sha256(f"consensus key of {member}".encode()))


def make_header(chain_id: str, height: int, signers: Sequence[Ed25519Signer], app_hash: bytes) -> NativeHeader:
    """A header with every field filled."""
    return NativeHeader(
        version_block=11,
        version_app=1,
        chain_id=chain_id,
        height=height,
        time=TIME,
        last_block_id=BlockId(sha256(b"last block"), 1, sha256(b"last parts")),
        last_commit_hash=sha256(b"last commit"),
        data_hash=sha256(b"data"),
        validators_hash=validators_hash(each.public for each in signers),
        next_validators_hash=sha256(b"next validators"),
        consensus_hash=sha256(b"parameters"),
        app_hash=app_hash,
        last_results_hash=sha256(b"results"),
        evidence_hash=sha256(b"evidence"),
        proposer_address=address_of(signers[0].public),
    )


def sign_commit(
    header: NativeHeader, signers: Sequence[Ed25519Signer], flags: Sequence[int] = (), round_: int = 0
) -> NativeCommit:
    """The header with a vote of each signer: for the block, or as `flags` say, in CometBFT's order of validators."""
    block_id = BlockId(header.hash(), 1, sha256(b"parts"))
    unsigned = NativeCommit(header, header.height, round_, block_id, ())
    ordered = sorted(signers, key=lambda each: address_of(each.public))
    votes = []
    for place, (signer, flag) in enumerate(zip(ordered, flags or [COMMIT] * len(ordered), strict=True)):
        vote = Vote(flag, address_of(signer.public), (TIME[0] + 1, place), bytes(64))
        votes.append(ABSENT_VOTE if flag == ABSENT else replace(vote, signature=signer.sign(unsigned.sign_bytes(vote))))
    return replace(unsigned, votes=tuple(votes))


def make_commit(
    chain_id: str,
    app_hash: bytes,
    signers: Sequence[Ed25519Signer],
    *,
    height: int = 7,
    flags: Sequence[int] = (),
    round_: int = 0,
) -> NativeCommit:
    """A commit over a state by these validators."""
    return sign_commit(make_header(chain_id, height, signers, app_hash), signers, flags, round_)


def rpc_answer(native: NativeCommit) -> dict[str, Any]:
    """The result of CometBFT's `commit` call that stands for `native`."""
    from base64 import b64encode
    from datetime import UTC, datetime

    def when(time: tuple[int, int]) -> str:
        shown = datetime.fromtimestamp(time[0], UTC).strftime("%Y-%m-%dT%H:%M:%S")
        part = f"{time[1]:09}".rstrip("0")
        return f"{shown}.{part}Z" if part else f"{shown}Z"

    def block_id(value: BlockId) -> dict[str, Any]:
        parts = {"total": value.parts_total, "hash": value.parts_hash.hex().upper()}
        return {"hash": value.hash.hex().upper(), "parts": parts}

    def vote(value: Vote) -> dict[str, Any]:
        if value.flag == ABSENT:
            return {
                "block_id_flag": 1, "validator_address": "", "timestamp": "0001-01-01T00:00:00Z", "signature": None
            }  # fmt: skip
        return {
            "block_id_flag": value.flag,
            "validator_address": value.address.hex().upper(),
            "timestamp": when(value.time),
            "signature": b64encode(value.signature).decode(),
        }

    header = native.header
    hashes = (
        "last_commit_hash", "data_hash", "validators_hash", "next_validators_hash", "consensus_hash", "app_hash",
        "last_results_hash", "evidence_hash", "proposer_address",
    )  # fmt: skip
    shown: dict[str, Any] = {name: getattr(header, name).hex().upper() for name in hashes}
    shown |= {
        "version": {"block": str(header.version_block), "app": str(header.version_app)},
        "chain_id": header.chain_id,
        "height": str(header.height),
        "time": when(header.time),
        "last_block_id": block_id(header.last_block_id),
    }
    commit = {
        "height": str(native.height),
        "round": native.round,
        "block_id": block_id(native.block_id),
        "signatures": [vote(each) for each in native.votes],
    }
    return {"signed_header": {"header": shown, "commit": commit}, "canonical": True}


__all__ = ["ABSENT", "COMMIT", "NIL", "consensus_signer", "make_commit", "make_header", "rpc_answer", "sign_commit"]
