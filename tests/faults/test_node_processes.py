"""Real node processes, killed, copied, restored and started twice: nothing acknowledged is lost, no second history."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.adapters.home.datadir import DATABASE
from ledger.client.http import NodeClient
from ledger.client.request import get
from ledger.errors import LedgerError, NotFoundError, UnavailableError
from ledger_node.local import NodeProcess
from scripts.bench.bed import Bed, bed_in

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """One ordering node that is its own only cosigner, with a few grants on the ledger."""
    with bed_in(tmp_path, grants=8) as found:
        yield found


def node_of(bed: Bed) -> NodeProcess:
    return bed.network.nodes[0]


def verified(bed: Bed) -> int:
    """The auditor's exit code over the data directory."""
    done = subprocess.run(
        [sys.executable, "-m", "ledger.cli.main", "verify", str(bed.folder), "--origin", bed.made.genesis.origin,
         "--no-remember", "--max-age", "none", "--json"],
        capture_output=True, check=False,
    )  # fmt: skip
    return done.returncode


def test_kill_9_under_load_loses_and_doubles_nothing(bed: Bed) -> None:
    """Killed five times at random moments: every acknowledged event is on the ledger once, and the auditor agrees."""
    user = bed.workload.grants[0].user
    events = [bed.workload.mix(user, 1)[0] for _ in range(400)]
    acknowledged: list[str] = []

    def write() -> None:
        for event in events:
            while True:
                try:
                    bed.record(bed.workload.submission(user, "office", [event]))
                    break
                except LedgerError:
                    time.sleep(0.02)
            acknowledged.append(event.id)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    chance = random.Random(3)
    for _ in range(5):
        time.sleep(0.1 + chance.random() * 0.4)
        node_of(bed).kill()
        node_of(bed).start()
        node_of(bed).wait_listening()
        node_of(bed).wait_ready()
    writer.join(120)
    assert not writer.is_alive() and len(acknowledged) == len(events)
    client = NodeClient(node_of(bed).url)
    _await_certified(client)
    found = [client.get_json(["v1", "events", user, event_id])["entry"]["seq"] for event_id in acknowledged]
    assert len(set(found)) == len(events)
    node_of(bed).stop()
    assert verified(bed) == 0


def test_two_processes_on_one_data_directory(bed: Bed) -> None:
    """The second process refuses to start and names the holder; the first goes on."""
    second = subprocess.run(
        [sys.executable, "-m", "ledger_node", str(bed.folder)], capture_output=True, timeout=60, check=False
    )
    assert second.returncode == 1 and b"data-dir-locked" in second.stderr
    assert str(node_of(bed).pid).encode() in second.stderr
    bed.record(bed.workload.submission("ga", "office", bed.workload.mix("ga", 1)))


def test_restored_backup_never_signs_a_second_history(bed: Bed, tmp_path: Path) -> None:
    """SPEC R-Q30, R-Q11: a database from before the last signatures is noticed; the node does not open for writing."""
    node_of(bed).stop()
    shutil.copy(bed.folder / DATABASE, tmp_path / "backup.sqlite")
    node_of(bed).start()
    node_of(bed).wait_listening()
    node_of(bed).wait_ready()
    bed.record(bed.workload.submission("ga", "office", bed.workload.mix("ga", 3)))
    node_of(bed).stop()
    for path in bed.folder.glob(f"{DATABASE}*"):
        path.unlink()
    shutil.copy(tmp_path / "backup.sqlite", bed.folder / DATABASE)
    _starts_closed(bed, "signed-more")


def test_shortened_wal_is_noticed(bed: Bed) -> None:
    """SPEC R-Q30: commits that were in the WAL and are gone: the signer state remembers, the node does not open."""
    bed.record(bed.workload.submission("ga", "office", bed.workload.mix("ga", 3)))
    node_of(bed).kill()
    wal = bed.folder / f"{DATABASE}-wal"
    assert wal.stat().st_size > 8_192
    with wal.open("r+b") as file:
        file.truncate(8_192)
    _starts_closed(bed, "signed-more")


