"""Decides which public keys and signatures count: Ed25519 with every check that implementations disagree on made first.

Rules (SPEC R-K01 to R-K04): a key names its algorithm by one byte; `key_id = SHA-256(u8 algorithm ‖ raw)`, untagged.
Ed25519 (RFC 8032): the public key is canonical and of prime order; S < L; R is canonical and not of small order; then
the cofactorless equation (OpenSSL's and Go's), so that no two of our nodes can differ about a signature.
libsodium evaluates it in half the time and does so where it is installed and answers as OpenSSL does where libraries differ.
One public key serves one use of one member for ever; a registration is signed by the new key itself.
Not here: key files, randomness, and who may hold a key (see the registry).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.core import ed25519_points
from ledger.core.hashing import TAG_GENESIS_KEY, TAG_KEY, Digest, lp, sha256
from ledger.errors import MalformedError, VerificationError

ED25519: Final = 1
"""Algorithm byte; P-256 is to be 2, SM2 3. Unknown numbers are refused."""

PUBLIC_KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64

EVENT: Final = "event"
COSIGN: Final = "cosign"
LOG: Final = "log"
HTTP: Final = "http"
CONSENSUS: Final = "consensus"
P2P: Final = "p2p"
USES: Final = frozenset((EVENT, COSIGN, LOG, HTTP, CONSENSUS, P2P))


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key that passed every check; building one from bad bytes raises `MalformedError` (code `public-key`)."""

    algorithm: int
    raw: bytes
    key_id: Digest = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if type(self.algorithm) is not int or self.algorithm != ED25519:
            raise MalformedError("public-key", "unknown algorithm", algorithm=self.algorithm)
        _check_ed25519(self.raw)
        object.__setattr__(self, "key_id", key_id_of(self.algorithm, self.raw))

    def verify(self, message: bytes, signature: bytes) -> None:
        """Raise `VerificationError` (code `signature`) unless `signature` is this key's over `message`."""
        reason = _refusal(signature)
        if reason is None:
            if _equation()(self.raw, message, signature):
                return
            reason = "signature does not verify"
        raise VerificationError("signature", reason, key_id=self.key_id, signature=signature)


class Signer(Protocol):
    """Whoever can sign with one key: a key in memory, a token, a service. `sign` never fails silently."""

    @property
    def public(self) -> PublicKey:
        """The key that verifies what `sign` returns."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The signature over `message`, 64 bytes for Ed25519."""
        ...


