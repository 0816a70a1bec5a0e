"""The result of a verification as a value: what was checked, what is wrong, what was not checked (SPEC R-V11).

Rules: `findings` make the verdict `broken`, whatever else holds; else a limiting gap makes it `incomplete`; only then is
it `intact`. Each level is echoed. Not here: words (see `texts`) and colours (the command line's).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from ledger.verify.findings import CERTIFICATES, LEVELS, REPLAY, STATE, Findings, Gap

INTACT: Final = "intact"
INCOMPLETE: Final = "incomplete"
BROKEN: Final = "broken"

CHECKED: Final = "checked"
PARTLY: Final = "partly"
NOT_CHECKED: Final = "not-checked"
FAILED: Final = "failed"


@dataclass(slots=True)
class Counts:
    """What went through the auditor's hands. `bytes` are those of heads and bodies; `filled_bodies` are missing in the
    source and came from a kept copy."""

    blocks: int = 0
    submissions: int = 0
    events: int = 0
    bytes: int = 0
    leaves: int = 0
    timers: int = 0
    state_rows: int = 0
    replayed_blocks: int = 0
    replayed_events: int = 0
    missing_bodies: int = 0
    filled_bodies: int = 0
    certificates: int = 0
    natives: int = 0


@dataclass(slots=True)
class CertifiedReport:
    """A certified checkpoint as a report shows it: times are Unix seconds."""

    height: int
    size: int
    root: str
    cosigners: list[str]
    recorded_by_s: int
    fresh_at_s: int

    def document(self) -> dict[str, Any]:
        """The JSON object."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Resumed:
    """What an earlier run had verified when this one went on: blocks up to `height` with `size` leaves and `events`.

    `time` (unix ms) is when it stood there. Of these blocks this run has read every byte again and recomputed the tree.
    """

    height: int
    size: int
    events: int
    time: int

    def document(self) -> dict[str, int]:
        """The JSON object."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Report:
    """See the module. `pinned_by` is empty when the origin is the source's own word; `runtime` empty without replay."""

    source: str
    origin: str = ""
    pinned_by: str = ""
    clock: str = ""
    runtime: str = ""
    height: int = -1
    time: int = 0
    size: int = 0
    root: str = ""
    state_root: str = ""
    first_certified: CertifiedReport | None = None
    last_certified: CertifiedReport | None = None
    counts: Counts = field(default_factory=Counts)
    findings: Findings = field(default_factory=Findings)
    gaps: list[Gap] = field(default_factory=list)
    agreed: list[tuple[str, int]] = field(default_factory=list)
    certified_note: bytes = b""
    resumed: Resumed | None = None

    @property
    def verdict(self) -> str:
        """`broken`, `incomplete` or `intact`."""
        if self.findings.total:
            return BROKEN
        return INCOMPLETE if any(each.limits for each in self.gaps) else INTACT

    def level(self, name: str) -> str:
        """`failed`, `not-checked`, `partly` or `checked`."""
        if self.findings.levels[name]:
            return FAILED
        gaps = [each for each in self.gaps if each.level == name]
        if any(each.code in WHOLE_LEVEL for each in gaps) or self._nothing_read(name):
            return NOT_CHECKED
        stopped = name == REPLAY and self.counts.replayed_blocks < self.counts.blocks
        return PARTLY if stopped or any(each.limits for each in gaps) else CHECKED

    def _nothing_read(self, name: str) -> bool:
        """Whether nothing of this level came to the auditor's hands: then nothing can be said of it."""
        counts = self.counts
        read = {
            CERTIFICATES: counts.certificates,
            REPLAY: counts.replayed_blocks,
            STATE: counts.replayed_blocks + counts.state_rows,
        }
        return not counts.blocks or not read.get(name, counts.blocks)

    def document(self) -> dict[str, Any]:
        """The JSON document of `--json`; names and codes are stable, times are unix ms unless named `_s`."""
        counts = {name: getattr(self.counts, name) for name in self.counts.__slots__}
        certified = {
            "first": self.first_certified.document() if self.first_certified else None,
            "last": self.last_certified.document() if self.last_certified else None,
        }
        return {
            "v": 1,
            "verdict": self.verdict,
            "source": self.source,
            "origin": self.origin,
            "pinned_by": self.pinned_by or None,
            "clock": self.clock,
            "runtime": self.runtime or None,
            "head": {
                "height": self.height,
                "time": self.time,
                "size": self.size,
                "root": self.root,
                "state_root": self.state_root,
            },
            "certified": certified,
            "levels": {name: self.level(name) for name in LEVELS},
            "counts": counts,
            "resumed": self.resumed.document() if self.resumed else None,
            "agreed": [{"source": source, "size": size} for source, size in self.agreed],
            "findings": [each.document() for each in self.findings.kept],
            "findings_total": self.findings.total,
            "findings_by_code": dict(sorted(self.findings.counts.items())),
            "not_checked": [each.document() for each in self.gaps],
        }


WHOLE_LEVEL: Final = frozenset(("replay-off", "rules-unavailable", "no-certificate", "state-unavailable"))
"""Gaps that leave their whole level unchecked."""
