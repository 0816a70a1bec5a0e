"""Errors as answers: one table from error family to status, and problem+json bodies (RFC 9457) in zh and en.

Rule: a route raises; only this table chooses a status. A body says what happened, to which object (the evidence, which
never holds secrets), and by which stable code. Not here: the texts (see `ledger_node.texts`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ledger.errors import (
    ConflictError,
    FatalError,
    LedgerError,
    MalformedError,
    NotFoundError,
    RejectedError,
    UnavailableError,
    VerificationError,
)
from ledger_node.texts import HTTP, load_catalogue

PROBLEM_JSON: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:suyuan:problem:"
RETRY_AFTER_DEFAULT_S: Final = 1


class HttpError(LedgerError):
    """A request that fails as HTTP, before it means anything to the ledger: `code` names a row of `HTTP_STATUS`."""


HTTP_STATUS: Final = {
    "bad-request": 400,
    "token": 401,
    "reader": 401,
    "read-refused": 403,
    "path": 404,
    "method": 405,
    "body-slow": 408,
    "body-too-large": 413,
    "media-type": 415,
    "host": 421,
    "query": 422,
}
"""Status of each `HttpError` code."""

FAMILIES: Final[tuple[tuple[type[LedgerError], str, int], ...]] = (
    (NotFoundError, "not-found", 404),
    (ConflictError, "conflict", 409),
    (MalformedError, "malformed", 422),
    (VerificationError, "verification", 422),
    (RejectedError, "rejected", 422),
    (UnavailableError, "unavailable", 503),
    (FatalError, "stopped", 503),
)
"""(family, its name in answers, status). A subclass has the row of its family; a defect of ours is 500 `internal`."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One answer that says no."""

    status: int
    family: str
    code: str
    message: str
    evidence: dict[str, object]

    @property
    def retry_after_s(self) -> int | None:
        """Seconds after which the same request may succeed; None where it will not."""
        if self.status != 503 or self.family == "stopped":
            return None
        value = self.evidence.get("retry_after_s")
        return value if isinstance(value, int) and value > 0 else RETRY_AFTER_DEFAULT_S

    def headers(self, language: str) -> list[tuple[bytes, bytes]]:
        """Header lines beside content type and length."""
        lines = [(b"content-language", language.encode())]
        if self.retry_after_s is not None:
            lines.append((b"retry-after", str(self.retry_after_s).encode()))
        if self.status == 401:
            lines.append((b"www-authenticate", b'Bearer realm="suyuan"'))
        allow = self.evidence.get("allow")
        if self.status == 405 and isinstance(allow, str):
            lines.append((b"allow", allow.encode("ascii", "replace")))
        if self.status in (408, 413):
            # The rest of the body is not read, so nothing that follows on this connection can be trusted.
            lines.append((b"connection", b"close"))
        return lines

    def document(self, language: str, request_id: str = "") -> dict[str, Any]:
        """The members of the problem body."""
        texts = load_catalogue()
        found: dict[str, Any] = {
            "type": TYPE_PREFIX + self.family,
            "title": texts.title(self.family, self.status, language),
            "status": self.status,
            "detail": texts.detail(self.code, language) or self.message,
            "code": self.code,
            "reason": self.message,
            "evidence": {name: _plain(value) for name, value in self.evidence.items()},
        }
        index = self.evidence.get("index")
        if isinstance(index, int):
            found["index"] = index
        if self.retry_after_s is not None:
            found["retry_after_s"] = self.retry_after_s
        if request_id:
            found["instance"] = f"urn:suyuan:request:{request_id}"
        return found

    def encode(self, language: str, request_id: str = "") -> bytes:
        """The problem body as JSON."""
        return msgspec.json.encode(self.document(language, request_id))


def problem_of(error: Exception) -> Problem:
    """The answer to an exception; anything that is not a `LedgerError` is a defect and says nothing about itself."""
    if isinstance(error, HttpError):
        return Problem(HTTP_STATUS[error.code], HTTP, error.code, error.message, error.evidence)
    if isinstance(error, LedgerError):
        for kind, family, status in FAMILIES:
            if isinstance(error, kind):
                return Problem(status, family, error.code, error.message, error.evidence)
    return Problem(500, "internal", "internal", "", {})


def _plain(value: object) -> object:
    """A value of the evidence as JSON: bytes in hex, long texts shortened, everything unknown as text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, bytes):
        return value[:256].hex()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value[:32]]
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in list(value.items())[:32]}
    # A lone surrogate in what a stranger sent must not break the answer about it.
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= 300 else text[:297] + "..."
