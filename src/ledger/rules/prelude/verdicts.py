"""Decides what becomes of an event or timer when all its rules have spoken: the gate, the tables, the effects, one outcome.

Rules: a request out of order is refused by its table, and no rule is asked. Then rules gate (one refusal refuses a request;
on an act a breach makes it irregular), tables move, and effects are added. A refused event keeps findings, and the duties of
the rules that refuse; an intent writes a ticket and nothing else. A rule of which one effect is nonsense has none. An object
above 4 KiB or a verdict above 32 KiB undoes the whole leaf, visibly.
Never here: which rules exist (generated), when timers fire (see `engine`).
"""

from __future__ import annotations

from typing import Any

from ledger.rules.prelude.findings import (
    _arm,
    _close,
    _disarm,
    _discharge,
    _moment,
    _now_of,
    _oblige,
    _raise,
    _read,
    _set,
    _suffix,
    _timer_value,
)
from ledger.rules.prelude.guards import _WHERE
from ledger.rules.prelude.shape import _is_code

_EDGES: dict[str, Any] = {}  # object kind -> [field, {status: {"!signal": next}}]
_encode: Any = None  # value -> stored form, canonical JSON
_size: Any = None  # bytes of a stored form

# --- program text ---
_WITH_TARGET = {
    "breach": 3, "finding": 3, "write": 1, "move": 1, "duty": 3, "discharge": 2, "timer": 2, "clear": 2, "settle": 3,
    "close": 1,
}  # fmt: skip
_TARGETLESS = {"refuse": 1, "alert": 1, "error": 1}


def _fault(line: int, error: Any) -> Any:
    # What went wrong, in words that every runtime shares; guards raise with one of their own. Memory and stack are the
    # machine's, not the rule's: they never become a verdict.
    if isinstance(error, (MemoryError, RecursionError)):
        raise error
    if _WHERE[0]:
        line = _WHERE[0]
        _WHERE[0] = 0
    if isinstance(error, KeyError):
        what = "key"
    elif isinstance(error, IndexError):
        what = "index"
    elif isinstance(error, ValueError) and str(error) in ("budget", "size", "number"):
        what = str(error)
    else:
        what = "type"
    return ("error", line, what)


def _take(c: Any, out: Any, rule: str, result: Any) -> None:
    # Effects with their targets resolved to keys. A rule of which one effect is nonsense has none.
    if type(result) is tuple:
        result = [result]
    taken: list[Any] = []
    what = "" if type(result) is list else "effect"
    for effect in result if what == "" else []:
        if effect is None:
            continue
        if type(effect) is not tuple or len(out) + len(taken) >= 128:
            what = "effect"
            break
        op = effect[0]
        key = None
        place = _WITH_TARGET.get(op)
        if op in ("duty", "timer") and not _is_ahead(c, effect):
            what = "label"
            break
        if place is not None:
            name = effect[place]
            if name is not None or (op not in ("breach", "finding")):
                key = c["keys"].get(name) if type(name) is str else None
                if type(key) is dict:
                    of = effect[place + 1]
                    key = key.get(of) if type(of) is str else None
                if key is None or (op == "close" and _slot_of(c, key) is None):
                    what = "target"
                    break
            if op in ("breach", "finding") and not _is_party(c, effect):
                what = "about"
                break
        elif op not in _TARGETLESS:
            what = "effect"
            break
        taken.append([rule, effect, key])
    if what != "":
        taken = [[rule, ("error", 0, what), None]]
    for item in taken:
        out.append(item)


def _slot_of(c: Any, key: str) -> Any:
    # [effect as of `settle_finding`, key of the object] for the finding object `key`; None when that object is not named.
    value = _read(c["block"], key)
    if not key.startswith("finding/") or value is None or "code" not in value:
        return None
    on = value.get("on")
    named: list[Any] = []
    for each in c["keys"].values():
        named = named + (sorted(each.values()) if type(each) is dict else [each])
    if on is not None and on not in named:
        return None
    return [("settle", value["code"], value["about"]), on]


def _is_ahead(c: Any, effect: Any) -> bool:
    # The state of a labelled duty or timer is not read, because its key may not follow from bytes; so its due lies ahead.
    label, due = (effect[5], effect[6]) if effect[0] == "duty" else (effect[4], effect[5])
    return label is None or due is None or _moment(due) > c["now"]


def _is_party(c: Any, effect: Any) -> bool:
    # About whom, and who held: identifiers; a timer has no author to stand in.
    about = effect[2] if effect[2] is not None else c["member"]
    return about is not None and _is_code(about) and (effect[5] is None or _is_code(effect[5]))


