"""Decides the outcome of an accepted event whose rules only set fields: most acts, most of the time.

Rules: it is the outcome that `verdicts` would make, found with less work; whatever is more than setting fields (a table that
moves, a duty, a finding, an object that grew too large) is left to `verdicts`, and nothing has been done by then.
Never here: a refusal, an irregular act.
"""

from __future__ import annotations

from typing import Any

from ledger.rules.prelude.findings import _DEFAULTS, _read, _suffix
from ledger.rules.prelude.verdicts import _PLAIN, _encode, _size

# --- program text ---


def _quick(block: Any, member: str, keys: Any, given: Any, discharges: Any, loose: Any) -> Any:
    # The outcome of an accepted event whose rules ask for nothing but fields to be set, as `_settle` would make it; None
    # when there is more to it, and then nothing was done. `given`: [rule, what it returned]; the rest as for `_settle`.
    staged: dict[str, Any] = {}
    count = 0
    for item in given:
        effects = item[1]
        if type(effects) is tuple:
            effects = [effects]
        elif type(effects) is not list:
            return None
        for effect in effects:
            if effect is None:
                continue
            count += 1
            if type(effect) is not tuple or effect[0] != "write" or count > 100:
                return None
            target = effect[1]
            key = keys.get(target) if type(target) is str else None
            if type(key) is dict:
                key = key.get(effect[2]) if type(effect[2]) is str else None
            if key in staged:
                staged[key].update(effect[3])
                continue
            if key is None:
                return None
            base = _read(block, key)
            if base is None:
                base = _DEFAULTS.get(key[: key.index("/")], {})
            staged[key] = {**base, **effect[3]}
    for done in discharges:
        named = keys[done[1]]
        for key in [named] if type(named) is str else (named.values() if named else []):
            owed = _read(block, "duty/" + _suffix(done[0], key, member if done[2] else None))
            if owed is not None and owed["status"] != "discharged" and owed["by"] == member:
                return None
    writes = []
    for key, value in staged.items():
        raw = _encode(value)
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
