"""Decides whether the parts of a rulebook fit together, and generates its program.

Rules: every name, code, parameter and kind that a rule mentions is declared; every declared field of an object has at most
one writer (a rule or a table); a timer's handler reads only objects that everyone who sets the timer has; the program is
the prelude, tables of constants, the rules' functions and one function per kind, in an order that depends on names alone.
Never here: running it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NoReturn

from ledger.errors import MalformedError
from ledger.limits import RULE_STEPS_MAX, TIMER_KEYS_MAX
from ledger.rules.emit import function_name, literal
from ledger.rules.execute import PART_MARK
from ledger.rules.facts import FunctionFacts, RuleFacts, Touch
from ledger.rules.kindcode import emit_kind
from ledger.rules.kinds import Kind, refuse
from ledger.rules.params import in_force
from ledger.rules.plancode import KindPlan
from ledger.rules.prelude import program_text
from ledger.rules.rulebook import Rulebook
from ledger.rules.rulecode import emit_rule

_TEXT_TYPE: Final = {
    "refuse": ("refusal",),
    "breach": ("finding", "refusal"),
    "finding": ("finding",),
    "alert": ("alert",),
}


def _belongs(timer: str, rule: RuleFacts) -> bool:
    return timer == rule.id or timer.startswith(rule.id + ".")


@dataclass(slots=True)
class Handler:
    """A timer's handler: the names of the objects it reads, and what it may touch."""

    rule: RuleFacts
    function: str
    names: list[str]
    touches: list[Touch]


