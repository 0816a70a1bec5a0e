"""`POST /v1/submissions`: the way in for everything that is recorded, as thin as it can be.

Bytes → `Checker.check` → `node.submit` → what became of it. The route bypasses FastAPI's parameters because
its body is msgpack and its rate is the node's rate. A replay gets the first receipt again; an id that was used with other
content gets the recorded refusal (409). Not here: what a verdict means.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Final
from urllib.parse import parse_qsl

from ledger.core.submission import Submission
from ledger.errors import UnavailableError
from ledger.limits import SUBMISSION_FRAMED_BYTES_MAX
from ledger_node.http.body import BodyReader, Receive, Scope, require_media_type
from ledger_node.http.edge import Answer
from ledger_node.http.problems import HttpError
from ledger_node.http.receiptdesk import ReceiptDesk
from ledger_node.http.watch import Commits, Watcher
from ledger_node.intake.checker import Checker
from ledger_node.intake.clocks import ClockWatch
from ledger_node.metrics import Metrics
from ledger_node.query.outcome import Outcome, Settled, encode_outcome, outcome_of, with_first_records
from ledger_node.query.ports import Node

MSGPACK: Final = "application/msgpack"
_CHOICES: Final = {"ack": ("committed", "certified"), "receipt": ("compact", "full"), "lang": ("zh", "en")}


class Recorder:
    """Has submissions recorded and waits for what the caller asked to wait for; shared by all ways in."""

    def __init__(
        self,
        node: Node,
        commits: Commits,
        watcher: Watcher,
        metrics: Metrics,
        pool: Executor,
        certified_wait_s: float,
    ) -> None:
        self._node, self._commits, self._watcher, self._metrics, self._pool = node, commits, watcher, metrics, pool
        self._certified_wait_s = certified_wait_s
        self._clocks = ClockWatch(node)

    async def record(self, submission: Submission, *, certified: bool, framed: bytes | None = None) -> Outcome:
        """The outcome of a submission that `node.check` accepted, durable, and certified where asked for.

        Raises what the engine raises, and `UnavailableError` (`certificate-wait`) when the quorum takes too long: the
        events are recorded then, and the same submission again gets the same receipts.
        """
        started = time.perf_counter()
        committed = await self._commits.wait(self._clocks.follow(self._node.submit(submission, framed)))
        self._metrics.append(time.perf_counter() - started)
        outcome = await self.complete(outcome_of(committed, submission), submission)
        if certified:
            await self._await_certificate(outcome)
        return outcome

    def then(self, submission: Submission, framed: bytes, done: Callable[[Settled, float], None]) -> None:
        """`record` for who does not wait: `done`, which must not raise, is called on the event loop with what the engine
        said and the seconds that it took. Raises at once where the engine does not take the submission."""
        started = time.perf_counter()
        future = self._clocks.follow(self._node.submit(submission, framed))
        self._commits.then(future, lambda found: done(found, time.perf_counter() - started))

    async def complete(self, outcome: Outcome, submission: Submission) -> Outcome:
        """The outcome with the first records of what stood in the log before; counted."""
        if outcome.has_duplicates:
            outcome = await self.in_thread(lambda: with_first_records(self._node, outcome, submission))
        self.count(outcome)
        return outcome

    def count(self, outcome: Outcome) -> None:
        """Count the events of an acknowledged submission."""
        for name, count in outcome.counts().items():
            self._metrics.events(name, count)

    async def in_thread(self, work: Callable[[], Outcome]) -> Outcome:
        """Run work that reads the database off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def _await_certificate(self, outcome: Outcome) -> None:
        book = self._node.certificates

        def covered() -> bool | None:
            found = book.certified()
            return True if found is not None and found.result.checkpoint.size >= outcome.size else None

        if await self._watcher.wait_for(covered, self._certified_wait_s) is None:
            raise UnavailableError(
                "certificate-wait",
                "recorded, but not certified in time; send the same submission again",
                recorded=True,
                height=outcome.height,
                size=outcome.size,
                retry_after_s=2,
            )


class Append:
    """The hot route."""

    def __init__(self, node: Node, recorder: Recorder, checker: Checker, bodies: BodyReader, pool: Executor) -> None:
        self._node, self._recorder, self._checker, self._bodies = node, recorder, checker, bodies
        self._desk = ReceiptDesk(node, pool)

    async def __call__(self, scope: Scope, receive: Receive) -> Answer:
        """201 with what became of each event; 409 in the same form when an id was used with other content."""
        self._checker.active += 1
        try:
            return await self._answer(scope, receive)
        finally:
            self._checker.active -= 1

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        certified, full = parse_query(scope["query_string"])
        require_media_type(scope, MSGPACK)
        data = await self._bodies.read(scope, receive, SUBMISSION_FRAMED_BYTES_MAX)
        submission = await self._checker.check(data)
        outcome = await self._recorder.record(submission, certified=certified or full, framed=data)
        receipts = await self._desk.receipts(outcome) if full else None
        return answer_outcome(self._node, outcome, receipts)


def answer_outcome(node: Node, outcome: Outcome, receipts: Sequence[bytes] | None = None) -> Answer:
    """The answer about a recorded submission."""
    return Answer(409 if outcome.has_conflict else 201, encode_outcome(outcome, node.certificates, receipts))


def parse_query(query: bytes) -> tuple[bool, bool]:
    """(wait for the certificate, full receipts) of a query string; raises `HttpError` (`query`) for anything unknown."""
    if not query:
        return False, False
    chosen: dict[str, str] = {}
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name not in _CHOICES or name in chosen or value not in _CHOICES[name]:
            raise HttpError("query", "unknown, doubled or out of range", name=name, got=value)
        chosen[name] = value
    return chosen.get("ack") == "certified", chosen.get("receipt") == "full"
