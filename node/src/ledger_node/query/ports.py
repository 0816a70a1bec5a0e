"""What queries and routes need of a running node, as one Protocol; `ledger_node.wiring.Node` is the real one.

Rule: everything here is thread-safe and may be called from any thread; what may block says so. Not here: any implementation.
"""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Protocol

from ledger.adapters.certificates import CertificateBook
from ledger.adapters.layers import StateAt
from ledger.adapters.sequencer import Committed
from ledger.adapters.sqlite.reader import SqliteReader
from ledger.core.config import Config
from ledger.core.genesis import Genesis
from ledger.core.keys import Signer
from ledger.core.registry import Registry
from ledger.core.submission import Submission
from ledger.machine.block import Head
from ledger.rules.program import Program


class Node(Protocol):
    """One running node."""

    genesis: Genesis
    origin: str
    role: str
    reader: SqliteReader
    certificates: CertificateBook

    @property
    def head(self) -> Head:
        """The last sealed block."""

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

    def submit(self, submission: Submission) -> Future[Committed]:
        """Have a checked submission recorded; raises `UnavailableError` at once where it cannot be taken."""

    def proofs(self) -> AbstractContextManager[StateAt]:
        """State and log as of the latest certified checkpoint; raises `UnavailableError` before the first."""

    def step_clock(self, time_ms: int) -> int:
        """Step a scenario network's clock (blocks until done); the head's height after it."""

    def ready(self) -> list[tuple[str, bool, str]]:
        """(check, passes, detail) of everything that a working node needs."""
