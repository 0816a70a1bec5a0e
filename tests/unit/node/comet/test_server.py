"""The ABCI server on a real unix socket: order, what it answers itself, errors that end everything, slow readers."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ledger.errors import LedgerError, RejectedError
from ledger.limits import ABCI_CONNECTIONS_MAX, ABCI_MESSAGE_BYTES_MAX, ABCI_WAITING_BYTES_MAX
from ledger_node.comet import abci_pb2 as pb
from ledger_node.comet import server as module
from ledger_node.comet.framing import Frames, encode_varint
from ledger_node.comet.server import AbciServer
from ledger_node.comet.socketpath import SOCKET_PATH_BYTES_MAX

LIMIT_S = 10


class App:
    """Answers with what the request said, so that each answer names its request."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __getattr__(self, name: str) -> Callable[[Any], Any]:
        """Every request without a method of its own gets an empty answer."""
        answer = getattr(pb, pb.Response.DESCRIPTOR.fields_by_name[name].message_type.name)
        return lambda _: answer()

    def check_tx(self, request: pb.RequestCheckTx) -> pb.ResponseCheckTx:
        """The number in the transaction comes back as the gas."""
        number = int.from_bytes(request.tx)
        self.seen.append(number)
        if number == 99_666:
            raise RejectedError("no-such-day", day=31)
        if number == 99_667:
            raise ValueError("a secret")
        return pb.ResponseCheckTx(gas_used=number)

    def query(self, request: pb.RequestQuery) -> pb.ResponseQuery:
        """As many bytes as the path says."""
        self.seen.append(int(request.path))
        return pb.ResponseQuery(value=bytes(int(request.path)))

    def commit(self, _: pb.RequestCommit) -> pb.ResponseInfo:
        """Not what belongs to a Commit."""
        return pb.ResponseInfo()


class Client:
    """CometBFT's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.frames, self.got = reader, writer, Frames(), list[pb.Response]()

    def send(self, *requests: pb.Request) -> None:
        """All requests in one write."""
        self.writer.write(b"".join(framed(request.SerializeToString()) for request in requests))

    async def receive(self, count: int) -> list[pb.Response]:
        """The next `count` answers, or those that came before the connection was closed."""
        while len(self.got) < count:
            data = await asyncio.wait_for(self.reader.read(1 << 20), LIMIT_S)
            if not data:
                break
            self.got += map(pb.Response.FromString, self.frames.feed(data))
        given, self.got = self.got[:count], self.got[count:]
        return given

    async def ended(self) -> bool:
        """True when the server closed the connection and left nothing unread."""
        return await asyncio.wait_for(self.reader.read(1), LIMIT_S) == b""


class Bed:
    """A server, its clients, and what it reported."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "abci.sock")
        self.app = App()
        self.fatal: list[BaseException] = []
        self.calls: list[str] = []
        self.server = AbciServer(self.app, self.fatal.append, self.calls.append)

    async def client(self) -> Client:
        """Another connection."""
        return Client(*await asyncio.open_unix_connection(self.path))


def framed(message: bytes) -> bytes:
    """Length and message."""
    return encode_varint(len(message)) + message


def check(number: int) -> pb.Request:
    """CheckTx with a number in it."""
    return pb.Request(check_tx=pb.RequestCheckTx(tx=number.to_bytes(4)))


def query(size: int) -> pb.Request:
    """A Query that asks for `size` bytes."""
    return pb.Request(query=pb.RequestQuery(path=str(size)))


FLUSH = pb.Request(flush=pb.RequestFlush())


async def eventually(met: Callable[[], bool]) -> None:
    """Waits until `met`, up to the limit."""
    for _ in range(LIMIT_S * 100):
        if met():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError


def drive(folder: Path, scenario: Callable[[Bed], Awaitable[None]]) -> Bed:
    """Runs the scenario against a server, which is closed in the end and leaves no file."""

    async def run() -> Bed:
        bed = Bed(folder)
        await bed.server.start(bed.path)
        try:
            await asyncio.wait_for(scenario(bed), LIMIT_S * 3)
        finally:
            await asyncio.wait_for(bed.server.close(), LIMIT_S)
        return bed

    bed = asyncio.run(run())
    assert not Path(bed.path).exists()
    return bed


def test_answers_come_in_the_order_of_the_requests(tmp_path: Path) -> None:
    """Of a thousand pipelined requests on four connections each connection gets its own answers in its own order."""

    async def scenario(bed: Bed) -> None:
        clients = [await bed.client() for _ in range(4)]
        for at, client in enumerate(clients):
            client.send(*[check(at * 1_000 + number) for number in range(250)], FLUSH)
        for at, client in enumerate(clients):
            answers = await client.receive(251)
            assert [answer.check_tx.gas_used for answer in answers[:-1]] == [at * 1_000 + n for n in range(250)]
            assert answers[-1].WhichOneof("value") == "flush"

    bed = drive(tmp_path, scenario)
    assert bed.calls == ["check_tx"] * 1_000
    assert bed.fatal == []


