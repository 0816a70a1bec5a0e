"""libsodium's equation against OpenSSL's: one answer for every signature that passes our own checks, whatever its making."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.core import ed25519_points as points
from ledger.core import keys
from tests.unit.core.samples import signer

pytest.importorskip("nacl")

BASE = points.decompress((4 * pow(5, -1, points.P) % points.P).to_bytes(32, "little"))
TORSION = [points.decompress(encoded) for encoded in sorted(points.SMALL_ORDER)]
SEED = bytes(range(32))
HALF = hashlib.sha512(SEED).digest()[:32]
SCALAR = int.from_bytes(HALF, "little") & ((1 << 254) - 8) | 1 << 254
PUBLIC = keys.Ed25519Signer(SEED).public
SODIUM, OPENSSL = keys._sodium(), keys._holds_openssl


def made(message: bytes, nonce: int, torsion: int, off: int) -> bytes:
    """A signature whose R carries a point of small order and whose S is off by so much; 0 and 0: a good one."""
    neutral = points.is_neutral(TORSION[torsion])
    plain = points.multiply(nonce, BASE)
    r = points.compress(plain if neutral else points.add(plain, TORSION[torsion]))
    challenge = int.from_bytes(hashlib.sha512(r + PUBLIC.raw + message).digest(), "little")
    return r + ((nonce + challenge * SCALAR + off) % points.L).to_bytes(32, "little")


def both(raw: bytes, message: bytes, signature: bytes) -> bool:
    """What both say, where our own checks leave it to them; False where these refuse."""
    if keys._refusal(signature) is not None:
        return False
    answer = OPENSSL(raw, message, signature)
    assert SODIUM(raw, message, signature) is answer
    return answer


def test_the_fast_one_is_in_use() -> None:
    """Where libsodium is installed and is not of the kind that multiplies by the cofactor, it is what verifies."""
    assert keys.is_cofactorless(OPENSSL)
    assert (keys._equation() is not OPENSSL) is keys.is_cofactorless(SODIUM)
    assert not keys.is_cofactorless(lambda *_: True)
    assert not keys.is_cofactorless(lambda *_: False)


@pytest.mark.parametrize("torsion", range(8))
def test_a_part_of_small_order_in_r(torsion: int) -> None:
    """SPEC R-K02: only the cofactored equation holds for such a signature, and none of ours accepts it."""
    for nonce in range(1, 9):
        assert both(PUBLIC.raw, b"m", made(b"m", nonce, torsion, 0)) is points.is_neutral(TORSION[torsion])


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=80),
    st.integers(1, points.L - 1),
    st.integers(0, 7),
    st.sampled_from((0, 0, 1, -1, 8)),
)
def test_made_signatures(message: bytes, nonce: int, torsion: int, off: int) -> None:
    """Good ones, ones that are off, and ones with a part of small order."""
    answer = both(PUBLIC.raw, message, made(message, nonce, torsion, off))
    assert answer is (off == 0 and points.is_neutral(TORSION[torsion]))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80), st.integers(0, 511), st.booleans())
def test_flipped_bits(message: bytes, bit: int, flip: bool) -> None:
    """A good signature with one bit changed, or none."""
    one = signer(5)
    signature = bytearray(one.sign(message))
    if flip:
        signature[bit // 8] ^= 1 << bit % 8
    assert both(one.public.raw, message, bytes(signature)) is not flip


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80), st.binary(min_size=64, max_size=64), st.booleans())
def test_any_bytes(message: bytes, signature: bytes, reduced: bool) -> None:
    """Random bytes as a signature, also with an S below L and an R that is no point of the curve."""
    if reduced:
        number = int.from_bytes(signature[32:], "little") % points.L
        signature = signature[:32] + number.to_bytes(32, "little")
    assert both(PUBLIC.raw, message, signature) is False


@pytest.mark.parametrize("r", [0, 1, 2, points.P - 1, points.P, points.P + 1, 2**255 - 1])
@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("s", [0, 1, points.L - 1, points.L, points.L + 1, 2**256 - 1])
def test_edges(r: int, sign: int, s: int) -> None:
    """R and S at every edge: zero, small order, not reduced."""
    signature = (r | sign << 255).to_bytes(32, "little") + s.to_bytes(32, "little")
    assert both(PUBLIC.raw, b"edge", signature) is False


def test_keys_and_messages_that_do_not_belong() -> None:
    """Another message, another key, an empty message and a long one."""
    one, other = signer(1), signer(2)
    for message in (b"", b"a", bytes(200_000)):
        signature = one.sign(message)
        assert both(one.public.raw, message, signature)
        assert not both(one.public.raw, message + b"x", signature)
        assert not both(other.public.raw, message, signature)
