"""Parses submissions and verifies their signatures: here, or in a worker process while many arrive at once.

Python runs one thread at a time, and a signature costs as much as the whole rest of a small request; so under load both go
to a process of their own, many submissions in one message. A lone request is checked here, for it would only wait longer.
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
from concurrent.futures import Executor
from typing import Final

import structlog

from ledger import framing
from ledger.core.submission import Submission
from ledger.machine.admit import check_submission
from ledger_node.intake.checkwire import LENGTH_BYTES, encode_message, named_key, parse_message, rebuild
from ledger_node.query.ports import Node

INLINE_BYTES_MAX: Final = 16 * 1024  # larger ones are parsed in a thread, so that others are answered meanwhile
WORKER_BYTES_MAX: Final = (
    8 * 1024
)  # of larger ones the events cost more than the signature, and moving them costs the same
WORKER_FROM: Final = 8  # requests at once; below that a worker's round trip costs more than it saves
MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024  # of one batch, so that its first answer does not wait for too many others
RESTART_S: Final = 5.0


class Checker:
    """Used from the event loop; `start` and `close` belong to the application's life."""

    def __init__(self, node: Node, pool: Executor, *, worker: bool = True) -> None:
        self._node, self._pool, self._wanted = node, pool, worker
        self.active = 0
        """Requests under way, which whoever serves them counts: how many wait decides whether a worker helps."""
        self._pending: list[tuple[bytes, bytes, asyncio.Future[list[object] | None]]] = []
        self._waiting: deque[asyncio.Future[list[object] | None]] = deque()
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
        if self._writer is not None and self.active >= WORKER_FROM and len(data) <= WORKER_BYTES_MAX:
            parts = await self._ask(self._writer, data)
            if parts is not None:
                submission = rebuild(parts)
                node = self._node
                check_submission(submission, node.origin, node.registry, node.head.height + 1, signature=False)
                return submission
        if len(data) <= INLINE_BYTES_MAX:
            return self._check_here(data)
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._check_here, data)

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

    async def _ask(self, writer: asyncio.StreamWriter, data: bytes) -> list[object] | None:
        """The worker's answer; None where it has none, or the submission is not worth asking about."""
        key_id = named_key(data)
        entry = None if key_id is None else self._node.registry.keys.get(key_id)
        if entry is None:
            return None
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[object] | None] = loop.create_future()
        if not self._pending:
            # All that arrives in one turn of the loop goes in one message.
            loop.call_soon(self._flush, writer)
        self._pending.append((data, entry.public.raw, answer))
        return await answer

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
            self._waiting.extend(answer for _, _, answer in batch)
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
                for parts in await self._read(reader):
                    answer = self._waiting.popleft()
                    if not answer.done():
                        answer.set_result(parts)
        finally:
            self._writer = None
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> list[list[object] | None]:
        prefix = await reader.readexactly(LENGTH_BYTES)
        return parse_message(await reader.readexactly(int.from_bytes(prefix, "big")))

    def _release(self) -> None:
        """Let go of a worker: whoever waits for it is checked here."""
        unanswered = [*self._waiting, *(answer for _, _, answer in self._pending)]
        self._waiting.clear()
        self._pending = []
        for answer in unanswered:
            if not answer.done():
                answer.set_result(None)
        process, self._process = self._process, None
        if process is not None:
            process.kill()  # it holds nothing that could be lost
            process.wait()
