"""Watches the uncompiled rule files decide one event or timer: which statements ran, and what they looked at.

Rule: a trace is an explanation, never a decision; the verdict comes from the compiled program, and both must agree.
It uses the interpreter's trace hook and gives it back afterwards. Not here: what the trace means (see `rules.explain`).
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, Final

from ledger.adapters.audit.simulation import Found, until_event, until_timer
from ledger.core import canonical
from ledger.errors import NotFoundError
from ledger.rules.explain import (
    Asked,
    Explanation,
    Statement,
    Step,
    explain,
    explain_timer,
    is_short,
    look,
    show,
    statements,
)
from ledger.rules.plain import Handler, Plain
from ledger.rules.program import Outcome, Program
from ledger.verify.source import LedgerSource

STEPS_MAX: Final = 200  # of one handler: a loop shows its first turn only


class RuleTrace:
    """Decides block calls with the rule files of `program`, noting what the handlers do for the event called `name`, or
    for the timer of that key when it is due at `due`."""

    def __init__(self, program: Program, name: str, due: int | None = None) -> None:
        self._name, self._due, self._zone_ms = name, due, program.book.zone_ms
        self._program = program
        self._statements: dict[str, dict[int, Statement]] = {}  # of the rules that were asked
        self._functions = {rule.file: set(rule.functions) for rule in program.book.rules.values()}
        self._plain = Plain(program, wrap=self._wrap)
        self._current: Asked | None = None
        self._lines: set[tuple[str, int]] = set()
        self.asked: list[Asked] = []

    def run_block(self, call: Mapping[str, Any]) -> list[Outcome]:
        """The outcomes of `call`; `asked` then holds what was watched."""
        return self._plain.run_block(call)

    def _wrap(self, rule: str, handler: str, function: Handler) -> Handler:
        def watched(event: Any, state: Any, env: Any) -> Any:
            if not self._is_wanted(event):
                return function(event, state, env)
            asked = self._current = Asked(rule, handler, dict(state))
            self.asked.append(asked)
            self._lines = set()
            facts = self._program.book.rules[rule]
            if facts.file not in self._statements:
                self._statements[facts.file] = statements(facts, self._program.files[facts.file])
            previous = sys.gettrace()
            sys.settrace(self._enter)
            try:
                result = function(event, state, env)
            except Exception as error:
                asked.failed = f"{type(error).__name__}: {error}"
                raise
            finally:
                sys.settrace(previous)
                self._current = None
            effects = result if isinstance(result, list) else [result]
            asked.said = [effect for effect in effects if effect is not None]
            return result

        return watched

    def _is_wanted(self, event: Mapping[str, Any]) -> bool:
        if self._due is None:
            return bool(event.get("name") == self._name)
        label = event.get("label")
        key = f"timer/{event.get('rule')}/{event.get('on')}" + ("" if label is None else f"#{label}")
        return key == self._name and event.get("due") == self._due

    def _enter(self, frame: FrameType, _what: str, _argument: Any) -> Callable[..., Any] | None:
        """Follow own functions of rule files; comprehensions belong to the statement they stand in."""
        code = frame.f_code
        return self._step if code.co_name in self._functions.get(code.co_filename, ()) else None

    def _step(self, frame: FrameType, what: str, _argument: Any) -> Callable[..., Any]:
        asked = self._current
        file = frame.f_code.co_filename
        statement = self._statements[file].get(frame.f_lineno) if what == "line" else None
        if asked is not None and statement is not None and len(asked.steps) < STEPS_MAX:
            place = (frame.f_code.co_name, statement.line)
            if place not in self._lines:
                self._lines.add(place)
                asked.steps.append(Step(statement.line, statement.text, self._seen(statement, frame)))
        return self._step

    def _seen(self, statement: Statement, frame: FrameType) -> tuple[tuple[str, str], ...]:
        found: dict[str, str] = {}
        names = frame.f_locals
        for node in statement.looks:
            try:
                value = look(node, names)
            except (LookupError, TypeError, ValueError, AttributeError):
                continue
            if is_short(value):
                found[ast.unparse(node).replace("'", '"')] = show(value, self._zone_ms)
        return tuple(found.items())


def explain_event(
    source: LedgerSource, name: str, progress: Callable[[int], None] | None = None
) -> tuple[Program, Explanation]:
    """Why the event `name` (`<member>/<event id>`) of `source` was decided as it was, and the program in force there.

    Raises `NotFoundError` where the ledger has no such event, or its body is gone.
    """
    member, _, event_id = name.rpartition("/")
    found = until_event(source, member, event_id, progress)
    return found.program, _explain(found, name)


def explain_fired(
    source: LedgerSource, key: str, due: int | None = None, progress: Callable[[int], None] | None = None
) -> tuple[Program, Explanation]:
    """Why the timer `key` of `source` was decided as it was when it fired for `due`, or for the last time.

    Raises `NotFoundError` where it never did.
    """
    found = until_timer(source, key, due, progress)
    program, leaf = found.program, found.leaf
    fired, place = (key, leaf.due), (found.block.height, found.block.time)
    verdict = canonical.parse(leaf.verdict, bytes_max=len(leaf.verdict))
    outcomes = program.run_block(found.call) if found.call is not None else []
    trace = RuleTrace(program, key, leaf.due)
    traced = trace.run_block(found.call) if found.call is not None else []
    before = dict(found.call["objects"]) if found.call is not None else {}
    for outcome, again in zip(outcomes, traced, strict=True):
        if (outcome[1], outcome[2]) == fired:
            asked = trace.asked if again == outcome else []
            return program, explain_timer(program, fired, verdict, place, asked, outcome, before)
        before.update(outcome[7])
    return program, explain_timer(program, fired, verdict, place, [], None, before)


def _explain(found: Found, name: str) -> Explanation:
    program, member, event_id = found.program, found.record.member, found.record.id
    if found.body is None:
        raise NotFoundError("body-missing", "the body was erased or withheld", member=member, id=event_id)
    place = (found.block.height, found.block.time)
    verdict = canonical.parse(found.record.verdict, bytes_max=len(found.record.verdict))
    at = _step_of(found)
    if at is None or found.call is None:
        step = [0, member, found.record.key_id.hex(), [], found.head, found.body]
        return explain(program, step, verdict, place, [], None, {})
    outcomes = program.run_block(found.call)
    trace = RuleTrace(program, name)
    traced = trace.run_block(found.call)
    before = dict(found.call["objects"])
    for outcome, again in zip(outcomes, traced, strict=True):
        if outcome[0] == at:
            # The trace is shown only where it decided as the program did; a rule that runs out of steps is cut short there.
            asked = trace.asked if again == outcome else []
            return explain(program, found.call["steps"][at], verdict, place, asked, outcome, before)
        before.update(outcome[7])
    return explain(program, found.call["steps"][at], verdict, place, [], None, before)


def _step_of(found: Found) -> int | None:
    """The step of the event in the call of its block."""
    for number, step in enumerate(found.call["steps"] if found.call is not None else ()):
        if step[0] == 0 and step[1] == found.record.member and step[4] == found.head:
            return number
    return None


__all__ = ["RuleTrace", "explain_event", "explain_fired"]
