"""Which streams a leaf joins (SPEC R-S01 to R-S05), and the bound on new ones.

A record joins its author's stream, those of its refs and of its data subjects; what a finding is about comes from the
verdict. Not here: how a stream's root advances (see `core.stream` and `seal`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ledger.core.canonical import encode, parse
from ledger.core.leaf import Stream
from ledger.limits import NEW_STREAMS_MEMBER_DAY_MAX
from ledger.machine.admit import NEW, Admitted
from ledger.machine.views import DecideView

DAY_MS = 86_400_000


def event_streams(member: str, fields: dict[str, Any]) -> list[Stream]:
    """(kind, id) of author, refs and data subjects; `fields` is a parsed head.

    A data subject's tag is keyed by the department, so its stream is named below the member: nobody else can join it.
    """
    streams: list[Stream] = [("member", member)]
    for kind, value in fields["refs"].items():
        if type(value) is str:
            streams.append((kind, value))
        else:
            streams.extend((kind, item) for item in value)
    subjects = fields.get("data_subjects")
    if subjects:
        streams.extend(("subject", f"{member}/{tag}") for tag in subjects)
    if ("member", member) in streams[1:]:
        del streams[0]  # a ref may name the author itself; a record joins a stream once
    return streams


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

    def admits(self, admitted: Admitted) -> tuple[str, bytes] | None | bool:
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
