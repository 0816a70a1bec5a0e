"""Ed25519 keys and signatures: RFC 8032's vectors, and everything on which implementations are known to differ."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.core import ed25519_points as points
from ledger.core import keys
from ledger.core.hashing import ZERO_DIGEST
from ledger.errors import MalformedError, VerificationError
from tests.unit.core.samples import ORIGIN, assert_each_refused, signer

# RFC 8032 section 7.1: seed, public key, message, signature (tests 1, 2, 3 and SHA(abc)).
RFC8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]

BASE = points.decompress((4 * pow(5, -1, points.P) % points.P).to_bytes(32, "little"))
TORSION = [points.decompress(encoded) for encoded in sorted(points.SMALL_ORDER)]


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC8032)
def test_rfc_8032(seed: str, public: str, message: str, signature: str) -> None:
    """The RFC's keys and signatures are made and accepted."""
    made = keys.Ed25519Signer(bytes.fromhex(seed))
    assert made.public.raw.hex() == public
    assert made.sign(bytes.fromhex(message)).hex() == signature
    keys.parse_public_key(keys.ED25519, bytes.fromhex(public)).verify(bytes.fromhex(message), bytes.fromhex(signature))


def test_key_id_covers_algorithm_and_key() -> None:
    """key_id is SHA-256 over the algorithm byte and the raw key, whole."""
    public = signer(1).public
    assert public.key_id == hashlib.sha256(b"\x01" + public.raw).digest()
    assert keys.key_id_of(2, public.raw) != public.key_id
    assert public == keys.parse_public_key(1, public.raw)
    assert hash(public) == hash(keys.parse_public_key(1, public.raw))


