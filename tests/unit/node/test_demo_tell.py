"""What the demo says, on screens of any width."""

from __future__ import annotations

import pytest

from ledger.cli.tables import width

tell = pytest.importorskip("ledger_node.demo.tell", reason="suyuan-node is not installed")
COMMAND = "ledger verify http://127.0.0.1:8650 --origin " + "x" * 60


@pytest.mark.parametrize(
    ("language", "text"), [("zh", "四个部门共同排序。" * 20), ("en", "four departments order " * 12)]
)
def test_a_demo_keeps_to_the_screen(
    language: str, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Chapters and facts are broken to the screen's width in both languages; a command stays whole, to be copied."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LEDGER_LANG", language)
    teller = tell.Teller()
    for say in (teller.chapter, teller.fact, teller.good):
        say(text, text)
    teller.command(COMMAND)
    *lines, command = capsys.readouterr().out.splitlines()
    assert len(lines) > 6 and max(map(width, lines)) <= 80 and command.strip() == COMMAND
