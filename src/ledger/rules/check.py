"""Decides whether a rule file is written in the rule language, and collects what it does.

Rules: every node of the syntax tree must be allowed by `grammar`; names, methods and fields are known by name; nothing a
rule is given can be changed by it; functions do not call themselves; the same text is accepted by every CPython >= 3.11.
A refusal is `MalformedError` with file, line and advice.
Never here: running anything.
"""

from __future__ import annotations

import ast
import re
import unicodedata
from typing import Final, NoReturn

from ledger.errors import MalformedError
from ledger.limits import INT_MAX
from ledger.rules import grammar
from ledger.rules.facts import FunctionFacts, RuleFacts
from ledger.rules.sites import collect_call

_TITLE: Final = re.compile(r"(?P<id>\S+) (?P<zh>.+?) · (?P<en>.+?)\. (?P<article>.+)")
_RULE_ID: Final = re.compile(r"[A-Z][A-Za-z0-9]{0,15}").fullmatch
_CONSTANT_NAME: Final = re.compile(r"[A-Z][A-Z0-9_]*").fullmatch
_LOCAL_NAME: Final = re.compile(r"[a-z][a-z0-9_]*").fullmatch
_ESCAPE: Final = re.compile(r"\\(?![nt\"'\\])")


def check_rule(file: str, data: bytes) -> RuleFacts:
    """The facts of the rule file `data` (named `file`). Raises `MalformedError` (code `rule`) with line and advice."""
    tree = _parse(file, data)
    match = _TITLE.match((ast.get_docstring(tree) or "").split("\n", 1)[0])
    rule = file.rsplit("/", 1)[-1].removesuffix(".py")
    if match is None or match["id"] != rule or not _RULE_ID(rule):
        _refuse(file, 1, "the first line names the rule", f'"""{rule} 中文名 · English title. Article."""')
    checker = _FileChecker(file, tree)
    checker.check()
    return RuleFacts(
        id=rule,
        file=file,
        title={"zh": match["zh"], "en": match["en"]},
        article=match["article"],
        text=ast.get_docstring(tree) or "",
        constants=checker.constants,
        functions=checker.functions,
    )


def _refuse(file: str, line: int, message: str, advice: str = "") -> NoReturn:
    raise MalformedError("rule", message, file=file, line=line, advice=advice)


def _parse(file: str, data: bytes) -> ast.Module:
    if len(data) > grammar.RULE_FILE_BYTES_MAX:
        _refuse(file, 1, "the file is too long", f"at most {grammar.RULE_FILE_BYTES_MAX} bytes")
    try:
        text = data.decode("utf-8", "strict")
    except UnicodeDecodeError:
        _refuse(file, 1, "the file is not UTF-8")
    for number, line in enumerate(text.split("\n"), 1):
        if _ESCAPE.search(line):
            _refuse(file, number, "this escape is not allowed", "write the character itself; no line continuation")
        if any(ord(character) < 32 and character != "\t" for character in line):
            _refuse(file, number, "a control character", "use \\n inside strings, and line feeds only")
        if any(_disguised(character) for character in line if not character.isascii()):
            _refuse(file, number, "a character that Python would read as an ASCII letter or digit", "write the ASCII one")
    try:
        return ast.parse(text, filename=file, feature_version=(3, 11))
    except SyntaxError as error:
        _refuse(file, error.lineno or 1, f"not Python: {error.msg}")
    except (ValueError, RecursionError, MemoryError, OverflowError):
        _refuse(file, 1, "not Python that can be read", "less nesting, smaller numbers")


def _disguised(character: str) -> bool:
    # Python normalises identifiers (NFKC): a full-width letter would pass for another name than a reader sees.
    return any(part.isascii() and (part.isalnum() or part == "_") for part in unicodedata.normalize("NFKC", character))


