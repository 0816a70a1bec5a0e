"""How long a timed soak test may run: its share of LEDGER_SOAK_MINUTES, which `./dev soak --minutes N` sets."""

from __future__ import annotations

import os

MINUTES = "LEDGER_SOAK_MINUTES"
MINUTES_DEFAULT = 60.0
KILL_SHARE = 0.4
FUZZ_SHARE = 0.4
CHAOS_SHARE = 0.2


def budget_s(share: float) -> float:
    """Seconds for a test that gets `share` of the whole."""
    return float(os.environ.get(MINUTES) or MINUTES_DEFAULT) * 60 * share
