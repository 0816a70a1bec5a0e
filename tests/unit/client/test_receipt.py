"""Receipts checked without a network: for the event that is meant, under the origin that was pinned."""

from __future__ import annotations

import pytest

from ledger.client.receipt import check_proof, check_receipt, pin
from ledger.errors import MalformedError, VerificationError
from tests.models.small_ledger import Joined, SmallLedger, make_genesis


@pytest.fixture(scope="module")
def made() -> tuple[SmallLedger, Joined]:
    """A ledger with one event in it."""
    small = SmallLedger()
    return small, small.block("ga", [small.event(refs={"dataset": "ga/hukou"})])[0]


def test_a_receipt_is_of_the_event_that_is_meant(made: tuple[SmallLedger, Joined]) -> None:
    """The right member and id pass; another id, member or kind of proof is refused."""
    small, entry = made
    pinned = pin(small.genesis.data, small.origin)
    data, event_id = small.receipt(entry).encode(), entry.event.id  # type: ignore[union-attr]
    assert check_receipt(data, pinned, small.now_s, member="ga", event_id=event_id).index == entry.seq
    for wrong in ({"member": "fa"}, {"event_id": event_id[:-1] + ("1" if event_id.endswith("0") else "0")}):
        with pytest.raises(VerificationError) as caught:
            check_receipt(data, pinned, small.now_s, **wrong)
        assert caught.value.code == "receipt-event"
    with pytest.raises(MalformedError):
        check_receipt(small.absence("dataset", "ga/none").encode(), pinned, small.now_s)


def test_a_genesis_is_believed_only_under_its_origin(made: tuple[SmallLedger, Joined]) -> None:
    """Another network's genesis does not pass for the pinned one."""
    small, _ = made
    with pytest.raises(VerificationError) as caught:
        pin(make_genesis("other").data, small.origin)
    assert caught.value.code == "origin"


def test_age_counts_where_an_answer_speaks_of_now(made: tuple[SmallLedger, Joined]) -> None:
    """A receipt holds for ever; an absence holds for ten minutes."""
    small, entry = made
    pinned = pin(small.genesis.data, small.origin)
    later = small.now_s + 700
    assert check_proof(small.receipt(entry).encode(), pinned, later)
    absent = small.absence("dataset", "ga/none").encode()
    assert check_proof(absent, pinned, small.now_s + 5)
    with pytest.raises(VerificationError) as caught:
        check_proof(absent, pinned, later)
    assert caught.value.code == "stale"
