"""The bound on the streams that a member opens (SPEC R-S05).

Not here: which streams a record joins (see `core.stream`).
"""

from __future__ import annotations

from collections.abc import Iterable

from ledger.core.canonical import encode, parse
from ledger.limits import NEW_STREAMS_MEMBER_DAY_MAX
from ledger.machine.admit import NEW, Admitted
from ledger.machine.views import DecideView

DAY_MS = 86_400_000


class StreamQuota:
    """Counts the new streams each member opens on a day (R-S05); over the limit an event is refused `stream-limit`.

    The count stands in the state as `quota/<member>/<days since 1970>`, so that it does not depend on block boundaries.
    """

    def __init__(self, admitted: Iterable[Admitted], view: DecideView, time: int) -> None:
        entries = [a for a in admitted if a.status == NEW]
        self._day = time // DAY_MS
        self._missing = view.missing_streams({stream for a in entries for stream in a.streams})
        members = {a.member for a in entries if not self._missing.isdisjoint(a.streams)} if self._missing else set()
        stored = view.read_objects([self._key(member) for member in members])
        self._counts = {m: parse(stored[self._key(m)])["streams"] if self._key(m) in stored else 0 for m in members}

    def _key(self, member: str) -> str:
        return f"quota/{member}/{self._day}"

    def admits(self, admitted: Admitted) -> tuple[str, bytes] | bool | None:
        """False when over the limit; else the write that counts the event's new streams, or None where it has none."""
        if not self._missing:
            return None
        new = [stream for stream in admitted.streams if stream in self._missing]
        if not new:
            return None
        count = self._counts[admitted.member] + len(new)
        if count > NEW_STREAMS_MEMBER_DAY_MAX:
            return False
        self._counts[admitted.member] = count
        self._missing.difference_update(new)
        return self._key(admitted.member), encode({"streams": count})
