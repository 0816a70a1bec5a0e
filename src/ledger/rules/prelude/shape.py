"""Decides whether the odd fields of a body have their form; the common ones are checked by generated code.

Rule: forms only, never meaning; a text is not empty, a list may be.
"""

from __future__ import annotations

from typing import Any

from ledger.rules.prelude.terms import _month_days

# --- program text ---
_GOOD: dict[str, bool] = {}  # texts found to be identifiers; a cache, never an input


def _is_code(text: Any) -> bool:
    if type(text) is not str:
        return False
    if text in _GOOD:
        return True
    if text == "" or len(text) > 128 or text[0] not in "abcdefghijklmnopqrstuvwxyz0123456789":
        return False
    if text.lstrip("abcdefghijklmnopqrstuvwxyz0123456789._:~/-") != "":
        return False
    if ":" not in text:
        # Marks of persons and names of findings hold a colon, and hardly one comes twice: they would crowd out the rest.
        if len(_GOOD) >= 5000:
            _GOOD.clear()
        _GOOD[text] = True
    return True


def _digits(text: str) -> bool:
    return text.lstrip("0123456789") == ""


def _is_date(value: Any) -> bool:
    if type(value) is not str or len(value) != 10 or value[4] != "-" or value[7] != "-":
        return False
    if not _digits(value[:4] + value[5:7] + value[8:]) or int(value[:4]) < 1970:
        return False
    month = int(value[5:7])
    return 1 <= month <= 12 and 1 <= int(value[8:]) <= _month_days(int(value[:4]), month)


def _is_time(value: Any) -> bool:
    if type(value) is not str or len(value) != 24 or not _is_date(value[:10]):
        return False
    marks = value[10] + value[13] + value[16] + value[19] + value[23]
    digits = value[11:13] + value[14:16] + value[17:19] + value[20:23]
    if marks != "T::.Z" or not _digits(digits):
        return False
    return int(value[11:13]) < 24 and int(value[14:16]) < 60 and int(value[17:19]) < 60


def _is_digest(value: Any) -> bool:
    return type(value) is str and len(value) == 64 and value.lstrip("0123456789abcdef") == ""


def _fits(value: Any, form: Any) -> bool:
    # A form lists type, limit, low, high, values, item and fields, in this order.
    kind = form[0]
    if kind == "text":
        return type(value) is str and 0 < len(value) <= form[1]
    if kind == "code":
        return value in form[4] if form[4] and type(value) is str else not form[4] and _is_code(value)
    if kind == "int":
        return type(value) is int and form[2] <= value <= form[3]
    if kind == "bool":
        return type(value) is bool
    if kind == "date":
        return _is_date(value)
    if kind == "time":
        return _is_time(value)
    if kind == "digest":
        return _is_digest(value)
    if kind == "list":
        if type(value) is not list or len(value) > form[1]:
            return False
        for item in value:
            if not _fits(item, form[5]):
                return False
        return True
    if type(value) is not dict:
        return False
    count = 0
    for field in form[6]:
        item = value.get(field[0])
        if item is not None:
            if not _fits(item, field[2]):
                return False
            count += 1
        elif field[1]:
            return False
    return count == len(value)


def _union(objects: Any, field: str) -> list[str]:
    # Everything that this list field of the objects holds, once, in order.
    found: list[str] = []
    for name in sorted(objects):
        for item in objects[name].get(field) or []:
            if item not in found:
                found.append(item)
    return sorted(found)


def _every(objects: Any, field: str, value: Any) -> bool:
    # Whether there are objects, and all of them have this value.
    for name in objects:
        if objects[name] is None or objects[name].get(field) != value:
            return False
    return len(objects) > 0
