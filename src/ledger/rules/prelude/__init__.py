"""The prelude: what every compiled rulebook of language 1 runs with, as ordinary modules and as one program text.

Rule: `program_text` is the concatenation of the parts below their markers, byte for byte; its hash stands in the config.
Not here: any rulebook's content.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

PARTS: Final = (
    "ledger.rules.prelude.guards",
    "ledger.rules.prelude.terms",
    "ledger.rules.prelude.shape",
    "ledger.rules.prelude.effects",
    "ledger.rules.prelude.findings",
    "ledger.rules.prelude.verdicts",
    "ledger.rules.prelude.shortcut",
    "ledger.rules.prelude.engine",
)
_MARKER: Final = "# --- program text ---\n"


@cache
def program_text() -> str:
    """The prelude as the first part of every generated program."""
    parts = []
    for module in PARTS:
        name = module.rsplit(".", 1)[1]
        source = files(__package__).joinpath(f"{name}.py").read_text("utf-8")
        parts.append(f"# prelude: {name}\n{source.split(_MARKER, 1)[1].strip()}\n")
    return "\n\n".join(parts)
