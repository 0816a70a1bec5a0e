"""The readers and writers of proof files: closed schemas, bounded parts, one spelling."""

from __future__ import annotations

import pytest

from ledger.core import proofjson as pj
from ledger.core.hashing import Digest
from ledger.core.mapproof import MapProof, Window
from ledger.core.proofentry import encode_body, parse_body_or_hash, parse_entry
from ledger.core.prooflog import parse_consistency, parse_fork
from ledger.core.proofreceipt import parse_receipt
from ledger.core.proofstate import encode_header_part, parse_header_part, parse_state_proof
from ledger.core.proofstream import parse_absence, parse_completeness
from ledger.core.prooftrust import History, encode_history, parse_history
from ledger.errors import MalformedError
from ledger.limits import INT_MAX, PROOF_BYTES_MAX
from tests.models.small_ledger import digest, shown
from tests.unit.core.proof_samples import DATASET, LEDGER, entry, fork_of_one_size


def refused(call, *arguments) -> None:
    """The call refuses with a code of a malformed proof."""
    with pytest.raises(MalformedError) as caught:
        call(*arguments)
    assert caught.value.code in {"proof", "digest"}


def test_documents_carry_kind_and_version():
    """What is encoded comes back with its kind; a document without them, or too large, is no proof."""
    data = pj.encode_document("fork", {"x": 1})
    assert data == b'{"kind":"fork","v":1,"x":1}'
    assert pj.parse_document(data) == ("fork", {"x": 1})
    for other in (
        b"{}",
        b'{"kind":"fork"}',
        b'{"kind":"fork","v":2}',
        b'{"kind":"fork","v":true}',
        b'{"kind":1,"v":1}',
    ):
        refused(pj.parse_document, other)
    with pytest.raises(MalformedError):
        pj.parse_document(b'{"kind":"' + b"x" * PROOF_BYTES_MAX + b'","v":1}')


READERS = {
    pj.number: ([0, 7, INT_MAX], [None, True, -1, INT_MAX + 1, "1", [], {}]),
    pj.flag: ([True, False], [None, 0, 1, "true", [], {}]),
    pj.text: (["", "户"], [None, True, 1, [], {}]),
    pj.document: (["", "户"], [None, True, 1, [], {}]),
    pj.name: (["x", "x" * 512, "ga/t:9f"], [None, 1, [], {}, "", "x" * 513, "户"]),
    pj.signature: (["0a" * 64], [None, 1, [], {}, "", "0A" * 64, "0a" * 63, "0a" * 65, "0g" * 64, "0a " * 43]),
    pj.path: ([[], ["0a" * 32]], [None, "", {}, ["x"], ["0A" * 32], [1], ["0a" * 32] * 65]),
    pj.map_proof: ([{"pairs": "", "path": []}], [None, [], {}, {"pairs": ""}, {"pairs": 1, "path": []}]),
}


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_readers_take_their_form_only(read):
    """Each reader takes what SPEC gives it and refuses every other type, range and spelling by name."""
    good, bad = READERS[read]
    for value in good:
        read(value, "field")
    for value in bad:
        refused(read, value, "field")


@pytest.mark.parametrize("parse", [parse_history, parse_header_part], ids=lambda parse: parse.__name__)
def test_parts_are_objects_with_their_fields(parse):
    """Another type, a missing field or one more is refused."""
    fields = {"path": [], "size": 3} if parse is parse_history else {"path": [], "leaf": "{}"}
    parse(fields)
    for other in (None, 1, [], {}, {"path": []}, {**fields, "path": None}, {**fields, "more": 1}):
        refused(parse, other)


def test_paths_are_bounded():
    """A path that is longer than any tree is high is refused before anything is hashed."""
    digests = [digest("x")] * 64
    assert pj.path(pj.encode_path(digests), "field") == tuple(digests)
    refused(pj.path, pj.encode_path([*digests, digest("x")]), "field")
    assert len(pj.path(pj.encode_path(digests * 2), "field", 128)) == 128


