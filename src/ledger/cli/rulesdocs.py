"""`ledger rules docs DIR [--out FILE]`: the rulebook as one page, for lawyers, auditors and whoever votes on it.

Rules: a name that ends in .md gives Markdown, with a drawing beside it for each table; .html, .htm or no suffix one HTML
file; any other is refused, for its name would promise another format. Files are written whole or not at all, and what the
system says of one names the file that the user named. Not here: what stands on the page (see `ledger.rules.document`).
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

import click

from ledger.cli.command import argument, command, option
from ledger.cli.output import Console
from ledger.cli.settings import SettingError
from ledger.cli.texts import Texts

MARKDOWN: Final = ".md"
SUFFIXES: Final = (".html", ".htm", MARKDOWN)


@command("docs")
@argument("folder", metavar="DIR", type=click.Path())
@option("--out", metavar="FILE", type=click.Path())
def docs(console: Console, folder: str, out: str | None) -> None:
    """Write a rulebook as one page."""
    from ledger.adapters.home.network import read_rulebook
    from ledger.rules.document import both, write_document
    from ledger.rules.page import Both, HtmlPage, MarkdownPage
    from ledger.rules.program import Program

    markdown = out is not None and _suffix(out) == MARKDOWN
    program = Program.compile(*read_rulebook(Path(folder)))
    chinese, english = Texts("zh"), Texts("en")

    def words(key: str) -> Both:
        zh, en = (texts.text(f"docs.{key}", catalogue_name="rules") for texts in (chinese, english))
        return Both(zh, en)

    page: HtmlPage | MarkdownPage
    files: dict[Path, str] = {}
    if out is not None and markdown:
        page = MarkdownPage(Path(out).stem)
        write_document(program, page, words)
        files = {Path(out).with_name(name): svg for name, svg in page.figures.items()}
    else:
        page = HtmlPage(both(program.book.title))
        write_document(program, page, words)
    text = page.render()
    if out is None:
        console.result({"html": text}, text)
        return
    files[Path(out)] = text
    for path, content in files.items():
        _write(path, content, out)
    size = sum(len(content.encode("utf-8")) for content in files.values())
    said = console.texts.text("docs.written", catalogue_name="rules", path=out, files=len(files), size=f"{size:,}")
    console.result({"files": [str(path) for path in files], "bytes": size}, said)


def _suffix(out: str) -> str:
    """The suffix of the page's name, one of `SUFFIXES` or empty.

    Raises `SettingError` (code `page-suffix`) for another one, and `IsADirectoryError` for what is no file.
    """
    path = Path(out)
    if not path.name or path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), out)
    suffix = "".join(path.name.lower().rpartition(".")[1:]) if "." in path.name else ""
    if suffix and suffix not in SUFFIXES:
        raise SettingError("page-suffix", "no format of a page", path=out, expected=", ".join(SUFFIXES))
    return suffix


def _write(path: Path, content: str, out: str) -> None:
    """Replace `path` by `content` in one step, so that nobody reads half a page; the folder's trouble is told of `out`."""
    part, told = path.with_name(f".{path.name}.part"), out
    try:
        part.write_text(content, encoding="utf-8", newline="\n")
        told = str(path)
        part.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, told) from error
    finally:
        with suppress(OSError):
            part.unlink()
