"""The log is moved into the file beside the writer, starts anew, and a failure to move it is kept and harmless."""

from __future__ import annotations

import threading
import time

import pytest

from ledger.adapters.sqlite import checkpoint
from ledger.adapters.sqlite.reader import SqliteReader
from ledger.adapters.sqlite.scrub import scrub
from ledger.adapters.sqlite.store import SqliteStore
from tests.models.accept_all import Network


@pytest.fixture
def network(tmp_path, monkeypatch):
    """A network whose log is moved once it has 100 kB."""
    monkeypatch.setattr(checkpoint, "LOG_BYTES_START", 100_000)
    network = Network(SqliteStore.create(tmp_path / "ledger.sqlite"))
    network.path = tmp_path / "ledger.sqlite"
    yield network
    network.store.close()


def wait_until(condition) -> None:
    """Give a thread up to ten seconds."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


def write(network, blocks: int) -> None:
    for _ in range(blocks):
        network.block([network.submission("ga", [network.event() for _ in range(20)])])


def test_the_log_stays_short(network, monkeypatch):
    """Blocks reach the file without the writer's doing, and the log is written from its beginning again."""
    at_work, passes = threading.Lock(), checkpoint.Checkpointer._passes

    def held(self, connection):
        with at_work:
            passes(self, connection)

    monkeypatch.setattr(checkpoint.Checkpointer, "_passes", held)
    log = network.path.with_name("ledger.sqlite-wal")
    network.store._connection.execute("PRAGMA wal_autocheckpoint=0")
    sizes = []
    for _ in range(20):
        write(network, 3)
        wait_until(lambda: not network.store._checkpointer._wake.is_set())
        with at_work:  # what the last commit asked for is done
            sizes.append(log.stat().st_size)
    assert network.store.upkeep_failure is None
    assert network.path.stat().st_size > 200_000
    assert max(sizes) < 2_500_000
    reader = SqliteReader(network.path)
    with reader.snapshot() as snap:
        assert snap.head_height == 60
        assert list(scrub(snap)) == []
    reader.close()


def test_only_what_was_written_since_the_log_began_anew_counts(tmp_path):
    """A log that was moved is short again, though its file keeps its size: else every commit would ask for another pass."""
    network = Network(SqliteStore.create(tmp_path / "ledger.sqlite"))
    file, log = tmp_path / "ledger.sqlite-wal", network.store._checkpointer._log
    write(network, 10)
    size = file.stat().st_size
    assert size > 200_000
    assert log.holds(100_000)
    assert not log.holds(2 * size)
    network.store._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    write(network, 1)
    assert file.stat().st_size == size
    assert not log.holds(100_000)
    write(network, 10)
    assert log.holds(100_000)
    network.store.close()


def test_a_failure_is_kept_until_it_is_over(network, monkeypatch):
    """A pass that fails is told by `upkeep_failure`; blocks are written all the same, and the next good pass clears it."""
    passes = checkpoint.Checkpointer._passes
    monkeypatch.setattr(checkpoint.Checkpointer, "_passes", _fail)
    write(network, 10)
    wait_until(lambda: network.store.upkeep_failure is not None)
    assert network.store.upkeep_failure.code == "storage"
    monkeypatch.setattr(checkpoint.Checkpointer, "_passes", passes)
    write(network, 1)
    wait_until(lambda: network.store.upkeep_failure is None)
    assert network.app.head.height == 11


def _fail(_self, connection) -> None:
    connection.execute("no statement")


def test_closing_twice(network):
    """The thread ends with the store."""
    network.store.close()
    network.store.close()
    assert not network.store._checkpointer._thread.is_alive()
    network.store._checkpointer.committed()
