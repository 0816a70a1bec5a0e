"""Decides the program text of a rule: the same statements with guarded operators, prepaid steps and line marks.

Rules: the text depends on the syntax tree alone, never on the Python that emits it, because its hash stands in the config.
Steps are charged at the entry of a function (one, and one for each call and operator outside loops) and at the head of a
loop (its length times the calls inside), so straight code costs one subtraction.
Never here: deciding what is allowed; the input has passed `check`.
"""

from __future__ import annotations

import ast
from json.encoder import encode_basestring
from typing import Any, Final, cast

from ledger.rules import grammar
from ledger.rules.facts import FunctionFacts, RuleFacts
from ledger.rules.kinds import Kind
from ledger.rules.scalars import INT, STR, Scalars

ORDERED: Final = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
GUARDED: Final = {
    ast.Lt: "_less({}, {})", ast.LtE: "(not _more({}, {}))", ast.Gt: "_more({}, {})", ast.GtE: "(not _less({}, {}))",
}  # fmt: skip
_ARITHMETIC: Final = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*"}
UNCOUNTED: Final = 7  # items of a list that is looked through without a step
_CHARGED: Final = frozenset((ast.Call, ast.BinOp, ast.Compare, ast.AugAssign))
_LEAVES: Final = frozenset((ast.Name, ast.Constant, ast.Load, ast.Store, str, type(None)))
OF_TWO: Final = {"max": "_greater", "min": "_lesser"}  # the same, cheaper
PLAIN: Final = (ast.Attribute, ast.Call, ast.Name, ast.Subscript)


