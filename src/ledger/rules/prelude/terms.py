"""Decides when a term ends: working days, natural days, hours, months and years in the zone of the rulebook.

Rules: day 0 is the day of the start in the zone and is not counted (Civil Code Art. 201); day n ends at 24:00, so `due`
is the first millisecond of the day after it, and an act recorded before `due` is in time. Days, months and years whose
last day is off end with the next working day (Art. 203); working days never need that; hours run by the clock.
Outside the calendars Monday to Friday count, and the term is provisional. A term is opaque to rules: it goes into `due=`.
Never here: any clock.
"""

from __future__ import annotations

from typing import Any

from ledger.rules.prelude.guards import _number

_ZONE_MS = 28_800_000
_CALENDAR: list[Any] = [0, -1, []]  # first day, last day (numbers since 1970-01-01), days that are worked, ascending

# --- program text ---
_DAY = 86400000
_COUNTS: list[int] = []  # worked days up to and including each day of the calendars


def _load_calendar() -> None:
    worked = _CALENDAR[2]
    position = 0
    for day in range(_CALENDAR[0], _CALENDAR[1] + 1):
        if position < len(worked) and worked[position] == day:
            position += 1
        _COUNTS.append(position)


def _day_of(ms: int) -> int:
    return (ms + _ZONE_MS) // _DAY


def _end_of(day: int) -> int:
    return (day + 1) * _DAY - _ZONE_MS


def _is_worked(day: int) -> bool:
    first, last = _CALENDAR[0], _CALENDAR[1]
    if day < first or day > last:
        return bool((day + 3) % 7 < 5)
    index = day - first
    return bool(_COUNTS[index] > (_COUNTS[index - 1] if index else 0))


def _weekday_after(day: int, count: int) -> int:
    weeks = (count - 1) // 5
    day += 7 * weeks
    count -= 5 * weeks
    while count > 0:
        day += 1
        if (day + 3) % 7 < 5:
            count -= 1
    return day


def _working_day(start: int, count: int) -> list[Any]:
    # [day number of the count-th working day after `start`, whether the calendars did not cover the way there]
    if count == 0:
        return [start, False]
    first, last = _CALENDAR[0], _CALENDAR[1]
    if start < first - 1 or start > last:
        return [_weekday_after(start, count), True]
    reached = (_COUNTS[start - first] if start >= first else 0) + count
    if reached <= len(_CALENDAR[2]):
        return [_CALENDAR[2][reached - 1], False]
    return [_weekday_after(last, reached - len(_CALENDAR[2])), True]


