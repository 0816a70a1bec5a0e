"""What the index takes from one leaf: names of objects, what was created from what, findings, duties, words.

Rule: a pure function of the leaf and the rulebook's declarations, so that a rebuilt index equals the one that grew with the
ledger. Refused records add nothing but themselves: nobody puts a name into another's catalogue by being refused.
Not here: storage, and the state of what is named (that is read where it is certified).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ledger.core import canonical
from ledger.core.leaf import TimerLeaf
from ledger.limits import LEAF_BYTES_MAX
from ledger.rules.kinds import Kind

TEXT_CHARS_MAX: Final = 2_000  # of one object's words
_PLAIN: Final = b'{"outcome":"accepted"}'  # what most verdicts say; it holds nothing to look for
_REFUSED: Final = b'"outcome":"refused"'
_FINDINGS: Final = b'"findings":'
_DUTIES: Final = b'"duties":'
_TIMERS: Final = b'"timers":'

Name = tuple[str, str]
"""(object kind, id)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding as the verdict raised it; its status stands in the state."""

    id: str
    code: str
    about: str


@dataclass(frozen=True, slots=True)
class Duty:
    """A duty as the verdict left it: `key` names its state object, `due` is unix ms or None."""

    key: str
    by: str
    rule: str
    due: int | None
    status: str


@dataclass(slots=True)
class Facts:
    """What one leaf adds to the index.

    `timers` are (key, due or None when it fired or was cleared); `touched` are state keys of findings and duties whose
    status the leaf may have changed without its verdict saying so.
    """

    seq: int
    kind: str = ""
    member: str = ""
    names: Sequence[Name] = ()
    edges: Sequence[tuple[Name, Name, str]] = ()
    findings: Sequence[Finding] = ()
    duties: Sequence[Duty] = ()
    timers: Sequence[tuple[str, int | None]] = ()
    touched: Sequence[str] = ()
    words: tuple[Name, str] | None = None


def record_facts(
    seq: int,
    member: str,
    event_id: str,
    verdict: bytes,
    head: Mapping[str, Any],
    body: Mapping[str, Any] | None,
    kinds: Mapping[str, Kind],
) -> Facts:
    """The facts of a record; `head` and `body` are its parsed event (`body` None where it is not at hand)."""
    facts = Facts(seq, str(head["kind"]), member)
    if verdict != _PLAIN:
        verdict_facts(facts, verdict)
        if _REFUSED in verdict:
            return facts
    kind = kinds.get(facts.kind)
    if kind is None or "intent" in head:
        return facts
    refs = head["refs"]
    facts.names = inputs = []
    for ref in kind.refs:
        value = None if ref.opaque else refs.get(ref.name)
        if type(value) is str:
            inputs.append((ref.name, value))
        elif value is not None:
            inputs.extend((ref.name, identifier) for identifier in value)
    if "finding" in refs:
        facts.touched = [f"finding/{identifier}" for via, identifier in inputs if via == "finding"]
    subject: Name | None = None
    if kind.creates is not None:
        subject = (kind.creates, f"{member}/{event_id}")
        facts.edges = [(name, subject, name[0]) for name in inputs]
        facts.names = [*inputs, subject]
    elif kind.owns:
        subject = next((name for name in inputs if name[0] == kind.owns[0]), None)
    if subject is not None and body is not None:
        text = _words(kind, body)
        if text:
            facts.words = (subject, text)
    return facts


def timer_facts(seq: int, leaf: TimerLeaf) -> Facts:
    """The facts of a fired timer: the duty behind it may be overdue now."""
    facts = Facts(seq, timers=[(leaf.key, None)], touched=[f"duty/{leaf.key.removeprefix('timer/')}"])
    verdict_facts(facts, leaf.verdict)
    return facts


def verdict_facts(facts: Facts, verdict: bytes) -> None:
    """Add the findings, duties and timers of a verdict."""
    if _FINDINGS not in verdict and _DUTIES not in verdict and _TIMERS not in verdict:
        return
    fields = canonical.parse(verdict, bytes_max=LEAF_BYTES_MAX)
    facts.findings = [
        Finding(str(entry["id"]), str(entry["code"]), str(entry["about"])) for entry in fields.get("findings", ())
    ]
    facts.duties = [_duty(entry) for entry in fields.get("duties", ())]
    facts.timers = [
        *facts.timers,
        *((str(key), due if isinstance(due, int) else None) for key, due in fields.get("timers", ())),
    ]


def _duty(entry: Mapping[str, Any]) -> Duty:
    label = f"#{entry['label']}" if "label" in entry else ""
    key = f"duty/{entry['rule']}/{entry['on']}{label}"
    due = entry.get("due")
    return Duty(key, str(entry["by"]), str(entry["rule"]), due if isinstance(due, int) else None, str(entry["status"]))


def describes(kind: Kind | None) -> bool:
    """Whether events of this kind carry words that an object is found by."""
    return (
        kind is not None
        and (kind.creates is not None or bool(kind.owns))
        and any(entry.type == "text" for entry in kind.fields)
    )


def _words(kind: Kind, body: Mapping[str, Any]) -> str:
    parts = [body.get(entry.name) for entry in kind.fields if entry.type == "text"]
    return "\n".join(part for part in parts if isinstance(part, str))[:TEXT_CHARS_MAX]
