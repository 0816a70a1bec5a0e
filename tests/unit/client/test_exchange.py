"""One exchange with a stranger: bounded in memory and time, whatever the stranger answers."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ledger.client import exchange
from ledger.client.exchange import FAILURES, AnswerTooLongError, Connection, Exchanged
from ledger.client.http import NodeClient
from ledger.client.request import get
from ledger.errors import UnavailableError
from tests.models.raw_server import CHUNKED, HEAD, Script, answering, dripping, serve_raw

LIMIT = 65_536
SOON_S = 0.3
LONG_S = 2.0
LATE_S = 3.0


@contextmanager
def asking(script: Script, context: ssl.SSLContext | None = None) -> Iterator[Connection]:
    """A connection to a server that does this."""
    with serve_raw(script) as port:
        connection = Connection("127.0.0.1", port, context)
        try:
            yield connection
        finally:
            connection.close()


def ask(connection: Connection, timeout_s: float = 5.0, body: bytes | None = None) -> Exchanged:
    """One question."""
    return connection.ask("POST" if body else "GET", "/", body, timeout_s=timeout_s, bytes_max=LIMIT)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (HEAD + b"Content-Length: 3\r\n\r\nabc", b"abc"),
        (HEAD + b"Content-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (HEAD + b"Content-Length: %d\r\n\r\n" % LIMIT + b"x" * LIMIT, b"x" * LIMIT),
        (CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: 1\r\n\r\n", b"abcde"),
        (CHUNKED + (b"8000\r\n" + b"x" * 0x8000 + b"\r\n") * 2 + b"0\r\n\r\n", b"x" * LIMIT),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"Content-Length: 1\r\n\r\na", b"a"),
    ],
)
def test_whole_answers_come_whole(answer: bytes, expected: bytes) -> None:
    """With a length or in chunks, up to the limit, and the connection serves the next question too."""
    with asking(answering(answer)) as connection:
        for _ in range(2):
            assert ask(connection).body == expected
            assert connection.sock is not None


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    """As HTTP/1.0 has it; the next question is asked on a new connection."""

    def script(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(HEAD + b"Connection: close\r\n\r\nabc")

    with asking(script) as connection:
        assert [ask(connection).body for _ in range(2)] == [b"abc", b"abc"]


def test_a_kept_connection_that_was_closed_is_opened_again() -> None:
    """Once and without a word; a server that answers nobody is a failure."""
    answers = [HEAD + b"Content-Length: 1\r\n\r\na"] * 2

    def script(connection: socket.socket) -> None:
        connection.recv(65536)
        if answers:
            connection.sendall(answers.pop())

    with asking(script) as connection:
        assert [ask(connection).body for _ in range(2)] == [b"a", b"a"]
        with pytest.raises(FAILURES):
            ask(connection)


@pytest.mark.parametrize(
    "size", [b"-1", b"-FFFFFFFFFFFFFFFFFFFF", b"FFFFFFFFFFFFFFFFFFFFFFFF", b"-8000", b"zz", b"", b"\xff"]
)
def test_an_absurd_chunk_takes_no_memory(size: bytes) -> None:
    """SPEC R-N23: of a chunk of a negative or boundless size no more is taken than the limit, and it is a failure."""
    sent = 0

    def script(connection: socket.socket) -> None:
        nonlocal sent
        connection.recv(65536)
        connection.sendall(CHUNKED + size + b"\r\n")
        while sent < 100_000_000:
            sent += connection.send(b"x" * 100_000)

    tracemalloc.start()
    try:
        with asking(script) as connection, pytest.raises(FAILURES):
            ask(connection)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * LIMIT and sent < 100_000_000


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"x", b"\r\n\r\n", b"HTTP/1.1\r\n\r\n", b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 99999999999999999999 x\r\n\r\n",
        HEAD + b"A: b\r\n" * 200 + b"\r\n", HEAD + b"A" * 70_000 + b": b\r\n\r\n",
        HEAD + b"Content-Length: 10\r\n\r\nabc", CHUNKED + b"5\r\nabc", CHUNKED + b"3\r\nabc\r\n",
    ],
)  # fmt: skip
def test_half_an_answer_or_none_is_a_failure(answer: bytes) -> None:
    """Cut short, of another protocol, or with more header than there may be."""

    def script(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    with asking(script) as connection:
        with pytest.raises(FAILURES) as caught:
            ask(connection)
        assert not isinstance(caught.value, AnswerTooLongError | TimeoutError) and connection.sock is None


@pytest.mark.parametrize(
    "head",
    [HEAD + b"Content-Length: 65537\r\n\r\n", HEAD + b"Content-Length: 1" + b"0" * 30 + b"\r\n\r\n",
     HEAD + b"Content-Length: -1\r\n\r\n", HEAD + b"\r\n", CHUNKED + b"20000\r\n"],
)  # fmt: skip
def test_more_than_the_limit_is_refused(head: bytes) -> None:
    """Whether the answer says how long it is, says nonsense, says nothing, or comes in chunks."""
    with asking(answering(head + b"x" * 200_000)) as connection, pytest.raises(AnswerTooLongError):
        ask(connection)


@pytest.mark.parametrize(
    ("begin", "drop"),
    [
        (HEAD + b"Content-Length: 65000\r\n\r\n", b"x"),
        (HEAD + b"\r\n", b"x"),
        (CHUNKED, b"1\r\nx\r\n"),
        (CHUNKED + b"0\r\n", b"a: b\r\n"),
        (CHUNKED, b"-1\r\n\r\n"),
        (b"HTTP/1.1 200", b"x"),
        (HEAD, b"a"),
        (HEAD, b"a: b\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b""),
    ],
)
def test_an_answer_that_drips_ends_with_the_time(begin: bytes, drop: bytes) -> None:
    """SPEC R-N23: in status, header, body, chunks or trailer, the deadline is for the whole answer and not for each byte."""
    with asking(dripping(begin, drop)) as connection:
        started = time.monotonic()
        with pytest.raises(FAILURES):
            ask(connection, SOON_S)
        assert time.monotonic() - started < LATE_S


def test_what_floods_ends_with_the_time() -> None:
    """Interim answers without end come fast and give nothing: no byte beyond the limit earns more time."""
    with asking(dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000, 0.0)) as connection:
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            ask(connection, SOON_S)
        assert time.monotonic() - started < LATE_S + LIMIT / exchange.HTTP_RATE_MIN


def test_a_long_answer_may_take_longer_than_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it comes at the lowest rate: a catching-up node on a slow line gets its page of blocks."""
    monkeypatch.setattr(exchange, "HTTP_RATE_MIN", LIMIT // 2)
    begin = HEAD + b"Content-Length: %d\r\n\r\n" % LIMIT
    with asking(dripping(begin, b"x" * (LIMIT // 16), 0.2)) as connection:
        started = time.monotonic()
        assert ask(connection, LONG_S).body == b"x" * LIMIT
        assert time.monotonic() - started > LONG_S


def test_a_server_that_does_not_read_ends_with_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sending is part of the exchange."""
    monkeypatch.setattr(exchange, "HTTP_RATE_MIN", 2**30)  # what the system's buffers take earns nothing

    def script(connection: socket.socket) -> None:
        connection.recv(1)
        over.wait(LATE_S)

    over = threading.Event()
    with asking(script) as connection:
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            ask(connection, SOON_S, b"x" * 30_000_000)
        assert time.monotonic() - started < LATE_S
        over.set()


def test_a_handshake_that_drips_ends_with_the_time() -> None:
    """TLS is part of the exchange: a record of which a byte comes now and then is no reason to wait."""
    with asking(dripping(b"\x16\x03\x03\x40\x00", b"\x02"), ssl.create_default_context()) as connection:
        started = time.monotonic()
        with pytest.raises(FAILURES):
            ask(connection, SOON_S)
        assert time.monotonic() - started < LATE_S


def test_a_name_with_many_addresses_gets_one_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each address has its share, so that the last one is called in time, and many are not called at all."""
    with serve_raw(answering(HEAD + b"Content-Length: 1\r\n\r\na")) as port:
        closed = 9  # nobody listens there

        def name(addresses: list[int]) -> None:
            found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", each)) for each in addresses]
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

        name([closed, port])
        assert ask(Connection("several.example", port)).body == b"a"
        for addresses in ([closed] * exchange.ADDRESSES_MAX + [port], []):
            name(addresses)
            with pytest.raises(OSError):
                ask(Connection("several.example", port))


def test_a_machine_without_a_family_calls_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the machine has no IPv6, a name with many such addresses is called at its IPv4 address."""
    made = socket.socket

    def without(family: int = -1, *others: int, **named: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return made(family, *others, **named)

    with serve_raw(answering(HEAD + b"Content-Length: 1\r\n\r\na")) as port:
        six = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", (f"fd00::{number}", port, 0, 0)) for number in range(1, 7)]
        four = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [*six, four])
        monkeypatch.setattr(socket, "socket", without)
        assert ask(Connection("both.example", port)).body == b"a"


def test_an_answer_before_the_answer_is_nobody_elses() -> None:
    """Behind early hints comes the answer itself: that question fails, and the next one is not given it."""
    with asking(answering(b"HTTP/1.1 103 Early Hints\r\n\r\n" + HEAD + b"Content-Length: 1\r\n\r\na")) as connection:
        for _ in range(2):
            with pytest.raises(FAILURES):
                ask(connection)
            assert connection.sock is None


def test_a_name_that_cannot_be_looked_up_is_a_failure() -> None:
    """Such as IDNA cannot write, or with a blank."""
    for host in ("a" * 70 + ".cn", "x..y", "\udc80"):
        with pytest.raises(FAILURES):
            ask(Connection(host, 443))
    with pytest.raises(FAILURES):
        Connection("a b", 443)


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (answering(CHUNKED + b"-FFFFFFFFFFFFFFFFFFFF\r\n\r\nzz\r\n"), "node-unreachable"),
        (answering(b"nonsense\r\n\r\n"), "node-unreachable"),
        (dripping(HEAD, b"a"), "node-unreachable"),
        (answering(HEAD + b"Content-Length: 9999999999\r\n\r\n"), "node-answer-size"),
    ],
)
def test_a_client_calls_every_failure_unavailable(script: Script, code: str) -> None:
    """Whatever a node answers, a command says that there is no answer, in its time."""
    with serve_raw(script) as port, pytest.raises(UnavailableError) as caught:
        NodeClient(f"http://127.0.0.1:{port}", timeout_s=SOON_S).send(get(("v1", "node")))
    assert caught.value.code == code


def test_what_an_answer_can_raise_is_listed() -> None:
    """Errors of names, numbers and the protocol are all failures of the exchange."""
    for error in (
        UnicodeError,
        OverflowError,
        http.client.HTTPException,
        ssl.SSLError,
        TimeoutError,
        AnswerTooLongError,
    ):
        assert issubclass(error, FAILURES)