def literal(value: Any) -> str:
    """Program text of a plain value, the same on every Python."""
    if value is None or type(value) is bool or type(value) is int:
        return repr(value)
    if type(value) is str:
        return encode_basestring(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(literal(item) for item in value) + "]"
    return "{" + ", ".join(f"{literal(name)}: {literal(value[name])}" for name in value) + "}"


def function_name(rule: str, name: str) -> str:
    """The name of function `name` of rule `rule` in the program."""
    return f"_{rule}_{name}" if name.startswith("on_") else f"_{rule}_f_{name}"


def charge(nodes: list[Any]) -> int:
    """Calls and operators in `nodes`, without the insides of loops, which pay for themselves."""
    total = 0
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        kind = type(node)
        if kind in _LEAVES:
            continue
        if kind in _CHARGED:
            total += 1
        if kind is ast.For:
            waiting.append(node.iter)
        elif kind in (ast.ListComp, ast.DictComp):
            waiting.append(node.generators[0].iter)
        else:
            for part in vars(node).values():
                if isinstance(part, list):
                    waiting.extend(part)
                elif isinstance(part, ast.AST):
                    waiting.append(part)
    return total


class Emitter:
    """Program text of one function."""

    def __init__(self, rule: RuleFacts, facts: FunctionFacts, kind: Kind | None) -> None:
        self.rule, self.facts = rule, facts
        self.scalars = Scalars(rule, facts, kind)
        self.lines: list[str] = []
        self.bound: dict[str, int] = {}  # names that are assigned to in any case, and the line where they first are
        for node in facts.node.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self.bound.setdefault(node.targets[0].id, node.end_lineno or node.lineno)
        self.temporaries = 0

    def function(self) -> list[str]:
        facts = self.facts
        body = facts.node.body
        if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            body = body[1:]
        entry = facts.name.startswith("on_")
        name = function_name(self.rule.id, facts.name)
        self.lines = [
            f"def {name}({', '.join(facts.parameters)}):",
            f"    _l = {facts.node.lineno}",
            "    try:",
            f"        _METER[0] -= {1 + charge(list(body))}",
            "        if _METER[0] < 0:",
            '            raise ValueError("budget")',
        ]
        self.block(body, 2)
        self.lines.append("    except Exception as _e:")
        if entry:
            self.lines.append("        return _fault(_l, _e)")
        else:
            self.lines += ["        if _WHERE[0] == 0:", "            _WHERE[0] = _l", "        raise"]
        return self.lines

    def add(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    def mark(self, depth: int, node: ast.stmt) -> None:
        self.add(depth, f"_l = {node.lineno}")

    def block(self, body: list[ast.stmt], depth: int) -> None:
        for node in body:
            self.statement(node, depth)
        if not body:
            self.add(depth, "pass")

    def statement(self, node: ast.stmt, depth: int) -> None:
        if isinstance(node, (ast.Pass, ast.Break, ast.Continue)):
            self.add(depth, type(node).__name__.lower())
            return
        if isinstance(node, ast.Return) and (node.value is None or isinstance(node.value, ast.Constant)):
            self.add(depth, "return" + ("" if node.value is None else " " + self.expression(node.value)))
            return
        self.mark(depth, node)
        if isinstance(node, ast.Return):
            self.add(depth, f"return {self.expression(cast(ast.expr, node.value))}")
        elif isinstance(node, ast.Assign):
            self.assign(node.targets[0], self.expression(node.value), depth)
        elif isinstance(node, ast.AugAssign):
            operator = grammar.OPERATORS[type(node.op)]
            value = self.expression(node.value)
            self.assign(node.target, f"{operator}({self.expression(node.target)}, {value})", depth)
        elif isinstance(node, ast.If):
            self.conditional(node, depth, "if")
        elif isinstance(node, ast.For):
            self.loop(node, depth)
        elif isinstance(node, ast.Match):
            self.match(node, depth)
        else:
            call = cast(ast.Call, cast(ast.Expr, node).value)
            items = self.expression(cast(ast.Attribute, call.func).value)
            self.add(depth, f"_append({items}, {self.expression(call.args[0])})")

    def assign(self, target: ast.expr, value: str, depth: int) -> None:
        if isinstance(target, ast.Name):
            self.add(depth, f"{self.local(target.id)} = {value}")
        elif isinstance(target, ast.Tuple):
            self.add(depth, f"{self.targets(target)} = _pair({value}, {len(target.elts)})")
        else:
            place = cast(ast.Subscript, target)
            self.add(depth, f"_put({self.expression(place.value)}, {self.expression(place.slice)}, {value})")

    def targets(self, target: ast.Tuple) -> str:
        return ", ".join(self.local(item.id) for item in target.elts if isinstance(item, ast.Name))

    def local(self, name: str) -> str:
        """What a local name of the function is called in the program."""
        return name

    def temporary(self) -> str:
        """A local name that no rule can have."""
        self.temporaries += 1
        return f"_t{self.temporaries}"

    def conditional(self, node: ast.If, depth: int, word: str) -> None:
        self.add(depth, f"{word} {self.expression(node.test)}:")
        self.block(node.body, depth + 1)
        if len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
            self.conditional(node.orelse[0], depth, "elif")
        elif node.orelse:
            self.add(depth, "else:")
            self.block(node.orelse, depth + 1)

    def loop(self, node: ast.For, depth: int) -> None:
        source = self.source(node.iter, 1 + charge(list(node.body)))
        if isinstance(node.target, ast.Name):
            self.add(depth, f"for {self.local(node.target.id)} in {source}:")
        else:
            item = self.temporary()
            self.add(depth, f"for {item} in {source}:")
            self.assign(node.target, item, depth + 1)
        self.block(node.body, depth + 1)

    def source(self, node: ast.expr, cost: int) -> str:
        """What a loop walks, `cost` steps paid for each turn."""
        is_range = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range"
        if is_range and len(cast(ast.Call, node).args) == 1:
            return f"_upto({self.expression(cast(ast.Call, node).args[0])}, {cost})"
        return f"_iter({self.expression(node)}, {cost})"

    def match(self, node: ast.Match, depth: int) -> None:
        self.add(depth, f"match {self.expression(node.subject)}:")
        for case in node.cases:
            guard = f" if {self.expression(case.guard)}" if case.guard is not None else ""
            self.add(depth + 1, f"case {self.pattern(case.pattern)}{guard}:")
            self.block(case.body, depth + 2)

    def pattern(self, node: ast.pattern) -> str:
        if isinstance(node, ast.MatchValue):
            return literal(cast(ast.Constant, node.value).value)
        if isinstance(node, ast.MatchSingleton):
            return repr(node.value)
        if isinstance(node, ast.MatchOr):
            return " | ".join(self.pattern(part) for part in node.patterns)
        return "_"

    def expression(self, node: ast.expr) -> str:
        if isinstance(node, ast.Constant):
            return literal(node.value)
        if isinstance(node, ast.Name):
            return f"_{self.rule.id}_c_{node.id}" if node.id in self.rule.constants else node.id
        if isinstance(node, ast.Attribute):
            return f"{self.expression(node.value)}[{literal(node.attr)}]"
        if isinstance(node, ast.Subscript):
            return self.subscript(node)
        if isinstance(node, ast.Call):
            return self.call(node)
        if isinstance(node, ast.Compare):
            return self.compare(node)
        if isinstance(node, ast.BinOp):
            return self.arithmetic(node)
        if isinstance(node, ast.BoolOp):
            word = " and " if isinstance(node.op, ast.And) else " or "
            return "(" + word.join(self.expression(value) for value in node.values) + ")"
        if isinstance(node, ast.UnaryOp):
            value = self.expression(node.operand)
            return f"(not {value})" if isinstance(node.op, ast.Not) else f"_neg({value})"
        if isinstance(node, ast.IfExp):
            parts = [self.expression(part) for part in (node.body, node.test, node.orelse)]
            return f"({parts[0]} if {parts[1]} else {parts[2]})"
        if isinstance(node, (ast.List, ast.Tuple)):
            return "[" + ", ".join(self.expression(item) for item in node.elts) + "]"
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            return (
                "{" + ", ".join(f"{self.expression(k)}: {self.expression(v)}" for k, v in pairs if k is not None) + "}"
            )
        if isinstance(node, ast.JoinedStr):
            return f"_format({', '.join(self.part(part) for part in node.values)})"
        return self.comprehension(cast(ast.ListComp | ast.DictComp, node))

    def part(self, node: ast.expr) -> str:
        return self.expression(node.value if isinstance(node, ast.FormattedValue) else node)

    def subscript(self, node: ast.Subscript) -> str:
        base = self.expression(node.value)
        if isinstance(node.slice, ast.Slice):
            bounds = [
                literal(None) if part is None else self.expression(part)
                for part in (node.slice.lower, node.slice.upper)
            ]
            return f"_slice({base}, {bounds[0]}, {bounds[1]})"
        key = self.expression(node.slice)
        # Python warns of odd displays with a literal index; a guard says the same at run time.
        if (
            isinstance(node.slice, ast.Constant)
            and type(node.slice.value) in (str, int)
            and isinstance(node.value, PLAIN)
        ):
            return f"{base}[{key}]"
        return f"_at({base}, {key})"

    def arithmetic(self, node: ast.BinOp) -> str:
        left, right = self.expression(node.left), self.expression(node.right)
        if self.scalars.of(node.left) == self.scalars.of(node.right) == INT:
            if type(node.op) in _ARITHMETIC:
                return f"_number({left} {_ARITHMETIC[type(node.op)]} {right})"
            divisor = node.right
            if isinstance(divisor, ast.Name):
                divisor = self.rule.constants.get(divisor.id, divisor)
            if isinstance(divisor, ast.Constant) and divisor.value != 0:
                return f"({left} {'//' if isinstance(node.op, ast.FloorDiv) else '%'} {right})"
        return f"{grammar.OPERATORS[type(node.op)]}({left}, {right})"

    def compare(self, node: ast.Compare) -> str:
        parts: list[str] = []
        left = node.left
        for operator, right in zip(node.ops, node.comparators, strict=True):
            parts.append(self.comparison(left, operator, right))
            left = right
        return parts[0] if len(parts) == 1 else "(" + " and ".join(parts) + ")"

    def comparison(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> str:
        a, b = self.expression(left), self.expression(right)
        word = grammar.COMPARISONS[type(operator)]
        scalar = isinstance(left, ast.Constant) or isinstance(right, ast.Constant)
        if isinstance(operator, (ast.Is, ast.IsNot)):
            return f"({a} {word} {b})" if isinstance(left, PLAIN) else f"([{a}][0] {word} {b})"
        kinds = self.scalars.of(left), self.scalars.of(right)
        if isinstance(operator, (ast.Eq, ast.NotEq)):
            if scalar or kinds[0] is not None:
                return f"({a} {word} {b})"
            return f"_eq({a}, {b})" if isinstance(operator, ast.Eq) else f"(not _eq({a}, {b}))"
        if type(operator) in ORDERED:
            guarded = GUARDED[type(operator)].format(a, b)
            if kinds[0] == kinds[1] and kinds[0] in (INT, STR):
                return f"({a} {word} {b})"
            # Of one side nothing is known: it is asked for its type where that costs less than the guard.
            for known, other, kind in ((left, right, kinds[0]), (right, left, kinds[1])):
                if kind in (INT, STR) and self.is_at_hand(known) and self.is_path(other):
                    kept = f"type({self.expression(other)}) is {'int' if kind == INT else 'str'}"
                    return f"({a} {word} {b} if {kept} else {guarded})"
            return guarded
        if isinstance(right, (ast.List, ast.Tuple)) and all(isinstance(item, ast.Constant) for item in right.elts):
            return f"({a} {word} {b})"
        if kinds[0] is not None and isinstance(right, ast.Name):
            among = self.rule.constants.get(right.id)
            if isinstance(among, ast.Dict) or (isinstance(among, ast.List) and len(among.elts) <= UNCOUNTED):
                return f"({a} {word} {b})"
        return f"_in({a}, {b})" if isinstance(operator, ast.In) else f"(not _in({a}, {b}))"

    def is_at_hand(self, node: ast.expr) -> bool:
        """Whether it is a constant, or a name that is bound by then: what costs nothing to look up and cannot fail."""
        if isinstance(node, ast.Attribute):
            return isinstance(node.value, ast.Name)
        if isinstance(node, ast.Name):
            return node.id in self.rule.constants or self.bound.get(node.id, node.lineno) < node.lineno
        return isinstance(node, ast.Constant)

    def is_path(self, node: ast.expr) -> bool:
        """Whether it is a name or a field of one: what may be evaluated twice."""
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            node = node.value
        return isinstance(node, ast.Name)

    def call(self, node: ast.Call) -> str:
        function = node.func
        if isinstance(function, ast.Attribute):
            return self.method(node, function)
        name = cast(ast.Name, function).id
        arguments = [self.expression(value) for value in node.args]
        arguments += [f"{keyword.arg}={self.expression(keyword.value)}" for keyword in node.keywords]
        if name in self.rule.functions:
            name = function_name(self.rule.id, name)
        if name in OF_TWO and len(node.args) == 2:
            return self.of_two(node, name, arguments)
        if name == "day" and self.scalars.of(node.args[0]) == INT:
            return f"(({arguments[0]} + _ZONE_MS) // _DAY)"
        if name == "write":
            return self.write(node, arguments)
        return f"{grammar.BUILTINS.get(name, name)}({', '.join(arguments)})"

    def of_two(self, node: ast.Call, name: str, arguments: list[str]) -> str:
        a, b = arguments
        known = [self.scalars.of(value) == INT for value in node.args]
        if all(known) and all(isinstance(value, (ast.Constant, ast.Name)) for value in node.args):
            return f"({a} if {a} {'>=' if name == 'max' else '<='} {b} else {b})"
        return f"{OF_TWO[name]}({a}, {b})"

    def write(self, node: ast.Call, arguments: list[str]) -> str:
        """The effect of `write` itself; only values that may be no scalars are looked at."""
        target = arguments[0]
        of = arguments[1] if len(node.args) > 1 else "None"
        values = [f"{literal(keyword.arg)}: {self.expression(keyword.value)}" for keyword in node.keywords]
        loose = [keyword.arg for keyword in node.keywords if self.scalars.of(keyword.value) is None]
        effect = f'("write", {target}, {of}, {{{", ".join(values)}}})'
        return f"_written({effect}, {literal(loose)})" if loose else effect

    def method(self, node: ast.Call, function: ast.Attribute) -> str:
        base = self.expression(function.value)
        arguments = [self.expression(value) for value in node.args]
        literal_key = isinstance(node.args[0], ast.Constant) and type(node.args[0].value) is str if node.args else False
        if function.attr == "get" and literal_key and isinstance(function.value, PLAIN):
            return f"{base}.get({', '.join(arguments)})"
        return f"{grammar.METHODS[function.attr][0]}({', '.join([base, *arguments])})"

    def comprehension(self, node: ast.ListComp | ast.DictComp) -> str:
        values = [node.elt] if isinstance(node, ast.ListComp) else [node.key, node.value]
        inner: list[Any] = [*values]
        clauses: list[str] = []
        for generator in reversed(node.generators):
            inner = [*inner, *generator.ifs]
            cost = 1 + charge(inner)
            source = self.source(generator.iter, cost)
            tests = "".join(f" if {self.expression(test)}" for test in generator.ifs)
            if isinstance(generator.target, ast.Name):
                clauses.insert(0, f" for {self.local(generator.target.id)} in {source}{tests}")
            else:
                target = cast(ast.Tuple, generator.target)
                item = self.temporary()
                size = len(target.elts)
                names = self.targets(target)
                clauses.insert(0, f" for {item} in {source} for {names} in [_pair({item}, {size})]{tests}")
            inner = [generator.iter]
        loops, texts = "".join(clauses), [self.expression(value) for value in values]
        return f"_bounded([{texts[0]}{loops}])" if len(texts) == 1 else f"_bounded({{{texts[0]}: {texts[1]}{loops}}})"
