"""Decides whether CometBFT's own commit vouches for a state of the ledger: a second proof beside the certificate.

Rules (SPEC R-N40 to R-N44): block N of the ledger is made at some CometBFT height h; its app_hash stands in header(h + 1),
which commit(h + 1) signs, and in every later header until block N + 1 is made. Header hash = RFC 6962 root over the 14
protobuf-encoded fields; it is the hash of the block id; every vote is by the validator of its place, over the canonical
vote of this chain id, height and round; votes for the block are more than two thirds. All validators have the same power.
CometBFT (0.38, 0.39) accepts Ed25519 by ZIP-215, we by the stricter rules of `keys`: a validator can sign so that its
engine counts the vote and we do not. It can never make us count more than the engine did; it can only leave a commit short
for us, and then that size has its certificate alone. So `without_bad_votes` runs before a node stores a commit, and a
stored commit with a vote that does not hold was not stored by an honest node.
Not here: which set of validators was in force (see `verify.natives`), I/O, and any protobuf package.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from ledger.core import merkle
from ledger.core.hashing import Digest, sha256
from ledger.core.keys import PublicKey
from ledger.core.nativeform import from_rpc, parse
from ledger.core.nativeheader import (
    ABSENT,
    ABSENT_VOTE,
    ADDRESS_BYTES,
    COMMIT,
    NIL,
    BlockId,
    NativeCommit,
    NativeHeader,
    Vote,
    bytes_field,
)
from ledger.core.nativevote import message_field, uint_field
from ledger.core.quorum import threshold
from ledger.errors import VerificationError

VALIDATOR_POWER: Final = 10
"""Voting power of every validator. One would not do: CometBFT takes as block time the first vote at which half the power,
rounded down, is reached, and with powers of one that is the earliest of three votes, not the one in the middle."""

__all__ = [
    "ABSENT", "ABSENT_VOTE", "COMMIT", "NIL", "VALIDATOR_POWER", "BlockId", "NativeCommit", "NativeHeader", "Vote",
    "address_of", "chain_id_of", "from_rpc", "in_order", "parse", "validators_hash", "verify_native", "verify_signed",
    "without_bad_votes",
]  # fmt: skip


def chain_id_of(genesis_hash: Digest) -> str:
    """The chain id of a ledger that begins with CometBFT (SPEC R-N03): no vote counts in another network."""
    return f"suyuan-{genesis_hash.hex()[:40]}"


def address_of(key: PublicKey) -> bytes:
    """CometBFT's address of an Ed25519 key: the first 20 bytes of SHA-256(raw)."""
    return sha256(key.raw)[:ADDRESS_BYTES]


def in_order(validators: Iterable[PublicKey]) -> list[PublicKey]:
    """Validators as CometBFT orders them: by power, the greatest first, then by address; all powers are the same here."""
    return sorted(validators, key=address_of)


def validators_hash(validators: Iterable[PublicKey]) -> Digest:
    """CometBFT's hash of a validator set: RFC 6962 over `SimpleValidator{PublicKey{ed25519}, power}` in order."""
    power = uint_field(2, VALIDATOR_POWER)
    leaves = [message_field(1, bytes_field(1, key.raw)) + power for key in in_order(validators)]
    return merkle.root([merkle.leaf_hash(leaf) for leaf in leaves])


def verify_native(native: NativeCommit, chain_id: str, validators: Sequence[PublicKey], app_hash: bytes) -> None:
    """Raise `VerificationError` unless more than two thirds of `validators` signed a header with this app_hash.

    Codes: `native-app-hash`, and those of `verify_signed`. `validators` may come in any order.
    """
    if native.header.app_hash != app_hash:
        raise VerificationError(
            "native-app-hash", "another state than the ledger's", expected=app_hash, got=native.header.app_hash
        )
    verify_signed(native, chain_id, validators)


def verify_signed(native: NativeCommit, chain_id: str, validators: Sequence[PublicKey]) -> None:
    """Everything but which state it is: codes `native-chain`, `native-height`, `native-validators`, `native-block`,
    `native-vote`, `native-quorum`."""
    ordered = _checked_set(native, chain_id, validators)
    for place, (vote, key) in enumerate(zip(native.votes, ordered, strict=True)):
        _check_vote(native, place, vote, key)
    count = sum(vote.flag == COMMIT for vote in native.votes)
    needed = threshold(len(ordered))
    if count < needed:
        raise VerificationError(
            "native-quorum", "not more than two thirds of the validators", expected=needed, got=count
        )


def without_bad_votes(native: NativeCommit, chain_id: str, validators: Sequence[PublicKey]) -> NativeCommit:
    """The same commit with every vote that does not hold by our rules marked as absent: nothing signs who is absent.

    Raises as `verify_signed` does, but for `native-vote`; what it returns passes `verify_signed`.
    """
    ordered = _checked_set(native, chain_id, validators)
    kept: list[Vote] = []
    for place, (vote, key) in enumerate(zip(native.votes, ordered, strict=True)):
        try:
            _check_vote(native, place, vote, key)
            kept.append(vote)
        except VerificationError:
            kept.append(ABSENT_VOTE)
    cleaned = replace(native, votes=tuple(kept))
    verify_signed(cleaned, chain_id, validators)
    return cleaned


def _checked_set(native: NativeCommit, chain_id: str, validators: Sequence[PublicKey]) -> list[PublicKey]:
    """The validators in the order of the votes, once header, block id and set agree."""
    header = native.header
    if header.chain_id != chain_id:
        raise VerificationError("native-chain", "a commit of another chain", expected=chain_id, got=header.chain_id)
    if native.height != header.height:
        raise VerificationError(
            "native-height", "votes of another height than the header's", expected=header.height, got=native.height
        )
    ordered = in_order(validators)
    expected = validators_hash(ordered)
    if header.validators_hash != expected or not ordered or len(set(ordered)) != len(ordered):
        raise VerificationError(
            "native-validators", "not the validators in force", expected=expected, got=header.validators_hash
        )
    if len(native.votes) != len(ordered):
        raise VerificationError(
            "native-validators", "not one place for each validator", expected=len(ordered), got=len(native.votes)
        )
    block = header.hash()
    if native.block_id.hash != block:
        raise VerificationError(
            "native-block", "the votes are over another header", expected=block, got=native.block_id.hash
        )
    return ordered


def _check_vote(native: NativeCommit, place: int, vote: Vote, key: PublicKey) -> None:
    if vote.flag == ABSENT:
        return
    # One place a validator, in one order: nobody's vote can be counted twice.
    if vote.address != address_of(key):
        raise VerificationError(
            "native-vote", "the vote of another validator", place=place, expected=address_of(key), got=vote.address
        )
    try:
        key.verify(native.sign_bytes(vote), vote.signature)
    except VerificationError as error:
        raise VerificationError(
            "native-vote", "a vote does not hold", place=place, validator=vote.address, reason=error.message
        ) from error
