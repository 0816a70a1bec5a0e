"""What is known of a rule file before it runs: its title, functions, and what each of them reads, writes and asks for.

Rule: facts are plain values that `check` collects and `compiler` uses; they follow from the text alone.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

Label = tuple[str, str] | None
"""How a label is made: None, or (source, name) with source member, ref, body, text, label or dynamic."""


@dataclass(slots=True)
class Touch:
    """One call that sets, discharges or clears something on a state object."""

    op: str  # duty | discharge | timer | clear
    rule: str
    on: str
    label: Label
    line: int
    kinds: tuple[str, ...] = ()
    timed: bool = True  # False for a duty whose `due` is literally None
    own_label: bool = False  # the label is the obligor: an event by that member discharges it


@dataclass(slots=True)
class FunctionFacts:
    """One function of a rule file and what its text says it does."""

    name: str
    node: ast.FunctionDef
    parameters: tuple[str, ...]
    calls: set[str] = field(default_factory=set)
    reads: dict[str, int] = field(default_factory=dict)  # names in `state`, with the first line
    targets: dict[str, int] = field(default_factory=dict)  # names in `on=`, `write`, `move`, with the first line
    writes: dict[tuple[str, str], int] = field(default_factory=dict)  # (name, field) → line
    moves: dict[tuple[str, str], int] = field(default_factory=dict)  # (name, signal) → line
    touches: list[Touch] = field(default_factory=list)
    codes: dict[tuple[str, str], int] = field(default_factory=dict)  # (refuse|breach|finding|alert, code) → line
    refs: dict[str, int] = field(default_factory=dict)  # event.refs["x"] and .get("x")
    fields: dict[str, int] = field(default_factory=dict)  # event.body["x"] and .get("x")
    parameters_used: dict[str, int] = field(default_factory=dict)  # env.params["x"]
    signer: int = 0  # first line that reads env.signer


@dataclass(slots=True)
class RuleFacts:
    """One rule file."""

    id: str
    file: str
    title: dict[str, str]
    article: str
    text: str
    constants: dict[str, ast.expr]
    functions: dict[str, FunctionFacts]
    _reached: dict[str, list[FunctionFacts]] = field(default_factory=dict, repr=False, compare=False)

    def reachable(self, name: str) -> list[FunctionFacts]:
        """The function `name` and every function of this file that it may call, callers first; of a checked file."""
        if name in self._reached:
            return self._reached[name]
        found: dict[str, FunctionFacts] = {}
        waiting = [name]
        while waiting:
            current = waiting.pop(0)
            if current not in found:
                found[current] = self.functions[current]
                waiting.extend(sorted(self.functions[current].calls))
        self._reached[name] = list(found.values())
        return self._reached[name]
