"""Break everything once: no proof file is accepted with any byte, element or value other than its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ledger.core import canonical
from ledger.core.mapkeys import stream_key
from ledger.core.proof import Consistency, Fork, History, StreamName, Trust, parse_proof, trust_genesis, verify_proof
from ledger.errors import MalformedError, VerificationError
from tests.models.small_ledger import MEMBERS, SmallLedger, digest

REFUSALS = (MalformedError, VerificationError)
DATASET = StreamName("dataset", "ga/hukou")


def ledger() -> SmallLedger:
    """Three blocks over two buckets, one of which somebody has filled."""
    made = SmallLedger()
    made.block("ga", [made.event() for _ in range(3)])
    made.fill(70, into=stream_key("dataset", "none", refused=False))
    made.block("fa", [made.event()], timers=["timer/a3/dataset/ga/hukou"])
    return made


LEDGER = ledger()
# The verifier remembers a checkpoint, so that the path to it is demanded.
TRUST = trust_genesis(LEDGER.genesis, LEDGER.now_s + 30, anchor=LEDGER.note(5))
HISTORY = History(5, LEDGER.consistency(5))


def completeness(*levels: str) -> bytes:
    """The dataset's stream at these levels."""
    proof = LEDGER.completeness(DATASET, 1, None, levels)
    return replace(proof, state=replace(proof.state, history=HISTORY)).encode()


def absence() -> bytes:
    """No stream in the filled bucket."""
    proof = LEDGER.absence("dataset", "none")
    assert proof.plain.window is not None
    return replace(proof, state=replace(proof.state, history=HISTORY)).encode()


RECORD = LEDGER.streams[DATASET][1][1]
PROOFS = {
    "receipt": replace(LEDGER.receipt(RECORD), history=HISTORY).encode(),
    "completeness": completeness("full", "head", "record", "hash"),
    "completeness, all shown": completeness("full"),
    "absence": absence(),
    "consistency": Consistency(LEDGER.note(6), LEDGER.note(), LEDGER.consistency(6)).encode(),
    "fork": Fork(LEDGER.note(by=()), LEDGER.note(by=(), root=digest("x"))).encode(),
}
WHOLE = {name: json.loads(data) for name, data in PROOFS.items()}


def trust(name: str) -> Trust:
    """What the verifier of this proof starts from; a consistency proof stands by itself."""
    return replace(TRUST, anchor=None) if name == "consistency" else TRUST


def refuse(name: str, data: bytes) -> None:
    """The file is refused by an error of the named families, or it is a weaker proof and its result says so.

    Weaker is one without the registration of the key, without a path to what the verifier remembers or with one to
    something else, and one that shows less of an entry.
    """
    try:
        result = verify_proof(data, trust(name))
    except REFUSALS:
        return
    whole, other = WHOLE[name], json.loads(data)
    changed = {field for field in whole.keys() | other.keys() if whole.get(field) != other.get(field)}
    if changed == {"history"}:
        assert result.not_checked == ("history",)
    elif changed == {"registration"}:
        assert "registration" not in other
        assert result.not_checked == ("revocation",)
    else:
        assert changed == {"entries"}
        assert result.counts.full < verify_proof(PROOFS[name], trust(name)).counts.full


@pytest.mark.parametrize("name", PROOFS)
def test_the_proofs_hold(name):
    """Before anything is broken each is accepted, with nothing left unchecked."""
    result = verify_proof(PROOFS[name], trust(name))
    assert getattr(result, "not_checked", ()) == ()


def flip(name: str, at: int, bit: int) -> None:
    """The proof with one bit turned is refused."""
    data = PROOFS[name]
    refuse(name, data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :])


@pytest.mark.parametrize("name", PROOFS)
def test_flipped_bytes_are_refused(name):
    """One other bit in a byte, and the file proves nothing: six hundred places of each, the bit differs with the place."""
    step = len(PROOFS[name]) // 600 + 1
    for count, at in enumerate(range(0, len(PROOFS[name]), step)):
        flip(name, at, count % 3)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", PROOFS)
