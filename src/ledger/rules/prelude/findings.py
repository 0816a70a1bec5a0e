"""Decides what a decided event or timer leaves behind: findings, duties, timers, writes, and which of them survive.

Rules: one open finding per (code, about, object), kept in the object itself under `_open` (at most 16); a repeat counts
there and cites the first id; a finding dated before its code was law is not raised. A duty is one state object per rule,
object and label; set again, it is replaced. A timer fires once per due: set again at or before one it fired at, it is
due one millisecond after that, so that finding ids never repeat; a labelled one must be due ahead, which does the same.
Nothing is read that was not planned: else a verdict would depend on what else is in the block.
Never here: whether an event is refused (see `engine`).
"""

from __future__ import annotations

from typing import Any

from ledger.rules.prelude.terms import _day_of

_DEFAULTS: dict[str, Any] = {}  # object kind -> values of its fields when it springs into being
_CODES: dict[str, int] = {}  # finding code -> first day (number) on which it is law
_TIMERS: dict[str, Any] = {}  # timer -> [names of the objects its handler reads, handler, rule, whether a duty]
_decode: Any = None  # stored form -> value
_mark: Any = None  # (timer key, due) -> 32 hex characters that name the findings of this firing

# --- program text ---


def _read(block: Any, key: str) -> Any:
    work = block["work"]
    if key in work:
        return work[key]
    raw = block["raw"].get(key)
    value = _decode(raw) if raw else None
    work[key] = value
    return value


def _now_of(c: Any, key: str) -> Any:
    # The object as this leaf has it so far.
    staged = c["staged"]
    return staged[key] if key in staged else _read(c["block"], key)


def _set(c: Any, key: str, fields: Any) -> None:
    base = _now_of(c, key)
    if base is None:
        base = _DEFAULTS.get(key[: key.index("/")], {})
    c["staged"][key] = {**base, **fields}


def _raise(c: Any, rule: str, effect: Any, key: Any) -> None:
    # An effect of `breach` or `finding`: op, code, about, on, of, held, args.
    code = effect[1]
    about = effect[2] if effect[2] is not None else c["member"]
    if c["imported"] or c["intent"] or _day_of(c["time"]) < _CODES.get(code, 0):
        return
    found = {"about": about, "code": code, "rule": rule}
    if effect[5] is not None:
        found["held"] = effect[5]
    if effect[6]:
        found["args"] = effect[6]
    if c["due"] is not None:
        found["due"] = c["due"]
    if c["provisional"]:
        found["provisional"] = True
    streams = [["finding", code.lower()], ["member", about]]
    value = None
    if key is not None:
        found["on"] = key
        kind = key[: key.index("/")]
        streams.append([kind, key[len(kind) + 1 :]])
        value = _now_of(c, key)
    opened = value.get("_open", {}) if value is not None else {}
    slot = code + "|" + about
    if [slot, key] in c["raised"]:
        return
    entry = opened.get(slot)
    if entry is not None:
        found["id"] = entry[0]
        found["repeats"] = entry[1] + 1
    else:
        c["count"] += 1
        found["id"] = c["mark"] + "." + str(c["count"])
        c["staged"]["finding/" + found["id"]] = {**found, "at": c["now"], "status": "raised"}
    if value is not None and (entry is not None or len(opened) < 16):
        c["staged"][key] = {**value, "_open": {**opened, slot: [found["id"], found.get("repeats", 1)]}}
    c["findings"].append(found)
    c["raised"].append([slot, key])
    for stream in streams:
        if stream not in c["streams"]:
            c["streams"].append(stream)


def _moment(due: Any) -> int:
    return int(due[4] if type(due) is tuple else due)


def _arm(c: Any, key: str, value: Any, due: int) -> None:
    old = _now_of(c, key) if "label" not in value else None
    fired = old.get("fired") if old is not None else None
    if fired is not None:
        value["fired"] = fired
        if due <= fired:
            due = fired + 1
    value["due"] = due
    c["staged"][key] = value
    c["timers"].append([key, due])


