"""The rulebook as one page to read: rules with their articles, parameters, event kinds, objects, state diagrams, cases.

Rules: everything follows from the files of the rulebook; both languages stand beside each other; where the law is silent
the page says so in words. Labels come in as `words`, by key. Not here: how a page looks (see `page`).
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from ledger.core.ident import format_time
from ledger.rules.diagram import draw, edges_of, states_of
from ledger.rules.facts import RuleFacts
from ledger.rules.kinds import Field, Kind, Title
from ledger.rules.overlay import LOCAL
from ledger.rules.page import Both, Cell, Code, Link, Page, Piece
from ledger.rules.params import Parameter, Value, is_open
from ledger.rules.program import Program
from ledger.rules.tables import Table

Words = Callable[[str], Both]
"""A label by key, in both languages."""

_DAY_MS = 86_400_000
_CHINESE: Final = re.compile(r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]")
_BREAK: Final = re.compile(
    r"(?<=[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]) | (?=[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef])"
)


def write_document(program: Program, page: Page, words: Words) -> None:
    """Write the rulebook of `program` to `page`."""
    _Document(program, page, words).write()


def both(title: Title) -> Both:
    """A declared title."""
    return Both(title["zh"], title["en"])


class _Document:
    def __init__(self, program: Program, page: Page, words: Words) -> None:
        self._program, self._book, self._page, self._words = program, program.book, page, words

    def write(self) -> None:
        """All sections."""
        self._head()
        self._rules()
        self._parameters()
        self._overlays()
        self._tables()
        self._kinds()
        self._objects()
        self._codes()
        self._calendars()

    def _title(self, level: int, key: str) -> None:
        self._page.heading(level, self._words(key), key)

    def _head(self) -> None:
        book, page, words = self._book, self._page, self._words
        page.heading(1, both(book.title), "top")
        rows: list[list[Cell]] = [
            [words("version"), [Code(book.id), book.version]],
            [words("jurisdiction"), book.jurisdiction],
            [words("effective"), f"{book.effective} ({book.zone})"],
            [words("hash"), Code(self._program.rulebook_hash.hex())],
        ]
        page.table([words("what"), ""], rows)
        page.text(words("intro"))
        page.heading(2, words("sources"), "sources")
        page.table(
            [words("name"), words("title"), words("articles")],
            [[Code(name), both(title), str(book.articles.get(name, ""))] for name, title in book.sources.items()],
        )
        page.heading(2, words("contents"), "contents")
        page.items([[Link(rule.id, f"rule-{rule.id}"), both(rule.title)] for rule in book.rules.values()])
        page.items(
            [
                Link(f"{words(key).zh} · {words(key).en}", key)
                for key in ("parameters", "diagrams", "kinds", "objects", "codes", "calendars")
            ]
        )

    # --- rules ---------------------------------------------------------------------------------------------------------

    def _rules(self) -> None:
        self._title(2, "rules")
        for rule in self._book.rules.values():
            self._rule(rule)

    def _rule(self, rule: RuleFacts) -> None:
        page, words, book = self._page, self._words, self._book
        page.heading(3, [Code(rule.id), both(rule.title)], f"rule-{rule.id}")
        page.text([words("article"), rule.article])
        for paragraph in _prose(rule.text):
            page.text(paragraph)
        functions = list(rule.functions.values())
        used = sorted({name for each in functions for name in each.parameters_used})
        facts: list[list[Piece]] = [[words("listens"), *self._listens(rule)]]
        if used:
            facts.append([words("parameters"), *(Link(name, f"param-{name}") for name in used)])
        writes, duties = self._writes(rule), _duties(rule)
        if writes:
            facts.append([words("writes"), *map(Code, writes)])
        if duties:
            facts.append([words("duties"), *map(Code, duties)])
        page.items(facts)
        rows: list[list[Cell]] = []
        for op, code in sorted({pair for each in functions for pair in each.codes}):
            text = book.texts[code]
            rows.append([Code(code), words(f"op-{op}"), both(text.title), text.article])
        page.table([words("code"), words("effect"), words("meaning"), words("article")], rows)
        self._cases(rule)
        page.fold(words("source"))
        page.code(self._program.files[rule.file].decode("utf-8"), "python")
        page.unfold()

    def _listens(self, rule: RuleFacts) -> Iterator[Piece]:
        for name in rule.functions:
            if name.startswith("on_timer_"):
                yield self._words("timer")
                yield Code(name.removeprefix("on_timer_").replace("_", "."))
            elif name == "on_any":
                yield self._words("every-event")
        for kind in self._book.kinds.values():
            if f"on_{kind.function}" in rule.functions:
                yield Link(kind.name, f"kind-{kind.name}")

    def _writes(self, rule: RuleFacts) -> list[str]:
        found: set[str] = set()
        for kind in self._book.kinds.values():
            handler = f"on_{kind.function}"
            for facts in rule.reachable(handler) if handler in rule.functions else ():
                objects = kind.objects()
                found |= {f"{objects[target]}.{name}" for target, name in facts.writes if target in objects}
        return sorted(found)

    def _cases(self, rule: RuleFacts) -> None:
        page, words = self._page, self._words
        data = self._book.cases.get(f"cases/{rule.id}.toml")
        if data is None:
            page.text(words("no-cases"))
            return
        for case in tomllib.loads(data.decode("utf-8")).get("case", []):
            page.fold([words(f"case-{case['type']}"), Both(case.get("zh", case["name"]), case["name"])])
            if "start" in case:
                page.text([words("starts"), Code(str(case["start"]))])
            page.table(
                [words("at"), words("by"), words("event"), words("said"), words("expected")],
                [self._step(step) for step in case.get("step", [])],
            )
            page.unfold()

    def _step(self, step: dict[str, Any]) -> list[Cell]:
        words = self._words
        if set(step) == {"start"}:
            return ["", "", [words("starts"), Code(str(step["start"]))], "", ""]
        name = step.get("do")
        event: Cell = words("time-passes")
        if name is not None:
            kind = self._book.kinds.get(name)
            event = [Link(name, f"kind-{name}"), both(kind.title)] if kind is not None else Code(str(name))
        said = {**step.get("refs", {}), **step.get("body", {})}
        expected: list[Any] = []
        if name is not None or "expect" in step:
            expected.append(words(f"outcome-{step.get('expect', 'accepted')}"))
        for part in ("reasons", "findings", "duties", "alerts", "fires"):
            if step.get(part):
                expected += [words(part), *map(Code, map(str, step[part]))]
        for key, fields in step.get("state", {}).items():
            expected.append(Code(f"{key}: {_plain(fields)}"))
        return [str(step.get("at", "")), str(step.get("by", "")), event, Code(_plain(said) if said else ""), expected]

    # --- parameters ----------------------------------------------------------------------------------------------------

    def _parameters(self) -> None:
        page, words = self._page, self._words
        self._title(2, "parameters")
        for parameter in self._book.params.values():
            page.heading(3, [Code(parameter.name), both(parameter.title)], f"param-{parameter.name}")
            rows: list[list[Cell]] = [
                [
                    format_time(value.first * _DAY_MS)[:10],
                    self._value(parameter, value),
                    self._bound(value),
                    value.source,
                ]
                for value in parameter.values
            ]
            page.table([words("from"), words("value"), words("bound"), words("law")], rows)
            readers = [
                rule.id
                for rule in self._book.rules.values()
                if any(parameter.name in facts.parameters_used for facts in rule.functions.values())
            ]
            page.text([words("read-by"), *(Link(rule, f"rule-{rule}") for rule in readers)])

    def _value(self, parameter: Parameter, value: Value) -> Cell:
        found = value.value
        if is_open(found):
            return [
                self._words("not-set"), Code(str(found["open"])), self._words("strict"), Code(_plain(found["strict"])),
                self._words("lenient"), Code(_plain(found["lenient"])),
            ]  # fmt: skip
        return [Code(_plain(found)), parameter.unit]

    def _bound(self, value: Value) -> Cell:
        return self._words("bound-open" if is_open(value.value) else f"bound-{value.bound}")

    def _overlays(self) -> None:
        page, words = self._page, self._words
        if not self._book.overlays:
            return
        self._title(2, "overlays")
        page.text(words("overlays-text"))
        for overlay in self._book.overlays.values():
            page.heading(3, [Code(overlay.jurisdiction), both(overlay.title)], f"overlay-{overlay.jurisdiction}")
            named = sorted({*overlay.params, *overlay.added})
            page.text([words("parameters"), *(Link(LOCAL + name, f"param-{LOCAL}{name}") for name in named)])
            rows: list[list[Cell]] = [[left.article, both(left.title)] for left in overlay.left_out]
            if rows:
                page.table([words("article"), words("left-out")], rows)

    # --- tables --------------------------------------------------------------------------------------------------------

    def _tables(self) -> None:
        page, words = self._page, self._words
        self._title(2, "diagrams")
        page.text(words("diagrams-text"))
        for table in self._book.tables.values():
            title = both(self._book.objects[table.object].title)
            page.heading(3, [Code(f"{table.object}.{table.field}"), title], f"table-{table.object}")
            page.figure(table.object, draw(table, self._edge_label))
            page.fold(words("as-table"))
            rows: list[list[Cell]] = [
                [Code(before or "—"), Code(after), self._movers(names)]
                for (before, after), names in edges_of(table).items()
            ]
            page.table([words("before"), words("after"), words("moved-by")], rows)
            page.unfold()
            self._otherwise(table)

    def _edge_label(self, name: str) -> str:
        kind = self._book.kinds.get(name)
        return name if kind is None else f"{kind.title['zh']} {name}"

    def _movers(self, names: list[str]) -> list[Any]:
        found: list[Any] = []
        for name in names:
            kind = self._book.kinds.get(name)
            found += [Link(name, f"kind-{name}"), both(kind.title)] if kind is not None else [Code(name)]
        return found

    def _otherwise(self, table: Table) -> None:
        if table.otherwise:
            entries: list[Cell] = [
                [Link(name, f"kind-{name}"), self._words("out-of-order"), Link(code, f"code-{code}")]
                for name, code in table.otherwise.items()
            ]
            self._page.items(entries)

    # --- kinds and objects ---------------------------------------------------------------------------------------------

    def _kinds(self) -> None:
        page, words, book = self._page, self._words, self._book
        self._title(2, "kinds")
        page.text(words("kinds-text"))
        shared = _shared_fields(list(book.kinds.values()))
        if shared:
            page.heading(3, words("shared"), "shared")
            self._fields(shared, [])
        for kind in book.kinds.values():
            page.heading(3, [Code(kind.name), both(kind.title)], f"kind-{kind.name}")
            listeners = [rule.id for rule in book.rules.values() if f"on_{kind.function}" in rule.functions]
            entries: list[Cell] = [words("act" if kind.act else "request")]
            if kind.code:
                entries.append([words("known-as"), Code(kind.code)])
            if kind.creates is not None:
                entries.append([words("creates"), Code(kind.creates)])
            if kind.by:
                entries.append([words("only-by"), *map(Code, kind.by)])
            if listeners:
                entries.append([words("rules"), *(Link(rule, f"rule-{rule}") for rule in listeners)])
            moved = [table.object for table in book.tables.values() if kind.name in table.kinds()]
            if moved:
                entries.append([words("moves"), *(Link(name, f"table-{name}") for name in moved)])
            page.items(entries)
            refs: list[list[Cell]] = [
                [Code(ref.name), words("ref"), words("many" if ref.many else "one"),
                 words("optional" if ref.optional else "required"), ""]
                for ref in kind.refs
            ]  # fmt: skip
            self._fields([entry for entry in kind.fields if entry not in shared], refs)

    def _fields(self, fields: Sequence[Field], rows: list[list[Cell]]) -> None:
        words = self._words
        rows = rows + [row for entry in fields for row in self._field(entry, "")]
        self._page.table([words("name"), words("type"), words("bounds"), "", words("title")], rows)

    def _field(self, entry: Field, prefix: str) -> Iterator[list[Cell]]:
        words = self._words
        name = f"{prefix}{entry.name}"
        inner = entry.item if entry.type == "list" else None
        kind: Cell = Code(f"list of {inner.type}" if inner is not None else entry.type)
        need = words("required" if entry.required else "optional")
        yield [Code(name), kind, Code(_bounds(entry)), need, both(entry.title) if not prefix else ""]
        for each in (*entry.fields, *(inner.fields if inner is not None else ())):
            yield from self._field(each, f"{name}.")

    def _objects(self) -> None:
        page, words, book = self._page, self._words, self._book
        self._title(2, "objects")
        for entry in book.objects.values():
            page.heading(3, [Code(entry.name), both(entry.title)], f"object-{entry.name}")
            writers = self._writers(entry.name)
            rows: list[list[Cell]] = [
                [Code(name), "" if default is None else Code(_plain(default)), self._writer(writers.get(name, ""))]
                for name, default in entry.fields.items()
            ]
            page.table([words("name"), words("default"), words("written-by")], rows)

    def _writer(self, writer: str) -> Cell:
        if not writer:
            return ""
        table = writer.removeprefix("table ")
        return Link(table, f"table-{table}") if table != writer else Link(writer, f"rule-{writer}")

    def _writers(self, kind: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for rule in self._book.rules.values():
            for name in self._writes(rule):
                if name.startswith(f"{kind}."):
                    found[name.partition(".")[2]] = rule.id
        table = self._book.tables.get(kind)
        if table is not None:
            found[table.field] = f"table {kind}"
        return found

    # --- codes and calendars -------------------------------------------------------------------------------------------

    def _codes(self) -> None:
        page, words = self._page, self._words
        self._title(2, "codes")
        page.text(words("codes-text"))
        rows: list[list[Cell]] = []
        for code, text in self._book.texts.items():
            since = format_time(text.first * _DAY_MS)[:10] if text.first else ""
            rows.append([Code(code, f"code-{code}"), words(f"type-{text.type}"), both(text.title), text.article, since])
        page.table([words("code"), words("effect"), words("meaning"), words("article"), words("from")], rows)

    def _calendars(self) -> None:
        page, words = self._page, self._words
        self._title(2, "calendars")
        rows: list[list[Cell]] = []
        for data in self._program.calendars.values():
            document = json.loads(data)
            off = ", ".join("–".join(each) if isinstance(each, list) else each for each in document["off"])
            rows.append([str(document["year"]), off, ", ".join(document["worked"]), document["source"]])
        page.table([words("year"), words("off"), words("worked"), words("law")], rows)


def _shared_fields(kinds: Sequence[Kind]) -> list[Field]:
    """The fields that every kind has alike."""
    if len(kinds) < 2:
        return []
    return [entry for entry in kinds[0].fields if all(entry in kind.fields for kind in kinds)]


def _duties(rule: RuleFacts) -> list[str]:
    return sorted({touch.rule for facts in rule.functions.values() for touch in facts.touches if touch.op == "duty"})


def _bounds(entry: Field) -> str:
    if entry.values:
        return " | ".join(entry.values)
    if entry.item is not None and entry.item.values:
        return f"≤ {entry.limit}: " + " | ".join(entry.item.values)
    if entry.type == "int":
        return f"{entry.low} … {entry.high}"
    return f"≤ {entry.limit}" if entry.limit else ""


def _prose(text: str) -> list[Both]:
    """The paragraphs behind the first line of a docstring. Those that begin with a Chinese character or mark say in Chinese
    what the others say in English; a line break within them is no space."""
    chinese: list[str] = []
    english: list[str] = []
    for paragraph in filter(None, (each.strip() for each in text.partition("\n")[2].split("\n\n"))):
        words = " ".join(paragraph.split())
        if _CHINESE.match(words):
            chinese.append(_BREAK.sub("", words))
        else:
            english.append(words)
    if not chinese or not english:
        return [Both(words, words) for words in chinese or english]
    if len(chinese) == len(english):
        return [Both(zh, en) for zh, en in zip(chinese, english, strict=True)]
    return [Both("".join(chinese), " ".join(english))]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


__all__ = ["Words", "both", "states_of", "write_document"]
