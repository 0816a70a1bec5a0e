"""Decides whether a bundle of files is a rulebook, and reads its declarations.

Rules: `rulebook.toml` (id, version, zone …), `kinds/*.toml`, `objects.toml`, `tables.toml`, `params.toml`, `texts.toml`,
`reports.toml`, `overlays/*.toml`, `rules/<ID>.py`, `cases/<ID>.toml`; every file is known, every declaration closed,
everything for people in zh and en.
Never here: how declarations and rules fit together (see `compiler`), files of a disk.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ledger.rules.calendar import day_number, merge_calendars
from ledger.rules.check import check_rule
from ledger.rules.facts import RuleFacts
from ledger.rules.grammar import LANGUAGE_VERSION
from ledger.rules.kinds import Field, Kind, ObjectKind, Reader, Title, parse_field, parse_kind, parse_objects, refuse
from ledger.rules.overlay import Overlay, local_params, parse_overlay
from ledger.rules.params import Parameter, parse_params
from ledger.rules.sections import Section, parse_sections
from ledger.rules.tables import Table, parse_tables

MANIFEST: Final = "rulebook.toml"
TEXT_TYPES: Final = ("refusal", "finding", "alert")
_ZONE: Final = re.compile(r"([+-])([01][0-9]):([0-5][0-9])").fullmatch
_CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}").fullmatch
_KNOWN: Final = re.compile(
    r"rulebook\.toml|kinds/[a-z0-9-]+\.toml|objects\.toml|tables\.toml|params\.toml|texts\.toml|reports\.toml"
    r"|overlays/[a-z0-9-]+\.toml"
    r"|rules/[A-Za-z0-9]+\.py|cases/[A-Za-z0-9_]+\.toml|[A-Za-z0-9._-]+\.md"
).fullmatch


@dataclass(frozen=True, slots=True)
class Text:
    """What a code means, for people. `first`: day number from which a finding's code is law (0: always)."""

    code: str
    type: str
    title: Title
    article: str
    first: int


@dataclass(frozen=True, slots=True)
class Rulebook:
    """A parsed rulebook: declarations and checked rule files, not yet fitted together.

    `articles` says how many articles a source has, where the rulebook states it.
    """

    id: str
    version: str
    title: Title
    jurisdiction: str
    effective: str
    zone: str
    zone_ms: int
    sources: dict[str, Title]
    articles: dict[str, int]
    kinds: dict[str, Kind]
    objects: dict[str, ObjectKind]
    tables: dict[str, Table]
    params: dict[str, Parameter]
    overlays: dict[str, Overlay]
    texts: dict[str, Text]
    sections: tuple[Section, ...]
    rules: dict[str, RuleFacts]
    calendar: tuple[int, int, list[int]]
    cases: dict[str, bytes]


def parse_rulebook(files: Mapping[str, bytes], calendars: Mapping[str, bytes]) -> Rulebook:
    """The rulebook in `files` (paths relative to its folder) with its calendar files. Raises `MalformedError`."""
    for path in sorted(files):
        if not _KNOWN(path):
            refuse(path, "", "a rulebook has no such file", "see the author's reference for the files of a rulebook")
    manifest = Reader(MANIFEST, "", read_toml(files, MANIFEST))
    common = tuple(parse_field(manifest, name, spec) for name, spec in manifest.take("common", dict, {}).items())
    zone = manifest.take("zone", str, ...)
    sources, articles = _sources(manifest)
    kinds = _kinds(files, common)
    objects = parse_objects("objects.toml", read_toml(files, "objects.toml"))
    rules = {facts.id: facts for facts in (check_rule(p, files[p]) for p in sorted(files) if p.startswith("rules/"))}
    params = parse_params("params.toml", read_toml(files, "params.toml"))
    overlays = _overlays(files, params)
    read = {name: rule.file for rule in rules.values() for f in rule.functions.values() for name in f.parameters_used}
    params |= local_params(overlays, params, read)
    if manifest.take("language", int, ...) != LANGUAGE_VERSION:
        manifest.fail(f"this software speaks language {LANGUAGE_VERSION}")
    spoken = parse_texts(read_toml(files, "texts.toml"))
    book = Rulebook(
        id=manifest.take("id", str, ...),
        version=manifest.take("version", str, ...),
        title=manifest.title(),
        jurisdiction=manifest.take("jurisdiction", str, ...),
        effective=manifest.take("effective", str, ...),
        zone=zone,
        zone_ms=_zone_ms(zone),
        sources=sources,
        articles=articles,
        kinds=kinds,
        objects=objects,
        tables=parse_tables("tables.toml", read_toml(files, "tables.toml"), kinds, objects),
        params=params,
        overlays=overlays,
        texts=spoken,
        sections=parse_sections(read_toml(files, "reports.toml"), objects, kinds, spoken),
        rules=rules,
        calendar=merge_calendars(calendars, zone),
        cases={path: files[path] for path in sorted(files) if path.startswith("cases/")},
    )
    manifest.done()
    day_number(MANIFEST, book.effective)
    return book