class Ed25519Signer:
    """A signer from a 32-byte seed (RFC 8032's private key); deterministic, so it needs no randomness."""

    __slots__ = ("_key", "public")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != PUBLIC_KEY_BYTES:
            raise MalformedError("seed", "an Ed25519 seed has 32 bytes", size=len(seed))
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = PublicKey(ED25519, self._key.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """The RFC 8032 signature over `message`."""
        return self._key.sign(message)


def parse_public_key(algorithm: int, raw: bytes) -> PublicKey:
    """The checked key of algorithm byte and raw bytes; `MalformedError` (code `public-key`) otherwise."""
    return PublicKey(algorithm, raw)


def key_id_of(algorithm: int, raw: bytes) -> Digest:
    """The key id of bytes that need not be a good key."""
    # SHA-256(u8 algorithm ‖ raw), untagged by design.
    return sha256(bytes((algorithm,)) + raw)


def node_id(key: PublicKey) -> str:
    """CometBFT's name of the node that holds this p2p key: the first 20 bytes of SHA-256 of the raw key, in hex."""
    return sha256(key.raw)[:20].hex()


def check_use(use: object) -> str:
    """`use` when it is one of the six uses; `MalformedError` (code `key-use`) otherwise."""
    if not isinstance(use, str) or use not in USES:
        raise MalformedError("key-use", "a key serves event, cosign, log, http, consensus or p2p", got=use)
    return use


def registration_message(origin: str, member: str, use: str) -> bytes:
    """What a new key signs to be registered on a running network."""
    # "suyuan/key/v1\0" ‖ lp(origin) ‖ lp(member) ‖ lp(use)
    return TAG_KEY + lp(origin.encode()) + lp(member.encode()) + lp(check_use(use).encode())


def genesis_registration_message(name: str, blank_genesis_hash: Digest, member: str, use: str) -> bytes:
    """What a first member's key signs inside the genesis; the hash is the genesis' with these signatures empty."""
    # "suyuan/genesis-key/v1\0" ‖ lp(name ‖ "/" ‖ hex(hash)) ‖ lp(member) ‖ lp(use)
    place = f"{name}/{blank_genesis_hash.hex()}"
    return TAG_GENESIS_KEY + lp(place.encode()) + lp(member.encode()) + lp(check_use(use).encode())


def _refusal(signature: bytes) -> str | None:
    """Why an Ed25519 signature is refused before any curve arithmetic, or None."""
    if len(signature) != SIGNATURE_BYTES:
        return "signature has not 64 bytes"
    if int.from_bytes(signature[32:], "little") >= ed25519_points.L:
        return "S is not reduced"
    r = signature[:32]
    if not ed25519_points.is_canonical(r):
        return "R is not canonical"
    if r in ed25519_points.SMALL_ORDER:
        return "R is of small order"
    return None


@lru_cache(maxsize=65_536)
def _check_ed25519(raw: bytes) -> None:
    """The expensive checks of a public key, a few milliseconds, remembered per process."""
    if len(raw) != PUBLIC_KEY_BYTES:
        raise MalformedError("public-key", "an Ed25519 key has 32 bytes", size=len(raw))
    if not ed25519_points.is_canonical(raw):
        raise MalformedError("public-key", "not canonical", raw=raw)
    point = ed25519_points.decompress(raw)
    if point is None:
        raise MalformedError("public-key", "not on the curve", raw=raw)
    if not ed25519_points.has_prime_order(point):
        raise MalformedError("public-key", "not of prime order", raw=raw)


# --- the equation ----------------------------------------------------------------------------------------------------

Equation = Callable[[bytes, bytes, bytes], bool]
"""(raw public key, message, signature) → whether the cofactorless equation holds; all prior checks have been made."""

# A key, a signature over `suyuan`, and one that holds only when both sides are multiplied by the cofactor: its R has a
# part of order 8. Some versions of libsodium accept such, and one that does would split the ledger.
_PROBE_KEY: Final = bytes.fromhex("03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8")
_PROBE_GOOD: Final = bytes.fromhex(
    "c839eae2b22226f40d67679cd423f3325c2b605d16b1d368717287a864d6b7a0"
    "3da70a7a2cd53815eebb080a55f8a90d1659c8df0beaa6423e2fd89bc7503206"
)
_PROBE_COFACTORED: Final = bytes.fromhex(
    "1dd960b291c53514fece1341fc0dcd8a648b3934c2c533666f737a654ff1e1bf"
    "33483a94171591c4f56683e604224c7aad382e2e85b9ab18eeb6e8b2b7ceff0f"
)


@lru_cache(maxsize=4_096)
def _handle(raw: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(raw)


def _holds_openssl(raw: bytes, message: bytes, signature: bytes) -> bool:
    try:
        _handle(raw).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _sodium() -> Equation:
    """libsodium's. Raises `ImportError` in the base install."""
    from nacl.bindings import crypto_sign_open
    from nacl.exceptions import BadSignatureError

    def holds(raw: bytes, message: bytes, signature: bytes) -> bool:
        try:
            crypto_sign_open(signature + message, raw)
        except BadSignatureError:
            return False
        return True

    return holds


def is_cofactorless(equation: Equation) -> bool:
    """Whether an implementation answers as ours must where implementations differ once our own checks were made."""
    return equation(_PROBE_KEY, b"suyuan", _PROBE_GOOD) and not equation(_PROBE_KEY, b"suyuan", _PROBE_COFACTORED)


@lru_cache(maxsize=1)
def _equation() -> Equation:
    """The quickest that may be used; chosen with the first signature, for loading libsodium takes 15 ms."""
    try:
        sodium = _sodium()
    except ImportError:
        return _holds_openssl
    return sodium if is_cofactorless(sodium) else _holds_openssl
