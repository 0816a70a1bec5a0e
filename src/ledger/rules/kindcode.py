"""Decides the program text of one kind: its plan of keys, its shape check, its reads, and the calls of its rules.

Rules: straight-line code; everything about the kind is settled here, so that nothing is looked up per event. The plan and
the reads use the same key expressions, so the host reads exactly what the rules see.
Never here: what rules do.
"""

from __future__ import annotations

import re
from typing import Any

from ledger.limits import EVENT_KEYS_MAX, REFS_LIST_MAX
from ledger.rules.emit import literal
from ledger.rules.kinds import Field, Ref
from ledger.rules.plancode import KindPlan, Planner, key_of, needs_of
from ledger.rules.straight import StraightPath, straight


def emit_kind(plan: KindPlan) -> str:
    """Program text of one kind: `_p_<kind>` (plan) and `_k_<kind>` (decide)."""
    return "\n".join([*Planner(plan).lines(), "", *_Decider(plan).lines()]) + "\n"


class _Decider:
    """`_k_<kind>(block, member, key, roles, head, body)`: shape, reads, rules, one outcome."""

    def __init__(self, plan: KindPlan) -> None:
        self.plan, self.kind = plan, plan.kind
        self.path = straight(plan.kind, plan.handlers) if self.calm() else None
        # The event's name is put together where it first serves: in a key, on the straight path, or behind that.
        new = any(part[0] == "new" for template in self.kind.state for part in template.parts)
        self.named = self.kind.creates is not None or new or self.path is None or _uses("name", self.path)
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
        if self.named:
            self.add('name = member + "/" + head["id"]')
        self.add('intent = "intent" in head')
        self.add('cites = "ticket" in refs')
        self.add('now = block["time"]')
        self.add('claimed = head["time"]')
        self.add("start = _MINUTES.get(claimed[:16])")
        self.add("claimed = _ms(claimed) if start is None else start + int(claimed[17:19] + claimed[20:23])")
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
        self.add(f"n = {required + 1} if cites else {required}")
        optional = [ref for ref in refs if ref.optional]
        if optional:
            # Mostly none of them is there: then the required ones are all that is counted.
            tests = ["n == len(refs)"]
            for ref in refs:
                if not ref.optional:
                    self.add(f"r_{ref.name} = refs.get({literal(ref.name)})")
                    tests.append(f"type(r_{ref.name}) is {'list' if ref.many else 'str'}")
                    tests += [f"0 < len(r_{ref.name}) <= {ref.many}"] if ref.many else []
            self.add(f"if {' and '.join(tests)}:")
            for ref in optional:
                self.add(f"r_{ref.name} = {'[]' if ref.many else 'None'}", 2)
            self.add("else:")
        depth = 2 if optional else 1
        for ref in refs:
            self.ref(ref, depth)
        self.add("if n != len(refs):", depth)
        known = literal(["ticket", *(ref.name for ref in refs)])
        self.add(f'return _stranger(refs, {known}, "ref")', depth + 1)
        for owned in self.kind.owns:
            self.add(f'if not r_{owned}.startswith(member + "/"):')
            self.refuse("owner", owned)

    def ref(self, ref: Ref, depth: int) -> None:
        name = f"r_{ref.name}"
        self.add(f"{name} = refs.get({literal(ref.name)})", depth)
        if ref.optional:
            self.add(f"if {name} is None:" if ref.many else f"if {name} is not None:", depth)
            if ref.many:
                self.add(f"{name} = []", depth + 1)
                self.add("else:", depth)
                self.add("n += 1", depth + 1)
        if ref.many:
            self.add(f"if type({name}) is not list or len({name}) > {ref.many}:", depth)
            self.refuse("ref", ref.name, depth + 1)
            if not ref.optional:
                self.add(f"if not {name}:", depth)
                self.refuse("ref", ref.name, depth + 1)
            return
        inner = depth + 1 if ref.optional else depth
        self.add(f"if type({name}) is not str:", inner)
        self.refuse("ref", ref.name, inner + 1)
        if ref.optional:
            self.add("n += 1", inner)

    def shape_body(self) -> None:
        self.add(f"n = {1 + sum(field.required for field in self.kind.fields)}")
        for field in self.kind.fields:
            wanted = f" = b_{field.name}" if self.path is not None and field.name in self.path.fields else ""
            self.add(f"v{wanted} = body.get({literal(field.name)})")
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
            return f"type({value}) is not str or len({value}) > {field.limit} or not {value}"
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
        self.add("if cites:")
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
            needs = needs_of(template, kind)
            if needs:
                self.add(f"k_{template.name} = s_{template.name} = None")
                self.add(f"if {' and '.join(needs)}:")
            depth = 2 if needs else 1
            self.add(f"k_{template.name} = {key_of(template)}", depth)
            self.read(f"s_{template.name}", f"k_{template.name}", depth)
            self.default(template.name, template.object, depth)
        if kind.creates is not None:
            self.add(f"k_{kind.created} = {literal(kind.creates + '/')} + name")
            self.read(f"s_{kind.created}", f"k_{kind.created}", 1)

    def read(self, value: str, key: str, depth: int) -> None:
        self.add(f"{value} = work.get({key}) or _read(block, {key})", depth)

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
        loose = [f"k_{ref.name}" for ref in kind.refs if not ref.exists and not ref.opaque and not ref.many]
        many = [f"k_{ref.name}" for ref in kind.refs if not ref.exists and not ref.opaque and ref.many]
        loosely = "[" + ", ".join(loose) + "]" + "".join(f" + sorted({name}.values())" for name in many)
        governing = "time" if kind.act else "now"
        params = f"_IN_FORCE.get(({governing} + _ZONE_MS) // _DAY) or _params_at({governing})"
        if self.path is not None:
            self.straight(self.path, params, loosely)
        if not self.named:
            self.add('name = member + "/" + head["id"]')
        self.add('event = {"id": head["id"], "kind": head["kind"], "member": member, "time": time, "refs": refs, '
                 '"body": body, "intent": intent, "name": name}')  # fmt: skip
        self.add(f'env = {{"now": now, "params": {params}, '
                 '"signer": {"member": member, "key": key, "roles": roles}}')  # fmt: skip
        self.add("state = {" + ", ".join(f"{literal(name)}: s_{name}" for name in names) + "}")
        self.add("keys = {" + ", ".join(f"{literal(name)}: k_{name}" for name in names) + "}")
        self.add('c = _case(block, member, "f:" + name, time, now, keys)')
        self.add("out = []")
        self.add(f"moves = _open(c, _S_{kind.function}, event, out)")
        self.add('if not c["refused"]:')
        self.add("_METER[0] = _STEPS", 2)
        # No rule sees what another one asks for, so each is taken up before the next is asked.
        for rule, function in self.plan.rules:
            self.add(f"e = {function}(event, state, env)", 2)
            self.add("if e is not None:", 2)
            self.add(f"_take(c, out, {literal(rule)}, e)", 3)
        self.add(f"return _settle(c, _S_{kind.function}, event, out, moves, {loosely})")
        spec = [
            kind.name,
            not kind.act,
            self.plan.tables,
            [list(entry) for entry in self.plan.discharges],
            kind.imported,
        ]
        self.out += ["", "", f"_S_{kind.function} = {literal(spec)}"]

    def straight(self, path: StraightPath, params: str, loosely: str) -> None:
        """The straight path, for an event that asks for no ticket and moves no table."""
        self.add(f"if _STRAIGHT and _STEPS >= {path.prepaid} and {' and '.join(self.calm())}:")
        self.add("try:", 2)
        self.add(f"_METER[0] = _STEPS - {path.prepaid}", 3)
        if _uses("params", path):
            self.add(f"params = {params}", 3)
        self.add("staged = {}", 3)
        if path.targets:
            self.add(" = ".join(f"w_{name}" for name in sorted(path.targets)) + " = None", 3)
        self.out += ["        " + line for line in path.lines]
        if self.plan.discharges:
            owed = ", ".join(f"[{literal(rule)}, k_{name}, {own}]" for rule, name, own in self.plan.discharges)
            self.add(f"_leave_owed(block, member, [{owed}])", 3)
        self.add(f"outcome = _done(block, staged, {loosely})", 3)
        self.add("if outcome is not None:", 3)
        self.add("return outcome", 4)
        self.add("except Exception as _e:", 2)
        self.add("_astray(_e)", 3)

    def calm(self) -> list[str]:
        """Conditions under which no ticket is asked for or cited and no table speaks; none when one always does."""
        found = ["not intent", "not cites"]
        kind = self.kind
        many = {ref.name for ref in kind.refs if ref.many}
        sure = {ref.name for ref in kind.refs if not ref.optional} | {kind.created if kind.creates else ""}
        sure |= {template.name for template in kind.state if not needs_of(template, kind)}
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


def _uses(name: str, path: StraightPath) -> bool:
    return any(re.search(rf"\b{name}\b", line) for line in path.lines)


def _form(field: Field) -> list[Any]:
    """A field as plain data for the prelude's general check: [type, limit, low, high, values, item, fields]."""
    fields = [[entry.name, entry.required, _form(entry)] for entry in field.fields]
    item = _form(field.item) if field.item is not None else None
    return [field.type, field.limit, field.low, field.high, list(field.values), item, fields]
