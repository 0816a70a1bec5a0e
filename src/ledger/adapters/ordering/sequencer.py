"""The embedded engine: one node orders what is submitted to it, in blocks that close when the one before is durable.

Group commit without an idle delay: a block takes all that waits when the engine is free, and waits itself only for requests
that are being checked already and, a moment, for senders who were answered together. Under load the block before is sealed
and written while the rules decide the next one in their worker. A submission is acknowledged only after its commit. Behind
the seam of a move to another engine no block is begun: the node goes on serving and cosigning what there is (SPEC R-N60).
Not here: who may submit (see `Application.check`), and agreement among nodes (see `certificates`).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from ledger.adapters.home.signerstate import SignerState
from ledger.adapters.ordering.clock import ScenarioClock
from ledger.adapters.ordering.engine import Engine, log_note, moved
from ledger.app import Application
from ledger.core.genesis import SEQUENCER
from ledger.core.keys import Signer
from ledger.core.submission import Submission
from ledger.errors import FatalError, RuntimeFault, UnavailableError
from ledger.limits import BLOCK_BYTES_MAX, SEQUENCER_QUEUE_BYTES_MAX, SEQUENCER_QUEUE_EVENTS_MAX, UNCERTIFIED_BLOCKS_MAX
from ledger.machine.block import Decision
from ledger.ports import Clock

GATHER_S = 0.015  # at most so long a block waits for requests that are being checked already
GATHER_STEP_S = 0.0005
RETURN_S = 0.002  # those who were answered together are waited for while one comes at least every so often
OVERLAP_EVENTS = 200  # fewer waiting events than this are better decided in one larger block after the write
SPLIT_EVENTS_MAX = 1_000  # more than this fill large blocks, which cost less than two that overlap
TAKE_BYTES_MAX = BLOCK_BYTES_MAX // 2  # the bundles that may come with them fill the other half
TAKE_EVENTS_MAX = 2_000  # the costs of a block are spread by then; larger ones keep more in memory and senders waiting
IDLE_WAIT_S = 0.25  # how long an idle engine sleeps before it looks at the timers again


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one event of a submission went: its leaf index, outcome and verdict; `seq` is None for a duplicate,
    whose first record is found by its id."""

    seq: int | None
    outcome: int
    verdict: bytes


@dataclass(frozen=True, slots=True)
class Committed:
    """A submission that is durable: the block that holds it, and the placement of each event in order.

    `height` is the head's for a replay that made no block.
    """

    height: int
    time: int
    size: int
    note: bytes
    events: tuple[Placement, ...]


class _Waiting:
    __slots__ = ("future", "size", "submission")

    def __init__(self, submission: Submission) -> None:
        self.submission, self.size = submission, submission.size
        self.future: Future[Committed] = Future()


