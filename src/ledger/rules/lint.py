"""Reads a rulebook as an examiner would, and tells everything that is wrong or odd at once, each with file and line.

Rules: errors are what publication refuses, what can never work, what cites no known law, or a rule without its cases;
warnings are declarations that nothing uses and codes that no case shows. How the parts fit is looked at once each part
is sound by itself. Never here: words (remarks have codes), running cases (see `cases`).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ledger.errors import MalformedError
from ledger.rules.calendar import merge_calendars, parse_calendar
from ledger.rules.cases import COMMON, parse_cases
from ledger.rules.check import check_rule
from ledger.rules.compiler import Compiler
from ledger.rules.kinds import Kind, ObjectKind, Reader, parse_field, parse_kind, parse_objects, refuse
from ledger.rules.lint_law import citations
from ledger.rules.lint_said import explained
from ledger.rules.lint_shown import not_shown
from ledger.rules.lint_use import unused
from ledger.rules.params import parse_params
from ledger.rules.places import line_of
from ledger.rules.program import Program
from ledger.rules.remark import ERROR, NOTE, Remark
from ledger.rules.rulebook import MANIFEST, Rulebook, parse_rulebook, parse_texts, read_toml
from ledger.rules.tables import parse_tables

LEDGER_FIELDS: Final = {
    "finding": frozenset(
        ("about", "args", "at", "code", "due", "held", "id", "on", "provisional", "repeats", "rule", "status")
    ),
    "member": frozenset(("attributes", "roles", "title")),
}
"""Fields that the ledger itself writes, of objects that a rulebook may declare more fields of."""
RULE_REMARKS_MAX: Final = 20  # of one file: beyond it the file is another language


@dataclass(slots=True)
class Examination:
    """What was found. `program` is None where the rulebook cannot be compiled; `whole` says whether all was looked at."""

    remarks: list[Remark] = field(default_factory=list)
    program: Program | None = None
    whole: bool = False

    @property
    def errors(self) -> int:
        """Number of errors."""
        return sum(each.severity == ERROR for each in self.remarks)

    @property
    def explained(self) -> int:
        """Number of warnings that the rulebook explains in place."""
        return sum(each.severity == NOTE for each in self.remarks)


def examine(files: Mapping[str, bytes], calendars: Mapping[str, bytes]) -> Examination:
    """Every remark on the rulebook in `files` with its calendar files. Raises nothing for any bytes."""
    found = Examination()
    collected = _Collected(files)
    _language(collected)
    _declarations(collected, calendars)
    if not collected.remarks:
        book = collected.attempt(parse_rulebook, files, calendars)
        if book is not None:
            collected.remarks += overlaps(book, files)
            _Fit(book, collected).run()
            program = collected.attempt(Program.compile, files, calendars) if not collected.remarks else None
            if program is not None:
                found.program, found.whole = program, True
                collected.remarks += [
                    *_unknown_fields(program),
                    *citations(program.book, files),
                    *unused(program, files),
                ]
                if _cases(collected, program):
                    collected.remarks += not_shown(program)
    remarks = sorted(set(collected.remarks), key=_order)
    found.remarks = sorted(explained(remarks, files) if found.whole else remarks, key=_order)
    return found


def _order(remark: Remark) -> tuple[object, ...]:
    return remark.severity, remark.file, remark.line, remark.code, remark.values


class _Collected:
    """Remarks so far; `attempt` turns a refusal into one."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files
        self.remarks: list[Remark] = []

    def attempt(self, make: Callable[..., Any], *values: Any) -> Any:
        """What `make` gives for `values`, None after a refusal."""
        try:
            return make(*values)
        except MalformedError as error:
            self.refused(error)
            return None

    def refused(self, error: MalformedError) -> None:
        """Add the remark that says what `error` says, once for each place."""
        known = error.evidence
        file, where = str(known.get("file", "")), str(known.get("where", ""))
        line = known.get("line")
        if not isinstance(line, int):
            line = _toml_line(error.message) or line_of(self.files.get(file, b""), where)
        code = {"rule": "language", "rulebook": "declaration"}.get(error.code, "declaration")
        remark = Remark(
            code, ERROR, file, line,
            (("message", error.message), ("advice", str(known.get("advice", ""))), ("where", where)),
        )  # fmt: skip
        if all((each.file, each.line, each.values) != (file, line, remark.values) for each in self.remarks):
            self.remarks.append(remark)


def _toml_line(message: str) -> int | None:
    """The line that a TOML reader names in its message."""
    _, mark, rest = message.partition("(at line ")
    digits = rest.split(",")[0].rstrip(")")
    return int(digits) if mark and digits.isdecimal() else None


# --- each part by itself -----------------------------------------------------------------------------------------------


