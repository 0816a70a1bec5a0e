"""An audit that is cut off at a block and goes on, in one process: `ledger verify` after Ctrl-C, without waiting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ledger.adapters.audit.progressfile import ProgressFile
from ledger.adapters.audit.scratch import ScratchState
from ledger.blockcodec import parse_block
from ledger.core.checkpoint import parse_checkpoint_text
from ledger.core.header import parse_header
from ledger.core.note import parse_note
from ledger.verify.ledger import Options, verify_ledger
from ledger.verify.report import Report
from ledger.verify.restoring import ResumeError
from ledger.verify.source import MemoryPiece, PieceData
from ledger.verify.trust import Trust
from tests.models.governed import loading
from tests.models.tiny_ledger import TinySource


class Cut(BaseException):
    """The audit was cut off."""


class Settled(TinySource):
    """A source whose certificates come with the piece that holds their blocks, as those of real sources do."""

    def pieces(self) -> Iterator[MemoryPiece]:
        """See `LedgerSource`."""
        notes = sorted((parse_checkpoint_text(parse_note(note).text).size, note) for note in self.notes)
        for first in range(0, len(self.encoded), self.blocks_a_piece):
            blocks = self.encoded[first : first + self.blocks_a_piece]
            header = parse_header(parse_block(blocks[-1]).leaves[-1])
            end = header.first_seq + header.count + 1
            own = [note for size, note in notes if size <= end]
            notes = notes[len(own) :]
            yield MemoryPiece(f"blocks from {first}", PieceData(blocks, own))


@dataclass
class Interrupted:
    """Audits of one ledger with progress in one file; `told` are the codes that its runs said."""

    path: Path
    trust: Trust
    now_ms: int
    runtime: str = "test"
    rules: Any = loading
    told: list[str] = field(default_factory=list)

    def run(self, source: Any, cut: int | None = None, *, fresh: bool = False) -> Report:
        """An audit, cut off after the block at height `cut`. Raises `Cut`, or `ResumeError`."""

        def progress(height: int, _leaves: int) -> None:
            if cut is not None and height >= cut:
                raise Cut

        with ScratchState(cache_bytes=20_000) as scratch:
            keeper = ProgressFile(
                self.path,
                scratch,
                fresh=fresh,
                interval_s=0,
                clock=lambda: 0,
                tell=lambda code, _: self.told.append(code),
            )
            options = Options(self.trust, self.now_ms, True, self.runtime)
            report = verify_ledger(source, options, scratch, self.rules, progress=progress, keeper=keeper)
            keeper.finish()
            return report

    def cut(self, source: Any, height: int) -> bool:
        """Cut off an audit; whether it left anything."""
        try:
            self.run(source, height)
        except Cut:
            return self.path.exists()
        return False

    def go_on(self, source: Any) -> Report:
        """As the command does: on from what was left, from the start where that cannot be."""
        try:
            return self.run(source)
        except ResumeError as error:
            self.told.append(str(error.evidence["why"]))
            return self.run(source, fresh=True)


def same(report: Report) -> dict[str, Any]:
    """What a report says, but for the part that says which of it an earlier run found."""
    document = report.document()
    del document["resumed"]
    return document
