"""Decides whether a call of a prelude helper says statically what it touches, and notes it.

Rules: names of objects, rules, codes, signals and discharging kinds are literals, because keys, writers and texts are
settled at publication; a label that something is discharged or cleared by comes from the event's bytes.
Never here: the values of arguments.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Final, NoReturn

from ledger.rules import grammar
from ledger.rules.facts import FunctionFacts, Label, Touch

Refuse = Callable[..., NoReturn]

_TIMER_NAME: Final = re.compile(r"[A-Z][A-Za-z0-9]{0,15}(\.[a-z][a-z0-9]{0,15})?").fullmatch


def collect_call(refuse: Refuse, facts: FunctionFacts, node: ast.Call, name: str) -> None:
    """Check the form of `name(…)` and add what it does to `facts`; `refuse(node, message, advice)` raises."""
    positional, keywords, free = grammar.EFFECTS[name]
    given = {keyword.arg or "": keyword.value for keyword in node.keywords}
    least = 2 if name == "move" else 1
    if not least <= len(node.args) <= len(positional) or len(given) != len(node.keywords):
        refuse(node, f"{name} takes {', '.join(positional)} in order", "and named values")
    for key in given:
        if key not in keywords and (not free or key in positional or key.startswith("_")):
            refuse(node, f"{name} has no {key}=", "one of " + ", ".join(keywords))
    first = _literal(refuse, node.args[0], f"the first value of {name}")
    line = node.lineno
    if name in ("refuse", "breach", "finding", "alert"):
        facts.codes.setdefault((name, first), line)
    if name == "write":
        facts.targets.setdefault(first, line)
        for key in given:
            facts.writes.setdefault((first, key), line)
        if not given:
            refuse(node, "write sets no field", 'write("grant", until=…)')
    elif name == "close_finding":
        facts.targets.setdefault(first, line)
    elif name == "move":
        facts.targets.setdefault(first, line)
        facts.moves.setdefault((first, _literal(refuse, node.args[1], "a signal")), line)
    elif "on" in given and not (isinstance(given["on"], ast.Constant) and given["on"].value is None):
        facts.targets.setdefault(_literal(refuse, given["on"], "on="), line)
    if name in ("duty", "discharge", "set_timer", "clear_timer", "settle_finding") and "on" not in given:
        refuse(node, f"{name} needs on=")
    if (name in ("duty", "set_timer") and "due" not in given) or (name == "duty" and "by" not in given):
        refuse(node, f"{name} needs due=" + (" and by=" if name == "duty" else ""))
    if name in ("duty", "discharge", "set_timer", "clear_timer"):
        facts.touches.append(_touch(refuse, node, name, first, given))


def _touch(refuse: Refuse, node: ast.Call, name: str, rule: str, given: dict[str, ast.expr]) -> Touch:
    on = _literal(refuse, given["on"], "on=")
    label = _label(given.get("label"))
    op = {"clear_timer": "clear", "set_timer": "timer"}.get(name, name)
    if op in ("discharge", "clear") and label == ("dynamic", ""):
        refuse(
            node, "what is discharged follows from the event", "label= event.member, a ref, a body field or a literal"
        )
    kinds: tuple[str, ...] = ()
    if "kinds" in given:
        value = given["kinds"]
        if not isinstance(value, ast.List):
            refuse(node, "kinds= is a literal list", 'kinds=["share.approve"]')
        kinds = tuple(_literal(refuse, item, "a kind") for item in value.elts)
    own = label is not None and "by" in given and ast.dump(given["label"]) == ast.dump(given["by"])
    if kinds and label is not None and not own:
        refuse(node, "a labelled duty is discharged by kinds only when its label is its obligor", "use discharge(…)")
    due = given.get("due")
    timed = not (isinstance(due, ast.Constant) and due.value is None)
    return Touch(op, _timer_name(refuse, node, rule), on, label, node.lineno, kinds, timed, own)


def _timer_name(refuse: Refuse, node: ast.Call, name: str) -> str:
    if not _TIMER_NAME(name):
        refuse(node, f"{name!r} names no duty or timer", "the rule's id, or the id, a dot and lower-case letters")
    return name


def _literal(refuse: Refuse, node: ast.expr, what: str) -> str:
    if not isinstance(node, ast.Constant) or type(node.value) is not str or not node.value:
        refuse(node, f"{what} is a literal name")
    return node.value


def _label(node: ast.expr | None) -> Label:
    if node is None or (isinstance(node, ast.Constant) and node.value is None):
        return None
    if isinstance(node, ast.Constant) and type(node.value) is str:
        return ("text", node.value)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        if (node.value.id, node.attr) == ("event", "member"):
            return ("member", "")
        if (node.value.id, node.attr) == ("timer", "label"):
            return ("label", "")
    if (
        isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Attribute)
        and isinstance(node.value.value, ast.Name)
        and node.value.value.id == "event"
        and node.value.attr in ("refs", "body")
        and isinstance(node.slice, ast.Constant)
        and type(node.slice.value) is str
    ):
        return ("ref" if node.value.attr == "refs" else "body", node.slice.value)
    return ("dynamic", "")