def test_every_request_gets_its_kind_of_answer(tmp_path: Path) -> None:
    """Each of the requests is answered by the response of its name; echo and flush never reach the application."""
    fields = [field for field in pb.Request.DESCRIPTOR.fields if field.name not in ("commit", "query")]

    async def scenario(bed: Bed) -> None:
        client = await bed.client()
        client.send(*[pb.Request(**{field.name: getattr(pb, field.message_type.name)()}) for field in fields])
        answers = await client.receive(len(fields))
        assert [answer.WhichOneof("value") for answer in answers] == [field.name for field in fields]
        client.send(pb.Request(echo=pb.RequestEcho(message="你好")))
        assert (await client.receive(1))[0].echo.message == "你好"

    bed = drive(tmp_path, scenario)
    assert bed.calls == [field.name for field in fields if field.name not in ("echo", "flush")]


def test_envelope_is_written_as_protobuf_writes_it() -> None:
    """The frame of an answer is byte for byte what a `Response` message gives, for small and large answers."""
    for size in (0, 1, 120, 127, 128, 16_384, 3_000_000):
        answer = AbciServer(App(), print).answer(query(size).SerializeToString())
        assert answer == framed(pb.Response(query=pb.ResponseQuery(value=bytes(size))).SerializeToString())
    echo = AbciServer(App(), print).answer(pb.Request(echo=pb.RequestEcho(message="a")).SerializeToString())
    assert echo == framed(pb.Response(echo=pb.ResponseEcho(message="a")).SerializeToString())
    assert AbciServer(App(), print).answer(FLUSH.SerializeToString()) == framed(
        pb.Response(flush=pb.ResponseFlush()).SerializeToString()
    )


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (framed(check(99_666).SerializeToString()), "no-such-day"),
        (framed(pb.Request(commit=pb.RequestCommit()).SerializeToString()), "abci-answer"),
        (framed(query(ABCI_MESSAGE_BYTES_MAX).SerializeToString()), "abci-answer"),
        (framed(b""), "abci-request"),
        (framed(b"\xaa\x01\x00"), "abci-request"),  # insert_tx, of the application mempool
        (framed(b"\xff\xff"), "abci-request"),
        (b"\x80\x00", "abci-frame"),
        (encode_varint(ABCI_MESSAGE_BYTES_MAX + 1), "abci-frame"),
    ],
)
def test_error_is_answered_and_ends_everything(tmp_path: Path, bad: bytes, code: str) -> None:
    """Earlier answers and the exception arrive, then every connection ends; nothing later is decided; it is told once."""

    async def scenario(bed: Bed) -> None:
        client, other = await bed.client(), await bed.client()
        client.writer.write(framed(check(1).SerializeToString()) + framed(check(2).SerializeToString()))
        assert [answer.check_tx.gas_used for answer in await client.receive(2)] == [1, 2]
        client.writer.write(framed(check(3).SerializeToString()))
        await client.receive(1)
        client.writer.write(bad + framed(check(4).SerializeToString()))
        (answer,) = await client.receive(1)
        assert answer.exception.error.startswith(code)
        assert await client.ended()
        assert await other.ended()
        late = await bed.client()
        assert await late.ended()

    bed = drive(tmp_path, scenario)
    assert 4 not in bed.app.seen
    (error,) = bed.fatal
    assert isinstance(error, LedgerError)
    assert error.code == code


def test_foreign_errors_tell_only_their_type(tmp_path: Path) -> None:
    """An error that is not ours is handed to the owner whole, but CometBFT's log gets no text of it."""

    async def scenario(bed: Bed) -> None:
        client = await bed.client()
        client.send(check(5), check(99_667))
        answers = await client.receive(2)
        assert answers[0].check_tx.gas_used == 5
        assert answers[1].exception.error == "application failed: ValueError"
        assert await client.ended()

    (error,) = drive(tmp_path, scenario).fatal
    assert str(error) == "a secret"


def test_pipelined_requests_of_others_are_dropped_after_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection whose turn was interrupted decides nothing more once another one met an error."""
    monkeypatch.setattr(module, "TURN_S", 0.0)

    async def scenario(bed: Bed) -> None:
        client, other = await bed.client(), await bed.client()
        client.send(*[check(number) for number in range(600)])
        other.send(check(99_666))
        (answer,) = await other.receive(1)
        assert answer.exception.error.startswith("no-such-day")
        assert len(await client.receive(600)) < 600

    assert len(drive(tmp_path, scenario).fatal) == 1


def test_flood_does_not_hold_up_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one connection's requests keep the loop busy, a request of another is answered between them, all in order."""
    monkeypatch.setattr(module, "TURN_S", 0.001)

    async def scenario(bed: Bed) -> None:
        flood, other = await bed.client(), await bed.client()
        flood.send(*[check(number) for number in range(1_000, 21_000)])
        await flood.writer.drain()
        other.send(check(0))
        await other.receive(1)
        answers = await flood.receive(20_000)
        assert [answer.check_tx.gas_used for answer in answers] == list(range(1_000, 21_000))

    seen = drive(tmp_path, scenario).app.seen
    assert seen.index(0) < 19_000


