"""Decides the text of a rule's expressions on the straight path of one kind: guards written out, event and state as locals.

Rules: where it has a value, it is the value that `emit` gives; where the type at hand is not the usual one, the guard itself
is called. What is charged beforehand is never less than what `emit` charges, so a path that ends within its steps ends so
there too. Names of a function get a prefix of their own, because many functions share one body.
Never here: statements, effects (see `straight`).
"""

from __future__ import annotations

import ast
from typing import Final, Protocol, cast

from ledger.rules import grammar
from ledger.rules.emit import PLAIN, UNCOUNTED, literal
from ledger.rules.facts import FunctionFacts, RuleFacts
from ledger.rules.guarded import Guarded
from ledger.rules.kinds import Kind
from ledger.rules.scalars import INT, STR

_OF_EVENT: Final = {
    "id": 'head["id"]', "member": "member", "name": "name", "time": "time", "refs": "refs", "body": "body",
    "intent": "False",
}  # fmt: skip
_OF_SIGNER: Final = ("key", "member", "roles")


class Path(Protocol):
    """What the functions on one path share."""

    kind: Kind
    prepaid: int  # steps charged before the path begins, at most
    fields: set[str]  # body fields that are wanted as locals

    def fresh(self, prefix: str) -> str:
        """A name that nothing else has."""

    def display(self, argument: str) -> str:
        """`event`, `state` or `env` as a value."""


