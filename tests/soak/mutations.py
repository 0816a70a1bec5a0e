"""Damages valid inputs: bytes turned, dropped, doubled and spliced, and the same inside JSON and MessagePack values.

Everything comes from the generator that is handed in, so that a seed repeats an input. Not here: judging what a parser does
with it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import msgpack

NUMBERS = (0, 1, -1, 127, 128, 255, 256, 65_535, 65_536, 2**31, 2**32, 2**53 - 1, 2**53, 2**63 - 1, 2**64 - 1)
TEXTS = (
    "",
    "\0",
    "a" * 200,
    "é",
    "\ud7ff",
    "😀",
    "../..",
    "1e9",
    "NaN",
    "0" * 64,
    "2026-13-01T00:00:00.000Z",
    "一" * 99,
)
BYTES = (b"", b"\0", b"\xff" * 40, bytes(32), b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"[" * 60, b"{" * 60)


def damaged(samples: Sequence[bytes], chance: random.Random) -> bytes:
    """One input near a valid one; sometimes nothing like it."""
    if chance.random() < 0.02:
        return chance.randbytes(chance.randrange(200))
    sample = chance.choice(samples)
    if chance.random() < 0.5 and (deep := inside(sample, chance)) is not None:
        return deep
    for _ in range(1 + chance.randrange(3)):
        sample = _bytes(sample, samples, chance)
    return sample


def inside(sample: bytes, chance: random.Random) -> bytes | None:
    """A value of the sample's own encoding with one part changed; None for a sample that is neither of the two."""
    try:
        value = json.loads(sample)
        changed = changed_value(value, chance, (*NUMBERS, *TEXTS, None, True, 1.5, [], {}, [[]], {"": 0}))
        return json.dumps(changed, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode("utf-8", "ignore")
    except (ValueError, RecursionError):
        pass
    try:
        value = msgpack.unpackb(sample, use_list=True, strict_map_key=False)
        extra: tuple[Any, ...] = (*NUMBERS, *TEXTS, *BYTES, None, True, 1.5, [], {}, [[]])
        packed: bytes = msgpack.packb(changed_value(value, chance, extra))
        return packed
    except (ValueError, OverflowError, RecursionError, TypeError, msgpack.UnpackException):
        return None


def changed_value(value: Any, chance: random.Random, strange: Sequence[Any]) -> Any:
    """`value` with one part replaced, left out, doubled or moved."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        name = chance.choice(list(value))
        action = chance.random()
        if action < 0.7:
            return {**value, name: changed_value(value[name], chance, strange)}
        if action < 0.85:
            return {key: kept for key, kept in value.items() if key != name}
        other = chance.choice(list(value))
        return {**value, name: value[other], "more" if action > 0.95 else other: value[name]}
    if isinstance(value, list) and value and chance.random() < 0.85:
        at = chance.randrange(len(value))
        action = chance.random()
        if action < 0.7:
            return [*value[:at], changed_value(value[at], chance, strange), *value[at + 1 :]]
        if action < 0.8:
            return value[:at] + value[at + 1 :]
        if action < 0.9:
            return [*value[: at + 1], *value[at:]]
        return value[::-1] if len(value) < 50 else value * 2
    if isinstance(value, bytes) and value and chance.random() < 0.6:
        return _bytes(value, (value,), chance)
    if isinstance(value, str) and value and chance.random() < 0.5:
        at = chance.randrange(len(value))
        return value[:at] + chance.choice(("", "0", "f", " ", "/", '"', "é", "\n")) + value[at + 1 :]
    if isinstance(value, int) and not isinstance(value, bool) and chance.random() < 0.4:
        return value + chance.choice((1, -1))
    return chance.choice(strange)


def _bytes(data: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    action = chance.randrange(9)
    if action == 0 and data:
        at %= len(data)
        return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]
    if action == 1 and data:
        at %= len(data)
        return data[:at] + chance.randbytes(1) + data[at + 1 :]
    if action == 2:
        return data[:at]
    if action == 3:
        end = min(len(data), at + 1 + chance.randrange(40))
        return data[:at] + data[end:]
    if action == 4:
        return data[:at] + chance.choice(BYTES) + data[at:]
    if action == 5:
        end = min(len(data), at + 1 + chance.randrange(40))
        return data[:at] + data[at:end] * (2 + chance.randrange(20)) + data[end:]
    if action == 6:
        other = chance.choice(others)
        return data[:at] + other[chance.randrange(len(other) + 1) :]
    if action == 7:
        width = chance.choice((1, 2, 4, 8))
        number = chance.choice(NUMBERS) % (1 << 8 * width)
        return data[:at] + number.to_bytes(width, chance.choice(("big", "little"))) + data[at + width :]
    return data + chance.choice(BYTES)
