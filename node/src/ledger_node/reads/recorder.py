"""Records every hour what was read through this node, as `audit.read` events of its member (rule C4).

Rules: batches follow one another without a gap, an empty hour is a batch too; the hour is the ledger's where its clock is
stepped. The signed events lie on disk before they are sent and are sent again unchanged until they are recorded. A failure
is logged and tried again; reading goes on. Readings of those whom the settings seal go into batches of their own, which
are opened when their day has passed (see `sealing`). Not here: what counts as a reading (see `gate`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import structlog

from ledger import framing
from ledger.core import canonical, merkle
from ledger.core.event import Event, new_event
from ledger.core.genesis import SCENARIO
from ledger.core.ident import uuid7_at
from ledger.core.mapkeys import object_key, parse_object_value
from ledger.core.submission import Submission
from ledger.errors import LedgerError, UnavailableError
from ledger_node.intake.signing import sign_events
from ledger_node.query.ports import Node
from ledger_node.reads.journal import Journal, Reads
from ledger_node.reads.sealing import (
    Plan,
    Sealed,
    SealFolder,
    last_day,
    parted,
    sealed_body,
    sealed_root,
    times,
    write_durable,
)

KIND: Final = "audit.read"
ROWS_EVENT_MAX: Final = 64
DATASETS_EVENT_MAX: Final = 32
LOOK_S: Final = 1.0
ANSWER_S: Final = 60.0
_FAILURES: Final = (LedgerError, TimeoutError, OSError)


class ReadRecorder:
    """One thread beside a node. `member` tells whose events the batches are, `every_s` how long one is, `plan` what of
    them is sealed."""

    def __init__(
        self, node: Node, journal: Journal, member: Callable[[], str], every_s: int, plan: Plan | None = None
    ) -> None:
        self._node, self._journal, self._member, self._every_ms = node, journal, member, every_s * 1000
        self._plan, self._seals = plan or Plan(), SealFolder(node.options.data_dir)
        self._until = 0  # where the last batch ended, unix ms
        self._began = self._now()
        self.failure = ""
        self._closing = threading.Event()
        self._log = structlog.get_logger("reads")
        self._thread = threading.Thread(target=self._run, name="record reads", daemon=True)

    def start(self) -> None:
        """Start recording."""
        self._thread.start()

    def close(self) -> None:
        """Stop; what was not recorded is recorded after the next start."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(5)
        self._journal.close()

    def _run(self) -> None:
        while not self._closing.wait(LOOK_S):
            try:
                if self._journal.sent.exists() or self.due():
                    self.record()
                self.open_ended()
                self.failure = ""
            except _FAILURES as error:
                self.failure = str(error) or type(error).__name__
                self._log.warning("reads.failed", reason=self.failure)

    def due(self) -> bool:
        """Whether the running batch has lasted its time, or is full."""
        return self._journal.full or self._now() - self._since() >= self._every_ms

    def record(self) -> None:
        """Record the batch, or the one that an earlier run had begun. Raises what recording raises."""
        path = self._journal.sent
        if not path.exists():
            submission, until = self._make(self._journal.begin())
            write_durable(path, framing.encode(submission))
        else:
            submission, until = framing.parse(path.read_bytes()), 0
        self._node.check(submission)
        committed = self._node.submit(submission).result(ANSWER_S)
        self._until = max(self._until, until)
        self._seals.recorded()
        self._journal.recorded()
        self._log.info("reads.recorded", events=len(submission.events), height=committed.height)

    def open_ended(self) -> None:
        """Open the batches whose seal has ended, each by one event under the root it had. Raises what recording raises."""
        for sealed in self._seals.ended(self._now(), self._node.rules.book.zone_ms):
            path = self._seals.opening(sealed)
            if not path.exists():
                refs: dict[str, Any] = {"readlog": f"{self._member()}/{sealed.event_id}"}
                if sealed.datasets:
                    refs["dataset"] = list(sealed.datasets)
                event = self._event(sealed.body, refs, self._now(), sealed.salt)
                write_durable(path, framing.encode(sign_events(self._node, self._member(), [event])))
            submission = framing.parse(path.read_bytes())
            self._node.check(submission)
            committed = self._node.submit(submission).result(ANSWER_S)
            self._seals.opened(sealed)
            self._log.info("reads.opened", batch=sealed.event_id, height=committed.height)

    def _now(self) -> int:
        """The ledger's time, unix ms: the wall's, or that of a stepped clock, which followers know from blocks only."""
        now = self._node.clock.now_ms()
        return max(now, self._node.head.time) if self._node.genesis.clock == SCENARIO else now

    def _since(self) -> int:
        """Where the last batch ended: as recorded on the ledger, else as this process began."""
        key = object_key(f"reads/{self._member()}")
        until = self._until
        try:
            with self._node.proofs() as state:
                row = state.row(key)
        except UnavailableError:
            return until or self._began
        if row is not None and row.value:
            until = max(until, canonical.parse(parse_object_value(row.value)[1]).get("until", 0))
        return until or self._began

    def _make(self, reads: Reads) -> tuple[Submission, int]:
        """The events of a batch under one signature, and where it ends."""
        since, now = self._since(), self._now()
        covered = times(since, now)
        opened, closed = parted(reads, self._plan.readers)
        events = [
            self._event({**covered, **body}, {"dataset": datasets} if datasets else {}, now)
            for body, datasets in split(opened)
        ]
        self._seals.begin()
        for body, datasets in split(closed) if closed.rows else ():
            events.append(self._seal({**covered, **body}, datasets, now))
        return sign_events(self._node, self._member(), events), now

    def _seal(self, body: dict[str, Any], datasets: list[str], now: int) -> Event:
        """The event that tells of a sealed batch, whose entries are kept until its day has passed."""
        salt, last = os.urandom(16), last_day(now, self._plan.days, self._node.rules.book.zone_ms)
        body = {**body, "root": sealed_root(salt, body["reads"])}
        event = self._event(sealed_body(body, last, self._plan.ground), {}, now)
        self._seals.add(Sealed(event.id, last, salt, body, tuple(datasets)))
        return event

    @staticmethod
    def _event(body: dict[str, Any], refs: dict[str, Any], now: int, salt: bytes | None = None) -> Event:
        return new_event(
            event_id=uuid7_at(now, os.urandom(10)),
            kind=KIND,
            refs=refs,
            time_ms=now,
            salt=salt or os.urandom(16),
            content=body,
        )


