"""Ships a spool: batches, signs, sends, and sends again until the node says that the events are certified.

Rules: an event leaves the spool when its submission was acknowledged as asked (`ack`), or when the node refused it by
itself (index named) and it was put aside; everything else is tried again with growing pauses, for ever. Sending twice is
harmless: an event is known by its id. One thread ships; it waits while another process ships the same spool.
Not here: making events (see `recorder`) and keeping them safe (see `spool`).
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from ledger.client.batches import BATCH_BYTES, BATCH_EVENTS
from ledger.client.request import CERTIFIED, Appended, Recorded, Request, Response, append_json, parse_appended, submit
from ledger.client.spool import Entry, SpoolReader
from ledger.core.event import Event, parse_event
from ledger.core.ident import uuid7_time
from ledger.core.keys import Signer
from ledger.core.submission import new_submission
from ledger.errors import ConflictError, LedgerError, MalformedError, RejectedError, UnavailableError
from ledger.framing import encode

PAUSE_FIRST_S: Final = 0.2
PAUSE_MAX_S: Final = 30.0
IDLE_S: Final = 1.0
BUSY_S: Final = 2.0

log = logging.getLogger("ledger.client")


class Transport(Protocol):
    """What carries requests; `NodeClient` does."""

    def send(self, request: Request) -> Response:
        """The answer; raises `UnavailableError`."""
        ...

    def close(self) -> None:
        """Release the connection."""
        ...


Seal = Callable[[str, Sequence[Entry]], Request]
"""Makes the request that has the entries of one member recorded."""


def sign_with(origin: Callable[[], str], signers: Mapping[str, Signer], ack: str = CERTIFIED) -> Seal:
    """Entries are signed here, one signature a batch; `origin` is asked when the first batch goes."""

    def seal(member: str, entries: Sequence[Entry]) -> Request:
        signer = signers.get(member)
        if signer is None:
            raise RejectedError("no-key", "no key to sign for this member", member=member)
        events = [_parse(entry, index) for index, entry in enumerate(entries)]
        return submit(encode(new_submission(origin(), member, signer, events)), ack=ack)

    return seal


def node_signs(token: str, ack: str = CERTIFIED) -> Seal:
    """Entries go to a node on this machine as JSON, and it signs with the key it holds."""

    def seal(member: str, entries: Sequence[Entry]) -> Request:
        return append_json([as_json(entry, index) for index, entry in enumerate(entries)], member, token, ack=ack)

    return seal


def as_json(entry: Entry, index: int = 0) -> dict[str, Any]:
    """An entry in the form of local intake, complete: the node has nothing left to choose."""
    event = _parse(entry, index)
    fields = {name: value for name, value in event.fields.items() if name != "v"}
    return {**fields, "body": event.content}


@dataclass(slots=True)
class Progress:
    """What the shipper has done: events acknowledged and put aside, and why it is waiting (None: it is not)."""

    shipped: int = 0
    rejected: int = 0
    waiting: LedgerError | None = None


class Shipper:
    """The background thread of one spool folder. `on_result` is called on that thread for each acknowledged event."""

    def __init__(
        self,
        folder: Path,
        transport: Transport,
        seal: Seal,
        *,
        on_result: Callable[[Recorded], None] | None = None,
        batch_events: int = BATCH_EVENTS,
    ) -> None:
        self.progress = Progress()
        self._folder, self._transport, self._seal = folder, transport, seal
        self._on_result, self._batch_events = on_result, batch_events
        self._wake, self._closing = threading.Event(), threading.Event()
        self._pause_s = PAUSE_FIRST_S
        self._thread = threading.Thread(target=self._run, name="spool shipper", daemon=True)

    def start(self) -> None:
        """Start shipping."""
        self._thread.start()

    def wake(self) -> None:
        """There is something new."""
        self._wake.set()

    def close(self, timeout_s: float = 10.0) -> None:
        """Stop after the batch in hand; what is not shipped stays in the spool."""
        self._closing.set()
        self._wake.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                reader = SpoolReader(self._folder)
            except ConflictError as error:
                self.progress.waiting = error
                self._closing.wait(BUSY_S)
                continue
            try:
                reader.tidy()
                self._ship_all(reader)
            except Exception as error:  # a full disk, a damaged file: say so, and look again later
                log.exception("spool shipper")
                self.progress.waiting = error if isinstance(error, LedgerError) else _as_problem(error)
                self._closing.wait(PAUSE_MAX_S)
            finally:
                reader.close()
                self._transport.close()

    def _ship_all(self, reader: SpoolReader) -> None:
        while not self._closing.is_set():
            self._wake.clear()
            entries = reader.read(self._batch_events, BATCH_BYTES)
            if not entries:
                self.progress.waiting = None
                self._wake.wait(IDLE_S)
                continue
            batch = [entry for entry in entries if entry.member == entries[0].member]
            if len(batch) < len(entries):
                # Offsets move in order, so only the run of one member at the front goes together.
                batch = entries[: next(at for at, entry in enumerate(entries) if entry.member != entries[0].member)]
            done = self.ship(reader, batch)
            reader.shipped(done)

    def ship(self, reader: SpoolReader, batch: Sequence[Entry]) -> Sequence[Entry]:
        """Send one batch; the entries at its front that need not be sent again, after the pause that a failure earns."""
        try:
            appended = self._send(batch)
        except LedgerError as error:
            index = _index(error, batch)
            if index is None or _may_pass(error):
                self._wait(error)
                return ()
            return self._put_aside(reader, batch, index, error)
        self._pause_s = PAUSE_FIRST_S
        self.progress.waiting = None
        self.progress.shipped += len(batch)
        if self._on_result is not None:
            for event in appended.events:
                self._on_result(event)
        return batch

    def _send(self, batch: Sequence[Entry]) -> Appended:
        return parse_appended(self._transport.send(self._seal(batch[0].member, batch)))

    def _put_aside(
        self, reader: SpoolReader, batch: Sequence[Entry], index: int, error: LedgerError
    ) -> Sequence[Entry]:
        """The node named one event that it will never take: those before it are sent, then it is kept aside."""
        if index > 0:
            return self.ship(reader, batch[:index])
        reader.reject(batch[0], str(error))
        self.progress.rejected += 1
        log.error("event put aside: %s", error)
        return batch[:1]

    def _wait(self, error: LedgerError) -> None:
        """Pause, longer each time, or as long as the node asks."""
        self.progress.waiting = error
        asked = error.evidence.get("retry_after_s")
        pause = float(asked) if isinstance(asked, int) else self._pause_s * (0.5 + random.random())  # noqa: S311 - spreads retries
        self._pause_s = min(self._pause_s * 2, PAUSE_MAX_S)
        log.warning("shipping waits %.1f s: %s", pause, error)
        self._closing.wait(min(pause, PAUSE_MAX_S))


def _index(error: LedgerError, batch: Sequence[Entry]) -> int | None:
    index = error.evidence.get("index")
    return index if isinstance(index, int) and 0 <= index < len(batch) else None


def _may_pass(error: LedgerError) -> bool:
    """Whether waiting helps although one event is named: its id is ahead of block time, because a clock is."""
    event_id, block_time = error.evidence.get("id"), error.evidence.get("block_time")
    if error.code != "event-time" or not isinstance(event_id, str) or not isinstance(block_time, int):
        return False
    return uuid7_time(event_id) > block_time


def _parse(entry: Entry, index: int) -> Event:
    try:
        return parse_event(entry.head, entry.body)
    except MalformedError as error:
        raise MalformedError(error.code, error.message, index=index, **error.evidence) from None


def _as_problem(error: Exception) -> LedgerError:
    return UnavailableError("spool", str(error) or type(error).__name__)
