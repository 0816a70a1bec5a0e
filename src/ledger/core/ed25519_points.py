"""Decides which 32 bytes are an acceptable Ed25519 point: canonical, on the curve, of prime order.

Rules (RFC 8032, section 5.1; SPEC R-K02): y < p, no "minus zero" x, a square root must exist, and [L]P is the neutral
point while P is not. Plain integers, slow on purpose: it runs once when a key is registered or first read.
Never used for signing or for secrets: nothing here runs in constant time.
"""

from __future__ import annotations

from typing import Final

P: Final = 2**255 - 19
"""The field prime."""

L: Final = 2**252 + 27742317777372353535851937790883648493
"""The order of the base point."""

D: Final = -121665 * pow(121666, -1, P) % P
_SQRT_MINUS_ONE: Final = pow(2, (P - 1) // 4, P)
_Y_MASK: Final = (1 << 255) - 1

Point = tuple[int, int, int, int]
"""Extended homogeneous coordinates (X, Y, Z, T) with x = X/Z, y = Y/Z, x*y = T/Z."""

NEUTRAL: Final[Point] = (0, 1, 1, 0)


def is_canonical(encoded: bytes) -> bool:
    """Whether the y coordinate is reduced and a zero x carries no sign; says nothing about the curve."""
    number = int.from_bytes(encoded, "little")
    y = number & _Y_MASK
    return y < P and not (number >> 255 and y in (1, P - 1))


def decompress(encoded: bytes) -> Point | None:
    """The point of 32 canonical bytes, or None when no point of the curve is encoded so (RFC 8032, 5.1.3)."""
    if len(encoded) != 32 or not is_canonical(encoded):
        return None
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number & _Y_MASK
    # x² = (y² - 1) / (d y² + 1)
    numerator, denominator = (y * y - 1) % P, (D * y * y + 1) % P
    x = numerator * pow(denominator, 3, P) * pow(numerator * pow(denominator, 7, P), (P - 5) // 8, P) % P
    check = denominator * x * x % P
    if check == P - numerator and numerator:
        x = x * _SQRT_MINUS_ONE % P
    elif check != numerator:
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


def compress(point: Point) -> bytes:
    """The canonical 32 bytes of a point (RFC 8032, 5.1.2)."""
    x, y, z, _ = point
    inverse = pow(z, -1, P)
    x, y = x * inverse % P, y * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def add(first: Point, second: Point) -> Point:
    """The sum of two points (RFC 8032, 5.1.4; complete, so it doubles too)."""
    a = (first[1] - first[0]) * (second[1] - second[0]) % P
    b = (first[1] + first[0]) * (second[1] + second[0]) % P
    c = 2 * first[3] * second[3] * D % P
    d = 2 * first[2] * second[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def multiply(scalar: int, point: Point) -> Point:
    """`scalar` times `point`, scalar ≥ 0."""
    total = NEUTRAL
    while scalar:
        if scalar & 1:
            total = add(total, point)
        point = add(point, point)
        scalar >>= 1
    return total


def is_neutral(point: Point) -> bool:
    """Whether the point is (0, 1)."""
    return point[0] % P == 0 and (point[1] - point[2]) % P == 0


def has_prime_order(point: Point) -> bool:
    """Whether the point generates the subgroup of order L: neither of small order nor with a torsion part."""
    return not is_neutral(point) and is_neutral(multiply(L, point))


SMALL_ORDER: Final = frozenset(
    bytes.fromhex(encoded)
    for encoded in (
        "0100000000000000000000000000000000000000000000000000000000000000",  # order 1
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # order 2
        "0000000000000000000000000000000000000000000000000000000000000000",  # order 4, with the next
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",  # order 8, with the next three
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    )
)
"""Canonical encodings of the eight points of small order; no signature's R may be one (a test recomputes them)."""
