"""Decides the straight path of one kind: all its rules in one body, for an event that is accepted and only sets fields.

Rules: the path is an outcome found with less work, never another outcome. Whatever is more than setting fields, fails a
guard, or might run out of steps leaves the path by raising, and then the event is decided from the start by `emit`'s
functions, because rules change nothing. Steps are charged once, before the path, at their most.
Functions whose `return` stands inside a loop, and those called on the way, stay calls.
Never here: expressions (see `inline`); what is left behind is written by the prelude (see `shortcut`).
"""

from __future__ import annotations

import ast
from typing import Final, cast

from ledger.limits import RULE_STEPS_MAX
from ledger.rules import grammar
from ledger.rules.emit import charge, function_name, literal
from ledger.rules.facts import FunctionFacts, RuleFacts
from ledger.rules.inline import Inline, own_names
from ledger.rules.kinds import Kind
from ledger.rules.scalars import INT, STR

_EFFECTS_MAX: Final = 100  # of one event; `verdicts` takes more
_GATHERED: Final = 10  # effects that a value of a rule may stand for
_INLINE_DEPTH: Final = 4  # functions inside each other
_IDLE: Final = {"clear_timer": ("_leave_armed", "timer"), "discharge": ("_leave_open", "duty")}
_LEAVE: Final = 'raise ValueError("plain")'
_SCALARS: Final = frozenset({"int", "str", "bool", "None"})


def straight(kind: Kind, handlers: list[tuple[RuleFacts, FunctionFacts]]) -> StraightPath | None:
    """The path of `kind`; None where a rule always asks for more than setting fields, or the path would be too long."""
    if not all(_may_be_plain(facts) for _, facts in handlers):
        return None
    path = StraightPath(kind)
    for rule, facts in handlers:
        path.ask(rule, facts)
    return path if path.effects <= _EFFECTS_MAX and path.prepaid < RULE_STEPS_MAX else None


