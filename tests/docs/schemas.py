"""The `schema` blocks of docs/SPEC.md as values, and whether a JSON object is what one of them says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from ledger.core.ident import IDENTIFIER, TIME_OF_DAY, UUID7
from ledger.limits import INT_MAX
from tests.docs.markdown import blocks

SPEC = "docs/SPEC.md"
LINE = re.compile(r"(\w+)(\?)? +(\S(?:.*?\S)?)(?: {2,}(.*))?")
TOKEN = re.compile(r"\s*([\w-]+|[\[\]{}|:,])")
FORMS = {
    "digest": re.compile("[0-9a-f]{64}"),
    "hex": re.compile("(?:[0-9a-f]{2})*"),
    "id": re.compile(IDENTIFIER),
    "uuid": re.compile(UUID7),
    "time": re.compile(r"\d{4}-\d\d-\d\dT" + TIME_OF_DAY),
    "base64": re.compile("[A-Za-z0-9+/]*=*"),
    "text": re.compile(".*", re.DOTALL),
    "note": re.compile(".*\n\n(— .*\n)+", re.DOTALL),
    "document": re.compile(r"\{.*\}", re.DOTALL),
}


@dataclass(frozen=True)
class Field:
    """One line of a schema; `form` is its type as written."""

    name: str
    optional: bool
    form: str


@cache
def schemas() -> dict[str, tuple[Field, ...]]:
    """Every schema of SPEC by name. Raises `ValueError` for a line that is none, or a name that comes twice."""
    found: dict[str, tuple[Field, ...]] = {}
    for block in blocks(SPEC):
        if block.language != "schema":
            continue
        name = block.info.partition(" ")[2]
        fields = []
        for line in block.body.splitlines():
            match = LINE.fullmatch(line)
            if match is None:
                raise ValueError(f"{SPEC}:{block.line}: not a line of a schema: {line!r}")
            fields.append(Field(match[1], bool(match[2]), match[3]))
        if name in found or [each.name for each in fields] != sorted({each.name for each in fields}):
            raise ValueError(f"{SPEC}:{block.line}: {name} comes twice, or its fields are not sorted")
        found[name] = tuple(fields)
    return found


def faults(value: Any, name: str) -> list[str]:
    """What of `value` is not as the schema `name` says; empty when everything is."""
    if not isinstance(value, dict):
        return [f"{name}: not an object"]
    known = {each.name: each for each in schemas()[name]}
    wanted = {each.name for each in known.values() if not each.optional}
    found = [f"{name}: {missing} is missing" for missing in sorted(wanted - value.keys())]
    found += [f"{name}: {extra} is not in SPEC" for extra in sorted(value.keys() - known.keys())]
    for field, content in value.items():
        if field in known and not _Type(known[field].form).fits(content):
            found.append(f"{name}.{field}: {str(content)[:80]!r} is no {known[field].form}")
    return found


class _Type:
    """A type as SPEC writes it: a name, a number, `[x]`, `[x, y]`, `{schema}`, `{}`, `{x: y}`, `x | y`."""

    def __init__(self, form: str) -> None:
        self._tokens = TOKEN.findall(form)
        self._at = 0
        self._tree = self._either()
        if self._at != len(self._tokens):
            raise ValueError(f"not a type: {form!r}")

    def fits(self, value: Any) -> bool:
        """Whether `value` is of this type."""
        return _fits(value, self._tree)

    def _next(self, wanted: str = "") -> str:
        token = self._tokens[self._at] if self._at < len(self._tokens) else ""
        if wanted and token != wanted:
            raise ValueError(f"expected {wanted!r} in {self._tokens}")
        self._at += 1
        return token

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _either(self) -> tuple[Any, ...]:
        options = [self._one()]
        while self._peek() == "|":
            self._next()
            options.append(self._one())
        return ("either", options)

    def _one(self) -> tuple[Any, ...]:
        token = self._next()
        if token == "[":
            items = [self._either()]
            while self._peek() == ",":
                self._next()
                items.append(self._either())
            self._next("]")
            return ("list", items)
        if token == "{":
            if self._peek() == "}":
                self._next()
                return ("object",)
            key = self._either()
            if self._peek() == ":":
                self._next()
                value = self._either()
                self._next("}")
                return ("map", key, value)
            self._next("}")
            return ("schema", key[1][0][1])
        return ("name", token)


def _fits(value: Any, tree: tuple[Any, ...]) -> bool:
    kind = tree[0]
    if kind == "either":
        return any(_fits(value, option) for option in tree[1])
    if kind == "list":
        if not isinstance(value, list):
            return False
        if len(tree[1]) == 1:
            return all(_fits(item, tree[1][0]) for item in value)
        return len(value) == len(tree[1]) and all(_fits(item, each) for item, each in zip(value, tree[1], strict=True))
    if kind == "object":
        return isinstance(value, dict)
    if kind == "map":
        return isinstance(value, dict) and all(_fits(k, tree[1]) and _fits(v, tree[2]) for k, v in value.items())
    if kind == "schema":
        return not faults(value, tree[1])
    return _is_named(value, tree[1])


def _is_named(value: Any, name: str) -> bool:
    if name == "uint":
        return type(value) is int and 0 <= value <= INT_MAX
    if name == "null":
        return value is None
    if name in ("bool", "true"):
        return type(value) is bool and (value or name == "bool")
    if name == "path":
        return isinstance(value, list) and all(_is_named(item, "digest") for item in value)
    if name.isdecimal():
        return type(value) is int and value == int(name)
    if name not in FORMS:
        raise ValueError(f"SPEC knows no type {name!r}")
    return isinstance(value, str) and FORMS[name].fullmatch(value) is not None
