"""Carries requests to one node over the standard library's HTTP: no further package needed.

Rules: one kept connection a thread; a connection that the node closed meanwhile is opened again once, for requests are
idempotent by event id; answers are bounded in size and time (see `exchange`). Every failure to get a whole answer is
`UnavailableError` (code `node-unreachable`) naming the address. No redirect is followed and no proxy is asked.
Not here: what requests say (see `request`).
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from ledger.client.exchange import FAILURES, AnswerTooLongError, Connection
from ledger.client.request import ANSWER_BYTES_MAX, Request, Response, check_url, get, parse_bytes, parse_json
from ledger.errors import UnavailableError

TIMEOUT_S: Final = 45.0
"""More than a node waits for the order of what it was sent (30 s) before it says so: its 503 has to arrive."""


class NodeClient:
    """A client of the node at `url`. Thread-safe: each thread has a connection of its own.

    `reader_token` shows a node that answers named readers only who asks.
    """

    def __init__(
        self, url: str, *, timeout_s: float = TIMEOUT_S, language: str = "en", reader_token: str | None = None
    ) -> None:
        self.url = check_url(url)
        parts = urlsplit(self.url)
        self._secure = parts.scheme == "https"
        self._host, self._port, self._prefix = parts.hostname or "", parts.port, parts.path
        self._timeout_s, self._language = timeout_s, language
        self._reader = {"Authorization": f"Bearer {reader_token}"} if reader_token else {}
        self._local = threading.local()

    def send(self, request: Request) -> Response:
        """The answer to `request`, whatever its status."""
        headers = {"Accept-Language": self._language, "User-Agent": "suyuan-client", **self._reader, **request.headers}
        path, timeout_s = self._prefix + request.path, self._timeout_s + request.wait_s
        try:
            answer = self._connection().ask(
                request.method, path, request.body, headers, timeout_s=timeout_s, bytes_max=ANSWER_BYTES_MAX
            )
        except AnswerTooLongError:
            raise UnavailableError(
                "node-answer-size", "answer too long", node=self.url, limit=ANSWER_BYTES_MAX
            ) from None
        except FAILURES as error:
            reason = str(error) or type(error).__name__
            raise UnavailableError("node-unreachable", "no answer", node=self.url, reason=reason) from error
        return Response(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.body)

    def get_json(
        self, segments: Sequence[str], query: Mapping[str, object] | None = None, *, wait_s: float = 0.0
    ) -> dict[str, Any]:
        """The JSON object of a resource; raises the family of a status that says no."""
        return parse_json(self.send(get(segments, query, wait_s=wait_s)))

    def get_bytes(
        self, segments: Sequence[str], query: Mapping[str, object] | None = None, *, wait_s: float = 0.0
    ) -> bytes:
        """The bytes of a resource; raises the family of a status that says no."""
        return parse_bytes(self.send(get(segments, query, wait_s=wait_s)))

    def close(self) -> None:
        """Close this thread's connection."""
        connection = getattr(self._local, "connection", None)
        self._local.connection = None
        if connection is not None:
            connection.close()

    def _connection(self) -> Connection:
        """This thread's connection."""
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            context = ssl.create_default_context() if self._secure else None
            connection = self._local.connection = Connection(self._host, self._port, context)
        return connection
