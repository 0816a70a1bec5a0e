"""Decides one block: timers in order of (due, key), each event through its kind's function.

Rules: all timers with `due` at or before block time fire before the next event, those just set included. A timer's handler
lives at its due, not at block time, so that verdicts do not depend on where blocks end. A timer that was cleared or set anew
before its turn leaves no leaf. A chain of more than 1000 timers after one leaf is cut, visibly.
Never here: codecs (`_decode`, `_encode`, `_size`, `_mark` come from the host).
"""

from __future__ import annotations

from typing import Any

from ledger.rules.prelude.findings import _DEFAULTS, _TIMERS, _arm, _decode, _mark, _moment, _now_of, _read, _suffix
from ledger.rules.prelude.guards import _METER
from ledger.rules.prelude.terms import _day_of, _due
from ledger.rules.prelude.verdicts import (
    _PLAIN,
    _case,
    _encode,
    _gate,
    _misshapen,
    _objection,
    _perform,
    _queue,
    _seal,
    _take,
)

_KINDS: dict[str, Any] = {}  # kind -> its generated function
_PARAMS: list[Any] = []  # [first day, values], ascending; the earliest also stands for the time before it
_IMPLICIT: list[str] = []  # object kinds that read as their defaults before they are written
_STEPS = 20000


# --- program text ---
_IN_FORCE: dict[int, Any] = {}  # values of the parameters on days seen; a cache, never an input


def _params_at(time: int) -> Any:
    today = _day_of(time)
    found = _IN_FORCE.get(today)
    if found is None:
        found = _PARAMS[0][1]
        for entry in _PARAMS:
            if entry[0] <= today:
                found = entry[1]
        if len(_IN_FORCE) >= 1000:
            _IN_FORCE.clear()
        _IN_FORCE[today] = found
    return found


def _fire(block: Any, due: int, key: str) -> Any:
    # None: the timer was cleared or set anew since it was queued, so there is no leaf.
    value = _read(block, key)
    if value is None or value.get("due") != due:
        return None
    entry = _TIMERS.get(value["rule"])
    names = value["names"]
    keys = {names[i]: value["keys"][i] for i in range(len(names)) if value["keys"][i] != ""}
    c = _case(block, None, "f:t~" + _mark(key, due), due, due, keys)
    c["due"] = due
    c["staged"][key] = {"fired": due}
    duty_key = "duty/" + key[6:]
    owed = _read(block, duty_key) if entry is not None and entry[3] else None
    if "term" in value:
        term = value["term"]
        found = _due(term[0], term[1], term[2])
        c["provisional"] = found[1]
        if found[0] > due:
            # A calendar published since has lengthened the term; it never shortens one.
            again = {name: value[name] for name in value if name != "provisional"}
            if found[1]:
                again["provisional"] = True
            _arm(c, key, again, found[0])
            if owed is not None and owed["status"] == "open":
                c["staged"][duty_key] = {**owed, "due": found[0]}
            return _seal(c)
        if value.get("provisional"):
            c["due"] = found[0]
    if entry is None:
        c["timers"].append([key, None])
        return _seal(c)
    return _tell(c, entry, key, value, duty_key, owed)


def _view(block: Any, key: str) -> Any:
    value = _read(block, key)
    kind = key[: key.index("/")]
    return _DEFAULTS[kind] if value is None and kind in _IMPLICIT else value


def _tell(c: Any, entry: Any, key: str, value: Any, duty_key: str, owed: Any) -> Any:
    block, due = c["block"], value["due"]
    state = {name: _view(block, c["keys"][name]) for name in c["keys"]}
    on = value["on"]
    said = {
        "data": value.get("data", {}), "due": c["due"], "id": on[on.index("/") + 1 :], "label": value.get("label"),
        "on": on, "provisional": c["provisional"], "rule": value["rule"],
    }  # fmt: skip
    env = {"now": due, "params": _params_at(due)}
    _METER[0] = _STEPS
    out: list[Any] = []
    result = entry[1](said, state, env)
    if result is not None:
        _take(c, out, entry[2], result)
    for item in out:
        effect = item[1]
        rearms = effect[0] == "timer" and "timer/" + _suffix(effect[1], item[2], effect[4]) == key
        if rearms and _moment(effect[5]) <= due:
            item[1] = ("error", 0, "rearm")
    moves: list[Any] = []
    _gate(c, False, out, moves)
    if owed is not None and owed["status"] == "open":
        c["staged"][duty_key] = {**owed, "status": "overdue"}
    _perform(c, out, moves, [])
    if c["raised"] and owed is not None:
        now = _now_of(c, duty_key)
        if now["status"] == "overdue":
            c["staged"][duty_key] = {**now, "raised": c["raised"]}
    if "due" not in c["staged"][key]:
        c["timers"].append([key, None])
    outcome = _seal(c)
    if outcome is None:
        bare = _case(block, None, c["mark"], due, due, c["keys"])
        bare["staged"][key] = {"fired": due}
        bare["timers"].append([key, None])
        _objection(bare, False, ["ledger", "rule-error", {"error": "size", "object": c["large"]}])
        outcome = _seal(bare)
    return outcome


def _fire_due(block: Any, outcomes: Any) -> None:
    # Everything due, in order, until nothing is; a chain of more than 1000 after one leaf is cut, visibly.
    fired = 0
    queue = block["queue"]
    while queue:
        first = queue.pop(0)
        fired += 1
        if fired > 1000 and first[2] < 0:
            outcome = _cut(block, first[0], first[1])
        else:
            outcome = _fire(block, first[0], first[1])
        if outcome is not None:
            outcome[0] = first[2]
            outcome[1] = first[1]
            outcome[2] = first[0]
            outcomes.append(outcome)


def _cut(block: Any, due: int, key: str) -> Any:
    value = _read(block, key)
    if value is None or value.get("due") != due:
        return None
    c = _case(block, None, "", due, due, {})
    c["staged"][key] = {"fired": due}
    c["timers"].append([key, None])
    _objection(c, False, ["ledger", "rule-error", {"error": "cascade"}])
    return _seal(c)


def _run_block(time: int, objects: Any, steps: Any) -> Any:
    # steps: [0, member, key id, roles, head, body, event hash] | [1, timer key, due]; heads and bodies in stored form.
    block = {"raw": objects, "work": {}, "time": time, "queue": []}
    outcomes: list[Any] = []
    if not _PLAIN:
        _PLAIN.append(_encode({"outcome": "accepted"}))
    for index, step in enumerate(steps):
        if step[0] == 1:
            _queue(block, step[2], step[1], index)
        else:
            if block["queue"]:
                _fire_due(block, outcomes)
            head = _decode(step[4])
            decide = _KINDS.get(head["kind"])
            if decide is None:
                outcome = _misshapen("kind", head["kind"])
            else:
                outcome = decide(block, step[1], step[2], step[3], head, _decode(step[5]))
            outcome[0] = index
            outcomes.append(outcome)
    if block["queue"]:
        _fire_due(block, outcomes)
    return outcomes
