"""How uvicorn runs the application: limits on what a connection may hold before a request is whole.

Rule: a client that sends no complete header within its time, or too much of one, is disconnected before any of it means
anything (slowloris); bodies are bounded where they are read. A request that `direct` takes is served without a task; all
others by uvicorn's own way. Not here: binding, signals, life of the process.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, ClassVar, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ledger_node.http.body import Scope
from ledger_node.http.edge import Edge
from ledger_node.settings import Settings

HEADER_BYTES_MAX: Final = 32 * 1024  # request line and headers of one request
_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class NodeServer(uvicorn.Server):
    """uvicorn's server of the application; sockets and signals are the caller's."""

    def __init__(self, app: Edge, settings: Settings) -> None:
        super().__init__(_config(app, settings))
        self._edge = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Long polls answer with what there is, those too whose client has gone, so that nobody waits for them."""
        self._edge.stopping()
        await super().shutdown(sockets)


def _config(app: Edge, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.http.host,
        port=settings.http.port,
        loop="uvloop",
        http=_protocol(app, settings.http.header_timeout_s),
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # nothing in front of a loopback bind may speak for a client
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=10,
        backlog=512,
    )


def _protocol(app: Edge, header_timeout_s: float) -> type[LimitedProtocol]:
    return type("NodeProtocol", (LimitedProtocol,), {"edge": app, "header_timeout_s": header_timeout_s})


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with a time and a size limit for request headers, and a short way for ordinary requests."""

    edge: ClassVar[Edge]
    header_timeout_s: ClassVar[float]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._header_timer: asyncio.TimerHandle | None = None
        self._header_bytes = 0
        self._in_header = True
        self._pieces: list[bytes] | None = None  # of the body of a request that may be served without a task

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock of the first header."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what arrives before a header is complete."""
        if self._in_header:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._in_header and not self.transport.is_closing():
            if self._header_bytes > HEADER_BYTES_MAX:
                self._refuse(_TOO_LARGE)
            elif self._header_timer is None:
                self._start_timer()
        elif self._pieces is not None and not self.transport.is_closing():
            self._go_general()

    def on_message_begin(self) -> None:
        """A request begins; most are whole at once, so its clock starts where this one is not."""
        super().on_message_begin()
        if not self._in_header:
            self._in_header, self._header_bytes = True, 0

    def on_headers_complete(self) -> None:
        """The header is whole; what follows is a body."""
        self._in_header = False
        self._stop_timer()
        if self._may_be_direct():
            self._pieces = []
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        if self._pieces is not None:
            self._pieces.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is whole."""
        if self._pieces is None:
            super().on_message_complete()
            return
        pieces, self._pieces = self._pieces, None
        direct = self.edge.direct
        if direct is None:
            return
        path = direct.path
        scope: Scope = self.scope  # type: ignore[assignment]
        scope.update(method="POST", path=path, raw_path=path.encode("ascii"), query_string=b"")
        exchange = DirectExchange(self, scope, b"".join(pieces))
        self.cycle = exchange  # type: ignore[assignment]
        direct.serve(exchange, exchange.body)

    def _may_be_direct(self) -> bool:
        parser = self.parser
        return (
            self.edge.direct is not None
            and (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
            and self.edge.direct.takes(parser.get_method(), self.url, self.headers)
        )

    def _go_general(self) -> None:
        """The body comes in pieces: uvicorn's own way, with what there is of it."""
        pieces, self._pieces = self._pieces or [], None
        super().on_headers_complete()
        for piece in pieces:
            super().on_body(piece)

    def _start_timer(self) -> None:
        self._header_timer = self.loop.call_later(self.header_timeout_s, self._refuse, _TOO_SLOW)

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _refuse(self, response: bytes) -> None:
        self._stop_timer()
        if not self.transport.is_closing():
            self.transport.write(response)
            self.transport.close()


class _Nobody:
    """Stands where uvicorn wakes a task."""

    def set(self) -> None:
        """See asyncio.Event."""


_NOBODY: Final = _Nobody()


class DirectExchange:
    """A request that is served without a task, in the place of uvicorn's own cycle, whose names it has."""

    message_event = _NOBODY
    more_body = False

    def __init__(self, protocol: HttpToolsProtocol, scope: Any, body: bytes) -> None:
        self.scope, self.body = scope, body
        self._protocol = protocol
        self.disconnected = self.response_complete = False
        self.keep_alive = True

    def answer(self, head: bytes, body: bytes) -> None:
        """Write the whole answer; its head has no empty line yet."""
        protocol = self._protocol
        if not self.disconnected:
            end = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
            protocol.transport.write(b"".join((head, end, body)))
            if not self.keep_alive:
                protocol.transport.close()
        self.response_complete, self.body = True, b""
        if not self.disconnected:
            protocol.on_response_complete()

    def take_over(self, application: Any) -> None:
        """Have an ASGI application answer as uvicorn would have."""
        protocol = self._protocol
        cycle = RequestResponseCycle(
            scope=self.scope,
            transport=protocol.transport,
            flow=protocol.flow,
            logger=protocol.logger,
            access_logger=protocol.access_logger,
            access_log=protocol.access_log,
            default_headers=protocol.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=self.keep_alive,
            on_response=protocol.on_response_complete,
        )
        cycle.body, cycle.more_body, cycle.disconnected = bytearray(self.body), False, self.disconnected
        cycle.message_event.set()
        if protocol.cycle is self:  # type: ignore[comparison-overlap]
            protocol.cycle = cycle
        self.response_complete = True
        protocol._start_asgi_task(cycle, application)  # noqa: SLF001 - as its own on_headers_complete does
