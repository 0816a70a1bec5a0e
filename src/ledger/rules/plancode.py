"""Decides the program text that names the state keys of an event of one kind: what the host reads before rules run.

Rules: the plan and the reads of `kindcode` use the same key expressions, so the host reads exactly what the rules see; a
plan follows from the event's bytes alone.
Never here: what is done with the objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ledger.rules.emit import literal
from ledger.rules.facts import FunctionFacts, Label, RuleFacts, Touch
from ledger.rules.kinds import Kind, Ref, Template


@dataclass(slots=True)
class KindPlan:
    """What `compiler` knows of a kind: who listens, which tables move, what is discharged and touched."""

    kind: Kind
    rules: list[tuple[str, str]]
    handlers: list[tuple[RuleFacts, FunctionFacts]]  # of the same rules
    tables: list[list[Any]]
    discharges: list[tuple[str, str, bool]]
    touches: list[Touch]
    implicit: set[str]
    duties: set[str]  # timers that are the deadline of a duty


def key_of(template: Template) -> str:
    """Program text of the key that a template stands for."""
    parts = [literal(template.object + "/")]
    for kind, name in template.parts:
        if kind == "text":
            parts.append(literal(name))
        elif kind == "ref":
            parts.append(f"r_{name}")
        elif kind == "owner":
            parts.append(f'r_{name}.split("/")[0]')
        elif kind == "body":
            parts.append(f"body[{literal(name)}]")
        elif kind == "member":
            parts.append("member")
        elif kind == "new":
            parts.append("name")
        else:
            parts.append(f"_stamp(claimed, {literal(kind)})")
    return " + ".join(parts)


def needs_of(template: Template, kind: Kind) -> list[str]:
    """Conditions under which the key of a template exists: its optional refs and fields are there."""
    optional = {ref.name for ref in kind.refs if ref.optional} | {
        f"body.{f.name}" for f in kind.fields if not f.required
    }
    found = []
    for part, name in template.parts:
        if part in ("ref", "owner") and name in optional:
            found.append(f"r_{name} is not None")
        elif part == "body" and f"body.{name}" in optional:
            found.append(f"body.get({literal(name)}) is not None")
    return found


class Planner:
    """`_p_<kind>(member, head, body)`: the keys an event may read or write; it may raise on odd input."""

    def __init__(self, plan: KindPlan) -> None:
        self.plan, self.kind = plan, plan.kind

    def lines(self) -> list[str]:
        kind = self.kind
        found = [f"def _p_{kind.function}(member, head, body):", '    refs = head["refs"]']
        found.append('    name = member + "/" + head["id"]')
        if any(part[0] in ("day", "month", "year") for template in kind.state for part in template.parts):
            found.append('    claimed = _ms(head["time"])')
        found.append("    keys = []")
        found.append('    if "ticket" in refs:')
        found.append('        keys.append("ticket/" + refs["ticket"])')
        found.append('    if "intent" in head:')
        found.append('        keys.append("ticket/" + name)')
        for ref in kind.refs:
            if not ref.opaque:
                found += self.ref(ref)
            elif not ref.many:
                found.append(f"    r_{ref.name} = refs.get({literal(ref.name)})")
        for template in kind.state:
            found += self.guarded(needs_of(template, kind), template.name, f"k_{template.name} = {key_of(template)}")
        if kind.creates is not None:
            found.append(f"    k_{kind.created} = {literal(kind.creates + '/')} + name")
            found.append(f"    keys.append(k_{kind.created})")
            found += self.touched(kind.created, f"k_{kind.created}", 1)
        found.append("    return keys")
        return found

    def ref(self, ref: Ref) -> list[str]:
        prefix = literal(ref.object + "/")
        if ref.many:
            lines = [f"    for r_{ref.name} in refs.get({literal(ref.name)}, []):"]
            lines.append(f"        k_{ref.name} = {prefix} + r_{ref.name}")
            lines.append(f"        keys.append(k_{ref.name})")
            return lines + self.touched(ref.name, f"k_{ref.name}", 2)
        lines = [f"    r_{ref.name} = refs.get({literal(ref.name)})"]
        condition = [f"r_{ref.name} is not None"] if ref.optional else []
        return lines + self.guarded(condition, ref.name, f"k_{ref.name} = {prefix} + r_{ref.name}")

    def guarded(self, conditions: list[str], name: str, statement: str) -> list[str]:
        depth = 1
        lines = []
        if conditions:
            lines.append(f"    if {' and '.join(conditions)}:")
            depth = 2
        indent = "    " * depth
        lines += [f"{indent}{statement}", f"{indent}keys.append(k_{name})"]
        return lines + self.touched(name, f"k_{name}", depth)

    def touched(self, name: str, key: str, depth: int) -> list[str]:
        indent = "    " * depth
        found: list[str] = []
        for touch in self.plan.touches:
            if touch.on != name:
                continue
            label = self.label(touch.label)
            if label is None:
                continue
            owed = touch.op in ("duty", "discharge") or (touch.op == "timer" and touch.rule in self.plan.duties)
            prefixes = ("duty", "timer") if owed else ("timer",)
            for prefix in prefixes:
                found.append(f"{indent}keys.append({literal(f'{prefix}/{touch.rule}/')} + {key}{label})")
        for rule, state, own in self.plan.discharges:
            if state == name:
                label = ' + "#" + member' if own else ""
                for prefix in ("duty", "timer"):
                    found.append(f"{indent}keys.append({literal(f'{prefix}/{rule}/')} + {key}{label})")
        return list(dict.fromkeys(found))

    def label(self, label: Label) -> str | None:
        if label is None:
            return ""
        kind, name = label
        if kind == "member":
            return ' + "#" + member'
        if kind == "text":
            return " + " + literal("#" + name)
        if kind == "ref":
            return f' + "#" + refs.get({literal(name)}, "")'
        if kind == "body":
            return f' + "#" + body.get({literal(name)}, "")'
        return None