def _language(collected: _Collected) -> None:
    """Forbidden constructs: the first of each function of each rule file."""
    for path in sorted(collected.files):
        if path.startswith("rules/") and path.endswith(".py"):
            data = collected.files[path]
            for _ in range(RULE_REMARKS_MAX):
                try:
                    check_rule(path, data)
                    break
                except MalformedError as error:
                    collected.refused(error)
                    line = error.evidence.get("line")
                    repaired = _without(path, data, line if isinstance(line, int) else 1)
                    if repaired == data:
                        break
                    data = repaired


def _without(path: str, data: bytes, line: int) -> bytes:
    """The rule file with the body of the function around `line` emptied, or the statement there taken out; lines stay.

    The same bytes where nothing can be taken out.
    """
    try:
        tree = ast.parse(data, filename=path, feature_version=(3, 11))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return data
    rows = data.decode("utf-8", "replace").split("\n")
    for position, node in enumerate(tree.body):
        start = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])
        if not start <= line <= (node.end_lineno or node.lineno):
            continue
        if position == 0 and isinstance(node, ast.Expr):
            return data  # the title: nothing else in the file can be trusted to be what it says
        first = node.body[0].lineno if isinstance(node, ast.FunctionDef) else 0
        if first > node.lineno and rows[first - 1].strip() != "return None" and line >= first:
            keep, rest = ["    return None"], first
        else:
            keep, rest = [""], start
        end = node.end_lineno or node.lineno
        rows[rest - 1 : end] = keep + [""] * (end - rest)
        return "\n".join(rows).encode("utf-8")
    return data


