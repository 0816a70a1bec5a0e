"""Block times by height, remembered: they never change, and a timeline asks for many of them.

Rule: bounded, shared by threads; a miss reads the block's header. Not here: what a time means.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ledger.adapters.sqlite.reader import Snapshot

HEIGHTS_MAX: Final = 100_000  # about 10 MB


class BlockTimes:
    """Unix ms by height."""

    def __init__(self) -> None:
        self._times: dict[int, int] = {}

    def read(self, snap: Snapshot, heights: Iterable[int]) -> dict[int, int]:
        """The times of these heights."""
        found: dict[int, int] = {}
        for height in set(heights):
            time = self._times.get(height)
            if time is None:
                time = snap.block(height).time
                if len(self._times) >= HEIGHTS_MAX:
                    self._times = {}  # threads that still hold the old one lose nothing but a read
                self._times[height] = time
            found[height] = time
        return found
