"""`rules docs`: the page says everything of the rulebook, in both languages, and nothing of it becomes markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ledger.cli.exits import Exit
from ledger.cli.texts import catalogue
from ledger.rules.document import write_document
from ledger.rules.page import Both, Code, HtmlPage, Link, MarkdownPage
from ledger.rules.program import Program
from tests.unit.cli.runner import ledger
from tests.unit.rules.books import PARAMS, TEXTS, contract_program, rule, tiny

ROOT = Path(__file__).resolve().parents[3]
CONTRACT = ROOT / "contracts" / "data-sharing"
GDPR = ROOT / "contracts" / "gdpr"
VOID = {"meta", "input", "br"}


class Reader(HTMLParser):
    """Ids, links, open elements and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.links += [value for name, value in attrs if name == "href" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Nothing is opened."""

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def words(key: str) -> Both:
    """Labels as the command takes them."""
    return Both(*(catalogue("rules", language)[f"docs.{key}"] for language in ("zh", "en")))


def page_of(program: Program) -> tuple[str, Reader]:
    """The HTML page and what is in it."""
    page = HtmlPage(Both("甲", "A"))
    write_document(program, page, words)
    text = page.render()
    reader = Reader()
    reader.feed(text)
    return text, reader


def test_the_page_says_everything() -> None:
    """Every rule, article, parameter with source, kind, field, object, code and case stands on the page; links lead somewhere."""
    book = contract_program().book
    text, reader = page_of(contract_program())
    assert reader.open == [] and reader.wrong == []
    assert len(reader.ids) == len(set(reader.ids))
    assert {link[1:] for link in reader.links} <= set(reader.ids) and all(link.startswith("#") for link in reader.links)
    for rule_facts in book.rules.values():
        assert rule_facts.article in reader.text
        assert rule_facts.title["zh"] in reader.text and rule_facts.title["en"] in reader.text
    for parameter in book.params.values():
        assert all(value.source in reader.text for value in parameter.values)
    codes = [kind.code for kind in book.kinds.values() if kind.code]
    assert len(codes) == len(set(codes)) > 80
    for kind in book.kinds.values():
        assert f"kind-{kind.name}" in reader.ids and kind.code in reader.text
        assert all(field.title["zh"] in reader.text and field.title["en"] in reader.text for field in kind.fields)
    for code, entry in book.texts.items():
        assert code in reader.text and entry.title["zh"] in reader.text
    for data in book.cases.values():
        for name in re.findall(r'^name = "(.+)"$', data.decode(), re.MULTILINE):
            assert name in reader.text
    assert reader.text.count("法律未规定") >= sum(
        isinstance(value.value, dict) and "open" in value.value
        for each in book.params.values()
        for value in each.values
    )
    assert text.count("<svg") == len(book.tables)
    assert "<script" not in text and "src=" not in text and "@import" not in text and "url(" not in text


def test_nothing_of_a_rulebook_becomes_markup() -> None:
    """Titles, sources and texts that look like markup are shown as they are."""
    evil = "<script>alert(1)</script>"
    params = PARAMS.replace("LAW 1", f"LAW {evil}")
    texts = TEXTS.replace('en = "One"', f'en = "{evil}"')
    text, reader = page_of(tiny(rule(f"def on_thing_do(event, state, env):\n    return alert('look', x='{evil}')\n"),
                                params=params, texts=texts))  # fmt: skip
    assert "<script" not in text and reader.text.count(evil) >= 3


def test_markdown_has_drawings_beside_it(tmp_path: Path) -> None:
    """A name in .md gives a page with a picture file for each table; a name in .html one file; both are told."""
    ran = ledger("rules", "docs", CONTRACT, "--out", tmp_path / "book.md", "--json")
    tables = contract_program().book.tables
    assert sorted(Path(each).name for each in ran.json["files"]) == sorted(
        ["book.md", *(f"book.{name}.svg" for name in tables)]
    )
    source = (tmp_path / "book.md").read_text("utf-8")
    assert all(f"](book.{name}.svg)" in source and (tmp_path / f"book.{name}.svg").exists() for name in tables)
    widths = {row.count(" |") for row in re.findall(r"^\| .*\|$", source, re.MULTILINE)}
    assert widths and ledger("rules", "docs", CONTRACT, "--out", tmp_path / "book.html").code == 0
    assert (tmp_path / "book.html").read_text("utf-8").startswith("<!doctype html>")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_a_name_says_what_is_in_the_file(tmp_path: Path) -> None:
    """A suffix of another format is refused in both languages and nothing is written; .htm, capitals and no suffix are HTML."""
    for name in ("a.pdf", "a.html.txt", "a."):
        for language, words in (("en", "HTML or Markdown"), ("zh", "HTML 和 Markdown")):
            ran = ledger("rules", "docs", GDPR, "--out", tmp_path / name, "--lang", language)
            assert ran.code == Exit.USAGE and "[page-suffix]" in ran.err
            assert words in ran.err and ".html, .htm, .md" in ran.err and str(tmp_path / name) in ran.err
    assert list(tmp_path.iterdir()) == []
    for name in ("a.htm", "a.HTML", "page"):
        assert ledger("rules", "docs", GDPR, "--out", tmp_path / name).code == 0
        assert (tmp_path / name).read_text("utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize("name", ["missing/a.html", "missing/a.md", "folder.html", "file/a.html"])
def test_what_cannot_be_written_is_named_as_the_user_named_it(name: str, tmp_path: Path) -> None:
    """A missing folder, a folder for a file and a file for a folder are told of the path given, not of a name of our own."""
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "file").write_bytes(b"")
    ran = ledger("rules", "docs", GDPR, "--out", tmp_path / name, "--json")
    assert ran.code == Exit.OPERATIONAL and ran.json["error"]["code"] == "file"
    assert ran.json["error"]["evidence"]["path"] == str(tmp_path / name) and ".part" not in ran.out + ran.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.html"]


def test_a_drawing_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Where a folder has the name of a drawing beside the page, the error names that drawing, and no part stays behind."""
    (tmp_path / "a.demand.svg").mkdir()
    ran = ledger("rules", "docs", GDPR, "--out", tmp_path / "a.md", "--json")
    assert ran.json["error"]["evidence"]["path"] == str(tmp_path / "a.demand.svg")
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []


def test_without_a_file_the_page_is_the_output() -> None:
    """Without --out HTML goes to stdout, and under --json into the one document."""
    page = ledger("rules", "docs", CONTRACT).out
    assert page.startswith("<!doctype html>") and ledger("rules", "docs", CONTRACT, "--json").json["html"] == page


@pytest.mark.parametrize(
    ("cell", "html", "markdown"),
    [
        (
            Both("甲<", "A|"),
            '<span class="zh" lang="zh">甲&lt;</span> <span class="en" lang="en">A|</span>',
            "甲\\< · A\\|",
        ),
        (Code("a|b"), "<code>a|b</code>", "`a\\|b`"),
        (Link("x", "y-1"), '<a href="#y-1">x</a>', "[x](#y-1)"),
        (["a*", Code("")], "a*", "a\\*"),
    ],
)
def test_cells_are_escaped(cell: object, html: str, markdown: str) -> None:
    """Each kind of cell is escaped for its page."""
    page, text = HtmlPage(Both("", "")), MarkdownPage("x")
    page.table(["h"], [[cell]])
    text.table(["h"], [[cell]])
    assert f"<td>{html}</td>" in page.parts[0]
    assert text.parts[0].endswith(f"| {markdown} |")