def _disarm(c: Any, key: str) -> None:
    old = _now_of(c, key)
    if old is not None and "due" in old:
        c["staged"][key] = {"fired": old["fired"]} if "fired" in old else None
        c["timers"].append([key, None])


def _suffix(rule: str, key: str, label: Any) -> str:
    return rule + "/" + key + ("" if label is None else "#" + label)


def _timer_value(c: Any, rule: str, key: str, label: Any, due: Any) -> Any:
    names = _TIMERS[rule][0]
    found = [c["keys"].get(name) or "" for name in names]
    # Of a list the handler is given the one that the timer is on.
    found = [(key if key in part.values() else "") if type(part) is dict else part for part in found]
    # An object of the kind that a name stands for is the one that the timer is on, whatever the event calls it.
    found = [key if key.startswith(names[i] + "/") else found[i] for i in range(len(names))]
    value = {"keys": found, "names": names, "on": key, "rule": rule}
    if label is not None:
        value["label"] = label
    if type(due) is tuple:
        value["term"] = [due[1], due[2], due[3]]
        if due[5]:
            value["provisional"] = True
    return value


def _oblige(c: Any, effect: Any, key: str) -> None:
    # An effect of `duty`: op, rule, by, on, of, label, due, kinds.
    if c["imported"] or c["intent"]:
        return
    suffix = _suffix(effect[1], key, effect[5])
    due = effect[6]
    value = {"by": effect[2], "due": None, "kinds": list(effect[7]), "since": c["now"], "status": "open"}
    shown = {"by": effect[2], "due": None, "on": key, "rule": effect[1], "status": "open"}
    if effect[5] is not None:
        shown["label"] = effect[5]
    if due is not None:
        timer = _timer_value(c, effect[1], key, effect[5], due)
        if timer.get("provisional"):
            value["provisional"] = True
            shown["provisional"] = True
        _arm(c, "timer/" + suffix, timer, _moment(due))
        value["due"] = timer["due"]
        shown["due"] = timer["due"]
    elif effect[5] is None:
        _disarm(c, "timer/" + suffix)
    c["staged"]["duty/" + suffix] = value
    c["duties"].append(shown)


def _discharge(c: Any, rule: str, key: Any, label: Any, only: Any) -> None:
    # `only`: the member whose duty it must be, or None.
    if key is None or c["imported"] or c["intent"]:
        return
    suffix = _suffix(rule, key, label)
    value = _now_of(c, "duty/" + suffix)
    if value is None or value["status"] == "discharged" or (only is not None and value["by"] != only):
        return
    shown = {"by": value["by"], "due": value["due"], "on": key, "rule": rule, "status": "discharged"}
    if label is not None:
        shown["label"] = label
    due = value["due"]
    if due is not None and c["now"] >= due:
        shown["late"] = True
        if c["time"] < due:
            shown["claimed_in_time"] = True
        cured = _cure(c, value.get("raised", []))
        if cured:
            shown["cured"] = cured
    c["staged"]["duty/" + suffix] = {**value, "at": c["now"], "status": "discharged"}
    c["duties"].append(shown)
    _disarm(c, "timer/" + suffix)


def _cure(c: Any, raised: Any) -> list[str]:
    # Flags the open findings that this duty's deadline raised; the finding stays for a human to judge.
    # Only objects of this event are looked at: others were not planned.
    cured = []
    own = [key for key in c["keys"].values() if type(key) is str]
    for pair in raised:
        value = _now_of(c, pair[1]) if pair[1] in own else None
        if value is None:
            continue
        entry = value.get("_open", {}).get(pair[0])
        if entry is not None and len(entry) == 2:
            cured.append(entry[0])
            c["staged"][pair[1]] = {**value, "_open": {**value["_open"], pair[0]: [entry[0], entry[1], "cured"]}}
    return cured


def _close(c: Any, effect: Any, key: str) -> None:
    # An effect of `settle_finding`: op, code, about, on.
    value = _now_of(c, key)
    slot = effect[1] + "|" + effect[2]
    if value is not None and slot in value.get("_open", {}):
        c["staged"][key] = {
            **value,
            "_open": {name: value["_open"][name] for name in value["_open"] if name != slot},
        }
