"""Checks pieces in worker processes while the auditor's own process replays: `ledger.verify.ledger.Parallel` on many cores.

Rules: results come in order; only a few pieces are under way at a time, so that memory does not grow with the ledger; a
worker is a fresh interpreter (see `checkworker`) that gets a piece's address, not its bytes.
Not here: what a check is (see `verify.check`).
"""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NoReturn, Self

from ledger.adapters.audit.carried import pack_context, pack_piece
from ledger.adapters.audit.checkworker import FAULT, receive, relax_collector, send
from ledger.errors import LedgerError, UnavailableError
from ledger.verify.check import CheckContext, CheckedPiece
from ledger.verify.source import Piece

AHEAD = 2  # pieces under way for each worker: one being checked, one waiting


class ProcessPool:
    """`workers` processes, which start at once when used as a context, else with the first piece; `close` ends them."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._running: list[_CheckWorker] = []
        self._waiting: deque[_CheckWorker] = deque()  # the worker of each piece that is under way, in order
        self._given = 0

    def __enter__(self) -> Self:
        """Start the processes, so that they are there when the first piece is."""
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes."""
        self.close()

    def begin(self, context: CheckContext, pieces: Iterator[Piece]) -> None:
        """See `Parallel`. Raises `UnavailableError` when a worker dies."""
        self._tell(context)
        try:
            for piece in islice(pieces, AHEAD * self._workers):
                self._give(piece)
        except UnavailableError:
            raise
        except LedgerError:
            return  # the pieces say so again when `check` draws them

    def check(self, context: CheckContext, pieces: Iterable[Piece]) -> Iterator[CheckedPiece]:
        """See `Parallel`. Raises `UnavailableError` when a worker dies."""
        waiting = self._waiting
        try:
            if waiting:  # before a worker that may still be busy is told anything
                yield waiting.popleft().take()
            self._tell(context)
            for piece in pieces:
                self._give(piece)
                if len(waiting) > AHEAD * self._workers:
                    yield waiting.popleft().take()
            while waiting:
                yield waiting.popleft().take()
        finally:
            self.close()

    def close(self) -> None:
        """End the processes; idempotent."""
        running, self._running = self._running, []
        self._waiting.clear()
        for worker in running:
            worker.close()

    def _tell(self, context: CheckContext) -> None:
        self._start()
        told = pack_context(context)
        for worker in self._running:
            worker.give(told)

    def _give(self, piece: Piece) -> None:
        worker = self._running[self._given % self._workers]
        self._given += 1
        worker.give(pack_piece(piece))
        self._waiting.append(worker)

    def _start(self) -> None:
        while len(self._running) < self._workers:
            self._running.append(_CheckWorker())


class _CheckWorker:
    """One process with a socket; what it is given it answers in order."""

    def __init__(self) -> None:
        self._connection, theirs = socket.socketpair()
        fd = theirs.fileno()
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; from ledger.adapters.audit.checkworker import serve; serve({fd})"
        )
        try:
            # A session of its own: Ctrl-C is this process's to handle, and a worker ends with its socket.
            self._process = subprocess.Popen(
                [sys.executable, "-c", code], pass_fds=(fd,), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            self._connection.close()
            raise UnavailableError("verify-worker", "no worker process could be started", reason=str(error)) from error
        finally:
            theirs.close()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def give(self, data: bytes) -> None:
        """Hand over a context or a piece. Raises `UnavailableError` when the process is gone."""
        try:
            send(self._connection, data)
        except OSError as error:
            self._died(error)

    def take(self) -> CheckedPiece:
        """The result of the next piece; raises what checking raised, and `UnavailableError` when the process is gone."""
        try:
            data = receive(self._connection)
        except OSError as error:
            self._died(error)
        if data is None:
            self._died(None)
        # The bytes come from a process of our own, over a socket that nobody else has.
        kind, value = pickle.loads(data)  # noqa: S301
        if kind == FAULT:
            raise value
        checked: CheckedPiece = value
        return checked

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.kill()
        self._process.wait()

    def _died(self, error: OSError | None) -> NoReturn:
        self._process.kill()
        reason = f"exit status {self._process.wait()}"
        raise UnavailableError("verify-worker", "a worker process of the verifier died", reason=reason) from error


def cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


__all__ = ["ProcessPool", "cores", "relax_collector"]