class Sequencer(Engine):
    """See the module. `certified_height` is set by whoever collects cosignatures."""

    def __init__(self, app: Application, signer: Signer, state: SignerState, clock: Clock) -> None:
        super().__init__(app, name="sequencer")
        self.certified_height = app.head.height
        self.arriving = 0
        """Requests that were received and not yet submitted, and answers on their way, for their senders come back; whoever
        serves them counts."""
        self._signer, self._state, self._clock = signer, state, clock
        self._queue: deque[_Waiting] = deque()
        self._queued_events = self._queued_bytes = 0
        self._expected = 0  # requests that waited or were answered when the last block was written
        self._lock = threading.Lock()
        self._decided: tuple[Decision, list[_Waiting]] | None = None
        self._last_note = b""

    # --- from other threads ------------------------------------------------------------------------------------------

    def submit(self, submission: Submission, framed: bytes | None = None) -> Future[Committed]:
        """Queue a checked submission; the future is set when it is durable. `framed` is for engines that send it on.

        Raises `UnavailableError` when the queue is full, too many blocks wait for a certificate, the engine stopped, or
        another one orders this ledger now (`engine-moved`).
        """
        del framed
        if self.at_seam:
            raise moved(self.app.engine)
        waiting = _Waiting(submission)
        if self.failure is not None or self._closing.is_set():
            raise UnavailableError("engine-stopped", "the node is not writing", reason=str(self.failure))
        if self.app.head.height - self.certified_height > UNCERTIFIED_BLOCKS_MAX:
            raise UnavailableError("uncertified", "too many blocks wait for a certificate", retry_after_s=5)
        with self._lock:
            full = self._queued_events + len(submission.events) > SEQUENCER_QUEUE_EVENTS_MAX
            if full or self._queued_bytes + waiting.size > SEQUENCER_QUEUE_BYTES_MAX:
                raise UnavailableError("queue-full", "more events wait than the node can hold", retry_after_s=1)
            self._queue.append(waiting)
            self._queued_events += len(submission.events)
            self._queued_bytes += waiting.size
        self._wake.set()
        return waiting.future

    def step_clock(self, clock: ScenarioClock, until: int) -> Future[int]:
        """Step a scenario clock to `until` (unix ms): a block closes before the step, due timers fire after it.

        The future carries the head's height. Raises `RejectedError` in it for a step back.
        """
        return self.call(lambda: self._step_clock(clock, until))

    @property
    def at_seam(self) -> bool:
        """Whether the last decided block is a seam behind which another engine orders."""
        return self.app.engine.name != SEQUENCER

    # --- on the engine thread ----------------------------------------------------------------------------------------

    def step(self) -> None:
        """Decide what waits, seal and write what was decided before; or wait."""
        if self._decided is not None and self._expected and len(self._decided[0].items) >= OVERLAP_EVENTS:
            self._gather()  # those who were answered while this block was decided: with theirs the pipeline stays full
        if self._decided is not None and self._queued_events < OVERLAP_EVENTS:
            # Nothing to overlap with: those who wait are answered first, and what they send next makes a larger block.
            self._write_decided()
        if self._queue:
            self._gather()
        batch = self._take()
        if not batch and self._decided is None and not self._timer_due():
            self._wake.wait(IDLE_WAIT_S)
            self._wake.clear()
            return
        self._advance(batch)

    def drain(self) -> None:
        """Write everything that was accepted before a graceful stop."""
        while self._queue or self._decided is not None:
            self._advance(self._take())

    def stopped(self, error: BaseException | None) -> None:
        """Nobody waits for ever: what is not durable is reported as not acknowledged."""
        del error
        with self._lock:
            waiting, self._queue = list(self._queue), deque()
        if self._decided is not None:
            waiting.extend(self._decided[1])
        for entry in waiting:
            if not entry.future.done():
                entry.future.set_exception(UnavailableError("engine-stopped", "not acknowledged; send it again"))

    def _gather(self) -> None:
        """Let requests that are under way join the block: a block costs nearly the same for one event as for many.

        Under way are those being checked, and for a moment those of senders who were answered together, for they send their
        next: else a few senders fall into two groups, each of which pays for a block of its own and waits for the other's.
        """
        now = time.monotonic()
        until, gone, seen = now + GATHER_S, now + RETURN_S, len(self._queue)
        while self._queued_events < OVERLAP_EVENTS and now < until:
            waiting = len(self._queue)
            if self.arriving > 0 or waiting > seen:
                gone, seen = now + RETURN_S, waiting
            if self.arriving == 0 and (waiting >= self._expected or now >= gone):
                break
            time.sleep(GATHER_STEP_S)
            now = time.monotonic()
        self._expected = 0

    def _take(self) -> list[_Waiting]:
        """What the next block takes: all that waits, or half of it where two blocks at once are worth more than one."""
        batch: list[_Waiting] = []
        events = size = 0
        with self._lock:
            most = TAKE_EVENTS_MAX
            if self._decided is None and 2 * OVERLAP_EVENTS <= self._queued_events <= SPLIT_EVENTS_MAX:
                most = self._queued_events // 2
            while self._queue:
                entry = self._queue[0]
                more, larger = events + len(entry.submission.events), size + entry.size
                if batch and (more > most or larger > TAKE_BYTES_MAX):
                    break
                batch.append(self._queue.popleft())
                events, size = more, larger
            self._queued_events -= events
            self._queued_bytes -= size
        return batch

    def _timer_due(self) -> bool:
        return not self.at_seam and self.app.timer_due(max(self._clock.now_ms(), self.app.decided_head.time))

    def _advance(self, batch: Sequence[_Waiting]) -> None:
        """One turn of the pipeline: begin the next block, write the one before, collect the next one's decision."""
        begun = self._begin(list(batch))
        self._write_decided()
        if begun is None:
            return
        try:
            decision = self.app.finish()
        except RuntimeFault as fault:
            self._retry_alone(begun, fault)
            return
        self._decided = (decision, begun)

    def _begin(self, batch: list[_Waiting]) -> list[_Waiting] | None:
        """Begin a block of `batch`; None where neither events nor timers make one, and behind a seam."""
        if self.at_seam:
            for entry in batch:
                entry.future.set_exception(moved(self.app.engine))
            return None
        time = max(self._clock.now_ms(), self.app.decided_head.time)
        if batch and self.app.timers_waiting(time):
            self._put_back(batch)
            batch = []
        block, left_out = self.app.prepare([entry.submission for entry in batch], time)
        for number, error in left_out:
            batch[number].future.set_exception(error)
        kept = [entry for number, entry in enumerate(batch) if not any(number == n for n, _ in left_out)]
        if not kept and not self._timer_due():
            return None
        replays = self.app.begin(block, drop_replays=True)
        if replays:
            gone = set(replays)
            for number in gone:
                self._answer_replay(kept[number])
            kept = [entry for number, entry in enumerate(kept) if number not in gone]
            if self.app.idle:
                return None
        return kept

    def _put_back(self, batch: Sequence[_Waiting]) -> None:
        with self._lock:
            self._queue.extendleft(reversed(batch))
            self._queued_events += sum(len(entry.submission.events) for entry in batch)
            self._queued_bytes += sum(entry.size for entry in batch)

    def _write_decided(self) -> None:
        if self._decided is None:
            return
        _, waiting = self._decided
        sealed = self.app.seal()
        self.sealed(sealed)
        note = log_note(self._signer, self.app.origin, sealed.size, sealed.root)
        self.app.commit(note, self.take_certificates())
        # The state says what was signed before anyone can see the signature (formats 7): restart compares it.
        self._state.advance(sealed.size, sealed.root, self._clock.now_ms())
        self._decided, self._last_note = None, note
        self.committed(sealed, note)
        places = placements(sealed.decision, sealed.header.first_seq)
        self._expected = len(self._queue) + len(waiting)
        for number, entry in enumerate(waiting):
            entry.future.set_result(
                Committed(sealed.height, sealed.header.time, sealed.size, note, tuple(places[number]))
            )

    def _answer_replay(self, entry: _Waiting) -> None:
        head = self.app.head
        events = tuple(Placement(None, 0, b"") for _ in entry.submission.events)
        entry.future.set_result(Committed(head.height, head.time, head.size, self._last_note, events))

    def _retry_alone(self, batch: Sequence[_Waiting], fault: RuntimeFault) -> None:
        """R-R07: after a fault each submission is decided alone, in a fresh worker; one that faults again is left out.

        A fault without any submission in the block is a timer's: the node stops, for no engine may skip a timer.
        """
        if not batch:
            raise FatalError("timer-fault", "a timer's rule faulted", reason=str(fault)) from fault
        for entry in batch:
            block, left_out = self.app.prepare(
                [entry.submission], max(self._clock.now_ms(), self.app.decided_head.time)
            )
            if left_out or not block.submissions:
                self._put_back([entry])
                continue
            self.app.begin(block)
            try:
                decision = self.app.finish()
            except RuntimeFault as again:
                entry.future.set_exception(again)
                continue
            self._decided = (decision, [entry])
            self._write_decided()

    def _step_clock(self, clock: ScenarioClock, time: int) -> int:
        while self._queue or self._decided is not None:
            self._advance(self._take())
        clock.step(time)
        while self._timer_due():
            self._advance([])
            self._write_decided()
        return self.app.head.height


def placements(decision: Decision, first_seq: int) -> list[list[Placement]]:
    """Placements by submission and position; events without a leaf are duplicates."""
    result = [[Placement(None, 0, b"")] * len(submission.events) for submission in decision.block.submissions]
    for position, item in enumerate(decision.items):
        if item.event is not None:
            number, place = item.place
            result[number][place] = Placement(first_seq + position, item.outcome, item.verdict)
    return result
