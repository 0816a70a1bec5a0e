"""The fast JSON paths and the reference parser are one function: same values, same refusals, whatever the bytes."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger.core import canonical
from ledger.errors import MalformedError
from ledger.limits import INT_MAX, JSON_DEPTH_MAX

CODECS = {"standard": canonical._standard_codec()}
with contextlib.suppress(ImportError):
    CODECS["msgspec"] = canonical._msgspec_codec()

texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12)
keys = st.text(st.characters(min_codepoint=1, max_codepoint=127), max_size=6)
scalars = st.none() | st.booleans() | st.integers(-INT_MAX, INT_MAX) | texts
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4))
documents = st.dictionaries(keys, values, max_size=5)

wild_scalars = scalars | st.integers() | st.floats() | st.text(max_size=4) | st.binary(max_size=3) | st.tuples()
wild_values = st.recursive(
    wild_scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
)

PIECES = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    '"',
    "\\",
    "\\u0000",
    "\\u001f",
    "\\u00e9",
    "\\ud800",
    "\\n",
    "\\/",
    "\\b",
    "true",
    "null",
    "false",
    "-0",
    "0",
    "-",
    "1",
    "01",
    "1.0",
    "1e3",
    "9007199254740991",
    "9007199254740992",
    " ",
    "\n",
    '"a"',
    '"b":',
    '"é"',
    '"\x7f"',
    "\u2028",
    "é",
    "\0",
    "\x1f",
    "😀",
    "a",
    "NaN",
]
jsonish = st.lists(st.sampled_from(PIECES), max_size=14).map(lambda parts: "".join(parts).encode())


@pytest.fixture(params=sorted(CODECS))
def codec(request: Any, monkeypatch: Any) -> str:
    """Each codec in turn behind `canonical.parse` and `canonical.encode`."""
    use(request.param, monkeypatch.setattr)
    return request.param


def use(name: str, set_attribute: Any) -> None:
    """Put one codec in place."""
    decode, encode = CODECS[name]
    set_attribute(canonical, "_decode", decode)
    set_attribute(canonical, "_encode", encode)


def outcome(function: Any, argument: Any) -> object:
    """What a call gives: its value, or that it was refused; any other exception is a failure of the test."""
    try:
        return function(argument)
    except MalformedError as error:
        return MalformedError if error.code == "canonical" else error


def fast_only(name: str, data: bytes) -> object:
    """What the fast path alone says, without the reference to fall back on."""
    decode, encode = CODECS[name]
    kept = canonical._decode, canonical._encode, canonical.parse_reference
    canonical._decode, canonical._encode = decode, encode
    canonical.parse_reference = lambda _data, *, bytes_max: MalformedError
    try:
        return canonical.parse(data)
    finally:
        canonical._decode, canonical._encode, canonical.parse_reference = kept


def nesting(data: bytes) -> int:
    """An upper bound of the levels in a document: no level without a bracket."""
    return data.count(b"{") + data.count(b"[")


def assert_same(data: bytes) -> None:
    """Reference and every fast path, alone, agree about `data`."""
    expected = outcome(canonical.parse_reference, data)
    for name in CODECS:
        fast = fast_only(name, data)
        # A fast path may leave deep documents to the reference; it never decides anything else differently.
        assert fast == expected or (fast is MalformedError and nesting(data) > canonical.FAST_DEPTH), (name, data)
        with pytest.MonkeyPatch.context() as patch:
            use(name, patch.setattr)
            assert outcome(canonical.parse, data) == expected, (name, data)
    if expected is not MalformedError:
        assert canonical.encode_reference(expected) == data
        assert canonical.encode(expected) == data
        # Bytes that were accepted once are read without a check, to the type of every value.
        assert repr(canonical.read_accepted(data)) == repr(expected)
        assert repr(json.loads(data)) == repr(expected)


@given(documents)
def test_every_document_round_trips(document: dict[str, Any]) -> None:
    """encode then parse gives the value back, the same bytes come from both encoders, all paths accept them."""
    data = canonical.encode_reference(document)
    assert canonical.parse_reference(data) == document
    assert canonical.encode(document) == data
    assert_same(data)


@given(st.binary(max_size=40) | jsonish)
@example(b'{"a":"\\u0000"}')
@example('{"é":1}'.encode())
@example('{"a":{"é":1},"b":"é"}'.encode())
@example('{"a":[{"é":1}]}'.encode())
@example(b'{"a":1,"a":1}')
@example(b'{"b":1,"a":1}')
@example(b'{"a":-0}')
@example(b'{"a":1E400}')
@example(b'{"a":NaN}')
@example(b'\xef\xbb\xbf{"a":1}')
@example(b'{"a":"\xed\xa0\x80"}')
@example(b'{"a":"\\ud83d\\ude00"}')
@example(b'{"a":' + b"9" * 5000 + b"}")
@example(b'{"a":' * 5000)
@example(b"{" + b"[" * 5000)
@example(b'{"":""}')
def test_any_bytes_are_judged_alike(data: bytes) -> None:
    """Random and JSON-like bytes get the same value or the same refusal from every path, and never another error."""
    assert_same(data)


@given(documents, st.data())
def test_mutated_documents_are_judged_alike(document: dict[str, Any], data: st.DataObject) -> None:
    """A canonical document with one replaced, removed or inserted piece is judged alike by every path."""
    original = canonical.encode_reference(document)
    at = data.draw(st.integers(0, len(original)))
    removed = data.draw(st.integers(0, 2))
    inserted = data.draw(st.sampled_from([piece.encode() for piece in PIECES]) | st.binary(max_size=2))
    assert_same(original[:at] + inserted + original[at + removed :])


@given(st.dictionaries(st.text(max_size=3) | st.integers() | st.none(), wild_values, max_size=3))
def test_encoders_agree_on_any_value(value: Any) -> None:
    """Values outside the subset are refused by both encoders, all others get the same bytes from both."""
    expected = outcome(canonical.encode_reference, value)
    for name in CODECS:
        with pytest.MonkeyPatch.context() as patch:
            use(name, patch.setattr)
            assert outcome(canonical.encode, value) == expected


@pytest.mark.parametrize("start", range(0, 0x10000, 0x2000))
def test_every_code_point_of_the_basic_plane(codec: str, start: int) -> None:
    r"""Each code point, as value and as key, literally and as \uXXXX, is accepted or refused as the rules say."""
    for code in range(start, start + 0x2000):
        char = chr(code)
        surrogate = 0xD800 <= code <= 0xDFFF
        literal = char.encode("utf-8", "surrogatepass")
        for data in (b'{"a":"' + literal + b'"}', b'{"a":"\\u%04x"}' % code, b'{"' + literal + b'":1}'):
            assert fast_only(codec, data) == outcome(canonical.parse_reference, data), data
        if surrogate or code == 0:
            assert outcome(canonical.encode, {"a": char}) is MalformedError
        else:
            assert canonical.parse(canonical.encode({"a": char})) == {"a": char}
            assert json.loads(canonical.encode({"a": char})) == {"a": char}


@pytest.mark.parametrize("depth", [1, JSON_DEPTH_MAX - 1, JSON_DEPTH_MAX, JSON_DEPTH_MAX + 1, 200])
@pytest.mark.parametrize("opening", ["[", "{"])
def test_depth_is_judged_alike(codec: str, opening: str, depth: int) -> None:
    """Sixteen levels are accepted and seventeen refused, in arrays and in objects, by every path."""
    inner, closing = ('{"a":', "}") if opening == "{" else ("[", "]")
    data = ('{"a":' + inner * (depth - 1) + "1" + closing * (depth - 1) + "}").encode()
    expected = outcome(canonical.parse_reference, data)
    assert (expected is MalformedError) == (depth > JSON_DEPTH_MAX)
    if codec != "msgspec" or depth <= canonical.FAST_DEPTH:
        assert fast_only(codec, data) == expected
    assert_same(data)
