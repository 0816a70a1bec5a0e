"""Serves ABCI 2.0 on a unix socket: cuts requests, calls the handler, writes the answers back in the same order.

Rules: everything runs on the thread of the event loop, one request at a time over all connections, which is the mutual
exclusion that the handler may rely on. Answer *i* of a connection belongs to request *i*. Echo and flush are answered
here; the answers of one turn leave in one write. A connection that keeps the loop busy is interrupted after some
milliseconds, so that a flood of CheckTx does not hold up consensus; one that does not read its answers is read from no
more until it does. The first error is the last: an `exception` is written, the connection drained and closed, nothing
more is decided on any connection, and `on_fatal` is called once.
Not here: what an answer says. The handler also refuses a foreign `abci_version` in its `info`.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Protocol, cast

from google.protobuf.message import DecodeError, Message

from ledger.errors import FatalError, LedgerError, MalformedError
from ledger.limits import ABCI_CONNECTIONS_MAX, ABCI_MESSAGE_BYTES_MAX, ABCI_WAITING_BYTES_MAX
from ledger_node.comet import abci_pb2 as pb
from ledger_node.comet.framing import Frames, encode_varint
from ledger_node.comet.socketpath import socket_path

TURN_S: Final = 0.005  # one connection's share before the others get theirs; a signature takes 0.0001 s
DRAIN_S: Final = 5.0  # how long a closing connection may take to read its last answers
WRITE_BYTES: Final = 256 * 1024  # answers joined into one write
ERROR_CHARS_MAX: Final = 500  # of the text in an exception: CometBFT only logs it


class Handler(Protocol):
    """The application: one method for each request, named as the field of the request's oneof.

    Called on the loop's thread, one at a time. What a method raises is fatal for the node.
    """

    def info(self, request: pb.RequestInfo) -> pb.ResponseInfo: ...
    def init_chain(self, request: pb.RequestInitChain) -> pb.ResponseInitChain: ...
    def query(self, request: pb.RequestQuery) -> pb.ResponseQuery: ...
    def check_tx(self, request: pb.RequestCheckTx) -> pb.ResponseCheckTx: ...
    def commit(self, request: pb.RequestCommit) -> pb.ResponseCommit: ...
    def list_snapshots(self, request: pb.RequestListSnapshots) -> pb.ResponseListSnapshots: ...
    def offer_snapshot(self, request: pb.RequestOfferSnapshot) -> pb.ResponseOfferSnapshot: ...
    def load_snapshot_chunk(self, request: pb.RequestLoadSnapshotChunk) -> pb.ResponseLoadSnapshotChunk: ...
    def apply_snapshot_chunk(self, request: pb.RequestApplySnapshotChunk) -> pb.ResponseApplySnapshotChunk: ...
    def prepare_proposal(self, request: pb.RequestPrepareProposal) -> pb.ResponsePrepareProposal: ...
    def process_proposal(self, request: pb.RequestProcessProposal) -> pb.ResponseProcessProposal: ...
    def extend_vote(self, request: pb.RequestExtendVote) -> pb.ResponseExtendVote: ...
    def verify_vote_extension(self, request: pb.RequestVerifyVoteExtension) -> pb.ResponseVerifyVoteExtension: ...
    def finalize_block(self, request: pb.RequestFinalizeBlock) -> pb.ResponseFinalizeBlock: ...


_Call = tuple[Callable[[Any], Message], type[Message], bytes]  # method, type of its answer, tag of that in Response

_LENGTH_DELIMITED: Final = 2
_ECHO: Final = b"\x12"  # Response.echo
_FLUSHED: Final = b"\x02\x1a\x00"  # a whole frame: Response.flush without content


class AbciServer:
    """One listening socket and its connections. `start` once, `close` once."""

    def __init__(
        self,
        handler: Handler,
        on_fatal: Callable[[BaseException], None],
        on_call: Callable[[str], None] | None = None,
    ) -> None:
        """`on_fatal` hears of the first error, after its `exception` left; `on_call` each request but echo and flush."""
        self._calls = _calls(handler)
        self._on_fatal = on_fatal
        self._on_call = on_call
        self._listening: asyncio.Server | None = None
        self._held = ExitStack()  # what keeps `_address` good
        self._address = Path()
        self._failed = False
        self.connections: set[_Connection] = set()

    async def start(self, path: str) -> None:
        """Listens at `path` (mode 0600); a socket that an earlier process left there is removed.

        Raises `OSError`, also where something that is not a socket has the name, and `MalformedError` (`socket-path`).
        """
        place = Path(path)
        with ExitStack() as held:
            self._address = Path(held.enter_context(socket_path(place.parent, place.name)))
            bound = held.enter_context(_bind(self._address))
            loop = asyncio.get_running_loop()
            self._listening = await loop.create_unix_server(lambda: _Connection(self), sock=bound)
            self._held = held.pop_all()

    async def close(self) -> None:
        """Stops listening, lets each connection read the answers that it has coming, removes the socket's file."""
        if self._listening is not None:
            self._listening.close()
            for connection in tuple(self.connections):
                connection.finish()
            while self.connections:
                await asyncio.wait({connection.gone for connection in self.connections})
            await self._listening.wait_closed()
            self._listening = None
            self._address.unlink(missing_ok=True)
        self._held.close()

    @property
    def failed(self) -> bool:
        """True after the first error: nothing is decided any more."""
        return self._failed

    def answer(self, message: bytes) -> bytes:
        """The answering frame. Raises whatever the handler raises, and `MalformedError` for the message."""
        try:
            request = pb.Request.FromString(message)
        except DecodeError:
            raise MalformedError("abci-request", "not a message of ABCI 2.0", size=len(message)) from None
        name = cast("str | None", request.WhichOneof("value"))
        if name == "flush":
            return _FLUSHED
        if name == "echo":
            return _framed(_ECHO, pb.ResponseEcho(message=request.echo.message).SerializeToString())
        if name is None:
            raise MalformedError("abci-request", "unknown request", size=len(message))
        if self._on_call is not None:
            self._on_call(name)
        method, expected, tag = self._calls[name]
        answer = method(getattr(request, name))
        if type(answer) is not expected:
            raise FatalError("abci-answer", request=name, got=type(answer).__name__)
        return _framed(tag, answer.SerializeToString())

    def fail(self) -> None:
        """Remembers that there was an error; from here on nothing is decided."""
        self._failed = True

    def report(self, error: BaseException) -> None:
        """Closes everything and tells the owner; called when the connection of the error is gone."""
        for connection in tuple(self.connections):
            connection.finish()
        self._on_fatal(error)


