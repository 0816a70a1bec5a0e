"""A bounded cache that forgets what was not used for a while.

Rule: two generations; what is found in the old one moves to the young one, and when the young one is full it becomes the
old. Every operation costs a dictionary access or two. Not here: when an entry is true, which the owner decides.
"""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Cache(Generic[K, V]):
    """Holds at least the `capacity` and at most twice the `capacity` entries that were used last."""

    __slots__ = ("_capacity", "_old", "_young")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """The value of `key`, or None."""
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: K, value: V) -> None:
        """Keep `value` under `key`."""
        young = self._young
        young[key] = value
        if len(young) >= self._capacity:
            self._old, self._young = young, {}

    def drop(self, key: K) -> None:
        """Forget one entry."""
        self._young.pop(key, None)
        self._old.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self._young, self._old = {}, {}

    def __len__(self) -> int:
        """Entries held, those held twice counted twice."""
        return len(self._young) + len(self._old)
