"""Decides whether one function of a rule file stays inside the language, and notes what it reads and asks for.

Rules: every statement and expression is allowed by `grammar`; names are in scope; only lists and maps that the function
built itself can change, so that nothing a rule is given can be changed by it.
Never here: the file as a whole (see `check`).
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import NoReturn, Protocol

from ledger.rules import grammar
from ledger.rules.facts import FunctionFacts
from ledger.rules.sites import collect_call

_INNER = ("body", "handlers", "orelse", "finalbody", "cases")  # fields of statements that hold statements


class RuleFile(Protocol):
    """What a function needs to know of its file."""

    @property
    def constants(self) -> Mapping[str, ast.expr]:
        """Module-level constants."""

    @property
    def functions(self) -> Mapping[str, FunctionFacts]:
        """Every function of the file."""

    def refuse(self, node: ast.AST, message: str, advice: str = "") -> NoReturn:
        """Raise `MalformedError` with the line of `node`."""

    def check_constant(self, node: ast.Constant) -> None:
        """Refuse a literal outside the language."""

    def check_name(self, node: ast.AST, name: str) -> None:
        """Refuse a name that is not plain."""


class FunctionChecker:
    """One function: statements, expressions, names in scope, and values that are its own."""

    def __init__(self, owner: RuleFile, facts: FunctionFacts) -> None:
        self.owner, self.facts = owner, facts
        self.refuse = owner.refuse
        self.names = set(facts.parameters)
        self.depth = 0  # of blocks
        self.own: set[str] = set()  # locals that only ever hold a list or map built here

    def check(self) -> None:
        """Refuse what is not allowed; fill the facts."""
        self._find_locals()
        body = self.facts.node.body
        if (
            isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
            and type(body[0].value.value) is str
        ):
            body = body[1:]
        self._block(body, False)

    def _find_locals(self) -> None:
        built: dict[str, bool] = {}
        for node in _statements(self.facts.node):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    for name in _target_names(target):
                        fresh = isinstance(target, ast.Name) and isinstance(
                            node.value, (ast.List, ast.Dict, ast.ListComp, ast.DictComp)
                        )
                        built[name] = built.get(name, True) and fresh
            elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
                built[node.target.id] = False
            elif isinstance(node, ast.For):
                for name in _target_names(node.target):
                    built[name] = False
        for name in built:
            if name in self.facts.parameters:
                self.refuse(self.facts.node, f"the argument {name!r} is assigned to", "use another name")
            self.owner.check_name(self.facts.node, name)
            if name in self.owner.functions:
                self.refuse(self.facts.node, f"{name!r} is a function of this file", "choose another name")
        self.names |= set(built)
        self.own = {name for name, fresh in built.items() if fresh}

    def _block(self, body: list[ast.stmt], in_loop: bool) -> None:
        self.depth += 1
        if self.depth > grammar.BLOCK_DEPTH_MAX:
            self.refuse(body[0], "blocks are nested too deep", "return early, or use a function")
        for node in body:
            if not isinstance(node, grammar.STATEMENTS):
                self.refuse(node, f"{type(node).__name__} is not allowed", advice_for(node))
            self._statement(node, in_loop)
        self.depth -= 1

    def _conditional(self, node: ast.If, in_loop: bool) -> None:
        for _ in range(grammar.ELIF_MAX):
            self._expression(node.test, 0)
            self._block(node.body, in_loop)
            if len(node.orelse) != 1 or not isinstance(node.orelse[0], ast.If):
                if node.orelse:
                    self._block(node.orelse, in_loop)
                return
            node = node.orelse[0]
        self.refuse(node, "too many elif", "use match, or a map")

    def _statement(self, node: ast.stmt, in_loop: bool) -> None:
        if isinstance(node, ast.Return):
            if node.value is not None:
                self._expression(node.value, 0)
        elif isinstance(node, ast.Assign):
            if len(node.targets) != 1:
                self.refuse(node, "assign to one target", "one line each")
            self._target(node.targets[0])
            self._expression(node.value, 0)
        elif isinstance(node, ast.AugAssign):
            self._target(node.target)
            if type(node.op) not in grammar.OPERATORS:
                self.refuse(node, "this operator does not exist here", advice_for(node.op))
            self._expression(node.value, 0)
        elif isinstance(node, ast.If):
            self._conditional(node, in_loop)
        elif isinstance(node, ast.For):
            if node.orelse:
                self.refuse(node, "for … else is not allowed", "use a variable")
            self._target(node.target)
            self._expression(node.iter, 0)
            self._block(node.body, True)
        elif isinstance(node, ast.Match):
            self._expression(node.subject, 0)
            for case in node.cases:
                self._pattern(case.pattern)
                if case.guard is not None:
                    self._expression(case.guard, 0)
                self._block(case.body, in_loop)
        elif isinstance(node, ast.Expr):
            self._append(node)
        elif isinstance(node, (ast.Break, ast.Continue)) and not in_loop:
            self.refuse(node, "outside a loop")

    def _append(self, node: ast.Expr) -> None:
        call = node.value
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and call.func.attr == "append"
            and isinstance(call.func.value, ast.Name)
        ):
            if call.func.value.id not in self.own:
                self.refuse(node, "only a list built in this function can grow", "start with `items = []`")
            if len(call.args) != 1 or call.keywords:
                self.refuse(node, "append takes one value")
            self._expression(call.args[0], 0)
            return
        self.refuse(node, "a value that nobody uses", "return the effect, or assign it")

    def _target(self, node: ast.expr) -> None:
        if isinstance(node, ast.Name):
            return  # checked with the locals
        if isinstance(node, ast.Tuple) and all(isinstance(item, ast.Name) for item in node.elts) and len(node.elts) > 1:
            return
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.value, ast.Name)
            and not isinstance(node.slice, ast.Slice)
        ):
            if node.value.id not in self.own:
                self.refuse(
                    node, "only a list or map built in this function can be changed", "write(…) changes objects"
                )
            self._expression(node.slice, 0)
            return
        self.refuse(node, "this cannot be assigned to", "a name, names with commas, or items of an own list or map")

    def _pattern(self, node: ast.pattern) -> None:
        if isinstance(node, ast.MatchValue) and isinstance(node.value, ast.Constant):
            self.owner.check_constant(node.value)
        elif isinstance(node, ast.MatchOr):
            for part in node.patterns:
                self._pattern(part)
        elif not (
            isinstance(node, ast.MatchSingleton)
            or (isinstance(node, ast.MatchAs) and node.pattern is None and node.name is None)
        ):
            self.refuse(node, "this pattern is not allowed", "literals, alternatives with |, and _")

    def _expression(self, node: ast.expr, depth: int) -> None:
        if depth > grammar.EXPRESSION_DEPTH_MAX:
            self.refuse(node, "nested too deep", "assign parts to names")
        if not isinstance(node, grammar.EXPRESSIONS):
            self.refuse(node, f"{type(node).__name__} is not allowed", advice_for(node))
        if isinstance(node, ast.Constant):
            self.owner.check_constant(node)
        elif isinstance(node, ast.Name):
            self._name(node)
        elif isinstance(node, ast.Attribute):
            self._attribute(node)
        elif isinstance(node, ast.Subscript):
            self._subscript(node, depth)
        elif isinstance(node, ast.Call):
            self._call(node, depth)
        elif isinstance(node, (ast.ListComp, ast.DictComp)):
            self._comprehension(node, depth)
        elif isinstance(node, ast.JoinedStr):
            self._joined(node)
        elif isinstance(node, ast.Tuple):
            self.refuse(node, "a value with commas and no brackets", "use a list: [a, b]")
        else:
            self._operator(node, depth)

    def _operator(self, node: ast.expr, depth: int) -> None:
        if isinstance(node, ast.BinOp) and type(node.op) not in grammar.OPERATORS:
            self.refuse(node, f"{type(node.op).__name__} does not exist here", advice_for(node.op))
        if isinstance(node, ast.UnaryOp) and not isinstance(node.op, (ast.Not, ast.USub)):
            self.refuse(node, f"{type(node.op).__name__} does not exist here", advice_for(node.op))
        if isinstance(node, ast.Compare):
            for operator, value in zip(node.ops, node.comparators, strict=True):
                is_none = isinstance(value, ast.Constant) and value.value is None
                if isinstance(operator, (ast.Is, ast.IsNot)) and not is_none:
                    self.refuse(node, "`is` compares with None only", "use ==")
        if isinstance(node, ast.Dict) and None in node.keys:
            self.refuse(node, "** is not allowed", "name the items one by one")
        for child in ast.iter_child_nodes(node):
            # `x in ("a", "b")` is the one place where a tuple reads better than a list.
            parts = child.elts if isinstance(child, ast.Tuple) and isinstance(node, ast.Compare) else [child]
            for part in parts:
                if isinstance(part, ast.expr):
                    self._expression(part, depth + 1)

    def _name(self, node: ast.Name) -> None:
        if node.id in grammar.ARGUMENTS:
            self.refuse(
                node, f"{node.id} cannot be used as a value", f"{node.id}.field, or pass it on to an own function"
            )
        if node.id in self.owner.functions or node.id in grammar.BUILTINS or node.id in grammar.HELPERS:
            self.refuse(node, f"{node.id} can only be called")
        if node.id not in self.names and node.id not in self.owner.constants:
            self.refuse(
                node, f"unknown name {node.id!r}", "arguments, own names, constants, or a helper of the prelude"
            )

    def _attribute(self, node: ast.Attribute) -> None:
        base, fields = node.value, frozenset[str]()
        if isinstance(base, ast.Name) and base.id in self.facts.parameters:
            fields = {
                "event": grammar.EVENT_FIELDS, "timer": grammar.TIMER_FIELDS, "env": grammar.ENV_FIELDS,
            }.get(base.id, fields)  # fmt: skip
        elif isinstance(base, ast.Attribute) and base.attr == "signer":
            self._attribute(base)
            fields = grammar.SIGNER_FIELDS
        if node.attr not in fields:
            self.refuse(node, f"no field {node.attr!r} here", "fields of event, timer and env only; use [] on maps")
        if node.attr == "signer":
            self.facts.signer = self.facts.signer or node.lineno

    def _subscript(self, node: ast.Subscript, depth: int) -> None:
        if isinstance(node.value, ast.Name) and node.value.id == "state":
            if "state" not in self.facts.parameters:
                self.refuse(node, "unknown name 'state'")
            if not isinstance(node.slice, ast.Constant) or type(node.slice.value) is not str:
                self.refuse(node, "state is read by a literal name", 'state["dataset"]')
            self.facts.reads.setdefault(node.slice.value, node.lineno)
            return
        if isinstance(node.slice, ast.Slice):
            if node.slice.step is not None:
                self.refuse(node, "slices have no step")
            for bound in (node.slice.lower, node.slice.upper):
                if bound is not None:
                    self._expression(bound, depth + 1)
        else:
            self._expression(node.slice, depth + 1)
            self._known(node.value, node.slice)
        self._expression(node.value, depth + 1)

    def _known(self, base: ast.expr, key: ast.expr) -> None:
        """Note which refs, body fields and parameters are read; parameters need a literal name."""
        if not isinstance(base, ast.Attribute) or not isinstance(base.value, ast.Name):
            return
        literal = key.value if isinstance(key, ast.Constant) and type(key.value) is str else None
        noted = {"refs": self.facts.refs, "body": self.facts.fields, "params": self.facts.parameters_used}.get(
            base.attr
        )
        if noted is None:
            return
        if literal is not None:
            noted.setdefault(literal, base.lineno)
        elif base.attr == "params":
            self.refuse(base, "parameters are read by a literal name", 'env.params["reply_days"]')

    def _call(self, node: ast.Call, depth: int) -> None:
        function = node.func
        if isinstance(function, ast.Attribute):
            self._method(node, function, depth)
            return
        if not isinstance(function, ast.Name):
            self.refuse(node, "only named functions can be called")
        name = function.id
        if any(keyword.arg is None for keyword in node.keywords):
            self.refuse(node, "** is not allowed", "name the arguments")
        if name.startswith("on_"):
            self.refuse(node, f"{name} is called by the ledger only", "move what is shared to a function of its own")
        if name in self.owner.functions:
            self._own_call(node, name, depth)
        elif name in grammar.BUILTINS:
            if node.keywords or not 1 <= len(node.args) <= (
                8 if name in ("min", "max") else 2 if name == "range" else 1
            ):
                self.refuse(node, f"{name} is called with too few, too many or named values")
            self._arguments(node.args, depth)
        elif name in grammar.TERMS or name in grammar.TIMES:
            self._term(node, name, depth)
        elif name in grammar.EFFECTS:
            collect_call(self.refuse, self.facts, node, name)
            self._arguments([*node.args, *(keyword.value for keyword in node.keywords)], depth)
        else:
            self.refuse(node, f"unknown function {name!r}", "own functions, " + ", ".join(sorted(grammar.BUILTINS)))

    def _method(self, node: ast.Call, function: ast.Attribute, depth: int) -> None:
        found = grammar.METHODS.get(function.attr)
        if found is None or function.attr == "append" or node.keywords:
            self.refuse(node, f"no method {function.attr!r} here", "one of " + ", ".join(sorted(grammar.METHODS)))
        if not found[1] <= len(node.args) <= found[2]:
            self.refuse(node, f"{function.attr} takes {found[1]} to {found[2]} values")
        if function.attr == "get":
            self._known(function.value, node.args[0])
        self._expression(function.value, depth + 1)
        self._arguments(node.args, depth)

    def _own_call(self, node: ast.Call, name: str, depth: int) -> None:
        parameters = self.owner.functions[name].parameters
        if node.keywords or len(node.args) != len(parameters) or name.startswith("on_"):
            self.refuse(
                node, f"{name} takes {len(parameters)} values in order", "handlers are called by the ledger only"
            )
        self.facts.calls.add(name)
        for parameter, value in zip(parameters, node.args, strict=True):
            passed = value.id if isinstance(value, ast.Name) and value.id in grammar.ARGUMENTS else None
            if (parameter in grammar.ARGUMENTS or passed is not None) and (
                parameter != passed or passed not in self.facts.parameters
            ):
                self.refuse(node, "event, timer, state and env are passed on under their own names")
            if passed is None:
                self._expression(value, depth + 1)

    def _term(self, node: ast.Call, name: str, depth: int) -> None:
        values = list(node.args)
        keywords = {keyword.arg: keyword.value for keyword in node.keywords}
        if name in grammar.TERMS:
            first = values.pop(0) if values else None
            if not isinstance(first, ast.Name) or first.id != "env" or "env" not in self.facts.parameters:
                self.refuse(node, f"{name} begins with env", f"{name}(env, 10)")
            if len(values) != 1 or not set(keywords) <= {"since"}:
                self.refuse(node, f"{name} takes env, a count, and since=", f"{name}(env, 10, since=event.time)")
        elif len(values) != 1 or keywords:
            self.refuse(node, f"{name} takes one value")
        self._arguments([*values, *keywords.values()], depth)

    def _arguments(self, values: list[ast.expr], depth: int) -> None:
        for value in values:
            self._expression(value, depth + 1)

    def _comprehension(self, node: ast.ListComp | ast.DictComp, depth: int) -> None:
        if len(node.generators) > 2:
            self.refuse(node, "at most two `for` in one list", "use loops")
        added: set[str] = set()
        for generator in node.generators:
            names = _target_names(generator.target)
            if generator.is_async or isinstance(generator.target, ast.Subscript):
                self.refuse(node, "this loop is not allowed")
            self._target(generator.target)
            self._expression(generator.iter, depth + 1)
            for name in names:
                self.owner.check_name(node, name)
                if name in self.names:
                    self.refuse(node, f"{name!r} is used already", "choose another name inside the list")
            added |= set(names)
            self.names |= set(names)
            for test in generator.ifs:
                self._expression(test, depth + 1)
        values = [node.elt] if isinstance(node, ast.ListComp) else [node.key, node.value]
        for value in values:
            self._expression(value, depth + 1)
        self.names -= added

    def _joined(self, node: ast.JoinedStr) -> None:
        if node.end_lineno != node.lineno:
            self.refuse(node, "an f-string stands on one line")
        for part in node.values:
            if isinstance(part, ast.Constant):
                self.owner.check_constant(part)
            elif (
                isinstance(part, ast.FormattedValue)
                and isinstance(part.value, ast.Name)
                and part.conversion == -1
                and part.format_spec is None
            ):
                self._name(part.value)
            else:
                self.refuse(node, "an f-string holds plain names only", grammar.ADVICE["FormattedValue"])


def _statements(function: ast.FunctionDef) -> list[ast.AST]:
    """The function and every statement in it, outer ones first; expressions hold none."""
    found: list[ast.AST] = [function]
    for node in found:
        for name in _INNER:
            part = getattr(node, name, None)
            if isinstance(part, list):
                found.extend(part)
    return found


def _target_names(node: ast.expr) -> list[str]:
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, (ast.Tuple, ast.List)):
        return [name for item in node.elts for name in _target_names(item)]
    return []


def advice_for(node: ast.AST, default: str = "") -> str:
    """What to do instead of `node`."""
    return grammar.ADVICE.get(type(node).__name__, default)