class Compiler:
    """One rulebook on its way to a program, which gives every event and timer `steps` steps."""

    def __init__(self, book: Rulebook, steps: int = RULE_STEPS_MAX) -> None:
        self.book, self.steps = book, steps
        self.writers: dict[tuple[str, str], tuple[str, str]] = {}  # (object kind, field) → (rule or table, file)
        self.handlers: dict[str, Handler] = {}
        self.listeners: dict[str, list[tuple[RuleFacts, str]]] = {name: [] for name in book.kinds}
        self.discharges: dict[str, list[tuple[str, str, bool]]] = {name: [] for name in book.kinds}
        self.duties = self._duties()
        self._set: dict[str, list[tuple[Touch, RuleFacts]]] = {}  # of `_setters`

    def program(self) -> str:
        """The program text. Raises `MalformedError` (code `rulebook` or `rule`) where the parts do not fit."""
        self._find_listeners()
        for table in self.book.tables.values():
            for code in table.otherwise.values():
                if code not in self.book.texts or self.book.texts[code].type != "finding":
                    refuse(
                        "tables.toml", table.object, f"no text of type finding for {code!r}", "declare it in texts.toml"
                    )
            self.writers[(table.object, table.field)] = ("table " + table.object, "tables.toml")
        for kind in self.book.kinds.values():
            self._check_kind(kind)
        for name in sorted(self.handlers):
            self._check_handler(name)
        self._find_discharges()
        return self._emit()

    def refuse(self, rule: RuleFacts, line: int, message: str, advice: str = "") -> NoReturn:
        """Raise `MalformedError` at a line of a rule file."""
        raise MalformedError("rule", message, file=rule.file, line=line, advice=advice)

    # Who listens to what.

    def _find_listeners(self) -> None:
        by_function = {kind.function: kind.name for kind in self.book.kinds.values()}
        for rule in self.book.rules.values():
            for name, facts in rule.functions.items():
                if name.startswith("on_timer_"):
                    timer = name.removeprefix("on_timer_").replace("_", ".")
                    if timer in self.handlers or not _belongs(timer, rule):
                        self.refuse(rule, facts.node.lineno, f"timer {timer!r} is handled twice, or named by another rule",
                                    f"timers of {rule.id} are called {rule.id} or {rule.id}.…")  # fmt: skip
                    self.handlers[timer] = self._handler(rule, name)
                elif name == "on_any":
                    for kind in self.listeners:
                        self.listeners[kind].append((rule, name))
                elif name.startswith("on_"):
                    kind = by_function.get(name.removeprefix("on_"), "")
                    if not kind:
                        self.refuse(rule, facts.node.lineno, f"{name} listens to no kind of this rulebook")
                    self.listeners[kind].append((rule, name))

    def _handler(self, rule: RuleFacts, name: str) -> Handler:
        reached = rule.reachable(name)
        names = sorted({read for facts in reached for read in (*facts.reads, *facts.targets)})
        if len(names) > TIMER_KEYS_MAX:
            self.refuse(rule, reached[0].node.lineno, f"a timer's handler touches at most {TIMER_KEYS_MAX} objects")
        for facts in reached:
            if facts.signer or facts.refs or facts.fields:
                self.refuse(rule, facts.node.lineno, "a timer has no event and no signer")
        return Handler(rule, name, names, [touch for facts in reached for touch in facts.touches])

    # What rules mention exists, and fits the kind.

    def _check_kind(self, kind: Kind) -> None:
        objects = kind.objects()
        for stream in objects.values():
            if stream not in self.book.objects and stream not in ("member", "finding"):
                refuse(kind.file, kind.name, f"object kind {stream!r} is not declared", "objects.toml")
        many = {ref.name for ref in kind.refs if ref.many}
        for rule, name in self.listeners[kind.name]:
            for facts in rule.reachable(name):
                self._check_facts(rule, facts, objects)
                self._check_event(rule, facts, kind, name)
        for touch, rule in self._setters(kind):
            handler = self.handlers.get(touch.rule)
            if handler is None:
                if touch.timed:
                    self.refuse(
                        rule,
                        touch.line,
                        f"nobody handles the timer {touch.rule!r}",
                        f"def on_timer_{touch.rule.replace('.', '_')}(…)",
                    )
                continue
            # Of a list the handler is given the one that the timer is on.
            given = (touch.on, objects.get(touch.on))
            missing = [read for read in handler.names if read not in objects or (read in many and read not in given)]
            if missing:
                self.refuse(
                    rule, touch.line, f"{handler.function} needs {', '.join(missing)}, which {kind.name} does not have",
                    "name it in the kind's refs or state",
                )  # fmt: skip

    def _setters(self, kind: Kind) -> list[tuple[Touch, RuleFacts]]:
        # Asked for once the listeners are known.
        if kind.name not in self._set:
            self._set[kind.name] = [
                (touch, rule)
                for rule, name in self.listeners[kind.name]
                for facts in rule.reachable(name)
                for touch in facts.touches
                if touch.op in ("timer", "duty")
            ]
        return self._set[kind.name]

    def _check_event(self, rule: RuleFacts, facts: FunctionFacts, kind: Kind, name: str) -> None:
        if name == "on_any" and (facts.refs or facts.fields or facts.reads or facts.targets):
            self.refuse(rule, facts.node.lineno, "on_any sees event.kind, event.time and env only")
        refs = {ref.name for ref in kind.refs}
        for ref, line in facts.refs.items():
            if ref not in refs:
                self.refuse(rule, line, f"{kind.name} has no ref {ref!r}")
        fields = {entry.name for entry in kind.fields}
        for entry, line in facts.fields.items():
            if entry not in fields:
                self.refuse(rule, line, f"the body of {kind.name} has no field {entry!r}")
        if kind.act:
            for (op, code), line in facts.codes.items():
                if op == "refuse":
                    self.refuse(rule, line, f"{kind.name} is an act and cannot be refused ({code})", "use breach(…)")

    def _check_facts(self, rule: RuleFacts, facts: FunctionFacts, objects: dict[str, str]) -> None:
        book = self.book
        for name, line in (*facts.reads.items(), *facts.targets.items()):
            if name not in objects:
                self.refuse(rule, line, f"no object {name!r} here", "one of " + ", ".join(sorted(objects)))
        for name, line in facts.targets.items():
            if objects[name] == "member":
                self.refuse(rule, line, f"{name!r} is a member's entry in the registry, which rules only read")
        for (name, field), line in facts.writes.items():
            declared = book.objects.get(objects[name])
            if declared is None or field not in declared.fields:
                self.refuse(rule, line, f"{objects[name]} has no field {field!r}", "declare it in objects.toml")
            writer = self.writers.setdefault((objects[name], field), (rule.id, rule.file))
            if writer[0] != rule.id:
                self.refuse(
                    rule, line, f"{objects[name]}.{field} is written by {writer[0]} already", "one writer per field"
                )
        for (name, signal), line in facts.moves.items():
            table = book.tables.get(objects[name])
            if table is None or signal not in table.signals():
                self.refuse(rule, line, f"the table of {objects[name]} has no !{signal}")
        for (op, code), line in facts.codes.items():
            text = book.texts.get(code)
            if text is None or text.type not in _TEXT_TYPE[op]:
                self.refuse(
                    rule,
                    line,
                    f"no text of type {' or '.join(_TEXT_TYPE[op])} for {code!r}",
                    "declare it in texts.toml",
                )
        for name, line in facts.parameters_used.items():
            if name not in book.params:
                self.refuse(rule, line, f"no parameter {name!r}", "declare it in params.toml")
        for touch in facts.touches:
            if touch.op == "duty" and not _belongs(touch.rule, rule):
                self.refuse(rule, touch.line, f"the duty {touch.rule!r} belongs to another rule")
            for kind in touch.kinds:
                if kind not in book.kinds:
                    self.refuse(rule, touch.line, f"unknown kind {kind!r}")

    def _check_handler(self, name: str) -> None:
        handler = self.handlers[name]
        kinds = [kind for kind in self.book.kinds.values() if any(t.rule == name for t, _ in self._setters(kind))]
        for other in self.handlers.values():
            if (
                any(touch.rule == name and touch.op in ("timer", "duty") for touch in other.touches)
                and other is not handler
            ):
                missing = set(handler.names) - set(other.names)
                if missing:
                    self.refuse(other.rule, 1, f"{handler.function} needs {', '.join(sorted(missing))}")
        for touch in handler.touches:
            if touch.op in ("timer", "duty") and touch.timed and touch.rule not in self.handlers:
                self.refuse(handler.rule, touch.line, f"nobody handles the timer {touch.rule!r}")
        if not kinds:
            self.refuse(handler.rule, 1, f"nobody sets the timer {name!r}")
        objects = kinds[0].objects()
        for kind in kinds:
            if any(kind.objects()[read] != objects[read] for read in handler.names):
                self.refuse(handler.rule, 1, f"{handler.function} is given objects of different kinds")
        for facts in handler.rule.reachable(handler.function):
            self._check_facts(handler.rule, facts, {read: objects[read] for read in handler.names})

    def _duties(self) -> set[str]:
        """Names of the timers that are the deadline of a duty."""
        return {
            touch.rule
            for rule in self.book.rules.values()
            for facts in rule.functions.values()
            for touch in facts.touches
            if touch.op == "duty"
        }

    def _find_discharges(self) -> None:
        for rule in self.book.rules.values():
            for facts in rule.functions.values():
                for touch in facts.touches:
                    if touch.op == "duty":
                        self._add_discharges(rule, facts, touch)

    def _add_discharges(self, rule: RuleFacts, facts: FunctionFacts, touch: Touch) -> None:
        stream = self._object_of(rule, facts, touch)
        for name in touch.kinds:
            other = {ref.name for ref in self.book.kinds[name].refs if ref.object != ref.name}
            objects = self.book.kinds[name].objects()
            found = sorted(state for state, kind in objects.items() if kind == stream and state not in other)
            if not found:
                self.refuse(rule, touch.line, f"{name} touches no {stream}, so it cannot discharge {touch.rule}")
            for state in found:
                entry = (touch.rule, state, touch.own_label)
                if entry not in self.discharges[name]:
                    self.discharges[name].append(entry)

    def _object_of(self, rule: RuleFacts, facts: FunctionFacts, touch: Touch) -> str:
        for kind in self.book.kinds.values():
            for other, name in self.listeners[kind.name]:
                if other is rule and facts in rule.reachable(name):
                    return kind.objects()[touch.on]
        for timer, handler in self.handlers.items():
            if handler.rule is rule and facts in rule.reachable(handler.function):
                for kind in self.book.kinds.values():
                    if any(found.rule == timer for found, _ in self._setters(kind)):
                        return kind.objects()[touch.on]
        return self.refuse(rule, touch.line, "nothing calls this function")

    # The program.

    def _emit(self) -> str:
        book = self.book
        parts = [program_text() + PART_MARK, self._constants()]
        kinds_of = {"on_" + kind.function: kind for kind in book.kinds.values()}
        parts.extend(emit_rule(book.rules[name], kinds_of) for name in sorted(book.rules))
        for name in sorted(book.kinds):
            parts.append(emit_kind(self._plan(book.kinds[name])))
        timers = [
            f"    {literal(name)}: [{literal(found.names)}, {function_name(found.rule.id, found.function)}, "
            f"{literal(found.rule.id)}, {literal(name in self.duties)}],"
            for name, found in sorted(self.handlers.items())
        ]
        parts.append("_TIMERS = {\n" + "\n".join(timers) + "\n}\n")
        kinds = [f"    {literal(name)}: _k_{book.kinds[name].function}," for name in sorted(book.kinds)]
        parts.append("_KINDS = {\n" + "\n".join(kinds) + "\n}\n")
        plans = [f"    {literal(name)}: _p_{book.kinds[name].function}," for name in sorted(book.kinds)]
        parts.append("_PLANS = {\n" + "\n".join(plans) + "\n}\n")
        return "\n\n".join(parts)

    def _constants(self) -> str:
        book = self.book
        defaults = {
            name: {field: value for field, value in sorted(kind.fields.items()) if value is not None}
            for name, kind in sorted(book.objects.items())
        }
        edges = {
            name: [
                table.field,
                {
                    status: {signal: after for signal, after in sorted(moves.items()) if signal.startswith("!")}
                    for status, moves in sorted(table.moves.items())
                },
            ]
            for name, table in sorted(book.tables.items())
        }
        codes = {code: text.first for code, text in sorted(book.texts.items()) if text.type == "finding"}
        params = [[first, {name: values[name] for name in sorted(values)}] for first, values in in_force(book.params)]
        return "\n".join(
            [
                f"_ZONE_MS = {book.zone_ms}",
                f"_CALENDAR = {literal(list(book.calendar))}",
                "_load_calendar()",
                f"_STEPS = {self.steps}",
                f"_DEFAULTS = {literal(defaults)}",
                f"_IMPLICIT = {literal(sorted(name for name, kind in book.objects.items() if kind.implicit))}",
                f"_EDGES = {literal(edges)}",
                f"_CODES = {literal(codes)}",
                f"_PARAMS = {literal(params)}",
                "",
            ]
        )

    def _plan(self, kind: Kind) -> KindPlan:
        objects = kind.objects()
        tables: list[list[Any]] = []
        # An object that must exist is moved, one that may be new is started; a kind that only starts leaves the rest alone,
        # and of the objects of one kind it starts what it creates.
        existing = {ref.name for ref in kind.refs if ref.exists}
        other = {ref.name for ref in kind.refs if ref.object != ref.name}
        for name in sorted(objects):
            table = self.book.tables.get(objects[name]) if name not in other else None
            started = kind.created if kind.creates == objects[name] else name
            starts = kind.name in table.start and name not in existing and name == started if table else False
            if table is not None and (table.moves_by(kind.name) or starts):
                steps = {
                    status: moves[kind.name] for status, moves in sorted(table.moves.items()) if kind.name in moves
                }
                tables.append([name, table.field, steps, table.start.get(kind.name), table.otherwise.get(kind.name)])
        touches = [
            touch
            for rule, name in self.listeners[kind.name]
            for facts in rule.reachable(name)
            for touch in facts.touches
        ]
        return KindPlan(
            kind=kind,
            rules=[(rule.id, function_name(rule.id, name)) for rule, name in self.listeners[kind.name]],
            handlers=[(rule, rule.functions[name]) for rule, name in self.listeners[kind.name]],
            tables=tables,
            discharges=self.discharges[kind.name],
            touches=self._closure(touches),
            duties=self.duties,
            implicit={
                name
                for name in objects
                if objects[name] in self.book.objects and self.book.objects[objects[name]].implicit
            },
        )

    def _closure(self, touches: list[Touch]) -> list[Touch]:
        """The touches of a kind and, for timers that may fire at once, those of their handlers."""
        found: list[Touch] = []
        waiting = list(touches)
        while waiting:
            touch = waiting.pop(0)
            if touch in found:
                continue
            found.append(touch)
            if touch.op in ("timer", "duty") and touch.rule in self.handlers:
                for further in self.handlers[touch.rule].touches:
                    label = touch.label if further.label == ("label", "") else further.label
                    waiting.append(Touch(further.op, further.rule, further.on, label, further.line, further.kinds))
        return found

    def timer_touches(self) -> dict[str, list[Touch]]:
        """What each timer's handler may touch beyond the objects it carries."""
        return {name: self._closure(handler.touches) for name, handler in self.handlers.items()}
