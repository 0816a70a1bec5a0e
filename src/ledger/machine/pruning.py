"""What an accepted `archive.prune` lets a node erase: bodies, by grant and catalogue entry, retention class and day.

Rules: an act of erasure is one node's own; the ledger only says which bodies may go. A body may go when every grant and
every entry that its head names was pruned for its kind's class up to a day after it was recorded, and when it names one at
all. What the ledger decides itself (`sys.*`) never goes. Not here: floors and holds (rule C1), files (see
`adapters.pruning`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from ledger.core.hashing import Digest, parse_hex_digest
from ledger.errors import MalformedError
from ledger.rules.kinds import Kind

KIND: Final = "archive.prune"
STREAMS: Final = ("dataset", "grant")
"""Kinds of the objects that a pruning is asked for."""
DAY_MS: Final = 86_400_000
_EPOCH: Final = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class Permit:
    """One accepted `archive.prune`, by name (`<member>/<event id>`).

    `objects` are state keys (`grant/…`, `dataset/…`), `classes` retention classes; records before the day `before`
    (`2026-04-03`) of the rulebook's zone are meant. `export` is the hash of the export that is kept, made at `height`.
    """

    name: str
    objects: frozenset[str]
    classes: frozenset[str]
    before: str
    height: int
    export: Digest

    def before_ms(self, zone_ms: int) -> int:
        """The start of its day in a zone (ms east of UTC), unix ms."""
        return (date.fromisoformat(self.before).toordinal() - _EPOCH) * DAY_MS - zone_ms


def parse_permit(name: str, refs: Mapping[str, Any], body: Mapping[str, Any]) -> Permit:
    """The permit of an accepted record. Raises `MalformedError` where head and body are not those of one."""
    try:
        date.fromisoformat(body["before"])
        classes = frozenset(str(each) for each in body["classes"])
        height, export = body["height"], parse_hex_digest(body["export"])
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedError("prune-record", "not a pruning", event=name, reason=str(error)) from None
    if type(height) is not int:
        raise MalformedError("prune-record", "not a pruning", event=name, reason="height")
    objects = frozenset(f"{kind}/{refs[kind]}" for kind in STREAMS if isinstance(refs.get(kind), str))
    return Permit(name, objects, classes, body["before"], height, export)


def named_objects(refs: Mapping[str, Any], kind: Kind | None) -> frozenset[str]:
    """The grants and entries that a head names, as state keys; without a declaration by the names of its refs."""
    objects = {ref.name: ref.object for ref in kind.refs} if kind is not None else {}
    found: set[str] = set()
    for name, value in refs.items():
        what = objects.get(name, name)
        if what in STREAMS:
            found.update(f"{what}/{each}" for each in ([value] if isinstance(value, str) else value))
    return frozenset(found)


def covering(
    permits: Iterable[Permit], objects: frozenset[str], retention: str | None, time: int, zone_ms: int
) -> set[str]:
    """Names of the permits under which a body recorded at `time` (unix ms) may be gone; empty where it may not.

    `retention` is its kind's class, None where that is not known: then any class counts.
    """
    used: set[str] = set()
    for each in objects:
        allowing = {
            permit.name
            for permit in permits
            if each in permit.objects
            and (retention is None or retention in permit.classes)
            and time < permit.before_ms(zone_ms)
        }
        if not allowing:
            return set()
        used |= allowing
    return used
