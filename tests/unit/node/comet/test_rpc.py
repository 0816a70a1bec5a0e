"""The RPC client: what it sends, what each answer means, and how it gets over a connection that was closed."""

from __future__ import annotations

import json
import socketserver
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from ledger.adapters.home.comethome import RPC_SOCKET
from ledger.errors import LedgerError, RejectedError, UnavailableError
from ledger_node.comet import rpc
from ledger_node.comet.rpc import CometRpc

Answer = Callable[[dict[str, Any]], bytes]


class FakeEngine(socketserver.ThreadingUnixStreamServer):
    """An HTTP server on an RPC socket; `answer` makes each body, `asked` keeps requests, `close_after` ends connections."""

    daemon_threads = True

    def __init__(self, home: Path) -> None:
        self.answer: Answer = lambda _: b'{"jsonrpc":"2.0","id":1,"result":{}}'
        self.asked: list[dict[str, Any]] = []
        self.connections = 0
        self.close_after = False
        super().__init__(str(home / RPC_SOCKET), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeEngine

    def setup(self) -> None:
        """Count the connection."""
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        """Answer one call."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(asked)
        body = self.server.answer(asked)
        self.send_response(500 if b'"error"' in body else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(BrokenPipeError):  # who refuses a long answer hangs up
            self.wfile.write(body)
        # Closed without a word, as a server does with a connection that was idle for long.
        self.close_connection = self.server.close_after

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeEngine]:
    """A fake engine in `tmp_path`."""
    with FakeEngine(tmp_path) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[CometRpc]:
    """A client of the engine in `tmp_path`."""
    made = CometRpc(tmp_path, timeout_s=5)
    yield made
    made.close()


def failing(data: str) -> Answer:
    """An engine that answers every call with this error."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": -32603, "message": "Internal error", "data": data}})
    return lambda _: body.encode()


def test_calls_are_json_rpc_over_one_connection(engine: FakeEngine, client: CometRpc) -> None:
    """Transactions go as base64, heights as texts, all over the connection that was opened first."""
    engine.answer = lambda asked: json.dumps({"result": {"code": 0, "method": asked["method"]}}).encode()
    client.broadcast(b"\0tx")
    client.broadcast_async(b"more")
    assert client.status()["method"] == "status"
    assert client.commit(7)["method"] == "commit" and client.block(8)["method"] == "block"
    assert client.validators(9)["method"] == "validators" and client.net_info()["method"] == "net_info"
    methods = ["broadcast_tx_sync", "broadcast_tx_async", "status", "commit", "block", "validators", "net_info"]
    assert [asked["method"] for asked in engine.asked] == methods
    assert b64decode(engine.asked[0]["params"]["tx"]) == b"\0tx"
    assert engine.asked[3]["params"] == {"height": "7"} and engine.asked[5]["params"]["per_page"] == "100"
    assert engine.connections == 1


def test_a_refusal_of_checktx_says_why(engine: FakeEngine, client: CometRpc) -> None:
    """Code, codespace and log of CheckTx are in the error."""
    engine.answer = lambda _: b'{"result":{"code":4,"log":"key-unknown","codespace":"ledger"}}'
    with pytest.raises(RejectedError) as caught:
        client.broadcast(b"x")
    assert (caught.value.code, caught.value.message) == ("check-tx", "key-unknown")
    assert caught.value.evidence == {"number": 4, "codespace": "ledger"}


@pytest.mark.parametrize(
    ("data", "family", "code"),
    [
        ("mempool is full: number of txs 1 (max: 1), total txs bytes 1 (max: 1)", UnavailableError, "mempool-full"),
        ("mempool is still rechecking after a new committed block, so …", UnavailableError, "mempool-full"),
        ("endpoint is closed while node is catching up", UnavailableError, "engine-syncing"),
        ("Tx too large. Max size is 1048576, but got 1048577", RejectedError, "tx-size"),
        ("broadcast confirmation not received", UnavailableError, "engine-error"),
    ],
)
def test_errors_of_the_engine_are_sorted(
    engine: FakeEngine, client: CometRpc, data: str, family: type[LedgerError], code: str
) -> None:
    """What passes is unavailable, what never will be is refused, and the connection is still good."""
    engine.answer = failing(data)
    for submit in (client.broadcast, client.broadcast_async):
        with pytest.raises(family) as caught:
            submit(b"x")
        assert caught.value.code == code
    assert engine.connections == 1


def test_a_transaction_that_is_known_is_no_error(engine: FakeEngine, client: CometRpc) -> None:
    """Who hands in the same bytes again has what it wanted."""
    engine.answer = failing("tx already exists in cache")
    client.broadcast(b"x")


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"{}", b'{"result":1}', b'{"error":{"data":1}}'])
def test_an_odd_answer_is_the_engines_fault(engine: FakeEngine, client: CometRpc, body: bytes) -> None:
    """Anything but a result or an error is unavailable, never a crash."""
    engine.answer = lambda _: body
    with pytest.raises(UnavailableError):
        client.status()


def test_a_closed_connection_is_opened_anew(engine: FakeEngine, client: CometRpc) -> None:
    """A server that closes what was kept costs one more connection, not an error."""
    engine.close_after = True
    for _ in range(3):
        client.status()
    assert len(engine.asked) == 3 and engine.connections == 3


def test_an_answer_that_is_too_large_is_dropped(
    engine: FakeEngine, client: CometRpc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More bytes than any answer has are not read."""
    monkeypatch.setattr(rpc, "ANSWER_BYTES_MAX", 100)
    engine.answer = lambda _: b'{"result":{"x":"' + b"x" * 100 + b'"}}'
    with pytest.raises(UnavailableError) as caught:
        client.status()
    assert caught.value.code == "engine-unreachable"


def test_no_engine(tmp_path: Path) -> None:
    """Where nobody listens, the call is unavailable."""
    client = CometRpc(tmp_path)
    for _ in range(2):
        with pytest.raises(UnavailableError) as caught:
            client.broadcast(b"x")
        assert caught.value.code == "engine-unreachable"


@pytest.mark.parametrize("size", ["-1", "-FFFFFFFFFFFFFFFFFFFF", "zz"])
def test_an_absurd_chunk_is_the_engines_fault(engine: FakeEngine, client: CometRpc, size: str) -> None:
    """CometBFT answers in chunks where an answer is long; one of another form is unavailable, never a crash."""

    def chunked(handler: _Handler) -> None:
        handler.rfile.read(int(handler.headers["Content-Length"]))
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(f"{size}\r\n{{}}\r\n".encode())
        handler.close_connection = True

    engine.RequestHandlerClass = type("Chunked", (_Handler,), {"do_POST": chunked})
    with pytest.raises(UnavailableError) as caught:
        client.status()
    assert caught.value.code == "engine-unreachable"


def test_a_long_answer_comes_in_chunks(engine: FakeEngine, client: CometRpc) -> None:
    """As CometBFT's server sends what is longer than its buffer."""

    def chunked(handler: _Handler) -> None:
        handler.rfile.read(int(handler.headers["Content-Length"]))
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for part in (b'{"result":', b'{"x":"', b"x" * 100_000, b'"}}', b""):
            handler.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")

    engine.RequestHandlerClass = type("Chunked", (_Handler,), {"do_POST": chunked})
    assert client.status() == client.status() == {"x": "x" * 100_000}
    assert engine.connections == 1
