"""Writing over HTTP: signed submissions, JSON, NDJSON, replays, conflicts, levels of acknowledgement."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ledger import framing
from ledger.core.ident import uuid7_at
from ledger.core.proof import ReceiptResult, verify_proof
from tests.models.live_node import MSGPACK, LiveNode, time_text


def access(live: LiveNode, **content: Any) -> Any:
    refs = {"dataset": "ga/hukou", "grant": live.ids["grant"]}
    return live.event("use.access", refs, purpose="pension-check", items=["status"], count=1, **content)


def test_answer_of_a_submission(live: LiveNode) -> None:
    """Each event has its place and verdict, in order; the checkpoint covers them."""
    submission = live.sign("rs", [access(live), access(live)])
    answer = live.post(submission)
    assert answer.status_code == 201
    body = answer.json()
    assert [event["id"] for event in body["events"]] == [event.id for event in submission.events]
    assert [event["duplicate"] for event in body["events"]] == [False, False]
    assert body["events"][1]["seq"] == body["events"][0]["seq"] + 1
    assert body["certified"] is True
    assert body["checkpoint"].split("\n")[1] == str(body["size"])
    found = live.client.get(f"/v1/events/rs/{submission.events[0].id}").json()["entry"]
    assert (found["seq"], found["time"]) == (body["events"][0]["seq"], body["time"])


def test_replay_gets_the_first_receipt_again(live: LiveNode) -> None:
    """The same submission, and the same event in another one, are answered with the first record and leave no trace."""
    submission = live.sign("rs", [access(live)])
    first = live.post(submission).json()
    size = live.node.head.size
    again = live.post(submission)
    assert again.status_code == 201
    replayed = again.json()
    assert replayed["events"][0]["duplicate"] is True
    for name in ("height", "size", "time"):
        assert replayed[name] == first[name]
    assert replayed["events"][0] == {**first["events"][0], "duplicate": True}
    assert live.node.head.size == size
    mixed = live.post(live.sign("rs", [submission.events[0], access(live)])).json()
    assert [event["duplicate"] for event in mixed["events"]] == [True, False]
    assert mixed["events"][0]["seq"] == first["events"][0]["seq"]


def test_same_id_with_other_content_is_a_recorded_conflict(live: LiveNode) -> None:
    """409 with the refusal's place in the log; the same again answers the same; the event shows it as a conflict."""
    first = access(live)
    assert live.post(live.sign("rs", [first])).status_code == 201
    other = live.sign("rs", [access(live, event_id=first.id)])
    answer = live.post(other)
    assert answer.status_code == 409
    event = answer.json()["events"][0]
    assert (event["outcome"], event["verdict"]["reasons"]) == ("refused", [["ledger", "conflict", {}]])
    again = live.post(other)
    assert again.status_code == 409
    assert again.json()["events"][0]["seq"] == event["seq"]
    shown = live.client.get(f"/v1/events/rs/{first.id}").json()
    assert [entry["seq"] for entry in shown["conflicts"]] == [event["seq"]]


def test_refused_events_are_recorded(live: LiveNode) -> None:
    """A refusal by a rule is 201: it is in the log, with reasons."""
    submission = live.sign("rs", [live.event("share.apply", {"dataset": "ga/ghost"}, purpose="x")], "office")
    answer = live.post(submission)
    assert answer.status_code == 201
    assert answer.json()["events"][0]["outcome"] == "refused"


def test_full_receipts_come_with_the_answer(live: LiveNode) -> None:
    """`receipt=full` gives each event a receipt that verifies by itself."""
    submission = live.sign("rs", [access(live), access(live)])
    events = live.post(submission, "?receipt=full").json()["events"]
    for event, sent in zip(events, submission.events, strict=True):
        file = json.dumps(event["receipt"], ensure_ascii=False, separators=(",", ":")).encode()
        result = verify_proof(file, live.trust)
        assert isinstance(result, ReceiptResult)
        assert (result.record.id, result.index, result.not_checked) == (sent.id, event["seq"], ())


@pytest.mark.parametrize("query", ["?ack=soon", "?ack=committed&ack=certified", "?receipt=", "?x=1", "?ACK=committed"])
def test_unknown_wishes_are_refused(live: LiveNode, query: str) -> None:
    """A parameter that nobody knows is no wish to be guessed at."""
    answer = live.post(live.sign("rs", [access(live)]), query)
    assert (answer.status_code, answer.json()["code"]) == (422, "query")