class StraightPath:
    """Statements of the path, and what they need: `fields` of the body as locals, `targets` that may be written."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.prepaid = 0
        self.effects = 0
        self.fields: set[str] = set()
        self.targets: set[str] = set()
        self.lines: list[str] = []
        self._made = 0
        self.single = set(kind.objects()) - {ref.name for ref in kind.refs if ref.many}

    def fresh(self, prefix: str) -> str:
        self._made += 1
        return f"{prefix}{self._made}"

    def display(self, argument: str) -> str:
        if argument == "state":
            return "{" + ", ".join(f"{literal(name)}: s_{name}" for name in self.kind.objects()) + "}"
        if argument == "event":
            return (
                f'{{"id": head["id"], "kind": {literal(self.kind.name)}, "member": member, "time": time, "refs": refs, '
                '"body": body, "intent": False, "name": name}'
            )
        return '{"now": now, "params": params, "signer": {"member": member, "key": key, "roles": roles}}'

    def ask(self, rule: RuleFacts, facts: FunctionFacts) -> None:
        """Add a handler."""
        if not _ends_outside_loops(facts):
            arguments = ", ".join(self.display(name) for name in facts.parameters)
            self.gather(f"{function_name(rule.id, facts.name)}({arguments})", 1)
            return
        self.add("while True:", 1)
        _Function(self, rule, facts, 0).lay(2)

    def add(self, text: str, depth: int) -> None:
        self.lines.append("    " * depth + text)

    def gather(self, value: str, depth: int) -> None:
        """Stage whatever effects `value` turns out to be."""
        self.effects += _GATHERED
        names = ", ".join(f"{literal(name)}: [k_{name}, s_{name}]" for name in sorted(self.kind.objects()))
        self.add(f"_gather(staged, {{{names}}}, {value})", depth)

    def is_target(self, node: ast.Call) -> bool:
        """Whether a call of `write` names one object."""
        return len(node.args) == 1 and _target(node) in self.single

    def opened(self, name: str, depth: int) -> str:
        """The local of what is written to the object `name`, which is begun if need be."""
        self.effects += 1
        self.targets.add(name)
        self.add(f"if w_{name} is None:", depth)
        self.add(f"if s_{name} is None or k_{name} in staged:", depth + 1)
        self.add(f"w_{name} = _begin(staged, k_{name}, s_{name})", depth + 2)
        self.add("else:", depth + 1)
        self.add(f"w_{name} = staged[k_{name}] = {{**s_{name}}}", depth + 2)
        return f"w_{name}"


class _Function(Inline):
    """The statements of one function, a handler or what it ends by calling; each way out ends the loop around them."""

    def __init__(self, path: StraightPath, rule: RuleFacts, facts: FunctionFacts, level: int) -> None:
        super().__init__(path, rule, facts)
        self.straight, self.level = path, level
        self.writes = _written_names(facts, path)
        self.lists = _effect_lists(facts)
        self.lines = path.lines

    def lay(self, depth: int) -> None:
        body = self.facts.node.body
        if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            body = body[1:]
        self.path.prepaid += 1 + charge(list(body))
        self.block(body, depth)
        if not _always_returns(body):
            self.add(depth, "break")

    def mark(self, depth: int, node: ast.stmt) -> None:
        """Lines are named by the functions that decide the event if this path does not."""

    def block(self, body: list[ast.stmt], depth: int) -> None:
        before = len(self.lines)
        super().block(body, depth)
        if len(self.lines) == before:
            self.add(depth, "pass")

    def statement(self, node: ast.stmt, depth: int) -> None:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(node, ast.Return):
            self.give(node.value, depth)
        elif isinstance(node, ast.AugAssign):
            made = ast.BinOp(left=node.target, op=node.op, right=node.value)
            self.assign(node.target, self.arithmetic(made), depth)
        elif isinstance(node, ast.Assign) and isinstance(target, ast.Name) and target.id in self.writes:
            fields = self.fields(cast(ast.Call, node.value), depth)
            values = ", ".join(f"{literal(name)}: {value}" for name, value in fields)
            self.add(depth, f"{self.local(target.id)} = {{{values}}}")
        elif isinstance(node, ast.Assign) and isinstance(target, ast.Name) and target.id in self.lists:
            self.stage(node.value, depth)
        elif isinstance(node, ast.Expr) and self._appends(node):
            self.effect(cast(ast.Call, node.value).args[0], depth)
        else:
            super().statement(node, depth)

    def _appends(self, node: ast.Expr) -> bool:
        function = cast(ast.Attribute, cast(ast.Call, node.value).func)
        return isinstance(function.value, ast.Name) and function.value.id in self.lists

    def give(self, value: ast.expr | None, depth: int) -> None:
        """What a `return` does: its effects, then the way out."""
        called = self._own(value)
        if called is None:
            before = len(self.lines)
            if value is not None:
                self.stage(value, depth)
            if self.lines[before:] != ["    " * depth + _LEAVE]:
                self.add(depth, "break")
            return
        inner = _Function(self.straight, self.rule, called, self.level + 1)
        for name, argument in zip(called.parameters, cast(ast.Call, value).args, strict=True):
            if name not in grammar.ARGUMENTS:
                self.add(depth, f"{inner.local(name)} = {self.expression(argument)}")
        inner.lay(depth)

    def _own(self, value: ast.expr | None) -> FunctionFacts | None:
        """The function that a value is the call of, where it can be written out here."""
        if not isinstance(value, ast.Call) or not isinstance(value.func, ast.Name) or self.level >= _INLINE_DEPTH:
            return None
        called = self.rule.functions.get(value.func.id)
        if called is None or not _ends_outside_loops(called) or not _may_be_plain(called):
            return None
        return called

    # Effects.

    def stage(self, node: ast.expr, depth: int) -> None:
        """Do what a value that is given back asks for: an effect, or a list of them."""
        if isinstance(node, (ast.List, ast.Tuple)):
            other = next((item for item in node.elts if _is_other(item)), None)
            for item in node.elts if other is None else [other]:
                self.effect(item, depth)
        elif not isinstance(node, ast.Name) or node.id not in self.lists:
            self.effect(node, depth, listed=False)

    def effect(self, node: ast.expr, depth: int, listed: bool = True) -> None:
        """Do what one effect asks for; `listed`: it stands in a list, so it is none itself."""
        if isinstance(node, ast.Constant) and node.value is None:
            return
        if isinstance(node, ast.Name) and node.id in self.writes:
            self.add(depth, f"{self.straight.opened(self.writes[node.id], depth)}.update({self.local(node.id)})")
        elif isinstance(node, ast.IfExp):
            self.choice(node, depth, listed)
        elif _is_other(node):
            self.add(depth, self.idle(node) or _LEAVE)
        elif _is_write(node) and self.straight.is_target(cast(ast.Call, node)):
            call = cast(ast.Call, node)
            fields = self.fields(call, depth)
            place = self.straight.opened(_target(call), depth)
            for name, value in fields:
                self.add(depth, f"{place}[{literal(name)}] = {value}")
        else:
            text = self.expression(node)
            self.straight.gather(f"[{text}]" if listed else text, depth)

    def choice(self, node: ast.IfExp, depth: int, listed: bool) -> None:
        """Do what one of two values asks for."""
        for word, value in ((f"if {self.expression(node.test)}:", node.body), ("else:", node.orelse)):
            self.add(depth, word)
            before = len(self.lines)
            if listed:
                self.effect(value, depth + 1)
            else:
                self.stage(value, depth + 1)
            if len(self.lines) == before:
                self.add(depth + 1, "pass")

    def idle(self, node: ast.expr) -> str | None:
        """For an effect that mostly finds nothing to end: a call that leaves the path only where there is something."""
        if not _is_call_of(node, frozenset(_IDLE)):
            return None
        call = cast(ast.Call, node)
        named = {keyword.arg: keyword.value for keyword in call.keywords}
        rule, on = call.args[0] if len(call.args) == 1 else None, named.get("on")
        if list(named) != ["on"] or not isinstance(rule, ast.Constant) or not isinstance(on, ast.Constant):
            return None
        if on.value not in self.straight.single:
            return None
        function, table = _IDLE[cast(ast.Name, call.func).id]
        return f"{function}(block, {literal(f'{table}/{rule.value!s}/')} + k_{on.value!s})"

    def fields(self, node: ast.Call, depth: int) -> list[tuple[str, str]]:
        """What a `write` sets, as (name, text); values that may be no scalars are looked at first."""
        found = []
        for keyword in node.keywords:
            text = self.expression(keyword.value)
            if self.scalars.of(keyword.value) is None and not self._is_small(keyword.value, depth):
                if not text.isidentifier():
                    name = self.temporary()
                    self.add(depth, f"{name} = {text}")
                    text = name
                self.add(depth, f"if type({text}) is not int and type({text}) is not str:")
                self.add(depth + 1, f"_loose({text})")
            found.append((str(keyword.arg), text))
        return found

    def _is_small(self, node: ast.expr, depth: int) -> bool:
        """Whether a value is a map of at most three scalars that is certainly within bounds once its keys are ASCII."""
        if not isinstance(node, ast.Dict) or len(node.keys) > 3:
            return False
        weight, tests = 2, []
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None or self.scalars.of(key) != STR or not isinstance(key, (ast.Name, ast.Constant)):
                return False
            if self.scalars.of(value) not in (INT, frozenset({"bool"})):
                return False
            weight += 4 + 8 + 4096
            tests.append(f"{self.expression(key)}.isascii()")
        self.path.prepaid += 1
        if tests:
            self.add(depth, f"if not ({' and '.join(tests)}):")
            self.add(depth + 1, _LEAVE)
        return weight <= 16384


def _is_call_of(node: ast.expr, names: frozenset[str]) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names


def _is_write(node: ast.expr) -> bool:
    return _is_call_of(node, frozenset({"write"}))


def _target(node: ast.expr) -> str:
    """The name of the object that a `write` is to."""
    return str(cast(ast.Constant, cast(ast.Call, node).args[0]).value)


def _is_other(node: ast.expr) -> bool:
    """Whether a value is certainly an effect that does more than set fields."""
    return _is_call_of(node, frozenset(grammar.EFFECTS) - {"write"})


def _returns(body: list[ast.stmt]) -> list[ast.Return]:
    return [node for statement in body for node in ast.walk(statement) if isinstance(node, ast.Return)]


def _always_returns(body: list[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[-1], ast.Return)


def _may_be_plain(facts: FunctionFacts) -> bool:
    """Whether a function has a way out on which it does no more than set fields."""
    body = facts.node.body
    if not _always_returns(body):
        return True
    for node in _returns(body):
        items = node.value.elts if isinstance(node.value, (ast.List, ast.Tuple)) else [node.value]
        if not any(item is not None and _is_other(item) for item in items):
            return True
    return False


def _ends_outside_loops(facts: FunctionFacts) -> bool:
    loops = [node for node in ast.walk(facts.node) if isinstance(node, ast.For)]
    return not any(_returns([loop]) for loop in loops)


def _uses(facts: FunctionFacts, name: str) -> list[ast.Name]:
    return [node for node in ast.walk(facts.node) if isinstance(node, ast.Name) and node.id == name]


def _assigned(facts: FunctionFacts, name: str) -> list[ast.Assign]:
    return [
        node
        for node in ast.walk(facts.node)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name
    ]


def _written_names(facts: FunctionFacts, path: StraightPath) -> dict[str, str]:
    """Names that only ever hold a `write` to one object, and are only ever given back as an effect: the object's name."""
    found = {}
    for name in sorted(own_names(facts) - set(facts.parameters)):
        assigned = _assigned(facts, name)
        values = [node.value for node in assigned]
        if not values or not all(_is_write(value) and path.is_target(cast(ast.Call, value)) for value in values):
            continue
        targets = {_target(value) for value in values}
        given = [use for place in _effect_places(facts) for use in _in_effect(place) if use.id == name]
        if len(targets) == 1 and len(given) + len(assigned) == len(_uses(facts, name)):
            found[name] = targets.pop()
    return found


