"""The CometBFT engine: our application behind ABCI, one CometBFT process beside it, all decisions on one thread.

Rules (SPEC R-N10 to R-N21): the socket listens before CometBFT starts, and CometBFT is started again whenever it ends.
After each durable block the node log-signs the checkpoint that it computed; which of them all nodes propose for
cosignatures follows from the blocks alone, so that they sign the same sizes. A contradiction with what this node signed
before, or a fault of its own, stops this node and leaves the others working.
Not here: ABCI's answers (see `handler`), what waits (see `gateway`), certificates (see `certificates`).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Final, Protocol

import structlog

from ledger.adapters.home.comethome import ABCI_SOCKET
from ledger.adapters.home.signerstate import SignerState
from ledger.adapters.ordering.engine import Engine, log_note, moved
from ledger.adapters.ordering.sequencer import Committed
from ledger.app import Application
from ledger.core.checkpoint import app_hash
from ledger.core.hashing import Digest
from ledger.core.keys import LOG, Signer
from ledger.core.registry import Registry
from ledger.core.submission import Submission
from ledger.errors import FatalError, LedgerError, UnavailableError
from ledger.limits import UNCERTIFIED_BLOCKS_MAX
from ledger.machine.admit import check_times
from ledger.machine.block import Head, Sealed
from ledger_node.comet.accuser import Accuser
from ledger_node.comet.gateway import GIVE_UP_S, Gateway, Sender, replay_answer
from ledger_node.comet.handler import Decided, Handler
from ledger_node.comet.natives import NativeKeeper
from ledger_node.comet.rpc import CometRpc
from ledger_node.comet.server import AbciServer

TURN_S: Final = 0.2  # how long the loop runs before the thread looks after its other tasks
WINDOW_MS: Final = 500  # under load the first block of each such span of block time is proposed for cosignatures
STALE_MS: Final = 30_000  # a node that catches up leaves the checkpoints of long ago to themselves
SKIPS_KEPT: Final = 32  # heights without a block of ours are written down now and then only: they replay to nothing
LISTEN_S: Final = 10.0
WAIT_MS: Final = int(1_000 * GIVE_UP_S)  # an id that would be too old by then is refused at once (R-N19)
ASK_S: Final = 1.0  # CometBFT is asked so often whether it catches up, and has so long to answer
CONNECTIONS: Final = 4  # query, snapshot, mempool, consensus


class Process(Protocol):
    """CometBFT beside us."""

    def start(self) -> None:
        """Run it, again and again, until `close`."""

    def close(self) -> None:
        """End it."""


class CometEngine(Engine):
    """See the module. `home` is CometBFT's folder, `chain_id` names the chain that orders this ledger.

    `make_process` gets what to call when CometBFT ended. `on_checkpoint` is called on the engine's thread when the newest
    checkpoint is one to propose (R-N20).
    """

    def __init__(
        self,
        app: Application,
        signer: Signer,
        state: SignerState,
        home: Path,
        chain_id: str,
        make_process: Callable[[Callable[[int], None]], Process],
        sender: Sender,
    ) -> None:
        super().__init__(app, name="cometbft")
        self.certified_height = app.head.height
        self.on_checkpoint: list[Callable[[], None]] = []
        self.trace: Callable[[str], None] | None = None
        """Told of every ABCI call, by tests."""
        self._signer, self._state = signer, state
        self._home = home
        self.handler = Handler(app, chain_id, self, self._later)
        self.gateway = Gateway(sender, self._waiting_bundle, self.handler.transactions.put)
        self._process = make_process(self._ended)
        self._listening = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn: asyncio.Event | None = None
        self._error: BaseException | None = None
        self._written = self.handler.height
        self._proposed_height = -1
        self._last_note = b""
        self._server: AbciServer | None = None
        self._asked, self._catching_up = float("-inf"), True
        self.natives: NativeKeeper | None = None
        self.accuser: Accuser | None = None
        # Registries after the last three heights: the validators of a height are those after the one two before it.
        self._registries = deque([app.head.registry] * 3, maxlen=3)
        self._validators = app.head.registry, app.head.registry.validators()

    # --- from other threads ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start answering, then CometBFT, then sending."""
        self._check_signed()
        super().start()
        # Without a socket to connect to CometBFT would wait for three seconds before it tries again.
        if not self._listening.wait(LISTEN_S):
            raise FatalError("abci-socket", "the socket for CometBFT did not open", reason=str(self.failure or ""))
        self._process.start()
        self.gateway.start()
        for helper in (self.natives, self.accuser):
            if helper is not None:
                helper.start()

    def catching_up(self) -> bool:
        """Whether CometBFT still fetches the blocks that it missed, and takes no part in new ones; asked once a second."""
        now = time.monotonic()
        if now - self._asked >= ASK_S:
            rpc, self._asked = CometRpc(self._home, timeout_s=ASK_S), now
            try:
                self._catching_up = bool(rpc.status()["sync_info"]["catching_up"])
            except (LedgerError, KeyError, TypeError):
                pass  # before it has said once that it takes part, it does not
            finally:
                rpc.close()
        return self._catching_up

    def submit(self, submission: Submission, framed: bytes | None = None) -> Future[Committed]:
        """Queue a checked submission (`framed`: as it came in); the future is set when it is committed and durable here.

        Raises `UnavailableError` when too much waits, too many blocks wait for a certificate, the engine stopped, or
        another one orders this ledger now (`engine-moved`), `RejectedError` for an event of another time (`event-time`).
        """
        if self.failure is not None or self._closing.is_set():
            raise UnavailableError("engine-stopped", "the node is not writing", reason=str(self.failure))
        if self.at_seam:
            raise moved(self.app.engine)
        if self.app.head.height - self.certified_height > UNCERTIFIED_BLOCKS_MAX:
            raise UnavailableError("uncertified", "too many blocks wait for a certificate", retry_after_s=5)
        if self.handler.knows(submission.identity):
            return self.call(lambda: self._replay(submission))  # no proposer would take it once more
        head, now_ms = self.app.head, time.time_ns() // 1_000_000
        # No proposer would take it, so it is said now; whoever waits for a clock is told what to wait for.
        newest, skew_ms = max(head.time, now_ms), head.config.parameters["skew_ms"]
        check_times(submission, newest, skew_ms)
        check_times(submission, newest + WAIT_MS, skew_ms)  # nor while it waits here
        future = self.gateway.submit(submission, framed)
        if self.handler.knows(submission.identity):  # ordered while it was queued, for somebody else
            self.call(lambda: self.gateway.replayed((submission,), self._replay))
        return future

    @property
    def at_seam(self) -> bool:
        """Whether a vote moved the ledger on to another chain."""
        return self.handler.retired

    @property
    def connected(self) -> bool:
        """Whether CometBFT is connected to this application."""
        return self._server is not None and len(self._server.connections) >= CONNECTIONS

    def wake(self) -> None:
        """See `Engine`."""
        super().wake()
        loop, turn = self._loop, self._turn
        if loop is not None and turn is not None and not loop.is_closed():
            loop.call_soon_threadsafe(turn.set)

    def close(self, timeout_s: float = 30.0) -> None:
        """End CometBFT first, so that it sees no broken connection, then stop as every engine does."""
        self._process.close()
        self.gateway.close()
        for helper in (self.natives, self.accuser, self.handler.snapshots):
            if helper is not None:
                helper.close()
        super().close(timeout_s)

    # --- on the engine thread ----------------------------------------------------------------------------------------

    def step(self) -> None:
        """Answer CometBFT for a while; requests are handled inside the loop, one at a time."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._turn = asyncio.Event()
            self._loop.run_until_complete(self._listen())
        self._loop.run_until_complete(self._wait_turn())

    async def _listen(self) -> None:
        self._server = AbciServer(self.handler, self._fatal, self.trace)
        await self._server.start(str(self._home / ABCI_SOCKET))
        self._listening.set()

    async def _wait_turn(self) -> None:
        turn = self._turn
        if turn is None or self._closing.is_set():
            return
        try:
            async with asyncio.timeout(TURN_S):
                await turn.wait()
        except TimeoutError:
            pass
        turn.clear()
        if self._error is not None:
            raise self._error

    def _fatal(self, error: BaseException) -> None:
        """An answer could not be given: CometBFT has been told, and this node writes no more."""
        self._error = error
        if self._turn is not None:
            self._turn.set()

    def drain(self) -> None:
        """Write what was committed, and how far CometBFT has come."""
        self.handler.settle()
        if self.handler.height > self._written:
            self.app.store.write_engine_height(self.handler.height)
            self._written = self.handler.height

    def stopped(self, error: BaseException | None) -> None:
        """Close the socket; whoever waits is told that nothing was acknowledged."""
        if error is not None:
            structlog.get_logger("engine").error("engine.failed", reason=str(error), exc_info=error)
            self._process.close()
        self.gateway.close()
        loop, server = self._loop, self._server
        if loop is not None:
            if server is not None:
                loop.run_until_complete(server.close())
            loop.close()

    def may_sign(self, registry: Registry) -> bool:
        """Whether this node's log key is registered."""
        entry = registry.keys.get(self._signer.public.key_id)
        return entry is not None and entry.use == LOG

    def may_sign_head(self) -> bool:
        """Whether this node may sign the checkpoint of its head."""
        return self.may_sign(self.app.head.registry) and self._state.signed.size <= self.app.head.size

    def _check_signed(self) -> None:
        """Nothing that contradicts the log state; what it is ahead of, CometBFT replays (R-N21)."""
        signed, head = self._state.signed, self.app.head
        if signed.size == head.size and signed.root != head.log.root():
            raise FatalError("signed-other", "this node signed another tree of this size; not opening", size=head.size)

    def _later(self, task: Callable[[], None]) -> None:
        """Run `task` on the loop after the answer in hand; a failure there is as fatal as one in an answer."""

        def run() -> None:
            try:
                task()
            except BaseException as error:  # noqa: BLE001 - kept, and raised on the engine's thread
                self._fatal(error)

        if self._loop is not None:
            self._loop.call_soon(run)

    def write(self, decided: Decided) -> None:
        """See `Ordering`."""
        if decided.sealed is None:
            self._skip_block(decided.height, decided.submissions)
        else:
            self._write_block(decided.sealed, decided)
        if self.handler.snapshots is not None:
            self.handler.snapshots.after(decided.height)

    def dropped(self, submission: Submission, error: LedgerError) -> None:
        """See `Ordering`."""
        self.gateway.dropped(submission, error)

    def _ended(self, _code: int) -> None:
        """CometBFT ended: what it was sent may be lost, and the next one begins by fetching what it missed."""
        self._catching_up = True
        self.gateway.forget_flights()

    def misbehaved(self, height: int) -> None:
        """See `Ordering`."""
        if self.accuser is not None:
            self.accuser.report(height)

    def _write_block(self, sealed: Sealed, decided: Decided) -> None:
        """Make a block durable, sign its checkpoint, answer who waits."""
        height, submissions = decided.height, decided.submissions
        note = self._note(sealed)
        before = self.app.head
        self.app.commit(note, self.take_certificates(), height)
        self._written = height
        self._offer_native(before, height)
        if note:
            # The state says what was signed before anyone can see the signature: restart compares it.
            self._state.advance(sealed.size, sealed.root, time.time_ns() // 1_000_000)
        self._last_note = note
        self.committed(sealed, note)
        self.gateway.committed(sealed, note)
        self.gateway.replayed(submissions, self._replay)
        fresh = sealed.header.time > time.time_ns() // 1_000_000 - STALE_MS
        if fresh and (decided.light or sealed.header.time // WINDOW_MS != before.time // WINDOW_MS):
            self._propose(sealed.height)

    def _note(self, sealed: Sealed) -> bytes:
        """The log-signed note; empty below what was signed before, where the same decisions are replayed (R-N21), and
        until this node's log key is registered."""
        signed = self._state.signed
        if sealed.size < signed.size or not self.may_sign(self.app.head.registry):
            return b""
        if sealed.size == signed.size and sealed.root != signed.root:
            raise FatalError("signed-other", "this node signed another tree of this size", size=sealed.size)
        return log_note(self._signer, self.app.origin, sealed.size, sealed.root)

    def _skip_block(self, height: int, submissions: Sequence[Submission]) -> None:
        """A height that said nothing to the ledger: the moment at which the newest checkpoint is proposed anyway."""
        self.gateway.replayed(submissions, self._replay)
        if height - self._written >= SKIPS_KEPT:
            self.app.store.write_engine_height(height)
            self._written = height
        self._offer_native(self.app.head, height)
        self._propose(self.app.head.height)

    def _offer_native(self, before: Head, height: int) -> None:
        """The state before a height stands in that height's header: what CometBFT's commit of it proves."""
        self._registries.append(self.app.head.registry)
        if self.natives is not None and before.height > 0:
            if self._validators[0] is not self._registries[0]:
                self._validators = self._registries[0], self._registries[0].validators()
            keys = [key for _, key in self._validators[1]]
            digest = app_hash(before.size, before.log.root())
            self.natives.offer(before.size, digest, height, keys)

    def _propose(self, height: int) -> None:
        if height != self._proposed_height:
            self._proposed_height = height
            for listener in self.on_checkpoint:
                listener()

    def _replay(self, submission: Submission) -> Committed:
        self.handler.settle()  # what was ordered is durable before anybody hears of it
        head = self.app.head
        return replay_answer(head.height, head.time, head.size, self._last_note, submission)

    def _waiting_bundle(self, digest: Digest) -> bytes:
        return self.app.waiting_bundle(digest)
