"""Submissions served without a task: the general way's answers to the byte; what is not ordinary takes the general way."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from ledger import framing
from ledger.core.hashing import sha256
from ledger.core.keys import Ed25519Signer
from ledger.core.submission import Submission, new_submission
from ledger.errors import UnavailableError
from ledger_node.http import direct as direct_module
from ledger_node.http.direct import DirectAppend
from ledger_node.http.server import LimitedProtocol
from ledger_node.intake.checker import Checker
from tests.models.live_node import LiveNode, live_node, tell_story

ORDINARY = ("Content-Type: application/msgpack",)
GENERAL = (*ORDINARY, "X-Other: 1")
"""Says nothing to the answer, but is not ordinary."""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNode]:
    """A node of its own: so many accesses are unusual, which other tests would meet."""
    with live_node(tmp_path_factory.mktemp("direct") / "net") as found:
        tell_story(found)
        yield found


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bodies that were served without a task."""
    seen: list[bytes] = []
    original = DirectAppend.serve

    def serve(self: DirectAppend, connection: Any, body: bytes) -> None:
        seen.append(body)
        original(self, connection, body)

    monkeypatch.setattr(DirectAppend, "serve", serve)
    return seen


def access(live: LiveNode, **content: Any) -> Any:
    refs = {"dataset": "ga/hukou", "grant": live.ids["grant"]}
    return live.event("use.access", refs, purpose="pension-check", items=["status"], count=1, **content)


def request(body: bytes, *headers: str, host: str = "localhost", path: str = "/v1/submissions") -> bytes:
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def connect(live: LiveNode) -> socket.socket:
    found = socket.create_connection(("127.0.0.1", live.port), timeout=20)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return found


def read_answer(found: socket.socket, received: bytes = b"") -> tuple[bytes, bytes, bytes]:
    """Head and body of the next answer, and what came behind it."""
    while b"\r\n\r\n" not in received:
        received += found.recv(65_536)
    head, _, rest = received.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
    while len(rest) < length:
        rest += found.recv(65_536)
    return head, rest[:length], rest[length:]


def ask(live: LiveNode, data: bytes) -> tuple[bytes, bytes]:
    with connect(live) as found:
        found.sendall(data)
        return read_answer(found)[:2]


def masked(head: bytes, body: bytes) -> tuple[bytes, bytes]:
    """An answer without what differs between any two: request id, event id, place, checkpoint."""
    head = re.sub(rb"x-request-id: \S+|content-length: \d+", b"", head)
    body = re.sub(rb'"(seq|size|height|time|index)":\d+', b"", body)
    body = re.sub(rb'"checkpoint":"(\\.|[^"\\])*"', b"", body)
    body = re.sub(rb'"certified":(true|false)', b"", body)
    # A rule sees when somebody uses the same data unusually often, which one of the two is the first to do.
    body = re.sub(rb'"(accepted|irregular)"', b"", re.sub(rb'"verdict":\{.*?\}(?=\}[],])', b"", body))
    return head, re.sub(rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]+|[0-9a-f]{10}-[0-9a-f]+", b"", body)


def test_both_ways_give_the_same_answer(live: LiveNode, served: list[bytes]) -> None:
    """Head and body of an accepted, a refused and a repeated submission and of a conflict are the same by both ways."""
    first = access(live)
    ids = [access(live).id for _ in range(2)]
    ghost = {"dataset": "ga/ghost", "grant": live.ids["grant"]}

    def cases(number: int) -> list[Submission]:
        return [
            live.sign("rs", [access(live)]),
            live.sign("rs", [access(live), access(live), live.event("use.access", ghost, count=1)]),
            live.sign("rs", [first]),
            live.sign("rs", [access(live, event_id=ids[number])]),
            live.sign("rs", [access(live, event_id=ids[number])]),
            live.sign("rs", [access(live), first]),
        ]

    ask(live, request(framing.encode(live.sign("rs", [first])), *GENERAL))
    straight = [ask(live, request(framing.encode(each), *ORDINARY)) for each in cases(0)]
    assert len(served) == 6
    general = [ask(live, request(framing.encode(each), *GENERAL)) for each in cases(1)]
    assert len(served) == 6
    assert [head.split(b"\r\n")[0] for head, _ in straight] == [
        b"HTTP/1.1 201 Created", b"HTTP/1.1 201 Created", b"HTTP/1.1 201 Created",
        b"HTTP/1.1 201 Created", b"HTTP/1.1 409 Conflict", b"HTTP/1.1 201 Created",
    ]  # fmt: skip
    assert [masked(*answer) for answer in straight] == [masked(*answer) for answer in general]


