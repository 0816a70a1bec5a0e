"""A real validator lets CometBFT's old blocks go while its ledger keeps every event, and starts again without them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.adapters.home.comethome import HOME
from ledger.adapters.home.keyfile import read_key
from ledger.adapters.home.network import MemberPlan, NetworkPlan, create_network, read_rulebook
from ledger.adapters.home.nodefile import event_key_file
from ledger.core.event import new_event
from ledger.core.ident import uuid7_at
from ledger.core.submission import Submission, new_submission
from ledger.errors import LedgerError

main = pytest.importorskip("ledger_node.__main__", reason="suyuan-node is not installed")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).resolve().parents[2]


def wait_for(holds: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
    until = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < until, f"not in time: {what}"
        time.sleep(0.05)


def test_old_blocks_go_and_every_event_stays(tmp_path: Path) -> None:
    """SPEC R-N64: CometBFT's first block moves up behind the limit; the ledger is whole, also after a start without them,
    and what CometBFT asked for had a legal order."""
    from ledger_node.comet.binary import find_binary
    from ledger_node.comet.engine import CometEngine
    from ledger_node.comet.grammar import check_calls
    from ledger_node.comet.pruning import Pruning
    from ledger_node.settings import load_settings
    from ledger_node.wiring import Node
    from tests.models.comet_rpc import earliest

    try:
        find_binary("")
    except LedgerError as error:
        pytest.skip(str(error))
    rulebook, calendars = read_rulebook(ROOT / "contracts" / "data-sharing")
    member = MemberPlan("ga", {"zh": "公安局", "en": "Public Security Bureau"}, ("department",))
    now = time.time_ns() // 1_000_000
    plan = NetworkPlan("pruning.test", [member], "", rulebook, calendars, now, engine="cometbft")
    made = create_network(tmp_path / "net", plan)
    folder = made.folders["ga"]
    signer = read_key(folder / event_key_file("ga"))

    heard: list[str] = []

    def opened() -> tuple[Node, CometEngine]:
        settings = load_settings(folder / "node.toml", {}, {"rules.runtime": "inline"}).settings
        node = Node(main.node_options(folder, settings))
        engine = node.engine
        assert isinstance(engine, CometEngine)
        # The window of the product is two days; this one is as long as this test.
        engine.handler.pruning = Pruning(6, evidence_blocks=4, evidence_ms=500, mark_every=1)
        engine.trace = heard.append
        node.start()
        wait_for(lambda: all(ok for _, ok, _ in node.ready()), "the node is ready")
        return node, engine

    def sent(number: int) -> Submission:
        when = time.time_ns() // 1_000_000
        event_id = uuid7_at(when, number.to_bytes(10, "big"))
        event = new_event(event_id=event_id, kind="none.such", refs={}, time_ms=when, salt=bytes(16), content={})
        return new_submission(made.genesis.origin, "ga", signer, [event])

    node, engine = opened()
    try:
        heights = [node.submit(sent(number)).result(30).height for number in range(12)]
        assert heights == sorted(heights) and earliest(folder / HOME) >= 1
        wait_for(lambda: earliest(folder / HOME) > 2, "old blocks are let go")
        assert earliest(folder / HOME) <= engine.handler.height - 6
        tail = node.head.size
    finally:
        node.close()
    node, _ = opened()
    try:
        node.submit(sent(99)).result(30)
        wait_for(lambda: earliest(folder / HOME) > 2, "they stay away")
        with node.reader.snapshot() as snap:
            blocks = [snap.block(height) for height in range(snap.head_height + 1)]
            assert blocks[-1].first_seq >= tail and blocks[0].first_seq == 0
            leaves = snap.leaves([block.first_seq for block in blocks[1:]])
            assert len(leaves) >= 13 and all(leaf.leaf for leaf in leaves)
    finally:
        node.close()
    assert "commit" in heard
    check_calls(heard)
