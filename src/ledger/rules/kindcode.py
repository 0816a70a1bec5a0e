"""Decides the program text of one kind: its plan of keys, its shape check, its reads, and the calls of its rules.

Rules: straight-line code; everything about the kind is settled here, so that nothing is looked up per event. The plan and
the reads use the same key expressions, so the host reads exactly what the rules see.
Never here: what rules do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ledger.limits import EVENT_KEYS_MAX, REFS_LIST_MAX
from ledger.rules.emit import literal
from ledger.rules.facts import Label, Touch
from ledger.rules.kinds import Field, Kind, Ref, Template


@dataclass(slots=True)
class KindPlan:
    """What `compiler` knows of a kind: who listens, which tables move, what is discharged and touched."""

    kind: Kind
    rules: list[tuple[str, str]]
    tables: list[list[Any]]
    discharges: list[tuple[str, str, bool]]
    touches: list[Touch]
    implicit: set[str]
    duties: set[str]  # timers that are the deadline of a duty


def emit_kind(plan: KindPlan) -> str:
    """Program text of one kind: `_p_<kind>` (plan) and `_k_<kind>` (decide)."""
    return "\n".join([*_Planner(plan).lines(), "", *_Decider(plan).lines()]) + "\n"


def _key(template: Template) -> str:
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


def _needs(template: Template, kind: Kind) -> list[str]:
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


class _Planner:
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
            found += self.guarded(_needs(template, kind), template.name, f"k_{template.name} = {_key(template)}")
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


class _Decider:
    """`_k_<kind>(block, member, key, roles, head, body)`: shape, reads, rules, one outcome."""

    def __init__(self, plan: KindPlan) -> None:
        self.plan, self.kind = plan, plan.kind
        self.out: list[str] = []
        self.forms: list[str] = []  # constants of `condition`

    def add(self, text: str, depth: int = 1) -> None:
        self.out.append("    " * depth + text)

    def refuse(self, what: str, where: str, depth: int = 2) -> None:
        self.add(f"return _misshapen({literal(what)}, {literal(where)})", depth)

    def lines(self) -> list[str]:
        kind = self.kind
        self.out = [f"def _k_{kind.function}(block, member, key, roles, head, body):"]
        self.add('refs = head["refs"]')
        self.add('name = member + "/" + head["id"]')
        self.add('intent = "intent" in head')
        self.add('now = block["time"]')
        self.add('claimed = _ms(head["time"])')
        self.add("if claimed > now + 600000:")
        self.refuse("time", "time")
        self.add("time = claimed if claimed < now else now")
        self.shape_refs()
        self.shape_body()
        self.reads()
        self.agreement()
        self.call_rules()
        return [*self.forms, *self.out]

    # Shape.

    def shape_refs(self) -> None:
        refs = self.kind.refs
        required = sum(not ref.optional for ref in refs)
        self.add(f'n = {required + 1} if "ticket" in refs else {required}')
        for ref in refs:
            self.add(f"r_{ref.name} = refs.get({literal(ref.name)})")
            if ref.many:
                self.many(ref)
                continue
            if ref.optional:
                self.add(f"if r_{ref.name} is not None:")
                self.add(f"if type(r_{ref.name}) is not str:", 2)
                self.refuse("ref", ref.name, 3)
                self.add("n += 1", 2)
            else:
                self.add(f"if type(r_{ref.name}) is not str:")
                self.refuse("ref", ref.name)
        self.add("if n != len(refs):")
        known = literal(["ticket", *(ref.name for ref in refs)])
        self.add(f'return _stranger(refs, {known}, "ref")', 2)
        for owned in self.kind.owns:
            self.add(f'if not r_{owned}.startswith(member + "/"):')
            self.refuse("owner", owned)

    def many(self, ref: Ref) -> None:
        name = f"r_{ref.name}"
        if ref.optional:
            self.add(f"if {name} is None:")
            self.add(f"{name} = []", 2)
            self.add("else:")
            self.add("n += 1", 2)
        self.add(f"if type({name}) is not list or len({name}) > {ref.many}:")
        self.refuse("ref", ref.name)
        if not ref.optional:
            self.add(f"if not {name}:")
            self.refuse("ref", ref.name)

    def shape_body(self) -> None:
        self.add(f"n = {1 + sum(field.required for field in self.kind.fields)}")
        for field in self.kind.fields:
            self.add(f"v = body.get({literal(field.name)})")
            if field.required:
                self.check(field, "v", field.name, 1)
            else:
                self.add("if v is not None:")
                self.check(field, "v", field.name, 2)
                self.add("n += 1", 2)
        self.add("if n != len(body):")
        known = literal(["salt", *(field.name for field in self.kind.fields)])
        self.add(f'return _stranger(body, {known}, "field")', 2)

    def check(self, field: Field, value: str, name: str, depth: int) -> None:
        """Statements that refuse the body field `name` when `value`, it or what is in it, has not the form of `field`."""
        if value == "v" and field.type == "list" and field.item is not None:
            self.add(f"if type(v) is not list or len(v) > {field.limit}:", depth)
            self.refuse("field", name, depth + 1)
            self.add("for w in v:", depth)
            self.check(field.item, "w", name, depth + 1)
        elif value == "v" and field.type == "group":
            self.group(field, name, depth)
        else:
            self.add(f"if {self.condition(field, value)}:", depth)
            self.refuse("field", name, depth + 1)

    def group(self, field: Field, name: str, depth: int) -> None:
        self.add("if type(v) is not dict:", depth)
        self.refuse("field", name, depth + 1)
        self.add(f"m = {sum(entry.required for entry in field.fields)}", depth)
        for entry in field.fields:
            self.add(f"w = v.get({literal(entry.name)})", depth)
            if entry.required:
                self.check(entry, "w", name, depth)
            else:
                self.add("if w is not None:", depth)
                self.check(entry, "w", name, depth + 1)
                self.add("m += 1", depth + 1)
        self.add("if m != len(v):", depth)
        self.refuse("field", name, depth + 1)

    def condition(self, field: Field, value: str) -> str:
        """An expression that is true when `value` is no such field."""
        if field.type == "text":
            return f'type({value}) is not str or len({value}) > {field.limit} or {value} == ""'
        if field.type == "code":
            if field.values:
                return f"type({value}) is not str or {value} not in {literal(list(field.values))}"
            return f"type({value}) is not str or ({value} not in _GOOD and not _is_code({value}))"
        if field.type == "int":
            return f"type({value}) is not int or {value} < {field.low} or {value} > {field.high}"
        if field.type == "bool":
            return f"type({value}) is not bool"
        if field.type in ("time", "date", "digest"):
            return f"not _is_{field.type}({value})"
        form = f"_F{len(self.forms)}_{self.kind.function}"
        self.forms.append(f"{form} = {literal(_form(field))}")
        return f"not _fits({value}, {form})"

    # Reads.

    def reads(self) -> None:
        kind = self.kind
        self.add('work = block["work"]')
        self.add('if "ticket" in refs:')
        self.add(f"fault = _ticket_fault(block, {literal(kind.name)}, member, refs, intent)", 2)
        self.add("if fault is not None:", 2)
        self.add("return fault", 3)
        if any(ref.many > REFS_LIST_MAX // 8 for ref in kind.refs):
            self.add(f"if len(_p_{kind.function}(member, head, body)) > {EVENT_KEYS_MAX}:")
            self.refuse("keys", "refs")
        for ref in kind.refs:
            if ref.opaque:
                continue
            if ref.many:
                self.read_many(ref)
            else:
                self.read_one(ref)
        for template in kind.state:
            needs = _needs(template, kind)
            if needs:
                self.add(f"k_{template.name} = s_{template.name} = None")
                self.add(f"if {' and '.join(needs)}:")
            depth = 2 if needs else 1
            self.add(f"k_{template.name} = {_key(template)}", depth)
            self.read(f"s_{template.name}", f"k_{template.name}", depth)
            self.default(template.name, template.object, depth)
        if kind.creates is not None:
            self.add(f"k_{kind.created} = {literal(kind.creates + '/')} + name")
            self.read(f"s_{kind.created}", f"k_{kind.created}", 1)

    def read(self, value: str, key: str, depth: int) -> None:
        self.add(f"{value} = work[{key}] if {key} in work else _read(block, {key})", depth)

    def default(self, name: str, stream: str, depth: int) -> None:
        if name in self.plan.implicit:
            self.add(f"if s_{name} is None:", depth)
            self.add(f"s_{name} = _DEFAULTS[{literal(stream)}]", depth + 1)

    def read_one(self, ref: Ref) -> None:
        name = ref.name
        if ref.optional:
            self.add(f"k_{name} = s_{name} = None")
            self.add(f"if r_{name} is not None:")
        depth = 2 if ref.optional else 1
        self.add(f"k_{name} = {literal(ref.object + '/')} + r_{name}", depth)
        self.read(f"s_{name}", f"k_{name}", depth)
        if ref.exists:
            self.add(f"if s_{name} is None:", depth)
            self.refuse("unresolved", name, depth + 1)
        else:
            self.default(name, ref.object, depth)

    def read_many(self, ref: Ref) -> None:
        name = ref.name
        self.add(f"k_{name} = {{}}")
        self.add(f"s_{name} = {{}}")
        self.add(f"for item in r_{name}:")
        self.add(f"k = {literal(ref.object + '/')} + item", 2)
        self.read("v", "k", 2)
        if ref.exists:
            self.add("if v is None:", 2)
            self.refuse("unresolved", name, 3)
        elif name in self.plan.implicit:
            self.add("if v is None:", 2)
            self.add(f"v = _DEFAULTS[{literal(ref.object)}]", 3)
        self.add(f"k_{name}[item] = k", 2)
        self.add(f"s_{name}[item] = v", 2)

    def agreement(self) -> None:
        optional = {ref.name for ref in self.kind.refs if ref.optional}
        many = {ref.name for ref in self.kind.refs if ref.many}
        for ref, path in self.kind.agree:
            name, _, field = path.partition(".")
            value = f"s_{name}.get({literal(field)})"
            test = f"sorted(r_{ref}) != sorted({value} or [])" if ref in many else f"r_{ref} != {value}"
            if name in many:
                test = f"sorted(r_{ref}) != _union(s_{name}, {literal(field)})"
            needed = [f"s_{name} is not None"]
            if ref in optional and ref not in many:
                test = f"({test}) and not (r_{ref} is None and {value} is None)"
            self.add(f"if {' and '.join([*needed, test])}:")
            self.refuse("disagrees", ref)
        if self.kind.by:
            tests = []
            for path in self.kind.by:
                name, _, field = path.partition(".")
                if name in many:
                    tests.append(f"not _every(s_{name}, {literal(field)}, member)")
                    continue
                tests.append(f"(s_{name} is None or s_{name}.get({literal(field)}) != member)")
            self.add(f"if {' and '.join(tests)}:")
            self.refuse("author", self.kind.by[0])

    # Rules.

    def call_rules(self) -> None:
        kind = self.kind
        names = list(kind.objects())
        self.add('event = {"id": head["id"], "kind": head["kind"], "member": member, "time": time, "refs": refs, '
                 '"body": body, "intent": intent, "name": name}')  # fmt: skip
        governing = "time" if kind.act else "now"
        params = f"_IN_FORCE.get(({governing} + _ZONE_MS) // _DAY) or _params_at({governing})"
        self.add(f'env = {{"now": now, "params": {params}, '
                 '"signer": {"member": member, "key": key, "roles": roles}}')  # fmt: skip
        self.add("state = {" + ", ".join(f"{literal(name)}: s_{name}" for name in names) + "}")
        self.add("keys = {" + ", ".join(f"{literal(name)}: k_{name}" for name in names) + "}")
        loose = [f"k_{ref.name}" for ref in kind.refs if not ref.exists and not ref.opaque and not ref.many]
        many = [f"k_{ref.name}" for ref in kind.refs if not ref.exists and not ref.opaque and ref.many]
        loosely = "[" + ", ".join(loose) + "]" + "".join(f" + sorted({name}.values())" for name in many)
        spec_name, calm = f"_S_{kind.function}", self.calm()
        opened = (
            'c = _case(block, member, "f:" + name, time, now, keys)',
            "out = []",
            f"moves = _open(c, {spec_name}, event, out)",
        )
        self.add("given = []")
        if calm:
            self.add("c = None")
            self.add(f"if not ({' and '.join(calm)}):")
        for line in opened:
            self.add(line, 2 if calm else 1)
        self.add('if c is None or not c["refused"]:' if calm else 'if not c["refused"]:')
        self.add("_METER[0] = _STEPS", 2)
        for rule, function in self.plan.rules:
            self.add(f"e = {function}(event, state, env)", 2)
            self.add("if e is not None:", 2)
            self.add(f"given.append([{literal(rule)}, e])", 3)
        if calm:
            self.add("if c is None:")
            self.add(f"outcome = _quick(block, member, keys, given, {spec_name}[3], {loosely})", 2)
            self.add("if outcome is not None:", 2)
            self.add("return outcome", 3)
            for line in opened:
                self.add(line, 2)
        self.add("for item in given:")
        self.add("_take(c, out, item[0], item[1])", 2)
        self.add(f"return _settle(c, {spec_name}, event, out, moves, {loosely})")
        spec = [
            kind.name,
            not kind.act,
            self.plan.tables,
            [list(entry) for entry in self.plan.discharges],
            kind.imported,
        ]
        self.out += ["", "", f"{spec_name} = {literal(spec)}"]

    def calm(self) -> list[str]:
        """Conditions under which no ticket is asked for or cited and no table speaks; none when one always does."""
        found = ["not intent", '"ticket" not in refs']
        kind = self.kind
        many = {ref.name for ref in kind.refs if ref.many}
        sure = {ref.name for ref in kind.refs if not ref.optional} | {kind.created if kind.creates else ""}
        sure |= {template.name for template in kind.state if not _needs(template, kind)}
        for name, field, steps, _, _ in self.plan.tables:
            stays = sorted(status for status, after in steps.items() if after == status)
            staying = f"(s_{name} is not None and s_{name}.get({literal(field)}) in {literal(stays)})"
            if name in many:
                found.append(f"not k_{name}")
            elif name in sure and (not stays or name in self.plan.implicit):
                return []
            elif name in sure:
                found.append(staying)
            elif stays and name not in self.plan.implicit:
                found.append(f"(k_{name} is None or {staying})")
            else:
                found.append(f"k_{name} is None")
        return found


def _form(field: Field) -> list[Any]:
    """A field as plain data for the prelude's general check: [type, limit, low, high, values, item, fields]."""
    fields = [[entry.name, entry.required, _form(entry)] for entry in field.fields]
    item = _form(field.item) if field.item is not None else None
    return [field.type, field.limit, field.low, field.high, list(field.values), item, fields]
