"""Identifiers, UUIDs, times and origins: exactly one spelling each."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.core import ident
from ledger.core.hashing import ZERO_DIGEST
from ledger.errors import MalformedError

UUID = "0192f5c2-0000-7abc-bdef-0123456789ab"


@pytest.mark.parametrize(
    "text", ["a", "0", "ga/hukou", "t:9f.x_y~z-", "a" * 128, "ga/0192f5c2-0000-7abc-bdef-0123456789ab"]
)
def test_identifiers_accepted(text: str) -> None:
    """Lower-case names with the allowed marks, up to 128 characters, come back unchanged."""
    assert ident.check_identifier(text, "x") is text


@pytest.mark.parametrize(
    "text", ["", "A", "-a", "/a", ".", "a b", "a\n", "é", "a+b", "a" * 129, "a\0", 1, None, b"a", ["a"]]
)
def test_identifiers_refused(text: Any) -> None:
    """Everything else is refused, and the error says what was meant."""
    with pytest.raises(MalformedError) as caught:
        ident.check_identifier(text, "member")
    assert caught.value.code == "identifier"
    assert caught.value.evidence == {"what": "member", "got": text}


def test_uuid7_spelling() -> None:
    """Only lower-case UUIDs of version 7 and variant 10 pass, and their time can be read."""
    assert ident.check_uuid7(UUID, "id") is UUID
    assert ident.uuid7_time(UUID) == 0x0192F5C20000
    for bad in (
        UUID.upper(),
        UUID.replace("-7", "-4", 1),
        UUID[:19] + "c" + UUID[20:],
        UUID[:19] + "7" + UUID[20:],
        UUID.replace("-", ""),
        UUID + "\n",
        "{" + UUID + "}",
        "",
        7,
    ):
        with pytest.raises(MalformedError) as caught:
            ident.check_uuid7(bad, "id")
        assert caught.value.code == "uuid7"


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_uuid7_at_keeps_time_and_randomness(ms: int, random10: bytes) -> None:
    """A made UUID passes the check, carries its time, and differs when any of its 74 random bits differ."""
    made = ident.uuid7_at(ms, random10)
    assert ident.check_uuid7(made, "id") == made
    assert ident.uuid7_time(made) == ms
    tail = int.from_bytes(random10, "big")
    number = int(made.replace("-", ""), 16)
    assert number >> 64 & 0xFFF == tail >> 68
    assert number & (1 << 62) - 1 == tail & (1 << 62) - 1


@pytest.mark.parametrize(("ms", "random10"), [(-1, bytes(10)), (2**48, bytes(10)), (0, bytes(9)), (0, bytes(11))])
def test_uuid7_at_refuses_what_does_not_fit(ms: int, random10: bytes) -> None:
    """Times beyond 48 bits and other lengths of randomness are refused."""
    with pytest.raises(MalformedError):
        ident.uuid7_at(ms, random10)


@given(st.integers(0, ident.TIME_MS_MAX))
def test_times_round_trip_as_the_calendar_has_them(ms: int) -> None:
    """Formatting and parsing invert each other and agree with the standard library's calendar."""
    text = ident.format_time(ms)
    assert ident.parse_time(text) == ms
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=ms)
    assert text == moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def test_every_day_of_four_centuries() -> None:
    """Each day from 1970 to 2399 has the number and name that the standard library gives it."""
    first = dt.date(1970, 1, 1).toordinal()
    parse, name = ident.day_number.__wrapped__, ident._date_of_day.__wrapped__  # no use for the caches here
    for number in range(dt.date(2399, 12, 31).toordinal() - first + 1):
        day = dt.date.fromordinal(first + number).isoformat()
        assert parse(day) == number
        assert name(number) == day


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-29T00:00:00.000Z",
        "2100-02-29T00:00:00.000Z",
        "2026-04-31T00:00:00.000Z",
        "2026-00-10T00:00:00.000Z",
        "2026-13-10T00:00:00.000Z",
        "2026-01-00T00:00:00.000Z",
        "1969-12-31T23:59:59.999Z",
        "0000-01-01T00:00:00.000Z",
        "2026-01-01T24:00:00.000Z",
        "2026-01-01T23:60:00.000Z",
        "2026-01-01T23:59:60.000Z",
        "2026-01-01T23:59:59Z",
        "2026-01-01T23:59:59.00Z",
        "2026-01-01T23:59:59.0000Z",
        "2026-01-01T23:59:59.000z",
        "2026-01-01t23:59:59.000Z",
        "2026-01-01 23:59:59.000Z",
        "2026-01-01T23:59:59.000+00:00",
        "2026-01-01T23:59:59.000Z\n",
        "10000-01-01T00:00:00.000Z",
        "٢٠٢٦-01-01T00:00:00.000Z",
        "",
        None,
        1,
    ],
)
def test_times_refused(text: Any) -> None:
    """Other spellings, days that no calendar has, leap seconds and years before 1970 are refused."""
    with pytest.raises(MalformedError) as caught:
        ident.parse_time(text)
    assert caught.value.code == "time"


def test_leap_days_accepted() -> None:
    """29 February exists in 2028 and 2000."""
    assert ident.format_time(ident.parse_time("2028-02-29T12:00:00.001Z")) == "2028-02-29T12:00:00.001Z"
    assert ident.parse_time("2000-02-29T00:00:00.000Z") == 951_782_400_000


@pytest.mark.parametrize("ms", [-1, ident.TIME_MS_MAX + 1, 1.0, True, None])
def test_format_time_refuses_what_has_no_spelling(ms: Any) -> None:
    """Moments outside the years 1970 to 9999, and values that are no integers, have no spelling."""
    with pytest.raises(MalformedError):
        ident.format_time(ms)


def test_origins() -> None:
    """An origin is a name and the hash of the genesis; anything else is refused."""
    origin = ident.origin_of("gov.example/share", ZERO_DIGEST)
    assert origin == "gov.example/share/" + "0" * 64
    assert ident.check_origin(origin) is origin
    for bad in (
        "",
        "a",
        "/" + "0" * 64,
        "A/" + "0" * 64,
        "a/" + "0" * 63,
        "a/" + "A" * 64,
        "a/" + "0" * 64 + "\n",
        "a b/" + "0" * 64,
        1,
    ):
        with pytest.raises(MalformedError) as caught:
            ident.check_origin(bad)
        assert caught.value.code == "origin"
    with pytest.raises(MalformedError):
        ident.origin_of("A", ZERO_DIGEST)
