"""Keeps CometBFT's own commits as a second proof of some checkpoints (`core.nativecommit` says what they prove).

Rules: one for the newest checkpoint once the ledger is idle for `IDLE_S`, and under load one in `EVERY_S`; each is checked
before it is stored, so that nothing is kept that `ledger verify` would complain of. A commit that cannot be had is no
fault: the cosignatures stand for themselves.
Not here: the check itself (see `core.nativecommit`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

from ledger.core.hashing import Digest
from ledger.core.keys import PublicKey
from ledger.core.nativecommit import from_rpc, verify_native, without_bad_votes
from ledger.errors import LedgerError

EVERY_S: Final = 10.0
IDLE_S: Final = 1.0
TRIES: Final = 5
PAUSE_S: Final = 0.3  # the commit of a height is complete a moment after its block


class Commits(Protocol):
    """CometBFT's RPC, as far as it is needed here."""

    def commit(self, height: int) -> dict[str, Any]:
        """The signed header of a height."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A checkpoint whose app hash stands in the header of CometBFT's `height`, signed by `validators`."""

    size: int
    app_hash: Digest
    height: int
    validators: tuple[PublicKey, ...]


class NativeKeeper:
    """One thread that fetches, checks and hands over; `offer` may be called from any thread."""

    def __init__(
        self, chain_id: str, rpc: Commits, write: Callable[[int, bytes], Future[Any]], *, every_s: float = EVERY_S
    ) -> None:
        self._chain_id, self._rpc, self._write, self._every_s = chain_id, rpc, write, every_s
        self._wanted: Wanted | None = None
        self._offered_size = 0
        self._kept_at = 0.0
        self._changed = threading.Condition()
        self._closing = False
        self._log = structlog.get_logger("natives")
        self._thread = threading.Thread(target=self._run, name="native commits", daemon=True)

    def start(self) -> None:
        """Start keeping."""
        self._thread.start()

    def close(self) -> None:
        """Stop; what was not kept is fetched for a later checkpoint."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(5)

    def offer(self, size: int, app_hash: Digest, height: int, validators: Sequence[PublicKey]) -> None:
        """A checkpoint that could be kept, in place of the one offered before."""
        with self._changed:
            if size != self._offered_size:
                self._offered_size = size
                self._wanted = Wanted(size, app_hash, height, tuple(validators))
                self._changed.notify_all()

    def _run(self) -> None:
        while True:
            wanted = self._next()
            if wanted is None:
                return
            try:
                self._keep(wanted)
            except Exception:  # noqa: BLE001 - a defect of ours: the next checkpoint gets its proof all the same
                self._log.exception("natives.failed", size=wanted.size)

    def _next(self) -> Wanted | None:
        """The next checkpoint to keep, when it is time; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._wanted is not None)
            until = max(time.monotonic(), self._kept_at + self._every_s)
            while not self._closing:
                seen, now = self._wanted, time.monotonic()
                if now >= until or not self._await_newer(seen, min(IDLE_S, until - now)):
                    break
            if self._closing:
                return None
            wanted, self._wanted, self._kept_at = self._wanted, None, time.monotonic()
            return wanted

    def _await_newer(self, seen: Wanted | None, timeout_s: float) -> bool:
        return self._changed.wait_for(lambda: self._closing or self._wanted is not seen, timeout_s)

    def _keep(self, wanted: Wanted) -> None:
        reason = ""
        for _ in range(TRIES):
            with self._changed:
                if self._closing or self._changed.wait_for(lambda: self._closing, PAUSE_S):
                    return
            try:
                native = from_rpc(self._rpc.commit(wanted.height))
                native = without_bad_votes(native, self._chain_id, wanted.validators)
                verify_native(native, self._chain_id, wanted.validators, wanted.app_hash)
                self._write(wanted.size, native.encode()).result(30)
            except (LedgerError, TimeoutError) as error:  # the latter: the engine has more to write than it can
                reason = str(error) or type(error).__name__
                continue
            return
        self._log.info("natives.missed", size=wanted.size, reason=reason)