def _case(block: Any, member: Any, mark: str, time: int, now: int, keys: Any) -> Any:
    return {
        "block": block, "member": member, "mark": mark, "time": time, "now": now, "keys": keys, "staged": {}, "count": 0,
        "reasons": [], "findings": [], "duties": [], "alerts": [], "timers": [], "streams": [], "raised": [],
        "refused": False, "irregular": False, "imported": False, "intent": False, "due": None, "provisional": False,
        "ticket": None,
    }  # fmt: skip


def _objection(c: Any, asks: bool, reason: Any) -> None:
    c["reasons"].append(reason)
    if asks:
        c["refused"] = True
    else:
        c["irregular"] = True


def _order(c: Any, asks: bool, out: Any, tables: Any) -> Any:
    # The moves that the tables make of this kind: [key, field, status]; an objection where there is none.
    moves: list[Any] = []
    for table in tables:
        # [name in the state, field, {status: next} of this kind, next when new or None, finding code or None, edges]
        keys = c["keys"][table[0]]
        for key in [keys] if type(keys) is str else (sorted(keys.values()) if keys else []):
            value = _read(c["block"], key)
            status = value.get(table[1]) if value is not None else None
            after = table[3] if status is None else table[2].get(status)
            if after is not None:
                if after != status:
                    moves.append([key, table[1], after])
                continue
            _objection(c, asks, ["table", "order", {"object": key, "status": status}])
            if table[4] is not None and not asks:
                out.append(["table", ("finding", table[4], None, table[0], None, None, {}), key])
    return moves


def _gate(c: Any, asks: bool, out: Any, moves: Any) -> None:
    # Every objection of rules; signals add to the moves.
    for item in out:
        effect = item[1]
        op = effect[0]
        if op in ("refuse", "breach"):
            _objection(c, asks, [item[0], effect[1], effect[2] if op == "refuse" else effect[6]])
        elif op == "error":
            shown = {"error": effect[2]}
            if effect[1]:
                shown["line"] = effect[1]
            _objection(c, asks, [item[0], "rule-error", shown])
        elif op == "move":
            _signal(c, asks, item, moves)


def _signal(c: Any, asks: bool, item: Any, moves: Any) -> None:
    key = item[2]
    edges = _EDGES[key[: key.index("/")]]
    status = None
    for made in moves:
        if made[0] == key:
            status = made[2]
    if status is None:
        value = _now_of(c, key)
        status = value.get(edges[0]) if value is not None else None
    after = edges[1].get(status, {}).get(item[1][3])
    if after is None:
        _objection(c, asks, [item[0], "rule-error", {"error": "move"}])
    elif after != status:
        moves.append([key, edges[0], after])


def _perform(c: Any, out: Any, moves: Any, discharges: Any) -> None:
    if not c["refused"]:
        if c["ticket"] is not None:
            c["staged"][c["ticket"][0]] = c["ticket"][1]
        for made in moves:
            _set(c, made[0], {made[1]: made[2]})
        for done in discharges:
            # [rule, name in the state, whether the label is the author]
            keys = c["keys"][done[1]]
            for key in [keys] if type(keys) is str else (sorted(keys.values()) if keys else []):
                _discharge(c, done[0], key, c["member"] if done[2] else None, c["member"])
    refusing = [item[0] for item in out if item[1][0] in ("refuse", "breach")] if c["refused"] else []
    for item in out:
        effect, key = item[1], item[2]
        op = effect[0]
        if op == "finding" or (op == "breach" and not c["refused"]):
            _raise(c, item[0], effect, key)
        elif op == "duty":
            # Other rules spoke as if the event stood; what the refusing rule demands, it demands because of the refusal.
            if not c["refused"] or item[0] in refusing:
                _oblige(c, effect, key)
        elif op == "alert":
            shown = {"code": effect[1], "rule": item[0]}
            if effect[2]:
                shown["args"] = effect[2]
            c["alerts"].append(shown)
        elif c["refused"]:
            continue
        elif op == "write":
            _set(c, key, effect[3])
        elif op == "discharge":
            _discharge(c, effect[1], key, effect[4], None)
        elif op == "timer":
            _start_timer(c, effect, key)
        elif op == "clear":
            _disarm(c, "timer/" + _suffix(effect[1], key, effect[4]))
        elif op == "settle":
            _close(c, effect, key)
        elif op == "close":
            slot = _slot_of(c, key)
            if slot[1] is not None:
                _close(c, slot[0], slot[1])


def _start_timer(c: Any, effect: Any, key: str) -> None:
    # An effect of `timer`: op, rule, on, of, label, due, data.
    if c["imported"] or c["intent"]:
        return
    due = effect[5]
    value = _timer_value(c, effect[1], key, effect[4], due)
    if effect[6]:
        value["data"] = effect[6]
    _arm(c, "timer/" + _suffix(effect[1], key, effect[4]), value, _moment(due))


