"""Notices that this machine's clock and the time of blocks are apart (SPEC R-Q16).

Rule: a block that was made after this node handed something over cannot be older than that. Where two blocks in a row
are by more than a minute, an alarm says so until one is right: a single one may stand for what was sent again to a
node that lags, or come behind a standstill. On a scenario network time is the operator's. Not here: block time ahead
of this clock, for which the cosigner withholds (`ledger.adapters.ordering`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from ledger.errors import UnavailableError
from ledger.limits import CLOCK_BEHIND_MS
from ledger_node.query.outcome import Settled
from ledger_node.query.ports import Node

ABOUT: Final = "clock"


def machine_ms() -> int:
    """This machine's clock, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class ClockWatch:
    """Looks at what this node hands over; `now_ms` is this machine's clock."""

    def __init__(self, node: Node, now_ms: Callable[[], int] = machine_ms) -> None:
        self._node, self._now_ms = node, now_ms
        self._wall = node.genesis.clock == "wall"
        self._late = 0  # the block that was late when this was looked at last

    def follow(self, future: Settled) -> Settled:
        """The future of what is handed over at this moment, looked at when it is done."""
        if self._wall:
            asked, height = self._now_ms(), self._node.head.height
            future.add_done_callback(lambda done: self._look(done, asked, height))
        return future

    def _look(self, done: Settled, asked: int, height: int) -> None:
        if done.cancelled() or done.exception() is not None:
            return
        block = done.result()
        if block.height <= height:  # known before: no block was made for it
            return
        behind = asked - block.time
        if behind <= CLOCK_BEHIND_MS:
            self._late = 0
            self._node.alarms.end(ABOUT)
        elif self._late in (0, block.height):
            self._late = block.height
        else:
            error = UnavailableError("clock-apart", "block time is behind this machine's clock", seconds=behind // 1000)
            self._node.alarms.add(ABOUT, error)
