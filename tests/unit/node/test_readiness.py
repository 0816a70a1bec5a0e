"""What a node says of itself beside whether it works."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from ledger.adapters.ordering.evidence import keep_evidence
from ledger_node.comet.process import LOG, blocks_are_behind, last_error
from ledger_node.query.health import gauges, readiness
from ledger_node.query.indexer import Indexer
from ledger_node.readiness import NAMES_MAX, OPENING, checks_of
from ledger_node.wiring import Node
from tests.models.live_node import LiveNode


class Shorter:
    """A node whose ledger ends at another height; everything else is the real node's."""

    def __init__(self, node: Node, height: int) -> None:
        self._node = node
        self.head = SimpleNamespace(height=height, size=1, time=node.head.time)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)


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


def test_an_engine_that_is_not_open_says_what_it_waits_for(live: LiveNode) -> None:
    """The words of recovery, else that it is opening; once it writes there is nothing to say."""
    node = live.node
    for told, shown in (("", OPENING), ("1 of the 2 other cosigners", "1 of the 2 other cosigners")):
        node.waits_for = told
        assert ("engine", False, shown) in checks_of(node, writable=False)
    assert ("engine", True, "") in checks_of(node, writable=True)
    node.waits_for = ""


def test_a_ledger_that_lost_its_end_is_not_a_negative_number_of_blocks_behind(live: LiveNode) -> None:
    """Index and certificate may hold more blocks than a node that fetches its end again: none are missing there."""
    certified = live.node.certificates.certified()
    assert certified is not None
    node = cast("Node", Shorter(live.node, certified.height - 1))
    indexer = cast("Indexer", SimpleNamespace(failure=None, index=SimpleNamespace(height=certified.height)))
    checks = {check["name"]: check["detail"] for check in readiness(node, indexer)["checks"]}
    assert checks["index"] == "0 blocks behind"
    assert ("certificate", True, "0 blocks wait for a certificate") in checks_of(node, writable=True)
    found = gauges(node, indexer)
    assert (found["ledger_index_lag_blocks"], found["ledger_uncertified_blocks"]) == (0, 0)


def test_the_last_word_of_cometbft_is_quoted(tmp_path: Path) -> None:
    """The end of its log, shortened; nothing where there is no log."""
    assert last_error(tmp_path) == ""
    (tmp_path / LOG).write_text("first\n" + "x" * 9_000 + "\npanic: the reason\n")
    assert last_error(tmp_path) == "panic: the reason"
    (tmp_path / LOG).write_text("panic: the reason\n\ngoroutine 1 [running]:\nmain.main()\n\tmain.go:52 +0x21f\n" * 2)
    assert last_error(tmp_path) == "panic: the reason", "never a frame of the stack"
    said = "panic: app block height (24) is higher than core (0)"
    assert blocks_are_behind(said) and not blocks_are_behind("panic: the reason")
    (tmp_path / LOG).write_text("")
    assert last_error(tmp_path) == ""
