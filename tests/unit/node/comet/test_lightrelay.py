"""What stands between CometBFT's light client and nodes that ask who calls."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("ledger_node.comet.lightrelay", reason="suyuan-node is not installed")

from ledger.adapters.home.links import Links
from ledger.adapters.home.statesyncfile import LIGHT_PATH
from ledger.adapters.ordering.peers import Peer
from ledger_node.comet.lightrelay import LightRelay
from tests.models.certificates import Authority
from tests.models.light_nodes import LightNodes

DIGEST = "AB" * 32
QUESTION = {"jsonrpc": "2.0", "id": 3, "method": "commit", "params": {"height": "9"}}


def ask(url: str, body: bytes, method: str = "POST", **headers: str) -> tuple[int, bytes]:
    """Status and body of one request, as CometBFT's client makes it."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    try:
        connection.request(method, parts.path, body, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_a_question_travels_under_the_nodes_own_certificate(nodes: LightNodes, tmp_path: Path) -> None:
    """SPEC R-N75: nodes behind proxies that ask who calls are asked as this node asks, and never else."""
    authority = Authority(tmp_path)
    own = authority.certificate("jy")
    shown = (*authority.certificate("127.0.0.1"), authority.ca)
    urls = [nodes.add([], DIGEST, tls=shown), nodes.add([], DIGEST)]
    body = json.dumps(QUESTION).encode()
    relay = LightRelay(
        [Peer(url, Links(ca=str(authority.ca), certificate=str(own[0]), key=str(own[1]))) for url in urls]
    )
    try:
        for url in relay.urls:
            status, answer = ask(url + LIGHT_PATH, body)
            assert status == 200
            assert json.loads(answer)["result"]["signed_header"]["commit"]["block_id"]["hash"] == DIGEST
        assert nodes.asked == [QUESTION, QUESTION]
        assert all(urlsplit(url).hostname == "127.0.0.1" for url in relay.urls)
    finally:
        relay.close()
    stranger = LightRelay([Peer(urls[0], Links(ca=str(authority.ca)))])
    try:
        assert ask(stranger.urls[0] + LIGHT_PATH, body)[0] == 502
    finally:
        stranger.close()


def test_nothing_but_a_light_clients_questions_goes_on(nodes: LightNodes) -> None:
    """SPEC R-N75: not without the secret part of the path, not another node's number, no other method, nothing too long."""
    relay = LightRelay([Peer(nodes.add([], DIGEST)), Peer("http://127.0.0.1:1")])
    body = json.dumps(QUESTION).encode()
    one, silent = (url + LIGHT_PATH for url in relay.urls)
    base = one.partition("/0/")[0]
    try:
        assert ask(one, body)[0] == 200
        assert ask(silent, body)[0] == 502
        for url in (relay.urls[0], f"{base}/2{LIGHT_PATH}", f"{base.rpartition('/')[0]}/{'0' * 32}/0{LIGHT_PATH}"):
            assert ask(url, body)[0] == 404, url
        for wrong in (b"", b"{}", json.dumps({**QUESTION, "method": "broadcast_tx_sync"}).encode()):
            assert ask(one, wrong)[0] == 400
        assert ask(one, b" " * 9_000)[0] == 404
        for length in ("x", "-1", "9" * 5_000):
            assert ask(one, b"", **{"Content-Length": length})[0] == 404
        assert ask(one, b"", "GET")[0] == 501
        assert len(nodes.asked) == 1
    finally:
        relay.close()
    with pytest.raises(OSError):
        ask(one, body)