def _date_of(day: int) -> list[int]:
    # Proleptic Gregorian; the year begins in March, so that the leap day comes last.
    era = (day + 719468) // 146097
    rest = (day + 719468) % 146097
    year = (rest - rest // 1460 + rest // 36524 - rest // 146096) // 365
    rest -= 365 * year + year // 4 - year // 100
    month = (5 * rest + 2) // 153
    return [
        year + era * 400 + (1 if month >= 10 else 0),
        month + 3 if month < 10 else month - 9,
        rest - (153 * month + 2) // 5 + 1,
    ]


def _day_number(year: int, month: int, day: int) -> int:
    shifted = year - (1 if month <= 2 else 0)
    return (
        shifted * 365
        + shifted // 4
        - shifted // 100
        + shifted // 400
        + (153 * ((month + 9) % 12) + 2) // 5
        + day
        - 719469
    )


def _month_days(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


def _months_after(day: int, count: int) -> int:
    date = _date_of(day)
    month = date[0] * 12 + date[1] - 1 + count
    year = month // 12
    month = month % 12 + 1
    return _day_number(year, month, min(date[2], _month_days(year, month)))


def _due(unit: str, count: int, since: int) -> list[Any]:
    # [first millisecond after the term, provisional]
    if unit == "hours":
        return [_number(since + count * 3600000), False]
    start = _day_of(since)
    if unit == "working_days":
        found = _working_day(start, count)
        return [_end_of(found[0]), found[1]]
    day = start + count if unit == "natural_days" else _months_after(start, count)
    last = day
    while not _is_worked(last):
        last += 1
    return [_end_of(last), last > _CALENDAR[1] or day < _CALENDAR[0]]


def _term(unit: str, env: Any, count: Any, since: Any) -> Any:
    start = env["now"] if since is None else since
    if type(count) is not int or type(start) is not int or count < 0 or count > 100000:
        raise TypeError("type")
    found = _due(unit, count, start)
    return ("term", unit, count, start, found[0], found[1])


def working_days(env: Any, count: Any, since: Any = None) -> Any:
    """A term of `count` working days 工作日 after `since` (unix ms; default: the record time `env.now`)."""
    return _term("working_days", env, count, since)


def natural_days(env: Any, count: Any, since: Any = None) -> Any:
    """A term of `count` days; when the last one is off, it ends with the next working day (Civil Code Art. 203)."""
    return _term("natural_days", env, count, since)


def hours(env: Any, count: Any, since: Any = None) -> Any:
    """A term of `count` hours by the clock; never mixed with days."""
    return _term("hours", env, count, since)


def months(env: Any, count: Any, since: Any = None) -> Any:
    """A term of `count` months: the same day of the month, or its last day where there is none (Art. 202)."""
    return _term("months", env, count, since)


def years(env: Any, count: Any, since: Any = None) -> Any:
    """A term of `count` years: as many times twelve months."""
    if type(count) is not int:
        raise TypeError("type")
    return _term("months", env, count * 12, since)


def ms(text: Any) -> int:
    """Unix ms of a `time` or `date` field of a body; a date means its first moment in the rulebook's zone."""
    if type(text) is not str or (len(text) != 24 and len(text) != 10):
        raise TypeError("type")
    if len(text) == 24:
        return _ms(text)
    start = _MINUTES.get(text)
    if start is None:
        start = _day_number(int(text[:4]), int(text[5:7]), int(text[8:10])) * _DAY - _ZONE_MS
        if len(_MINUTES) >= 1000:
            _MINUTES.clear()
        _MINUTES[text] = start
    return start


_MINUTES: dict[str, int] = {}  # first millisecond of minutes and dates seen; a cache, never an input
_MONTHS: dict[int, str] = {}  # months of days seen; a cache, never an input


def _ms(text: str) -> int:
    minute = text[:16]
    start = _MINUTES.get(minute)
    if start is None:
        if len(_MINUTES) >= 1000:
            _MINUTES.clear()
        start = _day_number(int(text[:4]), int(text[5:7]), int(text[8:10])) * _DAY
        start += int(text[11:13]) * 3600000 + int(text[14:16]) * 60000
        _MINUTES[minute] = start
    return start + int(text[17:19] + text[20:23])


def day(time: Any) -> int:
    """Number of the day (since 1970-01-01) in the zone that holds the moment `time` (unix ms)."""
    if type(time) is not int:
        raise TypeError("type")
    return (time + _ZONE_MS) // _DAY


def month(time: Any) -> str:
    """`YYYY-MM` of the moment `time` (unix ms) in the zone."""
    if type(time) is not int:
        raise TypeError("type")
    today = (time + _ZONE_MS) // _DAY
    found = _MONTHS.get(today)
    if found is None:
        date = _date_of(today)
        found = f"{date[0]:04d}-{date[1]:02d}"
        if len(_MONTHS) >= 1000:
            _MONTHS.clear()
        _MONTHS[today] = found
    return found


def _stamp(time: int, part: str) -> str:
    # What `{day}`, `{month}` and `{year}` in a key template stand for.
    date = _date_of(_day_of(time))
    if part == "year":
        return f"{date[0]:04d}"
    if part == "month":
        return f"{date[0]:04d}-{date[1]:02d}"
    return f"{date[0]:04d}-{date[1]:02d}-{date[2]:02d}"
