"""The certified state under a proof, and the trust that it is judged by."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger.core.proof import (
    Completeness,
    History,
)
from ledger.core.prooftrust import verify_certification
from ledger.errors import ForkError, VerificationError
from tests.models.small_ledger import MEMBERS, SmallLedger, digest, make_genesis, signer
from tests.unit.core.proof_samples import DATASET, LEDGER, TRUST, grown, refusal


def test_a_certificate_needs_the_quorum_the_log_and_the_origin():
    """Too few cosigners, no line of the log, another network: refused before anything else is looked at."""
    proof = LEDGER.completeness(DATASET)
    two = replace(proof, state=replace(proof.state, certificate=LEDGER.note(by=MEMBERS[:2])))
    assert refusal(two) == "quorum"
    assert refusal(proof, replace(TRUST, log_keys=(signer("ga", "event").public,))) == "log-line"
    assert refusal(proof, replace(TRUST, origin="demo/" + "0" * 64)) == "origin"


def test_the_header_is_the_last_leaf_of_the_checkpoint():
    """A checkpoint inside a block has no header, however good its signatures are."""
    proof = LEDGER.completeness(DATASET)
    inside = replace(proof.state, certificate=LEDGER.note(LEDGER.size - 1))
    assert refusal(replace(proof, state=inside)) == "header"
    wrong = replace(proof.state, path=proof.state.path[::-1])
    assert refusal(replace(proof, state=wrong)) == "inclusion"


def test_the_verifier_must_trust_the_cosigners_of_the_config():
    """With a set of its own making a verifier is told so, even where the lines would be enough."""
    proof = LEDGER.completeness(DATASET)
    assert refusal(proof, replace(TRUST, cosigners=TRUST.cosigners[:3])) == "cosigner-set"


def test_after_a_change_of_cosigners_history_needs_an_anchor():
    """In epoch 0 the genesis suffices; later, without an own checkpoint, history is called unanchored."""
    ledger = grown(epoch=1)
    proof = ledger.completeness(DATASET)
    assert proof.verify(TRUST).not_checked == ("anchor",)
    assert proof.verify(replace(TRUST, anchor=ledger.note())).not_checked == ()


def test_old_answers_are_stale():
    """Older than accepted, smaller than remembered, or from the future: told last, after all else was checked."""
    for proof in (LEDGER.completeness(DATASET), LEDGER.absence("dataset", "none")):
        late = replace(TRUST, now_s=LEDGER.now_s + 601)
        assert refusal(proof, late) == "stale"
        assert proof.verify(replace(late, max_age_s=None)).certification.age_s == 601
        assert proof.verify(replace(late, now_s=LEDGER.now_s + 600)).certification.age_s == 600
        assert proof.verify(replace(TRUST, now_s=LEDGER.now_s - 60)).certification.age_s == -60
        assert refusal(proof, replace(TRUST, now_s=LEDGER.now_s - 61)) == "clock"
    later = grown()
    later.block("ga", [later.event()])
    assert refusal(LEDGER.completeness(DATASET), replace(TRUST, anchor=later.note())) == "stale"


def test_history_is_tied_to_what_the_verifier_remembers():
    """A path that holds ties it, none leaves it open, a wrong one or another tree of that size is refused."""
    plain = LEDGER.completeness(DATASET)
    trust = replace(TRUST, anchor=LEDGER.note(7))
    assert plain.verify(trust).not_checked == ("history",)
    assert _with_history(plain, History(7, LEDGER.consistency(7))).verify(trust).not_checked == ()
    assert _with_history(plain, History(6, LEDGER.consistency(6))).verify(trust).not_checked == ("history",)
    assert _with_history(plain, History(7, LEDGER.consistency(7))).verify(TRUST).not_checked == ("history",)
    assert refusal(_with_history(plain, History(7, LEDGER.consistency(6))), trust) == "consistency"
    forked = replace(TRUST, anchor=LEDGER.note(7, root=digest("x")))
    assert refusal(_with_history(plain, History(7, LEDGER.consistency(7))), forked) == "consistency"
    same = replace(TRUST, anchor=LEDGER.note(by=()))
    assert plain.verify(same).not_checked == ()
    assert _with_history(plain, History(LEDGER.size, ())).verify(same).not_checked == ()
    with pytest.raises(ForkError) as caught:
        plain.verify(replace(TRUST, anchor=LEDGER.note(root=digest("x"))))
    assert caught.value.evidence["second"] == plain.state.certificate
    other = SmallLedger(genesis=make_genesis("other"))
    assert refusal(plain, replace(TRUST, anchor=other.note())) == "origin"


def _with_history(proof: Completeness, history: History) -> Completeness:
    return replace(proof, state=replace(proof.state, history=history))


def test_a_certificate_says_who_and_when():
    """Names, the time by which a quorum had signed, the latest at which one still stood by it, and the reader's distance."""
    trust = replace(TRUST, clock="scenario")
    certification, not_checked = verify_certification(LEDGER.note(time_s=LEDGER.now_s - 100), None, trust)
    assert (certification.checkpoint.size, certification.cosigners, certification.clock) == (
        LEDGER.size,
        MEMBERS[:3],
        "scenario",
    )
    assert (certification.recorded_by_s, certification.fresh_at_s) == (LEDGER.now_s - 98, LEDGER.now_s - 100)
    assert (certification.age_s, not_checked) == (130, ())
    with pytest.raises(VerificationError) as caught:
        verify_certification(LEDGER.note(by=()), None, trust)
    assert caught.value.code == "quorum"
