"""Decides what a rule may ask for: each helper checks its arguments and returns one effect.

Rules: an effect is a tuple, and no rule can spell a tuple, so effects cannot be forged; `on` and `write` name objects
of the kind's state; arguments are plain values of bounded weight, because they end in the verdict.
Never here: doing what an effect asks (see `engine`).
"""

from __future__ import annotations

from typing import Any

from ledger.rules.prelude.guards import _spend

# --- program text ---


def _clean(value: Any, depth: int) -> int:
    # The weight of a plain value in characters; anything else, or anything nested deeper than 6, is refused.
    kind = type(value)
    if kind is str:
        return len(value)
    if kind is int or kind is bool or value is None:
        return 8
    if depth > 6:
        raise ValueError("size")
    if kind is list or kind is dict:
        _spend(1 + len(value) // 4)
    total = 2
    if kind is list:
        for item in value:
            total += 1 + _clean(item, depth + 1)
    elif kind is dict:
        for name in value:
            if type(name) is not str or not name.isascii():
                raise TypeError("type")
            total += 3 + len(name) + _clean(value[name], depth + 1)
    else:
        raise TypeError("type")
    if total > 16384:
        raise ValueError("size")
    return total


def _args(args: Any) -> Any:
    if args and _clean(args, 0) > 256:
        raise ValueError("size")
    return args


def _name(value: Any) -> str:
    if type(value) is not str or value == "" or len(value) > 128 or not value.isascii():
        raise TypeError("type")
    return value


def refuse(code: Any, **args: Any) -> Any:
    """Refuse a request. An act cannot be refused: it happened; use `breach`."""
    return ("refuse", _name(code), _args(args))


def breach(code: Any, about: Any = None, on: Any = None, of: Any = None, held: Any = None, **args: Any) -> Any:
    """The law is broken: a request is refused; an act becomes irregular, with a finding, and keeps its effects.

    `about`: the member it is a finding about (default: the author). `on`: the state object it is about (`of`: which one
    of a list). `held`: who held the data. `args`: facts for the texts.
    """
    return ("breach", _name(code), about, on, of, held, _args(args))


def finding(code: Any, about: Any = None, on: Any = None, of: Any = None, held: Any = None, **args: Any) -> Any:
    """A candidate violation for a human to confirm or dismiss; it changes no outcome."""
    return ("finding", _name(code), about, on, of, held, _args(args))


def alert(code: Any, **args: Any) -> Any:
    """Something a human should look at now: an item of the verdict, no state."""
    return ("alert", _name(code), _args(args))


def write(target: Any, *of: Any, **fields: Any) -> Any:
    """Set declared fields of the state object named `target` (second argument: which one of a list)."""
    for value in fields.values():
        if type(value) is list or type(value) is dict or type(value) is tuple:
            _clean(value, 1)
    return ("write", target, of[0] if of else None, fields)


def _written(effect: Any, names: Any) -> Any:
    # An effect of `write` of which the fields `names` may hold more than one plain value.
    fields = effect[3]
    for name in names:
        kind = type(fields[name])
        if kind is list or kind is dict or kind is tuple:
            _clean(fields[name], 1)
    return effect


def move(target: Any, signal: Any, of: Any = None) -> Any:
    """Move the state table of `target` along its edge `!signal`."""
    return ("move", target, of, "!" + _name(signal))


def duty(rule: Any, by: Any, on: Any, due: Any, kinds: Any = (), label: Any = None, of: Any = None) -> Any:
    """Member `by` must act on `on` before `due` (a term, unix ms, or None: no term set by law).

    An event of one of `kinds` by that member discharges it; at `due` the rule's `on_timer_<rule>` is told.
    """
    return ("duty", rule, _name(by), on, of, None if label is None else _name(label), _due_of(due), kinds)


def discharge(rule: Any, on: Any, label: Any = None, of: Any = None) -> Any:
    """The duty of `rule` on this object is done, whoever did it."""
    return ("discharge", rule, on, of, None if label is None else _name(label))


def set_timer(rule: Any, on: Any, due: Any, label: Any = None, of: Any = None, **data: Any) -> Any:
    """Tell `on_timer_<rule>` at `due`; replaces the timer of the same rule, object and label. `data` comes back to it."""
    if due is None:
        raise TypeError("type")
    return ("timer", rule, on, of, None if label is None else _name(label), _due_of(due), _args(data))


def clear_timer(rule: Any, on: Any, label: Any = None, of: Any = None) -> Any:
    """Forget the timer of `rule` on this object."""
    return ("clear", rule, on, of, None if label is None else _name(label))


def settle_finding(code: Any, about: Any, on: Any) -> Any:
    """A human has decided the open finding of `code` about member `about` on this object: the next breach is a new one."""
    return ("settle", _name(code), _name(about), on, None)


def close_finding(target: Any) -> Any:
    """A human has decided the finding object `target`: the next breach of its kind is a new one.

    The object that the finding is on must be among the refs.
    """
    return ("close", target)


def _due_of(due: Any) -> Any:
    if due is None or (type(due) is tuple and due[0] == "term"):
        return due
    if type(due) is int and 0 <= due <= 253402300799999:
        return due
    raise TypeError("type")
