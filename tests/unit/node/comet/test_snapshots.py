"""A snapshot that cannot be taken is left out, and the next one has its turn."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from structlog.testing import capture_logs

from ledger.adapters.sqlite.reader import SqliteReader
from ledger_node.comet.snapshots import SnapshotTaker

WAIT_S = 10.0


class Reader:
    """Read transactions of a ledger with some blocks, counted while they are held."""

    def __init__(self) -> None:
        self.held = 0

    @contextmanager
    def snapshot(self) -> Iterator[SimpleNamespace]:
        self.held += 1
        try:
            yield SimpleNamespace(head_height=3)
        finally:
            self.held -= 1


@pytest.mark.parametrize(
    ("failure", "logged_as"),
    [
        (OSError("no space left"), {"event": "snapshot.skipped", "log_level": "warning", "reason": "no space left"}),
        (RuntimeError("unforeseen"), {"event": "snapshot.failed", "log_level": "error", "exc_info": True}),
    ],
)
def test_a_snapshot_that_fails_is_logged_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception, logged_as: dict[str, object]
) -> None:
    """A full disk or what nobody foresaw: its read transaction ends, no thread dies of it, and the next one is taken."""
    ended: list[object] = []
    monkeypatch.setattr(threading, "excepthook", ended.append)
    reader, tried = Reader(), list[int]()
    taker = SnapshotTaker(tmp_path, cast("SqliteReader", reader), 10)

    def write(height: int, *_: object) -> None:
        tried.append(height)
        if height == 10:
            raise failure

    monkeypatch.setattr(taker._files, "write", write)
    with capture_logs() as logged:
        for height in (10, 20):
            taker.after(height)
            assert taker._thread is not None
            taker._thread.join(WAIT_S)
    taker.close()
    assert (tried, ended, reader.held) == ([10, 20], [], 0)
    assert logged == [logged_as | {"height": 10}]
