"""Completeness and absence: all records of a stream, or none, and nothing else passes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger.core import merkle
from ledger.core.leaf import Record, TimerLeaf
from ledger.core.mapkeys import object_key, object_value, stream_key
from ledger.core.proof import (
    Counts,
    EntryProof,
    StreamName,
    StreamState,
    parse_proof,
    verify_proof,
)
from ledger.errors import MalformedError, VerificationError
from tests.models.small_ledger import SmallLedger, digest
from tests.unit.core.proof_samples import DATASET, LEDGER, TRUST, entry, refusal


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
        "stream-member",
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


def test_a_state_object_is_not_a_stream():
    """A value that is no stream value is malformed where one is wanted, whatever the map says."""
    ledger = SmallLedger()
    ledger.put(stream_key("dataset", "odd", refused=False), object_value(digest("b"), b"{}"))
    ledger.put(object_key("grant/x"), b"")
    ledger.block("ga", [ledger.event()])
    with pytest.raises(MalformedError) as caught:
        ledger.completeness(StreamName("dataset", "odd")).verify(TRUST)
    assert caught.value.code == "stream-value"