def _verdict(c: Any) -> Any:
    verdict = {"outcome": "refused" if c["refused"] else ("irregular" if c["irregular"] else "accepted")}
    for name in ("reasons", "findings", "duties", "alerts", "timers"):
        if c[name]:
            verdict[name] = c[name]
    return verdict


_PLAIN: list[Any] = []  # the encoded verdict of an event that is accepted and says nothing


def _seal(c: Any) -> Any:
    # Encodes what this leaf writes; None when an object or the verdict outgrew its bound (then `c["large"]` names it).
    block = c["block"]
    staged = c["staged"]
    writes = []
    for key in staged:
        value = staged[key]
        raw = _encode(value) if value is not None else _encode(None)
        if _size(raw) > 4096:
            c["large"] = key
            return None
        writes.append([key, raw])
    if c["reasons"] or c["findings"] or c["duties"] or c["alerts"] or c["timers"]:
        verdict = _encode(_verdict(c))
        if _size(verdict) > 32768:
            c["large"] = "verdict"
            return None
    else:
        verdict = _PLAIN[0]
    for key in staged:
        block["work"][key] = staged[key]
    for pair in c["timers"]:
        if pair[1] is not None and pair[1] <= block["time"]:
            _queue(block, pair[1], pair[0], -1)
    return [
        -1, None, None, verdict, 0 if c["refused"] else (2 if c["irregular"] else 1), c["refused"], c["streams"], writes,
        c["timers"],
    ]  # fmt: skip


def _overgrown(c: Any, asks: bool) -> Any:
    # The same verdict whatever grew too large: nothing is written.
    block, large = c["block"], c["large"]
    bare = _case(block, c["member"], c["mark"], c["time"], c["now"], c["keys"])
    _objection(bare, asks, ["ledger", "rule-error", {"error": "size", "object": large}])
    return _seal(bare)


def _open(c: Any, spec: Any, event: Any, out: Any) -> Any:
    # Before the rules: ticket and tables. A request out of order is refused here, and its rules are not asked.
    asks = spec[1] or event["intent"]
    c["intent"] = event["intent"]
    c["imported"] = spec[4]
    ticket = event["refs"].get("ticket")
    if ticket is not None:
        _cite(c, asks, "ticket/" + ticket, event["name"])
    return _order(c, asks, out, spec[2])


def _settle(c: Any, spec: Any, event: Any, out: Any, moves: Any, loose: Any) -> Any:
    # spec: [kind, asks, tables, discharges, imported]; loose: keys of refs that may name nothing.
    asks = spec[1] or event["intent"]
    _gate(c, asks, out, moves)
    if not c["intent"]:
        _perform(c, out, moves, spec[3])
    elif not c["refused"]:
        value = {"at": c["now"], "kind": spec[0], "refs": event["refs"]}
        c["staged"]["ticket/" + event["name"]] = value
    outcome = _seal(c)
    if outcome is None:
        outcome = _overgrown(c, asks)
    if not outcome[5]:
        for key in loose:
            if key is not None and _read(c["block"], key) is None:
                outcome[5] = True
    return outcome


def _cite(c: Any, asks: bool, key: str, name: str) -> None:
    # An act names the ticket of its intent; a ticket serves once.
    value = _read(c["block"], key)
    if "used" in value:
        _objection(c, asks, ["ledger", "ticket-used", {"by": value["used"]}])
    else:
        c["ticket"] = [key, {**value, "used": name}]


def _ticket_fault(block: Any, kind: str, member: str, refs: Any, intent: bool) -> Any:
    # What is wrong with the ticket that an event cites; None when nothing is.
    ticket = refs["ticket"]
    if type(ticket) is not str or intent:
        return _misshapen("ref-type", "ticket")
    value = _read(block, "ticket/" + ticket)
    if value is None:
        return _misshapen("unresolved", "ticket")
    cited = {name: refs[name] for name in refs if name != "ticket"}
    if value["kind"] != kind or value["refs"] != cited or not ticket.startswith(member + "/"):
        return _misshapen("disagrees", "ticket")
    return None


def _misshapen(what: str, where: str) -> Any:
    shown = {"what": what}
    if _is_code(where):
        shown["field"] = where
    verdict = _encode({"outcome": "refused", "reasons": [["ledger", "shape", shown]]})
    return [-1, None, None, verdict, 0, True, [], [], []]


def _stranger(names: Any, allowed: Any, what: str) -> Any:
    for name in sorted(names):
        if name not in allowed:
            return _misshapen(what, name)
    return _misshapen(what, "")


def _queue(block: Any, due: int, key: str, index: int) -> None:
    # Kept in order of (due, key); short, so a plain insertion.
    queue = block["queue"]
    position = len(queue)
    while position > 0 and (queue[position - 1][0], queue[position - 1][1]) > (due, key):
        position -= 1
    queue.insert(position, [due, key, index])
