"""Finds the line of a declaration in a TOML file, so that a remark about it can be clicked.

Rule: a guess by table heads and keys, never a parser: where nothing fits, the line is that of what holds it, or 1.
Not here: what a declaration means.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_HEAD: Final = re.compile(r"^\s*\[\[?\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY: Final = re.compile(r"""^\s*((?:"[^"]+"|'[^']+'|[\w-]+)(?:\s*\.\s*(?:"[^"]+"|'[^']+'|[\w-]+))*)\s*=""")
_PART: Final = re.compile(r""""([^"]+)"|'([^']+)'|([\w-]+)""")
_NAME: Final = re.compile(r"""^\s*name\s*=\s*["'](.*)["']\s*(?:#.*)?$""")


def line_of(data: bytes, where: str) -> int:
    """The line of `data` (TOML) that declares `where`, a path with dots such as `share.apply.refs.dataset`."""
    declared = _declared(data)
    while where:
        if where in declared:
            return declared[where]
        where = where.rpartition(".")[0]
    return 1


@lru_cache(maxsize=64)
def _declared(data: bytes) -> dict[str, int]:
    """Every path that a head or key declares, with its first line; also without the `body` and `fields` in it, as they are
    left out where a refusal names a place."""
    head = ""
    found: dict[str, int] = {}
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
        if not line or line[0] in "# ":
            continue
        opened = _HEAD.match(line)
        if opened:
            head = _dotted(opened[1])
            paths = [head]
        else:
            key, name = _KEY.match(line), _NAME.match(line)
            paths = [f"{head}.{_dotted(key[1])}" if head else _dotted(key[1])] if key else []
            if name:
                paths.append(name[1])  # a case is called by its name
        for path in paths:
            for each in (path, path.replace(".body.", "."), path.replace(".fields.", ".")):
                found.setdefault(each, number)
    return found


def _dotted(text: str) -> str:
    return ".".join(next(part for part in found.groups() if part) for found in _PART.finditer(text))
