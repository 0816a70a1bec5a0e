"""What waits at this node for its order: bundles it into transactions, sends them, and answers once they are committed.

Rules (SPEC R-N18, R-N19): an idle node waits for no timer: what comes while nothing is in flight leaves at once, and what
comes meanwhile leaves together. At most `IN_FLIGHT_BYTES` and `IN_FLIGHT_MAX` transactions are under way, because an
overfilled mempool costs everybody most of the rate. CometBFT's mempool is memory only: what is not committed in time is
sent again, and after `GIVE_UP_S`, or `FULL_S` while the mempool is full, reported as not acknowledged. A submission that
CometBFT's check refuses takes nobody with it: it is told why, and those that left with it leave again.
Not here: the answer's contents (see `sequencer`).
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final, Protocol

import structlog

from ledger import framing
from ledger.adapters.ordering.sequencer import Committed, Placement, placements
from ledger.core.hashing import Digest
from ledger.core.submission import Submission
from ledger.errors import LedgerError, MalformedError, UnavailableError
from ledger.limits import (
    BLOCK_BYTES_MAX,
    BLOCK_EVENTS_MAX,
    SEQUENCER_QUEUE_BYTES_MAX,
    SEQUENCER_QUEUE_EVENTS_MAX,
    TRANSACTION_BYTES_MAX,
    TRANSACTION_SUBMISSIONS_MAX,
)
from ledger.machine.block import Sealed
from ledger.machine.governance import carried_bundles
from ledger_node.comet import transaction
from ledger_node.comet.transaction import NONCE_BYTES, Transaction

BUNDLE_BYTES: Final = 400 * 1024  # of framed submissions in one transaction; a larger submission goes alone
IN_FLIGHT_BYTES: Final = 512 * 1024
IN_FLIGHT_MAX: Final = 3
GATHER_S: Final = 0.05  # at most so long the answered are waited for, who are about to send again
GATHER_STEP_S: Final = 0.002
SEND_AGAIN_S: Final = 5.0
GIVE_UP_S: Final = 30.0
FULL_S: Final = 2.0  # how long a full mempool is tried again before who waits is told
LOOK_S: Final = 0.5


class Sender(Protocol):
    """How a transaction gets to CometBFT; may raise `UnavailableError` (later again) or `RejectedError`."""

    def broadcast(self, tx: bytes) -> None:
        """Hand over a transaction; returns when CometBFT has checked it."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """A submission that waits, with everyone who asked for it; `flight` is the transaction under way that carries it.

    `company`: it leaves only together with those that have the same, which is not 0 once a transaction was refused.
    """

    submission: Submission
    framed: bytes
    since: float
    futures: list[Future[Committed]] = field(default_factory=list)
    flight: int = 0
    company: int = 0
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = self.submission.size


@dataclass(slots=True)
class _Flight:
    """A transaction under way."""

    identities: dict[Digest, None]  # in order
    size: int
    sent: float


class Gateway:
    """See the module. `submit` may be called from any thread; `committed`, `replayed` and `dropped` from the engine's."""

    def __init__(
        self,
        sender: Sender,
        bundle: Callable[[Digest], bytes],
        remember: Callable[[bytes, Transaction], None],
    ) -> None:
        self._sender, self._bundle, self._remember = sender, bundle, remember
        self._waiting: OrderedDict[Digest, _Waiting] = OrderedDict()  # in the order in which they came
        # What no transaction carries, in the order of leaving.
        self._queue: OrderedDict[Digest, _Waiting] = OrderedDict()
        self._flights: dict[int, _Flight] = {}
        self._numbers = 0
        self._expected, self._answered_at = 0, 0.0
        self._events = self._bytes = 0
        self._changed = threading.Condition()
        self._closing = False
        self._log = structlog.get_logger("gateway")
        self._thread = threading.Thread(target=self._run, name="gateway", daemon=True)

    def start(self) -> None:
        """Start sending."""
        self._thread.start()

    def close(self) -> None:
        """Stop; whoever waits is told that nothing was acknowledged."""
        with self._changed:
            self._closing = True
            waiting, self._waiting = list(self._waiting.values()), OrderedDict()
            self._changed.notify_all()
        for entry in waiting:
            _fail(entry, UnavailableError("engine-stopped", "not acknowledged; send it again"))
        if self._thread.is_alive():
            self._thread.join(5)

    def submit(self, submission: Submission, framed: bytes | None = None) -> Future[Committed]:
        """Queue a checked submission, `framed` as it came in; the future is set when it is committed here.

        Raises `UnavailableError` when too much waits, `MalformedError` for one that no transaction can carry.
        """
        framed = framed or framing.encode(submission)
        if len(framed) > TRANSACTION_BYTES_MAX // 2 and any(True for _ in carried_bundles((submission,))):
            raise MalformedError("transaction", "a proposal this large leaves no room for its bundle", size=len(framed))
        future: Future[Committed] = Future()
        with self._changed:
            if self._closing:
                raise UnavailableError("engine-stopped", "the node is not writing")
            known = self._waiting.get(submission.identity)
            if known is not None:
                known.futures.append(future)
                return future
            entry = _Waiting(submission, framed, time.monotonic(), [future])
            full = self._events + len(submission.events) > SEQUENCER_QUEUE_EVENTS_MAX
            if full or self._bytes + entry.size > SEQUENCER_QUEUE_BYTES_MAX:
                raise UnavailableError("queue-full", "more events wait than the node can hold", retry_after_s=1)
            self._waiting[submission.identity] = entry
            self._queue[submission.identity] = entry
            self._events += len(submission.events)
            self._bytes += entry.size
            if self._room():  # otherwise it leaves when something that is under way is answered, which wakes the sender
                self._changed.notify_all()
        return future

    def forget_flights(self) -> None:
        """CometBFT was started anew, and its mempool with it: everything that waits is sent again."""
        with self._changed:
            for flight in self._flights.values():
                flight.sent = 0.0
            self._changed.notify_all()

    # --- on the engine's thread --------------------------------------------------------------------------------------

    def committed(self, sealed: Sealed, note: bytes) -> None:
        """Answer whoever waits for a submission of this durable block."""
        places = placements(sealed.decision, sealed.header.first_seq)
        submissions = sealed.decision.block.submissions
        with self._changed:  # before the first answer, which wakes the sender
            answered = sum(submission.identity in self._waiting for submission in submissions)
            if answered:
                self._expected, self._answered_at = answered + len(self._queue), time.monotonic()
        for number, submission in enumerate(submissions):
            answer = Committed(sealed.height, sealed.header.time, sealed.size, note, tuple(places[number]))
            self._answer(submission.identity, answer)

    def replayed(self, submissions: Sequence[Submission], answer: Callable[[Submission], Committed]) -> None:
        """Answer whoever waits for submissions that stood in the log already; those answered before are not found."""
        for submission in submissions:
            if submission.identity in self._waiting:
                self._answer(submission.identity, answer(submission))

    def dropped(self, submission: Submission, error: LedgerError) -> None:
        """Tell whoever waits that the submission will not be ordered."""
        entry = self._take(submission.identity)
        if entry is not None:
            _fail(entry, error)

    def _answer(self, identity: Digest, answer: Committed) -> None:
        entry = self._take(identity)
        if entry is not None:
            for future in entry.futures:
                future.set_result(answer)

    def _take(self, identity: Digest) -> _Waiting | None:
        """Stop waiting for a submission; its transaction is over when nobody waits for any of it."""
        with self._changed:
            entry = self._waiting.pop(identity, None)
            if entry is None:
                return None
            self._events -= len(entry.submission.events)
            self._bytes -= entry.size
            flight = self._flights.get(entry.flight)
            if flight is not None:
                flight.identities.pop(identity, None)
                if not flight.identities:
                    del self._flights[entry.flight]
                    self._changed.notify_all()
            else:
                self._queue.pop(identity, None)
        return entry

    # --- the sending thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing:
            try:
                self._round()
            except Exception:  # noqa: BLE001 - a defect of ours: what it left under way is sent again, or reported
                self._log.exception("gateway.failed")
                with self._changed:
                    if not self._closing:
                        self._changed.wait(LOOK_S)

    def _round(self) -> None:
        """Report what is late, send one transaction; or wait."""
        with self._changed:
            late = self._requeue_late()
        for entry in late:
            _fail(entry, UnavailableError("order-wait", "not ordered in time, not acknowledged; send it again"))
        with self._changed:
            if self._closing:
                return
            batch = self._next_batch()
            if batch is None:
                self._changed.wait(GATHER_STEP_S if self._queue and self._gathering() else LOOK_S)
                return
        self._send(*batch)

    def _requeue_late(self) -> list[_Waiting]:
        """Queue again what was under way for too long; returns what has waited so long that its clients give up."""
        now = time.monotonic()
        for number, flight in list(self._flights.items()):
            if now - flight.sent < SEND_AGAIN_S:
                continue
            del self._flights[number]
            for identity in flight.identities:
                entry = self._waiting.get(identity)
                if entry is not None:
                    entry.flight = 0
                    self._queue[identity] = entry
        late = list(takewhile(lambda entry: now - entry.since > GIVE_UP_S, self._waiting.values()))
        for entry in late:
            self._waiting.pop(entry.submission.identity, None)
            self._queue.pop(entry.submission.identity, None)
            self._events -= len(entry.submission.events)
            self._bytes -= entry.size
            for flight in self._flights.values():
                flight.identities.pop(entry.submission.identity, None)
        for number in [number for number, flight in self._flights.items() if not flight.identities]:
            del self._flights[number]
        return late

    def _next_batch(self) -> tuple[int, list[_Waiting]] | None:
        """What goes into the next transaction, None while nothing may leave."""
        if not self._queue or not self._room():
            return None
        # Whoever was answered a moment ago is about to send again: one transaction for them and all who waited costs less.
        if len(self._queue) < self._expected and self._gathering():
            return None
        batch: list[_Waiting] = []
        size = events = expanded = 0
        while self._queue and len(batch) < TRANSACTION_SUBMISSIONS_MAX:
            entry = next(iter(self._queue.values()))
            if batch and entry.company != batch[0].company:
                break
            carries = any(True for _ in carried_bundles((entry.submission,)))
            framed, more = size + len(entry.framed), events + len(entry.submission.events)
            if batch and (carries or framed > BUNDLE_BYTES or more > BLOCK_EVENTS_MAX):
                break
            if batch and expanded + entry.size > BLOCK_BYTES_MAX:
                break
            batch.append(entry)
            self._queue.popitem(last=False)
            size, events, expanded = framed, more, expanded + entry.size
            if carries:
                break
        self._numbers += 1
        for entry in batch:
            entry.flight = self._numbers
        identities = dict.fromkeys(entry.submission.identity for entry in batch)
        self._flights[self._numbers] = _Flight(identities, size, time.monotonic())
        return self._numbers, batch

    def _room(self) -> bool:
        """Whether another transaction may be under way."""
        if len(self._flights) >= IN_FLIGHT_MAX:
            return False
        return sum(flight.size for flight in self._flights.values()) < IN_FLIGHT_BYTES

    def _gathering(self) -> bool:
        return time.monotonic() - self._answered_at < GATHER_S

    def _send(self, number: int, batch: list[_Waiting]) -> None:
        submissions = tuple(entry.submission for entry in batch)
        made: Transaction | None = None
        try:
            bundles = {digest: self._bundle(digest) for digest in carried_bundles(submissions)}
            nonce = secrets.token_bytes(NONCE_BYTES)
            framed = tuple(entry.framed for entry in batch)
            made = transaction.make(nonce, framed, submissions, bundles)
            data = made.encode()
            # Their signatures were checked when they came in: CometBFT's question will find them verified.
            self._remember(data, made)
            self._sender.broadcast(data)
        except UnavailableError as error:
            self._log.warning("gateway.wait", reason=str(error))
            with self._changed:
                self._put_back(number, batch)
                if not self._closing:
                    self._changed.wait(LOOK_S)
                full, now = error.code == "mempool-full", time.monotonic()
                tired = [entry for entry in self._queue.values() if full and now - entry.since > FULL_S]
            for entry in tired:
                self.dropped(entry.submission, error)
        except LedgerError as error:
            self._refused(number, batch, made.refused if made is not None else {}, error)

    def _refused(
        self, number: int, batch: Sequence[_Waiting], named: Mapping[int, LedgerError], error: LedgerError
    ) -> None:
        """A transaction was refused: those that CometBFT's check named are told why, and the others leave again without
        them. Where it named none they leave in halves, until the one that is refused is alone.

        Nobody joins them on their way: among who comes later there may always be another that is refused.
        """
        if len(batch) == 1:
            named = {0: named.get(0, error)}
        for place, reason in named.items():
            self.dropped(batch[place].submission, reason)
        with self._changed:
            again = self._put_back(number, batch)
            half = 0 if named else len(again) // 2
            for part in (again[:half], again[half:]):
                self._numbers += 1
                for entry in part:
                    entry.company = self._numbers

    def _put_back(self, number: int, batch: Sequence[_Waiting]) -> list[_Waiting]:
        """A transaction did not leave: what is still waited for of its `batch` stands in front again, in its order."""
        flight = self._flights.pop(number, None)
        again = [entry for entry in batch if flight is not None and entry.submission.identity in flight.identities]
        for entry in reversed(again):
            entry.flight = 0
            self._queue[entry.submission.identity] = entry
            self._queue.move_to_end(entry.submission.identity, last=False)
        return again


def replay_answer(app_height: int, time_ms: int, size: int, note: bytes, submission: Submission) -> Committed:
    """What a submission gets whose every event stands in the log already: the head, and no placements."""
    return Committed(app_height, time_ms, size, note, tuple(Placement(None, 0, b"") for _ in submission.events))


def _fail(entry: _Waiting, error: LedgerError) -> None:
    for future in entry.futures:
        if not future.done():
            future.set_exception(error)
