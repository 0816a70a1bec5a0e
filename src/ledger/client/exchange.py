"""One HTTP exchange with a stranger, bounded in memory and time whatever it answers.

Rules: one deadline for the whole of it (connect, TLS, request, header, body), which moves on only with bytes that arrive at
`HTTP_RATE_MIN` at least, so that large answers over slow lines come and one that drips does not. A body is read in pieces
into memory of ours and never beyond its limit, whatever its header or chunks say; headers are bounded as `http.client` does
(100 lines of 64 KiB). One kept connection; where the other side closed it meanwhile it is opened again once, within the same
deadline: requests must bear that. No redirect is followed and no proxy asked.
Not here: what is asked, and what a failure is called (`FAILURES` are all that an answer can cause). How long the system's
resolver takes for a name is the system's.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from ledger.limits import HTTP_RATE_MIN

PIECE_BYTES: Final = 64 * 1024
ADDRESSES_MAX: Final = 4
"""Of a name's addresses so many are called; each has its share of the time that is left."""
FAILURES: Final = (OSError, http.client.HTTPException, ValueError, ArithmeticError)
"""What `Connection.ask` raises where there is no whole answer: a ValueError or ArithmeticError is an answer's nonsense."""
_HTTP, _HTTPS = 80, 443


class AnswerTooLongError(http.client.HTTPException):
    """An answer's body is longer than the limit."""


@dataclass(frozen=True, slots=True)
class Exchanged:
    """Status, header and body of an answer; a header's name is found in any case."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Deadline:
    """When the exchange in hand has to be over."""

    def __init__(self) -> None:
        self._until, self._moved, self._bytes_max = 0.0, 0, 0

    def start(self, timeout_s: float, bytes_max: int) -> None:
        """In `timeout_s`, and later by the time that bytes may take which moved meanwhile, `bytes_max` of them at most."""
        self._until, self._moved, self._bytes_max = time.monotonic() + timeout_s, 0, bytes_max

    def move(self, count: int) -> None:
        """`count` bytes were sent or received."""
        self._moved = min(self._moved + count, self._bytes_max)

    def left_s(self) -> float:
        """Seconds that are left, more than none. Raises `TimeoutError`."""
        left = self._until + self._moved / HTTP_RATE_MIN - time.monotonic()
        if left <= 0:
            raise TimeoutError("no whole answer in time")
        return left


class Connection(http.client.HTTPConnection):
    """A connection to one server, with `context` over TLS; opened when it is needed. Not thread-safe."""

    def __init__(self, host: str, port: int | None = None, context: ssl.SSLContext | None = None) -> None:
        self.default_port = _HTTP if context is None else _HTTPS
        super().__init__(host, port or self.default_port)
        self._tls = context
        self.deadline = Deadline()

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float,
        bytes_max: int,
    ) -> Exchanged:
        """The whole answer. Raises one of `FAILURES`, `AnswerTooLongError` among them; the connection is closed then."""
        self.deadline.start(timeout_s, bytes_max + len(body or b""))
        kept = self.sock is not None
        try:
            return self._exchange(method, path, body, headers or {}, bytes_max)
        except AnswerTooLongError:
            raise
        except FAILURES:
            # A kept connection may have been closed by the other side meanwhile: once more on a new one.
            if not kept:
                raise
        return self._exchange(method, path, body, headers or {}, bytes_max)

    def connect(self) -> None:
        """Open the connection within the deadline."""
        made = self.dial()
        try:
            if self._tls is not None:
                made.settimeout(self.deadline.left_s())
                made = self._tls.wrap_socket(made, server_hostname=self.host)
        except BaseException:
            made.close()
            raise
        self.sock = _Line(made, self.deadline)

    def dial(self) -> socket.socket:
        """A connected socket, by the first of the name's addresses that takes the call."""
        failed: OSError | None = None
        addresses = _few(socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM))
        for place, (family, kind, protocol, _, address) in enumerate(addresses):
            share_s = self.deadline.left_s() / (len(addresses) - place)
            made: socket.socket | None = None
            try:
                made = socket.socket(family, kind, protocol)  # a machine may have no such family
                made.settimeout(share_s)
                made.connect(address)
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                if made is not None:
                    made.close()
                failed = error
                continue
            return made
        raise failed or OSError("the name has no address")

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], bytes_max: int
    ) -> Exchanged:
        try:
            self.request(method, path, body=body, headers=headers)
            with self.getresponse() as answer:
                if answer.status < HTTPStatus.OK:
                    # The answer itself would still come, and be taken for that of the next question.
                    raise http.client.BadStatusLine(str(answer.status))
                return Exchanged(answer.status, answer.headers, _read(answer, bytes_max))
        except BaseException:
            self.close()
            raise


def _few(addresses: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The first `ADDRESSES_MAX`, or with the first of another family for the last of them."""
    kept = addresses[:ADDRESSES_MAX]
    others = [each for each in addresses[ADDRESSES_MAX:] if all(each[0] != one[0] for one in kept)]
    return [*kept[:-1], others[0]] if others else kept


def _read(answer: http.client.HTTPResponse, bytes_max: int) -> bytes:
    """The whole body. `readinto` fills our piece and no more, also where a chunk claims another size or a negative one."""
    if answer.length is not None and answer.length > bytes_max:
        raise AnswerTooLongError("answer too long")
    body, piece = bytearray(), memoryview(bytearray(min(PIECE_BYTES, bytes_max + 1)))
    while len(body) <= bytes_max:
        count = answer.readinto(piece)
        if not count:
            if answer.length:
                raise http.client.IncompleteRead(b"", answer.length)
            return bytes(body)
        body += piece[:count]
    raise AnswerTooLongError("answer too long")


class _Line:
    """A socket as `http.client` uses one: each sending and receiving has only the time that is left."""

    def __init__(self, inner: socket.socket, deadline: Deadline) -> None:
        self._inner, self._deadline = inner, deadline

    def sendall(self, data: bytes) -> None:
        """Send all of `data`."""
        rest = memoryview(data)
        while rest:
            self.arm()
            sent = self._inner.send(rest)
            self.moved(sent)
            rest = rest[sent:]

    def makefile(self, _mode: str) -> io.BufferedReader:
        """The receiving side; as with a socket's own, the socket stays open until both are closed."""
        return io.BufferedReader(_Receiving(self, self._inner.makefile("rb", buffering=0)))

    def close(self) -> None:
        """Close the socket."""
        self._inner.close()

    def arm(self) -> None:
        """What comes next has the time that is left. Raises `TimeoutError`."""
        self._inner.settimeout(self._deadline.left_s())

    def moved(self, count: int) -> None:
        """`count` bytes went over this line."""
        self._deadline.move(count)


class _Receiving(io.RawIOBase):
    """The bytes that arrive on a line."""

    def __init__(self, line: _Line, inner: socket.SocketIO) -> None:
        self._line, self._inner = line, inner

    def readable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]  # any buffer is one of these
        """See `io.RawIOBase`."""
        self._line.arm()
        count = self._inner.readinto(buffer) or 0
        self._line.moved(count)
        return count

    def close(self) -> None:
        """See `io.RawIOBase`."""
        self._inner.close()
        super().close()