def split(reads: Reads) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """(body without its times, entries) of each event of a batch; an empty batch is one event.

    `count` are readings by row (an event that names two entries counts for both), `root` is the RFC 6962 root over the
    canonical JSON of the entries in order. Refused readings stand in the first.
    """
    rows: list[dict[str, Any]] = []
    datasets: dict[str, None] = {}
    denied, any_event = reads.denied, False
    for (reader, capacity, dataset), count in sorted(reads.rows.items()):
        if len(rows) == ROWS_EVENT_MAX or (len(datasets) == DATASETS_EVENT_MAX and dataset not in {"", *datasets}):
            yield _body(rows, denied), list(datasets)
            rows, datasets, denied, any_event = [], {}, 0, True
        row = {"reader": reader, "capacity": capacity, "count": count}
        if dataset:
            row["dataset"] = dataset
            datasets[dataset] = None
        rows.append(row)
    if rows or not any_event:
        yield _body(rows, denied), list(datasets)


def _body(rows: list[dict[str, Any]], denied: int) -> dict[str, Any]:
    root = merkle.root([merkle.leaf_hash(canonical.encode(row)) for row in rows])
    body: dict[str, Any] = {"count": sum(row["count"] for row in rows), "denied": denied, "root": root.hex()}
    return {**body, "reads": rows} if rows else body
