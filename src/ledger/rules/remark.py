"""One remark on a rulebook: what is wrong or odd, where, and how much it matters. Words are looked up by its code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ERROR: Final = "error"
WARNING: Final = "warning"
NOTE: Final = "note"
"""A warning that the rulebook explains in place (see `lint_said`)."""


@dataclass(frozen=True, slots=True)
class Remark:
    """`values` fill the text of `code`; `line` begins at 1."""

    code: str
    severity: str
    file: str
    line: int
    values: tuple[tuple[str, str], ...] = ()