def test_copied_directory_does_not_sign(bed: Bed, tmp_path: Path) -> None:
    """SPEC R-Q14: a copy of the data directory has other inodes, so its states are foreign and it does not start."""
    node_of(bed).stop()
    shutil.copytree(bed.folder, tmp_path / "copy")
    done = subprocess.run(
        [sys.executable, "-m", "ledger_node", str(tmp_path / "copy")], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 1 and b"signer-state-foreign" in done.stderr


def test_damaged_head_block_is_noticed_at_start(bed: Bed) -> None:
    """The head block is verified again at start: a changed byte in it stops the node, with the place."""
    node_of(bed).stop()
    connection = sqlite3.connect(bed.folder / DATABASE)
    height, data = connection.execute("SELECT height, data FROM blocks ORDER BY height DESC LIMIT 1").fetchone()
    damaged = bytearray(data)
    damaged[len(damaged) // 2] ^= 1
    connection.execute("UPDATE blocks SET data=? WHERE height=?", (bytes(damaged), height))
    connection.commit()
    connection.close()
    done = subprocess.run(
        [sys.executable, "-m", "ledger_node", str(bed.folder)], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 1


def test_graceful_stop_answers_what_it_accepted(bed: Bed) -> None:
    """SIGTERM: exit code 0, and everything acknowledged before is there after the next start."""
    bed.record(bed.workload.submission("ga", "office", bed.workload.mix("ga", 5)))
    size = NodeClient(node_of(bed).url).get_json(["v1", "status"])["size"]
    assert node_of(bed).stop() == 0
    node_of(bed).start()
    node_of(bed).wait_listening()
    assert NodeClient(node_of(bed).url).get_json(["v1", "status"])["size"] == size


def test_a_long_poll_whose_client_has_gone_holds_nobody_up(bed: Bed) -> None:
    """SIGTERM while a long poll waits whose client has left, and no connection is open: the node stops well before the ten
    seconds that uvicorn would give it, and logs no error."""
    node = node_of(bed)
    host, _, port = node.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(f"GET /v1/checkpoint?wait=50&above=999999 HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        for _ in range(3):  # answered behind it, on connections of their own
            urllib.request.urlopen(node.url + "/healthz").close()
    urllib.request.urlopen(node.url + "/healthz").close()
    assert node.stop() == 0
    assert "Traceback" not in node.log_tail(40) and "Cancel" not in node.log_tail(40)


def test_signals_without_end_hurry_nothing(bed: Bed) -> None:
    """SIGTERM and SIGINT, again and again until the process is gone: exit code 0, and everything acknowledged is there."""
    bed.record(bed.workload.submission("ga", "office", bed.workload.mix("ga", 5)))
    node = node_of(bed)
    size, pid = NodeClient(node.url).get_json(["v1", "status"])["size"], node.pid
    until = time.monotonic() + 60
    while node.running and time.monotonic() < until:
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(pid, number)
        time.sleep(0.002)
    assert node.stop() == 0
    node.start()
    node.wait_listening()
    assert NodeClient(node.url).get_json(["v1", "status"])["size"] == size


def _starts_closed(bed: Bed, code: str) -> None:
    """The node answers, says why it does not write, and refuses a submission."""
    node_of(bed).start()
    node_of(bed).wait_listening()
    client = NodeClient(node_of(bed).url)
    until = time.monotonic() + 30
    while True:
        checks = client.send(get(["readyz"])).body
        if code.encode() in checks:
            break
        assert time.monotonic() < until, checks
        time.sleep(0.1)
    with pytest.raises(UnavailableError):
        bed.record(bed.workload.submission("ga", "office", bed.workload.mix("ga", 1)))


def _await_certified(client: NodeClient) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        status = client.get_json(["v1", "status"])
        if status["certified_size"] == status["size"]:
            return
        time.sleep(0.05)
    raise NotFoundError("certificate", "the head was not certified in time")
