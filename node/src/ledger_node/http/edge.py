"""The outermost layer of the HTTP server: what every request passes, whatever it asks for.

Each request gets an id, its Host is checked (DNS rebinding: a page of a stranger that resolves to loopback must not read a
regulator's node), answers get the same security headers, errors become problems, and time and status are counted. Hot
routes are called from here, before FastAPI's routing, which costs more than they do. Not here: what a route does.
"""

from __future__ import annotations

import itertools
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

import structlog

from ledger.errors import LedgerError
from ledger_node.http.body import ClientGoneError, Message, Receive, Scope, Send, header
from ledger_node.http.problems import PROBLEM_JSON, HttpError, Problem, problem_of
from ledger_node.metrics import Metrics
from ledger_node.texts import LANGUAGES, choose_language

Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]
Hot = Callable[[Scope, Receive], Awaitable["Answer | None"]]
"""A route that answers without the application within, or leaves the request to it (None)."""

# A random beginning for each process and a count: unique among nodes, and cheaper than chance for each request.
_ID_BEGINNING: Final = secrets.token_hex(5)
_ID_NUMBERS: Final = itertools.count(1)
REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}").fullmatch
SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_HEADER_NAMES: Final = frozenset(name for name, _ in SECURITY_HEADERS)


class Answer:
    """A whole answer of a hot route: status, JSON or other bytes, and header lines beside content type and length."""

    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(
        self, status: int, body: bytes, content_type: bytes = b"application/json", headers: Collection[Any] = ()
    ) -> None:
        self.status, self.body, self.content_type, self.headers = status, body, content_type, headers

    def lines(self, request_id: str) -> list[tuple[bytes, bytes]]:
        """All header lines, in the order in which they are sent."""
        return [
            (b"content-type", self.content_type),
            (b"content-length", str(len(self.body)).encode()),
            (b"x-request-id", request_id.encode()),
            *SECURITY_HEADERS,
            *self.headers,
        ]


class Connection(Protocol):
    """The sending side of one request that is served without a task."""

    scope: Scope
    """The request as ASGI describes it."""

    def answer(self, head: bytes, body: bytes) -> None:
        """Write the whole answer, its head without the empty line; the request is over."""

    def take_over(self, application: Asgi) -> None:
        """Have an ASGI application answer the request, whose body it can receive."""


