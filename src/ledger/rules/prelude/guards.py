"""Decides what one step of a rule may cost and how large its values may grow: the guarded operators of language 1.

Rules: the text below the marker is part of every compiled program, so it is plain Python that CPython >= 3.11 and
pydantic-monty run alike: no imports, no classes, no `del`; a guard fails with one short word (`budget`, `size`, `number`,
`type`), which becomes the `rule-error` of a verdict. Steps are charged from sizes known before the work is done.
Never here: state, effects, time.
"""

from __future__ import annotations

from typing import Any

# --- program text ---
_METER = [0]  # steps left for this event or timer
_WHERE = [0]  # line of the innermost function of a rule that failed


def _spend(steps: int) -> None:
    _METER[0] -= steps
    if _METER[0] < 0:
        raise ValueError("budget")


def _text(value: str) -> str:
    # 1024 characters are at most 4096 bytes of UTF-8; only longer texts need counting.
    if len(value) > 1024 and len(value.encode("utf-8")) > 4096:
        raise ValueError("size")
    return value


def _number(value: int) -> int:
    if -9007199254740991 <= value <= 9007199254740991:
        return value
    raise ValueError("number")


def _add(a: Any, b: Any) -> Any:
    kind = type(a)
    if kind is not type(b):
        raise TypeError("type")
    if kind is int:
        a = a + b
        if -9007199254740991 <= a <= 9007199254740991:
            return a
        raise ValueError("number")
    if kind is str:
        if len(a) + len(b) > 4096:
            raise ValueError("size")
        return _text(a + b)
    if kind is list:
        if len(a) + len(b) > 1024:
            raise ValueError("size")
        _spend((len(a) + len(b)) // 8)
        return a + b
    raise TypeError("type")


def _sub(a: Any, b: Any) -> Any:
    if type(a) is int and type(b) is int:
        a = a - b
        if -9007199254740991 <= a <= 9007199254740991:
            return a
        raise ValueError("number")
    raise TypeError("type")


def _mul(a: Any, b: Any) -> Any:
    if type(a) is int and type(b) is int:
        return _number(a * b)
    if type(b) is int and (type(a) is str or type(a) is list):
        limit = 4096 if type(a) is str else 1024
        if b > limit or len(a) * b > limit:
            raise ValueError("size")
        _spend(len(a) * max(b, 0) // 8)
        return _text(a * b) if type(a) is str else a * b
    raise TypeError("type")


def _div(a: Any, b: Any) -> Any:
    if type(a) is int and type(b) is int and b != 0:
        return _number(a // b)
    raise TypeError("type") if b != 0 else ValueError("number")


def _mod(a: Any, b: Any) -> Any:
    if type(a) is int and type(b) is int and b != 0:
        return a % b
    raise TypeError("type") if b != 0 else ValueError("number")


def _neg(a: Any) -> int:
    if type(a) is int:
        return -a
    raise TypeError("type")


def _walk(value: Any, depth: int) -> None:
    # Pays for comparing a nested value before it is done. A list that holds itself ends at the depth.
    if depth > 16:
        raise ValueError("size")
    if type(value) is list:
        _spend(1 + len(value) // 8)
        for item in value:
            if type(item) is list or type(item) is dict:
                _walk(item, depth + 1)
    elif type(value) is dict:
        _spend(1 + len(value) // 4)
        for name in value:
            if type(value[name]) is list or type(value[name]) is dict:
                _walk(value[name], depth + 1)


def _eq(a: Any, b: Any) -> Any:
    if type(a) is list or type(a) is dict:
        _walk(a, 0)
    return a == b


def _less(a: Any, b: Any) -> Any:
    kind = type(a)
    if kind is type(b) and (kind is int or kind is str):
        return a < b
    raise TypeError("type")


def _more(a: Any, b: Any) -> Any:
    kind = type(a)
    if kind is type(b) and (kind is int or kind is str):
        return a > b
    raise TypeError("type")


def _in(a: Any, b: Any) -> bool:
    kind = type(b)
    if kind is list:
        if len(b) > 7:
            _METER[0] -= len(b) // 8
            if _METER[0] < 0:
                raise ValueError("budget")
        kind = type(a)
        if kind is list or kind is dict:
            _walk(b, 0)
        return a in b
    if kind is dict:
        return a in b
    if kind is str and type(a) is str:
        _spend(len(b) // 64)
        return a in b
    raise TypeError("type")


def _iter(value: Any, cost: int) -> Any:
    # Charged before the loop: length times the calls in its body. Maps are walked in the order of their keys, because
    # the order of a decoded map and of one just built must not differ. Lists are copied, so a loop cannot grow its own.
    kind = type(value)
    if kind is list:
        value = value[:]
    elif kind is dict:
        value = sorted(value)
    elif kind is not str:
        raise TypeError("type")
    _METER[0] -= len(value) * cost
    if _METER[0] < 0:
        raise ValueError("budget")
    return value


def _pair(value: Any, size: int) -> Any:
    if type(value) is list and len(value) == size:
        return value
    raise TypeError("type")


def _bounded(value: Any) -> Any:
    if len(value) > 1024:
        raise ValueError("size")
    return value


def _upto(stop: Any, cost: int) -> list[int]:
    # A `range(stop)` that a loop walks: its own list, so it is not copied.
    if type(stop) is not int:
        raise TypeError("type")
    if stop > 7:
        if stop > 1024:
            raise ValueError("size")
        cost = cost * stop + stop // 8
    else:
        cost = cost * stop if stop > 0 else 0
    _METER[0] -= cost
    if _METER[0] < 0:
        raise ValueError("budget")
    return list(range(stop))


def _range(*bounds: Any) -> list[int]:
    for bound in bounds:
        if type(bound) is not int:
            raise TypeError("type")
    start = bounds[0] if len(bounds) > 1 else 0
    stop = bounds[1] if len(bounds) > 1 else bounds[0]
    if stop - start > 7:
        if stop - start > 1024:
            raise ValueError("size")
        _spend((stop - start) // 8)
    return list(range(start, stop))


def _at(value: Any, key: Any) -> Any:
    kind = type(value)
    if kind is dict:
        if type(key) is not str:
            raise TypeError("type")
    elif type(key) is not int or (kind is not list and kind is not str):
        raise TypeError("type")
    return value[key]


def _slice(value: Any, start: Any, stop: Any) -> Any:
    for bound in (start, stop):
        if bound is not None and type(bound) is not int:
            raise TypeError("type")
    if type(value) is not list and type(value) is not str:
        raise TypeError("type")
    _spend(len(value) // 8)
    return value[start:stop]


def _get(value: Any, key: Any, default: Any = None) -> Any:
    if type(value) is not dict or type(key) is not str:
        raise TypeError("type")
    return value.get(key, default)


def _append(items: Any, value: Any) -> None:
    if len(items) >= 1024:
        raise ValueError("size")
    items.append(value)


def _put(target: Any, key: Any, value: Any) -> None:
    if type(target) is dict:
        if type(key) is not str:
            raise TypeError("type")
        if key not in target and len(target) >= 1024:
            raise ValueError("size")
    elif type(key) is not int:
        raise TypeError("type")
    target[key] = value


def _len(value: Any) -> int:
    kind = type(value)
    if kind is list or kind is dict or kind is str:
        return len(value)
    raise TypeError("type")


def _plain(value: Any) -> list[Any]:
    # A list of integers only, or of strings only: what has one order everywhere.
    items = list(value) if type(value) is list or type(value) is dict else None
    if items is None:
        raise TypeError("type")
    if items:
        _spend(len(items) // 4)
        kind = type(items[0])
        if kind is not int and kind is not str:
            raise TypeError("type")
        for item in items:
            if type(item) is not kind:
                raise TypeError("type")
    return items


def _sorted(value: Any) -> list[Any]:
    return sorted(_plain(value))


def _min(*values: Any) -> Any:
    items = _plain(values[0] if len(values) == 1 else list(values))
    if not items:
        raise ValueError("size")
    return min(items)


def _max(*values: Any) -> Any:
    items = _plain(values[0] if len(values) == 1 else list(values))
    if not items:
        raise ValueError("size")
    return max(items)


def _lesser(a: Any, b: Any) -> Any:
    # `min(a, b)`: two values cost no step.
    if type(a) is int and type(b) is int:
        return a if a <= b else b  # noqa: FURB136 - the call would cost more than the rest
    return _min(a, b)


def _greater(a: Any, b: Any) -> Any:
    if type(a) is int and type(b) is int:
        return a if a >= b else b  # noqa: FURB136
    return _max(a, b)


def _sum(value: Any) -> Any:
    total = 0
    for item in _plain(value):
        total = _add(total, item)
    return total


def _any(value: Any) -> bool:
    if type(value) is not list:
        raise TypeError("type")
    if len(value) > 7:
        _spend(len(value) // 8)
    return any(value)


def _all(value: Any) -> bool:
    if type(value) is not list:
        raise TypeError("type")
    if len(value) > 7:
        _spend(len(value) // 8)
    return all(value)


def _keys(value: Any) -> list[Any]:
    if type(value) is not dict:
        raise TypeError("type")
    _spend(len(value) // 4)
    return sorted(value)


def _values(value: Any) -> list[Any]:
    return [value[name] for name in _keys(value)]


def _items(value: Any) -> list[Any]:
    return [[name, value[name]] for name in _keys(value)]


def _str(value: Any) -> str:
    if type(value) is not str:
        raise TypeError("type")
    return value


def _startswith(value: Any, prefix: Any) -> bool:
    return _str(value).startswith(_str(prefix))


def _endswith(value: Any, suffix: Any) -> bool:
    return _str(value).endswith(_str(suffix))


def _removeprefix(value: Any, prefix: Any) -> str:
    return _str(value).removeprefix(_str(prefix))


def _removesuffix(value: Any, suffix: Any) -> str:
    return _str(value).removesuffix(_str(suffix))


def _split(value: Any, separator: Any) -> list[str]:
    _spend(len(_str(value)) // 8)
    if _str(separator) == "":
        raise ValueError("size")
    return list(_bounded(value.split(separator)))


def _join(separator: Any, parts: Any) -> str:
    total = 0
    for part in _iter(parts, 1):
        total += len(_str(part)) + len(_str(separator))
        if total > 8192:
            raise ValueError("size")
    return _text(separator.join(parts))


def _format(*parts: Any) -> str:
    text = ""
    for part in parts:
        text += part if type(part) is str else str(part) if type(part) is int else _str(part)
        if len(text) > 4096:
            raise ValueError("size")
    return _text(text)
