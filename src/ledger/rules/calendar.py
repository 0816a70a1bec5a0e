"""Decides which days are worked: yearly calendars of holidays and make-up days, as signed data of the rulebook.

Rules: a calendar file is JSON {"year", "zone", "source", "off": [date or [first, last]], "worked": [date]}; a day is worked
when it is in `worked`, or Monday to Friday and not in `off`. Years must follow one another without a gap.
Never here: counting terms (see the prelude's `terms`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from ledger.core.ident import parse_time
from ledger.errors import MalformedError
from ledger.rules.kinds import refuse

_DAY_MS: Final = 86_400_000
_FIELDS: Final = {"year", "zone", "source", "off", "worked"}


def day_number(file: str, date: object) -> int:
    """Days since 1970-01-01 of a date `YYYY-MM-DD`. Raises `MalformedError`."""
    try:
        return parse_time(f"{date}T00:00:00.000Z") // _DAY_MS
    except MalformedError:
        refuse(file, str(date), "not a date", "YYYY-MM-DD")


def parse_calendar(file: str, data: bytes, zone: str) -> tuple[int, int, list[int]]:
    """First day, last day and the worked days (numbers, ascending) of one calendar file. Raises `MalformedError`."""
    try:
        document: Any = json.loads(data.decode("utf-8", "strict"))
    except ValueError:
        refuse(file, "", "not JSON")
    if not isinstance(document, dict) or set(document) != _FIELDS or type(document["year"]) is not int:
        refuse(file, "", f"a calendar has exactly {', '.join(sorted(_FIELDS))}")
    if document["zone"] != zone:
        refuse(file, "zone", f"the rulebook's zone is {zone}")
    year = document["year"]
    first, last = day_number(file, f"{year}-01-01"), day_number(file, f"{year}-12-31")
    off, worked = _days(file, document["off"]), _days(file, document["worked"])
    if not off | worked <= set(range(first, last + 1)) or off & worked:
        refuse(file, "off", "a day of another year, or both off and worked")
    if any((day + 3) % 7 < 5 for day in worked):
        refuse(file, "worked", "only weekends are made up")
    days = [day for day in range(first, last + 1) if day in worked or ((day + 3) % 7 < 5 and day not in off)]
    return first, last, days


def _days(file: str, entries: object) -> set[int]:
    found: set[int] = set()
    for entry in entries if isinstance(entries, list) else [None]:
        if isinstance(entry, list) and len(entry) == 2:
            first, last = day_number(file, entry[0]), day_number(file, entry[1])
            if not first <= last <= first + 60:
                refuse(file, str(entry), "a range runs from its first to its last day")
            found |= set(range(first, last + 1))
        else:
            found.add(day_number(file, entry))
    return found


def merge_calendars(files: Mapping[str, bytes], zone: str) -> tuple[int, int, list[int]]:
    """First day, last day and worked days of all calendars together; (0, -1, []) for none. Raises `MalformedError`."""
    found = sorted((parse_calendar(name, data, zone), name) for name, data in files.items())
    if not found:
        return 0, -1, []
    days: list[int] = []
    end = found[0][0][0] - 1
    for (first, last, worked), name in found:
        if first != end + 1:
            refuse(name, "year", "the years of calendars follow one another")
        end = last
        days.extend(worked)
    return found[0][0][0], end, days
