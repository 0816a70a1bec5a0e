"""Checks what a rulebook cites: every article belongs to a source that it names, and exists where their number is stated.

Rules: a citation is `<source> Art. <numbers>`, the source by its key in `rulebook.toml` or by words of its title; a code
of a finding such as `D809/39-4` cites the article before the dash. Where the law is silent the source of a value says
"not set by law", and only there. Not here: what the articles say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from ledger.rules.places import line_of
from ledger.rules.remark import ERROR, WARNING, Remark
from ledger.rules.rulebook import Rulebook

NOT_SET: Final = "not set by law"
_ARTICLE: Final = re.compile(r"([A-Z][^;:,.()]*?) Arts?\. ?(\d+(?:\(\d+\))*(?:(?:, | to | and |–|-)\d+(?:\(\d+\))*)*)")
_NUMBER: Final = re.compile(r"(?<![\d(])(\d+)(?![\d)]*\))")
_CODE: Final = re.compile(r"([A-Za-z][A-Za-z0-9]*)/(\d+)(?:[-./].*)?").fullmatch
_TITLE_CHARS_MIN: Final = 4

Citation = tuple[str, str, str, str]
"""(file, where, source as written, numbers as written)."""


def citations(book: Rulebook, files: Mapping[str, bytes]) -> Iterator[Remark]:
    """Remarks on unknown sources, articles beyond the last one, rules and findings without an article, silent points."""
    for file, where, source, numbers in _cited(book):
        line = line_of(files.get(file, b""), where) if where else 1
        key = _source(book, source)
        if key is None:
            yield Remark("article-unknown", ERROR, file, line, (("source", source), ("numbers", numbers)))
            continue
        last = book.articles.get(key)
        for number in (int(each) for each in _NUMBER.findall(numbers)):
            if last is not None and not 1 <= number <= last:
                values = (("source", key), ("number", str(number)), ("last", str(last)))
                yield Remark("article-beyond", ERROR, file, line, values)
    for rule in book.rules.values():
        if not _ARTICLE.search(rule.article):
            yield Remark("article-missing", WARNING, rule.file, 1, (("what", rule.id),))
    for code, text in book.texts.items():
        if text.type == "finding" and not _ARTICLE.search(text.article) and not _CODE(code):
            yield Remark(
                "article-missing", WARNING, "texts.toml", line_of(files.get("texts.toml", b""), code), (("what", code),)
            )
    for parameter in book.params.values():
        for value in parameter.values:
            is_open = isinstance(value.value, dict) and set(value.value) == {"open", "strict", "lenient"}
            if is_open != value.source.startswith(NOT_SET):
                line = line_of(files.get(parameter.file, b""), parameter.name)
                code = "open-unsaid" if is_open else "open-settled"
                yield Remark(code, ERROR, parameter.file, line, (("name", parameter.name),))


def cited_sources(book: Rulebook) -> set[str]:
    """Keys of the sources that are cited somewhere."""
    found = {_source(book, source) for _, _, source, _ in _cited(book)}
    # The prose of a rule cites as people write, so that a source is looked for in it, and never missed.
    found |= {_source(book, source) for rule in book.rules.values() for source, _ in _ARTICLE.findall(rule.text)}
    return {key for key in found if key is not None}


def _cited(book: Rulebook) -> Iterator[Citation]:
    for rule in book.rules.values():
        for source, numbers in _ARTICLE.findall(rule.article):
            yield rule.file, "", source, numbers
    for code, text in book.texts.items():
        for source, numbers in _ARTICLE.findall(text.article):
            yield "texts.toml", code, source, numbers
        match = _CODE(code)
        if match is not None:
            yield "texts.toml", code, match[1], match[2]
    for parameter in book.params.values():
        for value in parameter.values:
            for source, numbers in _ARTICLE.findall(value.source):
                yield parameter.file, parameter.name, source, numbers
    for overlay in book.overlays.values():
        for left in overlay.left_out:
            for source, numbers in _ARTICLE.findall(left.article):
                yield overlay.file, "left_out", source, numbers


def _source(book: Rulebook, written: str) -> str | None:
    """The key of a source by its key or by words of its title; the longest tail of `written` counts."""
    words = written.split()
    for start in range(len(words)):
        name = " ".join(words[start:])
        if name in book.sources:
            return name
        if len(name) >= _TITLE_CHARS_MIN:
            for key, title in book.sources.items():
                if re.search(rf"(?<!\w){re.escape(name.lower())}(?!\w)", title["en"].lower()):
                    return key
    return None
