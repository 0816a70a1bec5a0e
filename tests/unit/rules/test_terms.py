"""When a term ends: the vectors of the law's working days, an independent calendar, months, hours, and what is provisional."""

from __future__ import annotations

import datetime as dt
from typing import Any

import chinese_calendar
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.core.ident import format_time, parse_time
from ledger.errors import MalformedError
from ledger.rules.calendar import merge_calendars, parse_calendar
from tests.unit.rules.books import contract, contract_program

ZONE = dt.timezone(dt.timedelta(hours=8))
FIRST, LAST = dt.date(2025, 1, 1), dt.date(2026, 12, 31)


def term(unit: str, count: int, since: int) -> tuple[int, bool]:
    """(due, provisional) as the program computes it."""
    found: Any = contract_program().namespace[unit]({"now": since}, count)
    return found[4], found[5]


def moment(date: str, clock: str = "09:00:00.000") -> int:
    """Unix ms of a moment in +08:00."""
    return parse_time(f"{date}T{clock}Z") - 8 * 3_600_000


def last_day(due: int) -> str:
    """The day whose end `due` is, in +08:00; the due itself is its first millisecond after."""
    assert format_time(due + 8 * 3_600_000).endswith("T00:00:00.000Z")
    return format_time(due - 1 + 8 * 3_600_000)[:10]


VECTORS = [
    ("2025-09-26", 10, "2025-10-16"),
    ("2025-09-26", 20, "2025-10-30"),
    ("2025-09-30", 1, "2025-10-09"),
    ("2025-12-31", 1, "2026-01-04"),
    ("2026-02-13", 1, "2026-02-14"),
    ("2026-02-13", 10, "2026-03-05"),
    ("2026-09-18", 10, "2026-10-09"),
    ("2026-02-25", 20, "2026-03-24"),
    ("2026-04-30", 5, "2026-05-11"),
]


@pytest.mark.parametrize(("received", "days", "due"), VECTORS)
def test_working_days_of_the_law(received: str, days: int, due: str) -> None:
    """Holidays and make-up weekends count as the State Council's notices say, at any hour of the day of receipt."""
    for clock in ("00:00:00.000", "09:00:00.000", "23:59:59.999"):
        assert term("working_days", days, moment(received, clock)) == (moment(due, "23:59:59.999") + 1, False)


@given(st.dates(FIRST, LAST - dt.timedelta(days=120)), st.integers(0, 60))
def test_working_days_agree_with_an_independent_calendar(start: dt.date, days: int) -> None:
    """PyPI's chinesecalendar, which shares nothing with ours, finds the same last day for every start and count."""
    day = start
    for _ in range(days):
        day += dt.timedelta(days=1)
        while not chinese_calendar.is_workday(day):
            day += dt.timedelta(days=1)
    due, provisional = term("working_days", days, moment(start.isoformat()))
    assert (last_day(due), provisional) == (day.isoformat(), False)


def test_every_day_agrees_with_an_independent_calendar() -> None:
    """The calendar files say of each day of 2025 and 2026 what chinesecalendar says."""
    first, last, worked = merge_calendars(contract()[1], "+08:00")
    assert last - first + 1 == 730
    epoch = dt.date(1970, 1, 1)
    for number in range(first, last + 1):
        day = epoch + dt.timedelta(days=number)
        assert (number in worked) == chinese_calendar.is_workday(day), day


@given(st.dates(dt.date(2024, 1, 1), dt.date(2028, 12, 31)), st.integers(1, 400))
def test_outside_the_calendars_weekdays_count_and_the_term_is_provisional(start: dt.date, days: int) -> None:
    """Where no calendar reaches, Monday to Friday count and the term says that it is provisional."""
    day = start
    covered = FIRST - dt.timedelta(days=1) <= start <= LAST
    for _ in range(days):
        day += dt.timedelta(days=1)
        while not worked(day, use_calendar=covered):
            day += dt.timedelta(days=1)
    due, provisional = term("working_days", days, moment(start.isoformat()))
    assert last_day(due) == day.isoformat()
    assert provisional == (not covered or day > LAST)


def worked(day: dt.date, *, use_calendar: bool = True) -> bool:
    """Whether a day counts, by the independent calendar where it reaches."""
    if use_calendar and FIRST <= day <= LAST:
        return bool(chinese_calendar.is_workday(day))
    return day.weekday() < 5


