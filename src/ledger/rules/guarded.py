"""Decides the text of a function's expressions with the guards written out, so that the usual type costs no call.

Rules: the value, the error and what is charged are those that `emit` gives. So operands are evaluated in their order, each
once, and where the type at hand is not the usual one the guard itself is called.
Never here: statements (see `emit`), event and state as locals (see `inline`).
"""

from __future__ import annotations

import ast
from typing import Final

from ledger.limits import INT_MAX
from ledger.rules.emit import GUARDED, OF_TWO, ORDERED, UNCOUNTED, Emitter
from ledger.rules.facts import FunctionFacts, RuleFacts
from ledger.rules.kinds import Kind
from ledger.rules.scalars import INT, STR

_SIGN: Final = {ast.Add: ("+", "_add"), ast.Sub: ("-", "_sub"), ast.Mult: ("*", "_mul")}


class Guarded(Emitter):
    """Program text of one function that handlers call, or of a path."""

    def __init__(self, rule: RuleFacts, facts: FunctionFacts, kind: Kind | None) -> None:
        super().__init__(rule, facts, kind)
        self.comprehending = 0  # inside a comprehension nothing can be bound on the way

    def comprehension(self, node: ast.ListComp | ast.DictComp) -> str:
        depth = len(node.generators)
        self.comprehending += depth
        text = super().comprehension(node)
        self.comprehending -= depth
        return text

    def may_bind(self) -> bool:
        """Whether a value can be kept on the way."""
        return self.comprehending == 0

    def bind(self, node: ast.expr) -> tuple[str, str]:
        """Text of the first use of a value, and of every later one."""
        text = self.expression(node)
        if isinstance(node, (ast.Name, ast.Constant)):
            return text, text
        name = self.temporary()
        return f"{name} := {text}", name

    def may_wait(self, node: ast.expr) -> bool:
        """Whether a value may be evaluated later than its turn."""
        return self.is_at_hand(node)

    def two(self, nodes: tuple[ast.expr, ast.expr], name: str) -> tuple[list[str], str, str, str]:
        """Tests that both are of the type `name`; both once they are; the second where the first may not have been."""
        tests: list[str] = []
        again: list[str] = []
        fallback = ""
        for node in nodes:
            if self.scalars.of(node) == frozenset({name}) and self.may_wait(node):
                again.append(self.expression(node))
                fallback = again[-1]
                continue
            first, later = self.bind(node)
            fallback = later
            if tests and later != first:
                fallback = f"({later} if type({again[0]}) is {name} else {self.expression(node)})"
            tests.append(f"type({first}) is {name}")
            again.append(later)
        return tests, again[0], again[1], fallback

    def arithmetic(self, node: ast.BinOp) -> str:
        sign = _SIGN.get(type(node.op))
        known = self.scalars.of(node.left), self.scalars.of(node.right)
        if sign is None or STR in known or not self.may_bind():
            return super().arithmetic(node)
        tests, left, right, fallback = self.two((node.left, node.right), "int")
        made = self.temporary()
        tests.append(f"-{INT_MAX} <= ({made} := {left} {sign[0]} {right}) <= {INT_MAX}")
        otherwise = f"{sign[1]}({left}, {fallback})"
        return f"({made} if {' and '.join(tests)} else {otherwise})"

    def comparison(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> str:
        known = self.scalars.of(left), self.scalars.of(right)
        if isinstance(operator, (ast.In, ast.NotIn)):
            return self.membership(left, operator, right)
        if not self.may_bind() or (known[0] == known[1] and known[0] in (INT, STR)):
            return super().comparison(left, operator, right)
        if type(operator) in ORDERED:
            tests, a, b, fallback = self.two((left, right), "str" if STR in known else "int")
            guarded = GUARDED[type(operator)].format(a, fallback)
            return f"({a} {ORDERED[type(operator)]} {b} if {' and '.join(tests)} else {guarded})"
        plain = isinstance(left, ast.Constant) or isinstance(right, ast.Constant) or known[0] is not None
        if isinstance(operator, (ast.Eq, ast.NotEq)) and not plain:
            first, a = self.bind(left)
            b = self.expression(right)
            same = f"({a} == {b} if type({first}) is str or type({a}) is int else _eq({a}, {b}))"
            return same if isinstance(operator, ast.Eq) else f"(not {same})"
        return super().comparison(left, operator, right)

    def membership(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> str:
        """A test with `in`, looked through here where the list is short."""
        text = super().comparison(left, operator, right)
        if not text.startswith(("_in(", "(not _in(")) or not self.may_bind():
            return text
        among = self.rule.constants.get(right.id) if isinstance(right, ast.Name) else None
        if isinstance(among, ast.Dict) or (isinstance(among, ast.List) and len(among.elts) <= UNCOUNTED):
            (first, item), listed = self.bind(left), self.expression(right)
            found = f"({item} in {listed} if type({first}) is str else _in({item}, {listed}))"
        elif self.scalars.of(left) is not None and self.may_wait(left):
            item, (first, listed) = self.expression(left), self.bind(right)
            short = f"type({first}) is list and len({listed}) <= {UNCOUNTED} or type({listed}) is dict"
            found = f"({item} in {listed} if {short} else _in({item}, {listed}))"
        else:
            return text
        return found if isinstance(operator, ast.In) else f"(not {found})"

    def of_two(self, node: ast.Call, name: str, arguments: list[str]) -> str:
        if not self.may_bind() or STR in [self.scalars.of(value) for value in node.args]:
            return super().of_two(node, name, arguments)
        tests, a, b, fallback = self.two((node.args[0], node.args[1]), "int")
        chosen = f"({a} if {a} {'>=' if name == 'max' else '<='} {b} else {b})"
        if tests:
            return f"({chosen} if {' and '.join(tests)} else {OF_TWO[name]}({a}, {fallback}))"
        simple = a.isidentifier() or a.isdecimal(), b.isidentifier() or b.isdecimal()
        return chosen if all(simple) else f"{OF_TWO[name]}({a}, {b})"

    def call(self, node: ast.Call) -> str:
        if self.may_bind() and len(node.args) == 1 and isinstance(node.func, ast.Name) and node.func.id == "len":
            first, again = self.bind(node.args[0])
            return f"(len({again}) if type({first}) is list else _len({again}))"
        return super().call(node)
