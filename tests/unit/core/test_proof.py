"""Proof files: what each kind shows, to whom, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger.core import merkle
from ledger.core.checkpoint import Checkpoint, encode_checkpoint
from ledger.core.hashing import Digest
from ledger.core.leaf import Record, TimerLeaf
from ledger.core.mapkeys import key_key, next_blind, object_key, object_value, stream_key
from ledger.core.note import encode_note, sign_note
from ledger.core.proof import (
    KINDS,
    Completeness,
    Consistency,
    Counts,
    EntryProof,
    Fork,
    History,
    StreamName,
    StreamState,
    parse_proof,
    trust_genesis,
    verify_proof,
)
from ledger.core.registry import genesis_registry
from ledger.errors import ForkError, MalformedError, VerificationError
from tests.models.small_ledger import MEMBERS, SmallLedger, digest, make_genesis, nodes_of, signer

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


# --- all kinds ------------------------------------------------------------------------------------------------------------


def fork_of_one_size() -> Fork:
    """Two notes of one size."""
    return Fork(LEDGER.note(), LEDGER.note(root=digest("other")))


PROOFS = {
    "receipt": LEDGER.receipt(entry()),
    "receipt, body withheld": LEDGER.receipt(entry(), body=False),
    "receipt, key from genesis": LEDGER.receipt(entry(), registered=False, history=History(3, ())),
    "completeness": LEDGER.completeness(DATASET),
    "completeness, mixed": LEDGER.completeness(DATASET, 1, 6, ("full", "head", "record", "hash")),
    "completeness, none": LEDGER.completeness(StreamName("dataset", "none")),
    "absence": LEDGER.absence("dataset", "none"),
    "consistency": Consistency(LEDGER.note(7), LEDGER.note(), LEDGER.consistency(7)),
    "fork": fork_of_one_size(),
}


@pytest.mark.parametrize("name", PROOFS)
def test_a_proof_survives_its_file(name):
    """A parsed file is the proof that was encoded, and encodes to the same bytes."""
    data = PROOFS[name].encode()
    assert parse_proof(data) == PROOFS[name]
    assert parse_proof(data).encode() == data
    verify_proof(data, TRUST)


def test_every_kind_is_tried():
    """The list of kinds is the list that these tests know."""
    assert set(KINDS) == {name.partition(",")[0] for name in PROOFS}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b'{"kind":"receipt","v":1}',
        b'{"kind":"receipt","v":2}',
        b'{"kind":"receipt","v":true}',
        b'{"kind":"receipt"}',
        b'{"kind":"other","v":1}',
        b'{"kind":["receipt"],"v":1}',
        b'{"kind":"fork","v":1,"first":"","second":"","path":[],"subtrees":[]}',
        b'{"first":1,"kind":"fork","path":[],"second":"","subtrees":[],"v":1}',
        b'{"first":"","kind":"fork","path":{},"second":"","subtrees":[],"v":1}',
    ],
)
def test_other_documents_are_no_proofs(data):
    """An unknown kind or version, missing fields, another order or type: malformed."""
    with pytest.raises(MalformedError):
        parse_proof(data)


# --- receipts -------------------------------------------------------------------------------------------------------------


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


# --- the certified state --------------------------------------------------------------------------------------------------


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


# --- completeness ---------------------------------------------------------------------------------------------------------


def test_completeness_shows_all_records_of_a_stream():
    """Every entry comes out verified, with counts, size and times; a timer leaf is shown in full."""
    result = verify_proof(LEDGER.completeness(DATASET).encode(), TRUST)
    assert (result.begin, result.end, result.size, result.whole) == (0, 7, 7, True)
    assert result.counts == Counts(full=7, timers=1)
    assert [type(each.leaf) for each in result.entries] == [Record] * 5 + [TimerLeaf, Record]
    assert [each.body["n"] for each in result.entries if each.body] == [1, 2, 3, 4, 5, 7]
    assert (result.value.size, result.value.last) == (7, LEDGER.size - 2)
    assert (result.height, result.time) == (3, LEDGER.time)


@pytest.mark.parametrize("begin", range(8))
@pytest.mark.parametrize("length", [0, 1, 3, 7])
def test_completeness_of_each_range(begin, length):
    """Each range of the stream proves itself, at every level of what is shown, and is called whole only if it is."""
    end = min(begin + length, 7)
    levels = ("hash", "full", "record", "head")
    result = verify_proof(LEDGER.completeness(DATASET, begin, end, levels).encode(), TRUST)
    counts = result.counts
    assert counts.full + counts.head + counts.record + counts.hash == len(result.entries) == end - begin
    assert result.whole == ((begin, end) == (0, 7))


def test_completeness_counts_what_was_shown():
    """The four counts tell apart what could be read; hash-only entries have nothing but their hash."""
    result = LEDGER.completeness(DATASET, 0, 4, ("full", "head", "record", "hash")).verify(TRUST)
    assert result.counts == Counts(full=1, head=1, record=1, hash=1)
    full, head, record, bare = result.entries
    assert full.body is not None
    assert head.body is None and head.head is not None
    assert record.head is None and record.leaf is not None
    assert (bare.leaf, bare.head, bare.leaf_hash) == (None, None, entry(at=3).hash)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        (StreamName("member", "ga"), 5),
        (StreamName("member", "fa"), 1),
        (StreamName("member", "fa", refused=True), 1),
        (StreamName("dataset", "ga/hukou", refused=True), 1),
        (StreamName("grant", "ga/g2"), 1),
        (StreamName("subject", "fa/t:9f"), 1),
        (StreamName("finding", "d809-39-4"), 2),
        (StreamName("rule", "a3"), 1),
        (StreamName("dataset", "none"), 0),
    ],
    ids=str,
)
def test_streams_of_every_sort_are_proven(name, size):
    """Author, refs, subjects, findings, rules, refused twins and streams without a record."""
    for levels in (("full",), ("record",), ("head",)):
        result = LEDGER.completeness(name, levels=levels).verify(TRUST)
        assert (result.size, result.whole, result.value is None) == (size, True, size == 0)


def other_state(**parts: object) -> StreamState:
    """The dataset's state with a changed value."""
    held = LEDGER.stream_state(DATASET)
    return replace(held, **parts)