class _FileChecker:
    """One rule file: constants, then functions, then the calls among them."""

    def __init__(self, file: str, tree: ast.Module) -> None:
        self.file, self.tree = file, tree
        self.constants: dict[str, ast.expr] = {}
        self.functions: dict[str, FunctionFacts] = {}

    def refuse(self, node: ast.AST, message: str, advice: str = "") -> NoReturn:
        _refuse(self.file, getattr(node, "lineno", 1), message, advice)

    def check(self) -> None:
        for position, node in enumerate(self.tree.body):
            if isinstance(node, ast.FunctionDef):
                self._declare(node)
            elif isinstance(node, ast.Assign):
                self._constant(node)
            elif not (position == 0 and isinstance(node, ast.Expr)):
                self.refuse(node, f"{type(node).__name__} is not allowed here", _advice(node, "constants and functions only"))
        for facts in self.functions.values():
            _FunctionChecker(self, facts).check()
        self._check_recursion()

    def _constant(self, node: ast.Assign) -> None:
        target = node.targets[0]
        if len(node.targets) != 1 or not isinstance(target, ast.Name) or not _CONSTANT_NAME(target.id):
            self.refuse(node, "a constant has one upper-case name", "LIMIT = 3")
        if target.id in self.constants:
            self.refuse(node, f"{target.id} is set twice")
        self._literal(node.value, 0)
        self.constants[target.id] = node.value

    def _literal(self, node: ast.expr, depth: int) -> None:
        if depth > 6:
            self.refuse(node, "nested too deep")
        if isinstance(node, ast.Constant):
            self.check_constant(node)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
            self.check_constant(node.operand)
        elif isinstance(node, (ast.List, ast.Tuple)):
            for item in node.elts:
                self._literal(item, depth + 1)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if not isinstance(key, ast.Constant) or type(key.value) is not str:
                    self.refuse(node, "keys of a map are strings")
                self._literal(value, depth + 1)
        else:
            self.refuse(node, "a constant is a literal", "strings, integers, True, False, None, lists and maps of them")

    def check_constant(self, node: ast.Constant) -> None:
        value = node.value
        if value is None or type(value) is bool:
            return
        if type(value) is int:
            if not -INT_MAX <= value <= INT_MAX:
                self.refuse(node, "the number is too large", "integers within ±(2^53−1)")
        elif type(value) is str:
            if len(value) > grammar.CONSTANT_CHARS_MAX or any("\ud800" <= c <= "\udfff" or c == "\0" for c in value):
                self.refuse(node, "the string is too long or holds an unpaired character")
        else:
            self.refuse(node, f"{type(value).__name__} values do not exist here", "integers and strings; amounts in fen")

    def _declare(self, node: ast.FunctionDef) -> None:
        if node.decorator_list or node.returns is not None or getattr(node, "type_params", None):
            self.refuse(node, "no decorators, annotations or type parameters")
        found = node.args
        if found.posonlyargs or found.kwonlyargs or found.vararg or found.kwarg or found.defaults or len(found.args) > 8:
            self.refuse(node, "functions take at most 8 plain positional arguments", "no defaults, no *args")
        parameters = tuple(argument.arg for argument in found.args)
        for argument in found.args:
            if argument.annotation is not None:
                self.refuse(node, "rules carry no annotations")
            if argument.arg not in grammar.ARGUMENTS:
                self.check_name(node, argument.arg)
        if len(set(parameters)) != len(parameters) or node.name in self.functions:
            self.refuse(node, "a name is used twice")
        if node.name.startswith("on_"):
            expected = ("timer", "state", "env") if node.name.startswith("on_timer_") else ("event", "state", "env")
            if parameters != expected:
                self.refuse(node, f"{node.name} takes {', '.join(expected)}")
        else:
            self.check_name(node, node.name)
        self.functions[node.name] = FunctionFacts(node.name, node, parameters)

    def check_name(self, node: ast.AST, name: str) -> None:
        """Refuse a name that is not plain, or that means something in the language."""
        if not _LOCAL_NAME(name) or "__" in name or len(name) > 40:
            self.refuse(node, f"{name!r} is no name for this", "lower-case letters, digits and single _")
        if name in grammar.RESERVED_NAMES:
            self.refuse(node, f"{name!r} has a meaning in the language", "choose another name")

    def _check_recursion(self) -> None:
        depths: dict[str, int] = {}
        path: list[str] = []

        def depth(name: str) -> int:
            node = self.functions[name].node
            if name in path:
                self.refuse(node, f"{name} calls itself", "use `for`")
            if name not in depths:
                if len(path) >= grammar.CALL_DEPTH_MAX:
                    self.refuse(node, "functions call each other too deep", f"at most {grammar.CALL_DEPTH_MAX} in a row")
                path.append(name)
                depths[name] = 1 + max((depth(called) for called in sorted(self.functions[name].calls)), default=0)
                path.pop()
            if depths[name] + len(path) > grammar.CALL_DEPTH_MAX:
                self.refuse(node, "functions call each other too deep", f"at most {grammar.CALL_DEPTH_MAX} in a row")
            return depths[name]

        for name in self.functions:
            depth(name)


