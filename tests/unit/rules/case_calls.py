"""Block calls of any rulebook: those that its cases make, and odd variants of them, for comparing runtimes."""

from __future__ import annotations

import json
from typing import Any

from ledger.core import canonical
from ledger.rules.cases import run_cases
from ledger.rules.program import Program

Call = dict[str, Any]


_CALLS: dict[bytes, list[Call]] = {}


def calls_of(program: Program) -> list[Call]:
    """Every block call that the cases of the rulebook make, in order."""
    if program.rulebook_hash in _CALLS:
        return _CALLS[program.rulebook_hash]
    found = _CALLS[program.rulebook_hash] = []

    def run(call: Call) -> list[Any]:
        found.append(call)
        return program.run_block(call)

    run_cases(program, {"cases": run})
    return found


def vary(call: Call, other: Call, pick: int, how: str) -> Call:
    """`call` with one thing about its events changed; `other` lends what is put in its place."""
    made = dict(call)
    steps = [list(step) for step in call["steps"]]
    lent = [step for step in other["steps"] if step[0] == 0]
    made["steps"] = steps
    if how == "later":
        made["time"] = call["time"] + (pick + 1) * 86_400_000
    elif how == "forget" and call["objects"]:
        gone = sorted(call["objects"])[pick % len(call["objects"])]
        made["objects"] = {key: value for key, value in call["objects"].items() if key != gone}
    elif how == "append" and lent:
        steps.extend(list(step) for step in lent)
        made["objects"] = {**other["objects"], **call["objects"]}
    else:
        for step in steps:
            if step[0] == 0:
                _vary_event(step, lent, pick, how)
    return made


def _vary_event(step: list[Any], lent: list[list[Any]], pick: int, how: str) -> None:
    head, body = canonical.parse(step[4]), canonical.parse(step[5])
    if how == "member":
        step[1] = ("ga", "jy", "sw", "sjj")[pick % 4]
    elif how == "roles":
        step[3] = [[], ["system"], ["office-head", "dept-head"], ["authority", "verifier"]][pick % 4]
    elif how == "drop" and len(body) > 1:
        names = sorted(name for name in body if name != "salt")
        del body[names[pick % len(names)]]
    elif how == "swap" and lent:
        head["refs"] = json.loads(lent[pick % len(lent)][4])["refs"]
    elif how == "number":
        for name, value in body.items():
            if type(value) is int:
                body[name] = (0, 1, -1, 2**53 - 1, min(value + 1, 2**53 - 1))[pick % 5]
    elif how == "intent":
        head["intent"] = True
    step[4], step[5] = canonical.encode(head), canonical.encode(body)


HOW = ("as it is", "later", "forget", "append", "member", "roles", "drop", "swap", "number", "intent")
"""What `vary` knows."""