def test_small_order_points_are_all_eight() -> None:
    """The listed encodings are the eight points that eight times anything is neutral for, and no others."""
    generator = points.decompress(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"))
    assert {points.compress(points.multiply(factor, generator)) for factor in range(8)} == points.SMALL_ORDER
    assert not points.is_neutral(points.multiply(4, generator))
    assert points.is_neutral(points.multiply(8, generator))


def test_base_point() -> None:
    """The RFC's base point has order L; its multiples are what the library derives from seeds."""
    assert points.has_prime_order(BASE)
    digest = hashlib.sha512(bytes.fromhex(RFC8032[0][0])).digest()
    scalar = int.from_bytes(digest[:32], "little") & ((1 << 254) - 8) | 1 << 254
    assert points.compress(points.multiply(scalar, BASE)).hex() == RFC8032[0][1]


def bad_public_keys() -> dict[str, bytes]:
    """Keys that some verifier somewhere accepts, by the reason to refuse them."""
    found = {f"small order {encoded.hex()[:8]}": encoded for encoded in sorted(points.SMALL_ORDER)}
    for y in range(19):  # p + y still fits 255 bits: the same point under a second name
        for sign in (0, 1):
            found[f"not reduced p+{y} sign {sign}"] = (points.P + y | sign << 255).to_bytes(32, "little")
    found["minus zero, y=1"] = (1 | 1 << 255).to_bytes(32, "little")
    found["minus zero, y=-1"] = (points.P - 1 | 1 << 255).to_bytes(32, "little")
    found["not on the curve"] = (2).to_bytes(32, "little")
    for number, torsion in enumerate(TORSION):
        mixed = points.add(points.decompress(signer(1).public.raw), torsion)
        if not points.is_neutral(torsion):
            found[f"mixed order {number}"] = points.compress(mixed)
    found["short"] = signer(1).public.raw[:31]
    found["long"] = signer(1).public.raw + b"\0"
    found["empty"] = b""
    return found


@pytest.mark.parametrize("raw", bad_public_keys().values(), ids=bad_public_keys())
def test_bad_public_keys_are_refused(raw: bytes) -> None:
    """Non-canonical keys, points off the curve, of small or of mixed order are refused at registration."""
    with pytest.raises(MalformedError) as caught:
        keys.parse_public_key(keys.ED25519, raw)
    assert caught.value.code == "public-key"


@pytest.mark.parametrize("algorithm", [0, 2, 3, 255, -1, 256])
def test_unknown_algorithms_are_refused(algorithm: int) -> None:
    """A key of an algorithm number that is not built is refused, not guessed at."""
    with pytest.raises(MalformedError) as caught:
        keys.parse_public_key(algorithm, signer(1).public.raw)
    assert caught.value.code == "public-key"


@given(st.binary(min_size=32, max_size=32))
@settings(max_examples=60)
def test_points_agree_with_the_library(raw: bytes) -> None:
    """Whatever we accept as a key the library accepts, and compress inverts decompress."""
    point = points.decompress(raw)
    if point is not None:
        assert points.compress(point) == raw
        Ed25519PublicKey.from_public_bytes(raw)
        assert points.compress(points.add(point, points.NEUTRAL)) == raw


def test_every_broken_signature_is_refused() -> None:
    """Each flipped byte, truncation and appended byte of a signature is refused, and so is another message."""
    public = signer(1).public
    good = signer(1).sign(b"message")
    assert_each_refused(good, lambda sig: public.verify(b"message", sig), VerificationError)
    for message, key in ((b"messagf", public), (b"", public), (b"message", signer(2).public)):
        with pytest.raises(VerificationError) as caught:
            key.verify(message, good)
        assert caught.value.code == "signature"
        assert caught.value.evidence["key_id"] == key.key_id


def test_malleable_signatures_are_refused() -> None:
    """S + L verifies in the plain equation but is refused for not being reduced."""
    public = signer(1).public
    good = signer(1).sign(b"message")
    s = int.from_bytes(good[32:], "little")
    for factor in range(1, 16):
        if s + factor * points.L >= 1 << 256:
            break
        with pytest.raises(VerificationError, match="S is not reduced"):
            public.verify(b"message", good[:32] + (s + factor * points.L).to_bytes(32, "little"))


def test_r_of_small_order_or_not_canonical_is_refused() -> None:
    """A key holder can sign with R neutral (S = k*a); such signatures, and R by a second name, are refused."""
    seed = hashlib.sha256(b"key 1").digest()
    digest = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(digest[:32], "little") & ((1 << 254) - 8) | 1 << 254
    public = signer(1).public
    r = points.compress(points.NEUTRAL)
    k = int.from_bytes(hashlib.sha512(r + public.raw + b"message").digest(), "little")
    forged = r + (k * scalar % points.L).to_bytes(32, "little")
    Ed25519PublicKey.from_public_bytes(public.raw).verify(forged, b"message")  # the plain equation holds
    with pytest.raises(VerificationError, match="small order"):
        public.verify(b"message", forged)
    for encoded in points.SMALL_ORDER:
        with pytest.raises(VerificationError, match="small order"):
            public.verify(b"message", encoded + forged[32:])
    for y in (points.P, points.P + 1, 1 | 1 << 255):
        with pytest.raises(VerificationError, match="R is not canonical"):
            public.verify(b"message", y.to_bytes(32, "little") + forged[32:])


@pytest.mark.parametrize("seed", [b"", bytes(31), bytes(33)])
def test_seeds_have_32_bytes(seed: bytes) -> None:
    """Another length of seed is refused."""
    with pytest.raises(MalformedError):
        keys.Ed25519Signer(seed)


def test_registration_messages_byte_for_byte() -> None:
    """Registrations are signed over tag, place, member and use, and genesis ones can never pass for later ones."""
    place = ("demo/" + "0" * 64).encode()
    tail = b"\x00\x02ga\x00\x05event"
    assert keys.registration_message(place.decode(), "ga", keys.EVENT) == b"suyuan/key/v1\0\x00\x45" + place + tail
    message = keys.genesis_registration_message("demo", ZERO_DIGEST, "ga", keys.EVENT)
    assert message == b"suyuan/genesis-key/v1\0\x00\x45" + place + tail
    assert len({keys.registration_message(ORIGIN, "ga", use) for use in keys.USES}) == 6


@pytest.mark.parametrize("use", ["", "EVENT", "sign", None, 1, ["event"]])
def test_unknown_uses_are_refused(use: Any) -> None:
    """A key serves one of the six uses."""
    with pytest.raises(MalformedError) as caught:
        keys.registration_message(ORIGIN, "ga", use)
    assert caught.value.code == "key-use"


def test_only_32_bytes_decompress() -> None:
    """The point arithmetic refuses other lengths and unreduced coordinates on its own."""
    for encoded in (b"", bytes(31), bytes(33), points.P.to_bytes(32, "little"), (2).to_bytes(32, "little")):
        assert points.decompress(encoded) is None


def test_without_libsodium_or_with_one_that_differs_openssl_verifies(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC R-K02: libsodium may only be quicker; where it is missing or accepts what OpenSSL refuses, it is not asked."""

    def missing() -> keys.Equation:
        raise ImportError

    choose = keys._equation.__wrapped__
    monkeypatch.setattr(keys, "_sodium", missing)
    assert choose() is keys._holds_openssl
    monkeypatch.setattr(keys, "_sodium", lambda: lambda *_: True)
    assert choose() is keys._holds_openssl
    monkeypatch.setattr(keys, "_sodium", lambda: keys._holds_openssl)
    assert choose() is keys._holds_openssl
    one = signer(3)
    monkeypatch.setattr(keys, "_equation", lambda: keys._holds_openssl)
    one.public.verify(b"m", one.sign(b"m"))
    with pytest.raises(VerificationError):
        one.public.verify(b"n", one.sign(b"m"))
