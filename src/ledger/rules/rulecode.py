"""Decides the program text of one rule file: its constants and its functions.

Rules: a handler is written once more where its kind has a straight path, which decides most events; the functions that both
call have their guards written out, because their speed is that of every event.
Never here: statements and expressions (see `emit`, `guarded`), paths (see `straight`).
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import cast

from ledger.rules.emit import Emitter, literal
from ledger.rules.facts import RuleFacts
from ledger.rules.guarded import Guarded
from ledger.rules.kinds import Kind


def emit_rule(rule: RuleFacts, kinds: Mapping[str, Kind]) -> str:
    """Constants and functions of a checked rule file as program text. `kinds`: by the name of their handlers."""
    lines = [f"# rule {rule.id}"]
    for name, node in rule.constants.items():
        lines.append(f"_{rule.id}_c_{name} = {_constant(node)}")
    for facts in rule.functions.values():
        lines.append("")
        emitter = Emitter if facts.name.startswith("on_") else Guarded
        lines.extend(emitter(rule, facts, kinds.get(facts.name)).function())
    return "\n".join(lines) + "\n"


def _constant(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return literal(node.value)
    if isinstance(node, ast.UnaryOp):
        return "-" + _constant(node.operand)
    if isinstance(node, (ast.List, ast.Tuple)):
        return "[" + ", ".join(_constant(item) for item in node.elts) + "]"
    mapping = cast(ast.Dict, node)
    pairs = zip(mapping.keys, mapping.values, strict=True)
    return "{" + ", ".join(f"{_constant(key)}: {_constant(value)}" for key, value in pairs if key is not None) + "}"