class _Connection(asyncio.Protocol):
    """One of CometBFT's connections: requests in, answers out, in order."""

    def __init__(self, server: AbciServer) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._frames = Frames()
        self._waiting: deque[bytes] = deque()
        self._transport: asyncio.Transport
        self._turn: asyncio.Handle | None = None
        self._drain: asyncio.TimerHandle | None = None
        self._full = False  # CometBFT does not read its answers
        self._open = False
        self._error: BaseException | None = None
        self.gone: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if len(self._server.connections) >= ABCI_CONNECTIONS_MAX or self._server.failed:
            self._transport.abort()
            return
        self._open = True
        self._server.connections.add(self)
        self._transport.set_write_buffer_limits(high=ABCI_WAITING_BYTES_MAX)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - CometBFT went away: its supervisor's matter
        self._open = False
        self._waiting.clear()
        if self._drain is not None:
            self._drain.cancel()
        self._server.connections.discard(self)
        self.gone.set_result(None)
        if self._error is not None:
            self._server.report(self._error)

    def data_received(self, data: bytes) -> None:
        if not self._open or self._server.failed:
            return
        try:
            self._waiting.extend(self._frames.feed(data))
        except MalformedError as error:
            self._fail(error, ())
            return
        if self._turn is None and not self._full:
            self._work()

    def pause_writing(self) -> None:
        self._full = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._full = False
        if self._open and self._turn is None:
            self._work()

    def finish(self) -> None:
        """No more requests; closes once the answers are read, or after `DRAIN_S`."""
        if self._open:
            self._open = False
            self._waiting.clear()
            self._transport.close()
            self._drain = self._loop.call_later(DRAIN_S, self._transport.abort)

    def _work(self) -> None:
        """Answers what waits until the turn is over or the answers are not read; then reading goes on or pauses."""
        self._turn = None
        until_s = self._loop.time() + TURN_S
        while self._waiting and not self._full and not self._server.failed:
            self._answer_some(until_s)
            if self._loop.time() >= until_s:
                break
        if not self._open or self._server.failed:
            return
        if self._waiting:
            self._transport.pause_reading()
            if not self._full:
                self._turn = self._loop.call_soon(self._work)
        elif not self._full:
            self._transport.resume_reading()

    def _answer_some(self, until_s: float) -> None:
        """One write."""
        out: list[bytes] = []
        size = 0
        while self._waiting and size < WRITE_BYTES:
            try:
                frame = self._server.answer(self._waiting.popleft())
            except Exception as error:  # noqa: BLE001 - whatever it is: the state is unknown, the node must stop
                self._fail(error, out)
                return
            out.append(frame)
            size += len(frame)
            if self._loop.time() >= until_s:
                break
        self._transport.write(b"".join(out))

    def _fail(self, error: Exception, out: list[bytes] | tuple[()]) -> None:
        self._error = error
        self._server.fail()
        said = pb.Response(exception=pb.ResponseException(error=describe(error))).SerializeToString()
        self._transport.write(b"".join((*out, encode_varint(len(said)), said)))
        self.finish()


def describe(error: BaseException) -> str:
    """One line for CometBFT's log. Evidence of our errors holds no secrets; of others only the type is told."""
    text = str(error) if isinstance(error, LedgerError) else f"application failed: {type(error).__name__}"
    return " ".join(text.split())[:ERROR_CHARS_MAX]


def _calls(handler: Handler) -> dict[str, _Call]:
    """How each request is answered, by its name in the oneof."""
    calls: dict[str, _Call] = {}
    for field in pb.Request.DESCRIPTOR.oneofs_by_name["value"].fields:
        if field.name in ("echo", "flush"):
            continue
        answered = pb.Response.DESCRIPTOR.fields_by_name[field.name]
        answer = getattr(pb, answered.message_type.name)
        calls[field.name] = (
            getattr(handler, field.name),
            answer,
            encode_varint(answered.number << 3 | _LENGTH_DELIMITED),
        )
    return calls


def _framed(tag: bytes, content: bytes) -> bytes:
    """A frame with a `Response` whose one field is `content`: what protobuf would write, without parsing it there."""
    length = encode_varint(len(content))
    size = len(tag) + len(length) + len(content)
    if size > ABCI_MESSAGE_BYTES_MAX:
        raise FatalError("abci-answer", "answer too long", size=size, most=ABCI_MESSAGE_BYTES_MAX)
    return b"".join((encode_varint(size), tag, length, content))


def _bind(address: Path) -> socket.socket:
    """A socket bound to `address` and not yet listening, so that nobody reaches it before its mode is set."""
    if address.is_socket():
        address.unlink()
    elif address.is_symlink() or address.exists():
        raise FileExistsError(f"{address} is not a socket")
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(str(address))
        address.chmod(0o600)
        bound.setblocking(False)
    except BaseException:
        bound.close()
        raise
    return bound
