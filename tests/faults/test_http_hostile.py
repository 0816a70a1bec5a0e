"""Hostile HTTP against a real server: whatever is sent, the node answers or hangs up, stays small, and goes on.

Method: raw sockets, so that nothing corrects the requests; after each attack the same node still answers others.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgpack
import pytest
import zstandard

from ledger_node.http.watch import Watcher
from tests.models.live_node import MSGPACK, LiveNode, live_node

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNode]:
    """A node with short time-outs."""
    folder = tmp_path_factory.mktemp("hostile") / "net"
    with live_node(folder, **{"http.header_timeout_s": 1.0, "http.body_timeout_s": 4.0}) as found:
        yield found


@pytest.fixture(autouse=True)
def still_answers(live: LiveNode) -> Iterator[None]:
    """After every attack the node answers a reader and is ready."""
    yield
    assert live.client.get("/readyz").status_code == 200


def connect(live: LiveNode) -> socket.socket:
    found = socket.create_connection(("127.0.0.1", live.port), timeout=20)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return found


def answer_to(live: LiveNode, data: bytes) -> bytes:
    """Everything the server sends until it closes, or until it is silent for a while."""
    with connect(live) as found:
        found.sendall(data)
        return read_all(found)


def read_all(found: socket.socket, silence_s: float = 3.0) -> bytes:
    found.settimeout(silence_s)
    received = b""
    try:
        while chunk := found.recv(65_536):
            received += chunk
    except (TimeoutError, ConnectionResetError):
        pass
    return received


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def request(path: str, *headers: str, method: str = "GET", host: str = "localhost", body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


# --- size ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/submissions", "/v1/events"])
def test_a_declared_giant_is_refused_unread(live: LiveNode, path: str) -> None:
    """100 MB in Content-Length: 413 at once, without a byte of it, and the connection closes."""
    kind = "msgpack" if "sub" in path else "json"
    headers = (
        "Content-Length: 100000000",
        f"Content-Type: application/{kind}",
        f"Authorization: {live.token['authorization']}",
    )
    started = time.monotonic()
    answer = answer_to(live, request(path, *headers, method="POST"))
    assert status_of(answer) == 413
    assert b"body-too-large" in answer
    assert b"connection: close" in answer.lower()
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("path", ["/v1/submissions", "/v1/events"])
def test_a_streamed_giant_is_cut_off(live: LiveNode, path: str) -> None:
    """100 MB in chunks without a length: refused as soon as the limit is passed; memory does not grow with it."""
    kind = "msgpack" if "sub" in path else "json"
    headers = (
        "Transfer-Encoding: chunked",
        f"Content-Type: application/{kind}",
        f"Authorization: {live.token['authorization']}",
    )
    before = resident_bytes()
    with connect(live) as found:
        found.sendall(request(path, *headers, method="POST"))
        chunk = b"%x\r\n" % (256 * 1024) + b"\0" * (256 * 1024) + b"\r\n"
        sent = 0
        try:
            while sent < 100 * MIB:
                found.sendall(chunk)
                sent += len(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = read_all(found)
    assert sent < 100 * MIB or status_of(answer) == 413
    if answer:
        assert status_of(answer) == 413
    assert resident_bytes() - before < 48 * MIB


def test_a_body_nobody_asked_for_is_not_kept(live: LiveNode) -> None:
    """A GET with an endless body is answered; the rest is never held in memory."""
    before = resident_bytes()
    with connect(live) as found:
        found.sendall(request("/healthz", f"Content-Length: {100 * MIB}"))
        try:
            for _ in range(400):
                found.sendall(b"\0" * (256 * 1024))
        except (BrokenPipeError, ConnectionResetError):
            pass
        read_all(found, 0.5)
    assert resident_bytes() - before < 48 * MIB


def test_a_decompression_bomb_is_refused_by_its_header(live: LiveNode) -> None:
    """Some kilobytes that would expand to a gigabyte are refused before memory is taken."""
    before = resident_bytes()
    for size in (1024 * MIB, 9 * MIB):
        frame = zstandard.ZstdCompressor(level=19).compress(b"\0" * size) if size < 64 * MIB else bomb(size)
        body = msgpack.packb([1, live.node.origin, "rs", b"k" * 32, frame, b"s" * 64])
        assert len(body) < 200_000
        answer = live.client.post("/v1/submissions", content=body, headers=MSGPACK)
        assert (answer.status_code, answer.json()["code"]) == (422, "framing")
    assert resident_bytes() - before < 64 * MIB


def bomb(size: int) -> bytes:
    """A zstd frame of zeros that declares its size, made piece by piece."""
    compressor = zstandard.ZstdCompressor(level=1).compressobj(size=size)
    piece = b"\0" * (4 * MIB)
    return b"".join([*(compressor.compress(piece) for _ in range(size // len(piece))), compressor.flush()])


def test_an_undeclared_bomb_is_refused(live: LiveNode) -> None:
    """A frame that hides its size is refused unopened."""
    compressor = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    frame = compressor.compress(b"\0" * MIB) + compressor.flush()
    body = msgpack.packb([1, live.node.origin, "rs", b"k" * 32, frame, b"s" * 64])
    answer = live.client.post("/v1/submissions", content=body, headers=MSGPACK)
    assert (answer.status_code, answer.json()["code"]) == (422, "framing")


# --- time ------------------------------------------------------------------------------------------------------------


def test_slow_headers_are_cut_off(live: LiveNode) -> None:
    """Slowloris: a header line now and then does not hold a connection beyond its time."""
    started = time.monotonic()
    with connect(live) as found:
        found.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        try:
            while time.monotonic() - started < 8:
                found.sendall(b"X-A: b\r\n")
                time.sleep(0.2)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = read_all(found)
    assert time.monotonic() - started < 6
    assert not answer or status_of(answer) == 408


def test_silence_is_cut_off(live: LiveNode) -> None:
    """A connection that never says anything is closed."""
    started = time.monotonic()
    with connect(live) as found:
        answer = read_all(found, 10)
    assert time.monotonic() - started < 5
    assert not answer or status_of(answer) == 408


def test_slow_bodies_are_cut_off(live: LiveNode) -> None:
    """A body that dribbles in is answered 408 within its time."""
    started = time.monotonic()
    with connect(live) as found:
        found.sendall(
            request("/v1/submissions", "Content-Length: 1000", "Content-Type: application/msgpack", method="POST")
        )
        received = b""
        found.settimeout(0.2)
        while time.monotonic() - started < 15 and not received:
            try:
                found.sendall(b"x")
                received = found.recv(65_536)
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                break
    assert status_of(received) == 408
    assert time.monotonic() - started < 10  # half of what is given otherwise


def test_many_slow_clients_do_not_stop_others(live: LiveNode) -> None:
    """While a hundred connections dribble, a reader is answered without waiting for them."""
    clients = [connect(live) for _ in range(100)]
    try:
        for client in clients:
            client.sendall(b"POST /v1/submissions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n")
        started = time.monotonic()
        assert live.client.get("/healthz").status_code == 200
        assert time.monotonic() - started < 2
    finally:
        for client in clients:
            client.close()


def test_clients_that_leave_cost_nothing(live: LiveNode) -> None:
    """Connections that close in the middle of a request leave no thread behind."""
    threads = threading.active_count()
    for _ in range(100):
        with connect(live) as found:
            found.sendall(
                request("/v1/submissions", "Content-Length: 500", "Content-Type: application/msgpack", method="POST")
            )
    time.sleep(0.5)
    assert threading.active_count() <= threads + 2


# --- form ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"\x00" * 1000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS client
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"GET / HTTP/1.1\nHost: localhost\n folded\n\n",
        b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST /v1/submissions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n",
        b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_odd_requests_are_refused(live: LiveNode, data: bytes) -> None:
    """Smuggling, splitting and other protocols are answered with a 4xx or hung up on; never 2xx or 5xx."""
    answer = answer_to(live, data)
    assert not answer or 400 <= status_of(answer) < 500, answer[:200]


def test_endless_headers_are_cut_off(live: LiveNode) -> None:
    """Megabytes of headers are refused long before they are whole."""
    with connect(live) as found:
        found.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        sent = 0
        try:
            while sent < 16 * MIB:
                found.sendall(b"X-" + b"a" * 60 + b": " + b"b" * 1000 + b"\r\n")
                sent += 1064
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = read_all(found)
    assert sent < 8 * MIB
    assert not answer or status_of(answer) == 431


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.", "", "[::2]"])
def test_other_hosts_read_nothing(live: LiveNode, host: str) -> None:
    """DNS rebinding: a page under another name gets 421 and no data."""
    answer = answer_to(live, request("/v1/status", host=host))
    assert status_of(answer) == 421
    assert live.node.origin.encode() not in answer


def test_no_page_of_a_stranger_may_read(live: LiveNode) -> None:
    """No CORS header is ever sent, whatever the origin asks; a preflight is refused."""
    answer = answer_to(live, request("/v1/status", "Origin: https://evil.example"))
    assert b"access-control" not in answer.lower()
    preflight = request(
        "/v1/events", "Origin: https://evil.example", "Access-Control-Request-Method: POST", method="OPTIONS"
    )
    assert status_of(answer_to(live, preflight)) == 405


@pytest.mark.parametrize(
    "path",
    [
        "/v1/datasets/../../etc/passwd", "/v1/datasets/%2e%2e/%2e%2e/etc/passwd", "/v1/datasets/ga%2f..%2f..%2fx",
        "/v1/datasets/ga%00hukou", "/v1/datasets/GA/HUKOU", "/v1/datasets/%ff%fe", "/v1/datasets/", "/v1/datasets//timeline",
        "/v1/events/../x/y", "/v1/objects/timer/%0a", "/tile/../../etc/passwd", "/tile/0/%2e%2e",
        "/v1/bundles/%2e%2e%2fgenesis", "//v1/status", "/v1/status/..", "/%2e%2e/%2e%2e/etc/passwd", "/static/../../x",
    ],
)  # fmt: skip
def test_paths_lead_nowhere_else(live: LiveNode, path: str) -> None:
    """Dots, slashes, nulls and other spellings in names are refused or not found."""
    answer = answer_to(live, request(path))
    assert status_of(answer) in (404, 422), answer[:300]
    assert b"root:" not in answer


@pytest.mark.parametrize("text", ["a\r\nSet-Cookie: x=1", "a%0d%0aSet-Cookie:%20x=1"])
def test_headers_cannot_be_injected(live: LiveNode, text: str) -> None:
    """Line breaks in names or ids reach no header of an answer."""
    quoted = text.replace("\r", "%0d").replace("\n", "%0a").replace(" ", "%20")
    for data in (
        request(f"/v1/datasets/{quoted}"),
        request(f"/v1/status?lang={quoted}"),
        request("/v1/status", "X-Request-Id: a%0d%0aSet-Cookie:x"),
    ):
        head = answer_to(live, data).partition(b"\r\n\r\n")[0].lower()
        assert b"set-cookie" not in head


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v1/submissions", {"content-type": "application/json"}, 415),
        ("/v1/submissions", {}, 415),
        ("/v1/submissions", {"content-type": "application/msgpack", "content-encoding": "gzip"}, 415),
        ("/v1/events", {"content-type": "text/plain"}, 415),
        ("/v1/events", {"content-type": "application/x-www-form-urlencoded"}, 415),
        ("/v1/events", {"content-type": "multipart/form-data; boundary=x"}, 415),
        ("/v1/clock", {"content-type": "text/plain"}, 415),
    ],
)
def test_other_content_types_are_refused(live: LiveNode, path: str, headers: dict[str, str], status: int) -> None:
    """What a form of a foreign page can send is never read as JSON or msgpack."""
    answer = live.client.post(path, content=b"{}", headers=live.token | headers)
    assert (answer.status_code, answer.json()["code"]) == (status, "media-type")


@pytest.mark.parametrize("depth", [20, 1_000, 200_000])
def test_deep_documents_are_refused(live: LiveNode, depth: int) -> None:
    """Nesting is bounded in JSON and in msgpack."""
    data = b'{"kind":"a","member":"rs","body":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
    headers = live.token | {"content-type": "application/json"}
    assert live.client.post("/v1/events", content=data, headers=headers).status_code == 422
    packed = b"\x91" * depth + b"\xc0"
    assert live.client.post("/v1/submissions", content=packed, headers=MSGPACK).status_code == 422


def test_texts_come_back_as_text(live: LiveNode) -> None:
    """Markup in names and searches is answered as JSON that no browser sniffs into a page."""
    for path in ("/v1/search", "/v1/datasets/<script>alert(1)</script>"):
        answer = live.client.get(path, params={"q": "<script>alert(1)</script>"} if path.endswith("search") else None)
        assert answer.headers["content-type"] in ("application/json", "application/problem+json")
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_pipelined_requests_are_answered_in_order(live: LiveNode) -> None:
    """Several requests on one connection, sent at once, are each answered; a 413 among them ends the connection."""
    first = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    headers = b"Host: localhost\r\nContent-Type: application/msgpack\r\nContent-Length: 99999999\r\n\r\n"
    giant = b"POST /v1/submissions HTTP/1.1\r\n" + headers
    answer = answer_to(live, first + first + giant + first)
    statuses = [int(part.split(b" ", 1)[0]) for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses[:2] == [200, 200]
    assert 200 not in statuses[2:]


def test_long_polls_end_when_the_node_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A waiting reader does not keep a stopping server."""
    results: list[Any] = []
    asked, wait_for = threading.Event(), Watcher.wait_for

    async def waiting(self: Watcher, found: Any, timeout_s: float) -> Any:
        if timeout_s == 60:
            asked.set()
        return await wait_for(self, found, timeout_s)

    monkeypatch.setattr(Watcher, "wait_for", waiting)
    with live_node(tmp_path / "net") as live:
        height = live.node.head.height

        def poll() -> None:
            try:
                address = f"http://127.0.0.1:{live.port}/v1/blocks?from={height + 5}&wait=60"
                results.append(httpx.get(address, timeout=90).status_code)
            except Exception as error:  # noqa: BLE001 - a closed connection is an answer too
                results.append(error)

        thread = threading.Thread(target=poll)
        thread.start()
        assert asked.wait(30)
        started = time.monotonic()
    assert time.monotonic() - started < 9  # the server alone would give a reader ten
    thread.join(5)
    assert results == [200]
