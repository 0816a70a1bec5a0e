"""Decides, character by character, which bytes are canonical JSON: the slow reading that the fast paths must equal.

Rules (SPEC R-E02; a subset of RFC 8785): an object at the top; ASCII keys in ascending order, none twice;
strings of any Unicode scalar value but U+0000, escaped only where JSON demands it and in one way; integers within
±(2^53-1), no `-0`; no floats; no white space; UTF-8; at most 16 levels and 60 KiB.
Not here: speed, and any meaning of the fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn

from ledger.errors import MalformedError
from ledger.limits import INT_MAX, JSON_BYTES_MAX, JSON_DEPTH_MAX

_SHORT_ESCAPES: Final = {'"': '"', "\\": "\\", "b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}
_ESCAPED: Final = {ord(value): "\\" + name for name, value in _SHORT_ESCAPES.items()} | {
    code: f"\\u{code:04x}" for code in range(1, 0x20) if chr(code) not in _SHORT_ESCAPES.values()
}
_HEX: Final = frozenset("0123456789abcdef")
_DIGITS: Final = frozenset("0123456789")
_INT_CHARS_MAX: Final = len(str(-INT_MAX))


def parse_reference(data: bytes, *, bytes_max: int = JSON_BYTES_MAX) -> dict[str, Any]:
    """The object that canonical `data` stands for; `MalformedError` (code `canonical`) names the first offence."""
    if len(data) > bytes_max:
        raise MalformedError("document-size", "document too long", size=len(data), limit=bytes_max)
    try:
        text = data.decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        raise MalformedError("canonical", "not UTF-8", offset=error.start) from None
    reader = _Reader(text)
    value = reader.read_object(1)
    if reader.position != len(text):
        reader.refuse("bytes after the object")
    return value


class _Reader:
    """A cursor over the text; recursion is bounded by the depth limit."""

    __slots__ = ("position", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def refuse(self, reason: str) -> NoReturn:
        raise MalformedError("canonical", reason, offset=self.position)

    def peek(self) -> str:
        """The next character, or an empty string at the end."""
        return self.text[self.position : self.position + 1]

    def expect(self, literal: str) -> None:
        if not self.text.startswith(literal, self.position):
            self.refuse(f"expected {literal!r}")
        self.position += len(literal)

    def read_value(self, depth: int) -> Any:
        first = self.peek()
        if first == '"':
            return self.read_string()
        if first == "{":
            return self.read_object(depth + 1)
        if first == "[":
            return self.read_array(depth + 1)
        if first == "-" or first in _DIGITS:
            return self.read_integer()
        for literal, value in (("true", True), ("false", False)):
            if first == literal[0]:
                self.expect(literal)
                return value
        self.expect("null")
        return None

    def read_object(self, depth: int) -> dict[str, Any]:
        self.expect("{")
        if depth > JSON_DEPTH_MAX:
            self.refuse("nested too deep")
        members: dict[str, Any] = {}
        if self.peek() == "}":
            self.position += 1
            return members
        previous = None
        while True:
            key = self.read_string()
            if not key.isascii():
                self.refuse("key is not ASCII")
            if previous is not None and key <= previous:
                self.refuse("keys out of order or doubled")
            previous = key
            self.expect(":")
            members[key] = self.read_value(depth)
            if self.peek() != ",":
                break
            self.position += 1
        self.expect("}")
        return members

    def read_array(self, depth: int) -> list[Any]:
        self.expect("[")
        if depth > JSON_DEPTH_MAX:
            self.refuse("nested too deep")
        items: list[Any] = []
        if self.peek() == "]":
            self.position += 1
            return items
        while True:
            items.append(self.read_value(depth))
            if self.peek() != ",":
                break
            self.position += 1
        self.expect("]")
        return items

    def read_integer(self) -> int:
        start = self.position
        if self.peek() == "-":
            self.position += 1
        digits = self.position
        while self.peek() in _DIGITS:
            self.position += 1
            # SPEC R-E02: bounded before conversion, so that a long number costs nothing.
            if self.position - start > _INT_CHARS_MAX:
                self.refuse("integer out of range")
        number = self.text[digits : self.position]
        if not number:
            self.refuse("expected a digit")
        if number[0] == "0" and (len(number) > 1 or digits > start):
            self.refuse("leading zero or minus zero")
        value = int(self.text[start : self.position])
        if abs(value) > INT_MAX:
            self.refuse("integer out of range")
        return value

    def read_string(self) -> str:
        self.expect('"')
        parts: list[str] = []
        while True:
            char = self.peek()
            if char == "":
                self.refuse("string without end")
            if char < " ":
                self.refuse("control character in a string")
            self.position += 1
            if char == '"':
                return "".join(parts)
            parts.append(self.read_escape() if char == "\\" else char)

    def read_escape(self) -> str:
        name = self.peek()
        if name in _SHORT_ESCAPES:
            self.position += 1
            return _SHORT_ESCAPES[name]
        digits = self.text[self.position + 1 : self.position + 5]
        if name != "u" or len(digits) != 4 or not _HEX.issuperset(digits):
            self.refuse("unknown escape")
        code = int(digits, 16)
        # Only control characters without a short form are written as \u00xx; everything else stands literally.
        if _ESCAPED.get(code) != "\\u" + digits:
            self.refuse("escape is not the canonical one")
        self.position += 5
        return chr(code)


def encode_reference(value: Mapping[str, Any], *, bytes_max: int = JSON_BYTES_MAX) -> bytes:
    """The canonical bytes of `value`; `MalformedError` (code `canonical`) for anything outside the subset."""
    data = _encode_object(value, 1).encode("utf-8")
    if len(data) > bytes_max:
        raise MalformedError("document-size", "document too long", size=len(data), limit=bytes_max)
    return data


def quote_reference(text: str) -> str:
    """One canonical JSON string, quotes included."""
    if "\0" in text:
        raise MalformedError("canonical", "U+0000 in a string")
    if not text.isascii():
        try:
            text.encode("utf-8", "strict")
        except UnicodeEncodeError:
            raise MalformedError("canonical", "lone surrogate in a string") from None
    return '"' + text.translate(_ESCAPED) + '"'


def _encode_value(value: object, depth: int) -> str:
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, str):
        return quote_reference(value)
    if isinstance(value, int):
        if abs(value) > INT_MAX:
            raise MalformedError("canonical", "integer out of range")
        return int.__repr__(value)
    if isinstance(value, dict):
        return _encode_object(value, depth + 1)
    if isinstance(value, list):
        if depth >= JSON_DEPTH_MAX:
            raise MalformedError("canonical", "nested too deep")
        return "[" + ",".join(_encode_value(item, depth + 1) for item in value) + "]"
    raise MalformedError("canonical", "no JSON value of the subset", got=type(value).__name__)


def _encode_object(value: Mapping[Any, Any], depth: int) -> str:
    if not isinstance(value, Mapping):
        raise MalformedError("canonical", "expected an object", got=type(value).__name__)
    if depth > JSON_DEPTH_MAX:
        raise MalformedError("canonical", "nested too deep")
    for key in value:
        if not isinstance(key, str) or not key.isascii():
            raise MalformedError("canonical", "key is not ASCII text", got=repr(key))
    return "{" + ",".join(f"{quote_reference(key)}:{_encode_value(value[key], depth)}" for key in sorted(value)) + "}"
