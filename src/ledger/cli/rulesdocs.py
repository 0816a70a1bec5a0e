"""`ledger rules docs DIR [--out FILE]`: the rulebook as one page, for lawyers, auditors and whoever votes on it.

Rules: a name that ends in .md gives Markdown, with a drawing beside it for each table; everything else one HTML file. Files
are written whole or not at all. Not here: what stands on the page (see `ledger.rules.document`).
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import click

from ledger.cli.command import argument, command, option
from ledger.cli.output import Console
from ledger.cli.texts import Texts


@command("docs")
@argument("folder", metavar="DIR", type=click.Path())
@option("--out", metavar="FILE", type=click.Path())
def docs(console: Console, folder: str, out: str | None) -> None:
    """Write a rulebook as one page."""
    from ledger.adapters.home.network import read_rulebook
    from ledger.rules.document import both, write_document
    from ledger.rules.page import Both, HtmlPage, MarkdownPage
    from ledger.rules.program import Program

    program = Program.compile(*read_rulebook(Path(folder)))
    chinese, english = Texts("zh"), Texts("en")

    def words(key: str) -> Both:
        zh, en = (texts.text(f"docs.{key}", catalogue_name="rules") for texts in (chinese, english))
        return Both(zh, en)

    page: HtmlPage | MarkdownPage
    files: dict[Path, str] = {}
    if out is not None and out.lower().endswith(".md"):
        page = MarkdownPage(Path(out).stem)
        write_document(program, page, words)
        files = {Path(out).with_name(name): svg for name, svg in page.figures.items()}
    else:
        page = HtmlPage(both(program.book.title))
        write_document(program, page, words)
    text = page.render()
    if out is not None and not Path(out).name:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), out)
    if out is None:
        console.result({"html": text}, text)
        return
    files[Path(out)] = text
    for path, content in files.items():
        _write(path, content)
    size = sum(len(content.encode("utf-8")) for content in files.values())
    said = console.texts.text("docs.written", catalogue_name="rules", path=out, files=len(files), size=f"{size:,}")
    console.result({"files": [str(path) for path in files], "bytes": size}, said)


def _write(path: Path, content: str) -> None:
    """Replace `path` by `content` in one step, so that nobody reads half a page."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(content, encoding="utf-8", newline="\n")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
