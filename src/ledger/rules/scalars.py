"""Decides which values in a rule are certainly scalars, and of which types, so that the program need not ask again.

Rules: what is said of an expression holds whenever it has a value at all; None says nothing. It follows from the syntax, the
guards' own results, and what the ledger has checked of an event before any rule sees it, never from state.
Never here: the text of the program (see `emit`).
"""

from __future__ import annotations

import ast
from typing import Final, cast

from ledger.rules.facts import FunctionFacts, RuleFacts
from ledger.rules.kinds import Kind

Types = frozenset[str] | None
"""Names of the scalar types that a value may have (`int`, `str`, `bool`, `None`); None: perhaps no scalar."""

INT: Final = frozenset({"int"})
STR: Final = frozenset({"str"})
_BOOL: Final = frozenset({"bool"})
_NOTHING: Final[frozenset[str]] = frozenset()

_OF_FIELD: Final = {
    "int": INT, "bool": _BOOL, "text": STR, "code": STR, "time": STR, "date": STR, "digest": STR,
}  # fmt: skip
_OF_ARGUMENT: Final = {
    "event": {"time": INT, "kind": STR, "member": STR, "id": STR, "name": STR, "intent": _BOOL},
    "timer": {"due": INT, "id": STR, "on": STR, "rule": STR},
    "env": {"now": INT},
}
_OF_CALL: Final = {
    "all": _BOOL, "any": _BOOL, "len": INT, "sum": INT, "min": INT | STR, "max": INT | STR, "ms": INT, "day": INT,
    "month": STR,
}  # fmt: skip
_OF_METHOD: Final = {"endswith": _BOOL, "startswith": _BOOL, "join": STR, "removeprefix": STR, "removesuffix": STR}


class Scalars:
    """What is certain of the values in one function of a checked rule file."""

    def __init__(self, rule: RuleFacts, facts: FunctionFacts, kind: Kind | None) -> None:
        """`kind`: the event kind that the function listens to; None when it is told of several, or of a timer."""
        self._constants = rule.constants
        self._body = {field.name: _OF_FIELD.get(field.type) for field in kind.fields if field.required} if kind else {}
        self._lists = {f.name: _OF_FIELD.get(f.item.type) for f in kind.fields if f.required and f.item} if kind else {}
        self._many = {ref.name for ref in kind.refs if ref.many and not ref.optional} if kind else set[str]()
        self._refs = {ref.name for ref in kind.refs if not ref.many and not ref.optional} if kind else set[str]()
        self._locals: dict[str, Types] = dict.fromkeys(facts.parameters)
        # A name starts with no type and gains those of all that is assigned to it, until nothing is added.
        known: dict[str, Types] = {}
        while known != self._locals:
            known = dict(self._locals)
            for node in ast.walk(facts.node):
                self._bind(node)

    def of(self, node: ast.expr) -> Types:
        """The types that `node` may have."""
        if isinstance(node, ast.Constant):
            return frozenset({type(node.value).__name__ if node.value is not None else "None"})
        if isinstance(node, ast.Name):
            constant = self._constants.get(node.id)
            return self._locals.get(node.id, _NOTHING) if constant is None else self._of_constant(constant)
        if isinstance(node, ast.Attribute):
            base = node.value
            of = _OF_ARGUMENT.get(base.id, {}) if isinstance(base, ast.Name) else {"member": STR, "key": STR}
            return of.get(node.attr)
        if isinstance(node, ast.Subscript):
            return self._item(node)
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.BinOp):
            return self._arithmetic(node.op, self.of(node.left), self.of(node.right))
        if isinstance(node, ast.BoolOp):
            return _any_of([self.of(value) for value in node.values])
        if isinstance(node, ast.IfExp):
            return _any_of([self.of(node.body), self.of(node.orelse)])
        if isinstance(node, ast.UnaryOp):
            return _BOOL if isinstance(node.op, ast.Not) else INT
        if isinstance(node, ast.Compare):
            return _BOOL
        return STR if isinstance(node, ast.JoinedStr) else None

    def _of_constant(self, node: ast.expr) -> Types:
        if isinstance(node, ast.UnaryOp):
            return INT
        return self.of(node) if isinstance(node, ast.Constant) else None

    def _item(self, node: ast.Subscript) -> Types:
        base, key = node.value, node.slice
        if isinstance(base, ast.Attribute) and isinstance(base.value, ast.Name) and isinstance(key, ast.Constant):
            if base.attr == "refs":
                return STR if key.value in self._refs else None
            if base.attr == "body":
                return self._body.get(str(key.value))
        return None

    def _call(self, node: ast.Call) -> Types:
        if isinstance(node.func, ast.Attribute):
            return _OF_METHOD.get(node.func.attr)
        name = cast(ast.Name, node.func).id
        if name in ("min", "max") and len(node.args) > 1:
            # All of one type, or the call fails.
            for value in node.args:
                types = self.of(value)
                if types in (INT, STR, _NOTHING):
                    return types
        return _OF_CALL.get(name)

    def _arithmetic(self, operator: ast.operator, left: Types, right: Types) -> Types:
        if _NOTHING in (left, right):
            return _NOTHING
        if isinstance(operator, ast.Add):
            # Both of one type, or it fails.
            return next((types for types in (left, right) if types in (INT, STR)), None)
        if isinstance(operator, ast.Mult):
            return INT if left == right == INT else None
        return INT

    def _bind(self, node: ast.AST) -> None:
        if isinstance(node, ast.Assign):
            self._gain(node.targets[0], self.of(node.value))
        elif isinstance(node, ast.AugAssign):
            self._gain(node.target, self._arithmetic(node.op, self.of(node.target), self.of(node.value)))
        elif isinstance(node, (ast.For, ast.comprehension)):
            source = node.iter
            counts = isinstance(source, ast.Call) and isinstance(source.func, ast.Name) and source.func.id == "range"
            self._gain(node.target, INT if counts else self._turn(source))

    def _turn(self, source: ast.expr) -> Types:
        """What a loop over `source` gives at each turn."""
        if isinstance(source, ast.Subscript) and isinstance(source.value, ast.Attribute):
            base, key = source.value, source.slice
            if isinstance(base.value, ast.Name) and base.value.id == "event" and isinstance(key, ast.Constant):
                if base.attr == "body":
                    return self._lists.get(str(key.value))
                return STR if base.attr == "refs" and key.value in self._many else None
        return None

    def _gain(self, target: ast.expr, types: Types) -> None:
        if isinstance(target, ast.Name):
            self._locals[target.id] = _any_of([self._locals.get(target.id, _NOTHING), types])
        elif isinstance(target, ast.Tuple):
            for part in target.elts:
                self._gain(part, None)


def _any_of(parts: list[Types]) -> Types:
    found = _NOTHING
    for types in parts:
        if types is None:
            return None
        found |= types
    return found
