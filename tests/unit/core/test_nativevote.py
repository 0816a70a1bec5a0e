"""The bytes of a CometBFT vote, against CometBFT's own vectors and a commit that CometBFT 0.39.4 made."""

from __future__ import annotations

from base64 import b64decode

import pytest

from ledger.core.keys import parse_public_key
from ledger.core.nativevote import PRECOMMIT, PREVOTE, BlockId, vote_message
from ledger.errors import MalformedError, VerificationError

YEAR_ONE = -62_135_596_800
TIME = "2a0b088092b8c398feffffff01"
HEIGHT_ROUND = "11010000000000000019" + "0100000000000000"
LIVE = {
    "chain": "test-chain-KFcvcT",
    "hash": "be6d6ec58abe7d6a564cbcdc8fa2c1da06256de0cfb81e56699eff8a619349bb",
    "parts": "4ae23b6167631bbdfe8185a8aa80a9c8195ba3deebb95ad6bb7423bbfbcd738c",
    "key": "sdThGqLMmih2UwKgIIO4XpOHaAF/NbaIydNPbIiYAX0=",
    "seconds": "1795356690",
    "nanos": "378025454",
    "signature": "likDtlxnE8d5park15AADYSXH97cx7NBdNHcIWl7hKCqGvuKneYFBCUhHq+7ismOmbr0MkB3YruSgKOxFNhWDw==",
}


@pytest.mark.parametrize(
    ("chain", "kind", "expected"),
    [
        ("", PRECOMMIT, "210802" + HEIGHT_ROUND + TIME),
        ("", PREVOTE, "210801" + HEIGHT_ROUND + TIME),
        ("test_chain_id", PRECOMMIT, "300802" + HEIGHT_ROUND + TIME + "320d746573745f636861696e5f6964"),
    ],
)
def test_vectors_of_cometbft(chain: str, kind: int, expected: str) -> None:
    """Votes for no block at Go's zero time, as CometBFT's `TestVoteSignBytesTestVectors` has them."""
    assert vote_message(chain, kind, 1, 1, None, YEAR_ONE, 0).hex() == expected


def test_live_vote_verifies() -> None:
    """A precommit recorded from a running CometBFT v0.39.4 holds over these bytes and over no others."""
    block = BlockId(bytes.fromhex(LIVE["hash"]), 1, bytes.fromhex(LIVE["parts"]))
    key = parse_public_key(1, b64decode(LIVE["key"]))
    message = vote_message(LIVE["chain"], PRECOMMIT, 2, 0, block, int(LIVE["seconds"]), int(LIVE["nanos"]))
    key.verify(message, b64decode(LIVE["signature"]))
    other = vote_message(LIVE["chain"], PRECOMMIT, 2, 1, block, int(LIVE["seconds"]), int(LIVE["nanos"]))
    with pytest.raises(VerificationError):
        key.verify(other, b64decode(LIVE["signature"]))


@pytest.mark.parametrize(
    "change",
    [{"vote_type": 0}, {"vote_type": True}, {"height": -1}, {"round_": 2**31}, {"nanos": 10**9}, {"seconds": 2**63}],
)
def test_numbers_out_of_range(change: dict[str, int]) -> None:
    """What CometBFT cannot encode is no vote."""
    parts = {"vote_type": PRECOMMIT, "height": 1, "round_": 0, "seconds": 0, "nanos": 0, **change}
    with pytest.raises(MalformedError) as caught:
        vote_message("chain", block=None, **parts)
    assert caught.value.code == "vote-form"


@pytest.mark.parametrize("parts", [(b"", 1, bytes(32)), (bytes(32), 0, bytes(32)), (bytes(32), 1, bytes(31))])
def test_block_ids_are_whole(parts: tuple[bytes, int, bytes]) -> None:
    """A block id has two hashes and at least one part; no block is None and nothing else."""
    with pytest.raises(MalformedError):
        BlockId(*parts)
