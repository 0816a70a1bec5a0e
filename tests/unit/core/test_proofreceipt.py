"""Receipts: what they show, for ever, and what they refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger.core.hashing import Digest
from ledger.core.mapkeys import key_key, next_blind, object_value
from ledger.core.proof import (
    History,
    StreamName,
    verify_proof,
)
from ledger.core.registry import genesis_registry
from ledger.errors import MalformedError, VerificationError
from tests.models.small_ledger import MEMBERS, SmallLedger, digest, signer
from tests.unit.core.proof_samples import LEDGER, TRUST, entry, grown, refusal


def test_a_receipt_shows_event_verdict_signer_and_times():
    """Place, record, head, body, key and certification come out of it, and nothing stays unchecked."""
    joined = entry()
    result = verify_proof(LEDGER.receipt(joined).encode(), TRUST)
    assert (result.index, result.record.member, result.record.id) == (joined.seq, "ga", joined.event.id)
    assert (result.head, result.body) == (joined.event.fields, joined.event.content)
    assert result.key.public == signer("ga", "event").public
    certification = result.certification
    assert certification.checkpoint.size == LEDGER.size
    assert certification.cosigners == MEMBERS[:3]
    assert (certification.recorded_by_s, certification.fresh_at_s) == (LEDGER.now_s + 2, LEDGER.now_s)
    assert (certification.age_s, certification.clock) == (30, "wall")
    assert result.not_checked == ()


def test_a_receipt_without_body_or_registration_says_so():
    """A withheld body is None; a key known from genesis only leaves revocation open, an unknown one the signature."""
    receipt = LEDGER.receipt(entry(), body=False, registered=False)
    result = receipt.verify(TRUST)
    assert (result.body, result.not_checked) == (None, ("revocation",))
    result = receipt.verify(replace(TRUST, keys={}))
    assert (result.key, result.not_checked) == (None, ("signature",))


def test_a_receipt_holds_for_ever():
    """Neither age nor a newer remembered checkpoint makes a receipt stale, if the path to it is shown."""
    receipt = LEDGER.receipt(entry())
    assert receipt.verify(replace(TRUST, now_s=TRUST.now_s + 10**9)).certification.age_s == 10**9 + 30
    later = grown()
    later.block("ga", [later.event()])
    later.block("ma", [later.event()])
    trust = replace(TRUST, anchor=later.note())
    assert receipt.verify(trust).not_checked == ("history",)
    history = History(later.size, later.consistency(LEDGER.size))
    assert replace(receipt, history=history).verify(trust).not_checked == ()


RECEIPT_FAULTS = {
    "another head": (lambda r: replace(r, head=entry(at=1).event.head), "event-hash"),
    "another body": (lambda r: replace(r, body=entry(at=1).event.body), "event-hash"),
    "another body hash": (lambda r: replace(r, body=None, body_hash=digest("x")), "event-hash"),
    "neither body nor hash": (lambda r: replace(r, body=None), "proof"),
    "another index": (lambda r: replace(r, index=r.index + 1), "inclusion"),
    "another record": (lambda r: replace(r, record=entry(at=1).leaf), "inclusion"),
    "a timer leaf": (
        lambda r: replace(r, record=b"\x01" + entry(at=5).leaf[1:]),
        "leaf-fields",
    ),
    "place in submission": (lambda r: replace(r, submission=replace(r.submission, index=1)), "inclusion"),
    "count of submission": (lambda r: replace(r, submission=replace(r.submission, count=6)), "submission-signature"),
    "root of submission": (lambda r: replace(r, submission=replace(r.submission, root=digest("x"))), "inclusion"),
    "signature": (lambda r: replace(r, submission=replace(r.submission, signature=bytes(64))), "submission-signature"),
    "value of the key": (
        lambda r: replace(r, registration=replace(r.registration, value=LEDGER.values[key_key(_key("fa"))])),
        "registration",
    ),
    "another key's proof": (
        lambda r: replace(r, registration=LEDGER.receipt(entry(StreamName("member", "fa"), 0)).registration),
        "map-proof",
    ),
    "another header": (lambda r: replace(r, registration=replace(r.registration, header=LEDGER.leaves[0])), "header"),
    "path of the header": (
        lambda r: replace(r, registration=replace(r.registration, header_path=LEDGER.inclusion(0))),
        "inclusion",
    ),
    "another config": (
        lambda r: replace(r, registration=replace(r.registration, config=SmallLedger(epoch=1).config.encode())),
        "config",
    ),
}


def _key(member: str) -> Digest:
    return signer(member, "event").public.key_id


@pytest.mark.parametrize("name", RECEIPT_FAULTS)
def test_a_receipt_with_a_wrong_part_is_refused(name):
    """Each part is bound to the others, and the refusal names what does not fit."""
    change, code = RECEIPT_FAULTS[name]
    proof = change(LEDGER.receipt(entry()))
    with pytest.raises((VerificationError, MalformedError)) as caught:
        proof.verify(TRUST)
    assert caught.value.code == code


def test_a_timer_leaf_gets_no_receipt():
    """A receipt is of an event."""
    receipt = replace(LEDGER.receipt(entry()), record=entry(at=5).leaf)
    with pytest.raises(MalformedError) as caught:
        receipt.verify(TRUST)
    assert caught.value.code == "proof"


def test_a_record_of_another_submission_is_refused():
    """The signed submission must be the one that the record names."""
    ledger = SmallLedger()
    (joined,) = ledger.block("ga", [ledger.event()], alter=lambda record: replace(record, submission=digest("x")))
    assert refusal(ledger.receipt(joined)) == "submission"


def test_a_record_under_another_id_is_refused():
    """The head's id must be the one that the record names."""
    ledger = SmallLedger()
    other = ledger.event()
    (joined,) = ledger.block("ga", [ledger.event()], alter=lambda record: replace(record, id=other.id))
    assert refusal(ledger.receipt(joined)) == "event-id"


def test_a_key_of_another_use_or_member_signs_no_event():
    """A cosigning key, or somebody else's, does not speak for the department, whoever put it into the log."""
    ledger = SmallLedger()
    (joined,) = ledger.block("ga", [ledger.event()], key=signer("ga", "cosign"))
    assert refusal(ledger.receipt(joined)) == "key-use"
    (joined,) = ledger.block("ga", [ledger.event()], key=signer("fa", "event"))
    assert refusal(ledger.receipt(joined)) == "registration"


def test_a_key_signs_only_while_it_is_valid():
    """A record outside the heights of its key's registration is refused."""
    for first, last, ok in ((0, None, True), (0, 1, True), (1, 1, True), (0, 0, False), (2, None, False)):
        ledger = SmallLedger()
        held = genesis_registry(ledger.genesis).keys[_key("ga")]
        held = replace(held, from_height=first, until_height=last)
        ledger.put(key_key(_key("ga")), object_value(next_blind(None, digest("x")), held.encode()))
        (joined,) = ledger.block("ga", [ledger.event()])
        receipt = ledger.receipt(joined)
        if ok:
            assert receipt.verify(TRUST).not_checked == ()
        else:
            assert refusal(receipt) == "key-revoked"
