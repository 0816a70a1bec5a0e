"""Disk full, I/O errors and other writers: an error to the caller, no false success, and the store opens again whole."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.adapters.memory import MemoryStore
from ledger.adapters.sqlite.faults import storage_error
from ledger.adapters.sqlite.reader import SqliteReader
from ledger.adapters.sqlite.scrub import scrub
from ledger.adapters.sqlite.store import SqliteStore
from ledger.errors import FatalError, LedgerError, UnavailableError
from tests.models.accept_all import Network


@pytest.fixture
def network(tmp_path):
    """A network with one block on a file."""
    network = Network(SqliteStore.create(tmp_path / "ledger.sqlite"))
    network.path = tmp_path / "ledger.sqlite"
    network.block([network.submission("ga", [network.event()])])
    yield network
    network.store.close()


def large_block(network: Network) -> list:
    """Submissions whose block needs many pages."""
    return [network.submission("ga", [network.event(blob=network.random.randbytes(900).hex()) for _ in range(60)])]


def write_many(network: Network) -> None:
    """Blocks until one fails, 30 at most."""
    for _ in range(30):
        network.block(large_block(network))


def check_whole(path: Path, height: int) -> None:
    """The store opens at `height`, without damage."""
    store = SqliteStore.open(path)
    assert store.load_head().height == height
    store.close()
    reader = SqliteReader(path)
    with reader.snapshot() as snap:
        assert list(scrub(snap)) == []
    reader.close()


def test_a_full_file_is_unavailable_and_heals(network):
    """Without room the block is refused as unavailable and the store says nothing more; with room it goes on."""
    pages = network.store._connection.execute("PRAGMA page_count").fetchone()[0]
    network.store._connection.execute(f"PRAGMA max_page_count={pages + 3}")
    sealed, note = network.seal(large_block(network))
    with pytest.raises(UnavailableError) as caught:
        network.app.commit(note)
    assert caught.value.code == "storage-full"
    with pytest.raises(UnavailableError):
        network.store.load_head()
    with pytest.raises(UnavailableError):
        network.store.write(sealed, note)
    network.store.close()
    check_whole(network.path, 1)
    network.reopen(lambda: SqliteStore.open(network.path))
    network.block(large_block(network))
    assert network.app.head.height == 2


def test_a_full_medium(network, tmp_path):
    """On a file system without room left the same holds for every block that did not fit."""
    medium = tmp_path / "medium"
    medium.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(medium)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        path = medium / "ledger.sqlite"
        small = Network(SqliteStore.create(path))
        with pytest.raises((UnavailableError, FatalError)):
            write_many(small)
        height = len(small.sealed) - 1
        small.store.close()
        subprocess.run(["mount", "-o", "remount,size=20m", str(medium)], check=True)
        check_whole(path, height)
        small.reopen(lambda: SqliteStore.open(path))
        small.block(large_block(small))
        small.store.close()
    finally:
        subprocess.run(["umount", str(medium)], check=True)


def test_a_write_that_the_system_refuses(network):
    """A refused write (file size limit) is an error, never a success; the blocks before it stand."""
    network.store.close()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            store = SqliteStore.open(network.path)
            child = Network(store, seed=2)
            child.block(large_block(child))
            os.write(writing, b"c")
            used = sum(part.stat().st_size for part in network.path.parent.iterdir() if part.name.endswith("-wal"))
            resource.setrlimit(resource.RLIMIT_FSIZE, (used + 5_000, resource.RLIM_INFINITY))
            try:
                child.block(large_block(child))
                os.write(writing, b"c")
            except LedgerError as error:
                os.write(writing, b"u" if isinstance(error, UnavailableError) else b"f")
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    told = os.read(reading, 10)
    os.close(reading)
    assert told in (b"cu", b"cf")
    check_whole(network.path, 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault", ["fdatasync:error=EIO:when=4", "pwrite64:error=EIO:when=60", "pwrite64:error=ENOSPC:when=60"]
)
def test_an_injected_fault(network, fault):
    """EIO from a sync, EIO or ENOSPC from a write: the program gets an error, acknowledged blocks stand."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed, so no system call can be made to fail")
    network.store.close()
    code = f"import sys; from {__name__} import fill; fill(sys.argv[1])"
    done = subprocess.run(
        [
            strace,
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            f"inject={fault}",
            sys.executable,
            "-c",
            code,
            str(network.path),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if "ptrace" in done.stderr.lower():
        pytest.skip("strace may not trace here")
    acknowledged = [line for line in done.stdout.splitlines() if line.isdigit()]
    assert done.stdout.splitlines()[-1] in ("FatalError", "UnavailableError"), done.stderr
    height = int(acknowledged[-1]) if acknowledged else 1
    store = SqliteStore.open(network.path)
    found = store.load_head().height
    store.close()
    assert height <= found <= height + 1
    check_whole(network.path, found)


def fill(path: str) -> None:
    """The faulted program: acknowledge blocks until one fails, then name the error."""
    try:
        network = Network(SqliteStore.open(Path(path)), seed=4)
        for _ in range(20):
            print(network.block(large_block(network)).height, flush=True)
    except LedgerError as error:
        print(type(error).__name__, flush=True)


def test_an_interrupted_write_makes_the_store_unusable(network):
    """Any exception inside a transaction rolls it back, and the store refuses to go on with what it may have cached."""
    sealed, note = network.seal([network.submission("ga", [network.event(refs={"dataset": "ga/d1"})])])

    def fail(*_arguments):
        raise KeyboardInterrupt

    network.store._events.write = fail
    with pytest.raises(KeyboardInterrupt):
        network.store.write(sealed, note)
    with pytest.raises(UnavailableError):
        network.store.read_rows([])
    network.store.close()
    check_whole(network.path, 1)


def test_another_connection_that_holds_the_write_lock(network):
    """A foreign writer is waited for, then reported as unavailable: nothing is written behind its back."""
    foreign = sqlite3.connect(network.path, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    network.store._connection.execute("PRAGMA busy_timeout=50")
    _, note = network.seal([network.submission("ga", [network.event()])])
    with pytest.raises(UnavailableError) as caught:
        network.app.commit(note)
    assert caught.value.code == "storage-busy"
    foreign.close()
    network.store.close()
    check_whole(network.path, 1)


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("error", [None, UnavailableError("storage-full"), FatalError("storage")])
@pytest.mark.parametrize("operation", ["genesis", "block", "certificate"])
def test_memory_faults_are_pairs(operation, applied, error):
    """The memory store loses, keeps or doubts a write as it is told, and never answers after a failure."""
    asked = []

    def fault(name, number):
        asked.append((name, number))
        return (applied, error) if name == operation else (True, None)

    store = MemoryStore(fault=fault)
    failed = None
    network = None
    try:
        network = Network(store)
        network.block([network.submission("ga", [network.event()])])
        store.write_certificates([(3, b"note")])
    except LedgerError as raised:
        failed = raised
    expected = {"genesis": 1, "block": 2, "certificate": 3}[operation]
    assert len(asked) == expected if error is not None or not applied else 3
    assert failed is error or (error is None and not applied)
    again = MemoryStore(store.memory)
    blocks = len(store.memory.blocks)
    assert blocks == {"genesis": 0, "block": 1, "certificate": 2}[operation] + (
        applied and operation != "certificate"
    ) or (error is None and applied)
    head = again.load_head()
    assert (head.height if head else -1) == blocks - 1
    if applied and error is None:
        assert store.memory.certificates == {3: b"note"}
    if error is not None:
        with pytest.raises(UnavailableError):
            store.next_due()


def test_families_of_storage_errors():
    """What room, time or permission may cure is unavailable; corruption and I/O errors are fatal."""
    for code, family in (
        (sqlite3.SQLITE_FULL, UnavailableError),
        (sqlite3.SQLITE_BUSY, UnavailableError),
        (sqlite3.SQLITE_READONLY, UnavailableError),
        (sqlite3.SQLITE_IOERR_FSYNC, FatalError),
        (sqlite3.SQLITE_IOERR_WRITE, FatalError),
        (sqlite3.SQLITE_CORRUPT, FatalError),
        (sqlite3.SQLITE_NOTADB, FatalError),
        (None, FatalError),
    ):
        error = sqlite3.OperationalError("reason")
        if code is not None:
            error.sqlite_errorcode = code
        made = storage_error(error, "writing")
        assert type(made) is family
        assert made.evidence["doing"] == "writing"
