"""Lays out help pages from the catalogue `help`, in the language and width of the reader.

Rule: imports no click, so that the first page costs nothing but Python itself. Not here: what options exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ledger.cli.commands import COMMANDS, Table
from ledger.cli.tables import pad, width, wrap
from ledger.cli.texts import Texts

PROGRAM: Final = "ledger"
COLUMNS: Final = 80
_NAME_COLUMNS_MAX: Final = 28

GLOBAL_OPTIONS: Final = (
    ("--json", "global.json"),
    ("--lang zh|en|auto", "global.lang"),
    ("--no-color", "global.no-color"),
    ("-q, --quiet", "global.quiet"),
    ("-h, --help", "global.help"),
)
"""Every command takes these; (spelling, key of the text)."""


def page(
    texts: Texts,
    path: str,
    usage: str,
    sections: Iterable[tuple[str, Sequence[tuple[str, str]]]],
    columns: int = COLUMNS,
) -> str:
    """A help page: usage, description of `path`, then titled lists of (name, text)."""
    lines = [wrap(f"{texts.text('usage', catalogue_name='help')}: {usage}", columns, "  ").lstrip(), ""]
    text = describe(texts, path)
    if text:
        lines += [wrap(text, columns, "  "), ""]
    for title, rows in sections:
        if rows:
            lines += [f"{texts.text(title, catalogue_name='help')}:", *_definitions(rows, columns), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def root_page(texts: Texts, columns: int = COLUMNS) -> str:
    """The page of `ledger --help`."""
    options = [(spelling, texts.text(key, catalogue_name="help")) for spelling, key in GLOBAL_OPTIONS]
    options.insert(-1, ("--version", texts.text("global.version", catalogue_name="help")))
    usage = f"{PROGRAM} [OPTIONS] COMMAND [ARGS]..."
    return page(texts, "", usage, [("commands", command_rows(texts, "", COMMANDS)), ("options", options)], columns)


def command_rows(texts: Texts, path: str, entries: Table) -> list[tuple[str, str]]:
    """(name, first line of the description) of a group's commands; a group names its own, so that one page shows all."""
    rows: list[tuple[str, str]] = []
    for name, entry in entries.items():
        below = "" if isinstance(entry, str) else f" {'|'.join(entry)}"
        rows.append((name + below, summary(texts, f"{path} {name}".strip())))
    return rows


def describe(texts: Texts, path: str) -> str:
    """The whole description of a command path."""
    return texts.find(f"{path or PROGRAM}.text", "help") or ""


def summary(texts: Texts, path: str) -> str:
    """Its first line."""
    return describe(texts, path).split("\n", 1)[0]


def _definitions(rows: Sequence[tuple[str, str]], columns: int) -> list[str]:
    size = min(_NAME_COLUMNS_MAX, max(width(name) for name, _ in rows))
    lines: list[str] = []
    for name, text in rows:
        body = wrap(text, columns, " " * (size + 4)).lstrip(" ")
        if width(name) <= size:
            lines.append(f"  {pad(name, size)}  {body}".rstrip())
        else:
            lines.append(wrap(name, columns, "    ")[2:])
            if body:
                lines.append(" " * (size + 4) + body)
    return lines
