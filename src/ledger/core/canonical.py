"""Decides whether bytes are canonical JSON and turns values into it: one spelling for one value, both ways.

Rules (SPEC R-E02): for every accepted `b`, `encode(parse(b)) == b`; the bytes themselves are what is stored
and hashed. A fast path decodes, encodes again and compares; whatever it refuses, the reference parser decides, so the
reference is the only authority and the fast path may only be quicker, never different (tests/property shows it).
`msgspec` is used when it is installed, the standard library otherwise.
Not here: the meaning of any field.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, NoReturn, Union

from ledger.core.canonical_reference import encode_reference, parse_reference, quote_reference
from ledger.errors import MalformedError
from ledger.limits import INT_MAX, JSON_BYTES_MAX, JSON_DEPTH_MAX

__all__ = [
    "JsonValue",
    "encode",
    "encode_reference",
    "parse",
    "parse_reference",
    "quote",
    "quote_reference",
    "read_accepted",
]

JsonValue = Union[None, bool, int, str, list[Any], dict[str, Any]]  # noqa: UP007 - a run-time alias

Codec = tuple[Callable[[bytes], Any], Callable[[Any], bytes]]
"""A decoder that refuses floats, large integers and depth, and an encoder that sorts keys and adds no white space."""

# What a codec may raise on odd input; anything else is a defect and must surface.
_CODEC_ERRORS: Final = (ValueError, TypeError, OverflowError, RecursionError)


def parse(data: bytes, *, bytes_max: int = JSON_BYTES_MAX) -> dict[str, Any]:
    """The object that canonical `data` (at most `bytes_max` bytes) stands for.

    Raises `MalformedError` for every other input: `document-size` for more bytes, `canonical` whatever else is wrong.
    """
    if len(data) <= bytes_max:
        try:
            value: dict[str, Any] = _decode(data)
            # Re-encoding cannot see two things: U+0000, which only an escape can spell, and keys outside ASCII.
            if (
                _encode(value) == data
                and (b"\\" not in data or b"\\u0000" not in data)
                and (data.isascii() or _has_ascii_keys(value, data))
            ):
                return value
        except _CODEC_ERRORS:
            pass
    return parse_reference(data, bytes_max=bytes_max)


def encode(value: Mapping[str, Any], *, bytes_max: int = JSON_BYTES_MAX) -> bytes:
    """The canonical bytes of `value`; `MalformedError` (code `canonical`) for values outside the subset.

    The result always parses back to an equal value: tuples, floats, bytes and other types are refused.
    """
    try:
        data = _encode(value)
        if parse(data, bytes_max=bytes_max) == value:
            return data
    except (MalformedError, *_CODEC_ERRORS):
        pass
    return encode_reference(value, bytes_max=bytes_max)


def quote(text: str) -> bytes:
    """One canonical JSON string with its quotes, as UTF-8; `MalformedError` for U+0000 and lone surrogates."""
    return quote_reference(text).encode("utf-8")


def _has_ascii_keys(top: dict[str, Any], data: bytes) -> bool:
    """Whether every key at every level of what `data` decoded to is ASCII; no recursion."""
    if not "".join(top).isascii():
        return False
    if data.find(b"{", 1) < 0:  # flat, as most documents are
        return True
    containers: list[Any] = [top]
    for container in containers:
        items = container
        if type(container) is dict:
            if not "".join(container).isascii():
                return False
            items = container.values()
        for item in items:
            kind = type(item)
            if kind is dict or kind is list:
                containers.append(item)
    return True


FAST_DEPTH: Final = 6


def _msgspec_codec() -> Codec:
    """Nested types, so that integers, floats and depth are checked while decoding.

    The type doubles with each level, and making it is part of every start; so it stops at `FAST_DEPTH`, which documents
    hardly ever pass. Those that do are decided by the reference.

    Raises `ImportError` in the base install.
    """
    import msgspec

    integer = Annotated[int, msgspec.Meta(ge=-INT_MAX, le=INT_MAX)]
    kind: Any = Union[None, bool, integer, str]  # noqa: UP007 - built at run time
    for _ in range(FAST_DEPTH - 1):
        kind = Union[None, bool, integer, str, list[kind], dict[str, kind]]  # noqa: UP007
    return msgspec.json.Decoder(dict[str, kind]).decode, msgspec.json.Encoder(order="sorted").encode


def _standard_codec() -> Codec:
    """The same by the standard library: about four times slower, without another package to trust."""
    read = json.JSONDecoder(parse_float=_refuse, parse_int=_bounded_int, parse_constant=_refuse).decode
    write = json.JSONEncoder(ensure_ascii=False, sort_keys=True, allow_nan=False, separators=(",", ":")).encode

    def decode(data: bytes) -> Any:
        value = read(data.decode("utf-8", "strict"))
        if type(value) is not dict or _depth_exceeds(value):
            raise ValueError("no object, or nested too deep")
        return value

    return decode, lambda value: write(value).encode("utf-8", "strict")


def _refuse(text: str) -> NoReturn:
    raise ValueError(text)


def _bounded_int(text: str) -> int:
    value = int(text)  # CPython bounds the digits itself; the value is bounded here
    if not -INT_MAX <= value <= INT_MAX:
        raise ValueError("integer out of range")
    return value


def _depth_exceeds(top: dict[str, Any]) -> bool:
    """Whether containers nest deeper than the format allows, level by level."""
    level: list[Any] = [top]
    for _ in range(JSON_DEPTH_MAX):
        level = [
            item
            for container in level
            for item in (container.values() if type(container) is dict else container)
            if type(item) is dict or type(item) is list
        ]
        if not level:
            return False
    return True


def _best_codec() -> Codec:
    try:
        return _msgspec_codec()
    except ImportError:
        return _standard_codec()


def _plain_decoder() -> Callable[[bytes], Any]:
    """A decoder that checks nothing of the subset: for bytes that were accepted before."""
    try:
        import msgspec
    except ImportError:
        return json.loads
    return msgspec.json.Decoder().decode


_decode, _encode = _best_codec()
read_accepted: Final = _plain_decoder()
"""The object of bytes that `parse` accepted before, here or in another process; of other bytes anything may come."""
