"""The checks of test_tidy.py: a module in, lines of `path:line: what — do instead` out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache

from tests.architecture.tree import Module, imports, project

MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70

PURE_AREAS = frozenset({"errors", "limits", "core", "rules", "machine", "ports", "app", "verify"})
EXACT_AREAS = frozenset({"core", "rules", "machine", "app"})  # where a float would decide something
DOCUMENTED_AREAS = frozenset({"core", "verify"})
VAGUE_NAMES = frozenset({"utils", "util", "helpers", "helper", "manager", "managers", "common", "misc"})

# What a pure module does in place of importing the banned name; every other banned import gets DEFAULT_ADVICE.
IMPORT_ADVICE = {
    "time": "take the time as an argument (unix ms, from the block header)",
    "zoneinfo": "use the offset that the rulebook fixes; the zone database differs from machine to machine",
    "random": "take random bytes as an argument",
    "secrets": "take random bytes as an argument",
    "uuid": "use ledger.core.ident, which takes time and randomness as arguments",
    "threading": "leave threads to the adapter or the command that calls",
    "multiprocessing": "take a `map` function as an argument",
    "concurrent": "take a `map` function as an argument",
    "asyncio": "stay synchronous; the adapter owns the event loop",
    "logging": "return findings as values; the caller logs",
    "structlog": "return findings as values; the caller logs",
    "sys": "take what you need as an argument; bounds stand in ledger.limits",
    "io": "work on bytes",
    "pathlib": "take bytes, or a small reader Protocol, as an argument",
    "pickle": "encode as canonical JSON; a pickle runs code",
    "marshal": "encode as canonical JSON; marshal changes between versions",
    "pydantic_monty": "put it behind the RuleRuntime port, in ledger.adapters",
}
DEFAULT_ADVICE = "let an adapter do it and pass the result, or a small Protocol, as an argument"

CALL_ADVICE = {
    "open": "take bytes as an argument; only adapters and the command line open files",
    "print": "return a value; only ledger.cli prints",
    "input": "take an argument; only ledger.cli asks",
    "breakpoint": "remove it",
    "hash": "use ledger.core.hashing.sha256: the built-in differs from process to process",
    "id": "compare values: addresses differ from process to process",
    "eval": "parse by hand",
    "exec": "call a function",
    "compile": "call a function",
    "__import__": "import at the top, so that the import contracts see it",
    "globals": "pass a value",
    "locals": "pass a value",
}
# A compiled rulebook is Python source of our own making; running it is what ledger.rules is for.
CALLS_ALLOWED = {"rules": frozenset({"compile", "exec"})}

METHOD_ADVICE = {
    "now": "take the time as an argument (unix ms)",
    "utcnow": "take the time as an argument (unix ms)",
    "today": "take the day as an argument",
    "urandom": "take random bytes as an argument",
    "getenv": "take the setting as an argument",
    "read_text": "take the text as an argument",
    "read_bytes": "take the bytes as an argument",
    "write_text": "return the text",
    "write_bytes": "return the bytes",
}

# (file, method) that are right where they are, each with its reason. An entry that nothing needs any more fails a test.
EXEMPT = {
    ("src/ledger/rules/prelude/__init__.py", "read_text"): "its own packaged source, whose hash stands in the config",
}

Functions = ast.FunctionDef | ast.AsyncFunctionDef


def sizes(module: Module) -> Iterator[str]:
    """Modules and functions that are too long; a docstring is not length."""
    line_count = len(module.source.splitlines())
    if line_count > MODULE_LINES_MAX:
        yield f"{module.path}:1: {line_count} lines, at most {MODULE_LINES_MAX} — split it by what its parts decide"
    for node in ast.walk(module.tree):
        if isinstance(node, Functions):
            length = _length(node)
            if length > FUNCTION_LINES_MAX:
                yield (
                    f"{module.path}:{node.lineno}: {node.name} has {length} lines, at most {FUNCTION_LINES_MAX}"
                    " — keep the branches here and move the leaves into functions of their own"
                )


def _length(node: Functions) -> int:
    length = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node, clean=False) is not None:
        length -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
    return length


def vague_names(module: Module) -> Iterator[str]:
    """Modules whose name says nothing."""
    for part in re.split(r"[/.]", module.path.removesuffix(".py")):
        if part in VAGUE_NAMES:
            yield f"{module.path}:1: the name {part} says nothing — name the module after what it decides"


def banned_imports(module: Module) -> Iterator[str]:
    """Imports that bring a clock, chance or the outside world into a pure module."""
    if module.area not in PURE_AREAS:
        return
    for node in ast.walk(module.tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for name in names:
            root = name.partition(".")[0]
            if root in forbidden_roots():
                advice = IMPORT_ADVICE.get(root, DEFAULT_ADVICE)
                yield f"{module.path}:{node.lineno}: {name} is banned in ledger.{module.area} — {advice}"


@cache
def forbidden_roots() -> frozenset[str]:
    """The list that the import contract `pure` holds: one source for both checks."""
    contracts = project()["tool"]["importlinter"]["contracts"]
    return frozenset(next(contract["forbidden_modules"] for contract in contracts if contract["id"] == "pure"))


def banned_calls(module: Module) -> Iterator[str]:
    """Calls in a pure module that reach outside, or whose answer differs between machines."""
    if module.area not in PURE_AREAS:
        return
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call):
            continue
        where = f"{module.path}:{node.lineno}:"
        if isinstance(node.func, ast.Name):
            name = node.func.id
            if name in CALL_ADVICE and name not in CALLS_ALLOWED.get(module.area, ()):
                yield f"{where} {name}() is banned in ledger.{module.area} — {CALL_ADVICE[name]}"
        elif isinstance(node.func, ast.Attribute) and node.func.attr in METHOD_ADVICE:
            if (module.path, node.func.attr) in EXEMPT:
                continue
            yield f"{where} .{node.func.attr}() is banned in ledger.{module.area} — {METHOD_ADVICE[node.func.attr]}"


def inexact(module: Module) -> Iterator[str]:
    """Floats, and the order of a set, where a verdict or a hash could depend on them."""
    if module.area not in EXACT_AREAS:
        return
    for node in ast.walk(module.tree):
        line = getattr(node, "lineno", 1)
        where = f"{module.path}:{line}:"
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            yield f"{where} {node.value} is a float — count in integers of a smaller unit"
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            yield f"{where} / makes a float — use // and %"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float":
            yield f"{where} float() — count in integers of a smaller unit"
        elif isinstance(node, ast.For | ast.comprehension) and _is_set(node.iter):
            yield f"{module.path}:{node.iter.lineno}: a set has no order that machines share — iterate over sorted(…)"


def _is_set(node: ast.expr) -> bool:
    made = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("set", "frozenset")
    return made or isinstance(node, ast.Set | ast.SetComp)


def missing_docstrings(module: Module) -> Iterator[str]:
    """Public classes and functions of core and verify, and tests, that do not say what they are for."""
    is_test_file = module.path.startswith("tests/") and module.path.rpartition("/")[2].startswith("test_")
    if module.area in DOCUMENTED_AREAS and ast.get_docstring(module.tree) is None and module.source.strip():
        yield f"{module.path}:1: no module docstring — say in one sentence what it decides, last what it never does"
    if module.area in DOCUMENTED_AREAS:
        yield from _undocumented(module, module.tree.body)
    elif is_test_file:
        for node in ast.walk(module.tree):
            if isinstance(node, Functions) and node.name.startswith("test_") and ast.get_docstring(node) is None:
                yield f"{module.path}:{node.lineno}: {node.name} has no docstring — state the behaviour in one sentence"


def _undocumented(module: Module, body: Iterable[ast.stmt], owner: str = "") -> Iterator[str]:
    for node in body:
        if not isinstance(node, Functions | ast.ClassDef) or node.name.startswith("_"):
            continue
        if ast.get_docstring(node) is None:
            yield (
                f"{module.path}:{node.lineno}: {owner}{node.name} has no docstring"
                " — state meaning, units, errors raised and the clause it follows"
            )
        if isinstance(node, ast.ClassDef):
            yield from _undocumented(module, node.body, node.name + ".")


def dead_modules(all_modules: Iterable[Module], entry_points: frozenset[str]) -> Iterator[str]:
    """Modules of the two packages that nothing but tests imports."""
    ours = {module.name: module for module in all_modules if module.name}
    used: set[str] = set(entry_points)
    for module in all_modules:
        if module.path.startswith("tests/"):
            continue
        for name, _ in imports(module):
            if name != module.name:
                used.add(name)
        used.update(name for name in _named_in_strings(module, ours))
    for name, module in sorted(ours.items()):
        if name in used or module.path.endswith(("/__init__.py", "/__main__.py")):
            continue
        yield f"{module.path}:1: nothing imports {name} — import it where it is needed, or delete it"


def _named_in_strings(module: Module, ours: dict[str, Module]) -> Iterator[str]:
    """Modules that are loaded by name: "ledger.cli.verify:command", or an f-string that begins with "ledger.cli."."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value.partition(":")[0]
            if name in ours:
                yield name
        elif isinstance(node, ast.JoinedStr) and node.values and isinstance(node.values[0], ast.Constant):
            prefix = str(node.values[0].value)
            if prefix.startswith(("ledger.", "ledger_node.")) and prefix.endswith("."):
                yield from (name for name in ours if name.startswith(prefix))


def untested_verbs(all_modules: Iterable[Module]) -> Iterator[str]:
    """Public parsers, encoders, provers and verifiers of core that no test names."""
    all_modules = tuple(all_modules)
    words = {
        word for module in all_modules if module.path.startswith("tests/") for word in re.findall(r"\w+", module.source)
    }
    for module in all_modules:
        if module.area != "core":
            continue
        for node in module.tree.body:
            if not isinstance(node, Functions) or not re.match(r"(parse|encode|prove|verify)(_|$)", node.name):
                continue
            # `parse` alone says little: then the module has to be named as well.
            needed = {node.name} if "_" in node.name else {node.name, module.name.rpartition(".")[2]}
            if not needed <= words:
                where = f"{module.path}:{node.lineno}:"
                yield f"{where} no test names {node.name} — test both what it takes and what it refuses"
