"""Finds declarations of a rulebook that nothing uses: refs, parameters, texts, objects, fields, kinds, sources.

Rule: everything here is a warning, because an unused declaration is lawful; it misleads whoever reads the rulebook.
Not here: what is used wrongly (see `compiler`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ledger.rules.facts import FunctionFacts
from ledger.rules.kinds import Kind, Ref
from ledger.rules.lint_law import cited_sources
from ledger.rules.places import line_of
from ledger.rules.program import Program
from ledger.rules.remark import WARNING, Remark
from ledger.rules.rulebook import MANIFEST, Rulebook


def unused(program: Program, files: Mapping[str, bytes]) -> Iterator[Remark]:
    """A warning for each declaration that nothing uses."""
    book = program.book

    def remark(code: str, file: str, where: str, /, **values: str) -> Remark:
        return Remark(code, WARNING, file, line_of(files.get(file, b""), where), tuple(values.items()))

    functions = [facts for rule in book.rules.values() for facts in rule.functions.values()]
    for kind in book.kinds.values():
        idle = [ref.name for ref in kind.refs if not _is_read(book, kind, ref)]
        if idle:
            where = f"{kind.name}.refs.{idle[0]}"
            yield remark("ref-unread", kind.file, where, kind=kind.name, refs=", ".join(idle))
        moves = any(kind.name in table.kinds() for table in book.tables.values())
        if not moves and not _listeners(book, kind) and not _discharges(book, kind):
            yield remark("kind-unheard", kind.file, kind.name, kind=kind.name)
    read = {name for facts in functions for name in facts.parameters_used}
    for name in book.params:
        if name not in read:
            yield remark("param-unread", "params.toml", name, name=name)
    said = {code for facts in functions for _, code in facts.codes}
    said |= {code for table in book.tables.values() for code in table.otherwise.values()}
    for code in book.texts:
        if code not in said:
            yield remark("text-unused", "texts.toml", code, code=code)
    named = {name for kind in book.kinds.values() for name in kind.objects().values()}
    written = _written(book)
    for name, entry in book.objects.items():
        if name not in named:
            yield remark("object-unused", "objects.toml", name, object=name)
            continue
        left = [each for each in entry.fields if (name, each) not in written]
        if left:
            where = f"{name}.fields.{left[0]}"
            yield remark("field-unwritten", "objects.toml", where, object=name, fields=", ".join(left))
    cited = cited_sources(book)
    for name in book.sources:
        if name not in cited:
            yield remark("source-uncited", MANIFEST, f"sources.{name}", source=name)


def _listeners(book: Rulebook, kind: Kind) -> list[FunctionFacts]:
    """Every function that an event of `kind` may reach."""
    return [
        facts
        for rule in book.rules.values()
        if f"on_{kind.function}" in rule.functions
        for facts in rule.reachable(f"on_{kind.function}")
    ]


def _is_read(book: Rulebook, kind: Kind, ref: Ref) -> bool:
    """Whether a rule, table, party, key or duty has a use for the ref."""
    for facts in _listeners(book, kind):
        if ref.name in facts.reads or ref.name in facts.targets or ref.name in facts.refs:
            return True
    if any(
        part == ("ref", ref.name) or part[1].startswith(f"{ref.name}.") for each in kind.state for part in each.parts
    ):
        return True
    if any(path.partition(".")[0] == ref.name for path in (*kind.by, *(path for _, path in kind.agree))):
        return True
    if ref.name in kind.owns or any(name == ref.name for name, _ in kind.agree):
        return True
    of = kind.objects().get(ref.name)
    if of is None:
        return ref.opaque  # a stream and nothing else is what an opaque ref is for
    table = book.tables.get(of)
    if table is not None and (kind.name in table.kinds()):
        return True
    return _discharges(book, kind)


def _discharges(book: Rulebook, kind: Kind) -> bool:
    """Whether some duty is discharged by events of `kind`."""
    return any(
        kind.name in touch.kinds
        for rule in book.rules.values()
        for facts in rule.functions.values()
        for touch in facts.touches
        if touch.op == "duty"
    )


def _written(book: Rulebook) -> set[tuple[str, str]]:
    """(object kind, field) that a table or a rule may write; what a timer's handler writes counts for every object so
    named."""
    found = {(table.object, table.field) for table in book.tables.values()}
    for rule in book.rules.values():
        timed = [facts for name in rule.functions if name.startswith("on_timer_") for facts in rule.reachable(name)]
        for kind in book.kinds.values():
            objects = kind.objects()
            handler = f"on_{kind.function}"
            event = rule.reachable(handler) if handler in rule.functions else []
            for facts in (*event, *timed):
                found |= {(objects[target], name) for target, name in facts.writes if target in objects}
    return found
