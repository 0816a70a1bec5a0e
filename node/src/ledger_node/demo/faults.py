"""The demo's two faults: one byte is flipped in a node's database, and a node is killed under load."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from ledger.adapters.home.datadir import DATABASE
from ledger.client.http import NodeClient
from ledger.core.event import Event, new_event
from ledger.core.ident import uuid7_at
from ledger.errors import LedgerError, UnavailableError
from ledger_node.demo.stage import Stage
from ledger_node.local import START_S

RETRY_S = 0.1
KILL_AFTER = 25  # acknowledged events before the kill
LOAD_EVENTS = 120


@dataclass(frozen=True, slots=True)
class Flip:
    """One changed byte of a file, which holds part of the block at `height`."""

    height: int
    path: Path
    offset: int
    before: int

    def undo(self) -> None:
        """Put the byte back."""
        _write_byte(self.path, self.offset, self.before)


def flip_byte(data_dir: Path) -> Flip:
    """Flip one bit in the middle of a stored block of events of a stopped node."""
    path = data_dir / DATABASE
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        rows = connection.execute("SELECT seq, data FROM records WHERE length(data) > 200 ORDER BY rowid").fetchall()
        seq, data = rows[len(rows) // 2]
        height = connection.execute("SELECT max(height) FROM blocks WHERE first_seq <= ?", (seq,)).fetchone()[0]
    finally:
        connection.close()
    stored = bytes(data)
    # A value may continue on another page of the file, its first bytes stand together.
    offset = path.read_bytes().index(stored[:100]) + 60
    before = stored[60]
    _write_byte(path, offset, before ^ 0x20)
    return Flip(height, path, offset, before)


def _write_byte(path: Path, offset: int, value: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(fd, bytes((value,)), offset)
        os.fsync(fd)
    finally:
        os.close(fd)


@dataclass(slots=True)
class Load:
    """Events sent one by one by a department that retries until each is acknowledged."""

    sent: list[Event] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    retries: int = 0


def kill_under_load(stage: Stage, dataset: str, grant: str, user: str, purpose: str, now: int) -> tuple[Load, float]:
    """Kill the ordering node with SIGKILL while `user` records accesses, start it again, and let the load finish.

    Returns the load and the seconds from the kill to the next acknowledgement. Raises `UnavailableError` when the load
    does not finish.
    """
    load, generator = Load(), random.Random(7)  # noqa: S311 - repeatable events, no secrets
    load.sent = [
        new_event(
            event_id=uuid7_at(now, generator.randbytes(10)),
            kind="use.access",
            refs={"dataset": dataset, "grant": grant},
            time_ms=now,
            salt=generator.randbytes(16),
            content={"purpose": purpose, "items": [], "count": number, "method": "api"},
        )
        for number in range(LOAD_EVENTS)
    ]
    writer = threading.Thread(target=_write, args=(stage, user, load), daemon=True)
    writer.start()
    _await(lambda: len(load.acknowledged) >= KILL_AFTER, 30)
    stage.sequencer.kill()
    killed_at = time.monotonic()
    reached = len(load.acknowledged)
    stage.sequencer.start()
    stage.sequencer.wait_listening()
    stage.sequencer.wait_ready()
    _await(lambda: len(load.acknowledged) > reached, START_S)
    took = time.monotonic() - killed_at
    writer.join(START_S)
    if writer.is_alive():
        raise UnavailableError("load", "the load did not finish", acknowledged=len(load.acknowledged))
    return load, took


def _write(stage: Stage, user: str, load: Load) -> None:
    client = NodeClient(stage.sequencer.url)
    for event in load.sent:
        while True:
            try:
                stage.record(user, "system", [event], client)
                break
            except LedgerError:
                load.retries += 1
                time.sleep(RETRY_S)
        load.acknowledged.append(event.id)


def _await(reached: object, timeout_s: float) -> None:
    until = time.monotonic() + timeout_s
    while not reached():  # type: ignore[operator]
        if time.monotonic() > until:
            raise UnavailableError("demo", "waited too long")
        time.sleep(0.01)
