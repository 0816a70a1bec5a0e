"""Proof files: every kind comes back from its file, and nothing else is a proof."""

from __future__ import annotations

import pytest

from ledger.core.proof import (
    KINDS,
    Consistency,
    History,
    StreamName,
    parse_proof,
    verify_proof,
)
from ledger.errors import MalformedError
from tests.unit.core.proof_samples import DATASET, LEDGER, TRUST, entry, fork_of_one_size

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
