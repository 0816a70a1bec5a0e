"""Writes a page of headings, paragraphs, tables and drawings in two languages, as HTML or as Markdown.

Rules: one HTML file without scripts, fonts or links to elsewhere; the reader chooses the language by a button that needs no
script. Everything from a rulebook is escaped. Not here: what stands on the page (see `document`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final, Protocol


@dataclass(frozen=True, slots=True)
class Both:
    """The same words in Chinese and English."""

    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Code:
    """Words of the machine: names, codes, values. With an `anchor` links lead here."""

    text: str
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """A name that leads to the heading with this anchor."""

    text: str
    anchor: str


Piece = str | Both | Code | Link
Cell = Piece | Sequence[Piece]
"""One piece, or several one behind the other."""


class Page(Protocol):
    """Where a document is written to."""

    def heading(self, level: int, title: Cell, anchor: str) -> None:
        """A heading; 1 is the page's title."""
        ...

    def text(self, words: Cell) -> None:
        """A paragraph."""
        ...

    def items(self, entries: Sequence[Cell]) -> None:
        """A list."""
        ...

    def table(self, head: Sequence[Cell], rows: Sequence[Sequence[Cell]]) -> None:
        """A table; nothing where it has no rows."""
        ...

    def fold(self, summary: Cell) -> None:
        """What follows is folded away under `summary`, until `unfold`."""
        ...

    def unfold(self) -> None:
        """End of a fold."""
        ...

    def code(self, text: str, language: str) -> None:
        """A listing."""
        ...

    def figure(self, name: str, svg: str) -> None:
        """A drawing."""
        ...


STYLE: Final = """
:root{color-scheme:light dark;--line:#c8d1da;--soft:#f4f6f8;--dim:#51606e;--key:#3a4fa8}
@media(prefers-color-scheme:dark){:root{--line:#3a4653;--soft:#1a222a;--dim:#a7b4c0;--key:#9aa9f0}}body{
font:16px/1.6 system-ui,'Noto Sans','Noto Sans CJK SC','PingFang SC','Microsoft YaHei',sans-serif;max-width:64rem;
margin:0 auto;padding:1rem 1.2rem 4rem}h1,h2,h3{line-height:1.25}h2{border-top:1px solid var(--line);
padding-top:1.2rem;margin-top:2.5rem}h3{margin-top:2rem}a{color:var(--key);text-decoration:none}a:hover{
text-decoration:underline}code{font:.9em ui-monospace,monospace}table{border-collapse:collapse;margin:.8rem 0;
width:100%;font-size:.92rem}th,td{border:1px solid var(--line);padding:.3rem .5rem;text-align:left;
vertical-align:top}th{background:var(--soft)}pre{background:var(--soft);padding:.8rem;overflow:auto;
font-size:.85rem}details{margin:.6rem 0}summary{cursor:pointer;color:var(--dim)}figure{margin:1rem 0;
overflow-x:auto}figure svg{max-width:none}.wide{overflow-x:auto}.en{color:var(--dim)}nav ul{columns:2;
font-size:.92rem}.choose{position:sticky;top:0;background:Canvas;padding:.4rem 0}.choose label{cursor:pointer;
margin-right:1rem}input.pick{position:absolute;opacity:0}input.pick:focus-visible~.choose{
outline:2px solid var(--key)}#show-zh:checked~main .en,#show-en:checked~main .zh{display:none}
#show-en:checked~main .en{color:inherit}#show-zh:checked~.choose label[for=show-zh],
#show-en:checked~.choose label[for=show-en],#show-both:checked~.choose label[for=show-both]{font-weight:700;
text-decoration:underline}@media print{.choose{display:none}details>*{display:block}}
""".replace("\n", "")


