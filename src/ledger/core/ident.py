"""Decides what may name a thing or a moment: identifiers, UUIDv7, times and origins, each with exactly one spelling.

Rules (SPEC R-E03, origins R-G02): identifiers are ASCII `[a-z0-9][a-z0-9._:~/-]{0,127}`; UUIDs are lower-case version 7
(RFC 9562); times are `YYYY-MM-DDThh:mm:ss.sssZ`, years 1970 to 9999, real calendar dates, no leap second;
an origin is `<name>/<64 hex>` and so binds the genesis.
Not here: whether the thing exists, any clock and any randomness.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from ledger.core.hashing import Digest
from ledger.errors import MalformedError
from ledger.limits import IDENTIFIER_CHARS_MAX

# The spellings as regular expressions without groups, for those who match whole documents.
IDENTIFIER: Final = rf"[a-z0-9][a-z0-9._:~/-]{{0,{IDENTIFIER_CHARS_MAX - 1}}}"
UUID7: Final = "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
DAY: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
TIME_OF_DAY: Final = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z"

_IDENTIFIER: Final = re.compile(IDENTIFIER).fullmatch
_UUID7: Final = re.compile(UUID7).fullmatch
_TIME: Final = re.compile(f"{DAY}T{TIME_OF_DAY}").fullmatch
_ORIGIN: Final = re.compile(f"{IDENTIFIER}/[0-9a-f]{{64}}").fullmatch

_DAY_MS: Final = 86_400_000
TIME_MS_MAX: Final = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z, the last moment of a four-digit year


def check_identifier(text: object, what: str) -> str:
    """`text` when it is an identifier; `MalformedError` (code `identifier`) naming `what` otherwise."""
    if type(text) is not str or not _IDENTIFIER(text):
        raise MalformedError("identifier", f"{what} is no identifier", what=what, got=text)
    return text


def check_uuid7(text: object, what: str) -> str:
    """`text` when it is a lower-case UUID of version 7 and variant 10; `MalformedError` (code `uuid7`) otherwise."""
    if type(text) is not str or not _UUID7(text):
        raise MalformedError("uuid7", f"{what} is no lower-case UUIDv7", what=what, got=text)
    return text


def uuid7_time(text: str) -> int:
    """The Unix milliseconds inside a checked UUIDv7 (RFC 9562, section 5.7)."""
    return int(text[:8] + text[9:13], 16)


def uuid7_at(ms: int, random10: bytes) -> str:
    """The UUIDv7 of Unix milliseconds `ms` with 74 of the 80 bits of `random10`; randomness is the caller's."""
    if not 0 <= ms < 1 << 48 or len(random10) != 10:
        raise MalformedError("uuid7", "time or randomness out of range", ms=ms, random_bytes=len(random10))
    tail = int.from_bytes(random10, "big")
    # unix_ts_ms(48) | ver=7(4) | rand_a(12) | var=2(2) | rand_b(62)
    value = ms << 80 | 0x7 << 76 | (tail >> 68 & 0xFFF) << 64 | 0x2 << 62 | tail & (1 << 62) - 1
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def parse_time(text: object) -> int:
    """Unix milliseconds of a time in the one accepted spelling; `MalformedError` (code `time`) otherwise."""
    if type(text) is not str or not _TIME(text):
        raise MalformedError("time", "time is not YYYY-MM-DDThh:mm:ss.sssZ", got=text)
    seconds = int(text[11:13]) * 3600 + int(text[14:16]) * 60 + int(text[17:19])
    return day_number(text[:10]) * _DAY_MS + seconds * 1000 + int(text[20:23])


def format_time(ms: int) -> str:
    """The one spelling of Unix milliseconds `ms` (0 to the end of year 9999); `MalformedError` outside."""
    if type(ms) is not int or not 0 <= ms <= TIME_MS_MAX:
        raise MalformedError("time", "outside the years 1970 to 9999", got=ms)
    day, rest = divmod(ms, _DAY_MS)
    minutes, seconds_ms = divmod(rest, 60_000)
    seconds, millis = divmod(seconds_ms, 1000)
    return f"{_date_of_day(day)}T{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}.{millis:03d}Z"


def check_origin(text: object) -> str:
    """`text` when it has the form of an origin; `MalformedError` (code `origin`) otherwise."""
    if type(text) is not str or not _ORIGIN(text):
        raise MalformedError("origin", "origin is not <name>/<64 hex>", got=text)
    return text


def origin_of(name: str, genesis_hash: Digest) -> str:
    """The origin of the network `name` whose genesis bytes hash to `genesis_hash`: pinning one pins the other."""
    return f"{check_identifier(name, 'name')}/{genesis_hash.hex()}"


# Proleptic Gregorian arithmetic with the year beginning in March, so that the leap day comes last.
@lru_cache(maxsize=1024)
def day_number(date: str) -> int:
    """Days since 1970-01-01 of a date of the right shape; `MalformedError` when the calendar has no such day."""
    year, month, day = int(date[:4]), int(date[5:7]), int(date[8:])
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    lengths = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    if year < 1970 or not 1 <= month <= 12 or not 1 <= day <= lengths[month - 1]:
        raise MalformedError("time", "no such day, or before 1970", got=date)
    shifted = year - (month <= 2)
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return shifted * 365 + shifted // 4 - shifted // 100 + shifted // 400 + day_of_year - 719_468


@lru_cache(maxsize=1024)
def _date_of_day(number: int) -> str:
    era, day_of_era = divmod(number + 719_468, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_index = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month_index + 2) // 5 + 1
    month = month_index + 3 if month_index < 10 else month_index - 9
    year = era * 400 + year_of_era + (month <= 2)
    return f"{year:04d}-{month:02d}-{day:02d}"
