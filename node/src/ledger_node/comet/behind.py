"""Notices that a node can never catch up: nobody has CometBFT's block any more that it needs next (SPEC R-N64).

Rule: a node that stood still for a while asks the others whether they have that block; while nodes answer that are past it,
and none has it, an alarm says so, since CometBFT itself would wait for ever without a word. It ends when the node moves.
Not here: who may let blocks go (see `pruning`), and joining anew (see `syncing`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import Final

import structlog

from ledger.adapters.ordering.peers import Peer
from ledger.errors import UnavailableError
from ledger_node.alarms import Alarms
from ledger_node.comet.lightclient import is_forgotten

LOOK_S: Final = 60.0  # an idle network makes a block every two seconds
ABOUT: Final = "cometbft"


class Behind:
    """Looks after one node while it runs; `peers` are the others, `height` is CometBFT's that this node stands at."""

    def __init__(self, peers: Sequence[Peer], height: Callable[[], int], alarms: Alarms) -> None:
        self._peers, self._height, self._alarms = peers, height, alarms
        self._seen = -1
        self._closing = Event()
        self._log = structlog.get_logger("behind")
        self._thread = Thread(target=self._run, name="behind", daemon=True)

    def start(self) -> None:
        """Start looking."""
        self._thread.start()

    def close(self) -> None:
        """Stop; does not wait for a question that is under way."""
        self._closing.set()

    def look(self) -> None:
        """Ask the others, where this node stands where it stood at the last look."""
        height, seen = self._height(), self._seen
        self._seen = height
        if height == seen and is_forgotten(tuple(self._peers), height + 1):
            self._alarms.add(ABOUT, UnavailableError("blocks-pruned", "nobody has the next block", height=height + 1))
        else:
            self._alarms.end(ABOUT)

    def _run(self) -> None:
        while not self._closing.wait(LOOK_S):
            try:
                self.look()
            except Exception:  # noqa: BLE001 - whatever one look brings, there is a next one
                self._log.exception("behind.failed")
