"""`ledger node status` where nobody answers: a node that is taking a snapshot says so, any other does not."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from ledger.adapters.home.nodefile import SETTINGS
from ledger.adapters.home.statesyncfile import SAID, STATE_SYNC, SyncRequest, write_request, write_said
from ledger.cli.exits import Exit
from tests.unit.cli.runner import ledger


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
