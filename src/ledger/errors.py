"""The error families: every refusal says what happened, to which object, and carries its evidence.

Rule: six families, one table elsewhere maps them to HTTP status and exit code; callers choose by family, never by text.
Not here: texts for people (catalogues hold zh and en by `code`).
"""

from __future__ import annotations


class LedgerError(Exception):
    """Base of all errors that this package raises on purpose.

    `code` is a stable, never translated name (`submission-signature`); `evidence` names the object
    (height, seq, field, expected, got …) and is safe to print: it never holds secrets.
    """

    def __init__(self, code: str, message: str = "", **evidence: object) -> None:
        self.code = code
        self.message = message or code
        self.evidence = evidence
        details = ", ".join(f"{name}={_show(value)}" for name, value in evidence.items())
        super().__init__(f"{code}: {self.message}" + (f" ({details})" if details else ""))

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by parts, so that an error keeps its evidence across worker processes."""
        return (_rebuild, (type(self), self.code, self.message, self.evidence))


def _rebuild(kind: type[LedgerError], code: str, message: str, evidence: dict[str, object]) -> LedgerError:
    return kind(code, message, **evidence)


def _show(value: object) -> str:
    text = value.hex() if isinstance(value, bytes) else str(value)
    return text if len(text) <= 160 else text[:157] + "..."


class MalformedError(LedgerError):
    """Bytes or values that do not have the form SPEC demands."""


class VerificationError(LedgerError):
    """A signature, hash, path or replay that does not check; the evidence is what an auditor would publish."""


class ForkError(VerificationError):
    """Two signed histories that cannot both be true; evidence holds both notes."""


class RejectedError(LedgerError):
    """Well-formed, but not allowed: unknown member, revoked key, wrong network, refused by a rule."""


class ConflictError(LedgerError):
    """Contradicts something already recorded, such as an id that is used with other content."""


class NotFoundError(LedgerError):
    """Nothing of that name is known here."""


class UnavailableError(LedgerError):
    """Cannot be done now; the same call may succeed later (`retry_after_s` in the evidence where known)."""


class RuntimeFault(UnavailableError):
    """The rule runtime failed locally (time-out, crash, memory). Never a verdict: see docs/SPEC.md, rules."""


class FatalError(LedgerError):
    """The state is unknown or contradicts itself: stop, keep the evidence, reopen."""


def invariant(condition: bool, message: str) -> None:
    """Raise `FatalError` where our own code broke its promise; unlike `assert`, -O cannot strip it."""
    if not condition:
        raise FatalError("invariant", message)
