"""Decides the text of a rule's expressions on the straight path of one kind: guards written out, event and state as locals.

Rules: where it has a value, it is the value that `emit` gives; where the type at hand is not the usual one, the guard itself
is called. What is charged beforehand is never less than what `emit` charges, so a path that ends within its steps ends so
there too. Names of a function get a prefix of their own, because many functions share one body.
Never here: statements, effects (see `straight`).
"""

from __future__ import annotations

import ast
from typing import Final, Protocol, cast

from ledger.limits import INT_MAX
from ledger.rules import grammar
from ledger.rules.emit import OF_TWO, PLAIN, Emitter, literal
from ledger.rules.facts import FunctionFacts, RuleFacts
from ledger.rules.kinds import Kind
from ledger.rules.scalars import INT, STR

_SIGN: Final = {ast.Add: ("+", "_add"), ast.Sub: ("-", "_sub"), ast.Mult: ("*", "_mul")}
_ORDERED: Final = {
    ast.Lt: ("<", "_less({}, {})"), ast.LtE: ("<=", "(not _more({}, {}))"), ast.Gt: (">", "_more({}, {})"),
    ast.GtE: (">=", "(not _less({}, {}))"),
}  # fmt: skip
_UNCOUNTED: Final = 8  # a list shorter than this is looked through without a step
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


class Inline(Emitter):
    """Expressions of one function on a path."""

    def __init__(self, path: Path, rule: RuleFacts, facts: FunctionFacts) -> None:
        super().__init__(rule, facts, path.kind)
        self.path, self.prefix, self.own = path, path.fresh("i") + "_", own_names(facts)
        self.comprehending = 0  # inside a comprehension nothing can be bound on the way
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
        elif not isinstance(node.slice, ast.Slice) and self._may_bind():
            kind = {INT: "list", STR: "dict"}.get(self.scalars.of(node.slice) or frozenset())
            if kind:
                first, again = self._bind(node.value)
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

    def comprehension(self, node: ast.ListComp | ast.DictComp) -> str:
        depth = len(node.generators)
        self.comprehending += depth
        text = super().comprehension(node)
        self.comprehending -= depth
        return text

    def _may_bind(self) -> bool:
        return self.comprehending == 0

    def _bind(self, node: ast.expr) -> tuple[str, str]:
        """Text of the first use of a value, and of every later one."""
        text = self.expression(node)
        if isinstance(node, (ast.Name, ast.Constant)):
            return text, text
        name = self.temporary()
        return f"{name} := {text}", name

    # Guards, written out.

    def _two(self, nodes: tuple[ast.expr, ast.expr], name: str) -> tuple[list[str], str, str, str]:
        """Tests that both are of the type `name`; both once they are; the second where the first may not have been."""
        tests: list[str] = []
        again: list[str] = []
        fallback = ""
        for node in nodes:
            if self.scalars.of(node) == frozenset({name}):
                again.append(self.expression(node))
                fallback = again[-1]
                continue
            first, later = self._bind(node)
            fallback = later if not tests else self.expression(node)
            tests.append(f"type({first}) is {name}")
            again.append(later)
        return tests, again[0], again[1], fallback

    def arithmetic(self, node: ast.BinOp) -> str:
        sign = _SIGN.get(type(node.op))
        known = self.scalars.of(node.left), self.scalars.of(node.right)
        if sign is None or STR in known or not self._may_bind():
            return super().arithmetic(node)
        tests, left, right, fallback = self._two((node.left, node.right), "int")
        made = self.temporary()
        tests.append(f"-{INT_MAX} <= ({made} := {left} {sign[0]} {right}) <= {INT_MAX}")
        otherwise = f"{sign[1]}({left}, {fallback})"
        return f"({made} if {' and '.join(tests)} else {otherwise})"

    def comparison(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> str:
        known = self.scalars.of(left), self.scalars.of(right)
        if isinstance(operator, (ast.In, ast.NotIn)):
            return self._membership(left, operator, right)
        if not self._may_bind() or (known[0] == known[1] and known[0] in (INT, STR)):
            return super().comparison(left, operator, right)
        if type(operator) in _ORDERED:
            tests, a, b, fallback = self._two((left, right), "str" if STR in known else "int")
            word, guarded = _ORDERED[type(operator)]
            return f"({a} {word} {b} if {' and '.join(tests)} else {guarded.format(a, fallback)})"
        plain = isinstance(left, ast.Constant) or isinstance(right, ast.Constant) or known[0] is not None
        if isinstance(operator, (ast.Eq, ast.NotEq)) and not plain:
            first, a = self._bind(left)
            b = self.expression(right)
            same = f"({a} == {b} if type({first}) is str or type({a}) is int else _eq({a}, {b}))"
            return same if isinstance(operator, ast.Eq) else f"(not {same})"
        return super().comparison(left, operator, right)

    def _membership(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> str:
        if isinstance(left, ast.Attribute) and isinstance(left.value, ast.Name) and isinstance(right, ast.Name):
            among = self.rule.constants.get(right.id)
            if left.value.id == "event" and left.attr == "kind" and isinstance(among, (ast.List, ast.Dict)):
                items = among.elts if isinstance(among, ast.List) else [key for key in among.keys if key is not None]
                self.path.prepaid += len(items) // _UNCOUNTED
                found = self.path.kind.name in [item.value for item in items if isinstance(item, ast.Constant)]
                return repr(found == isinstance(operator, ast.In))
        text = super().comparison(left, operator, right)
        if not text.startswith(("_in(", "(not _in(")) or not self._may_bind() or self.scalars.of(left) is None:
            return text
        item, (first, again) = self.expression(left), self._bind(right)
        short = f"type({first}) is list and len({again}) < {_UNCOUNTED} or type({again}) is dict"
        found_text = f"({item} in {again} if {short} else _in({item}, {again}))"
        return found_text if isinstance(operator, ast.In) else f"(not {found_text})"

    def of_two(self, node: ast.Call, name: str, arguments: list[str]) -> str:
        if not self._may_bind() or STR in [self.scalars.of(value) for value in node.args]:
            return super().of_two(node, name, arguments)
        tests, a, b, fallback = self._two((node.args[0], node.args[1]), "int")
        chosen = f"({a} if {a} {'>=' if name == 'max' else '<='} {b} else {b})"
        if tests:
            return f"({chosen} if {' and '.join(tests)} else {OF_TWO[name]}({a}, {fallback}))"
        simple = a.isidentifier() or a.isdecimal(), b.isidentifier() or b.isdecimal()
        return chosen if all(simple) else f"{OF_TWO[name]}({a}, {b})"

    def call(self, node: ast.Call) -> str:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if self._may_bind() and len(node.args) == 1:
            if name == "len":
                first, again = self._bind(node.args[0])
                return f"(len({again}) if type({first}) is list else _len({again}))"
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
        first, again = self._bind(node.args[0])
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
        self.path.prepaid += most // _UNCOUNTED
        first, again = self._bind(among)
        word = grammar.COMPARISONS[type(test.ops[0])]
        item, source = self.local(target.id), self.expression(loop.iter)
        short = f"type({first}) is list and len({again}) < {_UNCOUNTED}"
        each = f"{name}([{item} {word} {again} for {item} in {source}])"
        if name == "all" and word == "in":
            each = f"{source} == {again} or {each}"  # what asks for all there is needs no search
        return f"({each} if {short} else {general})"