@pytest.mark.parametrize(
    ("start", "count", "last"),
    [
        ("2026-01-31", 1, "2026-02-28"),  # no 31st: the last day of the month, here a make-up Saturday
        ("2026-01-15", 1, "2026-02-24"),  # the 15th is in the Spring Festival: the next working day
        ("2025-12-31", 2, "2026-02-28"),
        ("2026-03-31", 1, "2026-04-30"),
        ("2026-05-10", 12, "2027-05-10"),
        ("2024-02-29", 12, "2025-02-28"),
        ("2025-11-30", 3, "2026-02-28"),
    ],
)
def test_months(start: str, count: int, last: str) -> None:
    """A month ends on the same day of the month, on its last day where there is none, and never on a day off."""
    assert last_day(term("months", count, moment(start))[0]) == last
    if count % 12 == 0:
        assert term("years", count // 12, moment(start)) == term("months", count, moment(start))


@given(st.dates(dt.date(2025, 1, 1), dt.date(2026, 6, 1)), st.integers(0, 150))
def test_natural_days_end_on_a_worked_day(start: dt.date, days: int) -> None:
    """Natural days count every day; a last day that is off moves on to the next working day, for a zero count too."""
    day = start + dt.timedelta(days=days)
    while not worked(day):
        day += dt.timedelta(days=1)
    assert last_day(term("natural_days", days, moment(start.isoformat()))[0]) == day.isoformat()


def test_hours_run_by_the_clock() -> None:
    """Hours take no notice of days."""
    start = moment("2026-02-14", "23:30:00.000")
    assert term("hours", 4, start) == (start + 4 * 3_600_000, False)


@given(st.dates(dt.date(1970, 1, 1), dt.date(2400, 12, 31)))
def test_dates_of_the_program_are_those_of_the_calendar(day: dt.date) -> None:
    """Day numbers and dates of the prelude agree with the standard library."""
    namespace = contract_program().namespace
    number = (day - dt.date(1970, 1, 1)).days
    assert namespace["_day_number"](day.year, day.month, day.day) == number
    assert namespace["_date_of"](number) == [day.year, day.month, day.day]
    assert namespace["_stamp"](moment(day.isoformat()), "day") == day.isoformat()
    assert namespace["_stamp"](moment(day.isoformat()), "month") == day.isoformat()[:7]
    assert namespace["_stamp"](moment(day.isoformat()), "year") == day.isoformat()[:4]
    assert namespace["month"](moment(day.isoformat())) == day.isoformat()[:7]
    assert namespace["day"](moment(day.isoformat())) == number
    assert namespace["ms"](day.isoformat()) == moment(day.isoformat(), "00:00:00.000")


@given(st.integers(0, 4_000_000_000_000))
def test_times_of_the_program_are_those_of_the_ledger(time: int) -> None:
    """The prelude reads every canonical time as `core.ident` does."""
    assert contract_program().namespace["_ms"](format_time(time)) == time


@pytest.mark.parametrize("count", [-1, True, None, "3", 100_001])
def test_odd_counts_are_a_fault_of_the_rule(count: object) -> None:
    """A count that is no sensible number raises, which becomes the verdict `rule-error`."""
    with pytest.raises(TypeError):
        contract_program().namespace["working_days"]({"now": 0}, count)


GOOD = b'{"off":["2027-01-01"],"source":"x","worked":[],"year":2027,"zone":"+08:00"}'


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"{", b"", "not JSON"),
        (b'"source":"x",', b"", "has exactly"),
        (b"+08:00", b"+09:00", "zone is"),
        (b"2027-01-01", b"2026-01-01", "another year"),
        (b"2027-01-01", b"2027-02-29", "not a date"),
        (b'"worked":[]', b'"worked":["2027-01-01"]', "both off and worked"),
        (b'"worked":[]', b'"worked":["2027-01-04"]', "only weekends"),
        (b'["2027-01-01"]', b'[["2027-01-05","2027-01-01"]]', "first to its last"),
        (b'["2027-01-01"]', b'"2027-01-01"', "not a date"),
        (b"2027,", b'"2027",', "has exactly"),
    ],
)
def test_bad_calendar_is_refused(old: bytes, new: bytes, message: str) -> None:
    """A calendar file is closed, of one year, and says nothing twice."""
    assert parse_calendar("calendars/2027.json", GOOD, "+08:00")[2]
    with pytest.raises(MalformedError) as caught:
        parse_calendar("calendars/2027.json", GOOD.replace(old, new, 1), "+08:00")
    assert message in caught.value.message


def test_years_follow_one_another() -> None:
    """A gap between calendars is refused, because terms would silently count weekdays in it."""
    calendars = contract()[1]
    merge_calendars({**calendars, "calendars/2027.json": GOOD}, "+08:00")
    del calendars["calendars/2026.json"]
    with pytest.raises(MalformedError) as caught:
        merge_calendars({**calendars, "calendars/2027.json": GOOD}, "+08:00")
    assert "follow one another" in caught.value.message
    assert merge_calendars({}, "+08:00") == (0, -1, [])
