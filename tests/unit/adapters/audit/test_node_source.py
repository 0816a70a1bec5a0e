"""A node as a source of an audit: what it answers is bounded, and every failure has a name."""

from __future__ import annotations

import time

import pytest

from ledger.adapters.audit.sources import NodeSource
from ledger.core.hashing import sha256
from ledger.errors import LedgerError, MalformedError, NotFoundError, UnavailableError
from tests.models.raw_server import CHUNKED, HEAD, Script, answering, dripping, serve_raw

SOON_S = 0.3
MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("script", "family", "code"),
    [
        (answering(CHUNKED + b"-1\r\n" + b"x" * 200_000), UnavailableError, "node-unreachable"),
        (answering(CHUNKED + b"-FFFFFFFFFFFFFFFFFFFF\r\n\r\nzz\r\n"), UnavailableError, "node-unreachable"),
        (answering(CHUNKED + b"5\r\nab"), UnavailableError, "node-unreachable"),
        (answering(b"nonsense\r\n\r\n"), UnavailableError, "node-unreachable"),
        (dripping(HEAD + b"Content-Length: 1000\r\n\r\n", b"x"), UnavailableError, "node-unreachable"),
        (dripping(HEAD, b"x"), UnavailableError, "node-unreachable"),
        (answering(HEAD + b"Content-Length: 9999999999\r\n\r\n"), MalformedError, "node-answer"),
        (answering(MISSING), NotFoundError, "node-missing"),
        (answering(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"), UnavailableError, "node-answer"),
    ],
)
def test_a_hostile_node_gets_no_more_than_its_time_and_size(
    script: Script, family: type[LedgerError], code: str
) -> None:
    """A node that drips, cuts short, leads elsewhere or claims absurd sizes is a named failure, never a crash."""
    with serve_raw(script) as port:
        source, started = NodeSource(f"http://127.0.0.1:{port}/", SOON_S), time.monotonic()
        with pytest.raises(family) as caught:
            source.bundle(sha256(b"rules"))
        assert caught.value.code == code and time.monotonic() - started < 3


def test_an_answer_is_handed_over_as_it_came() -> None:
    """Under the address's own path, on one connection or many."""
    asked: list[bytes] = []

    with serve_raw(
        lambda line: (asked.append(line.recv(65536)), line.sendall(CHUNKED + b"2\r\nab\r\n0\r\n\r\n"))
    ) as port:
        source = NodeSource(f"http://127.0.0.1:{port}/under", 5)
        assert [source.genesis(), source.genesis()] == [b"ab", b"ab"]
    assert all(each.startswith(b"GET /under/v1/genesis HTTP/1.1\r\n") for each in asked)


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("gopher://x", "source"),
        ("http://[::1", "node-url"),
        ("http://a..b", "node-url"),
        ("http://x:99999", "node-url"),
    ],
)
def test_what_is_no_address_of_a_node(address: str, code: str) -> None:
    """Is refused before anything is asked."""
    with pytest.raises(MalformedError) as caught:
        NodeSource(address, 1)
    assert caught.value.code == code
