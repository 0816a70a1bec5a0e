"""A follower's way of writing: the submission goes to the ordering node unchanged, the answer is waited for here.

The follower answers from its own replica, so `submit` completes when this node has executed the block too. A write that
may or may not have arrived is reported as unavailable: the client sends it again, and replays are absorbed.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ledger import framing
from ledger.adapters.ordering.engine import Engine
from ledger.adapters.ordering.peers import Peer
from ledger.adapters.ordering.sequencer import Committed, Placement
from ledger.core.canonical import encode
from ledger.core.leaf import OUTCOMES
from ledger.core.submission import Submission
from ledger.errors import LedgerError, RejectedError, UnavailableError

THREADS = 16
FORWARD_S = 60
REPLICA_S = 30
POLL_S = 0.005


class Forwarder:
    """Forwards submissions to one ordering node."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="forward")

    def submit(self, submission: Submission, engine: Engine, framed: bytes | None = None) -> Future[Committed]:
        """Forward; the future is set when this node has executed the block too."""
        return self._pool.submit(self._forward, framed or framing.encode(submission), engine)

    def close(self) -> None:
        """Give up what was not sent; it was never acknowledged."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _forward(self, framed: bytes, engine: Engine) -> Committed:
        answer = self._peer.request("POST", "/v1/submissions", framed, "application/msgpack", timeout_s=FORWARD_S)
        document = _document(answer.body)
        if answer.status not in (201, 409) or "events" not in document:
            code = str(document.get("code", "forward"))
            detail = str(document.get("detail", "the ordering node refused"))
            if answer.status in (413, 422):
                raise RejectedError(code, detail, status=answer.status)
            raise UnavailableError(code, detail, status=answer.status, retry_after_s=1)
        committed = _committed(document)
        self._await_replica(committed.height, engine)
        return committed

    def _await_replica(self, height: int, engine: Engine) -> None:
        until = time.monotonic() + REPLICA_S
        while engine.app.head.height < height:
            if engine.failure is not None or time.monotonic() > until:
                raise UnavailableError("replica", "recorded, but this node has not executed the block", height=height)
            time.sleep(POLL_S)


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnavailableError("forward", "the ordering node's answer is not JSON") from error
    if not isinstance(document, dict):
        raise UnavailableError("forward", "the ordering node's answer is not an object")
    return document


def _committed(document: dict[str, Any]) -> Committed:
    """The answer as values; what it says is not trusted further than a hint, the replica holds the truth."""
    try:
        events = tuple(
            Placement(
                None if event["duplicate"] else int(event["seq"]),
                OUTCOMES.index(event["outcome"]),
                encode(event["verdict"]),
            )
            for event in document["events"]
        )
        return Committed(
            int(document["height"]),
            int(document["time"]),
            int(document["size"]),
            str(document["checkpoint"]).encode("utf-8"),
            events,
        )
    except (KeyError, TypeError, ValueError, ArithmeticError, LedgerError) as error:
        raise UnavailableError("forward", "the ordering node's answer has another form") from error
