"""Says why an event or a timer was decided as it was: rules that were asked, what each saw and said, what changed.

Rules: everything shown is what ran: the calls of the handlers, the statements that were executed with the values they
looked at, the effects they returned, the parameters in force on the day by which the event is judged.
Never here: running rules (a tracer does), words (codes have the rulebook's texts, labels come from catalogues).
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ledger.core import canonical
from ledger.core.ident import format_time, parse_time
from ledger.rules import grammar
from ledger.rules.facts import RuleFacts
from ledger.rules.kinds import Kind, Title
from ledger.rules.params import Parameter, Value
from ledger.rules.program import Outcome, Program

VALUE_CHARS_MAX: Final = 160
_DAY_MS: Final = 86_400_000
_SHOWN_AS_TIME: Final = (parse_time("2000-01-01T00:00:00.000Z"), parse_time("2100-01-01T00:00:00.000Z"))


@dataclass(frozen=True, slots=True)
class Step:
    """One statement that ran: the first line of it, its text, and the values it looked at, by their text."""

    line: int
    text: str
    seen: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Asked:
    """One call of a handler: what ran, and the effects it returned (as the prelude makes them)."""

    rule: str
    handler: str
    state: dict[str, Any]
    steps: list[Step] = field(default_factory=list)
    said: list[Any] = field(default_factory=list)
    failed: str = ""


@dataclass(frozen=True, slots=True)
class UsedParameter:
    """A parameter that a rule reads, with the value in force on the day of judgement. `open`: what the law leaves open."""

    name: str
    title: Title
    value: Any
    since: str
    source: str
    open: str


@dataclass(frozen=True, slots=True)
class RuleSaid:
    """What one rule had to do with the event."""

    rule: str
    title: Title
    article: str
    file: str
    effects: tuple[tuple[str, str], ...]
    steps: tuple[Step, ...]
    parameters: tuple[UsedParameter, ...]
    failed: str


@dataclass(frozen=True, slots=True)
class Written:
    """A field of an object that the event changed; None: absent."""

    object: str
    field: str
    before: str | None
    after: str | None
    writer: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that is known of the decision; times in unix ms. `exact` is False where deciding again differs."""

    event: str
    kind: Kind | None
    kind_name: str
    claimed: int
    recorded: int
    height: int
    judged: str
    intent: bool
    refs: dict[str, Any]
    body: dict[str, Any]
    key: str
    roles: tuple[str, ...]
    verdict: dict[str, Any]
    again: dict[str, Any] | None
    rules: tuple[RuleSaid, ...]
    written: tuple[Written, ...]
    due: int | None = None  # of a timer: when it fell due; it has no author, so all that an event says is empty

    @property
    def exact(self) -> bool:
        """Whether deciding it again gave the recorded verdict."""
        return self.again == self.verdict


