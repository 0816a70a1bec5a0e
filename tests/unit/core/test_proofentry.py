"""Entries of a complete answer: whether they belong to the stream, and what is shown of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger.core.hashing import sha256
from ledger.core.leaf import parse_leaf
from ledger.core.proof import (
    EntryProof,
    StreamName,
    trust_genesis,
)
from ledger.core.proofentry import verify_event_parts
from ledger.errors import MalformedError, VerificationError
from tests.models.small_ledger import SmallLedger
from tests.unit.core.proof_samples import DATASET, TRUST, entry, refusal


def forged(joins: StreamName, *, refused: bool = False, timers=(), shown: str = "full", refs=None) -> str:
    """What a verifier says of a ledger whose state puts a record (or timer leaf) into the stream `joins`."""
    ledger = SmallLedger()
    events = [] if timers else [ledger.event(refs=refs or {"dataset": "ga/hukou"})]
    ledger._join, join = (lambda joined, names: join(joined, [joins])), ledger._join
    ledger.block("ga", events, refused=refused, timers=timers)
    try:
        ledger.completeness(joins, levels=(shown,)).verify(trust_genesis(ledger.genesis, ledger.now_s))
    except VerificationError as error:
        return error.code
    return "accepted"


def test_entries_that_say_they_are_of_another_stream_are_refused():
    """Even under a quorum a record does not pass for one of a stream that its author and head do not name."""
    assert forged(StreamName("dataset", "ga/hukou")) == "accepted"
    assert forged(StreamName("dataset", "ga/other")) == "stream-member"
    assert forged(StreamName("dataset", "ga/other"), shown="head") == "stream-member"
    assert forged(StreamName("grant", "ga/hukou")) == "stream-member"
    assert forged(StreamName("dataset", "ga/other"), refs={"dataset": ["ga/x", "ga/other"]}) == "accepted"
    # Without the head only author and extra streams are known; that nothing speaks against it is all that is said.
    assert forged(StreamName("dataset", "ga/other"), shown="record") == "accepted"


def test_refused_records_are_in_the_refused_twin():
    """A refused record in the plain stream is refused; what the twin holds may have any outcome."""
    twin = StreamName("dataset", "ga/hukou", refused=True)
    assert forged(DATASET, refused=True) == "stream-member"
    assert forged(DATASET, refused=True, shown="record") == "stream-member"
    assert forged(twin, refused=True) == "accepted"
    assert forged(twin) == "accepted"


def test_an_outcome_is_found_wherever_it_stands_in_the_verdict():
    """A refusal that carries alerts is a refusal too."""
    for outcome in ("refused", "irregular"):
        verdict = b'{"alerts":[],"outcome":"%b"}' % outcome.encode()
        ledger = SmallLedger()
        ledger.block("ga", [ledger.event()], alter=lambda record, verdict=verdict: replace(record, verdict=verdict))
        proof = ledger.completeness(DATASET)
        if outcome == "refused":
            assert refusal(proof) == "stream-member"
        else:
            assert proof.verify(TRUST).counts.full == 1


def test_timer_leaves_join_their_rule_and_object():
    """A timer leaf in a stream that it does not name, or in a refused twin, is refused."""
    timers = ["timer/a3/dataset/ga/hukou"]
    assert forged(DATASET, timers=timers) == "accepted"
    assert forged(StreamName("rule", "a3"), timers=timers) == "accepted"
    assert forged(StreamName("rule", "a4"), timers=timers) == "stream-member"
    assert forged(replace(DATASET, refused=True), timers=timers) == "stream-member"


def test_a_block_header_is_no_entry():
    """A stream that would hold a header is refused."""
    ledger = SmallLedger()
    with pytest.raises(VerificationError) as caught:
        EntryProof(ledger.leaves[0]).verify(DATASET)
    assert caught.value.code == "stream-member"


def test_event_parts_are_bound_to_the_record():
    """Head with body or its hash must be the record's; what is shown comes back parsed."""
    joined, other = entry(), entry(at=1)
    record, event = parse_leaf(joined.leaf), joined.event
    body_hash = sha256(event.body)
    assert verify_event_parts(record, event.head, event.body, None) == (event.fields, event.content)
    assert verify_event_parts(record, event.head, None, body_hash) == (event.fields, None)
    for head, body, digest_, code in (
        (other.event.head, event.body, None, "event-hash"),
        (event.head, other.event.body, None, "event-hash"),
        (event.head, None, sha256(b""), "event-hash"),
        (event.head, None, None, "proof"),
        (b"{}", event.body, None, "head"),
        (event.head, b"{}", None, "salt"),
    ):
        with pytest.raises((MalformedError, VerificationError)) as caught:
            verify_event_parts(record, head, body, digest_)
        assert caught.value.code == code
