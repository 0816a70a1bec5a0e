"""What a node noticed of others: told in /readyz and /metrics, ended when it is right again, and never in the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from ledger.adapters.ordering.evidence import keep_evidence
from ledger.adapters.ordering.peers import Peer
from ledger.cli.exits import Exit
from ledger.errors import ForkError, MalformedError, UnavailableError
from ledger_node.alarms import ALARMS_MAX, Alarms
from ledger_node.readiness import NAMES_MAX
from tests.models.live_node import LiveNode
from tests.models.tiny_ledger import signer
from tests.unit.cli.runner import ledger

FORK = ForkError("fork", "two trees")
BAD = MalformedError("note", "no note")


def test_an_alarm_ends_when_its_source_is_right_again() -> None:
    """The newest error of a source counts; who signed two histories stays, whatever comes after it."""
    alarms = Alarms()
    alarms.add("http://a", BAD)
    alarms.add("http://b", BAD)
    alarms.add("http://b", FORK)
    alarms.add("http://b", BAD)
    assert alarms.codes() == {"fork": 1, "note": 1}
    for about in ("http://a", "http://b", "http://c"):
        alarms.end(about)
    assert alarms.found() == [("http://b", FORK)]


def test_alarms_are_bounded() -> None:
    """However many sources there are, memory is not theirs to fill; those that are known are kept up to date."""
    alarms = Alarms()
    for number in range(ALARMS_MAX + 10):
        alarms.add(f"http://{number}", BAD)
    alarms.add("http://0", FORK)
    assert alarms.codes() == {"fork": 1, "note": ALARMS_MAX - 1}


@pytest.fixture
def alarmed(live: LiveNode) -> Iterator[LiveNode]:
    """A node that noticed a fork and a wrong address, with evidence; as before afterwards."""
    node = live.node
    before, node.alarms = node.alarms, Alarms()
    node.alarms.add("http://127.0.0.1:9", FORK)
    node.alarms.add("rs", UnavailableError("peer-url", "expected http://host:port", got="ftp://x"))
    kept = keep_evidence(node.evidence, "fork-note", b"signed", {})
    yield live
    kept.unlink()
    node.alarms = before


def test_metrics_count_alarms_by_code(alarmed: LiveNode) -> None:
    """One series a code, one a check, and the files that are kept; the node is as ready as before."""
    text = alarmed.client.get("/metrics").text
    for line in (
        'ledger_alarms{code="fork"} 1.0', 'ledger_alarms{code="peer-url"} 1.0', 'ledger_check{check="store"} 1.0',
        "ledger_evidence_files 1.0", "ledger_ready 1.0",
    ):  # fmt: skip
        assert f"\n{line}\n" in text
    alarmed.node.alarms = Alarms()
    assert "ledger_alarms{" not in alarmed.client.get("/metrics").text


def test_readiness_tells_alarms_and_stays_ready(alarmed: LiveNode) -> None:
    """Code and source of each, a few of many; none of them makes the node unready."""
    answer = alarmed.client.get("/readyz")
    (check,) = [each for each in answer.json()["checks"] if each["name"] == "alarms"]
    assert check == {"name": "alarms", "ok": True, "detail": "fork http://127.0.0.1:9; peer-url rs"}
    for number in range(NAMES_MAX):
        alarmed.node.alarms.add(f"http://x{number}", BAD)
    (check,) = [each for each in alarmed.client.get("/readyz").json()["checks"] if each["name"] == "alarms"]
    assert answer.status_code == 200 and check["detail"].endswith("; and 2 more")


@pytest.mark.parametrize(
    ("lang", "words"),
    [
        ("en", ("alarm fork: Keep the evidence", "alarm peer-url: Write it as", "evidence: These nodes signed")),
        ("zh", ("告警 fork: 请保留证据", "告警 peer-url: ", "证据: 这些节点签署了")),
    ],
)
def test_the_doctor_lists_alarms_with_advice(alarmed: LiveNode, lang: str, words: tuple[str, ...]) -> None:
    """Each is a line of its own and a warning, with what to do about its code, in both languages."""
    ran = ledger("doctor", "--node", str(alarmed.client.base_url).rstrip("/"), "--lang", lang)
    assert ran.code == Exit.OK
    for word in ("fork http://127.0.0.1:9", "peer-url rs", "fork-note-", *words):
        assert word in ran.out
    checks = ledger("doctor", "--node", str(alarmed.client.base_url).rstrip("/"), "--json").json["checks"]
    assert [(each["name"], each["state"]) for each in checks if each["name"] in ("alarm", "evidence")] == [
        ("alarm", "warning"), ("alarm", "warning"), ("evidence", "warning"),
    ]  # fmt: skip


def test_a_peer_that_is_right_again_raises_no_alarm(live: LiveNode) -> None:
    """What a peer's note did wrong is an alarm until a note of it is right."""
    peer = Peer("http://127.0.0.1:9")
    live.node._peer_error(peer.url, BAD)
    assert live.node.alarms.codes() == {"note": 1}
    live.node._peer_note(peer, live.node.certificates.note())
    assert live.node.alarms.codes() == {}


def test_seams_are_passed_by_who_does_not_cosign(live: LiveNode) -> None:
    """SPEC R-N60: what the settings say counts until this node's key is among the cosigners, and nothing after that."""
    node = live.node
    before = node.options
    try:
        node.options = replace(before, pass_seams=2)
        assert node._passed_seams() == 0
        node.options = replace(before, pass_seams=2, cosign_signer=signer("zz", "cosign"))
        assert node._passed_seams() == 2
    finally:
        node.options = before
