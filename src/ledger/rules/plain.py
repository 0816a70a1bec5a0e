"""Runs rule files as the Python they are, uncompiled: for a debugger, for coverage, and to show the same verdicts.

Rules: the prelude's engine is the same; only the functions of the rule files are the author's own text, under their own file
names and lines. Nothing is metered and nothing is guarded, so this is for trusted rules only: an author's own.
Never here: a node's decisions.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import CodeType
from typing import Any, Final

from ledger.rules import grammar
from ledger.rules.emit import function_name
from ledger.rules.execute import load_program
from ledger.rules.facts import RuleFacts
from ledger.rules.program import Outcome, Program

_BUILTINS: Final = {
    "all": all,
    "any": any,
    "len": len,
    "max": max,
    "min": min,
    "range": range,
    "sorted": sorted,
    "sum": sum,
}

Handler = Callable[[Any, Any, Any], Any]
Wrap = Callable[[str, str, Handler], Handler]


class _Record(dict[str, Any]):
    """Fields by attribute, as rules write them, and by item, as the prelude reads them."""

    def __getattr__(self, name: str) -> Any:
        value = self[name]
        return _Record(value) if name == "signer" else value


class Plain:
    """A runtime whose rule functions are the uncompiled ones. `folder` is where a debugger finds the rulebook's files.

    `wrap(rule, handler, function)` may put something around each handler, such as a tracer.
    """

    def __init__(self, program: Program, folder: str = "", wrap: Wrap | None = None) -> None:
        self._namespace = load_program(program.text)
        self._namespace["_STRAIGHT"] = False  # there the rules' own statements stand, not their functions
        self._wrap = wrap
        for rule in program.book.rules.values():
            self._load(rule, program.files[rule.file], f"{folder}/{rule.file}" if folder else rule.file)
        for name, entry in self._namespace["_TIMERS"].items():
            entry[1] = self._namespace[function_name(entry[2], "on_timer_" + name.replace(".", "_"))]

    def run_block(self, call: Mapping[str, Any]) -> list[Outcome]:
        """The outcomes of `call`, as `Program.run_block` gives them."""
        outcomes: list[Outcome] = self._namespace["_run_block"](call["time"], call["objects"], call["steps"])
        return outcomes

    def _load(self, rule: RuleFacts, source: bytes, path: str) -> None:
        helpers = {name: self._namespace[name] for name in grammar.HELPERS}
        module: dict[str, Any] = {"__builtins__": dict(_BUILTINS), "__name__": rule.id, **helpers}
        exec(_compiled(source, path), module)  # noqa: S102 - the author's own file, checked before
        for name in rule.functions:
            if name.startswith("on_"):
                function = module[name] if self._wrap is None else self._wrap(rule.id, name, module[name])
                self._namespace[function_name(rule.id, name)] = self._handler(function, path, rule)

    def _handler(self, function: Handler, path: str, rule: RuleFacts) -> Handler:
        fault = self._namespace["_fault"]

        def handle(event: Any, state: Any, env: Any) -> Any:
            try:
                return function(_Record(event), _ordered(state), _Record(env))
            except Exception as error:  # noqa: BLE001 - a rule that raises is a verdict, as in the compiled program
                line = _line(error, path)
                return fault(_marks(rule).get(line, line), error)

        return handle


@lru_cache(maxsize=256)
def _compiled(source: bytes, path: str) -> CodeType:
    """A rule file's code: who explains many events runs the same files in a namespace of each event's own."""
    return compile(source, path, "exec")


def _ordered(value: Any) -> Any:
    """A value whose maps stand in the order of their keys, in which the program walks them."""
    if type(value) is dict:
        return {name: _ordered(value[name]) for name in sorted(value)}
    return [_ordered(item) for item in value] if type(value) is list else value


def _line(error: Exception, path: str) -> int:
    """The innermost line of the file `path` in an error's traceback."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _marks(rule: RuleFacts) -> dict[int, int]:
    """Line of a rule file → the line that the compiled program names for it: where the statement begins."""
    marks: dict[int, int] = {}

    def note(body: list[ast.stmt]) -> None:
        for node in body:
            marks.update(dict.fromkeys(range(node.lineno, (node.end_lineno or node.lineno) + 1), node.lineno))
            descend(node)

    def descend(node: ast.stmt) -> None:
        if isinstance(node, ast.For):
            note(node.body)
        elif isinstance(node, ast.Match):
            for case in node.cases:
                note(case.body)
        elif isinstance(node, ast.If):
            note(node.body)
            if len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
                descend(node.orelse[0])  # the test of an `elif` belongs to the statement it continues
            else:
                note(node.orelse)

    for facts in rule.functions.values():
        note(facts.node.body)
    return marks