def test_both_ways_give_the_same_problem(live: LiveNode, served: list[bytes]) -> None:
    """What is malformed, unsigned, from a stranger or of another network gets the same status, problem and language."""
    good = framing.encode(live.sign("rs", [access(live)]))
    stranger = new_submission(live.node.origin, "rs", Ed25519Signer(sha256(b"stranger")), [access(live)])
    bodies = [
        b"", b"\x96\x01", good[:-1] + bytes((good[-1] ^ 1,)), good.replace(b"live.test", b"lime.test"),
        good.replace(b"\xa2rs", b"\xa2zz"), framing.encode(stranger),
    ]  # fmt: skip
    for language in ("zh", "en"):
        for body in bodies:
            lines = (f"Accept-Language: {language}",)
            straight = ask(live, request(body, *ORDINARY, *lines))
            general = ask(live, request(body, *GENERAL, *lines))
            assert masked(*straight) == masked(*general)
            assert straight[0].startswith(b"HTTP/1.1 422 ")
            assert b"content-language: " + language.encode() in straight[0]
    assert len(served) == 2 * len(bodies)


@pytest.mark.parametrize("active", [0, 100], ids=["here", "worker"])
def test_it_matters_not_who_checks(
    live: LiveNode, served: list[bytes], monkeypatch: pytest.MonkeyPatch, active: int
) -> None:
    """A submission is recorded, and a bad one refused, whether this process checked it or the worker."""
    until = time.monotonic() + 60
    good, bad = (
        framing.encode(live.sign("rs", [access(live)])),
        bytearray(framing.encode(live.sign("rs", [access(live)]))),
    )
    bad[-1] ^= 1
    asked: list[bool] = []
    original = Checker._worth_asking

    def worth(self: Checker, size: int) -> bool:
        asked.append(original(self, 1 << 20) if active else False)
        return asked[-1]

    monkeypatch.setattr(Checker, "_worth_asking", worth)
    while active and not any(asked):  # until the worker has started
        assert time.monotonic() < until
        more = framing.encode(live.sign("rs", [access(live)]))
        assert b"201 Created" in ask(live, request(more, *ORDINARY))[0]
        time.sleep(0.05)
    served.clear()
    assert b"201 Created" in ask(live, request(good, *ORDINARY))[0]
    assert b"submission-signature" in ask(live, request(bytes(bad), *ORDINARY))[1]
    assert len(served) == 2
    assert not active or any(asked)


def test_requests_on_one_connection_are_answered_in_order(live: LiveNode, served: list[bytes]) -> None:
    """Three requests sent at once get three answers in order: the first is served straight, the others wait their turn."""
    events = [access(live) for _ in range(3)]
    data = b"".join(request(framing.encode(live.sign("rs", [each])), *ORDINARY) for each in events)
    with connect(live) as found:
        found.sendall(data)
        rest = b""
        for event in events:
            head, body, rest = read_answer(found, rest)
            assert head.startswith(b"HTTP/1.1 201 ") and event.id.encode() in body
        for _ in range(2):
            found.sendall(request(framing.encode(live.sign("rs", [access(live)])), *ORDINARY))
            assert read_answer(found)[0].startswith(b"HTTP/1.1 201 ")
    assert len(served) == 3