def _effect_places(facts: FunctionFacts) -> list[ast.expr]:
    """Values that are certainly given back as effects."""
    lists = _effect_lists(facts)
    found = [node.value for node in _returns(facts.node.body) if node.value is not None]
    for name in lists:
        found += [node.value for node in _assigned(facts, name)] + [call.args[0] for call in _appended(facts, name)]
    return found


def _in_effect(place: ast.expr) -> list[ast.Name]:
    items = place.elts if isinstance(place, (ast.List, ast.Tuple)) else [place]
    return [item for item in items if isinstance(item, ast.Name)]


def _appended(facts: FunctionFacts, name: str) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(facts.node)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "append"
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == name
    ]


def _effect_lists(facts: FunctionFacts) -> set[str]:
    """Names that hold one list from the top of the function on, which every later `return` gives back: what is put into
    such a list is certainly an effect, and can be done at once."""
    body = facts.node.body
    found = set[str]()
    for node in body:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name) or not _always_returns(body):
            continue
        name, value = node.targets[0].id, node.value
        later = [give for give in _returns(body) if give.lineno > node.lineno]
        given = [give for give in later if isinstance(give.value, ast.Name) and give.value.id == name]
        appended = _appended(facts, name)
        inside = [call for loop in ast.walk(facts.node) if isinstance(loop, ast.For) for call in ast.walk(loop)]
        if (
            isinstance(value, (ast.List, ast.Tuple))
            and len(_assigned(facts, name)) == 1
            and len(given) == len(later)
            and len(_uses(facts, name)) == 1 + len(given) + len(appended)
            and not any(call in inside for call in appended)
            and name not in facts.parameters
        ):
            found.add(name)
    return found
