"""Turns stored state, heads and bodies into values and values into canonical bytes, inside the program.

Rules: input has passed `core.canonical.parse` in the host, so it is decoded without a second check; what rules may write
(plain values of bounded depth, integers and strings) lies inside the canonical subset, so encoding needs no check either.
`msgspec` is used where it is installed; both ways give the same bytes (shown by the tests).
Not here: bytes from outside.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

try:
    import msgspec
except ImportError:  # the base install
    msgspec = None  # type: ignore[assignment]

_dump = json.JSONEncoder(ensure_ascii=False, sort_keys=True, allow_nan=False, separators=(",", ":")).encode


def decode_standard(data: bytes) -> Any:
    """The value of canonical `data`, by the standard library."""
    return json.loads(data)


def encode_standard(value: Any) -> bytes:
    """Canonical bytes of a plain value, b"" for None (a deleted object), by the standard library."""
    return b"" if value is None else _dump(value).encode("utf-8")


def write_standard(value: Any) -> bytes:
    """Canonical bytes of a plain value that is not None, by the standard library."""
    return _dump(value).encode("utf-8")


def _fast() -> tuple[Callable[[bytes], Any], Callable[[Any], bytes], Callable[[Any], bytes]]:
    read = msgspec.json.Decoder().decode
    write = msgspec.json.Encoder(order="sorted").encode
    return read, lambda value: b"" if value is None else write(value), write


decode, encode, write = (decode_standard, encode_standard, write_standard) if msgspec is None else _fast()
