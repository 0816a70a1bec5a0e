"""The tutorial, run as it stands: its files are written, its commands run in order in one shell, both languages alike."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT
from tests.docs.markdown import Block, blocks
from tests.docs.test_snippets import PORT, SESSION_S, commands, environment, free_ports, run

TUTORIAL = "docs/TUTORIAL.md"
FILE = re.compile(r"\bfile=(\S+)")

__all__ = ["environment"]  # a fixture


def program(parts: list[Block], folder: Path) -> str:
    """A bash program that writes the files and runs the commands of `parts` in order, and stops at the first surprise."""
    lines = ["trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT"]
    for number, part in enumerate(parts):
        named = FILE.search(part.info)
        kept = folder / f"block{number}"
        if named or part.language == "python":
            kept.write_text(part.body, encoding="utf-8")
        if named:
            lines.append(f"cp {shlex.quote(str(kept))} {shlex.quote(named[1])} || exit 91")
        elif part.is_run:
            python = f"{shlex.quote(sys.executable)} {shlex.quote(str(kept))}"
            for command, wanted in [(python, 0)] if part.language == "python" else commands(part.body):
                where = shlex.quote(f"line {part.line}: {command}")
                lines += [
                    command,
                    f"code=$?; [ $code -eq {wanted} ] || {{ echo {where} ended with $code >&2; exit 90; }}",
                ]
    return "\n".join(lines) + "\n"


@pytest.mark.slow
@pytest.mark.timeout(SESSION_S + 60)
def test_tutorial_session(tmp_path: Path, environment: dict[str, str]) -> None:
    """Who types the tutorial gets a checked rulebook, a refusal that is explained, and a difference that is shown."""
    folder = tmp_path / "session"
    folder.mkdir()
    (folder / "contracts").symlink_to(ROOT / "contracts")
    base = free_ports()
    parts = [Block(part.info, re.sub(rf"\b{PORT}\b", str(base), part.body), part.line) for part in blocks(TUTORIAL)]
    done = run(program(parts, tmp_path), folder, environment)
    assert done.returncode == 0, done.stdout[-6000:]
    for words in (
        "0 errors, 0 warnings",
        "3 passed, 0 failed",
        "R33 not-head",
        "R33 Time to answer",
        "1 verdict differs",
    ):
        assert words in done.stdout, f"{words!r} was not said:\n{done.stdout[-6000:]}"
    page = (folder / "disclosure.html").read_text("utf-8")
    assert "答复期限" in page and "<svg" in page


def test_every_block_is_written_or_run() -> None:
    """No block of the tutorial is decoration."""
    left = [part.line for part in blocks(TUTORIAL) if not part.is_run and not FILE.search(part.info)]
    assert not left
