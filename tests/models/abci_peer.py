"""One node of a simulated chain: its application behind the ABCI handler, and what survives its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ledger.adapters.memory import Fault, Memory, no_fault
from ledger.core.hashing import Digest
from ledger.core.registry import Registry
from ledger.core.submission import Submission
from ledger.errors import LedgerError
from ledger.machine.block import Sealed
from ledger_node.comet.handler import Decided, Handler
from tests.models import accept_all
from tests.models.abci_starts import CHAIN, open_application


class Crash(Exception):
    """The node, or its CometBFT, ends here."""


class Peer:
    """One node: what it has committed (`memory`) survives a crash, everything else does not."""

    def __init__(self, chain: str = CHAIN, memory: Memory | None = None, fault: Fault = no_fault) -> None:
        self.chain, self.fault = chain, fault
        self.memory = Memory() if memory is None else memory
        self.calls: list[str] = []
        self.mempool: list[bytes] = []
        self.gone: list[Submission] = []
        self.skips = 1
        """How many heights without a block of ours may go unwritten."""
        self.up = self.shown = True
        """Whether it runs, and whether its handshake is over."""
        self.start()

    def start(self) -> None:
        """Open what was committed, as a new process."""
        self.app = open_application(self.memory, self.fault)
        self.later: list[Callable[[], None]] = []
        self.handler = Handler(self.app, self.chain, self, self.later.append)
        self.mempool = []
        self.usable = True

    def sealed(self, sealed: Sealed) -> None:
        del sealed

    def write(self, decided: Decided) -> None:
        if decided.sealed is not None:
            note = accept_all.log_note(self.app.origin, decided.sealed.size, decided.sealed.root)
            self.app.commit(note, (), decided.height)
        elif decided.height - self.written >= self.skips:
            self.app.store.write_engine_height(decided.height)

    def rest(self) -> None:
        """What is done between answers; a node may be killed before it."""
        while self.later:
            self.later.pop(0)()

    def misbehaved(self, height: int) -> None:
        del height

    def dropped(self, submission: Submission, error: LedgerError) -> None:
        del error
        self.gone.append(submission)

    def call(self, name: str, request: object) -> Any:
        """One ABCI call, noted for the grammar."""
        self.calls.append(name)
        return getattr(self.handler, name)(request)

    @property
    def written(self) -> int:
        """CometBFT's height that survives."""
        return self.memory.engine_height

    @property
    def ordered(self) -> list[Digest]:
        """Identities of the submissions in the blocks that were written, in order."""
        return [each.identity for sealed, _ in self.memory.blocks for each in sealed.decision.block.submissions]

    @property
    def registry(self) -> Registry:
        """Members and keys after the last block that was written."""
        return self.memory.blocks[-1][0].decision.registry
