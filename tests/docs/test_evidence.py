"""docs/EVIDENCE.md: its session runs as it stands and prints what it says, and every test that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT, text
from tests.docs.markdown import Block, blocks, tables
from tests.docs.test_snippets import PORT, SESSION_S, environment, free_ports, run, script

__all__ = ["environment"]

PAGE = "docs/EVIDENCE.md"
TEST = re.compile(r"`(tests/[\w/.]+)`")


def moved(body: str, base: int) -> str:
    """The text with the session's ports."""
    return re.sub(r"\b86(5\d)\b", lambda found: str(base + int(f"86{found[1]}") - PORT), body)


def unprinted(wanted: str, printed: str) -> list[str]:
    """Lines that were not printed as whole lines, in this order; `…` stands for anything."""
    lines = iter(printed.splitlines())
    missing = []
    for line in wanted.splitlines():
        pattern = re.compile(".*".join(map(re.escape, line.split("…"))))
        if not any(pattern.fullmatch(each) for each in lines):
            missing.append(line)
    return missing


@pytest.mark.slow
@pytest.mark.timeout(SESSION_S + 60)
def test_session_prints_what_it_says(tmp_path: Path, environment: dict[str, str]) -> None:
    """Whoever types the page's commands gets its exit codes, and its lines in its order."""
    folder = tmp_path / "session"
    folder.mkdir()
    base = free_ports()
    page = blocks(PAGE)
    parts = [Block(part.info, moved(part.body, base), part.line) for part in page if part.is_run]
    done = run(script(parts, folder), folder, environment)
    assert done.returncode == 0, done.stdout[-6000:]
    said = "".join(moved(part.body, base) for part in page if part.language == "text")
    assert unprinted(said, done.stdout) == [], done.stdout[-6000:]


def test_a_line_that_was_not_printed_is_found() -> None:
    """A wrong line, a line out of order and half a line are each named; `…` fits what differs."""
    assert unprinted("a …\nb\n", "a 1\nx\nb\n") == []
    assert unprinted("b\na …\n", "a 1\nb\n") == ["a …"]
    assert unprinted("a\n", "a 1\n") == ["a"]


def test_every_section_names_what_it_printed() -> None:
    """Commands and output alternate: no block of commands is left without what it printed."""
    kinds = [part.language for part in blocks(PAGE)]
    assert kinds == ["sh", "text"] * (len(kinds) // 2)
    assert all(part.is_run for part in blocks(PAGE) if part.language == "sh")


def test_every_claim_has_a_test_that_is_there() -> None:
    """Each row names a file or folder of tests, and no other one."""
    rows = [row for table in tables(PAGE) for row in table[1:]]
    assert len(rows) > 20
    for claim, tests in rows:
        named = TEST.findall(tests)
        assert named, claim
        for path in named:
            found = ROOT / path
            assert found.is_dir() or re.search(r"^(def test_|Test\w+ = )", text(path), re.MULTILINE), f"{claim}: {path}"