def test_a_body_in_pieces_takes_the_general_way(
    live: LiveNode, served: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A header or a body that comes bit by bit is waited for and answered the same."""
    arrived, receive = threading.Event(), LimitedProtocol.data_received

    def received(self: LimitedProtocol, data: bytes) -> None:
        receive(self, data)
        arrived.set()

    monkeypatch.setattr(LimitedProtocol, "data_received", received)
    for cut in (10, 60, -20):
        data = request(framing.encode(live.sign("rs", [access(live)])), *ORDINARY)
        with connect(live) as found:
            arrived.clear()
            found.sendall(data[:cut])
            assert arrived.wait(20)
            found.sendall(data[cut:])
            assert read_answer(found)[0].startswith(b"HTTP/1.1 201 ")
    assert len(served) == 2  # a header in pieces and its body in one are ordinary


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ("Content-Type: application/json",),
        ("Content-Type: application/msgpack; a=b",),
        (*ORDINARY, "Content-Encoding: gzip"),
        (*ORDINARY, "Connection: close"),
        (*ORDINARY, "Expect: 100-continue"),
        (*ORDINARY, *ORDINARY),
        (*ORDINARY, "X-Request-Id: mine"),
    ],
)
def test_other_headers_take_the_general_way(live: LiveNode, served: list[bytes], headers: tuple[str, ...]) -> None:
    """A header that may matter is left to the way that knows what it means."""
    with connect(live) as found:
        found.sendall(request(b"\x96", *headers))
        assert found.recv(65_536)
    assert not served


def test_other_requests_take_the_general_way(live: LiveNode, served: list[bytes]) -> None:
    """Another host, a query, another path, another version of HTTP and a body beyond the bound are not ordinary."""
    body = framing.encode(live.sign("rs", [access(live)]))
    assert b" 421 " in ask(live, request(body, *ORDINARY, host="elsewhere"))[0]
    assert b" 201 " in ask(live, request(body, *ORDINARY, path="/v1/submissions?ack=certified"))[0]
    assert b" 404 " in ask(live, request(body, *ORDINARY, path="/v1/submission"))[0]
    assert b" 201 " in ask(live, request(body, *ORDINARY).replace(b"HTTP/1.1", b"HTTP/1.0"))[0]
    assert b" 422 " in ask(live, request(bytes(direct_module.BODY_BYTES_MAX + 1), *ORDINARY))[0]
    assert not served


def test_a_full_engine_is_a_problem_by_both_ways(live: LiveNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the engine refuses at once, or says later that it did not record, the answer is the same 503."""

    def full(*_: Any) -> Any:
        raise UnavailableError("queue-full", "more events wait than the node can hold", retry_after_s=1)

    def failed(*_: Any) -> Any:
        future: Future[Any] = Future()
        future.set_exception(UnavailableError("engine-stopped", "not acknowledged; send it again"))
        return future

    body = framing.encode(live.sign("rs", [access(live)]))
    for submit, code in ((full, b"queue-full"), (failed, b"engine-stopped")):
        monkeypatch.setattr(live.node, "submit", submit)
        straight, general = ask(live, request(body, *ORDINARY)), ask(live, request(body, *GENERAL))
        assert masked(*straight) == masked(*general)
        assert straight[0].startswith(b"HTTP/1.1 503 ") and code in straight[1]


def test_a_defect_is_500_by_both_ways(live: LiveNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of ours while the answer is made says nothing about itself, and the connection serves on."""

    def broken(*_: Any) -> Any:
        raise ValueError("secret")

    body = framing.encode(live.sign("rs", [access(live)]))
    with monkeypatch.context() as patch:
        patch.setattr(direct_module, "answer_outcome", broken)
        with connect(live) as found:
            found.sendall(request(body, *ORDINARY))
            head, answer, _ = read_answer(found)
            assert b" 500 " in head and b"secret" not in answer
            patch.undo()
            found.sendall(request(framing.encode(live.sign("rs", [access(live)])), *ORDINARY))
            assert b" 201 " in read_answer(found)[0]


def test_a_client_that_goes_is_recorded_and_forgotten(live: LiveNode) -> None:
    """Who hangs up after the whole request has it recorded; nothing stays behind."""
    event = access(live)
    with connect(live) as found:
        found.sendall(request(framing.encode(live.sign("rs", [event])), *ORDINARY))
    until = time.monotonic() + 20
    while live.client.get(f"/v1/events/rs/{event.id}").status_code != 200:
        assert time.monotonic() < until
        time.sleep(0.05)