class Direct(Protocol):
    """A way for ordinary requests of one path that needs no task."""

    path: str

    def takes(self, method: bytes, url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        """Whether a request of HTTP/1.1 is ordinary, as far as its header says."""

    def serve(self, connection: Connection, body: bytes) -> None:
        """Answer a request that `takes` accepted and that came whole, now or later."""


class Edge:
    """The ASGI application that the server runs.

    `inner` answers everything that is not in `hot`, a map from path to the handlers by method. `hosts` are the names (no
    port) that a Host header may carry; the empty set accepts every name.
    """

    def __init__(
        self,
        inner: Asgi,
        *,
        hot: Mapping[str, Mapping[str, Hot]],
        hosts: Collection[str],
        metrics: Metrics,
        language: str = "en",
    ) -> None:
        self._inner, self._hot, self._metrics, self._language = inner, hot, metrics, language
        self._hosts = frozenset(host.lower().encode("ascii") for host in hosts)
        self._log = structlog.get_logger("http")
        self.on_stopping: list[Callable[[], None]] = []
        self.direct: Direct | None = None

    def stopping(self) -> None:
        """The server takes no new connections: whoever waits shall answer. Called on the event loop, maybe repeatedly."""
        for callback in self.on_stopping:
            callback()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI 3."""
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        handlers = self._hot.get(scope["path"])
        hot = None if handlers is None else handlers.get(scope["method"])
        if handlers is not None and hot is None:
            hot = _no_method(handlers)
        await self.serve(scope, receive, send, hot)

    async def serve(self, scope: Scope, receive: Receive, send: Send, hot: Hot | None) -> None:
        """Answer one request by `hot`, or by the application where that is None or leaves it to the application."""
        started = time.perf_counter()
        scope["request_id"] = request_id = _request_id(scope)
        exchange = _Exchange(send, request_id)
        try:
            self._check_host(header(scope, b"host"))
            answer = None if hot is None else await hot(scope, receive)
            if answer is not None:
                await exchange.answer(answer)
            else:
                await self._inner(scope, receive, exchange.send)
        except ClientGoneError:
            exchange.status = 499
        except LedgerError as error:
            await self._refuse(scope, exchange, error)
        except Exception as error:  # noqa: BLE001 - a defect of ours must still be an answer, and a line in the log
            self._log.exception("http.defect", request_id=request_id, path=scope["path"])
            await self._refuse(scope, exchange, error)
        self.done(scope, exchange.status, request_id, time.perf_counter() - started, hot is not None)

    async def _refuse(self, scope: Scope, exchange: _Exchange, error: Exception) -> None:
        if exchange.complete:
            return  # answered further in
        if exchange.status:
            raise error  # the answer has begun: only a broken connection says that it is not whole
        problem = problem_of(error)
        await exchange.problem(problem, language_of(scope, self._language))

    def _check_host(self, given: bytes) -> None:
        if not self.names(given):
            raise HttpError("host", "this node does not answer under that name", got=given.lower()[:100])

    def names(self, given: bytes) -> bool:
        """Whether a Host header names this node."""
        if not self._hosts:
            return True
        value = given.lower()
        host = value.rsplit(b":", 1)[0] if not value.endswith(b"]") and b":" in value else value
        return host in self._hosts

    def done(self, scope: Scope, status: int, request_id: str, seconds: float, hot: bool) -> None:
        """Count an answered request, and log it where that is asked for."""
        route = scope["path"] if hot else getattr(scope.get("route"), "path", "other")
        self._metrics.request(route, scope["method"], status, seconds)
        if status >= 500 or self._log.is_enabled_for(10):
            self._log.log(
                40 if status >= 500 else 10,
                "http.request",
                request_id=request_id,
                method=scope["method"],
                route=route,
                status=status,
                ms=round(seconds * 1000, 2),
            )


class _Exchange:
    """The sending side of one request; `status` is 0 until the answer has begun, `complete` once it is whole."""

    __slots__ = ("_send", "complete", "request_id", "status")

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self.request_id, self.status, self.complete = send, request_id, 0, False

    async def send(self, message: Message) -> None:
        """ASGI's send, with the headers that every answer has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = message.get("headers", ())
            own = _HEADER_NAMES.intersection(name for name, _ in given)
            lines = [*given, (b"x-request-id", self.request_id.encode())]
            lines.extend(line for line in SECURITY_HEADERS if line[0] not in own)
            message["headers"] = lines
        elif not message.get("more_body"):
            self.complete = True
        await self._send(message)

    async def answer(self, answer: Answer) -> None:
        """Send a whole answer."""
        self.status = answer.status
        lines = answer.lines(self.request_id)
        await self._send({"type": "http.response.start", "status": answer.status, "headers": lines})
        await self._send({"type": "http.response.body", "body": answer.body})
        self.complete = True

    async def problem(self, problem: Problem, language: str) -> None:
        """Send a problem."""
        body = problem.encode(language, self.request_id)
        await self.answer(Answer(problem.status, body, PROBLEM_JSON.encode(), problem.headers(language)))


def language_of(scope: Scope, default: str) -> str:
    """`?lang=` when it names a language we have, else Accept-Language, else `default`."""
    query = scope.get("query_string", b"")
    if b"lang=" in query:
        chosen: str = parse_qs(bytes(query).decode("latin-1")).get("lang", [""])[-1]
        if chosen in LANGUAGES:
            return chosen
    return choose_language(header(scope, b"accept-language").decode("latin-1"), default)


def _no_method(handlers: Mapping[str, Hot]) -> Hot:
    async def refuse(scope: Scope, receive: Receive) -> Answer:
        del scope, receive
        raise HttpError("method", "not a method of this path", allow=", ".join(sorted(handlers)))

    return refuse


def new_request_id() -> str:
    """A request id of this process."""
    return f"{_ID_BEGINNING}-{next(_ID_NUMBERS):x}"


def _request_id(scope: Scope) -> str:
    """The client's request id where it is harmless to repeat, else a new one."""
    given = header(scope, b"x-request-id")
    if given and REQUEST_ID(given):
        return given.decode("ascii")
    return new_request_id()