def read_toml(files: Mapping[str, bytes], path: str) -> dict[str, Any]:
    """One TOML file of a rulebook, {} for one that may be missing. Raises `MalformedError`."""
    if path not in files:
        if path in (MANIFEST, "objects.toml", "texts.toml"):
            refuse(path, "", "the file is missing")
        return {}
    try:
        return tomllib.loads(files[path].decode("utf-8", "strict"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        refuse(path, "", f"not TOML: {error}")


def _kinds(files: Mapping[str, bytes], common: tuple[Field, ...]) -> dict[str, Kind]:
    found: dict[str, Kind] = {}
    for path in sorted(files):
        if path.startswith("kinds/"):
            for name, table in read_toml(files, path).items():
                if name in found:
                    refuse(path, name, f"declared in {found[name].file} already")
                found[name] = parse_kind(path, name, table, common)
    if not found:
        refuse("kinds/", "", "no kind is declared")
    return found


def _overlays(files: Mapping[str, bytes], params: dict[str, Parameter]) -> dict[str, Overlay]:
    found: dict[str, Overlay] = {}
    for path in sorted(files):
        if path.startswith("overlays/"):
            overlay = parse_overlay(path, read_toml(files, path), params)
            if overlay.jurisdiction in found:
                refuse(path, "jurisdiction", f"declared in {found[overlay.jurisdiction].file} already")
            found[overlay.jurisdiction] = overlay
    return found


def _zone_ms(zone: str) -> int:
    match = _ZONE(zone)
    if match is None:
        refuse(MANIFEST, "zone", "not a zone", "+08:00")
    minutes = int(match[2]) * 60 + int(match[3])
    return (minutes if match[1] == "+" else -minutes) * 60_000


def _sources(manifest: Reader) -> tuple[dict[str, Title], dict[str, int]]:
    """(titles by name, number of articles where it is stated) of the laws that the rulebook cites."""
    found: dict[str, Title] = {}
    articles: dict[str, int] = {}
    for name, table in manifest.take("sources", dict, {}).items():
        entry = Reader(MANIFEST, f"sources.{name}", table)
        found[name] = entry.title()
        count = entry.take("articles", int)
        if count is not None:
            articles[name] = count
        entry.done()
    return found, articles


def parse_texts(document: dict[str, Any]) -> dict[str, Text]:
    """Texts by code. Raises `MalformedError`."""
    found: dict[str, Text] = {}
    for code, table in document.items():
        entry = Reader("texts.toml", code, table)
        kind = entry.take("type", str, ...)
        if not _CODE(code) or kind not in TEXT_TYPES:
            entry.fail("a code is at most 64 letters, digits and ._/-; type is " + ", ".join(TEXT_TYPES))
        first = entry.take("from", str)
        found[code] = Text(
            code,
            kind,
            entry.title(),
            entry.take("article", str, ""),
            0 if first is None else day_number("texts.toml", first),
        )
        entry.done()
    return found
