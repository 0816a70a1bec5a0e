"""`ledger node status`: what is said where nobody answers, and how long a node is waited for."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from ledger.adapters.home.nodefile import SETTINGS
from ledger.adapters.home.statesyncfile import SAID, STATE_SYNC, SyncRequest, write_request, write_said
from ledger.cli.exits import Exit
from tests.unit.cli.runner import ledger
from tests.unit.client.server import Answer, Asked, serve

JSON = "application/json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data directory of a node whose port nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / SETTINGS).write_text(f'[node]\nrole = "validator"\n\n[http]\nport = {port}\n', "utf-8")
    return tmp_path


def test_a_node_that_joins_says_what_it_waits_for(folder: Path) -> None:
    """SPEC R-N75: before it answers anything, the last line that it logged is shown to who asks on its machine."""
    write_request(folder, SyncRequest())
    early = ledger("node", "status", "--data", folder, "--json", home=folder)
    write_said(folder, "state-sync.waits", {"reason": "no node offers\na snapshot " + "x" * 5_000})
    told = ledger("node", "status", "--data", folder, "--json", home=folder)
    assert early.code == told.code == Exit.UNREACHABLE
    assert "node-joins" in early.out + early.err
    assert "state-sync.waits" in told.out + told.err and "no node offers" in told.out + told.err
    assert len(told.out + told.err) < 3_000


def test_any_other_node_is_only_unreachable(folder: Path) -> None:
    """Without a request to join, whatever was logged once is no reason."""
    (folder / SAID).write_text(json.dumps({"event": "state-sync.waits"}), "utf-8")
    assert not (folder / STATE_SYNC).exists()
    told = ledger("node", "status", "--data", folder, "--json", home=folder)
    assert told.code == Exit.UNREACHABLE and "node-unreachable" in told.out + told.err


def test_a_node_is_waited_for_until_it_is_ready(tmp_path: Path) -> None:
    """With --wait the answer is that of the moment when every check held, not of the first look."""
    looks = 0

    def answer(asked: Asked) -> Answer:
        nonlocal looks
        if asked.path == "/v1/status":
            return 200, JSON, b'{"role": "follower"}'
        looks += 1
        ready = looks > 2
        checks = [{"check": "rules", "ok": ready, "detail": ""}]
        return (200 if ready else 503), JSON, json.dumps({"checks": checks}).encode()

    with serve(answer) as url:
        early = ledger("node", "status", "--node", url, "--json", home=tmp_path)
        ready = ledger("node", "status", "--node", url, "--wait", "30", "--json", home=tmp_path)
    assert early.code == Exit.OPERATIONAL and not early.json["ready"]
    assert ready.code == Exit.OK and ready.json["ready"] and looks == 3


def test_a_node_that_never_answers_is_waited_for_that_long(folder: Path) -> None:
    """The wait ends by itself, with the same code and words as without it."""
    told = ledger("node", "status", "--data", folder, "--wait", "1", "--json", home=folder)
    assert told.code == Exit.UNREACHABLE and "node-unreachable" in told.out + told.err
    assert ledger("node", "status", "--data", folder, "--wait", "3601", home=folder).code == Exit.USAGE
