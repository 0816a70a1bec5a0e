"""The engine thread: the only thread that drives an `Application`, shared by sequencer and follower.

Rule: whatever writes (blocks, certificates) is a task of this thread; a failed write or a contradiction ends the thread,
keeps the reason in `failure`, and the process has to reopen the data directory. Not here: what the tasks are.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ledger.app import Application
from ledger.core.checkpoint import Checkpoint, encode_checkpoint
from ledger.core.engine import Engine as InForce
from ledger.core.hashing import Digest
from ledger.core.keys import Signer
from ledger.core.note import encode_note, sign_note
from ledger.errors import FatalError, UnavailableError
from ledger.machine.block import Sealed

CERTIFICATE_WAIT_S = 0.2  # how long a certificate waits for a block to be written with
MOVED_RETRY_S = 30
OnCommit = Callable[[Sealed, bytes], None]


class Engine:
    """Runs `step` on one thread until `close` or a failure; subclasses say what a step is.

    Called on the engine thread: `on_sealed` before a block is written, `on_commit` after each durable commit, with the
    block and its log-signed note.
    """

    def __init__(self, app: Application, *, name: str) -> None:
        self.app = app
        self.failure: BaseException | None = None
        self.on_sealed: list[Callable[[Sealed], None]] = []
        self.on_commit: list[OnCommit] = []
        self.on_failure: list[Callable[[BaseException], None]] = []
        self._certificates: dict[int, bytes] = {}
        self._kept_since = 0.0
        self._tasks: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the engine thread."""
        self._thread.start()

    @property
    def at_seam(self) -> bool:
        """Whether a vote moved the ledger on to another engine, so that this one adds nothing to it any more (R-N60)."""
        return False

    def call(self, task: Callable[[], Any]) -> Future[Any]:
        """Run `task` on the engine thread, between blocks; the future carries its result or exception."""
        future: Future[Any] = Future()
        if self.failure is not None or self._closing.is_set():
            future.set_exception(
                UnavailableError("engine-stopped", "the node is not writing", reason=str(self.failure))
            )
            return future
        self._tasks.put((task, future))
        self.wake()
        return future

    def keep(self, size: int, note: bytes) -> None:
        """Keep a certificate: with the next block, or by itself when none comes soon (any thread)."""
        if not self._certificates:
            self._kept_since = time.monotonic()
        self._certificates[size] = note

    def close(self, timeout_s: float = 30.0) -> None:
        """Finish the work in hand, stop the thread, close application and store; idempotent."""
        self._closing.set()
        self.wake()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)
        if not self._thread.is_alive():
            self.app.close()

    def wake(self) -> None:
        """Let the engine look for work now (any thread)."""
        self._wake.set()

    # --- for subclasses ----------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Do one piece of work, or wait a bounded time for some."""
        raise NotImplementedError

    def drain(self) -> None:
        """Called once before a graceful stop."""

    def stopped(self, error: BaseException | None) -> None:
        """Called last on the thread, with the failure if there was one."""

    def run_tasks(self) -> None:
        """Run what `call` handed over."""
        while True:
            try:
                task, future = self._tasks.get_nowait()
            except queue.Empty:
                return
            try:
                future.set_result(task())
            except FatalError as error:
                future.set_exception(error)
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the caller's
                future.set_exception(error)

    def take_certificates(self) -> list[tuple[int, bytes]]:
        """The certificates to be written now."""
        taken = []
        while self._certificates:
            taken.append(self._certificates.popitem())
        return taken

    def write_certificates(self, older_s: float = 0.0) -> None:
        """Write the certificates that no block took along, when the first has waited for `older_s`."""
        if self._certificates and time.monotonic() - self._kept_since >= older_s:
            self.app.store.write_certificates(self.take_certificates())

    def sealed(self, sealed: Sealed) -> None:
        """Tell the listeners of a block that is about to be written."""
        for listener in self.on_sealed:
            listener(sealed)

    def committed(self, sealed: Sealed, note: bytes) -> None:
        """Tell the listeners of a durable block."""
        for listener in self.on_commit:
            listener(sealed, note)

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            while not self._closing.is_set():
                self.run_tasks()
                self.write_certificates(CERTIFICATE_WAIT_S)
                self.step()
            self.drain()
            self.run_tasks()
            self.write_certificates()
        except BaseException as caught:  # noqa: BLE001 - the reason is kept, nobody else would see it
            error = self.failure = caught
        if error is not None:
            for callback in self.on_failure:
                callback(error)
        self.stopped(error)
        while True:
            try:
                _, future = self._tasks.get_nowait()
            except queue.Empty:
                break
            future.set_exception(UnavailableError("engine-stopped", "the node is not writing", reason=str(error)))


def moved(in_force: InForce) -> UnavailableError:
    """What a node says to whoever would have it order a ledger that was moved to another engine (SPEC R-N60)."""
    return UnavailableError(
        "engine-moved",
        "this node stands at the seam: run `ledger node move` on its data directory and start it again",
        expected=f"{in_force.name} {in_force.chain_id}".rstrip(),
        seam=in_force.seam,
        retry_after_s=MOVED_RETRY_S,
    )


def log_note(signer: Signer, origin: str, size: int, root: Digest) -> bytes:
    """The log-signed note of a checkpoint: C2SP checkpoint text and one line by the log key, which is named origin."""
    text = encode_checkpoint(Checkpoint(origin, size, root))
    return encode_note(text, [sign_note(text, origin, signer)])
