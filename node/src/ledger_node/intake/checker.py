"""Parses submissions and verifies their signatures: here, or in a worker process while many arrive at once.

Python runs one thread at a time, and a signature costs as much as the whole rest of a small request; so larger submissions
and, under load, all of them go to a process of their own, many in one message, and are only read again here. A lone small
request is checked here, for it would only wait longer.
Rule: the same answers and the same errors either way; a worker that dies costs nothing but its speed, for whatever it did
not answer is checked here. Not here: who may submit (see `Node.check`).
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Final, TypeVar

import structlog

from ledger import framing
from ledger.core.submission import Submission
from ledger.errors import LedgerError
from ledger.framing import Envelope, open_envelope
from ledger.machine.admit import check_submission
from ledger_node.intake.checkwire import LENGTH_BYTES, encode_message, parse_message, rebuild
from ledger_node.query.ports import Node

INLINE_BYTES_MAX: Final = (
    16 * 1024
)  # without a worker larger ones are parsed in a thread: others are answered meanwhile
REREAD_BYTES_MAX: Final = 256 * 1024  # what the worker has checked is read here up to this size, else in a thread too
WORKER_BYTES: Final = 2 * 1024  # from here on a submission is worth the way to the worker even alone
WORKER_FROM: Final = 8  # requests at once from which smaller ones are; below that they only wait for the way
MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024  # of one batch, so that its first answer does not wait for too many others
RESTART_S: Final = 5.0
T = TypeVar("T")

Answered = Callable[[list[bytes] | None], None]
"""Takes the worker's answer, None where it has none; must not raise."""


class Checker:
    """Used from the event loop; `start` and `close` belong to the application's life."""

    def __init__(self, node: Node, pool: Executor, *, worker: bool = True) -> None:
        self._node, self._pool, self._wanted = node, pool, worker
        self.active = 0
        """Requests under way, which whoever serves them counts: how many wait decides whether a worker helps."""
        self._pending: list[tuple[bytes, bytes, Answered]] = []
        self._waiting: deque[Answered] = deque()
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("check")

    async def check(self, data: bytes) -> Submission:
        """The submission of framed bytes, which the registry allows and whose signature holds.

        Raises `MalformedError`, `RejectedError` or `VerificationError`. Whoever gets a submission submits it before
        anything else is awaited: the block that waits for arrivals would close without it.
        """
        self._node.arrival(1)
        try:
            return await self._check(data)
        finally:
            self._node.arrival(-1)

    async def _check(self, data: bytes) -> Submission:
        if self._worth_asking(len(data)):
            envelope = open_envelope(data)
            answer: asyncio.Future[list[bytes] | None] = asyncio.get_running_loop().create_future()
            if self._ask(data, envelope, lambda found: None if answer.done() else answer.set_result(found)):
                found = await answer
                if found is not None and len(data) <= REREAD_BYTES_MAX:
                    return self._vouched(envelope, found)
                if found is not None:
                    return await asyncio.get_running_loop().run_in_executor(self._pool, self._vouched, envelope, found)
        if len(data) <= INLINE_BYTES_MAX:
            return self._check_here(data)
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._check_here, data)

    def then(self, data: bytes, checked: Callable[[Submission | None], None]) -> None:
        """`check` for who does not wait: `checked` is called, now or later, with the submission, or with None where `check`
        shall be asked, and say what is wrong. It must not raise, and submits at once, as whoever calls `check`."""
        self._node.arrival(1)

        def answered(found: list[bytes] | None) -> None:
            finish(None if found is None else self._try(self._vouched, envelope, found))

        def finish(submission: Submission | None) -> None:
            try:
                checked(submission)
            finally:
                self._node.arrival(-1)

        if self._worth_asking(len(data)):
            envelope = self._try(open_envelope, data)
            if envelope is None or not self._ask(data, envelope, answered):
                finish(None)
        else:
            finish(self._try(self._check_here, data) if len(data) <= INLINE_BYTES_MAX else None)

    @staticmethod
    def _try(work: Callable[..., T], *arguments: Any) -> T | None:
        try:
            return work(*arguments)
        except LedgerError:
            return None

    def _worth_asking(self, size: int) -> bool:
        return self._writer is not None and (self.active >= WORKER_FROM or size >= WORKER_BYTES)

    def _vouched(self, envelope: Envelope, answer: list[bytes]) -> Submission:
        """The submission that the worker vouches for, where the registry allows it."""
        submission = rebuild(envelope, answer)
        node = self._node
        check_submission(submission, node.origin, node.registry, node.head.height + 1, signature=False)
        return submission

    async def start(self) -> None:
        """Start the worker, where one is wanted."""
        if self._wanted:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End the worker; what it did not answer is checked here."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _check_here(self, data: bytes) -> Submission:
        submission = framing.parse(data)
        self._node.check(submission)
        return submission

    # --- the worker --------------------------------------------------------------------------------------------------

    def _ask(self, data: bytes, envelope: Envelope, answered: Answered) -> bool:
        """Ask the worker; False where that is of no use, for nothing is known of the key."""
        entry = self._node.registry.keys.get(envelope.key_id)
        if entry is None or self._writer is None:
            return False
        if not self._pending:
            # All that arrives in one turn of the loop goes in one message.
            asyncio.get_running_loop().call_soon(self._flush, self._writer)
        self._pending.append((data, entry.public.raw, answered))
        return True

    def _flush(self, writer: asyncio.StreamWriter) -> None:
        pending, self._pending = self._pending, []
        while pending:
            size, count = 0, 0
            for data, _, _ in pending:
                size += len(data)
                count += 1
                if size >= MESSAGE_BYTES_MAX:
                    break
            batch, pending = pending[:count], pending[count:]
            self._waiting.extend(answered for _, _, answered in batch)
            writer.write(encode_message([(data, raw) for data, raw, _ in batch]))

    async def _run(self) -> None:
        """Keep a worker as long as the application runs."""
        while True:
            try:
                await self._serve()
            except (OSError, EOFError, ValueError) as error:
                self._log.warning("check.worker-lost", reason=repr(error))
            finally:
                self._release()
            await asyncio.sleep(RESTART_S)

    async def _serve(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - once, some milliseconds; asyncio's own has no use for pipes
                [sys.executable, "-m", "ledger_node.intake.checkworker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
        finally:
            theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            writer.write(encode_message([]))
            await self._read(reader)  # it answers, so it has started
            self._writer = writer
            while True:
                for found in await self._read(reader):
                    self._waiting.popleft()(found)
        finally:
            self._writer = None
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> list[list[bytes] | None]:
        prefix = await reader.readexactly(LENGTH_BYTES)
        return parse_message(await reader.readexactly(int.from_bytes(prefix, "big")))

    def _release(self) -> None:
        """Let go of a worker: whoever waits for it is checked here."""
        unanswered = [*self._waiting, *(answered for _, _, answered in self._pending)]
        self._waiting.clear()
        self._pending = []
        for answered in unanswered:
            answered(None)
        process, self._process = self._process, None
        if process is not None:
            process.kill()  # it holds nothing that could be lost
            process.wait()
