"""What routes share: the node, what they need beside it, and how an answer is encoded.

Made once by the application factory and handed to every router; nothing global. Not here: any route.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from fastapi.params import Depends
from starlette.responses import Response

from ledger.errors import UnavailableError
from ledger_node.http.access import LocalToken
from ledger_node.http.append import Recorder
from ledger_node.http.body import BodyReader
from ledger_node.http.watch import Watcher
from ledger_node.intake.checker import Checker
from ledger_node.metrics import Metrics
from ledger_node.query.blocktimes import BlockTimes
from ledger_node.query.candidates import Candidates, candidates
from ledger_node.query.indexer import Indexer
from ledger_node.query.ports import Node
from ledger_node.query.standing import Standing, standing
from ledger_node.settings import Settings

JSON: Final = "application/json"
BINARY: Final = "application/octet-stream"


@dataclass(slots=True)
class Context:
    """One node behind one application. `recorder` and `watcher` exist once the event loop runs; `gated` is what routes that
    show events or state depend on."""

    node: Node
    settings: Settings
    metrics: Metrics
    indexer: Indexer | None
    token: LocalToken
    bodies: BodyReader
    times: BlockTimes
    pool: Executor
    checker: Checker
    gated: list[Depends] = field(default_factory=list)
    recorder: Recorder | None = None
    watcher: Watcher | None = None

    @contextmanager
    def standing(self) -> Iterator[Standing]:
        """The latest certified state."""
        with standing(self.node) as found:
            yield found

    @contextmanager
    def candidates(self) -> Iterator[Candidates]:
        """The search index under the latest certified state."""
        if self.indexer is None:
            raise UnavailableError("index-off", "this node keeps no search index")
        with self.standing() as found, candidates(self.indexer, found) as open_index:
            yield open_index

    def stop_waiting(self) -> None:
        """Let every long poll answer with what there is."""
        if self.watcher is not None:
            self.watcher.close()

    @property
    def running_recorder(self) -> Recorder:
        """The recorder; raises `UnavailableError` before the application has started."""
        if self.recorder is None:
            raise UnavailableError("starting", "the node is starting", retry_after_s=1)
        return self.recorder

    @property
    def running_watcher(self) -> Watcher:
        """The watcher; raises `UnavailableError` before the application has started."""
        if self.watcher is None:
            raise UnavailableError("starting", "the node is starting", retry_after_s=1)
        return self.watcher


def answer(body: bytes, media_type: str = JSON, status: int = 200) -> Response:
    """An answer of bytes that are encoded already."""
    return Response(body, status, media_type=media_type)


def answer_json(value: Any, status: int = 200) -> Response:
    """An answer of a small value."""
    return Response(msgspec.json.encode(value), status, media_type=JSON)


def answer_with(checkpoint: bytes, value: dict[str, Any]) -> Response:
    """An answer of a small object beside the checkpoint it stands on."""
    return Response(b'{"checkpoint":%b,%b' % (checkpoint, msgspec.json.encode(value)[1:]), media_type=JSON)
