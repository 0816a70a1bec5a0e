"""What queries and routes need of a running node, as one Protocol; `ledger_node.wiring.Node` is the real one.

Rule: everything here is thread-safe and may be called from any thread; what may block says so. Not here: any implementation.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from ledger.adapters.ordering.certificates import CertificateBook
from ledger.adapters.ordering.clock import ScenarioClock, WallClock
from ledger.adapters.ordering.configs import Configs
from ledger.adapters.ordering.layers import StateAt
from ledger.adapters.ordering.sequencer import Committed
from ledger.adapters.sqlite.reader import SqliteReader
from ledger.blockcodec import BlockData
from ledger.core.config import Config
from ledger.core.engine import Engine
from ledger.core.genesis import Genesis
from ledger.core.hashing import Digest
from ledger.core.keys import Signer
from ledger.core.registry import Registry
from ledger.core.submission import Submission
from ledger.machine.block import Head, Sealed
from ledger.rules.program import Program
from ledger_node.alarms import Alarms


class Options(Protocol):
    """What a node was started with."""

    @property
    def data_dir(self) -> Path:
        """Where its files are."""


class Commits(Protocol):
    """The engine, as far as listeners need it."""

    on_commit: list[Callable[[Sealed, bytes], None]]


class Decides(Protocol):
    """The application, as far as queries need it."""

    @property
    def engine(self) -> Engine:
        """What orders the next block, by genesis and votes."""


class Node(Protocol):
    """One running node."""

    @property
    def app(self) -> Decides:
        """What decides."""

    @property
    def options(self) -> Options:
        """What it was started with."""

    @property
    def engine(self) -> Commits:
        """What orders or follows; listeners are called on its thread after each durable block."""

    genesis: Genesis
    origin: str
    role: str
    reader: SqliteReader
    certificates: CertificateBook
    clock: WallClock | ScenarioClock
    """What blocks are timed by; on a scenario network ahead of the head after a step that made no block."""
    configs: Configs
    """Every config that was in force in a block of this node."""
    alarms: Alarms
    """What a person should look at."""
    published: int
    """Height of the newest block that may be shown: its signature is in the fsynced signer state."""

    def recent_block(self, height: int) -> BlockData | None:
        """One of the newest blocks without reading the database, None for an older one."""

    @property
    def head(self) -> Head:
        """The last sealed block."""

    @property
    def moves(self) -> int:
        """How often the ledger moved to another engine."""

    @property
    def registry(self) -> Registry:
        """Members and keys after the last block."""

    @property
    def config(self) -> Config:
        """The config in force for the next block."""

    @property
    def rules(self) -> Program:
        """The compiled rulebook."""

    def signers(self, member: str) -> Signer:
        """The event key of `member` that this node holds; raises `NotFoundError`."""

    def check(self, submission: Submission) -> None:
        """May this submission be recorded? Verifies its signature; raises `RejectedError` or `VerificationError`."""

    def arrival(self, count: int) -> None:
        """`count` more requests (or fewer) are being checked and will be submitted, or are being answered, so that their
        senders come back; called on the event loop only."""

    def offer_bundle(self, data: bytes) -> Digest:
        """Keep a bundle for the proposal that will name it, where blocks are made (may block); its hash."""

    def submit(self, submission: Submission, framed: bytes | None = None) -> Future[Committed]:
        """Have a checked submission recorded (`framed`: the bytes it came in, where it travels on).

        Raises `UnavailableError` at once where it cannot be taken.
        """

    def proofs(self) -> AbstractContextManager[StateAt]:
        """State and log as of the latest certified checkpoint; raises `UnavailableError` before the first."""

    def step_clock(self, time_ms: int) -> int:
        """Step a scenario network's clock (blocks until done); the head's height after it."""

    def ready(self) -> list[tuple[str, bool, str]]:
        """(check, passes, detail) of everything that a working node needs."""
