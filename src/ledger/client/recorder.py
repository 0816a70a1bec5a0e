"""The SDK's front door: an event that `record` returned for is safe on this machine and will reach the ledger.

Rules: the event gets its id, salt and time here, so that sending it twice is one event; it is in the spool before
`record` returns; a background thread ships it. `fail_mode` is the department's choice when the spool itself fails:
`closed` raises, so that nothing happens unrecorded; `open` lets the work go on and counts what was lost.
Not here: reading the ledger (see `http`) and checking receipts (see `receipt`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Self

from ledger.client.actor import current_fields
from ledger.client.batches import BATCH_EVENTS
from ledger.client.http import NodeClient
from ledger.client.request import CERTIFIED, Recorded
from ledger.client.shipper import Shipper, Transport, node_signs, sign_with
from ledger.client.spool import Entry, SpoolWriter, backlog
from ledger.core.event import Event, new_event
from ledger.core.genesis import parse_genesis
from ledger.core.ident import check_identifier, uuid7_at
from ledger.core.keys import Signer
from ledger.errors import LedgerError, MalformedError, NotFoundError, UnavailableError
from ledger.limits import SALT_BYTES

RESULTS_KEPT: Final = 10_000
POLL_S: Final = 0.02

Refs = Mapping[str, str | Sequence[str]]

log = logging.getLogger("ledger.client")


def mint(
    kind: str,
    refs: Refs,
    body: Mapping[str, Any],
    *,
    now_ms: int,
    time_ms: int | None = None,
    event_id: str | None = None,
    data_subjects: Sequence[str] = (),
    commitments: Mapping[str, str | Sequence[str]] | None = None,
    intent: bool = False,
) -> Event:
    """A complete event with a fresh id and salt. `time_ms` is when it happened, `now_ms` (unix ms) where that is now."""
    return new_event(
        event_id=event_id or uuid7_at(now_ms, os.urandom(10)),
        kind=kind,
        refs=refs,
        time_ms=now_ms if time_ms is None else time_ms,
        salt=os.urandom(SALT_BYTES),
        content=body,
        data_subjects=data_subjects,
        commitments=commitments,
        intent=intent,
    )


class Recorder:
    """Records events of one member. Thread-safe; several processes may share one spool folder.

    Give either `signer`, the member's event key, or `token`, with which a node on this machine signs. `origin` pins the
    network; without it the node at `node` is believed once. `now_ms` is the clock of ids (scenario networks have their own).
    """

    def __init__(
        self,
        node: str,
        spool: str | Path,
        *,
        member: str,
        signer: Signer | None = None,
        token: str | None = None,
        origin: str | None = None,
        fail_mode: Literal["closed", "open"] = "closed",
        ack: str = CERTIFIED,
        on_result: Callable[[Recorded], None] | None = None,
        batch_events: int = BATCH_EVENTS,
        transport: Transport | None = None,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        if (signer is None) == (token is None):
            raise MalformedError("recorder", "give either a signer or a token")
        if fail_mode not in ("closed", "open"):
            raise MalformedError("recorder", "fail_mode is closed or open", got=fail_mode)
        self.member, self.fail_mode, self.lost = check_identifier(member, "member"), fail_mode, 0
        self.folder = Path(spool)
        self._client = transport or NodeClient(node)
        self._origin, self._on_result, self._batch_events = origin, on_result, batch_events
        self._seal = (
            sign_with(self.origin, {member: signer}, ack) if signer is not None else node_signs(token or "", ack)
        )
        self._now_ms = now_ms
        self._writer = SpoolWriter(self.folder)
        self._results: OrderedDict[str, Recorded] = OrderedDict()
        self._arrived = threading.Condition()
        self._shipper: Shipper | None = None
        self._shipper_pid = 0
        self._start_lock = threading.Lock()
        self._closed = False
        self._ensure_shipper()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def record(
        self,
        kind: str,
        refs: Refs,
        body: Mapping[str, Any] | None = None,
        *,
        time_ms: int | None = None,
        event_id: str | None = None,
        data_subjects: Sequence[str] = (),
        commitments: Mapping[str, str | Sequence[str]] | None = None,
        intent: bool = False,
    ) -> str | None:
        """Make an event safe; its id. Actor and purpose of the surrounding `acting` block join the body.

        Raises `MalformedError` for what is no event, and in closed mode `UnavailableError` (code `spool`) when it could
        not be made safe; in open mode the answer is then None.
        """
        event = mint(
            kind,
            refs,
            {**current_fields(), **(body or {})},
            now_ms=self._now_ms(),
            time_ms=time_ms,
            event_id=event_id,
            data_subjects=data_subjects,
            commitments=commitments,
            intent=intent,
        )
        return event.id if self.append([event]) else None

    async def record_async(
        self, kind: str, refs: Refs, body: Mapping[str, Any] | None = None, **more: Any
    ) -> str | None:
        """`record` in a thread, so that the fdatasync holds up no other task; the context goes with it."""
        return await asyncio.to_thread(self.record, kind, refs, body, **more)

    def append(self, events: Sequence[Event]) -> bool:
        """Make finished events safe together; False when they were lost in open mode."""
        if self._closed:
            raise UnavailableError("recorder-closed", "the recorder is closed", folder=str(self.folder))
        try:
            self._writer.append([Entry(self.member, event.head, event.body) for event in events])
        except UnavailableError:
            if self.fail_mode == "closed":
                raise
            self.lost += len(events)
            log.exception("events lost: the spool failed and fail_mode is open")
            return False
        self._ensure_shipper().wake()
        return True

    def wait(self, event_id: str, timeout_s: float = 30.0) -> Recorded:
        """What became of an event of this process; `UnavailableError` (code `not-recorded-yet`) after `timeout_s`."""
        with self._arrived:
            if self._arrived.wait_for(lambda: event_id in self._results, timeout_s):
                return self._results[event_id]
        raise self._late("not-recorded-yet", id=event_id)

    def flush(self, timeout_s: float = 30.0) -> None:
        """Return when the spool is empty; `UnavailableError` (code `spool-backlog`) when it is not within `timeout_s`."""
        until = time.monotonic() + timeout_s
        self._ensure_shipper().wake()
        while backlog(self.folder)[0]:
            if time.monotonic() >= until:
                raise self._late("spool-backlog", events=backlog(self.folder)[0])
            time.sleep(POLL_S)

    def close(self, timeout_s: float = 10.0) -> None:
        """Stop shipping after the batch in hand. What is not shipped stays spooled for the next process. Idempotent."""
        self._closed = True
        self._writer.close()
        if self._shipper is not None and self._shipper_pid == os.getpid():
            self._shipper.close(timeout_s)
        self._client.close()

    def backlog(self) -> int:
        """Events in the spool that are not acknowledged yet."""
        return backlog(self.folder)[0]

    @property
    def problem(self) -> LedgerError | None:
        """Why shipping waits; None while it does not."""
        return None if self._shipper is None else self._shipper.progress.waiting

    def origin(self) -> str:
        """The network's origin: as pinned, else as the node's genesis says, asked once."""
        if self._origin is None:
            from ledger.client.request import get, parse_bytes

            self._origin = parse_genesis(parse_bytes(self._client.send(get(("v1", "genesis"))))).origin
        return self._origin

    def _ensure_shipper(self) -> Shipper:
        """The shipper of this process; a forked child starts its own."""
        with self._start_lock:
            if self._shipper is None or self._shipper_pid != os.getpid():
                self._shipper_pid = os.getpid()
                self._shipper = Shipper(
                    self.folder, self._client, self._seal, on_result=self._arrive, batch_events=self._batch_events
                )
                self._shipper.start()
            return self._shipper

    def _arrive(self, result: Recorded) -> None:
        with self._arrived:
            self._results[result.id] = result
            while len(self._results) > RESULTS_KEPT:
                self._results.popitem(last=False)
            self._arrived.notify_all()
        if self._on_result is not None:
            try:
                self._on_result(result)
            except Exception:
                log.exception("on_result")

    def _late(self, code: str, **evidence: object) -> LedgerError:
        problem = self.problem
        kind = NotFoundError if isinstance(problem, NotFoundError) else UnavailableError
        return kind(code, "not acknowledged in time", waiting=str(problem or ""), **evidence)
