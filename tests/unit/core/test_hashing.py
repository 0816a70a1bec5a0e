"""Tagged hashes: one registry, no tag a prefix of another, lengths that fit."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import pytest

from ledger.core import hashing
from ledger.errors import MalformedError


def test_tags_are_prefix_free() -> None:
    """No tag begins another, so no two tagged preimages can be equal."""
    assert len(hashing.TAGS) == 14
    for a, b in itertools.permutations(hashing.TAGS.values(), 2):
        assert not b.startswith(a)
    for name, tag in hashing.TAGS.items():
        assert tag == b"suyuan/" + name.encode() + b"/v1\0"


def test_lengths_are_two_bytes_big_endian() -> None:
    """lp takes up to 65,535 bytes and refuses more; integers are big-endian."""
    assert hashing.lp(b"") == b"\0\0"
    assert hashing.lp(b"ab") == b"\0\2ab"
    assert hashing.lp(bytes(65535))[:2] == b"\xff\xff"
    with pytest.raises(MalformedError) as caught:
        hashing.lp(bytes(65536))
    assert caught.value.code == "length-prefix"
    assert (hashing.u32(1), hashing.u64(258)) == (b"\0\0\0\1", b"\0\0\0\0\0\0\1\2")


def test_digests_from_hex() -> None:
    """Exactly 64 lower-case hex characters make a digest."""
    digest = hashing.sha256(b"x")
    assert digest == hashlib.sha256(b"x").digest()
    assert hashing.parse_hex_digest(digest.hex()) == digest


@pytest.mark.parametrize(
    "text", ["", "ab" * 31, "ab" * 33, "AB" * 32, "zz" * 32, "ab" * 31 + "a\n", None, 1, b"ab" * 32]
)
def test_other_spellings_of_digests_are_refused(text: Any) -> None:
    """Upper case, other lengths and other types are refused."""
    with pytest.raises(MalformedError) as caught:
        hashing.parse_hex_digest(text)
    assert caught.value.code == "digest"