def test_bad_submissions_are_named(live: LiveNode) -> None:
    """Bytes, envelope and signature refuse the whole before the log, with code and index; nothing is recorded."""
    size = live.node.head.size
    good = live.sign("rs", [access(live), access(live)])
    framed = framing.encode(good)
    other = live.sign("ga", [access(live)])
    cases: list[tuple[bytes, str]] = [
        (b"", "framing"),
        (b"\xc1" * 100, "framing"),
        (framed[:-1] + bytes((framed[-1] ^ 1,)), "submission-signature"),
        (framing.encode(live.sign("sj", [access(live)])).replace(b"\xa2sj", b"\xa2xx"), "member-unknown"),
        (framing.encode(other).replace(b"\xa2ga", b"\xa2rs"), "key-unknown"),
        (framed.replace(b"live.test", b"lime.test"), "network"),
    ]
    for body, code in cases:
        answer = live.client.post("/v1/submissions", content=body, headers=MSGPACK)
        assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    stale = live.event("use.access", {"grant": live.ids["grant"]}, event_id=uuid7_at(1_000_000, bytes(10)), n=1)
    answer = live.post(live.sign("rs", [access(live), stale]))
    assert (answer.status_code, answer.json()["code"], answer.json()["index"]) == (422, "event-time", 1)
    assert live.node.head.size == size


def test_many_writers_at_once(live: LiveNode) -> None:
    """Forty submissions in flight are each answered with their own events."""
    submissions = [live.sign("rs", [access(live)]) for _ in range(40)]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda each: live.post(each, ""), submissions))
    assert {answer.status_code for answer in answers} == {201}
    for answer, submission in zip(answers, submissions, strict=True):
        assert answer.json()["events"][0]["id"] == submission.events[0].id
    assert len({answer.json()["events"][0]["seq"] for answer in answers}) == 40


def test_json_events_are_completed_and_signed(live: LiveNode) -> None:
    """A local system states kind, refs and body; the node adds id, time and salt and signs for its member."""
    draft = {"kind": "use.access", "member": "rs", "refs": {"dataset": "ga/hukou", "grant": live.ids["grant"]},
             "body": {"purpose": "pension-check", "items": ["status"], "count": 2}}  # fmt: skip
    answer = live.client.post("/v1/events?ack=certified", json=draft, headers=live.token)
    assert answer.status_code == 201, answer.text
    event = answer.json()["events"][0]
    entry = live.client.get(f"/v1/events/rs/{event['id']}").json()["entry"]
    assert entry["head"]["time"] == time_text(answer.json()["time"])
    assert len(entry["body"]["salt"]) == 22
    many = {"member": "rs", "events": [{**draft, "member": None}, draft]}
    answer = live.client.post("/v1/events", json=many, headers=live.token)
    assert [event["outcome"] for event in answer.json()["events"]] == ["accepted", "accepted"]


def test_json_events_of_a_stranger_are_not_signed(live: LiveNode) -> None:
    """Without the token nothing is signed; a member whose key lies elsewhere cannot be spoken for."""
    draft = {"kind": "use.access", "member": "rs", "body": {}}
    for headers in (
        {},
        {"authorization": "Bearer x"},
        {"authorization": "Basic x"},
        {"cookie": live.token["authorization"]},
    ):
        answer = live.client.post("/v1/events", json=draft, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "token")
        assert answer.headers["www-authenticate"].startswith("Bearer")
    answer = live.client.post("/v1/events", json={**draft, "member": "zz"}, headers=live.token)
    assert (answer.status_code, answer.json()["code"]) == (404, "signer")
    answer = live.client.post("/v1/events", json={"kind": "use.access"}, headers=live.token)
    assert (answer.status_code, answer.json()["code"]) == (422, "draft-member")


def test_ndjson_answers_line_by_line(live: LiveNode) -> None:
    """Good lines are recorded, bad lines are answered in their place, members may change, blank lines are skipped."""
    refs = {"dataset": "ga/hukou", "grant": live.ids["grant"]}
    good = {
        "kind": "use.access",
        "member": "rs",
        "refs": refs,
        "body": {"purpose": "pension-check", "items": [], "count": 1},
    }
    lines = [
        json.dumps(good), "", "{not json", json.dumps({**good, "kind": "Bad"}), json.dumps({**good, "member": "ga"}),
        json.dumps({**good, "member": "zz"}), json.dumps(good),
    ]  # fmt: skip
    headers = live.token | {"content-type": "application/x-ndjson"}
    answer = live.client.post("/v1/events?ack=certified", content="\n".join(lines).encode(), headers=headers)
    assert answer.status_code == 201
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    found = [json.loads(line) for line in answer.text.splitlines()]
    assert [each.get("member") or each["problem"]["code"] for each in found] == [
        "rs",
        "draft",
        "identifier",
        "ga",
        "signer",
        "rs",
    ]


def test_clock_steps_need_the_token_and_go_forward(live: LiveNode) -> None:
    """Only a local operator steps simulated time, and never back."""
    step = {"time": time_text(live.node.head.time - 1_000)}
    assert live.client.post("/v1/clock", json=step).status_code == 401
    back = live.client.post("/v1/clock", json=step, headers=live.token)
    assert (back.status_code, back.json()["code"]) == (422, "clock-back")
    for body in (b"{}", b"[]", b'{"time":5}', b'{"time":"x","y":1}', b"\xff"):
        headers = live.token | {"content-type": "application/json"}
        assert live.client.post("/v1/clock", content=body, headers=headers).status_code == 422
