"""CometBFT's evidence of a double vote, as the event that records it."""

from __future__ import annotations

from base64 import b64encode
from copy import deepcopy
from typing import Any

import pytest

from ledger.client.misbehaviour import accusation
from ledger.core.keys import CONSENSUS
from ledger.core.misbehaviour import SignedVote
from ledger.core.nativecommit import address_of
from ledger.errors import MalformedError, NotFoundError
from tests.models.tiny_ledger import signer
from tests.unit.machine.test_governance import code
from tests.unit.machine.test_misbehaviour import key_id, vote
from tests.unit.machine.test_validators import validating


def shown(signed: SignedVote, height: int = 7) -> dict[str, Any]:
    """A vote as CometBFT's `block` call shows it."""
    block = signed.block
    parts = {
        "total": 0 if block is None else block.parts,
        "hash": "" if block is None else block.parts_hash.hex().upper(),
    }
    return {
        "type": 2,
        "height": str(height),
        "round": 2,
        "block_id": {"hash": "" if block is None else block.hash.hex().upper(), "parts": parts},
        "timestamp": f"2026-09-21T14:13:20.{signed.nanos:09d}Z",
        "validator_address": address_of(signer("wj", CONSENSUS).public).hex().upper(),
        "validator_index": 3,
        "signature": b64encode(signed.signature).decode(),
    }


def evidence(first: SignedVote, second: SignedVote, height: int = 7) -> dict[str, Any]:
    """Both votes as one piece of evidence."""
    value = {
        "vote_a": shown(first, height),
        "vote_b": shown(second, height),
        "TotalVotingPower": "4",
        "ValidatorPower": "1",
    }
    return {"type": "tendermint/DuplicateVoteEvidence", "value": value}


@pytest.mark.parametrize("numbers", [(1, 2), (2, 1), (0, 2)])
def test_evidence_becomes_an_event_that_is_accepted(numbers: tuple[int, int]) -> None:
    """Whatever the order of the votes, and where one is for no block: the event names the key and proves it."""
    ledger = validating()
    made = accusation(evidence(*(vote(ledger, number) for number in numbers)), ledger.app.head.registry)
    assert made["refs"] == {"key": key_id("wj"), "member": "wj"}
    assert code(ledger.record("ga", ledger.sys(made["kind"], made["refs"], **made["body"]))) == ""


def test_other_evidence_is_no_accusation() -> None:
    """Votes of two rounds or of two validators, odd times, a light-client attack: `evidence`; a stranger is not found."""
    ledger = validating()
    good = evidence(vote(ledger, 1), vote(ledger, 2))
    registry = ledger.app.head.registry
    for field, value in (("round", 3), ("validator_address", "00" * 20), ("timestamp", "now"), ("signature", "?")):
        broken = deepcopy(good)
        broken["value"]["vote_b"][field] = value
        with pytest.raises(MalformedError) as caught:
            accusation(broken, registry)
        assert caught.value.code == "evidence"
    for broken in ({}, {"value": {"ConflictingBlock": {}}}, {"value": 7}):
        with pytest.raises(MalformedError):
            accusation(broken, registry)
    for name in ("vote_a", "vote_b"):
        good["value"][name]["validator_address"] = "00" * 20
    with pytest.raises(NotFoundError):
        accusation(good, registry)