COMPLETENESS_FAULTS = {
    "an entry dropped": (lambda p: replace(p, entries=p.entries[:-1]), "range"),
    "an entry dropped, range shortened": (lambda p: replace(p, entries=p.entries[:-1], end=p.end - 1), "range"),
    "entries swapped": (lambda p: replace(p, entries=(p.entries[1], p.entries[0], *p.entries[2:])), "range"),
    "an entry doubled": (lambda p: replace(p, entries=(p.entries[0], *p.entries)), "range"),
    "range moved": (lambda p: replace(p, begin=1, end=8), "range"),
    "value withheld": (lambda p: replace(p, stream_state=other_state(value=None)), "stream-value"),
    "value of another stream": (
        lambda p: replace(p, stream_state=other_state(value=LEDGER.values[stream_key("member", "ga", refused=False)])),
        "stream-value",
    ),
    "an object for a stream": (
        lambda p: replace(p, stream=StreamName("member", "ga"), stream_state=LEDGER.stream_state(DATASET)),
        "stream-value",
    ),
    "twin": (lambda p: replace(p, stream=replace(DATASET, refused=True)), "map-proof"),
    "header as an entry": (
        lambda p: replace(p, entries=(EntryProof(LEDGER.leaves[0]), *p.entries[1:])),
        "range",
    ),
    "an empty entry": (lambda p: replace(p, entries=(EntryProof(), *p.entries[1:])), "proof"),
}


@pytest.mark.parametrize("name", COMPLETENESS_FAULTS)
def test_completeness_with_a_wrong_part_is_refused(name):
    """Nothing can be left out, added, moved or taken from another stream."""
    change, code = COMPLETENESS_FAULTS[name]
    with pytest.raises((VerificationError, MalformedError)) as caught:
        change(LEDGER.completeness(DATASET)).verify(TRUST)
    assert caught.value.code == code


