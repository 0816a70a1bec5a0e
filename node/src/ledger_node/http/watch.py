"""Waiting without a thread for each waiter: durable blocks, new checkpoints, certificates.

One thread watches the certificate book and wakes the event loop when something changed; futures of the engine wake it
once per block, not once per request. Used from the event loop, unless a method says otherwise.
Not here: what is waited for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from threading import Event as Flag
from threading import Thread
from typing import Any, Final, TypeVar

from ledger_node.query.ports import Node

LOOK_S: Final = 0.1  # how long a change may go unseen when it falls between two waits
T = TypeVar("T")


class Commits:
    """Hands results of engine futures to the event loop, all that are ready in one wake-up.

    `arrival` is told how many answers are being made, as if they were requests already: their senders will come back.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, arrival: Callable[[int], None]) -> None:
        self._loop, self._arrival = loop, arrival
        self._ready: deque[tuple[Callable[[Future[Any]], None], Future[Any]]] = deque()
        self._woken = False

    def wait(self, future: Future[T]) -> asyncio.Future[T]:
        """An awaitable with the result of `future`."""
        waiter: asyncio.Future[T] = self._loop.create_future()

        def wake(done: Future[T]) -> None:
            if waiter.done():
                return  # the client is gone
            error = done.exception()
            if error is not None:
                waiter.set_exception(error)
            else:
                waiter.set_result(done.result())

        self.then(future, wake)
        return waiter

    def then(self, future: Future[T], callback: Callable[[Future[T]], None]) -> None:
        """Call `callback`, which must not raise, on the event loop with `future` once that is done."""
        future.add_done_callback(lambda done: self._finished(callback, done))

    def _finished(self, callback: Callable[[Future[Any]], None], done: Future[Any]) -> None:
        """Called on the engine's thread. The flag is read after the append, and cleared before the deque is emptied."""
        self._ready.append((callback, done))
        if not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._drain)
            except RuntimeError:
                return  # the loop has ended, and every waiter with it

    def _drain(self) -> None:
        self._woken = False
        answering = len(self._ready)
        self._arrival(answering)
        while self._ready:
            callback, done = self._ready.popleft()
            callback(done)
        self._loop.call_soon(self._arrival, -answering)  # runs behind the tasks that were woken above


class Watcher:
    """Wakes waiters when the head, the proposed note or the certificate changed."""

    def __init__(self, node: Node, loop: asyncio.AbstractEventLoop) -> None:
        self._node, self._loop = node, loop
        self._waiters: set[asyncio.Future[None]] = set()
        self._closing = Flag()
        self._thread = Thread(target=self._run, name="watch certificates", daemon=True)

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    def close(self) -> None:
        """Stop watching and let every waiter answer with what there is."""
        self._closing.set()
        self._wake()

    async def wait_for(self, found: Callable[[], T | None], timeout_s: float) -> T | None:
        """What `found` returns once that is not None, or None after `timeout_s`; asked again after every change."""
        deadline = self._loop.time() + timeout_s
        while True:
            value = found()
            left = deadline - self._loop.time()
            if value is not None or left <= 0 or self._closing.is_set():
                return value
            waiter = self._loop.create_future()
            self._waiters.add(waiter)
            try:
                await asyncio.wait_for(waiter, left)
            except TimeoutError:
                return found()
            finally:
                self._waiters.discard(waiter)

    def _run(self) -> None:
        book = self._node.certificates
        seen: tuple[object, ...] = ()
        while not self._closing.is_set():
            book.wait_change(LOOK_S)
            now = (self._node.head.height, book.note(), book.certified(), book.settled())
            if now != seen:
                seen = now
                try:
                    self._loop.call_soon_threadsafe(self._wake)
                except RuntimeError:
                    return  # the loop has ended

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
