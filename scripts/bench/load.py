"""A closed-loop HTTP client that costs little: prepared bytes out, status and length in, one timestamp each.

Not a general client: it reads answers with Content-Length on kept connections, which is what the node sends.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ledger.errors import LedgerError

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_SIZE = re.compile(rb'"size":(\d+)')


@dataclass(slots=True)
class Sample:
    """One answered request: when sent and answered (seconds, monotonic), HTTP status, and the log size it names."""

    sent: float
    answered: float
    status: int
    size: int


@dataclass(slots=True)
class Run:
    """What one load run saw."""

    samples: list[Sample] = field(default_factory=list)
    failed: int = 0


def request_bytes(host: str, path: str, body: bytes) -> bytes:
    """A whole POST of a framed submission."""
    lines = (
        f"POST {path} HTTP/1.1",
        f"Host: {host}",
        "Content-Type: application/msgpack",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join((*lines, "", "")).encode("ascii") + body


Check = Callable[[bytes], None]
"""Raises for an answer (its body) that the client does not believe."""


class _Connection(asyncio.Protocol):
    """One connection: sends the next request when the answer of the last is whole and, where asked for, checked."""

    def __init__(
        self, source: Iterator[bytes], run: Run, until: float, done: asyncio.Future[None], check: Check | None
    ) -> None:
        self._source, self._run, self._until, self._done, self._check = source, run, until, done, check
        self._buffer = bytearray()
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._next()

    def _next(self) -> None:
        request = next(self._source, None) if time.perf_counter() < self._until else None
        if request is None:
            self._transport.close()
            if not self._done.done():
                self._done.set_result(None)
            return
        self._sent = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(self._buffer, 0, end)
        whole = end + 4 + (int(length[1]) if length else 0)
        if len(self._buffer) < whole:
            return
        status = int(self._buffer[9:12])
        size = _SIZE.search(self._buffer, end)
        if self._check is not None and status == 201:
            try:
                self._check(bytes(self._buffer[end + 4 : whole]))
            except LedgerError as error:
                self._run.failed += 1
                print("answer not believed:", error)
        self._run.samples.append(Sample(self._sent, time.perf_counter(), status, int(size[1]) if size else 0))
        if status != 201:
            self._run.failed += 1
            if self._run.failed <= 3:
                print("unexpected answer:", bytes(self._buffer[:whole])[:600])
        del self._buffer[:whole]
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self._done.done():
            self._run.failed += 1
            self._done.set_result(None)


async def closed_loop(
    host: str, port: int, requests: list[bytes], in_flight: int, seconds: float, check: Check | None = None
) -> Run:
    """Keep `in_flight` requests under way until `seconds` are over or the prepared requests are used up.

    With `check` an answer is answered once it was checked; one that does not pass counts as failed.
    """
    run, source = Run(), iter(requests)
    loop = asyncio.get_running_loop()
    until = time.perf_counter() + seconds
    ends = []
    for _ in range(in_flight):
        done: asyncio.Future[None] = loop.create_future()
        ends.append(done)
        await loop.create_connection(lambda done=done: _Connection(source, run, until, done, check), host, port)  # type: ignore[misc]
    await asyncio.gather(*ends)
    return run