@dataclass(slots=True)
class HtmlPage:
    """A page as one HTML file."""

    title: Both
    parts: list[str] = field(default_factory=list)

    def heading(self, level: int, title: Cell, anchor: str) -> None:
        """See `Page`."""
        self.parts.append(f'<h{level} id="{escape(anchor)}">{_html(title)}</h{level}>')

    def text(self, words: Cell) -> None:
        """See `Page`."""
        self.parts.append(f"<p>{_html(words)}</p>")

    def items(self, entries: Sequence[Cell]) -> None:
        """See `Page`."""
        if entries:
            self.parts.append("<ul>" + "".join(f"<li>{_html(each)}</li>" for each in entries) + "</ul>")

    def table(self, head: Sequence[Cell], rows: Sequence[Sequence[Cell]]) -> None:
        """See `Page`."""
        if not rows:
            return
        first = "".join(f"<th>{_html(cell)}</th>" for cell in head)
        body = "".join("<tr>" + "".join(f"<td>{_html(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        self.parts.append(f'<div class="wide"><table><tr>{first}</tr>{body}</table></div>')

    def fold(self, summary: Cell) -> None:
        """See `Page`."""
        self.parts.append(f"<details><summary>{_html(summary)}</summary>")

    def unfold(self) -> None:
        """See `Page`."""
        self.parts.append("</details>")

    def code(self, text: str, language: str) -> None:  # noqa: ARG002 - listings are not coloured
        """See `Page`."""
        self.parts.append(f"<pre><code>{escape(text, quote=False)}</code></pre>")

    def figure(self, name: str, svg: str) -> None:
        """See `Page`."""
        self.parts.append(f'<figure id="figure-{escape(name)}">{svg}</figure>')

    def render(self) -> str:
        """The whole file."""
        choices = "".join(
            f'<input class="pick" type="radio" name="show" id="show-{name}"{" checked" if name == "both" else ""}>'
            for name in ("both", "zh", "en")
        )
        labels = (
            '<div class="choose"><label for="show-both">中文 + English</label><label for="show-zh">中文</label>'
            '<label for="show-en">English</label></div>'
        )
        head = (
            '<!doctype html><html lang="zh"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            f"<title>{escape(self.title.zh)} · {escape(self.title.en)}</title><style>{STYLE}</style></head><body>"
        )
        return head + choices + labels + "<main>" + "\n".join(self.parts) + "</main></body></html>\n"


@dataclass(slots=True)
class MarkdownPage:
    """A page as Markdown; drawings are files beside it: `figures` by file name, called after `stem`."""

    stem: str
    parts: list[str] = field(default_factory=list)
    figures: dict[str, str] = field(default_factory=dict)

    def heading(self, level: int, title: Cell, anchor: str) -> None:
        """See `Page`."""
        self.parts.append(f'<a id="{escape(anchor)}"></a>\n\n{"#" * level} {_markdown(title)}')

    def text(self, words: Cell) -> None:
        """See `Page`."""
        self.parts.append(_markdown(words))

    def items(self, entries: Sequence[Cell]) -> None:
        """See `Page`."""
        if entries:
            self.parts.append("\n".join(f"- {_markdown(each)}" for each in entries))

    def table(self, head: Sequence[Cell], rows: Sequence[Sequence[Cell]]) -> None:
        """See `Page`."""
        if rows:
            lines = [_row(head), "|" + "---|" * len(head), *map(_row, rows)]
            self.parts.append("\n".join(lines))

    def fold(self, summary: Cell) -> None:
        """See `Page`."""
        self.parts.append(f"<details><summary>{_html(summary)}</summary>")

    def unfold(self) -> None:
        """See `Page`."""
        self.parts.append("</details>")

    def code(self, text: str, language: str) -> None:
        """See `Page`."""
        mark = "````" if "```" in text else "```"
        self.parts.append(f"{mark}{language}\n{text.rstrip(chr(10))}\n{mark}")

    def figure(self, name: str, svg: str) -> None:
        """See `Page`."""
        file = f"{self.stem}.{name}.svg"
        self.figures[file] = svg + "\n"
        self.parts.append(f"![{name}]({file})")

    def render(self) -> str:
        """The whole file."""
        return "\n\n".join(self.parts) + "\n"


def _html(cell: Cell) -> str:
    if isinstance(cell, Both):
        if cell.zh == cell.en:
            return escape(cell.zh)
        zh, en = escape(cell.zh), escape(cell.en)
        return f'<span class="zh" lang="zh">{zh}</span> <span class="en" lang="en">{en}</span>'
    if isinstance(cell, Code):
        place = f' id="{escape(cell.anchor)}"' if cell.anchor else ""
        return f"<code{place}>{escape(cell.text)}</code>" if cell.text else ""
    if isinstance(cell, Link):
        return f'<a href="#{escape(cell.anchor)}">{escape(cell.text)}</a>'
    if isinstance(cell, str):
        return escape(cell)
    return " ".join(filter(None, map(_html, cell)))


def _row(cells: Sequence[Cell]) -> str:
    return "| " + " | ".join(_markdown(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _markdown(cell: Cell) -> str:
    if isinstance(cell, Both):
        return _plain(cell.zh) if cell.zh == cell.en else f"{_plain(cell.zh)} · {_plain(cell.en)}"
    if isinstance(cell, Code):
        mark = "``" if "`" in cell.text else "`"
        place = f'<a id="{escape(cell.anchor)}"></a>' if cell.anchor else ""
        return f"{place}{mark}{cell.text}{mark}" if cell.text else ""
    if isinstance(cell, Link):
        return f"[{_plain(cell.text)}](#{cell.anchor})"
    if isinstance(cell, str):
        return _plain(cell)
    return " ".join(filter(None, map(_markdown, cell)))


def _plain(text: str) -> str:
    """`text` with what Markdown would read as its own escaped."""
    return "".join(f"\\{char}" if char in "\\`*_[]<>#" else char for char in text)


__all__ = ["Both", "Cell", "Code", "HtmlPage", "Link", "MarkdownPage", "Page", "Piece"]
