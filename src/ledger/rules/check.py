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
from functools import lru_cache
from typing import Final, NoReturn

from ledger.errors import MalformedError
from ledger.limits import INT_MAX
from ledger.rules import grammar
from ledger.rules.check_function import FunctionChecker, advice_for
from ledger.rules.facts import FunctionFacts, RuleFacts

_TITLE: Final = re.compile(r"(?P<id>\S+) (?P<zh>.+?) · (?P<en>.+?)\. (?P<article>.+)")
_RULE_ID: Final = re.compile(r"[A-Z][A-Za-z0-9]{0,15}").fullmatch
_CONSTANT_NAME: Final = re.compile(r"[A-Z][A-Z0-9_]*").fullmatch
_LOCAL_NAME: Final = re.compile(r"[a-z][a-z0-9_]*").fullmatch
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f]")
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
        if _CONTROL.search(line):
            _refuse(file, number, "a control character", "use \\n inside strings, and line feeds only")
        if not line.isascii() and any(_disguised(character) for character in line if not character.isascii()):
            _refuse(
                file, number, "a character that Python would read as an ASCII letter or digit", "write the ASCII one"
            )
    try:
        return ast.parse(text, filename=file, feature_version=(3, 11))
    except SyntaxError as error:
        _refuse(file, error.lineno or 1, f"not Python: {error.msg}")
    except (ValueError, RecursionError, MemoryError, OverflowError):
        _refuse(file, 1, "not Python that can be read", "less nesting, smaller numbers")


@lru_cache(maxsize=4096)
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
                self.refuse(
                    node, f"{type(node).__name__} is not allowed here", advice_for(node, "constants and functions only")
                )
        for facts in self.functions.values():
            FunctionChecker(self, facts).check()
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
            self.refuse(
                node, f"{type(value).__name__} values do not exist here", "integers and strings; amounts in fen"
            )

    def _declare(self, node: ast.FunctionDef) -> None:
        if node.decorator_list or node.returns is not None or getattr(node, "type_params", None):
            self.refuse(node, "no decorators, annotations or type parameters")
        found = node.args
        if (
            found.posonlyargs
            or found.kwonlyargs
            or found.vararg
            or found.kwarg
            or found.defaults
            or len(found.args) > 8
        ):
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
                    self.refuse(
                        node, "functions call each other too deep", f"at most {grammar.CALL_DEPTH_MAX} in a row"
                    )
                path.append(name)
                depths[name] = 1 + max((depth(called) for called in sorted(self.functions[name].calls)), default=0)
                path.pop()
            if depths[name] + len(path) > grammar.CALL_DEPTH_MAX:
                self.refuse(node, "functions call each other too deep", f"at most {grammar.CALL_DEPTH_MAX} in a row")
            return depths[name]

        for name in self.functions:
            depth(name)
