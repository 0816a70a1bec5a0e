"""Block time: the wall clock, or a scenario clock that an operator steps (SPEC R-Q20).

Under `scenario` time moves only by `step`, so demos and trials of rules run weeks in seconds; screens, proofs and
`verify` say "simulated time". Not here: the rule that block time never decreases (see `Application.prepare`).
"""

from __future__ import annotations

import time

from ledger.errors import RejectedError


class WallClock:
    """The machine's clock, in unix ms."""

    def now_ms(self) -> int:
        """Now."""
        return time.time_ns() // 1_000_000


class ScenarioClock:
    """A clock that stands still until it is stepped."""

    def __init__(self, start_ms: int) -> None:
        self._now_ms = start_ms

    def now_ms(self) -> int:
        """The scenario's now."""
        return self._now_ms

    def step(self, to_ms: int) -> None:
        """Move to `to_ms`; raises `RejectedError` for a step back."""
        if to_ms < self._now_ms:
            raise RejectedError("clock-back", "a scenario clock only steps forward", now=self._now_ms, asked=to_ms)
        self._now_ms = to_ms
