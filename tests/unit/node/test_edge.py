"""The edge: ids, hosts, headers, errors as problems, hot routes before the application."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from ledger.errors import NotFoundError
from ledger_node.http.body import ClientGoneError
from ledger_node.http.edge import Answer, Edge
from ledger_node.metrics import Metrics


def call(
    edge: Edge, path: str = "/x", method: str = "GET", headers: dict[str, str] | None = None, query: str = ""
) -> Any:
    """(status, headers, body) of one request; None where nothing was answered."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(dict(message))

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    lines = [(name.lower().encode(), value.encode()) for name, value in (headers or {"host": "localhost"}).items()]
    scope = {"type": "http", "path": path, "method": method, "headers": lines, "query_string": query.encode()}
    asyncio.run(edge(scope, receive, send))
    if not sent:
        return None
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), body


async def inner(scope: Any, _receive: Any, send: Any) -> None:
    if scope["path"] == "/raises":
        raise NotFoundError("object", kind="dataset")
    if scope["path"] == "/defect":
        raise ValueError("secret")
    if scope["path"] == "/gone":
        raise ClientGoneError
    headers = [(b"content-type", b"text/plain"), (b"cache-control", b"public")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if scope["path"] == "/breaks":
        raise ValueError("half way")
    await send({"type": "http.response.body", "body": b"inner"})


async def hot(_scope: Any, _receive: Any) -> Answer:
    return Answer(201, b"{}")


def make(**named: Any) -> Edge:
    arguments = {"hot": {"/hot": {"POST": hot}}, "hosts": ("localhost", "[::1]"), "metrics": Metrics()} | named
    return Edge(inner, **arguments)


def test_every_answer_has_the_same_security_headers() -> None:
    """nosniff and an id are on every answer, from the application, a hot route or an error; a route may set its cache."""
    for path, method, status in (
        ("/x", "GET", 200),
        ("/hot", "POST", 201),
        ("/raises", "GET", 404),
        ("/defect", "GET", 500),
    ):
        found, headers, _ = call(make(), path, method)
        assert found == status
        assert headers[b"x-content-type-options"] == b"nosniff"
        assert headers[b"x-request-id"]
        assert b"access-control-allow-origin" not in headers
    assert call(make())[1][b"cache-control"] == b"public"
    assert call(make(), "/hot", "POST")[1][b"cache-control"] == b"no-store"


def test_hot_routes_answer_before_the_application() -> None:
    """The path and method of a hot route never reach the application; another method is 405 with Allow."""
    assert call(make(), "/hot", "POST")[2] == b"{}"
    status, headers, body = call(make(), "/hot", "GET")
    assert (status, headers[b"allow"], json.loads(body)["code"]) == (405, b"POST", "method")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8650", "[::1]:8650", "[::1]"])
def test_known_hosts_are_answered(host: str) -> None:
    """Case and port do not matter."""
    assert call(make(), headers={"host": host})[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "localhost:80:evil", "", "127.0.0.1"])
def test_other_hosts_are_misdirected(host: str) -> None:
    """A name that the node does not have is 421: a rebound name must read nothing."""
    status, _, body = call(make(), headers={"host": host})
    assert (status, json.loads(body)["code"]) == (421, "host")


def test_without_host_is_misdirected() -> None:
    """A request that names no host is not answered either."""
    assert call(make(), headers={"x": "y"})[0] == 421


def test_request_id_is_kept_where_harmless() -> None:
    """A client's id comes back; one that could break a log or a header is replaced."""
    assert call(make(), headers={"host": "localhost", "x-request-id": "abc-1.2_3"})[1][b"x-request-id"] == b"abc-1.2_3"
    for odd in ("a b", "x" * 65, "é", "a\tb", ""):
        found = call(make(), headers={"host": "localhost", "x-request-id": odd})[1][b"x-request-id"]
        assert found != odd.encode()


def test_language_of_problems() -> None:
    """`?lang=` wins over Accept-Language, which wins over the node's own."""
    chinese = {"host": "localhost", "accept-language": "zh-CN"}
    assert call(make(), "/raises")[1][b"content-language"] == b"en"
    assert call(make(), "/raises", headers=chinese)[1][b"content-language"] == b"zh"
    assert call(make(), "/raises", headers=chinese, query="lang=en")[1][b"content-language"] == b"en"
    assert call(make(), "/raises", headers=chinese, query="lang=xx")[1][b"content-language"] == b"zh"
    assert call(make(language="zh"), "/raises")[1][b"content-language"] == b"zh"


def test_a_defect_is_500_without_its_text() -> None:
    """An exception of ours is an answer that keeps its secrets."""
    status, _, body = call(make(), "/defect")
    assert status == 500
    assert b"secret" not in body


def test_a_broken_answer_breaks_the_connection() -> None:
    """Once an answer has begun, an error is raised to the server, which closes the connection."""
    with pytest.raises(ValueError, match="half way"):
        call(make(), "/breaks")


def test_a_gone_client_gets_nothing() -> None:
    """Nobody is left to answer."""
    assert call(make(), "/gone") is None


def test_websockets_are_closed() -> None:
    """There is no websocket here."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(make()({"type": "websocket", "path": "/", "headers": []}, None, send))  # type: ignore[arg-type]
    assert sent[0]["type"] == "websocket.close"


def test_requests_are_counted_by_route() -> None:
    """Labels are our own routes, never a stranger's path."""
    metrics = Metrics()
    edge = make(metrics=metrics)
    call(edge, "/hot", "POST")
    call(edge, "/etc/passwd")
    text = metrics.encode().decode()
    assert 'ledger_http_requests_total{method="POST",route="/hot",status="201"} 1.0' in text
    assert 'route="other"' in text
    assert "passwd" not in text