def test_every_flipped_bit_is_refused(name):
    """Every bit of every byte of each file."""
    for at in range(len(PROOFS[name])):
        for bit in range(8):
            flip(name, at, bit)


@pytest.mark.parametrize("name", PROOFS)
def test_every_truncation_and_appendix_is_refused(name):
    """A file that stops early or goes on is malformed."""
    data = PROOFS[name]
    for length in [*range(0, len(data), 97), len(data) - 1]:
        refuse(name, data[:length])
    for tail in (b"\n", b" ", b"\0", b"}", data):
        refuse(name, data + tail)


def altered(value: Any) -> Iterator[Any]:
    """Every value with one part other than it was: dropped, doubled, swapped, added, of another type or content."""
    yield from (other for other in (None, True, 0, "", [], {}) if type(other) is not type(value))
    if isinstance(value, dict):
        for name, part in value.items():
            yield {key: kept for key, kept in value.items() if key != name}
            yield from ({**value, name: other} for other in altered(part))
        yield {**value, "unknown": 1}
    elif isinstance(value, list):
        for at, part in enumerate(value):
            yield value[:at] + value[at + 1 :]
            yield [*value[: at + 1], *value[at:]]
            yield from ([*value[:at], other, *value[at + 1 :]] for other in altered(part))
            if at and value[at - 1] != part:
                yield [*value[: at - 1], part, value[at - 1], *value[at + 1 :]]
        yield [*value, *value[:1]] if value else ["0" * 64]
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, value - 1, -value - 1, 2**53 - 1, 2**53, str(value))
    else:
        middle = len(value) // 2
        yield from (value + "0", value[:-1], value[1:], value[:middle] + value[middle + 1 :], value.upper())
        yield value.replace("\n", "\n\n", 1)
        yield from (value.replace(a, b, 1) for a, b in ((":", ": "), ("{", '{"a":1,'), ("0", "1"), ("f", "e")))


@pytest.mark.parametrize("name", PROOFS)
def test_every_altered_element_is_refused(name):
    """In canonical form too, no element can be dropped, doubled, swapped, added or changed unseen."""
    document = json.loads(PROOFS[name])
    tried = 0
    for other in altered(document):
        try:
            data = canonical.encode(other, bytes_max=1 << 24)
        except (MalformedError, AttributeError):
            continue  # no document at all; what parsers say of such bytes is tried above
        if data != PROOFS[name]:
            tried += 1
            refuse(name, data)
    assert tried > 40


@pytest.mark.parametrize("name", ["receipt", "completeness", "absence", "consistency"])
def test_parts_of_one_proof_serve_no_other(name):
    """Certificates of other sizes, or of the same size at which the state was another, do not go with these parts."""
    document = json.loads(PROOFS[name])
    field = "new" if name == "consistency" else "certificate"
    for size in range(1, LEDGER.size):
        refuse(name, canonical.encode({**document, field: LEDGER.note(size).decode()}, bytes_max=1 << 24))
    for root in (digest("x"), LEDGER.root(1)):
        refuse(name, canonical.encode({**document, field: LEDGER.note(root=root).decode()}, bytes_max=1 << 24))
    refuse(name, canonical.encode({**document, field: LEDGER.note(by=MEMBERS[:2]).decode()}, bytes_max=1 << 24))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**53 - 1) | st.text(max_size=8) | st.just("0" * 64),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abchmpv"), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150)
@given(st.sampled_from(sorted(PROOFS)), st.data())
def test_any_value_in_any_field_is_refused(name, data):
    """Fields filled with anything give a refusal by name, never another error."""
    document = json.loads(PROOFS[name])
    field = data.draw(st.sampled_from(sorted(document)))
    value = data.draw(json_values)
    if value == document[field]:
        return
    try:
        other = canonical.encode({**document, field: value})
    except MalformedError:
        return
    refuse(name, other)


@given(st.binary(max_size=200))
@example(b'{"kind":"absence","v":1}')
def test_parsing_is_total(data):
    """Any bytes give a proof that encodes to them, or `MalformedError`."""
    try:
        proof = parse_proof(data)
    except MalformedError:
        return
    assert proof.encode() == data
