"""Loads a generated program text into a namespace of its own: what runs rules, and nothing else.

Rules: of Python the text sees only `_BUILTINS`; codecs and the naming of timer findings are given from here.
This module imports little, because the worker process imports it. Never here: compiling rulebooks, I/O.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from types import CodeType
from typing import Any, Final

from ledger.core.hashing import TAG_FINDING, u64
from ledger.rules.codec import decode, encode, write

PART_MARK: Final = "\n# --- rulebook ---\n"  # between the prelude and what was generated for one rulebook

# All that the program text may use of Python itself.
_BUILTINS: Final = {
    name: getattr(builtins, name)
    for name in (
        "Exception", "IndexError", "KeyError", "MemoryError", "RecursionError", "TypeError", "ValueError", "all", "any",
        "bool", "dict", "enumerate", "int", "isinstance", "len", "list", "max", "min", "range", "sorted", "str", "tuple",
        "type",
    )
}  # fmt: skip


def timer_mark(key: str, due: int) -> str:
    r"""32 hex characters of H("suyuan/finding/v1\0" ‖ timer key ‖ u64 due): names a timer's findings in any block."""
    return sha256(TAG_FINDING + key.encode("utf-8") + u64(due)).hexdigest()[:32]


def load_program(text: str) -> dict[str, Any]:
    """The namespace of a program text that `Compiler` generated, with nothing of Python but `_BUILTINS`."""
    return run_parts(program_parts(text))


def program_parts(text: str) -> list[CodeType]:
    """The compiled parts of a program text."""
    # The prelude is the same in every program, so its code is kept.
    return [_code(part) for part in text.split(PART_MARK)]


def run_parts(parts: Iterable[CodeType]) -> dict[str, Any]:
    """The namespace of `program_parts`, which run in order, as one text would."""
    namespace: dict[str, Any] = {
        "__builtins__": dict(_BUILTINS),
        "__name__": "rules",
        "_decode": decode,
        "_encode": encode,
        "_write": write,
        "_size": len,
        "_mark": timer_mark,
    }
    for part in parts:
        exec(part, namespace)  # noqa: S102 - generated here, from rules that passed the check
    return namespace


@lru_cache(maxsize=4)
def _code(text: str) -> CodeType:
    return compile(text, "<rules>", "exec")