def own_names(facts: FunctionFacts) -> set[str]:
    """The names that a function binds: parameters, assignments, loops."""
    bound = {node.id for node in ast.walk(facts.node) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return bound | set(facts.parameters) - grammar.ARGUMENTS


class Inline(Guarded):
    """Expressions of one function on a path."""

    def __init__(self, path: Path, rule: RuleFacts, facts: FunctionFacts) -> None:
        super().__init__(rule, facts, path.kind)
        self.path, self.prefix, self.own = path, path.fresh("i") + "_", own_names(facts)
        self.loops = 0

    def local(self, name: str) -> str:
        return self.prefix + name

    def temporary(self) -> str:
        return self.path.fresh("u")

    def loop(self, node: ast.For, depth: int) -> None:
        self.loops += 1
        super().loop(node, depth)
        self.loops -= 1

    def expression(self, node: ast.expr) -> str:
        if isinstance(node, ast.Name):
            if node.id in self.own:
                return self.local(node.id)
            return self.path.display(node.id) if node.id in grammar.ARGUMENTS else super().expression(node)
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        return super().expression(node)

    def _attribute(self, node: ast.Attribute) -> str:
        if isinstance(node.value, ast.Attribute):  # env.signer.…
            return node.attr if node.attr in _OF_SIGNER else super().expression(node)
        if cast(ast.Name, node.value).id == "event":
            return literal(self.path.kind.name) if node.attr == "kind" else _OF_EVENT[node.attr]
        if node.attr == "signer":
            return '{"member": member, "key": key, "roles": roles}'
        return node.attr  # env.now, env.params

    def subscript(self, node: ast.Subscript) -> str:
        if isinstance(node.slice, ast.Constant) and type(node.slice.value) is str:
            known = self._known(node.value, node.slice.value)
            if known:
                return known
        elif not isinstance(node.slice, ast.Slice) and self.may_bind():
            kind = {INT: "list", STR: "dict"}.get(self.scalars.of(node.slice) or frozenset())
            if kind:
                first, again = self.bind(node.value)
                key = self.expression(node.slice)
                return f"({again}[{key}] if type({first}) is {kind} else _at({again}, {key}))"
        return super().subscript(node)

    def _known(self, base: ast.expr, name: str) -> str | None:
        """The local that holds an object of the state, or a required ref or field."""
        if isinstance(base, ast.Name) and base.id == "state":
            return f"s_{name}"
        if isinstance(base, ast.Attribute) and isinstance(base.value, ast.Name) and base.value.id == "event":
            if base.attr == "refs" and any(ref.name == name and not ref.optional for ref in self.path.kind.refs):
                return f"r_{name}"
            if base.attr == "body" and any(field.name == name and field.required for field in self.path.kind.fields):
                self.path.fields.add(name)
                return f"b_{name}"
        return None

    def source(self, node: ast.expr, cost: int) -> str:
        """What a loop walks; a list of the event is bounded, so all its turns are paid before the path begins."""
        most = self._length(node)
        if most is None or self.loops or self.comprehending > 1:
            return super().source(node, cost)
        self.path.prepaid += cost * most
        return self.expression(node)

    def _length(self, node: ast.expr) -> int | None:
        """The most items of a required list of the event; None for anything else."""
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute):
            base, key = node.value, node.slice
            if isinstance(base.value, ast.Name) and base.value.id == "event" and isinstance(key, ast.Constant):
                if base.attr == "body":
                    for field in self.path.kind.fields:
                        if field.name == key.value and field.required and field.type == "list":
                            return field.limit
                for ref in self.path.kind.refs if base.attr == "refs" else ():
                    if ref.name == key.value and ref.many and not ref.optional:
                        return ref.many
        return None

    def may_wait(self, node: ast.expr) -> bool:  # noqa: ARG002 - whichever of two operands fails, the path is left
        return True

    def membership(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> str:
        if isinstance(left, ast.Attribute) and isinstance(left.value, ast.Name) and isinstance(right, ast.Name):
            among = self.rule.constants.get(right.id)
            if left.value.id == "event" and left.attr == "kind" and isinstance(among, (ast.List, ast.Dict)):
                items = among.elts if isinstance(among, ast.List) else [key for key in among.keys if key is not None]
                self.path.prepaid += len(items) // (UNCOUNTED + 1)
                found = self.path.kind.name in [item.value for item in items if isinstance(item, ast.Constant)]
                return repr(found == isinstance(operator, ast.In))
        return super().membership(left, operator, right)

    def call(self, node: ast.Call) -> str:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if self.may_bind() and len(node.args) == 1:
            if name in ("ms", "month"):
                return self._time(node, name)
            if name in ("all", "any") and isinstance(node.args[0], ast.ListComp):
                return self._each_among(node, name) or super().call(node)
        return super().call(node)

    def _time(self, node: ast.Call, name: str) -> str:
        """`month` of an integer, or `ms` of a date, from what is kept of the days seen."""
        if name == "month":
            day = f"({self.expression(node.args[0])} + _ZONE_MS) // _DAY"
            return (
                f"(_MONTHS.get({day}) or {super().call(node)})"
                if self.scalars.of(node.args[0]) == INT
                else super().call(node)
            )
        first, again = self.bind(node.args[0])
        return f"(len({first}) == 10 and _MINUTES.get({again}) or ms({again}))"

    def _each_among(self, node: ast.Call, name: str) -> str | None:
        """`all([x in these for x in those])`, the list looked at once; None for anything else."""
        listed = cast(ast.ListComp, node.args[0])
        loop, test = listed.generators[0], listed.elt
        if not isinstance(test, ast.Compare) or not isinstance(test.ops[0], (ast.In, ast.NotIn)) or self.loops:
            return None
        plain = len(listed.generators) == len(test.ops) == 1 and not loop.ifs
        target, among, most = loop.target, test.comparators[0], self._length(loop.iter)
        if not plain or most is None or not isinstance(target, ast.Name) or not self.is_path(among):
            return None
        base = among.value if isinstance(among, ast.Subscript) else among
        if not isinstance(test.left, ast.Name) or test.left.id != target.id or not isinstance(among, PLAIN):
            return None
        if cast(ast.Name, base).id == target.id or cast(ast.Name, base).id in self.rule.constants:
            return None
        if self.scalars.of(test.left) is None:
            return None
        general = super().call(node)  # pays for the turns
        self.path.prepaid += most // (UNCOUNTED + 1)
        first, again = self.bind(among)
        word = grammar.COMPARISONS[type(test.ops[0])]
        item, source = self.local(target.id), self.expression(loop.iter)
        short = f"type({first}) is list and len({again}) <= {UNCOUNTED}"
        each = f"{name}([{item} {word} {again} for {item} in {source}])"
        if name == "all" and word == "in":
            each = f"{source} == {again} or {each}"  # what asks for all there is needs no search
        return f"({each} if {short} else {general})"
