"""Names and values of the state map: how keys, values, their hashes and blinds are made (SPEC R-M01, R-M02, R-M05).

Rules: key = u8 namespace ‖ length-prefixed parts, so that no two names give one key; key hash and value hash carry
their own tags; the empty value counts as absent, and keys are never removed.
Not here: buckets (`buckets`), the tree (`maptree`), proofs (`mapproof`).
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

from ledger.core.hashing import (
    TAG_BLIND,
    TAG_MAPKEY,
    TAG_MAPVALUE,
    ZERO_DIGEST,
    Digest,
    lp,
)
from ledger.errors import MalformedError
from ledger.limits import STATE_OBJECT_BYTES_MAX

NS_STREAM: Final = 1
NS_OBJECT: Final = 2
NS_TIMER: Final = 3
NS_MEMBER: Final = 4
NS_KEY: Final = 5
NS_CONFIG: Final = 6
NS_BUNDLE: Final = 7

_LENGTH_BYTES: Final = 2  # of a part's length
_TIMER_PREFIX: Final = "timer/"
_OBJECT_VALUE: Final = re.compile(rb'\{"blind":"([0-9a-f]{64})","object":(\{.*\})\}', re.DOTALL)


def _part(text: str) -> bytes:
    """One length-prefixed part; names are ASCII, so that no two spellings name one thing."""
    if not text.isascii() or not text:
        raise MalformedError("map-key", "a part of a map key is empty or not ASCII", got=text)
    return lp(text.encode("ascii"))


def stream_key(kind: str, identifier: str, refused: bool) -> bytes:
    """Key of the stream `<kind>/<identifier>`, or of its `!refused` twin: u8 1 ‖ lp(kind) ‖ lp(id) ‖ u8 refused."""
    return b"\x01" + _part(kind) + _part(identifier) + (b"\x01" if refused else b"\x00")


def object_key(text: str) -> bytes:
    """Key of a state object named `<kind>/<id>` (the kind has no slash, the id may).

    u8 2 ‖ lp(kind) ‖ lp(id); timers have a namespace of their own: `timer/<rest>` is u8 3 ‖ lp(rest).
    """
    if text.startswith(_TIMER_PREFIX):
        return b"\x03" + _part(text[len(_TIMER_PREFIX) :])
    kind, _, identifier = text.partition("/")
    return b"\x02" + _part(kind) + _part(identifier)


def key_parts(key: bytes) -> list[str]:
    """The length-prefixed parts of a map key that has names only. Raises `MalformedError` for bytes that are none."""
    parts: list[str] = []
    place = 1
    while place < len(key):
        end = place + _LENGTH_BYTES + int.from_bytes(key[place : place + _LENGTH_BYTES], "big")
        part = key[place + _LENGTH_BYTES : end]
        if end > len(key) or not part or not part.isascii():
            raise MalformedError("map-key", "a part of a map key is cut, empty or not ASCII", key=key)
        parts.append(part.decode("ascii"))
        place = end
    return parts


def object_name(key: bytes) -> tuple[str, str]:
    """(kind, id) of a state object's map key: the other way of `object_key`, but for timers.

    Raises `MalformedError` for bytes that are no such key.
    """
    parts = key_parts(key) if key[:1] == b"\x02" else []
    if len(parts) != 2:
        raise MalformedError("map-key", "not the key of a state object", key=key)
    return parts[0], parts[1]


def member_key(member: str) -> bytes:
    """Key of a member's entry in the registry: u8 4 ‖ lp(member)."""
    return b"\x04" + _part(member)


def key_key(key_id: Digest) -> bytes:
    """Key of a public key's registration: u8 5 ‖ lp(key id)."""
    return b"\x05" + lp(key_id)


def config_key() -> bytes:
    """Key of the config in force for the next block: u8 6."""
    return b"\x06"


def bundle_key(bundle_hash: Digest) -> bytes:
    """Key of a rulebook's or calendar's entry: u8 7 ‖ lp(bundle hash)."""
    return b"\x07" + lp(bundle_hash)


def key_hash(key: bytes) -> Digest:
    r"""H("suyuan/mapkey/v1\0" ‖ key): the place of a key in the map."""
    return Digest(sha256(TAG_MAPKEY + key).digest())


def value_hash(value: bytes) -> Digest:
    r"""H("suyuan/mapvalue/v1\0" ‖ value): what the map says of a key; the empty value means absent."""
    return Digest(sha256(TAG_MAPVALUE + value).digest())


EMPTY_VALUE_HASH: Final = value_hash(b"")
"""What the map holds for a key that was deleted; every proof treats it as absent."""


def next_blind(previous: bytes | None, x: Digest) -> Digest:
    r"""H("suyuan/blind/v1\0" ‖ previous blind or 32 zero bytes ‖ x).

    `x` is the touching event's hash, the timer leaf's hash or the genesis hash. A map proof shows the value hashes of
    neighbours; the blind is what keeps a guessed value from being confirmed by them.
    """
    return Digest(sha256(TAG_BLIND + (ZERO_DIGEST if previous is None else previous) + x).digest())


def object_value(blind: Digest, object_bytes: bytes) -> bytes:
    """Map value of a state object: `{"blind":"<hex>","object":<canonical JSON object>}`; canonical as a whole."""
    return b'{"blind":"' + blind.hex().encode("ascii") + b'","object":' + object_bytes + b"}"


def parse_object_value(value: bytes) -> tuple[Digest, bytes]:
    """Blind and object bytes of a map value; the object's own JSON is left to the caller.

    Raises `MalformedError`: not of this form, or an object above 4 KiB.
    """
    match = _OBJECT_VALUE.fullmatch(value)
    if match is None:
        raise MalformedError("state-value", "not a blinded state object", size=len(value))
    object_bytes = match[2]
    if len(object_bytes) > STATE_OBJECT_BYTES_MAX:
        raise MalformedError("state-value", "state object too large", size=len(object_bytes))
    return Digest(bytes.fromhex(match[1].decode("ascii"))), object_bytes
