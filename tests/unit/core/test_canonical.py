"""Canonical JSON: what is accepted, what is refused and by which words, and how fast paths are chosen."""

from __future__ import annotations

import builtins
import enum
import types
from typing import Any

import pytest

from ledger.core import canonical
from ledger.errors import MalformedError
from ledger.limits import INT_MAX, JSON_BYTES_MAX
from tests.unit.core.samples import assert_each_refused

DOCUMENT = {
    "a": [1, -2, 0, True, False, None, "x", [], {}],
    "b": {"c": {"d": "é中😀"}, "e": ""},
    "n": INT_MAX,
    "m": -INT_MAX,
    "s": '"\\/\b\t\n\f\r\x01\x1f\x7f\u2028\u2029',
}
ENCODED = (
    '{"a":[1,-2,0,true,false,null,"x",[],{}],"b":{"c":{"d":"é中😀"},"e":""},"m":-9007199254740991,'
    '"n":9007199254740991,"s":"\\"\\\\/\\b\\t\\n\\f\\r\\u0001\\u001f\x7f\u2028\u2029"}'
).encode()

REFUSED = {
    b"": "expected '{'",
    b"[]": "expected '{'",
    b"1": "expected '{'",
    b" {}": "expected '{'",
    b"{} ": "bytes after the object",
    b"{}{}": "bytes after the object",
    b"\xff": "not UTF-8",
    b'\xef\xbb\xbf{"a":1}': "expected '{'",
    b'{"a":"\xed\xa0\x80"}': "not UTF-8",
    b'{"a"}': "expected ':'",
    b'{"a": 1}': "expected 'null'",
    b'{"a":1,}': "expected '\"'",
    b"{1:1}": "expected '\"'",
    b'{"a":1 }': "expected '}'",
    b'{"b":1,"a":1}': "keys out of order or doubled",
    b'{"a":1,"a":1}': "keys out of order or doubled",
    '{"é":1}'.encode(): "key is not ASCII",
    '{"a":{"b":[{"é":1}]},"c":"é"}'.encode(): "key is not ASCII",
    b'{"a":01}': "leading zero or minus zero",
    b'{"a":-0}': "leading zero or minus zero",
    b'{"a":-}': "expected a digit",
    b'{"a":+1}': "expected 'null'",
    b'{"a":1.0}': "expected '}'",
    b'{"a":1e2}': "expected '}'",
    b'{"a":9007199254740992}': "integer out of range",
    b'{"a":-9007199254740992}': "integer out of range",
    b'{"a":' + b"1" * 5000 + b"}": "integer out of range",
    b'{"a":NaN}': "expected 'null'",
    b'{"a":tru}': "expected 'true'",
    b'{"a":False}': "expected 'null'",
    b'{"a":nul}': "expected 'null'",
    b'{"a":[1,]}': "expected 'null'",
    b'{"a":[1}': "expected ']'",
    b'{"a":"': "string without end",
    b'{"a":"\n"}': "control character in a string",
    b'{"a":"\x00"}': "control character in a string",
    b'{"a":"\\u0000"}': "escape is not the canonical one",
    b'{"a":"\\u000a"}': "escape is not the canonical one",
    b'{"a":"\\u001F"}': "unknown escape",
    b'{"a":"\\u0041"}': "escape is not the canonical one",
    b'{"a":"\\ud83d\\ude00"}': "escape is not the canonical one",
    b'{"a":"\\/"}': "unknown escape",
    b'{"a":"\\u00"}': "unknown escape",
    b'{"a":"\\x"}': "unknown escape",
    b'{"a":"\\': "unknown escape",
    b'{"a":' * 17 + b"1" + b"}" * 17: "nested too deep",
    b'{"a":' + b"[" * 16 + b"]" * 16 + b"}": "nested too deep",
}


def test_one_document_byte_for_byte() -> None:
    """A document with every kind of value has exactly these bytes and parses back."""
    assert canonical.encode(DOCUMENT) == ENCODED
    assert canonical.encode_reference(DOCUMENT) == ENCODED
    assert canonical.parse(ENCODED) == DOCUMENT
    assert canonical.parse_reference(ENCODED) == DOCUMENT
    assert canonical.parse(b"{}") == {}


@pytest.mark.parametrize("data", REFUSED, ids=[repr(data[:24]) for data in REFUSED])
def test_refusals_name_the_offence(data: bytes) -> None:
    """Each offence is refused with code canonical and its own words, by the fast and by the slow way."""
    for parse in (canonical.parse, canonical.parse_reference):
        with pytest.raises(MalformedError) as caught:
            parse(data)
        assert caught.value.code == "canonical"
        assert caught.value.message == REFUSED[data]


