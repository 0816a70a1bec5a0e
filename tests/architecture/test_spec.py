"""Every requirement of docs/SPEC.md is cited by code or a test, and every citation names one that exists."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

from tests.architecture.tree import ROOT, files, report, text

SPEC = "docs/SPEC.md"
DEFINITION = re.compile(r"\*\*(R-[A-Z]+\d+)\*\*")
CITATION = re.compile(r"\b(R-[A-Z]+)(\d+)\b(?:\s*(?:to|–|…)\s*(?:R-[A-Z]+)?(\d+)\b)?")
CITING = ("src/", "node/src/", "tests/", "scripts/", "contracts/")
SUFFIXES = (".py", ".json", ".toml", ".go", ".js", ".txt")
NOT_CITING = "tests/architecture/"  # its examples are not citations


def definitions(spec: str) -> dict[str, int]:
    """Requirement ids with the line that defines them; the first definition counts."""
    found: dict[str, int] = {}
    for number, line in enumerate(spec.splitlines(), start=1):
        for name in DEFINITION.findall(line):
            found.setdefault(name, number)
    return found


def citations(path: str, content: str) -> Iterable[tuple[str, str, str]]:
    """(first id, last id, `path:line`) of each citation; first = last where it is not a range."""
    for number, line in enumerate(content.splitlines(), start=1):
        for family, first, last in CITATION.findall(line):
            yield family + first, family + (last or first), f"{path}:{number}"


def judge(spec: str, cited: Iterable[tuple[str, str, str]]) -> list[str]:
    """What is wrong: citations of nothing, requirements that nothing cites, ids that are defined twice."""
    defined = definitions(spec)
    used: set[str] = set()
    problems = []
    for first, last, where in cited:
        problems += [
            f"{where}: {name} is not in {SPEC} — correct the number, or write the requirement"
            for name in dict.fromkeys((first, last))
            if name not in defined
        ]
        family, low, high = first.rstrip("0123456789"), _number(first), _number(last)
        used |= {name for name in defined if name.rstrip("0123456789") == family and low <= _number(name) <= high}
    problems += [
        f"{SPEC}:{line}: {name} is cited by no code and no test — cite it where it is met and where it is tested"
        for name, line in defined.items()
        if name not in used
    ]
    counts = DEFINITION.findall(spec)
    problems += [
        f"{SPEC}:{defined[name]}: {name} is defined twice — give the later one a number of its own"
        for name in defined
        if counts.count(name) > 1
    ]
    return problems


def _number(name: str) -> int:
    return int(re.sub(r"\D", "", name))


def test_judge_finds_each_fault() -> None:
    """A missing, an unknown and a doubled requirement are each reported with their place; a range cites its span."""
    spec = "- **R-X01** a\n- **R-X02** b\n- **R-X05** c\n- **R-Y01** d\n- **R-Y01** e\n"
    code = "# R-X01 to R-X02, R-Y01, SPEC R-X09\n"
    problems = [problem.partition(" — ")[0] for problem in judge(spec, citations("src/a.py", code))]
    assert problems == [
        "src/a.py:1: R-X09 is not in docs/SPEC.md",
        "docs/SPEC.md:3: R-X05 is cited by no code and no test",
        "docs/SPEC.md:4: R-Y01 is defined twice",
    ]


def test_every_requirement_is_cited_and_every_citation_exists() -> None:
    """docs/SPEC.md and the citations in code, vectors and tests agree."""
    if not (ROOT / SPEC).exists():
        pytest.skip(f"{SPEC} does not exist yet")
    cited = [
        citation
        for path in files()
        if path.startswith(CITING) and path.endswith(SUFFIXES) and not path.startswith(NOT_CITING)
        for citation in citations(path, text(path))
    ]
    problems = judge(text(SPEC), cited)
    assert not problems, report(problems)
