"""The demo's faults: how long it waits for a node that was killed."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

from ledger_node.demo import faults


class _Node:
    """A node that takes events as long as it is up."""

    url = "http://127.0.0.1:1"

    def __init__(self) -> None:
        self.up = threading.Event()
        self.up.set()
        self.waited: dict[str, float | None] = {}

    def kill(self) -> None:
        self.up.clear()

    def start(self) -> None:
        self.up.set()

    def wait_listening(self, timeout_s: float | None = None) -> None:
        self.waited["listening"] = timeout_s

    def wait_ready(self, timeout_s: float | None = None) -> None:
        self.waited["ready"] = timeout_s


def test_a_killed_node_has_as_long_as_the_first_start() -> None:
    """After kill -9 the demo waits for the node as long as it waited for its first start, on a busy machine too."""
    node = _Node()

    def record(*_: Any) -> None:
        node.up.wait()
        time.sleep(0.002)

    stage: Any = SimpleNamespace(sequencer=node, record=record)
    load, _ = faults.kill_under_load(stage, "ga/d", "ga/g", "rs", "p", 1_800_000_000_000)
    assert len(load.acknowledged) == faults.LOAD_EVENTS
    assert node.waited == {"listening": None, "ready": None}  # what every start is given
