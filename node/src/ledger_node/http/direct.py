"""A posted submission that came whole and ordinary, served by calls and without a task of its own.

The general way makes a scope, a task, two futures and a timer for each request, which costs more than all that a small
submission needs. Rule: the answer is the general way's to the byte. Whatever is not ordinary (another header than those of
`PLAIN`, a body in pieces, a client that does not read) takes the general way from the start; whatever goes wrong before the
engine has the submission takes it as if it came now, and what comes back from the engine as an error or a duplicate is
answered by it too. Not here: bytes on the connection (see `server`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Final

from ledger.core.submission import Submission
from ledger_node.http.append import MSGPACK, Recorder, answer_outcome
from ledger_node.http.body import Receive, Scope, Send
from ledger_node.http.context import Context
from ledger_node.http.edge import Answer, Asgi, Connection, Edge, Hot, new_request_id
from ledger_node.query.outcome import Settled, outcome_of

BODY_BYTES_MAX: Final = 64 * 1024
PLAIN: Final = frozenset(
    (
        b"host",
        b"content-type",
        b"content-length",
        b"accept",
        b"accept-encoding",
        b"accept-language",
        b"authorization",
        b"connection",
        b"user-agent",
    )
)
"""Headers that a request may have to be ordinary, each once; those behind the third change no answer but a problem's."""

_MEDIA_TYPE: Final = MSGPACK.encode("ascii")
_STATUS_LINES: Final = {
    status: f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode("ascii") for status in (201, 409)
}


class DirectAppend:
    """`POST path` of one node, once its application has started."""

    def __init__(self, context: Context, edge: Edge, path: str) -> None:
        self._context, self._edge, self.path = context, edge, path
        self._url = path.encode("ascii")

    def takes(self, method: bytes, url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        """Whether a request of HTTP/1.1 is ordinary, as far as its header says."""
        if url != self._url or method != b"POST" or self._context.recorder is None:
            return False
        found = dict(headers)
        size = found.get(b"content-length", b"")
        return (
            len(found) == len(headers)
            and found.keys() <= PLAIN
            and found.get(b"content-type") == _MEDIA_TYPE
            and found.get(b"connection", b"keep-alive").lower() == b"keep-alive"
            and size.isdigit()
            and len(size) < 6
            and int(size) <= BODY_BYTES_MAX
            and self._edge.names(found.get(b"host", b""))
        )

    def serve(self, connection: Connection, body: bytes) -> None:
        """Answer a request that `takes` accepted, now or later."""
        context = self._context
        _Request(context, context.running_recorder, self._edge, connection, body).start()


class _Request:
    """One request on its way."""

    __slots__ = ("_body", "_connection", "_context", "_edge", "_recorder", "_started", "_submission")

    def __init__(self, context: Context, recorder: Recorder, edge: Edge, connection: Connection, body: bytes) -> None:
        self._context, self._recorder, self._edge = context, recorder, edge
        self._connection, self._body = connection, body
        self._started = time.perf_counter()
        self._submission: Submission | None = None

    def start(self) -> None:
        self._context.checker.active += 1
        self._context.checker.then(self._body, self._checked)

    def _checked(self, submission: Submission | None) -> None:
        if submission is not None:
            self._submission = submission
            with suppress(Exception):  # where the engine does not take it the general way says why
                self._recorder.then(submission, self._body, self._committed)
                return
        self._context.checker.active -= 1
        self._connection.take_over(self._edge)

    def _committed(self, future: Settled, seconds: float) -> None:
        self._context.checker.active -= 1
        submission = self._submission
        try:
            if submission is None or future.exception() is not None:
                answer = None
            else:
                outcome = outcome_of(future.result(), submission)
                self._context.metrics.append(seconds)
                answer = None if outcome.has_duplicates else answer_outcome(self._context.node, outcome)
                if answer is not None:
                    self._recorder.count(outcome)
        except Exception:  # noqa: BLE001 - a defect of ours: the general way meets it again and says so
            answer = None
        if answer is None:
            self._connection.take_over(self._general(future))
            return
        request_id = new_request_id()
        lines = [b"%b: %b\r\n" % line for line in answer.lines(request_id)]
        self._connection.answer(b"".join((_STATUS_LINES[answer.status], *lines)), answer.body)
        self._edge.done(
            self._connection.scope, answer.status, request_id, time.perf_counter() - self._started, hot=True
        )

    def _general(self, future: Settled) -> Asgi:
        """The general way from the engine's answer on."""

        async def finish(scope: Scope, receive: Receive) -> Answer:
            del scope, receive
            submission, committed = self._submission, future.result()
            assert submission is not None  # noqa: S101 - the engine had it
            outcome = await self._recorder.complete(outcome_of(committed, submission), submission)
            return answer_outcome(self._context.node, outcome)

        hot: Hot = finish

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await self._edge.serve(scope, receive, send, hot)

        return application
