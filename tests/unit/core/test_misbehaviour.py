"""Two votes that contradict each other, as an event carries them."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.core.misbehaviour import SignedVote, misbehaviour_key, parse_votes
from ledger.core.nativevote import BlockId
from ledger.errors import MalformedError

NONE = SignedVote(None, 1, 2, bytes(64))
ONE = SignedVote(BlockId(b"\x01" * 32, 1, b"\x07" * 32), 1, 2, bytes(64))
TWO = SignedVote(BlockId(b"\x01" * 32, 2, b"\x07" * 32), 1, 2, b"\xff" * 64)


@pytest.mark.parametrize("votes", [(NONE, ONE), (NONE, TWO), (ONE, TWO)])
def test_votes_come_back_as_they_were(votes: tuple[SignedVote, SignedVote]) -> None:
    """A vote for no block sorts first; blocks that differ in their parts only are two blocks."""
    assert parse_votes([each.document() for each in votes]) == votes


@pytest.mark.parametrize("value", [None, [], [1, 2], [ONE.document()] * 2, [TWO.document(), ONE.document()]])
def test_what_is_no_contradiction(value: Any) -> None:
    """Equal votes, another order and anything but two votes are malformed."""
    with pytest.raises(MalformedError) as caught:
        parse_votes(value)
    assert caught.value.code == "misbehaviour"


@pytest.mark.parametrize(("height", "span"), [(7, 0), (99_999, 0), (100_000, 1), (250_000, 2)])
def test_key_names_validator_chain_span_and_type(height: int, span: int) -> None:
    """SPEC R-N54: one key of the state for each validator key, chain, span of 100,000 heights, and type."""
    key = misbehaviour_key("wj", "ab" * 32, "city-1", height, "duplicate-vote")
    assert key == f"sys-misbehaviour/wj/{'ab' * 32}/city-1/{span}/duplicate-vote"
