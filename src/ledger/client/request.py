"""Builds requests to a node and reads its answers: no sockets, so that any transport can carry them.

Rules: an answer's status decides the error family, its problem body (RFC 9457) the code and evidence; what a node says is
data of a stranger and bounded. A conflict (409) to a submission is an answer, not an error: the refusal is recorded.
Not here: connections (see `http`), and whether a receipt holds (see `receipt`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from ledger.core.address import is_host
from ledger.errors import (
    ConflictError,
    LedgerError,
    MalformedError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from ledger.limits import HTTP_WAIT_S_MAX

MSGPACK: Final = "application/msgpack"
JSON: Final = "application/json"
NOTE: Final = "text/plain"
ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024  # a page of 1,000 events with proofs stays well below
COMMITTED: Final = "committed"
CERTIFIED: Final = "certified"
ACKS: Final = (COMMITTED, CERTIFIED)


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; `path` carries the query, `wait_s` how long the answer may take beyond the usual time-out."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Response:
    """Status, headers (names in lower case) and body of an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of one event. `outcome` is accepted, irregular or refused; `receipt` is set where it was asked for."""

    member: str
    id: str
    seq: int | None
    outcome: str
    verdict: dict[str, Any]
    duplicate: bool
    receipt: dict[str, Any] | None = None

    @property
    def conflict(self) -> bool:
        """Whether the id was used with other content before, so that this event was recorded as refused."""
        return any(reason[:2] == ["ledger", "conflict"] for reason in self.verdict.get("reasons", []))


@dataclass(frozen=True, slots=True)
class Appended:
    """The answer to a submission: its block, the checkpoint note over it, and each event in order."""

    height: int
    time: int
    size: int
    certified: bool
    checkpoint: str
    events: tuple[Recorded, ...]


def check_url(url: str) -> str:
    """`url` without its trailing slash; `MalformedError` (code `node-url`) unless it is http(s)://host[:port]."""
    try:
        parts = urlsplit(url)
        usable = (parts.port is None or parts.port > 0) and is_host(parts.hostname or "")
    except ValueError:
        raise MalformedError("node-url", "expected http://host:port", got=url) from None
    if parts.scheme not in ("http", "https") or not usable or parts.query or parts.fragment:
        raise MalformedError("node-url", "expected http://host:port", got=url)
    return url.rstrip("/")


def submit(framed: bytes, *, ack: str = COMMITTED, full_receipts: bool = False) -> Request:
    """Have a framed submission recorded; `ack` certified waits for the quorum certificate."""
    query = {"ack": ack, **({"receipt": "full"} if full_receipts else {})}
    return Request("POST", path("/v1/submissions", query), {"Content-Type": MSGPACK}, framed, _ack_wait(ack))


def append_json(
    events: Sequence[Mapping[str, Any]], member: str | None, token: str, *, ack: str = COMMITTED
) -> Request:
    """Have events recorded that the local node completes and signs; `token` authenticates a program of this machine."""
    document: dict[str, Any] = {"events": list(events)}
    if member is not None:
        document["member"] = member
    headers = {"Content-Type": JSON, "Authorization": f"Bearer {token}"}
    body = json.dumps(document, ensure_ascii=False).encode("utf-8")
    return Request("POST", path("/v1/events", {"ack": ack}), headers, body, _ack_wait(ack))


def get(segments: Sequence[str], query: Mapping[str, object] | None = None, *, wait_s: float = 0.0) -> Request:
    """GET the resource of path `segments` (ids may hold slashes, which stay), with the query's set values."""
    return Request("GET", path("/" + "/".join(map(_segment, segments)), query or {}), {}, None, wait_s)


def path(base: str, query: Mapping[str, object]) -> str:
    """`base` with the query's values that are not None."""
    known = {name: value for name, value in query.items() if value is not None}
    return f"{base}?{urlencode(known)}" if known else base


def parse_appended(response: Response) -> Appended:
    """The answer to `submit` or `append_json`; raises the family of its status for everything but 201 and 409."""
    if response.status not in (200, 201, 409) or "problem" in response.headers.get("content-type", ""):
        raise problem(response)
    document = parse_json(response)
    try:
        return Appended(
            height=_count(document["height"]),
            time=_count(document["time"]),
            size=_count(document["size"]),
            certified=document["certified"] is True,
            checkpoint=str(document["checkpoint"]),
            events=tuple(_recorded(entry) for entry in document["events"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedError("node-answer", "not the answer to a submission", reason=repr(error)) from None


def parse_json(response: Response) -> dict[str, Any]:
    """The JSON object of a good answer; raises the family of its status for others."""
    if response.status >= 400 and response.status != 409:
        raise problem(response)
    try:
        document = json.loads(response.body)
    except (ValueError, RecursionError):
        raise MalformedError("node-answer", "not JSON", status=response.status) from None
    if not isinstance(document, dict):
        raise MalformedError("node-answer", "not a JSON object", status=response.status)
    return document


def parse_bytes(response: Response) -> bytes:
    """The body of a good answer."""
    if response.status != 200:
        raise problem(response)
    return response.body


def problem(response: Response) -> LedgerError:
    """The error of an answer that says no; its family follows the status, so that retries follow the family."""
    document: dict[str, Any] = {}
    if "json" in response.headers.get("content-type", ""):
        try:
            document = json.loads(response.body)
        except (ValueError, RecursionError):
            document = {}
    if not isinstance(document, dict):
        document = {}
    code = _text(document.get("code"), "node-refused", 64)
    message = _text(document.get("detail") or document.get("title"), f"HTTP {response.status}", 500)
    evidence = _evidence(document.get("evidence"))
    evidence["status"] = response.status
    if "index" in document and isinstance(document["index"], int):
        evidence["index"] = document["index"]
    retry = response.headers.get("retry-after", "")
    if retry.isdecimal():
        evidence["retry_after_s"] = int(retry)
    return _family(response.status)(code, message, **evidence)


def _family(status: int) -> type[LedgerError]:
    if status == 404:
        return NotFoundError
    if status == 409:
        return ConflictError
    if status in (400, 413, 415, 422):
        return MalformedError
    if status in (408, 429) or status >= 500:
        return UnavailableError
    return RejectedError


def _evidence(value: object) -> dict[str, Any]:
    """Evidence by name; names that an error has arguments of are left out."""
    if not isinstance(value, dict):
        return {}
    names = [name for name in list(value)[:16] if isinstance(name, str) and name.isidentifier()]
    return {name: value[name] for name in names if name not in ("code", "message", "self")}


def _text(value: object, default: str, chars_max: int) -> str:
    return value[:chars_max] if isinstance(value, str) and value else default


def _recorded(entry: Mapping[str, Any]) -> Recorded:
    verdict = entry["verdict"]
    if not isinstance(verdict, dict) or entry["outcome"] not in ("accepted", "irregular", "refused"):
        raise ValueError("verdict")
    seq, receipt = entry.get("seq"), entry.get("receipt")
    return Recorded(
        member=str(entry["member"]),
        id=str(entry["id"]),
        seq=None if seq is None else _count(seq),
        outcome=entry["outcome"],
        verdict=verdict,
        duplicate=entry.get("duplicate") is True,
        receipt=receipt if isinstance(receipt, dict) else None,
    )


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("count")
    return value


def _segment(text: str) -> str:
    return quote(text, safe="/:~._-")


def _ack_wait(ack: str) -> float:
    return float(HTTP_WAIT_S_MAX) if ack == CERTIFIED else 0.0
