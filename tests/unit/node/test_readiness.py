"""What a node says of itself beside whether it works."""

from __future__ import annotations

from pathlib import Path

from ledger.adapters.ordering.evidence import keep_evidence
from ledger_node.comet.process import LOG, last_error
from ledger_node.readiness import NAMES_MAX, checks_of
from tests.models.live_node import LiveNode


def test_evidence_is_named_and_harms_nobody(live: LiveNode) -> None:
    """What another node signed is told by file name, the newest first, and this node stays ready."""
    node = live.node
    for number in range(NAMES_MAX + 2):
        keep_evidence(node.evidence, "fork-note", str(number).encode(), {})
    try:
        checks = {name: (ok, detail) for name, ok, detail in checks_of(node, writable=True)}
        ok, detail = checks["evidence"]
        assert ok
        assert detail.count("fork-note-") == NAMES_MAX
        assert detail.endswith("and 2 more")
    finally:
        for path in node.evidence.iterdir():
            path.unlink()
    checks = {name: (ok, detail) for name, ok, detail in checks_of(node, writable=False)}
    assert checks["evidence"] == (True, "")
    assert checks["engine"] == (False, "")


def test_the_last_word_of_cometbft_is_quoted(tmp_path: Path) -> None:
    """The end of its log, shortened; nothing where there is no log."""
    assert last_error(tmp_path) == ""
    (tmp_path / LOG).write_text("first\n" + "x" * 9_000 + "\npanic: the reason\n")
    assert last_error(tmp_path) == "panic: the reason"
    (tmp_path / LOG).write_text("")
    assert last_error(tmp_path) == ""
