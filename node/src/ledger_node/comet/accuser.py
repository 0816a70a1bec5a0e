"""Has misbehaviour that CometBFT proved recorded as an event of this node's member (SPEC R-N54, R-N55).

Rules: the evidence is taken from the block that carried it, with both signed votes; what is recorded of that key and span
of heights already is passed over at once, so that who votes twice at every height costs one look a block; for the rest
validators take turns by their place in the registry, and whoever then finds it recorded says nothing. A report that fails
is logged and left: another node's turn comes. Nothing of a report is kept, so a node that starts looks again at the newest
blocks from before, once CometBFT has caught up. At most `WAITING_MAX` heights wait, what comes then is left out.
Not here: whether the votes hold (the ledger decides), and what follows for the accused (a vote).
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from os import urandom
from typing import Any, Final, Protocol

import structlog

from ledger.client.misbehaviour import accusation
from ledger.core.event import new_event
from ledger.core.ident import uuid7_at
from ledger.core.keys import EVENT, Signer
from ledger.core.misbehaviour import DUPLICATE_VOTE, misbehaviour_key
from ledger.core.registry import Registry
from ledger.core.submission import Submission, new_submission
from ledger.errors import LedgerError

TURN_S: Final = 3.0
WAITING_MAX: Final = 1_000
ANSWER_S: Final = 60.0
LOOK_BACK: Final = 200  # heights: more than are made while every validator has its turn
RETRY_S: Final = 1.0
SALT_BYTES: Final = 16
FAILURES: Final = (LedgerError, TimeoutError, KeyError, TypeError, ValueError)


class Blocks(Protocol):
    """CometBFT's RPC, as far as it is needed here."""

    def block(self, height: int) -> dict[str, Any]:
        """The block of a height."""

    def status(self) -> dict[str, Any]:
        """Which blocks there are, and whether CometBFT is catching up with its peers."""


class Accuser:
    """One thread; `report` may be called from any thread. `signers` are event keys that this node holds, `known` tells
    whether a state object exists."""

    def __init__(
        self,
        origin: str,
        chain_id: str,
        signers: Mapping[str, Signer],
        rpc: Blocks,
        registry: Callable[[], Registry],
        known: Callable[[str], bool],
        submit: Callable[[Submission], Future[Any]],
        *,
        turn_s: float = TURN_S,
    ) -> None:
        self._origin, self._chain_id, self._signers, self._rpc = origin, chain_id, signers, rpc
        self._registry, self._known, self._submit, self._turn_s = registry, known, submit, turn_s
        self._heights: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._log = structlog.get_logger("accuser")
        self._thread = threading.Thread(target=self._run, name="accuser", daemon=True)

    def start(self) -> None:
        """Start reporting."""
        self._thread.start()

    def close(self) -> None:
        """Stop; what was not reported is left to the others."""
        self._closing.set()
        self._heights.put(None)
        if self._thread.is_alive():
            self._thread.join(5)

    def report(self, height: int) -> None:
        """CometBFT's block of `height` carries evidence."""
        if self._heights.qsize() < WAITING_MAX:
            self._heights.put(height)

    def _run(self) -> None:
        for before in self._before():
            self._try(before)
        while (height := self._heights.get()) is not None:
            self._try(height)

    def _before(self) -> Iterable[int]:
        """The newest heights from before the start, as soon as this node knows what was recorded since; what comes after
        them is reported in any case. None when it ends first, or holds no key to report with."""
        heights = None
        while not self._closing.is_set():
            try:
                found = self._rpc.status()["sync_info"]
                if heights is None:
                    top = int(found["latest_block_height"])
                    heights = range(max(1, int(found["earliest_block_height"]), top - LOOK_BACK + 1), top + 1)
                if not found["catching_up"]:
                    ours = heights if self._author() is not None else ()
                    return itertools.takewhile(lambda _: not self._closing.is_set(), ours)
            except FAILURES as error:  # CometBFT starts after us
                self._log.debug("accuser.waits", reason=str(error))
            except Exception:  # noqa: BLE001 - a defect of ours: what is reported from now on must still be seen
                self._log.exception("accuser.failed")
            self._closing.wait(RETRY_S)
        return ()

    def _try(self, height: int) -> None:
        try:
            self._report(height)
        except Exception as error:  # noqa: BLE001 - the next height is another's
            self._failed(height, error)

    def _failed(self, height: int, error: Exception) -> None:
        """Say so, with a trace where it is a defect of ours."""
        if isinstance(error, FAILURES):
            self._log.warning("accuser.failed", height=height, reason=str(error) or type(error).__name__)
        else:
            self._log.error("accuser.failed", height=height, reason=type(error).__name__, exc_info=error)

    def _report(self, height: int) -> None:
        found = self._author()
        if found is None:
            self._log.warning("accuser.no-key", height=height)
            return
        member, signer, place = found
        drafts = self._drafts(height)
        if not drafts or self._closing.wait(1 + place * self._turn_s):
            return
        for name, draft in drafts.items():
            try:
                if not self._known(name):
                    self._accuse(draft, member, signer)
            except Exception as error:  # noqa: BLE001 - the next one is of another validator
                self._failed(height, error)

    def _drafts(self, height: int) -> dict[str, dict[str, Any]]:
        """What the block of `height` proves and the ledger does not hold yet, by its state key."""
        found: dict[str, dict[str, Any]] = {}
        for evidence in self._rpc.block(height)["block"]["evidence"]["evidence"]:
            try:
                draft = accusation(evidence, self._registry())
            except Exception as error:  # noqa: BLE001 - the next piece may be one that can be reported
                self._failed(height, error)
                continue
            refs, at = draft["refs"], draft["body"]["height"]
            name = misbehaviour_key(refs["member"], refs["key"], self._chain_id, at, DUPLICATE_VOTE)
            if name not in found and not self._known(name):
                found[name] = draft
        return found

    def _accuse(self, draft: Mapping[str, Any], member: str, signer: Signer) -> None:
        refs, body = draft["refs"], draft["body"]
        now = time.time_ns() // 1_000_000
        event = new_event(
            event_id=uuid7_at(now, urandom(10)),
            kind=draft["kind"],
            refs=refs,
            time_ms=now,
            salt=urandom(SALT_BYTES),
            content=body,
        )
        self._submit(new_submission(self._origin, member, signer, [event])).result(ANSWER_S)
        self._log.warning("accuser.recorded", height=body["height"], accused=refs["member"])

    def _author(self) -> tuple[str, Signer, int] | None:
        """The validating member that this node speaks for, its key, and its place; a guest's word would be refused."""
        registry = self._registry()
        places = {member: place for place, (member, _) in enumerate(registry.validators())}
        for signer in self._signers.values():
            entry = registry.keys.get(signer.public.key_id)
            if entry is None or entry.use != EVENT or entry.until_height is not None:
                continue
            if entry.member in places:
                return entry.member, signer, places[entry.member]
        return None