def test_a_stream_without_records_has_no_entries():
    """Beside the proof that there is no stream, no entry can stand."""
    proof = LEDGER.completeness(StreamName("dataset", "none"))
    some = replace(proof, end=1, entries=(EntryProof(leaf_hash=merkle.EMPTY_ROOT),))
    assert refusal(some) == "range"


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


# --- absence --------------------------------------------------------------------------------------------------------------


def test_absence_speaks_of_both_streams():
    """No stream of a name, with or without refused records that named it."""
    result = verify_proof(LEDGER.absence("dataset", "none").encode(), TRUST)
    assert (result.kind, result.id, result.refused) == ("dataset", "none", None)
    assert (result.height, result.time, result.not_checked) == (3, LEDGER.time, ())
    ledger = SmallLedger()
    ledger.block("ga", [ledger.event()], refused=True)
    result = verify_proof(ledger.absence("dataset", "ga/hukou").encode(), TRUST)
    assert result.refused.size == 1


def test_an_existing_stream_is_not_absent():
    """Neither can a stream be denied, nor its refused twin."""
    assert refusal(LEDGER.absence("dataset", "ga/hukou")) == "stream-value"
    proof = LEDGER.absence("dataset", "none")
    assert refusal(replace(proof, id="ga/hukou")) in {"map-proof", "inclusion", "stream-value"}
    ledger = SmallLedger()
    ledger.block("ga", [ledger.event()], refused=True)
    proof = ledger.absence("dataset", "ga/hukou")
    assert refusal(replace(proof, refused=replace(proof.refused, value=None))) == "stream-value"


def test_names_of_streams_are_bounded():
    """An empty, endless or foreign name is no name of a stream."""
    proof = LEDGER.absence("dataset", "none")
    for identifier in ("", "x" * 513, "户"):
        with pytest.raises(MalformedError):
            parse_proof(replace(proof, id=identifier).encode())


def test_absence_beside_a_ground_bucket():
    """Somebody who fills a bucket does not keep others from showing what is in it and what not."""
    ledger = SmallLedger()
    ledger.block("ga", [ledger.event()])
    ledger.fill(70, into=stream_key("dataset", "none", refused=False))
    ledger.fill(5, into=stream_key("dataset", "none", refused=True))
    ledger.block("ga", [ledger.event()])
    proof = ledger.absence("dataset", "none")
    assert proof.plain.window is not None
    assert verify_proof(proof.encode(), TRUST).refused is None
    assert parse_proof(proof.encode()) == proof


# --- consistency and fork -------------------------------------------------------------------------------------------------


def test_consistency_between_certificates():
    """One certificate extends another, for every pair of sizes."""
    for old in range(1, LEDGER.size + 1):
        result = verify_proof(Consistency(LEDGER.note(old), LEDGER.note(), LEDGER.consistency(old)).encode(), TRUST)
        assert (result.old.size, result.new.size, result.not_checked) == (old, LEDGER.size, ())


def test_consistency_with_a_remembered_checkpoint():
    """What the verifier remembers needs no certificate; what it does not, does; a third one leaves history open."""
    remembered = LEDGER.note(7, by=())
    proof = Consistency(remembered, LEDGER.note(), LEDGER.consistency(7))
    assert refusal(proof) == "quorum"
    assert proof.verify(replace(TRUST, anchor=remembered)).not_checked == ()
    whole = Consistency(LEDGER.note(7), LEDGER.note(), LEDGER.consistency(7))
    assert whole.verify(replace(TRUST, anchor=LEDGER.note())).not_checked == ()
    assert whole.verify(replace(TRUST, anchor=LEDGER.note(5))).not_checked == ("history",)


def test_consistency_refuses_another_history():
    """Another old root, a wrong path, sizes the wrong way round."""
    path = LEDGER.consistency(7)
    assert refusal(Consistency(LEDGER.note(7, root=digest("x")), LEDGER.note(), path)) == "consistency"
    assert refusal(Consistency(LEDGER.note(7), LEDGER.note(), path[:-1])) == "consistency"
    assert refusal(Consistency(LEDGER.note(), LEDGER.note(7), path)) == "consistency"