def test_map_proofs_come_back_with_and_without_window():
    """A map proof survives its fields; base64 has one spelling, and the window is closed too."""
    for window in (None, Window(3, 70, digest("r"), (digest("p"),))):
        proof = MapProof(b"\0" * 64, (digest("q"),), window)
        assert pj.map_proof(pj.encode_map_proof(proof), "map") == proof
    fields = pj.encode_map_proof(MapProof(b"\xff", (), Window(0, 70, digest("r"), ())))
    for other in (
        {**fields, "pairs": "/x=="},
        {**fields, "pairs": "/w"},
        {**fields, "pairs": "/w==\n"},
        {**fields, "window": None},
        {**fields, "window": {**fields["window"], "more": 1}},
        {**fields, "window": {"begin": 0, "count": 70, "path": []}},
        {**fields, "window": {**fields["window"], "begin": -1}},
    ):
        refused(pj.map_proof, other, "map")


def test_parts_come_back():
    """Header part, state proof, history, body and entries survive their fields."""
    state = LEDGER.state_proof(History(5, (digest("x"),)))
    assert parse_header_part(encode_header_part(state.header, state.path)) == (state.header, state.path)
    assert parse_state_proof(state.encode()) == state
    assert encode_history(None) == {}
    assert parse_history(encode_history(state.history)["history"]) == state.history
    assert encode_body(b"{}", None) == {"body": "{}"}
    assert encode_body(None, Digest(bytes(32))) == {"body_hash": "00" * 32}
    assert encode_body(None, None) == {}
    for level in ("full", "head", "record", "hash"):
        part = shown(entry(), level)
        assert parse_entry(part.encode()) == part
    timer = shown(entry(at=5), "full")
    assert parse_entry(timer.encode()) == timer


def test_a_head_goes_with_a_body_or_its_hash():
    """Both, or none beside a head, or one without a head, is refused."""
    digest_text = "00" * 32
    assert parse_body_or_hash({}, "x", wanted=False) == (None, None)
    assert parse_body_or_hash({"body": "{}"}, "x", wanted=True) == (b"{}", None)
    assert parse_body_or_hash({"body_hash": digest_text}, "x", wanted=True) == (None, bytes(32))
    for fields, wanted in (
        ({}, True),
        ({"body": "{}"}, False),
        ({"body_hash": digest_text}, False),
        ({"body": "{}", "body_hash": digest_text}, True),
        ({"body": 1}, True),
        ({"body_hash": "0"}, True),
    ):
        with pytest.raises(MalformedError):
            parse_body_or_hash(fields, "x", wanted=wanted)


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"hash": "0"},
        {"hash": "00" * 32, "type": 1},
        {"leaf": "{}"},
        {"leaf": "{}", "type": 0},
        {"leaf": "{}", "type": 3},
        {"leaf": "{}", "type": True},
        {"leaf": 1, "type": 1},
        {"leaf": "{}", "type": 1, "head": "{}"},
        {"leaf": "{}", "type": 1, "body": "{}"},
        {"leaf": "{}", "type": 2, "head": "{}", "body": "{}"},
        {"leaf": "{}", "type": 1, "more": 1},
    ],
)
def test_entries_have_four_forms(value):
    """Hash alone, or leaf and type with nothing, head and body, or head and body hash; only records have heads."""
    refused(parse_entry, value)


FILES = {
    parse_receipt: LEDGER.receipt(entry()),
    parse_completeness: LEDGER.completeness(DATASET),
    parse_absence: LEDGER.absence("dataset", "none"),
    parse_consistency: None,
    parse_fork: fork_of_one_size(),
}


@pytest.mark.parametrize("parse", FILES, ids=lambda parse: parse.__name__)
def test_files_have_closed_schemas(parse):
    """Each kind needs each of its fields, of its type, and takes no other one."""
    if parse is parse_consistency:
        fields = {"new": "", "old": "", "path": []}
    else:
        fields = pj.parse_document(FILES[parse].encode())[1]
    parse(fields)
    optional = {"registration", "history"}
    for name in fields:
        less = {key: value for key, value in fields.items() if key != name}
        if name in optional:
            parse(less)
        else:
            refused(parse, less)
        for value in (None, 1, {"x": 1}):
            refused(parse, {**fields, name: value})
    refused(parse, {**fields, "more": 1})
