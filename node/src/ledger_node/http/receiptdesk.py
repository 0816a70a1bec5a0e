"""Makes the receipts of requests that wait at the same moment in one go, in one thread.

A block's requests are certified together. Each in a thread of its own would read the same state, and the threads would hand
the interpreter around at every database call; together they cost a fraction. Not here: what a receipt is (see
`ledger_node.query.receipts`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Executor
from typing import Final

from ledger.errors import LedgerError
from ledger_node.query.outcome import Outcome
from ledger_node.query.ports import Node
from ledger_node.query.receipts import receipts_of

EVENTS_AT_ONCE: Final = 1000  # so that the first of many does not wait long for the last


class ReceiptDesk:
    """Used from the event loop."""

    def __init__(self, node: Node, pool: Executor) -> None:
        self._node, self._pool = node, pool
        self._waiting: deque[tuple[Outcome, asyncio.Future[list[bytes]]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def receipts(self, outcome: Outcome) -> list[bytes]:
        """The receipt files of a certified submission's events, in order; raises what `receipts_of` found."""
        answer: asyncio.Future[list[bytes]] = asyncio.get_running_loop().create_future()
        self._waiting.append((outcome, answer))
        if self._task is None:
            self._task = asyncio.create_task(self._serve())
        return await answer

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch = self._take()
                try:
                    outcomes = [outcome for outcome, _ in batch]
                    made = await loop.run_in_executor(self._pool, receipts_of, self._node, outcomes)
                except Exception as error:  # noqa: BLE001 - each of those who wait has to hear of it, whatever it is
                    _fail(batch, error)
                    continue
                for (_, answer), found in zip(batch, made, strict=True):
                    if answer.done():
                        continue  # its client has gone
                    if isinstance(found, LedgerError):
                        answer.set_exception(found)
                    else:
                        answer.set_result(found)
        finally:
            self._task = None

    def _take(self) -> list[tuple[Outcome, asyncio.Future[list[bytes]]]]:
        batch: list[tuple[Outcome, asyncio.Future[list[bytes]]]] = []
        events = 0
        while self._waiting and (not batch or events + len(self._waiting[0][0].events) <= EVENTS_AT_ONCE):
            batch.append(self._waiting.popleft())
            events += len(batch[-1][0].events)
        return batch


def _fail(batch: list[tuple[Outcome, asyncio.Future[list[bytes]]]], error: Exception) -> None:
    for _, answer in batch:
        if not answer.done():
            answer.set_exception(error)
