"""What a transition reads, as two small ports: one for deciding, one for sealing.

Deciding block N+1 may begin when N is decided but not yet sealed, so the two read different heads: a `DecideView` already
sees the object writes of N, a `SealView` sees blinds, streams and buckets only after N is sealed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from ledger.core.hashing import Digest
from ledger.core.leaf import Stream
from ledger.core.maptree import MapTree
from ledger.machine.block import Head, StateRow


class Rules(Protocol):
    """A compiled rulebook, as far as the host needs it."""

    def plan(self, member: str, head: Mapping[str, Any], body: Mapping[str, Any]) -> Sequence[str]:
        """State keys that the event may read or write."""

    def plan_timer(self, timer: Mapping[str, Any]) -> Sequence[str]:
        """State keys that the timer's handler may read or write."""

    def successor(
        self, rulebook: Mapping[str, bytes] | None, calendar: Mapping[str, bytes] | None, steps: int | None = None
    ) -> tuple[Digest, int]:
        """(program hash, language version) of what these files compile to under a step budget, None for what is in force.

        Raises `MalformedError` where they do not compile.
        """


class RuleRuntime(Protocol):
    """Runs one block's calls. Raises `RuntimeFault` on a local failure, which is never a verdict."""

    def run_block(self, call: dict[str, Any]) -> list[Any]:
        """The outcomes of `call`, one for each leaf, in order."""


class DecideView(Protocol):
    """The state after the last *decided* block. Calls are single-threaded."""

    @property
    def head(self) -> Head:
        """Height, time, config and registry after the last decided block (its `log` may lag)."""

    def read_objects(self, keys: Collection[str]) -> dict[str, bytes]:
        """Object bytes of the state keys that exist and are not deleted."""

    def due_timers(self, time: int, count_max: int) -> list[tuple[int, str]]:
        """(due, timer key) of timers with due ≤ time in order (due, key), at most `count_max`."""

    def find_events(self, ids: Collection[tuple[str, str]]) -> dict[tuple[str, str], list[Digest]]:
        """Event hashes recorded under each (member, id); ids that are not recorded are left out."""

    def missing_streams(self, streams: Collection[Stream]) -> set[Stream]:
        """Those of `streams` that no accepted record has joined yet."""


class SealView(Protocol):
    """The state after the last *sealed* block. Calls are single-threaded."""

    @property
    def head(self) -> Head:
        """The last sealed block."""

    @property
    def tree(self) -> MapTree:
        """The map's tree, which sealing advances."""

    def read_rows(self, keys: Sequence[bytes]) -> dict[bytes, StateRow]:
        """Rows by map key; keys that were never written are left out."""

    def read_buckets(self, indexes: Sequence[int]) -> Sequence[bytes]:
        """Packed contents of the buckets, in the order asked for."""
