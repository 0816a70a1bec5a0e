"""Whether a reader may see something, and in which capacity (rule C4; Decree 809, Art. 29: the authority and the provider).

Rules: authority, regulator and auditor, by their roles in the registry, see everything; the provider of an entry sees the
entry and what stands below it; a party sees the object that names it, a person the stream of its own tag; every member sees
the events of governance, on which members vote. The lineage of what a member may see shows it the neighbours that it may
see too, and says how many others there are. Lists, which number and page what belongs to others, are for the first three,
but a member sees its own stream. Judged at the certified state.
Not here: tokens, and the record of reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from ledger.adapters.home.readertokens import Reader
from ledger.core import canonical
from ledger.core.event import parse_head
from ledger.core.registry import Registry
from ledger.errors import LedgerError
from ledger_node.query.events import find_certified
from ledger_node.query.objects import object_name
from ledger_node.query.standing import Standing

OVERSIGHT: Final = ("authority", "regulator", "auditor")
GOVERNANCE: Final = "sys."
PARTY_FIELDS: Final = frozenset(
    (
        "about", "agreed", "applicant", "counterparty", "holder", "member", "operator", "owner", "processor", "provider",
        "receiver", "sub", "user",
    )
)  # fmt: skip
PARTY_MAPS: Final = frozenset(("collectors", "held", "holders", "live", "waiting"))


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked for: an object or stream by kind and id, an event by author and id (`event`), or a list (empty kind)."""

    kind: str = ""
    id: str = ""
    event: bool = False
    whole: bool = True  # False where the answer names what belongs to others
    lineage: bool = False  # of which what belongs to others can be left out


@dataclass(frozen=True, slots=True)
class Read:
    """A reading that is allowed: in which capacity, and of which entries."""

    capacity: str
    datasets: tuple[str, ...] = ()

    @property
    def oversees(self) -> bool:
        """Whether nothing is withheld from this reader."""
        return self.capacity in OVERSIGHT


def entitle(standing: Standing, registry: Registry, reader: Reader, target: Target) -> Read | None:
    """What the reading is recorded as; None where it is not allowed."""
    if reader.person:
        own = target.whole and (target.kind, target.id) == ("subject", reader.name)
        return Read("person") if own else None
    member = registry.members.get(reader.name)
    if member is None or member.status:
        return None
    refs = dict(_named(standing, target))
    datasets = tuple(sorted(id_ for kind, id_ in refs if kind == "dataset" and _object(standing, kind, id_)))
    for role in OVERSIGHT:
        if role in member.roles:
            return Read(role, datasets)
    if not target.kind or not (target.whole or target.lineage):
        return None
    if any(_object(standing, "dataset", each).get("provider") == reader.name for each in datasets):
        mine = [each for each in datasets if _object(standing, "dataset", each).get("provider") == reader.name]
        return Read("provider", tuple(mine)) if len(mine) == len(datasets) else Read("party", datasets)
    return Read("party", datasets) if _is_party(standing, reader.name, target, refs) else None


def _is_party(standing: Standing, member: str, target: Target, refs: dict[tuple[str, str], None]) -> bool:
    if target.event and any(parse_head(head)["kind"].startswith(GOVERNANCE) for head in _heads(standing, target)):
        return True
    if (target.event or target.kind == "member") and target.id.split("/", 1)[0] == member:
        return True
    return any(
        identifier.startswith(f"{member}/") or _names(_object(standing, kind, identifier), member)
        for kind, identifier in refs
    )


def _names(value: dict[str, Any], member: str) -> bool:
    if any(value.get(name) == member for name in PARTY_FIELDS):
        return True
    return any(isinstance(value.get(name), dict) and member in value[name] for name in PARTY_MAPS)


def _named(standing: Standing, target: Target) -> Iterator[tuple[tuple[str, str], None]]:
    """(kind, id) of the objects that the answer is about: the one asked for and its entry, or those an event names."""
    if target.event:
        for head in _heads(standing, target):
            for kind, value in parse_head(head)["refs"].items():
                for identifier in value if isinstance(value, list) else (value,):
                    yield (kind, identifier), None
        return
    if target.kind and target.id:
        yield (target.kind, target.id), None
        entry = _object(standing, target.kind, target.id).get("dataset")
        if isinstance(entry, str):
            yield ("dataset", entry), None


def _heads(standing: Standing, target: Target) -> list[bytes]:
    """The head of the event that is asked for; of none where it is not certified."""
    member, _, event_id = target.id.rpartition("/")
    try:
        seqs = find_certified(standing, member, event_id)
    except LedgerError:
        return []
    return [leaf.head for leaf in standing.snap.leaves(seqs, bodies=False, places=False) if leaf.head is not None]


def _object(standing: Standing, kind: str, identifier: str) -> dict[str, Any]:
    try:
        found = standing.object(object_name(kind, identifier))
    except LedgerError:
        return {}
    return canonical.parse(found) if found else {}
