"""kill -9 while blocks are written: everything acknowledged is there, once and whole, and writing goes on."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from ledger.adapters.sqlite import checkpoint
from ledger.adapters.sqlite.reader import SqliteReader
from ledger.adapters.sqlite.scrub import scrub
from ledger.adapters.sqlite.store import SqliteStore
from tests.models.accept_all import Network

ACK_BYTES = 8 + 32


def write_blocks(path: Path, acks: int, seed: int, kill_at_step: int | None, log_bytes: int) -> None:
    """In a process of its own: write blocks for ever, each acknowledged on `acks` after the write returned."""
    checkpoint.LOG_BYTES_START = log_bytes
    store = SqliteStore.open(path)
    network = Network(store, seed)
    chance = random.Random(seed)
    if kill_at_step is not None:
        steps = iter(range(kill_at_step))

        def step() -> int:
            if next(steps, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return 0

        store._connection.set_progress_handler(step, 1)
    while True:
        events = [
            network.event(refs={"dataset": f"ga/d{chance.randrange(40)}"}, writes={f"use/ga/{n}": {"n": n}})
            for n in range(chance.choice([1, 1, 5, 60]))
        ]
        sealed = network.block([network.submission("ga", events)])
        os.write(acks, sealed.height.to_bytes(8, "big") + sealed.root)


def run_until_killed(
    path: Path, seed: int, kill_at_step: int | None, log_bytes: int = checkpoint.LOG_BYTES_START
) -> dict[int, bytes]:
    """Fork a writer, kill it after a while or let it kill itself; the acknowledged (height → root)."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            write_blocks(path, writing, seed, kill_at_step, log_bytes)
        finally:
            os._exit(3)
    os.close(writing)
    received = b""
    if kill_at_step is None:
        received = os.read(reading, ACK_BYTES)
        time.sleep(random.Random(seed).random() * 0.03)
        os.kill(pid, signal.SIGKILL)
    while part := os.read(reading, 1 << 16):
        received += part
    os.close(reading)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), f"the writer ended by itself: {os.waitstatus_to_exitcode(status)}"
    whole = len(received) // ACK_BYTES * ACK_BYTES
    return {
        int.from_bytes(received[at : at + 8], "big"): received[at + 8 : at + ACK_BYTES]
        for at in range(0, whole, ACK_BYTES)
    }


def check_acknowledged(path: Path, acknowledged: dict[int, bytes]) -> Any:
    """Every acknowledged block is there with its root; at most one more; the head."""
    store = SqliteStore.open(path)
    head = store.load_head()
    store.close()
    assert max(acknowledged) <= head.height <= max(acknowledged) + 1
    reader = SqliteReader(path)
    with reader.snapshot() as snap:
        for height, root in acknowledged.items():
            assert snap.root_at(snap.block(height).size) == root
        assert list(scrub(snap)) == []
    reader.close()
    return head


@pytest.mark.slow
@pytest.mark.parametrize("log_bytes", [checkpoint.LOG_BYTES_START, 60_000], ids=["log-grows", "log-is-moved"])
def test_kill_at_random_moments(tmp_path, log_bytes):
    """Killed 20 times while writing one ledger: no acknowledged block is lost, doubled or changed, nothing is damaged.

    Once with everything in SQLite's log, once while the log is moved into the file all the time.
    """
    path = tmp_path / "ledger.sqlite"
    network = Network(SqliteStore.create(path))
    acknowledged = {0: network.sealed[0].root}
    network.store.close()
    for trial in range(20):
        acknowledged.update(run_until_killed(path, trial, None, log_bytes))
        head = check_acknowledged(path, acknowledged)
        acknowledged[head.height] = head.log.root()


@pytest.mark.slow
@pytest.mark.parametrize("step", [40, 400, 1_300, 2_500, 4_000, 7_000, 11_000, 17_000, 26_000, 40_000, 60_000, 90_000])
def test_kill_inside_statements(tmp_path, step):
    """Killed at a numbered step of SQLite's machine, so inside any statement of a commit: the block before stands."""
    path = tmp_path / "ledger.sqlite"
    network = Network(SqliteStore.create(path))
    network.block([network.submission("ga", [network.event() for _ in range(20)])])
    acknowledged = {sealed.height: sealed.root for sealed in network.sealed}
    network.store.close()
    acknowledged.update(run_until_killed(path, step, step))
    check_acknowledged(path, acknowledged)


def test_the_lock_ends_with_its_process(tmp_path):
    """After kill -9 of the writer the data directory is free; while it lives another writer is told who holds it."""
    path = tmp_path / "ledger.sqlite"
    SqliteStore.create(path).close()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        store = SqliteStore.open(path)
        os.write(writing, b"1")
        time.sleep(60)
        store.close()
        os._exit(0)
    os.read(reading, 1)
    from ledger.errors import UnavailableError

    with pytest.raises(UnavailableError) as caught:
        SqliteStore.open(path)
    assert (caught.value.code, caught.value.evidence["pid"]) == ("data-dir-locked", str(pid))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    SqliteStore.open(path).close()
    os.close(reading)
    os.close(writing)
