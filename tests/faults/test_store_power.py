"""Power loss at every write of a commit: one run is recorded by strace, then the disk is rebuilt as it may have been.

For each recorded operation the files are rebuilt with everything up to it (kill), with unsynced writes lost, with the last
write torn, and with a random part of the unsynced writes done. fsync is taken as honest. Each image must open at a head
that covers all acknowledged blocks, with the very root that was acknowledged.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ledger.adapters.sqlite.reader import SqliteReader
from ledger.adapters.sqlite.scrub import scrub
from ledger.adapters.sqlite.store import SqliteStore
from ledger.errors import LedgerError
from tests.models.accept_all import Network

NAMES = ("ledger.sqlite", "ledger.sqlite-wal")
CALLS = "openat,close,pwrite64,write,ftruncate,unlink,fdatasync,fsync"
ACK = b"acknowledged "


def main(path: str) -> None:
    """The recorded program: some blocks of different sizes, with checkpoints of the log in between."""
    store = SqliteStore.open(Path(path))
    store._connection.execute("PRAGMA wal_autocheckpoint=30")
    network = Network(store, seed=7)
    for count in (1, 40, 3, 0, 70, 2):
        events = [network.event(refs={"dataset": f"ga/d{n}"}, writes={f"use/ga/{n}": {"n": n}}) for n in range(count)]
        sealed = network.block([network.submission("ga", events)] if events else [])
        os.write(1, ACK + f"{sealed.height} {sealed.root.hex()}\n".encode())
    store.close()


@dataclass
class Operation:
    """One system call on one of the files: data at an offset, a new size, removal, or a sync; or an acknowledgement."""

    kind: str
    name: str = ""
    offset: int = 0
    data: bytes = b""


@dataclass
class Disk:
    """The files as bytes."""

    files: dict[str, bytes] = field(default_factory=dict)

    def apply(self, operation: Operation) -> None:
        data = self.files.get(operation.name, b"")
        if operation.kind == "write":
            data = data.ljust(operation.offset, b"\0")
            data = data[: operation.offset] + operation.data + data[operation.offset + len(operation.data) :]
        elif operation.kind == "truncate":
            data = data[: operation.offset].ljust(operation.offset, b"\0")
        elif operation.kind == "unlink":
            self.files.pop(operation.name, None)
            return
        else:
            return
        self.files[operation.name] = data

    def write_to(self, folder: Path) -> None:
        folder.mkdir()
        for name, data in self.files.items():
            (folder / name).write_bytes(data)


def parse_trace(text: str) -> Iterator[Operation]:
    """Operations on the ledger's files, and acknowledgements, in order."""
    opened: dict[int, str] = {}

    def raw(quoted: str) -> bytes:
        return bytes.fromhex(quoted.replace("\\x", ""))

    for line in text.splitlines():
        call = re.match(r"(?:\d+ +)?(\w+)\((.*)\) += (-?\d+)", line)
        if call is None or int(call[3]) < 0:
            continue
        name, arguments, result = call[1], call[2], int(call[3])
        quoted = re.search(r'"((?:\\x[0-9a-f]{2})*)"', arguments)
        number = re.match(r"(\d+)", arguments)
        if name == "openat" and quoted:
            opened[result] = Path(raw(quoted[1]).decode("utf-8", "replace")).name
            continue
        if name == "unlink" and quoted:
            yield Operation("unlink", Path(raw(quoted[1]).decode()).name)
            continue
        file = opened.get(int(number[1]), "") if number else ""
        if name == "close" and number:
            opened.pop(int(number[1]), None)
        elif name == "write" and number and number[1] == "1" and quoted and raw(quoted[1]).startswith(ACK):
            yield Operation("ack", data=raw(quoted[1])[len(ACK) :])
        elif file in NAMES:
            if name == "pwrite64" and quoted:
                offset = int(arguments.rsplit(",", 1)[1])
                yield Operation("write", file, offset, raw(quoted[1]))
            elif name == "ftruncate":
                yield Operation("truncate", file, int(arguments.rsplit(",", 1)[1]))
            elif name in ("fdatasync", "fsync"):
                yield Operation("sync", file)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """(disk before, operations, root by height) of one traced run."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed, so system calls cannot be recorded")
    folder = tmp_path_factory.mktemp("power")
    path = folder / "ledger.sqlite"
    network = Network(SqliteStore.create(path), seed=3)
    network.block([network.submission("ga", [network.event() for _ in range(5)])])
    network.store.close()
    before = Disk({NAMES[0]: path.read_bytes()})
    assert not (folder / NAMES[1]).exists()
    log = folder / "trace"
    command = [strace, "-f", "-qq", "-xx", "-s", "1000000", "-e", f"trace={CALLS}", "-o", str(log)]
    code = f"import sys; from {__name__} import main; main(sys.argv[1])"
    done = subprocess.run([*command, sys.executable, "-c", code, str(path)], capture_output=True, check=False)
    if b"ptrace" in done.stderr.lower():
        pytest.skip(f"strace may not trace here: {done.stderr[-300:]!r}")
    assert done.returncode == 0, done.stderr
    operations = list(parse_trace(log.read_text()))
    roots = {0: network.sealed[0].root.hex(), 1: network.sealed[1].root.hex()}
    for operation in operations:
        if operation.kind == "ack":
            height, root = operation.data.decode().split()
            roots[int(height)] = root
    assert len(roots) == 8
    assert sum(operation.kind == "write" for operation in operations) > 100
    assert any(operation.name == NAMES[0] and operation.kind == "sync" for operation in operations), "no checkpoint"
    return before, operations, roots


def acknowledged(operations: Sequence[Operation]) -> int:
    """The last height that was acknowledged before this point."""
    return max([1, *(int(op.data.split()[0]) for op in operations if op.kind == "ack")])


def unsynced(operations: Sequence[Operation]) -> list[int]:
    """Numbers of operations whose file was not synced after them."""
    synced = {
        name: max([-1, *(n for n, op in enumerate(operations) if (op.kind, op.name) == ("sync", name))])
        for name in NAMES
    }
    return [n for n, op in enumerate(operations) if op.kind in ("write", "truncate") and n > synced[op.name]]


def check_image(
    folder: Path, disk: Disk, operations: Sequence[Operation], roots: dict[int, str], *, deep: bool
) -> None:
    """The image opens at an acknowledged head or one block later."""
    disk.write_to(folder)
    path = folder / NAMES[0]
    store = SqliteStore.open(path)
    head = store.load_head()
    store.close()
    low = acknowledged(operations)
    assert low <= head.height <= low + 1
    assert head.log.root().hex() == roots[head.height]
    if deep:
        reader = SqliteReader(path)
        with reader.snapshot() as snap:
            assert list(scrub(snap)) == []
        reader.close()
    shutil.rmtree(folder)


@pytest.mark.slow
def test_killed_after_every_operation(recorded, tmp_path):
    """With everything up to operation n done and nothing after it, the ledger opens and is whole."""
    before, operations, roots = recorded
    disk = Disk(dict(before.files))
    for n, operation in enumerate(operations):
        disk.apply(operation)
        if operation.kind != "sync":
            check_image(tmp_path / "image", disk, operations[: n + 1], roots, deep=n % 7 == 0)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["lost", "torn", "part"])
def test_power_lost_after_operations(recorded, tmp_path, damage):
    """Unsynced writes lost, torn or done in part: every acknowledged block is there."""
    before, operations, roots = recorded
    chance = random.Random(damage)
    for n in range(1, len(operations) + 1):
        if operations[n - 1].kind == "sync" or (damage != "torn" and chance.random() < 0.5):
            continue
        done = operations[:n]
        open_ones = unsynced(done)
        skipped: set[int] = set()
        torn = -1
        if damage == "lost":
            skipped = set(open_ones)
        elif damage == "part":
            skipped = {number for number in open_ones if chance.random() < 0.5}
        elif open_ones and done[open_ones[-1]].kind == "write":
            torn = open_ones[-1]
        disk = Disk(dict(before.files))
        for number, operation in enumerate(done):
            if number == torn:
                cut = chance.randrange(len(operation.data))
                disk.apply(Operation("write", operation.name, operation.offset, operation.data[:cut]))
            elif number not in skipped:
                disk.apply(operation)
        check_image(tmp_path / "image", disk, done, roots, deep=chance.random() < 0.1)


@pytest.mark.slow
def test_a_shortened_log_is_an_earlier_head(recorded, tmp_path):
    """The log cut at each frame gives an earlier block whose root was the one acknowledged, never another content.

    Whether such a ledger may be written to is decided by the signer's state, which is kept in another file.
    """
    before, operations, roots = recorded
    disk = Disk(dict(before.files))
    for operation in operations:
        if operation.kind == "unlink" or (operation.kind == "sync" and operation.name == NAMES[0]):
            break  # the log before the first checkpoint holds everything since the file was made
        disk.apply(operation)
    log = disk.files[NAMES[1]]
    heights = set()
    for frame, end in enumerate(range(32, len(log) + 1, 24 + 4096)):
        folder = tmp_path / f"cut-{frame}"
        Disk({NAMES[0]: disk.files[NAMES[0]], NAMES[1]: log[:end]}).write_to(folder)
        try:
            store = SqliteStore.open(folder / NAMES[0])
            head = store.load_head()
            store.close()
        except LedgerError:
            continue  # a checkpoint had already moved later pages into the file
        assert head.log.root().hex() == roots[head.height]
        heights.add(head.height)
        shutil.rmtree(folder)
    assert len(heights) > 1
