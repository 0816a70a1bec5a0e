"""A node after bodies were erased: it says so, and what it still shows proves itself."""

from __future__ import annotations

import json
from pathlib import Path

from ledger.core.proof import CompletenessResult, ReceiptResult, verify_proof
from tests.models.live_node import live_node, tell_story


def test_answers_prove_themselves_after_erasure(tmp_path: Path) -> None:
    """Of an erased body its hash is shown: timeline, completeness proof and receipt verify without it."""
    with live_node(tmp_path / "net") as live:
        tell_story(live)
        url = "/v1/datasets/ga/hukou/timeline"
        entry = live.client.get(url).json()["entries"][-1]
        assert entry["body"] is not None and "body_hash" not in entry
        store = live.node.app.store
        assert live.node.engine.call(lambda: store.erase_bodies([entry["seq"]])).result(30) == 1  # type: ignore[attr-defined]
        gone = live.client.get(url).json()["entries"][-1]
        assert gone["body"] is None
        assert {**gone, "body": entry["body"]} == {**entry, "body_hash": gone["body_hash"]}
        proof = live.client.get(f"{url}?proof=full").json()["proof"]
        text = json.dumps(proof, ensure_ascii=False, separators=(",", ":")).encode()
        page = verify_proof(text, live.trust)
        assert isinstance(page, CompletenessResult)
        shown = proof["entries"][-1]
        assert shown["body_hash"] == gone["body_hash"] and "body" not in shown
        name = f"{entry['leaf']['member']}/{entry['leaf']['id']}"
        receipt = verify_proof(live.client.get(f"/v1/events/{name}/receipt").content, live.trust)
        assert isinstance(receipt, ReceiptResult)
        assert receipt.body is None
