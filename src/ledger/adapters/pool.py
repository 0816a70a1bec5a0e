"""Checks pieces in worker processes while the auditor's own process replays: `ledger.verify.ledger.Parallel` on many cores.

Rules: results come in order; only a few pieces are under way at a time, so that memory does not grow with the ledger; a
worker is a fresh interpreter that gets a piece's address, not its bytes. Not here: what a check is (see `verify.check`).
"""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from ledger.errors import UnavailableError
from ledger.verify.check import CheckContext, CheckedPiece, check_piece
from ledger.verify.source import Piece

AHEAD = 2  # pieces under way for each worker: one being checked, one waiting
COLLECT_AFTER = 500_000  # container objects between two searches for cyclic garbage

_context: CheckContext | None = None


class ProcessPool:
    """`workers` processes; `close` (or leaving the context) ends them."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._executor: ProcessPoolExecutor | None = None

    def check(self, context: CheckContext, pieces: Iterable[Piece]) -> Iterator[CheckedPiece]:
        """See `Parallel`. Raises `UnavailableError` when a worker dies."""
        # spawn: a fork would copy whatever threads and locks the caller has.
        executor = ProcessPoolExecutor(
            self._workers, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(context,)
        )
        self._executor = executor
        waiting: deque[Future[CheckedPiece]] = deque()
        try:
            for piece in pieces:
                waiting.append(executor.submit(_check, piece))
                if len(waiting) > AHEAD * self._workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise UnavailableError(
                "verify-worker", "a worker process of the verifier died", reason=str(error)
            ) from error
        finally:
            self.close()

    def close(self) -> None:
        """End the processes; idempotent."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None


def relax_collector() -> None:
    """Let this process look for cyclic garbage rarely: an audit makes many objects and no cycles, and looking for them
    through all that is cached costs a fifth of its time."""
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 100)


def cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


def _begin(context: CheckContext) -> None:
    global _context  # noqa: PLW0603 - one context a worker, sent once
    _context = context
    relax_collector()


def _check(piece: Piece) -> CheckedPiece:
    if _context is None:
        raise UnavailableError("verify-worker", "a worker was not told what to check")
    return check_piece(_context, piece)
