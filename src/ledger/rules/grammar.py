"""Decides what the rule language is: every name, method, field and operator a rule may use, and what to do instead.

Rules (SPEC R-R01): an allowlist; what is not listed is refused. A change here is a change of the language version,
hence a vote.
Not here: walking a file (`check`), turning it into a program (`emit`).
"""

from __future__ import annotations

import ast
from typing import Final

LANGUAGE_VERSION: Final = 1

RULE_FILE_BYTES_MAX: Final = 64 * 1024  # a rule is a page, not a program
CALL_DEPTH_MAX: Final = 12  # functions of a rule that call each other in a row
EXPRESSION_DEPTH_MAX: Final = 40  # nesting that a reader can follow and every parser survives
BLOCK_DEPTH_MAX: Final = 10  # if, for and match inside each other; CPython itself stops at 20
ELIF_MAX: Final = 40  # alternatives of one if
CONSTANT_CHARS_MAX: Final = 1024  # of one string literal

# Built-in functions, and the guarded operator that runs in their place.
BUILTINS: Final = {
    "all": "_all",
    "any": "_any",
    "len": "_len",
    "max": "_max",
    "min": "_min",
    "range": "_range",
    "sorted": "_sorted",
    "sum": "_sum",
}

# Methods by name, their guarded operator, and how many arguments they take.
METHODS: Final = {
    "append": ("_append", 1, 1),
    "endswith": ("_endswith", 1, 1),
    "get": ("_get", 1, 2),
    "items": ("_items", 0, 0),
    "join": ("_join", 1, 1),
    "keys": ("_keys", 0, 0),
    "removeprefix": ("_removeprefix", 1, 1),
    "removesuffix": ("_removesuffix", 1, 1),
    "split": ("_split", 1, 1),
    "startswith": ("_startswith", 1, 1),
    "values": ("_values", 0, 0),
}

# Prelude helpers: positional parameters, keyword parameters (None: any name, as facts or fields).
EFFECTS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...], bool]]] = {
    "refuse": (("code",), (), True),
    "breach": (("code",), ("about", "on", "of", "held"), True),
    "finding": (("code",), ("about", "on", "of", "held"), True),
    "alert": (("code",), (), True),
    "write": (("target", "of"), (), True),
    "move": (("target", "signal"), ("of",), False),
    "duty": (("rule",), ("by", "on", "due", "kinds", "label", "of"), False),
    "discharge": (("rule",), ("on", "label", "of"), False),
    "set_timer": (("rule",), ("on", "due", "label", "of"), True),
    "clear_timer": (("rule",), ("on", "label", "of"), False),
    "settle_finding": (("code",), ("about", "on"), False),
    "close_finding": (("target",), (), False),
}
TERMS: Final = ("working_days", "natural_days", "hours", "months", "years")
TIMES: Final = ("ms", "day", "month")
HELPERS: Final = frozenset(EFFECTS) | frozenset(TERMS) | frozenset(TIMES)

EVENT_FIELDS: Final = frozenset({"body", "id", "intent", "kind", "member", "name", "refs", "time"})
TIMER_FIELDS: Final = frozenset({"data", "due", "id", "label", "on", "provisional", "rule"})
ENV_FIELDS: Final = frozenset({"now", "params", "signer"})
SIGNER_FIELDS: Final = frozenset({"key", "member", "roles"})
ARGUMENTS: Final = frozenset({"event", "timer", "state", "env"})

RESERVED_NAMES: Final = frozenset(BUILTINS) | HELPERS | ARGUMENTS

OPERATORS: Final[dict[type[ast.operator], str]] = {
    ast.Add: "_add",
    ast.Sub: "_sub",
    ast.Mult: "_mul",
    ast.FloorDiv: "_div",
    ast.Mod: "_mod",
}

COMPARISONS: Final[dict[type[ast.cmpop], str]] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
    ast.Is: "is",
    ast.IsNot: "is not",
}

STATEMENTS: Final = (
    ast.Assign, ast.AugAssign, ast.Break, ast.Continue, ast.Expr, ast.For, ast.If, ast.Match, ast.Pass, ast.Return,
)  # fmt: skip

EXPRESSIONS: Final = (
    ast.Attribute, ast.BinOp, ast.BoolOp, ast.Call, ast.Compare, ast.Constant, ast.Dict, ast.DictComp, ast.IfExp,
    ast.JoinedStr, ast.List, ast.ListComp, ast.Name, ast.Subscript, ast.Tuple, ast.UnaryOp,
)  # fmt: skip

# What authors try first, and what the language offers for it.
ADVICE: Final = {
    "Import": "a rule imports nothing; the prelude's helpers and the parameters of the rulebook are already there",
    "ImportFrom": "a rule imports nothing; the prelude's helpers and the parameters of the rulebook are already there",
    "While": "use `for` over a list or a range: every loop ends",
    "ClassDef": "use dicts and functions",
    "Try": "a rule does not catch errors; check with `in`, `.get` or `is None`",
    "TryStar": "a rule does not catch errors; check with `in`, `.get` or `is None`",
    "Raise": "return refuse(…), breach(…) or finding(…)",
    "Assert": "return refuse(…) or breach(…)",
    "Global": "keep state in state objects: write(…)",
    "Nonlocal": "keep state in state objects: write(…)",
    "Lambda": "write a small function of the module",
    "GeneratorExp": "write a list: any([… for … in …])",
    "SetComp": "use a list, or a dict with its keys",
    "Set": "use a list",
    "Delete": "build a new list or dict without the item",
    "With": "there is nothing to open",
    "AsyncFunctionDef": "rules run at once",
    "AsyncFor": "rules run at once",
    "AsyncWith": "rules run at once",
    "Await": "rules run at once",
    "Yield": "return a list",
    "YieldFrom": "return a list",
    "NamedExpr": "assign on a line of its own",
    "Starred": "name the arguments one by one",
    "AnnAssign": "rules carry no annotations",
    "Div": "use // on integers; amounts are in fen, rates in basis points",
    "Pow": "multiply",
    "LShift": "multiply",
    "RShift": "use //",
    "BitAnd": "use `and`",
    "BitOr": "use `or`",
    "BitXor": "use !=",
    "MatMult": "multiply",
    "Invert": "use `not`",
    "FunctionDef": "define functions at the top of the file only",
    "FormattedValue": "an f-string holds plain names only: assign first",
    "TypeAlias": "rules carry no types",
}
