"""SHA-256 with one registry of domain tags. Every tagged hash shows its preimage where it is computed.

Untagged by design (SPEC): H(head), H(body), key_id, H(genesis), RFC 6962 leaves and nodes.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, NewType

from ledger.errors import MalformedError

Digest = NewType("Digest", bytes)
"""32 bytes of SHA-256."""

DIGEST_BYTES: Final = 32
ZERO_DIGEST: Final = Digest(bytes(DIGEST_BYTES))

TAGS: Final = {
    name: f"suyuan/{name}/v1\0".encode("ascii")
    for name in (
        "event", "commitment", "submission", "key", "genesis-key", "mapkey", "mapvalue", "blind",
        "bucket", "config", "app", "rulebook", "finding", "proposal",
    )
}  # fmt: skip

TAG_EVENT: Final = TAGS["event"]
TAG_COMMITMENT: Final = TAGS["commitment"]
TAG_SUBMISSION: Final = TAGS["submission"]
TAG_KEY: Final = TAGS["key"]
TAG_GENESIS_KEY: Final = TAGS["genesis-key"]
TAG_MAPKEY: Final = TAGS["mapkey"]
TAG_MAPVALUE: Final = TAGS["mapvalue"]
TAG_BLIND: Final = TAGS["blind"]
TAG_BUCKET: Final = TAGS["bucket"]
TAG_CONFIG: Final = TAGS["config"]
TAG_APP: Final = TAGS["app"]
TAG_RULEBOOK: Final = TAGS["rulebook"]
TAG_FINDING: Final = TAGS["finding"]
TAG_PROPOSAL: Final = TAGS["proposal"]


_HEX_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII).fullmatch


def sha256(data: bytes) -> Digest:
    """SHA-256 of `data`."""
    return Digest(hashlib.sha256(data).digest())


def lp(data: bytes) -> bytes:
    """`data` behind its length as u16 big-endian."""
    if len(data) > 0xFFFF:
        raise MalformedError("length-prefix", "longer than 65535 bytes", size=len(data))
    return len(data).to_bytes(2, "big") + data


def u32(value: int) -> bytes:
    """`value` as u32 big-endian."""
    return value.to_bytes(4, "big")


def u64(value: int) -> bytes:
    """`value` as u64 big-endian."""
    return value.to_bytes(8, "big")


def parse_hex_digest(text: object) -> Digest:
    """A digest from 64 lower-case hex characters; `MalformedError` otherwise."""
    if type(text) is not str or _HEX_DIGEST(text) is None:
        raise MalformedError("digest", "expected 64 lower-case hex characters", got=text)
    return Digest(bytes.fromhex(text))
