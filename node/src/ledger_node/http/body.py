"""Reading a request body from a stranger: bounded in size, time and memory before a byte means anything.

Rule: a body longer than its limit is refused before it is read (a truthful Content-Length) or as soon as it passes the
limit (a lying or absent one); nothing beyond the limit is kept. All bodies in flight share one budget, so that many
clients together cannot exhaust the node either. Not here: what the bytes mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from ledger.errors import UnavailableError
from ledger_node.http.problems import HttpError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

IN_FLIGHT_BYTES_MAX: Final = 64 * 1024 * 1024  # of all bodies being read or waited for together


class ClientGoneError(Exception):
    """The client closed the connection before its request was whole; nobody is left to answer."""


class BodyReader:
    """Reads bodies of at most `bytes_max` each; `timeout_s` bounds one body from first to last byte.

    Used from the event loop only, so the budget needs no lock.
    """

    def __init__(self, timeout_s: float, in_flight_bytes_max: int = IN_FLIGHT_BYTES_MAX) -> None:
        self._timeout_s = timeout_s
        self._left = in_flight_bytes_max

    async def read(self, scope: Scope, receive: Receive, bytes_max: int) -> bytes:
        """The whole body.

        Raises `HttpError` (`body-too-large`, `body-slow`), `UnavailableError` (`busy`) when too many bodies are in
        flight, and `ClientGoneError`.
        """
        declared = content_length(scope)
        if declared is not None and declared > bytes_max:
            raise HttpError("body-too-large", "body too large", size=declared, limit=bytes_max)
        try:
            async with asyncio.timeout(self._timeout_s):
                message = await receive()
                if not message.get("more_body") and message["type"] == "http.request":
                    # The usual case: one piece, which the server holds already.
                    body: bytes = message.get("body", b"")
                    if len(body) > bytes_max:
                        raise HttpError("body-too-large", "body too large", limit=bytes_max)
                    return body
                return await self._collect(message, receive, bytes_max, declared)
        except TimeoutError:
            raise HttpError("body-slow", "the body did not arrive in time", timeout_s=int(self._timeout_s)) from None

    async def _collect(self, message: Message, receive: Receive, bytes_max: int, declared: int | None) -> bytes:
        """The pieces of a longer body, under a reservation of the shared budget."""
        reserved = bytes_max if declared is None else declared
        if reserved > self._left:
            raise UnavailableError("busy", "too many large requests at once", retry_after_s=1)
        self._left -= reserved
        try:
            chunks: list[bytes] = []
            size = 0
            while True:
                if message["type"] != "http.request":
                    raise ClientGoneError
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > bytes_max:
                    raise HttpError("body-too-large", "body too large", limit=bytes_max)
                chunks.append(chunk)
                if not message.get("more_body"):
                    return b"".join(chunks)
                message = await receive()
        finally:
            self._left += reserved


def content_length(scope: Scope) -> int | None:
    """The declared length of the body, None where there is none or it is no number."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() and len(value) <= 19 else None
    return None


def header(scope: Scope, name: bytes) -> bytes:
    """The first header line of this lower-case name, empty where there is none."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""


def media_type(scope: Scope) -> str:
    """The content type of the body without parameters, lower case."""
    return header(scope, b"content-type").split(b";", 1)[0].strip().lower().decode("latin-1")


def require_media_type(scope: Scope, *allowed: str) -> str:
    """The body's media type when it is one of `allowed`; raises `HttpError` (`media-type`), and for a coded body."""
    found = media_type(scope)
    coding = header(scope, b"content-encoding").strip().lower()
    if found not in allowed or coding not in (b"", b"identity"):
        raise HttpError("media-type", "another content type is expected", got=found, expected=list(allowed))
    return found
