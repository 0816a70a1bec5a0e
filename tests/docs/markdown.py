"""Markdown as far as the documents use it: headings with their anchors, fenced blocks, links, tables."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from tests.architecture.tree import files, text

FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^(#{1,6}) (.+)$", re.MULTILINE)
LINK = re.compile(r"(?<!\\)!?\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its info string, its text, and the line it begins at."""

    info: str
    body: str
    line: int

    @property
    def language(self) -> str:
        """`sh` of `sh run`."""
        return self.info.partition(" ")[0]

    @property
    def is_run(self) -> bool:
        """Whether the tests run it."""
        return "run" in self.info.split()[1:]


def documents() -> list[str]:
    """Every Markdown file of the repository but those of rulebooks."""
    return [path for path in files() if path.endswith(".md") and not path.startswith("contracts/")]


def blocks(path: str) -> list[Block]:
    """Fenced blocks in order."""
    source = text(path)
    return [
        Block(found[1].strip(), found[2], source.count("\n", 0, found.start()) + 1) for found in FENCE.finditer(source)
    ]


def prose(path: str) -> str:
    """The document with its fenced blocks and code spans blanked out, lines kept."""
    source = FENCE.sub(lambda found: "\n" * found[0].count("\n"), text(path))
    return re.sub(r"`[^`\n]*`", "", source)


def headings(path: str) -> list[tuple[int, str]]:
    """(level, text) of each heading."""
    return [(len(found[1]), found[2].strip()) for found in HEADING.finditer(FENCE.sub("", text(path)))]


def anchors(path: str) -> set[str]:
    """Anchors of the headings, made as GitHub makes them."""
    found: set[str] = set()
    for _, heading in headings(path):
        kept = (letter for letter in heading.replace("`", "").lower() if _stays(letter))
        name = "".join(kept).replace(" ", "-")
        number, unique = 0, name
        while unique in found:
            number += 1
            unique = f"{name}-{number}"
        found.add(unique)
    return found


def _stays(letter: str) -> bool:
    return letter in " -_" or unicodedata.category(letter)[0] in "LNM"


def links(path: str) -> list[tuple[str, int]]:
    """(target, line) of each link and picture."""
    source = prose(path)
    return [(found[1], source.count("\n", 0, found.start()) + 1) for found in LINK.finditer(source)]


def tables(path: str) -> list[list[list[str]]]:
    """Rows of cells of each table, the head first, the rule left out."""
    found: list[list[list[str]]] = []
    last = False
    for line in FENCE.sub("", text(path)).splitlines():
        is_row = line.startswith("|")
        if is_row and not last:
            found.append([])
        if is_row and not re.fullmatch(r"[|\s:-]+", line):
            found[-1].append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        last = is_row
    return [rows for rows in found if rows]