def _declarations(collected: _Collected, calendars: Mapping[str, bytes]) -> None:
    """Every table of every TOML file by itself, and each calendar."""

    def document(path: str) -> dict[str, Any]:
        found = collected.attempt(read_toml, collected.files, path)
        return found if isinstance(found, dict) else {}

    def each(path: str, parse: Callable[[str, dict[str, Any]], Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, table in document(path).items():
            found.update(collected.attempt(parse, path, {name: table}) or {})
        return found

    manifest = document(MANIFEST)
    reader = Reader(MANIFEST, "", manifest)
    found = manifest.get("common")
    declared: dict[str, Any] = found if isinstance(found, dict) else {}
    common = collected.attempt(lambda: tuple(parse_field(reader, name, spec) for name, spec in declared.items()))
    kinds: dict[str, Kind] = {}
    for path in sorted(collected.files):
        if path.startswith("kinds/"):
            kinds |= each(path, lambda file, one: {n: parse_kind(file, n, t, common or ()) for n, t in one.items()})
    objects: dict[str, ObjectKind] = each("objects.toml", parse_objects)
    each("params.toml", parse_params)
    each("texts.toml", lambda _file, one: parse_texts(one))
    if not collected.remarks:
        each("tables.toml", lambda file, one: parse_tables(file, one, kinds, objects))
    zone = str(manifest.get("zone", ""))
    for path, data in sorted(calendars.items()):
        collected.attempt(parse_calendar, path, data, zone)
    if not collected.remarks:
        collected.attempt(merge_calendars, calendars, zone)


# --- together ----------------------------------------------------------------------------------------------------------


class _Fit(Compiler):
    """The compiler's own checks, one by one, so that one refusal does not hide the next."""

    def __init__(self, book: Rulebook, collected: _Collected) -> None:
        super().__init__(book)
        self._collected = collected

    def run(self) -> None:
        """Add a remark for everything that does not fit."""
        attempt = self._collected.attempt
        for rule in self.book.rules.values():
            alone = _Fit(replace(self.book, rules={rule.id: rule}), self._collected)
            if attempt(alone.listen):
                for name, entries in alone.listeners.items():
                    self.listeners[name] += entries
                self.handlers |= alone.handlers
        self._otherwise()
        # Writers stand in a remark of their own, with both places.
        for kind in self.book.kinds.values():
            for each, name in self.listeners[kind.name]:
                for facts in each.reachable(name):
                    self.writers.clear()
                    attempt(self._check_facts, each, facts, kind.objects())
                    attempt(self._check_event, each, facts, kind, name)
        if not self._collected.remarks:
            for kind in self.book.kinds.values():
                attempt(self._check_kind, kind)
            for timer in sorted(self.handlers):
                self.writers.clear()
                attempt(self._check_handler, timer)

    def listen(self) -> bool:
        """Find who listens to what; True."""
        self._find_listeners()
        return True

    def _otherwise(self) -> None:
        for table in self.book.tables.values():
            for code in table.otherwise.values():
                text = self.book.texts.get(code)
                if text is None or text.type != "finding":
                    advice = "declare it in texts.toml"
                    self._collected.attempt(
                        refuse, "tables.toml", table.object, f"no text of type finding for {code!r}", advice
                    )


def overlaps(book: Rulebook, files: Mapping[str, bytes]) -> Iterator[Remark]:
    """Fields of objects that two rules write, or a rule and a table."""
    writers: dict[tuple[str, str], list[tuple[str, str, int]]] = {}
    for table in book.tables.values():
        line = line_of(files.get("tables.toml", b""), table.object)
        writers[(table.object, table.field)] = [(f"table {table.object}", "tables.toml", line)]
    for rule in book.rules.values():
        for (kind, name), line in sorted(_writes(book, rule.id).items()):
            entries = writers.setdefault((kind, name), [])
            if all(entry[0] != rule.id for entry in entries):
                entries.append((rule.id, rule.file, line))
    for (kind, name), entries in sorted(writers.items()):
        first = entries[0]
        for writer, file, line in entries[1:]:
            values = (
                ("object", kind),
                ("field", name),
                ("rule", writer),
                ("other", first[0]),
                ("place", f"{first[1]}:{first[2]}"),
            )
            yield Remark("overlap", ERROR, file, line, values)


def _writes(book: Rulebook, rule_id: str) -> dict[tuple[str, str], int]:
    """(object kind, field) → line of the first write of a rule, in handlers of events."""
    rule = book.rules[rule_id]
    found: dict[tuple[str, str], int] = {}
    for kind in book.kinds.values():
        name = f"on_{kind.function}"
        for facts in rule.reachable(name) if name in rule.functions else ():
            objects = kind.objects()
            for (target, entry), line in facts.writes.items():
                if target in objects:
                    found.setdefault((objects[target], entry), line)
    return found


def _cases(collected: _Collected, program: Program) -> bool:
    """Whether every cases file can be read, each by itself."""
    sound = True
    cases = program.book.cases
    for path in sorted(cases, key=lambda each: (each != COMMON, each)):
        few = {name: cases[name] for name in (COMMON, path) if name in cases}
        one = replace(program, book=replace(program.book, cases=few))
        try:
            read = collected.attempt(parse_cases, one) is not None
        except (AttributeError, KeyError, TypeError, ValueError):
            read = collected.attempt(refuse, path, "", "a step has `at` and known fields") is not None
        sound = sound and read
        if path == COMMON and not read:
            return False  # what every other file begins with
    return sound


def _unknown_fields(program: Program) -> Iterator[Remark]:
    """Fields that a rule reads of an object and nobody declares: at run time the rule would fail."""
    book = program.book
    for rule in book.rules.values():
        for name, facts in rule.functions.items():
            kinds = _kinds_of(book, rule.id, name)
            aliases = _aliases(facts.node)
            for node in ast.walk(facts.node):
                found = _field_read(node, aliases)
                if found is None:
                    continue
                target, entry, line = found
                declared = [book.objects[kind] for kind in sorted(kinds.get(target, ())) if kind in book.objects]
                if declared and not any(_has(kind, entry) for kind in declared):
                    values = (("rule", rule.id), ("object", "/".join(kind.name for kind in declared)), ("field", entry))
                    yield Remark("field-unknown", ERROR, rule.file, line, values)


def _has(kind: ObjectKind, entry: str) -> bool:
    return entry in kind.fields or entry.startswith("_") or entry in LEDGER_FIELDS.get(kind.name, ())


def _kinds_of(book: Rulebook, rule_id: str, function: str) -> dict[str, set[str]]:
    """Object kinds by name in `state` for `function`, from every event that may reach it; lists are left out."""
    rule = book.rules[rule_id]
    found: dict[str, set[str]] = {}
    for kind in book.kinds.values():
        handler = f"on_{kind.function}"
        if handler in rule.functions and any(facts.name == function for facts in rule.reachable(handler)):
            many = {ref.name for ref in kind.refs if ref.many}
            for name, of in kind.objects().items():
                if name not in many:
                    found.setdefault(name, set()).add(of)
    return found


def _aliases(node: ast.FunctionDef) -> dict[str, str]:
    """Local names that only ever stand for `state["x"]`, with x."""
    found: dict[str, str] = {}
    spoiled: set[str] = set()
    for each in ast.walk(node):
        if isinstance(each, (ast.For, ast.comprehension, ast.AugAssign)):
            spoiled.update(name.id for name in ast.walk(each.target) if isinstance(name, ast.Name))
        if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name):
            name, target = each.targets[0].id, _state_name(each.value)
            if target is None or found.get(name, target) != target:
                spoiled.add(name)
            else:
                found[name] = target
    return {name: target for name, target in found.items() if name not in spoiled}


def _state_name(node: ast.expr) -> str | None:
    if (
        isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id == "state"
        and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, str)
    ):
        return node.slice.value
    return None


def _field_read(node: ast.AST, aliases: Mapping[str, str]) -> tuple[str, str, int] | None:
    """(name in `state`, field, line) where `node` reads a field by a literal name."""
    key: ast.expr | None = None
    base: ast.expr | None = None
    if isinstance(node, ast.Subscript):
        base, key = node.value, node.slice
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get" and node.args:
        base, key = node.func.value, node.args[0]
    if not isinstance(key, ast.Constant) or not isinstance(key.value, str) or base is None:
        return None
    target = aliases.get(base.id) if isinstance(base, ast.Name) else _state_name(base)
    return None if target is None else (target, key.value, base.lineno)


__all__ = ["Examination", "examine", "overlaps"]
