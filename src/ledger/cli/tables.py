"""Decides how rows line up: columns by display width, so that Chinese text keeps them straight.

Rules: East Asian wide and full-width characters take two columns, combining and invisible ones none; control and
bidirectional characters from outside are shown escaped, so that a title can forge no screen. On a terminal the widest
column gives way to its width; into a pipe nothing is cut. A text in our own colour (`Painted`) counts without it, stays
coloured where it fits and is plain where it is cut. Not here: which colour.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TextIO

from ledger.cli.output import Console, Painted, is_terminal

GAP: Final = "  "
COLUMN_MIN: Final = 8
COLUMNS_DEFAULT: Final = 80
_COLOUR_CODE: Final = re.compile(r"\x1b\[[0-9;]*m")
_SECOND_COLUMN: Final = re.compile(r" *(?:- |[^ ]+(?: [^ ]+)*  +)")
_INVISIBLE: Final = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))


def safe(text: object) -> str:
    """`text` on one line with control, bidirectional and invisible characters escaped."""
    if isinstance(text, Painted):
        return text
    string = str(text)
    if string.isascii() and string.isprintable():
        return string
    return "".join(f"\\u{ord(char):04x}" if unicodedata.category(char) in _INVISIBLE else char for char in string)


def width(text: str) -> int:
    """Columns that `text` takes on a terminal."""
    if "\x1b" in text:
        text = _COLOUR_CODE.sub("", text)
    if text.isascii():
        return len(text)
    return sum(_char_width(char) for char in text)


def cut(text: str, columns: int) -> str:
    """`text` in at most `columns`; what does not fit ends in `..`, which every encoding has."""
    if width(text) <= columns:
        return text
    if isinstance(text, Painted):
        text = text.plain
    kept, used = [], 0
    for char in text:
        used += _char_width(char)
        if used > columns - 2:
            break
        kept.append(char)
    return "".join(kept) + ".."


def pad(text: str, columns: int) -> str:
    """`text` followed by spaces up to `columns`."""
    return text + " " * (columns - width(text))


def table(
    rows: Iterable[Sequence[object]], head: Sequence[str] = (), columns: int | None = None, whole: Sequence[int] = ()
) -> str:
    """Lines of aligned columns; `columns` bounds their width (None: unbounded), `whole` are columns that are never cut:
    ids that people copy."""
    lines = [[safe(cell) for cell in row] for row in rows]
    if head:
        lines.insert(0, list(head))
    if not lines:
        return ""
    widths = [max(width(row[at]) for row in lines) for at in range(len(lines[0]))]
    if columns is not None:
        _shrink(widths, columns, whole)
    out: list[str] = []
    for row in lines:
        cells = [pad(cut(cell, size), size) for cell, size in zip(row, widths, strict=True)]
        out.append(GAP.join(cells).rstrip())
    if head:
        out.insert(1, GAP.join("-" * size for size in widths))
    return "\n".join(out)


def fields(pairs: Iterable[tuple[str, object]], indent: str = "") -> str:
    """`name  value` lines with the values in one column."""
    kept = [(name, safe(value)) for name, value in pairs if value is not None]
    size = max((width(name) for name, _ in kept), default=0)
    return "\n".join(f"{indent}{pad(name, size)}{GAP}{value}" for name, value in kept)


def wrap(text: str, columns: int, indent: str = "") -> str:
    """`text` broken at spaces, behind `|` or between wide characters, so that no line is wider than `columns`."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = indent
        for piece in _pieces(paragraph):
            if width(line) + width(piece.rstrip()) > columns and line.strip():
                lines.append(line.rstrip())
                line = indent + piece.lstrip()
            else:
                line += piece
        lines.append(line.rstrip())
    return "\n".join(lines)


def on_screen(console: Console, text: str, stream: TextIO | None = None) -> str:
    """`text` for `stream` (stdout): on a terminal its long lines are broken to the screen's width, into a pipe none."""
    columns = screen_columns(console.out if stream is None else stream, console.environment)
    return text if columns is None else "\n".join(fitted(line, columns) for line in text.split("\n"))


def fitted(line: str, columns: int) -> str:
    """A line in as many as it needs, each below the place where its text begins (behind `name  ` or `- `).

    A word is never cut: what is longer than the screen has a line of its own, for people copy hashes and names.
    """
    if width(line) <= columns:
        return line
    indent = len(line) - len(line.lstrip(" "))
    begun = _SECOND_COLUMN.match(line)
    at = width(begun[0]) if begun else indent
    longest = max((width(word) for word in line[begun.end() if begun else indent :].split()), default=0)
    if begun and at <= columns // 2 and at + longest <= columns:
        head, rest = begun[0], line[begun.end() :]
    else:
        at, head, rest = indent + len(GAP), " " * indent, line[indent:]
    first, *others = wrap(rest, columns - at).split("\n")
    return "\n".join([head + first, *(" " * at + other for other in others)])


def screen_columns(stream: TextIO, environment: Mapping[str, str]) -> int | None:
    """Columns to keep to: those of the terminal, COLUMNS where set, None into a pipe."""
    wanted = environment.get("COLUMNS", "")
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    if not is_terminal(stream):
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or COLUMNS_DEFAULT
    except (OSError, ValueError):
        return COLUMNS_DEFAULT  # a terminal that does not know its size


def _pieces(text: str) -> list[str]:
    """Words with the spaces behind them, choices with their `|`; each wide character is a piece of its own, with
    punctuation that follows."""
    pieces: list[str] = []
    word = ""
    for char in text:
        if _char_width(char) == 2:
            if word:
                pieces.append(word)
                word = ""
            if pieces and char in "，。、；：！？）》”’":
                pieces[-1] += char
            else:
                pieces.append(char)
            continue
        if word.endswith((" ", "|")) and char != " ":
            pieces.append(word)
            word = ""
        word += char
    if word:
        pieces.append(word)
    return pieces


def _shrink(widths: list[int], columns: int, whole: Sequence[int]) -> None:
    spare = columns - len(GAP) * (len(widths) - 1)
    giving = [at for at in range(len(widths)) if at not in whole]
    while giving and sum(widths) > spare:
        widest = max(giving, key=widths.__getitem__)
        if widths[widest] <= COLUMN_MIN:
            return
        widths[widest] = max(COLUMN_MIN, widths[widest] - (sum(widths) - spare))


def _char_width(char: str) -> int:
    if char < "\u0300":
        return 1
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
