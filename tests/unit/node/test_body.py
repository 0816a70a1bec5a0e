"""Reading bodies: limits hold for truthful, lying, absent and slow senders, and nothing beyond them is kept."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ledger.errors import UnavailableError
from ledger_node.http.body import BodyReader, ClientGoneError, content_length, require_media_type
from ledger_node.http.problems import HttpError


class Sender:
    """A client that sends these chunks, then stalls, ends or goes away."""

    def __init__(self, chunks: list[bytes], ends: str = "complete") -> None:
        self.chunks, self.ends, self.taken = list(chunks), ends, 0

    async def __call__(self) -> dict[str, Any]:
        if self.chunks:
            chunk = self.chunks.pop(0)
            self.taken += len(chunk)
            last = not self.chunks and self.ends == "complete"
            return {"type": "http.request", "body": chunk, "more_body": not last}
        if self.ends == "gone":
            return {"type": "http.disconnect"}
        await asyncio.sleep(60)
        raise AssertionError


def scope(length: str | None = None, **headers: str) -> dict[str, Any]:
    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    if length is not None:
        lines.append((b"content-length", length.encode()))
    return {"type": "http", "headers": lines}


def read(sender: Sender, length: str | None = None, limit: int = 100, **named: Any) -> bytes:
    reader = BodyReader(named.pop("timeout_s", 5.0), **named)
    return asyncio.run(reader.read(scope(length), sender, limit))


@pytest.mark.parametrize("chunks", [[b"abc"], [b"a", b"", b"bc"], [b""]])
def test_whole_bodies_come_back(chunks: list[bytes]) -> None:
    """One piece or many, the body is what was sent."""
    assert read(Sender(chunks)) == b"".join(chunks)


def test_declared_length_over_the_limit_is_refused_unread() -> None:
    """A truthful Content-Length is enough: nothing is taken from the connection."""
    sender = Sender([b"x" * 1000])
    with pytest.raises(HttpError) as caught:
        read(sender, "101")
    assert caught.value.code == "body-too-large"
    assert sender.taken == 0


@pytest.mark.parametrize("length", [None, "5", "-1", "5, 5", "²", "9" * 30])
def test_a_lying_length_is_noticed_while_reading(length: str | None) -> None:
    """Whatever the header says, reading ends with the piece that passes the limit."""
    sender = Sender([b"x" * 60] * 1000)
    with pytest.raises(HttpError) as caught:
        read(sender, length)
    assert caught.value.code == "body-too-large"
    assert sender.taken == 120


def test_one_piece_over_the_limit_is_refused() -> None:
    """Also when the server had it all at once."""
    with pytest.raises(HttpError):
        read(Sender([b"x" * 101]))


@pytest.mark.parametrize("chunks", [[], [b"abc"]])
def test_a_slow_sender_runs_out_of_time(chunks: list[bytes]) -> None:
    """The time counts from the first wait to the last byte."""
    with pytest.raises(HttpError) as caught:
        read(Sender(chunks, ends="stalls"), timeout_s=0.05)
    assert caught.value.code == "body-slow"


@pytest.mark.parametrize("chunks", [[], [b"abc"]])
def test_a_client_that_leaves_is_not_answered(chunks: list[bytes]) -> None:
    """A closed connection is no body."""
    with pytest.raises(ClientGoneError):
        read(Sender(chunks, ends="gone"))


def test_bodies_in_flight_share_one_budget() -> None:
    """While large bodies are being read, another one that would pass the budget is sent away, and room comes back."""

    async def run() -> None:
        reader = BodyReader(0.2, in_flight_bytes_max=150)
        slow = asyncio.create_task(reader.read(scope("100"), Sender([b"x"], ends="stalls"), 100))
        await asyncio.sleep(0.05)
        with pytest.raises(UnavailableError) as caught:
            await reader.read(scope("100"), Sender([b"x" * 50, b"x" * 50]), 100)
        assert caught.value.code == "busy"
        with pytest.raises(HttpError):
            await slow
        assert await reader.read(scope("100"), Sender([b"x" * 50, b"x" * 50]), 100) == b"x" * 100

    asyncio.run(run())


@pytest.mark.parametrize(("text", "expected"), [("12", 12), ("0", 0), ("+5", None), ("1_0", None), ("", None)])
def test_content_length_is_a_plain_number(text: str, expected: int | None) -> None:
    """Other spellings are as good as none."""
    assert content_length(scope(text)) == expected


def test_media_type_is_required() -> None:
    """Parameters are allowed, other types, no type and coded bodies are not."""
    assert require_media_type(scope(content_type="Application/JSON; charset=utf-8"), "application/json")
    for headers in (
        {},
        {"content_type": "text/plain"},
        {"content_type": "application/json", "content_encoding": "gzip"},
    ):
        with pytest.raises(HttpError) as caught:
            require_media_type(scope(**headers), "application/json")
        assert caught.value.code == "media-type"