def explain(
    program: Program,
    step: Sequence[Any],
    verdict: dict[str, Any],
    place: tuple[int, int],
    asked: Sequence[Asked],
    outcome: Outcome | None,
    before: Mapping[str, bytes],
) -> Explanation:
    """The explanation of the event in `step` (as in a block call), recorded in block `place` = (height, time).

    `outcome` is what the rules decided again (None: they were not asked), `before` the objects it found.
    """
    head, body = canonical.parse(step[4]), canonical.parse(step[5])
    kind = program.book.kinds.get(head["kind"])
    claimed, (height, now) = parse_time(head["time"]), place
    day = (claimed if kind is not None and kind.act else now) + program.book.zone_ms
    facts, objects = program.book.rules, {} if kind is None else kind.objects()
    listeners = {each.rule for each in asked} | _listening(program, head["kind"])
    return Explanation(
        event=f"{step[1]}/{head['id']}",
        kind=kind,
        kind_name=head["kind"],
        claimed=claimed,
        recorded=now,
        height=height,
        judged=format_time(day)[:10],
        intent="intent" in head,
        refs=head["refs"],
        body={name: value for name, value in body.items() if name != "salt"},
        key=step[2],
        roles=tuple(step[3]),
        verdict=verdict,
        again=None if outcome is None else canonical.parse(outcome[3], bytes_max=64 * 1024),
        rules=tuple(_said(program, facts[name], asked, head["kind"], day // _DAY_MS) for name in sorted(listeners)),
        written=() if outcome is None else _written(program, outcome, before, _writers(objects, asked)),
    )


def explain_timer(
    program: Program,
    fired: tuple[str, int],
    verdict: dict[str, Any],
    place: tuple[int, int],
    asked: Sequence[Asked],
    outcome: Outcome | None,
    before: Mapping[str, bytes],
) -> Explanation:
    """The explanation of the timer `fired` = (key, due), recorded in block `place`; the rest as for `explain`."""
    (key, due), (height, now) = fired, place
    timer = canonical.parse(before[key]) if before.get(key) else {}
    rule = key.split("/")[1]
    day = due + program.book.zone_ms
    handler = f"timer.{rule}"
    names = zip(timer.get("names", ()), timer.get("keys", ()), strict=True)
    objects = {name: full.partition("/")[0] for name, full in names if full}
    owners = [each for each in program.book.rules.values() if f"on_{handler.replace('.', '_')}" in each.functions]
    return Explanation(
        event=key,
        kind=None,
        kind_name=f"timer {rule}",
        claimed=due,
        recorded=now,
        height=height,
        judged=format_time(day)[:10],
        intent=False,
        refs={},
        body=timer.get("data", {}),
        key="",
        roles=(),
        verdict=verdict,
        again=None if outcome is None else canonical.parse(outcome[3], bytes_max=64 * 1024),
        rules=tuple(_said(program, each, asked, handler, day // _DAY_MS) for each in owners),
        written=() if outcome is None else _written(program, outcome, before, _writers(objects, asked)),
        due=due,
    )


def _listening(program: Program, kind: str) -> set[str]:
    found = program.book.kinds.get(kind)
    if found is None:
        return set()
    return {rule.id for rule in program.book.rules.values() if f"on_{found.function}" in rule.functions}


def _said(program: Program, rule: RuleFacts, asked: Sequence[Asked], kind: str, day: int) -> RuleSaid:
    own = [each for each in asked if each.rule == rule.id]
    handlers = [each.handler for each in own] or [f"on_{kind.replace('.', '_')}"]
    used = {
        name
        for handler in handlers
        if handler in rule.functions
        for facts in rule.reachable(handler)
        for name in facts.parameters_used
    }
    return RuleSaid(
        rule=rule.id,
        title=rule.title,
        article=rule.article,
        file=rule.file,
        effects=tuple(describe(effect, program.book.zone_ms) for each in own for effect in each.said),
        steps=tuple(step for each in own for step in each.steps),
        parameters=tuple(_parameter(program.book.params[name], day) for name in sorted(used)),
        failed=" ".join(each.failed for each in own if each.failed),
    )


def _parameter(parameter: Parameter, day: int) -> UsedParameter:
    value: Value = parameter.values[0]
    for each in parameter.values:
        if each.first <= day:
            value = each
    is_open = isinstance(value.value, dict) and set(value.value) == {"open", "strict", "lenient"}
    return UsedParameter(
        parameter.name,
        parameter.title,
        value.value,
        format_time(value.first * _DAY_MS)[:10],
        value.source,
        value.value["open"] if is_open else "",
    )


def _written(
    program: Program, outcome: Outcome, before: Mapping[str, bytes], writers: Mapping[tuple[str, str], str]
) -> tuple[Written, ...]:
    """Fields that changed, of objects that the rulebook declares and of duties and findings."""
    zone = program.book.zone_ms
    found: list[Written] = []
    for key, data in outcome[7]:
        kind = key.partition("/")[0]
        if kind in ("timer", "ticket"):
            continue
        table = program.book.tables.get(kind)
        old = canonical.parse(before[key]) if before.get(key) else {}
        new = canonical.parse(data) if data else {}
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name) and not name.startswith("_"):
                writer = "table" if table is not None and table.field == name else writers.get((kind, name), "")
                was, now = (show(each[name], zone) if name in each else None for each in (old, new))
                found.append(Written(key, name, was, now, writer))
    return tuple(found)


def _writers(objects: Mapping[str, str], asked: Sequence[Asked]) -> dict[tuple[str, str], str]:
    """(object kind, field) → the rule whose effect wrote it. `objects`: names in the state, and their kinds."""
    return {
        (objects[effect[1]], name): each.rule
        for each in asked
        for effect in each.said
        if isinstance(effect, tuple) and effect[0] == "write" and effect[1] in objects
        for name in effect[3]
    }


def describe(effect: Any, zone_ms: int) -> tuple[str, str]:
    """(what kind of effect, the rest as rule authors write it). Whatever is no effect is shown as it is."""
    if not isinstance(effect, tuple) or not effect or not isinstance(effect[0], str):
        return "value", show(effect, zone_ms)
    op = effect[0]
    names = {
        "refuse": ("code", "facts"),
        "breach": ("code", "about", "on", "of", "held", "facts"),
        "finding": ("code", "about", "on", "of", "held", "facts"),
        "alert": ("code", "facts"),
        "write": ("target", "of", "fields"),
        "move": ("target", "of", "signal"),
        "duty": ("rule", "by", "on", "of", "label", "due", "kinds"),
        "discharge": ("rule", "on", "of", "label"),
        "timer": ("rule", "on", "of", "label", "due", "facts"),
        "clear": ("rule", "on", "of", "label"),
        "settle": ("code", "about", "on", "of"),
    }.get(op, ())
    parts: list[str] = []
    for number, (name, value) in enumerate(zip(names, effect[1:], strict=False)):
        if value is None or value in ({}, (), []):
            if name == "due":
                parts.append("due=None")
            continue
        if name in ("facts", "fields"):
            parts.extend(f"{key}={show(item, zone_ms)}" for key, item in value.items())
        elif name == "due":
            parts.append(f"due={_due(value, zone_ms)}")
        else:
            parts.append(show(value, zone_ms) if number == 0 else f"{name}={show(value, zone_ms)}")
    return op, ", ".join(parts)


def _due(due: Any, zone_ms: int) -> str:
    if not isinstance(due, tuple):
        return show(due, zone_ms)
    _, unit, count, since, moment, provisional = due
    text = f"{unit} {count} since {_moment(since, zone_ms)} → {_moment(moment, zone_ms)}"
    return text + (" (provisional)" if provisional else "")


def show(value: Any, zone_ms: int) -> str:
    """`value` on one line, bounded; moments as dates of the rulebook's zone."""
    if type(value) is int and _SHOWN_AS_TIME[0] <= value < _SHOWN_AS_TIME[1]:
        return _moment(value, zone_ms)
    try:
        text = canonical.encode({"": value}).decode("utf-8")[4:-1]
    except Exception:  # noqa: BLE001 - a value that no document holds is still shown
        text = repr(value)
    return text if len(text) <= VALUE_CHARS_MAX else text[: VALUE_CHARS_MAX - 1] + "…"


def _moment(ms: int, zone_ms: int) -> str:
    text = format_time(ms + zone_ms)
    return f"{text[:10]} {text[11:19]}" if text[20:23] == "000" else f"{text[:10]} {text[11:23]}"


# --- statements and what they look at, for a tracer --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of a rule file (of a compound one its head): first line, text, and the expressions it looks at."""

    line: int
    text: str
    looks: tuple[ast.expr, ...]


def statements(rule: RuleFacts, source: bytes) -> dict[int, Statement]:
    """Line of the rule's file → the statement that it belongs to."""
    lines = source.decode("utf-8").split("\n")
    found: dict[int, Statement] = {}
    for facts in rule.functions.values():
        for node in ast.walk(facts.node):
            if not isinstance(node, ast.stmt) or node is facts.node:
                continue
            body = getattr(node, "body", None)
            cases = getattr(node, "cases", None)
            below = cases[0].pattern if cases else body[0] if body else None
            last = max(node.lineno, below.lineno - 1) if below is not None else (node.end_lineno or node.lineno)
            text = " ".join(line.strip() for line in lines[node.lineno - 1 : last])
            head = [node.test] if isinstance(node, ast.If) else _heads(node)
            looks: list[ast.expr] = []
            for part in head:
                _collect(part, looks)
            statement = Statement(node.lineno, text, tuple(looks))
            found.update(dict.fromkeys(range(node.lineno, last + 1), statement))
    return found


def _heads(node: ast.stmt) -> list[ast.expr]:
    if isinstance(node, ast.For):
        return [node.iter]
    if isinstance(node, ast.Match):
        return [node.subject]
    value = getattr(node, "value", None)
    return [value] if isinstance(value, ast.expr) else []


def _collect(node: ast.AST, looks: list[ast.expr]) -> None:
    """The longest paths below `node` such as `state["grant"]["until"]`, `event.body.get("x")` and own names."""
    if isinstance(node, ast.expr) and _is_path(node):
        if not isinstance(node, ast.Name) or node.id not in grammar.RESERVED_NAMES:
            looks.append(node)
        for child in ast.walk(node):
            if isinstance(child, ast.Subscript) and not isinstance(child.slice, ast.Constant):
                _collect(child.slice, looks)
        return
    for child in ast.iter_child_nodes(node):
        _collect(child, looks)


def _is_path(node: ast.expr) -> bool:
    if isinstance(node, ast.Name):
        return True
    if isinstance(node, ast.Attribute):
        return _is_path(node.value)
    if isinstance(node, ast.Subscript):
        return not isinstance(node.slice, ast.Slice) and _is_path(node.value)
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "get"
        and _is_path(node.func.value)
        and bool(node.args)
        and isinstance(node.args[0], ast.Constant)
    )


def look(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """The value of a path among `names`. Raises `LookupError`, `TypeError` or `ValueError` where there is none."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.Attribute):
        return look(node.value, names)[node.attr]
    if isinstance(node, ast.Subscript):
        return look(node.value, names)[look(node.slice, names)]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        found = look(node.func.value, names).get(look(node.args[0], names))
        return ast.literal_eval(node.args[1]) if found is None and len(node.args) > 1 else found
    raise TypeError


def is_short(value: Any) -> bool:
    """Whether a value says something on a line of its own: a plain value or a short list, no whole object."""
    if isinstance(value, dict):
        return len(value) <= 3 and all(is_short(item) for item in value.values())
    if isinstance(value, list):
        return len(value) <= 12 and all(not isinstance(item, (dict, list)) for item in value)
    return value is None or isinstance(value, (str, int, bool))


__all__ = [
    "Asked", "Explanation", "RuleSaid", "Statement", "Step", "UsedParameter", "Written", "describe", "explain",
    "explain_timer", "is_short", "look", "show", "statements",
]  # fmt: skip