def _advice(node: ast.AST, default: str = "") -> str:
    return grammar.ADVICE.get(type(node).__name__, default)


class _FunctionChecker:
    """One function: statements, expressions, names in scope, and values that are its own."""

    def __init__(self, owner: _FileChecker, facts: FunctionFacts) -> None:
        self.owner, self.facts = owner, facts
        self.refuse = owner.refuse
        self.names = set(facts.parameters)
        self.own: set[str] = set()  # locals that only ever hold a list or map built here

    def check(self) -> None:
        self._find_locals()
        body = self.facts.node.body
        if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant) and type(body[0].value.value) is str:
            body = body[1:]
        self._block(body, False)

    def _find_locals(self) -> None:
        built: dict[str, bool] = {}
        for node in ast.walk(self.facts.node):
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
            self.owner.check_name(self.facts.node, name)
            if name in self.facts.parameters:
                self.refuse(self.facts.node, f"the argument {name!r} is assigned to", "use another name")
            if name in self.owner.functions:
                self.refuse(self.facts.node, f"{name!r} is a function of this file", "choose another name")
        self.names |= set(built)
        self.own = {name for name, fresh in built.items() if fresh}

    def _block(self, body: list[ast.stmt], in_loop: bool) -> None:
        for node in body:
            if not isinstance(node, grammar.STATEMENTS):
                self.refuse(node, f"{type(node).__name__} is not allowed", _advice(node))
            self._statement(node, in_loop)

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
                self.refuse(node, "this operator does not exist here", _advice(node.op))
            self._expression(node.value, 0)
        elif isinstance(node, ast.If):
            self._expression(node.test, 0)
            self._block(node.body, in_loop)
            self._block(node.orelse, in_loop)
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
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and not isinstance(node.slice, ast.Slice):
            if node.value.id not in self.own:
                self.refuse(node, "only a list or map built in this function can be changed", "write(…) changes objects")
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
            self.refuse(node, f"{type(node).__name__} is not allowed", _advice(node))
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
        else:
            self._operator(node, depth)

    def _operator(self, node: ast.expr, depth: int) -> None:
        if isinstance(node, ast.BinOp) and type(node.op) not in grammar.OPERATORS:
            self.refuse(node, f"{type(node.op).__name__} does not exist here", _advice(node.op))
        if isinstance(node, ast.UnaryOp) and not isinstance(node.op, (ast.Not, ast.USub)):
            self.refuse(node, f"{type(node.op).__name__} does not exist here", _advice(node.op))
        if isinstance(node, ast.Compare):
            for operator, value in zip(node.ops, node.comparators, strict=True):
                is_none = isinstance(value, ast.Constant) and value.value is None
                if isinstance(operator, (ast.Is, ast.IsNot)) and not is_none:
                    self.refuse(node, "`is` compares with None only", "use ==")
        if isinstance(node, ast.Dict) and None in node.keys:
            self.refuse(node, "** is not allowed", "name the items one by one")
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self._expression(child, depth + 1)

    def _name(self, node: ast.Name) -> None:
        if node.id in grammar.ARGUMENTS:
            self.refuse(node, f"{node.id} cannot be used as a value", f"{node.id}.field, or pass it on to an own function")
        if node.id in self.owner.functions or node.id in grammar.BUILTINS or node.id in grammar.HELPERS:
            self.refuse(node, f"{node.id} can only be called")
        if node.id not in self.names and node.id not in self.owner.constants:
            self.refuse(node, f"unknown name {node.id!r}", "arguments, own names, constants, or a helper of the prelude")

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
        noted = {"refs": self.facts.refs, "body": self.facts.fields, "params": self.facts.parameters_used}.get(base.attr)
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
        if name in self.owner.functions:
            self._own_call(node, name, depth)
        elif name in grammar.BUILTINS:
            if node.keywords or not 1 <= len(node.args) <= (8 if name in ("min", "max") else 2 if name == "range" else 1):
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
            self.refuse(node, f"{name} takes {len(parameters)} values in order", "handlers are called by the ledger only")
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


def _target_names(node: ast.expr) -> list[str]:
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, (ast.Tuple, ast.List)):
        return [name for item in node.elts for name in _target_names(item)]
    return []
