"""When the quorum is missing: events are recorded, said to be uncertified, and no answer shows them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ledger.core.proof import CompletenessResult, verify_proof
from tests.models.live_node import DAY_MS, LiveNode, live_node, tell_story

LISTS = (
    "/v1/events?limit=1000", "/v1/datasets", "/v1/objects/application", "/v1/findings", "/v1/duties", "/v1/members",
    "/v1/datasets/ga/hukou/timeline", "/v1/datasets/ga/hukou/lineage?depth=5", "/v1/members/rs/events", "/v1/search?q=rs/",
    "/v1/streams/finding/d809/39-4", "/v1/timers?state=overdue",
)  # fmt: skip


@pytest.fixture(scope="module")
def stuck(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveNode, dict[str, Any]]]:
    """A node whose only cosigner stopped after the story, with what it answered at that moment; then more was recorded."""
    with live_node(tmp_path_factory.mktemp("stuck") / "net", **{"http.certified_wait_s": 0.5}) as live:
        tell_story(live)
        before = {path: live.client.get(path).json() for path in LISTS}
        assert live.node.cosigner is not None
        live.node.cosigner.close()
        time.sleep(0.3)
        refs = {"dataset": "ga/hukou"}
        asked = {"basis": "b", "purpose": "pension-check", "items": ["status"], "method": "api", "until": "2026-12-31"}
        for _ in range(3):
            answer = live.post(live.sign("rs", [live.event("share.apply", refs, **asked)], "office"), "")
            assert answer.json()["certified"] is False
        live.step(60 * DAY_MS)
        yield live, before


@pytest.mark.parametrize("path", LISTS)
def test_answers_stay_with_the_certified_state(stuck: tuple[LiveNode, dict[str, Any]], path: str) -> None:
    """Nothing that is merely written shows in any answer: not an entry, a count, an edge or a finding."""
    live, before = stuck
    found = live.client.get(path)
    assert found.status_code == 200, found.text
    now, then = found.json(), before[path]
    assert now["checkpoint"]["size"] == then["checkpoint"]["size"] < live.node.head.size
    now.pop("checkpoint"), then.pop("checkpoint", None)
    assert now == then
    then["checkpoint"] = {"size": found.json()["checkpoint"]["size"]}  # the next parameter may look again


def test_proofs_are_of_the_certified_state(stuck: tuple[LiveNode, dict[str, Any]]) -> None:
    """Undo layers take the state map back: proofs still verify, of streams that have grown since and of objects."""
    live, _ = stuck
    for path in (
        "datasets/ga/hukou/timeline",
        "members/rs/events",
        "streams/finding/d809/39-4",
        "datasets/ga/new/timeline",
    ):
        page = live.client.get(f"/v1/{path}?proof=full").json()
        file = json.dumps(page["proof"], ensure_ascii=False, separators=(",", ":")).encode()
        result = verify_proof(file, live.trust)
        assert isinstance(result, CompletenessResult)
        assert result.size == page["count"]


def test_an_uncertified_event_is_not_shown_and_has_no_receipt(stuck: tuple[LiveNode, dict[str, Any]]) -> None:
    """It is 404 by name, with the advice to ask again, though the block with it is served to followers."""
    live, _ = stuck
    event = live.event("use.access", {"dataset": "ga/hukou", "grant": live.ids["grant"]}, count=1)
    live.post(live.sign("rs", [event]), "")
    for path in (f"/v1/events/rs/{event.id}", f"/v1/events/rs/{event.id}/receipt"):
        answer = live.client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "event")
    height = live.node.head.height
    assert event.id.encode() in live.client.get(f"/v1/blocks?from={height}").content


def test_waiting_for_a_certificate_ends(stuck: tuple[LiveNode, dict[str, Any]]) -> None:
    """503 says that the events are recorded and what to do; the same again gets the first receipt, with nothing doubled."""
    live, _ = stuck
    event = live.event("use.access", {"dataset": "ga/hukou", "grant": live.ids["grant"]}, count=1)
    submission = live.sign("rs", [event])
    for query in ("?ack=certified", "?receipt=full"):
        answer = live.post(submission, query)
        body = answer.json()
        assert (answer.status_code, body["code"]) == (503, "certificate-wait")
        assert body["evidence"]["recorded"] is True
        assert int(answer.headers["retry-after"]) > 0
        assert "send the same submission again" in body["detail"]
    size = live.node.head.size
    again = live.post(submission, "").json()
    assert (again["certified"], again["events"][0]["duplicate"]) == (False, True)
    assert live.node.head.size == size


def test_readiness_says_why(stuck: tuple[LiveNode, dict[str, Any]]) -> None:
    """The metrics count the blocks that wait."""
    live, _ = stuck
    text = live.client.get("/metrics").text
    waiting = next(line for line in text.splitlines() if line.startswith("ledger_uncertified_blocks "))
    assert float(waiting.split()[1]) == live.node.head.height - live.node.certificates.certified().height


def test_a_node_that_writes_no_more(tmp_path_factory: pytest.TempPathFactory) -> None:
    """It still answers readers; writers get 503 and keep their events."""
    with live_node(tmp_path_factory.mktemp("stopped") / "net") as live:
        tell_story(live)
        submission = live.sign(
            "rs", [live.event("use.access", {"dataset": "ga/hukou", "grant": live.ids["grant"]}, count=1)]
        )
        live.node.engine._closing.set()
        live.node.engine._thread.join(10)
        answer = live.post(submission)
        assert (answer.status_code, answer.json()["code"]) == (503, "engine-stopped")
        assert "retry-after" in answer.headers
        draft = {"kind": "use.access", "member": "rs", "body": {}}
        assert live.client.post("/v1/events", json=draft, headers=live.token).status_code == 503
        assert live.client.get("/v1/datasets/ga/hukou/timeline?proof=full").status_code == 200
        assert live.client.get("/v1/findings").json()["count"] == 1