def test_slow_reader_is_read_from_no_more(tmp_path: Path) -> None:
    """A client that reads nothing gets a bounded number of its requests decided; when it reads, all come in order."""
    size = 256 * 1024
    count = 200

    async def scenario(bed: Bed) -> None:
        client, other = await bed.client(), await bed.client()
        client.reader._limit = 1  # our own end stops reading after a few bytes
        client.send(*[query(size + number) for number in range(count)])
        before = -1
        while before != len(bed.app.seen):
            before = len(bed.app.seen)
            await asyncio.sleep(0.1)  # nothing can be waited for where nothing should happen
        assert before * size < ABCI_WAITING_BYTES_MAX + 8 * 1024 * 1024 < count * size
        other.send(check(7))
        assert (await other.receive(1))[0].check_tx.gas_used == 7
        answers = await client.receive(count)
        assert [len(answer.query.value) for answer in answers] == [size + number for number in range(count)]

    assert drive(tmp_path, scenario).fatal == []


def test_reader_that_never_reads_does_not_hold_up_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closing server waits for unread answers only so long."""
    monkeypatch.setattr(module, "DRAIN_S", 0.2)

    async def scenario(bed: Bed) -> None:
        client = await bed.client()
        client.reader._limit = 1
        client.send(*[query(1_000_000) for _ in range(40)], check(99_666))
        await eventually(lambda: len(bed.app.seen) >= 4)

    drive(tmp_path, scenario)


def test_connections_are_bounded(tmp_path: Path) -> None:
    """CometBFT's four and a few more are served; one too many is closed unanswered; a place that is left is free again."""

    async def scenario(bed: Bed) -> None:
        clients = [await bed.client() for _ in range(ABCI_CONNECTIONS_MAX)]
        for client in clients:
            client.send(FLUSH)
            assert len(await client.receive(1)) == 1
        surplus = await bed.client()
        assert await surplus.ended()
        clients[0].writer.close()
        await eventually(lambda: len(bed.server.connections) < ABCI_CONNECTIONS_MAX)
        client = await bed.client()
        client.send(FLUSH)
        assert len(await client.receive(1)) == 1

    assert drive(tmp_path, scenario).fatal == []


def test_departed_client_is_no_error(tmp_path: Path) -> None:
    """A connection that ends in the midst of a message is forgotten; the others go on."""

    async def scenario(bed: Bed) -> None:
        client, other = await bed.client(), await bed.client()
        client.writer.write(framed(check(1).SerializeToString())[:-1])
        client.writer.close()
        other.send(check(2))
        assert len(await other.receive(1)) == 1

    bed = drive(tmp_path, scenario)
    assert bed.app.seen == [2]
    assert bed.fatal == []


def test_socket_is_ours_alone_and_replaces_a_stale_one(tmp_path: Path) -> None:
    """The socket's mode is 0600; one that a killed process left is replaced; a file of that name is refused and kept."""
    bed = Bed(tmp_path)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(bed.path)
    modes: list[int] = []

    async def scenario(bed: Bed) -> None:
        modes.append(Path(bed.path).stat().st_mode)  # noqa: ASYNC240 - one look
        client = await bed.client()
        client.send(FLUSH)
        assert len(await client.receive(1)) == 1

    assert Path(bed.path).is_socket()
    drive(tmp_path, scenario)
    assert list(map(stat.S_IMODE, modes)) == [0o600]
    Path(bed.path).write_text("mine")
    with pytest.raises(FileExistsError):
        asyncio.run(bed.server.start(bed.path))
    assert Path(bed.path).read_text() == "mine"


def test_long_folder_is_reached_all_the_same(tmp_path: Path) -> None:
    """A path that is too long for a socket address works: the socket stands in that folder."""
    folder = tmp_path / ("很长的目录名" * 8)
    folder.mkdir()
    assert len(os.fsencode(folder)) > SOCKET_PATH_BYTES_MAX

    async def run() -> None:
        bed = Bed(folder)
        await bed.server.start(bed.path)
        handle = os.open(folder, os.O_RDONLY)
        reader, writer = await asyncio.open_unix_connection(f"/proc/self/fd/{handle}/abci.sock")
        client = Client(reader, writer)
        client.send(FLUSH)
        assert len(await client.receive(1)) == 1
        await bed.server.close()
        os.close(handle)

    asyncio.run(run())
    assert list(folder.iterdir()) == []