def two_histories() -> tuple[SmallLedger, SmallLedger]:
    """Two ledgers of one genesis that differ from the first block on."""
    first, second = SmallLedger(), SmallLedger()
    first.block("ga", [first.event(content={"n": "one"}), first.event()])
    for _ in range(4):
        second.block("ga", [second.event()])
    return first, second


def fork_of(small: SmallLedger, large: SmallLedger, size: int) -> Fork:
    """The evidence from a note of `small` and the whole of `large`."""
    nodes = nodes_of(large.hashes())
    return Fork(
        small.note(size),
        large.note(by=MEMBERS[1:]),
        tuple(nodes[node] for node in merkle.range_nodes(0, size)),
        tuple(nodes[node] for node in merkle.range_nodes(size, large.size)),
    )


def test_a_fork_of_one_size_names_the_guilty():
    """Keys on both notes are guilty, others are not."""
    proof = Fork(LEDGER.note(by=("ba", "ga")), LEDGER.note(by=("ga", "fa"), root=digest("x")))
    result = verify_proof(proof.encode(), TRUST)
    assert {(name, key_id) for name, key_id in result.guilty} == {
        (LEDGER.origin, signer("ba", "log").public.key_id),
        ("ga", signer("ga", "cosign").public.key_id),
    }


def test_a_fork_of_two_sizes_is_shown_by_subtrees():
    """The larger tree's own subtrees over the smaller one's leaves give another root."""
    small, large = two_histories()
    for size in (2, 3, 4):
        result = verify_proof(fork_of(small, large, size).encode(), TRUST)
        assert (result.first.size, result.second.size) == (size, large.size)
        assert [name for name, _ in result.guilty][:2] == [name for name, _ in sorted(result.guilty)][:2]
        assert {name for name, _ in result.guilty} == {"fa", "ga", small.origin}


def test_what_is_no_fork_is_refused():
    """One history, an order that is not theirs, subtrees of another tree, or no common key."""
    small, large = two_histories()
    good = fork_of(small, large, 3)
    same = fork_of(large, large, 3)
    assert refusal(same) == "fork"
    assert refusal(Fork(LEDGER.note(), LEDGER.note(by=MEMBERS[1:]))) == "fork"
    assert refusal(Fork(good.second, good.first, good.subtrees, good.path)) == "fork"
    assert refusal(replace(good, subtrees=good.subtrees[:-1])) == "fork"
    assert refusal(replace(good, subtrees=(digest("x"), *good.subtrees[1:]))) == "range"
    assert refusal(replace(good, path=good.path[:-1])) == "range"
    assert refusal(replace(fork_of_one_size(), path=(digest("x"),))) == "fork"
    assert refusal(replace(fork_of_one_size(), subtrees=(digest("x"),))) == "fork"


def test_guilt_needs_a_key_on_both():
    """Two orderers with two histories are not proof against either."""
    other = signer("zz", "log")
    text = encode_checkpoint(Checkpoint(LEDGER.origin, LEDGER.size, digest("x")))
    proof = Fork(LEDGER.note(by=()), encode_note(text, [sign_note(text, LEDGER.origin, other)]))
    assert refusal(proof, replace(TRUST, log_keys=(*TRUST.log_keys, other.public))) == "fork"


def test_a_state_object_is_not_a_stream():
    """A value that is no stream value is malformed where one is wanted, whatever the map says."""
    ledger = SmallLedger()
    ledger.put(stream_key("dataset", "odd", refused=False), object_value(digest("b"), b"{}"))
    ledger.put(object_key("grant/x"), b"")
    ledger.block("ga", [ledger.event()])
    with pytest.raises(MalformedError) as caught:
        ledger.completeness(StreamName("dataset", "odd")).verify(TRUST)
    assert caught.value.code == "stream-value"