def test_no_damaged_document_is_misread() -> None:
    """A damaged document is refused, or is the canonical form of something else: never another exception."""

    def reject_or_round_trip(data: bytes) -> None:
        value = canonical.parse(data)
        assert canonical.encode(value) == data
        raise MalformedError("canonical", "another document")

    assert_each_refused(ENCODED, reject_or_round_trip, MalformedError)


def test_size_limit_is_exact() -> None:
    """A document of exactly the limit is accepted, one byte more is refused, for any limit given."""
    fits = b'{"a":"' + b"x" * (JSON_BYTES_MAX - 8) + b'"}'
    assert canonical.encode(canonical.parse(fits)) == fits
    longer = fits.replace(b"x", b"xx", 1)
    for call in (canonical.parse, canonical.parse_reference):
        with pytest.raises(MalformedError, match="too long") as caught:
            call(longer)
        assert caught.value.code == "document-size"
        assert call(longer, bytes_max=len(longer)) == {"a": "x" * (JSON_BYTES_MAX - 7)}
    for call in (canonical.encode, canonical.encode_reference):
        with pytest.raises(MalformedError, match="too long"):
            call({"a": "x" * (JSON_BYTES_MAX - 7)})
        assert call({"a": "x" * (JSON_BYTES_MAX - 7)}, bytes_max=len(longer)) == longer


@pytest.mark.parametrize(
    "value",
    [
        {"a": 1.0},
        {"a": float("nan")},
        {"a": (1,)},
        {"a": {1}},
        {"a": b"x"},
        {"a": INT_MAX + 1},
        {"a": -INT_MAX - 1},
        {"a": 10**30},
        {"a": "\0"},
        {"a\0": 1},
        {"a": "\ud800"},
        {"\u00e9": 1},
        {"a": [{"\u00e9": 1}]},
        {1: 1},
        {None: 1},
        {"a": {2: 1}},
        {"a": object()},
        ["a"],
        "a",
        None,
        {"a": [[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]},
    ],
    ids=lambda value: repr(value).split(" at ")[0],
)
def test_values_outside_the_subset_are_refused(value: Any) -> None:
    """Anything JSON would bend (tuples, floats, bytes, large integers, odd keys) is refused by both encoders."""
    for encode in (canonical.encode, canonical.encode_reference):
        with pytest.raises(MalformedError) as caught:
            encode(value)
        assert caught.value.code == "canonical"


def test_a_value_that_contains_itself_is_refused() -> None:
    """A cycle ends at the depth limit."""
    loop: dict[str, Any] = {}
    loop["a"] = loop
    with pytest.raises(MalformedError, match="too deep"):
        canonical.encode(loop)


def test_mappings_and_enumerations_are_taken_by_content() -> None:
    """Any mapping may stand at the top, and members of string and integer enumerations count as their values."""

    class Word(enum.StrEnum):
        YES = "yes"

    class Number(enum.IntEnum):
        TWO = 2

    assert canonical.encode(types.MappingProxyType({"b": Word.YES, "a": Number.TWO})) == b'{"a":2,"b":"yes"}'


def test_quote_makes_one_canonical_string() -> None:
    """quote escapes exactly what the format escapes, and refuses U+0000 and surrogates."""
    assert canonical.quote('a"\n\x1fé') == b'"a\\"\\n\\u001f' + "é".encode() + b'"'
    for text in ("\0", "\udfff"):
        with pytest.raises(MalformedError):
            canonical.quote(text)


def test_without_msgspec_the_standard_library_serves(monkeypatch: Any) -> None:
    """In the base install the codec of the standard library is chosen and gives the same answers."""
    real_import = builtins.__import__

    def no_msgspec(name: str, *args: Any) -> Any:
        if name == "msgspec":
            raise ImportError(name)
        return real_import(name, *args)

    monkeypatch.setattr(builtins, "__import__", no_msgspec)
    decode, encode = canonical._best_codec()
    monkeypatch.undo()
    assert "json" in type(decode).__module__ or "standard" in decode.__qualname__
    monkeypatch.setattr(canonical, "_decode", decode)
    monkeypatch.setattr(canonical, "_encode", encode)
    assert canonical.encode(DOCUMENT) == ENCODED
    assert canonical.parse(ENCODED) == DOCUMENT
    for data in REFUSED:
        with pytest.raises(MalformedError):
            canonical.parse(data)
