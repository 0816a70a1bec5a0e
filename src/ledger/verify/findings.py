"""What an auditor says: findings (this is wrong, here) and gaps (this was not checked, because).

Rules: a finding names its place as far as it is known and shows expected and got; a gap is never silent. Findings are
kept up to a bound and counted beyond it, so that a hostile ledger cannot fill memory.
Not here: the words for them (see `texts`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from ledger.errors import LedgerError

BYTES: Final = "bytes"
SIGNATURES: Final = "signatures"
LEAVES: Final = "leaves"
TREE: Final = "tree"
STATE: Final = "state"
CERTIFICATES: Final = "certificates"
REPLAY: Final = "replay"
BODIES: Final = "bodies"

LEVELS: Final = (BYTES, SIGNATURES, LEAVES, TREE, STATE, CERTIFICATES, REPLAY, BODIES)
"""The levels of verification, in the order in which they build on each other."""

FINDINGS_KEPT_MAX: Final = 100
SHOWN_CHARS_MAX: Final = 400


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `seq` is a leaf index, `event` `<member>/<event id>`, `place` a file or stored part."""

    code: str
    level: str
    height: int | None = None
    seq: int | None = None
    event: str | None = None
    field: str | None = None
    expected: str | None = None
    got: str | None = None
    place: str | None = None

    def document(self) -> dict[str, Any]:
        """The JSON object of the finding, empty fields left out."""
        return {name: getattr(self, name) for name in self.__slots__ if getattr(self, name) is not None}


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that was not checked, and why. `limits` is False where the answer asked for is complete without it."""

    code: str
    level: str
    details: tuple[tuple[str, str | int], ...] = ()
    limits: bool = True

    def document(self) -> dict[str, Any]:
        """The JSON object of the gap."""
        return {"code": self.code, "level": self.level, **dict(self.details)}


def gap(code: str, level: str, *, limits: bool = True, **details: str | int) -> Gap:
    """A gap with named details."""
    return Gap(code, level, tuple(details.items()), limits)


@dataclass(slots=True)
class Findings:
    """All findings of one verification: the first hundred kept, the rest counted by code."""

    kept: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    levels: Counter[str] = field(default_factory=Counter)

    def add(self, finding: Finding) -> None:
        """Keep or count one more."""
        self.counts[finding.code] += 1
        self.levels[finding.level] += 1
        if len(self.kept) < FINDINGS_KEPT_MAX:
            self.kept.append(finding)

    @property
    def total(self) -> int:
        """How many were found, kept or not."""
        return self.counts.total()


def show(value: object) -> str:
    """A value as a finding shows it: hex for bytes, bounded in length."""
    text = value.hex() if isinstance(value, (bytes, bytearray)) else str(value)
    return text if len(text) <= SHOWN_CHARS_MAX else f"{text[: SHOWN_CHARS_MAX - 1]}…"


def from_error(code: str, level: str, error: LedgerError, **where: Any) -> Finding:
    """The finding for an error of our own families; its evidence tells expected and got where it holds them."""
    evidence = dict(error.evidence)
    expected = evidence.pop("expected", None)
    got = evidence.pop("got", None)
    said = f"{error.code}: {error.message}"
    rest = ", ".join(f"{name}={show(value)}" for name, value in evidence.items())
    if got is not None:
        said = f"{said}: {show(got)}"
    return Finding(
        code,
        level,
        expected=None if expected is None else show(expected),
        got=show(f"{said} ({rest})" if rest else said),
        **where,
    )
