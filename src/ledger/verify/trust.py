"""Decides what an auditor takes for granted, and whether a ledger agrees with what was seen before.

Rules (SPEC R-V09): whoever pins the origin pins the genesis. A checkpoint that was pinned (anchor) or remembered from
an earlier audit must be part of this ledger, root and all; a ledger that is shorter than it, or whose newest
certificate is older than `max_age_s`, was not verified completely. Not here: files and clocks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from ledger.core import canonical
from ledger.core.checkpoint import parse_checkpoint_text
from ledger.core.hashing import Digest
from ledger.core.ident import check_origin
from ledger.core.note import parse_note
from ledger.errors import MalformedError
from ledger.limits import INT_MAX, MAX_AGE_DEFAULT_MS
from ledger.verify.findings import CERTIFICATES, TREE, Finding, Gap, gap, show

MAX_AGE_DEFAULT_S: Final = MAX_AGE_DEFAULT_MS // 1000
_FIELDS: Final = frozenset({"anchor", "max_age_s", "origin", "witnesses"})

ANCHOR, REMEMBERED = "anchor", "remembered"


@dataclass(frozen=True, slots=True)
class Known:
    """A checkpoint known from elsewhere: its source is `anchor` or `remembered`, `note` is kept as evidence."""

    source: str
    size: int
    root: Digest
    note: bytes


@dataclass(frozen=True, slots=True)
class Trust:
    """What is pinned. `origin` None means that the source's own word is taken, which is then said.

    `pinned_by` names where the origin came from; `max_age_s` None demands no freshness.
    """

    origin: str | None = None
    pinned_by: str = ""
    known: tuple[Known, ...] = ()
    max_age_s: int | None = None


def known_checkpoint(source: str, note: bytes, origin: str) -> Known:
    """The checkpoint of a note that the caller trusts as it is; its signatures are not looked at again."""
    checkpoint = parse_checkpoint_text(parse_note(note).text)
    if checkpoint.origin != origin:
        raise MalformedError("trust-anchor", "note of another network", expected=origin, got=checkpoint.origin)
    return Known(source, checkpoint.size, checkpoint.root, note)


def parse_trust(data: bytes) -> Trust:
    """A trust file: JSON object {origin, anchor?: note text, max_age_s?: seconds, witnesses?}. Raises `MalformedError`.

    White space is not significant here, because people write this file; everything else is as strict as elsewhere.
    """
    document = _document(data)
    unknown = sorted(document.keys() - _FIELDS)
    if unknown or "origin" not in document:
        raise MalformedError("trust", "origin is missing, or fields are unknown", got=unknown)
    origin = check_origin(document["origin"])
    max_age = document.get("max_age_s", MAX_AGE_DEFAULT_S)
    if type(max_age) is not int or not 0 < max_age <= INT_MAX:
        raise MalformedError("trust", "max_age_s is a positive number of seconds", got=max_age)
    known: tuple[Known, ...] = ()
    anchor = document.get("anchor")
    if anchor is not None:
        if not isinstance(anchor, str):
            raise MalformedError("trust", "anchor is the text of a signed note", got=anchor)
        known = (known_checkpoint(ANCHOR, anchor.encode("utf-8"), origin),)
    return Trust(origin, "trust", known, max_age)


def _document(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data.decode("utf-8"), object_pairs_hook=_unique)
        # Through the canonical form: no floats or odd strings slip in.
        return canonical.parse(canonical.encode(document))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedError("trust", "not a JSON object", reason=str(error)) from None
    except MalformedError as error:
        if error.code == "trust":
            raise
        raise MalformedError("trust", "not a JSON object", reason=error.message) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise MalformedError("trust", "a field stands twice", got=[name for name, _ in pairs])
    return document


@dataclass(slots=True)
class KnownCheckpoints:
    """Compares the known checkpoints with the log as it is recomputed."""

    known: list[Known] = field(default_factory=list)
    agreed: list[Known] = field(default_factory=list)

    def due(self, size: int) -> bool:
        """Whether a known checkpoint is to be compared at this size."""
        return any(each.size <= size for each in self.known)

    def confirmed(self, height: int, size: int, root: Digest) -> Iterable[Finding]:
        """The findings where a known checkpoint is not that of the recomputed log at this block's end."""
        passed = [each for each in self.known if each.size <= size]
        if not passed:
            return []
        self.known = [each for each in self.known if each.size > size]
        findings: list[Finding] = []
        for each in passed:
            if each.size == size and each.root == root:
                self.agreed.append(each)
                continue
            expected = f"{each.size} {each.root.hex()}"
            got = f"{size} {root.hex()}" if each.size == size else "no block ends there"
            note = show(each.note.decode("utf-8", "replace"))
            findings.append(Finding("history-differs", TREE, height, size - 1, None, each.source, expected, got, note))
        return findings

    def end(self, size: int) -> list[Gap]:
        """The gaps for known checkpoints that this ledger does not reach."""
        return [gap("behind", TREE, source=each.source, known_size=each.size, size=size) for each in self.known]


def freshness(trust: Trust, fresh_at_s: int | None, now_ms: int) -> Gap | None:
    """The gap when the newest certificate is older than demanded."""
    if trust.max_age_s is None or fresh_at_s is None:
        return None
    age = now_ms // 1000 - fresh_at_s
    if age <= trust.max_age_s:
        return None
    return gap("stale", CERTIFICATES, age_s=age, max_age_s=trust.max_age_s)
