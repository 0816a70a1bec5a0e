"""Tells bodies that the ledger itself let go from bodies that are just missing.

Rule: a missing body is no finding either way; it is *pruned* only where accepted `archive.prune` records of this very ledger
cover it, which are then named. Not here: whether a pruning was rightly accepted (the replay says, as far as it goes).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ledger.core import canonical
from ledger.core.leaf import Record, parse_leaf
from ledger.errors import MalformedError
from ledger.limits import LEAF_BYTES_MAX
from ledger.machine.pruning import KIND, Permit, covering, named_objects, parse_permit
from ledger.rules.kinds import Kind
from ledger.verify.findings import BODIES, Gap, gap

NAMED_MAX: Final = 5  # records that a gap names
GROUPS_MAX: Final = 100_000

Gone = tuple[str, tuple[tuple[str, tuple[str, ...]], ...]]
"""Kind and refs of an event whose body is missing."""


@dataclass(slots=True)
class Absences:
    """What one block holds of it: missing bodies, and prunings as (member, event id, refs, body)."""

    gone: list[Gone] = field(default_factory=list)
    asked: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = field(default_factory=list)

    def see(self, member: str, fields: Mapping[str, Any], content: Mapping[str, Any] | None) -> None:
        """Take one event; `content` is None where its body is missing."""
        if content is None:
            refs = {
                name: (value,) if isinstance(value, str) else tuple(value) for name, value in fields["refs"].items()
            }
            self.gone.append((fields["kind"], tuple(sorted(refs.items()))))
        elif fields["kind"] == KIND:
            self.asked.append((member, fields["id"], dict(fields["refs"]), dict(content)))


class PrunedBodies:
    """Collects through a ledger what is missing and what was let go. `zone_ms` is the rulebook's."""

    def __init__(self, kinds: Mapping[str, Kind], zone_ms: int) -> None:
        self._kinds, self._zone_ms = kinds, zone_ms
        self._permits: list[Permit] = []
        self._gone: dict[tuple[frozenset[str], str], list[int]] = {}  # (objects, kind) to times
        self._uncounted = 0

    def block(self, absences: Absences, leaves: list[bytes], time: int) -> None:
        """Take the next block, recorded at `time` (unix ms)."""
        if absences.asked:
            self._allow(absences, leaves)
        for kind, refs in absences.gone:
            group = (named_objects(dict(refs), self._kinds.get(kind)), kind)
            if group in self._gone or len(self._gone) < GROUPS_MAX:
                self._gone.setdefault(group, []).append(time)
            else:
                self._uncounted += 1

    def gaps(self) -> list[Gap]:
        """`bodies-pruned` for what was let go, `bodies-missing` for the rest."""
        pruned, missing, used = 0, self._uncounted, set[str]()
        for (objects, kind), times in self._gone.items():
            declared = self._kinds.get(kind)
            retention = declared.retention if declared is not None else None
            for time in times:
                names = covering(self._permits, objects, retention, time, self._zone_ms)
                pruned, missing, used = pruned + bool(names), missing + (not names), used | names
        found: list[Gap] = []
        if pruned:
            shown = sorted(used)
            text = ", ".join(shown[:NAMED_MAX]) + (" …" if len(shown) > NAMED_MAX else "")
            found.append(gap("bodies-pruned", BODIES, count=pruned, records=text))
        if missing:
            found.append(gap("bodies-missing", BODIES, count=missing))
        return found

    def _allow(self, absences: Absences, leaves: list[bytes]) -> None:
        asked = {(member, event_id) for member, event_id, _, _ in absences.asked}
        accepted: set[tuple[str, str]] = set()
        for leaf in leaves:
            try:
                parsed = parse_leaf(leaf)
                if isinstance(parsed, Record) and (parsed.member, parsed.id) in asked:
                    verdict = canonical.parse(parsed.verdict, bytes_max=LEAF_BYTES_MAX)
                    accepted |= {(parsed.member, parsed.id)} if verdict.get("outcome") == "accepted" else set()
            except MalformedError:
                continue  # a finding already
        for member, event_id, refs, body in absences.asked:
            if (member, event_id) in accepted:
                try:
                    self._permits.append(parse_permit(f"{member}/{event_id}", refs, body))
                except MalformedError:
                    continue  # whatever rulebook accepted this: it lets nothing go
