"""Decides the outcome of an accepted event whose rules only set fields: most acts, most of the time.

Rules: it is the outcome that `verdicts` would make, found with less work; whatever is more than setting fields (a table that
moves, a duty, a finding, an object that grew too large) leaves the path, nothing has been done by then, and `verdicts`
decides. The statements of the rules stand in the generated part, which calls these functions.
Never here: a refusal, an irregular act.
"""

from __future__ import annotations

from typing import Any

from ledger.rules.prelude.effects import _clean
from ledger.rules.prelude.findings import _DEFAULTS, _read, _suffix
from ledger.rules.prelude.guards import _WHERE
from ledger.rules.prelude.verdicts import _PLAIN, _size

_write: Any = None  # value that is not None -> stored form

# --- program text ---
_STRAIGHT = True  # whether events are tried on the straight path first; a matter of speed, never of an outcome


def _begin(staged: Any, key: Any, base: Any) -> Any:
    # What is written to the object `key`, which holds `base`; two names may stand for one object.
    found = staged.get(key)
    if found is None:
        if key is None:
            raise ValueError("plain")
        if base is None:
            base = _DEFAULTS.get(key[: key.index("/")], {})
        found = staged[key] = {**base}
    return found


def _loose(value: Any) -> None:
    # A value that a field is set to, as `write` looks at it.
    kind = type(value)
    if kind is list or kind is dict or kind is tuple:
        _clean(value, 1)


def _gather(staged: Any, named: Any, effects: Any) -> None:
    # What a rule returned, where its text does not say what that is. `named`: name in the state -> [key, object], or
    # both by id.
    if effects is None:
        return
    if type(effects) is tuple:
        effects = [effects]
    if type(effects) is not list or len(effects) > 10:
        raise ValueError("plain")
    for effect in effects:
        if effect is not None:
            if type(effect) is not tuple or effect[0] != "write":
                raise ValueError("plain")
            key, base = named[effect[1]]
            if type(key) is dict:
                key, base = key[effect[2]], base[effect[2]]
            _begin(staged, key, base).update(effect[3])


def _leave_armed(block: Any, key: str) -> None:
    # Leaves the path where a rule clears a timer that runs.
    timer = _read(block, key)
    if timer is not None and "due" in timer:
        raise ValueError("plain")


def _leave_open(block: Any, key: str, member: Any = None) -> None:
    # Leaves the path where a duty is discharged that is open, and of `member` where one is named.
    owed = _read(block, key)
    if owed is not None and owed["status"] != "discharged" and (member is None or owed["by"] == member):
        raise ValueError("plain")


def _leave_owed(block: Any, member: str, discharges: Any) -> None:
    # Leaves the path where the event discharges a duty. `discharges`: [rule, key or keys by id, whether the label is
    # the author].
    for done in discharges:
        named = done[1]
        for key in [named] if type(named) is str else (named.values() if named else []):
            _leave_open(block, "duty/" + _suffix(done[0], key, member if done[2] else None), member)


def _done(block: Any, staged: Any, loose: Any) -> Any:
    # The outcome; None where an object has outgrown its bound.
    writes = []
    for key, value in staged.items():
        raw = _write(value)
        if _size(raw) > 4096:
            return None
        writes.append([key, raw])
    work = block["work"]
    work.update(staged)
    unresolved = False
    for key in loose:
        if key is not None and work.get(key) is None and _read(block, key) is None:
            unresolved = True
    return [-1, None, None, _PLAIN[0], 1, unresolved, [], writes, []]


def _astray(error: Any) -> None:
    # The path was left, for whatever reason: the event is decided from the start. Memory and stack are the machine's.
    if isinstance(error, (MemoryError, RecursionError)):
        raise error
    _WHERE[0] = 0
