"""How uvicorn runs the application: limits on what a connection may hold before a request is whole.

Rule: a client that sends no complete header within its time, or too much of one, is disconnected before any of it means
anything (slowloris); bodies are bounded where they are read. Not here: binding, signals, life of the process.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ledger_node.http.edge import Edge
from ledger_node.settings import Settings

HEADER_BYTES_MAX: Final = 32 * 1024  # request line and headers of one request
_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def server_config(app: Edge, settings: Settings) -> uvicorn.Config:
    """The server's configuration; sockets and signals are the caller's."""
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


def _protocol(app: Edge, header_timeout_s: float) -> type[asyncio.Protocol]:
    class LimitedProtocol(HttpToolsProtocol):
        """uvicorn's HTTP protocol with a time and a size limit for request headers."""

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self._header_timer: asyncio.TimerHandle | None = None
            self._header_bytes = 0

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            """Start the clock of the first header."""
            super().connection_made(transport)
            self._await_header()

        def connection_lost(self, exc: Exception | None) -> None:
            """Stop the clock."""
            self._stop_timer()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            """Count what arrives before a header is complete."""
            if self._header_timer is not None:
                self._header_bytes += len(data)
            super().data_received(data)
            if self._header_timer is not None and self._header_bytes > HEADER_BYTES_MAX:
                self._refuse(_TOO_LARGE)

        def on_message_begin(self) -> None:
            """A request begins."""
            super().on_message_begin()
            if self._header_timer is None:
                self._await_header()

        def on_headers_complete(self) -> None:
            """The header is whole; what follows is a body."""
            self._stop_timer()
            super().on_headers_complete()

        def shutdown(self) -> None:
            """The server stops: long polls answer with what there is, so that nobody waits for them."""
            app.stopping()
            super().shutdown()

        def _await_header(self) -> None:
            self._header_bytes = 0
            self._header_timer = self.loop.call_later(header_timeout_s, self._refuse, _TOO_SLOW)

        def _stop_timer(self) -> None:
            if self._header_timer is not None:
                self._header_timer.cancel()
                self._header_timer = None

        def _refuse(self, response: bytes) -> None:
            self._stop_timer()
            if not self.transport.is_closing():
                self.transport.write(response)
                self.transport.close()

    return LimitedProtocol
