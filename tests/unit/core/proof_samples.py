"""One small ledger, the trust of its reader, and how its proofs are refused: shared by the tests of proof files."""

from __future__ import annotations

import pytest

from ledger.core.proof import (
    Fork,
    StreamName,
    trust_genesis,
    verify_proof,
)
from ledger.errors import MalformedError, VerificationError
from tests.models.small_ledger import SmallLedger, digest

DATASET = StreamName("dataset", "ga/hukou")


def grown(**parts: object) -> SmallLedger:
    """Five events of `ga`, a refused one and one with a finding of `fa`, and a timer, over some filled buckets."""
    ledger = SmallLedger(**parts)
    ledger.fill(50)
    ledger.block("ga", [ledger.event() for _ in range(5)])
    ledger.block("fa", [ledger.event()], refused=True)
    event = ledger.event(data_subjects=["t:9f"], refs={"dataset": "ga/hukou", "grant": ["ga/g1", "ga/g2"]})
    ledger.block("fa", [event], extra=(("finding", "d809-39-4"),), timers=["timer/a3/dataset/ga/hukou"])
    return ledger


LEDGER = grown()
TRUST = trust_genesis(LEDGER.genesis, LEDGER.now_s + 30)


def entry(name: StreamName = DATASET, at: int = 2):
    """An entry of a stream of the ledger."""
    return LEDGER.streams[name][1][at]


def refusal(proof, trust=TRUST) -> str:
    """The code with which a proof is refused, as value and as file."""
    with pytest.raises((VerificationError, MalformedError)) as caught:
        proof.verify(trust)
    with pytest.raises((VerificationError, MalformedError)) as again:
        verify_proof(proof.encode(), trust)
    assert again.value.code == caught.value.code
    return caught.value.code


def fork_of_one_size() -> Fork:
    """Two notes of one size."""
    return Fork(LEDGER.note(), LEDGER.note(root=digest("other")))
