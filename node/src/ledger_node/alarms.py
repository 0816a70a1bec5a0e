"""What a node noticed of others, or of its own start, that a person should look at: by what it is about, the newest error.

Rules: an alarm ends when the same source is right again; that somebody signed two histories stays until the node starts
anew, and its evidence stays for ever. Proposals that were voted against are only counted. Nothing here makes a node
unready. Thread-safe.
Not here: evidence files (see `ledger.adapters.ordering.evidence`) and what a node cannot do itself (see `readiness`).
"""

from __future__ import annotations

from collections import Counter
from threading import Lock
from typing import Final

from ledger.errors import ForkError, LedgerError

ALARMS_MAX: Final = 200
"""Addresses come from settings and from the registry; beyond this many the newest are left out."""


class Alarms:
    """See the module."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._found: dict[str, LedgerError] = {}
        self._rejected: Counter[str] = Counter()

    def add(self, about: str, error: LedgerError) -> None:
        """`about` (an address, a member, or a part of this node) did something wrong."""
        with self._lock:
            if isinstance(self._found.get(about), ForkError) and not isinstance(error, ForkError):
                return
            if about in self._found or len(self._found) < ALARMS_MAX:
                self._found[about] = error

    def end(self, about: str) -> None:
        """`about` is right again."""
        if about not in self._found:  # nearly always, and once for each note of each peer
            return
        with self._lock:
            if not isinstance(self._found.get(about), ForkError):
                self._found.pop(about, None)

    def found(self) -> list[tuple[str, LedgerError]]:
        """(what it is about, the error), sorted."""
        with self._lock:
            return sorted(self._found.items())

    def codes(self) -> dict[str, int]:
        """How many there are of each error code."""
        return dict(Counter(error.code for _, error in self.found()))

    def reject(self, code: str) -> None:
        """A proposal of another validator was voted against, because of an error of this code."""
        with self._lock:
            self._rejected[code] += 1

    def rejected(self) -> dict[str, int]:
        """How many proposals were voted against since the start, by error code."""
        with self._lock:
            return dict(self._rejected)
