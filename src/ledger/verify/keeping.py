"""Saves where an audit stands while it runs, and lets one go on from where an interrupted one stood.

Rules: a point is saved between two pieces only, and only while everything was replayed and nothing is wrong or missing; from
the first finding or gap on the last point stays, so that a later run finds the same again. See `resume` for what a point is.
"""

from __future__ import annotations

from collections.abc import Mapping

from ledger.core.hashing import Digest
from ledger.errors import LedgerError
from ledger.verify.again import NO_CONTENT, DigestedNatives, content_so_far
from ledger.verify.blocks import BlockAudit
from ledger.verify.certificates import Certificates
from ledger.verify.check import CheckedPiece
from ledger.verify.report import Report
from ledger.verify.restoring import Restoring, refuse
from ledger.verify.resume import Keeper, Point, Seeing, certificates_document
from ledger.verify.scratch import Scratch
from ledger.verify.trust import KnownCheckpoints


class Keeping:
    """The points of one audit; `seeing` while pieces of an earlier run are read again, `read` their leaves so far."""

    def __init__(
        self,
        keeper: Keeper,
        audit: BlockAudit,
        certificates: Certificates,
        report: Report,
        known: KnownCheckpoints,
        natives: DigestedNatives,
    ) -> None:
        self._keeper, self._audit, self._certificates = keeper, audit, certificates
        self._report, self._known, self._natives = report, known, natives
        self._gaps = len(report.gaps)
        self._clean = True
        self._point: Point | None = None
        self._pieces, self._content = 0, NO_CONTENT
        self.read = 0
        self.seeing: Seeing | None = None

    def find(self, question: Mapping[str, str], scratch: Scratch) -> int:
        """How many pieces need only be read again, by what an earlier run left for the same question; its state is put
        back. Raises `ResumeError`."""
        point = self._keeper.find(question)
        if point is None:
            return 0
        restored = Restoring(scratch)
        self._keeper.restore(restored)
        self._point = point
        self.seeing = Seeing(
            point, question["origin"], restored, scratch, self._report, self._certificates, self._known
        )
        return point.pieces

    def take(self, piece: CheckedPiece) -> bool:
        """A piece has come; True where it is one of an earlier run and nothing is left to do with it."""
        if self.seeing is None:
            self._save()
        else:
            self.seeing.take(piece)
            self.read = self.seeing.size
        self._pieces += 1
        self._content = content_so_far(self._content, piece.digest or Digest(b""))
        if self.seeing is None:
            return False
        if self._point is not None and self._pieces == self._point.pieces:
            self._audit.go_on(*self.seeing.end(), self.seeing.bundles)
            self._pass_natives(self._point)
            self.seeing = None
        return True

    def broke(self, error: LedgerError) -> None:
        """The source cannot be read. Raises `ResumeError` where an earlier run could read that part."""
        if self.seeing is not None:
            raise refuse("other-content", reason=str(error)) from error

    def end(self) -> None:
        """No more pieces come. Raises `ResumeError` where some that an earlier run read did not come."""
        if self.seeing is not None:
            raise refuse("other-content", reason="fewer pieces")

    def _pass_natives(self, point: Point) -> None:
        """The native commits before the point are the ones that were judged."""
        natives = self._audit.natives
        natives.skip_to(point.size)
        if self._natives.digest(point.size) != point.natives:
            raise refuse("other-content", reason="native commits")
        natives.sizes.update(point.native_sizes)
        natives.sequenced = point.sequenced
        self._certificates.sizes.update(point.certified_sizes)

    def _save(self) -> None:
        """Save the state between the pieces before and this one."""
        report, audit, certificates = self._report, self._audit, self._certificates
        self._clean = self._clean and not report.findings.total and len(report.gaps) == self._gaps
        if not self._pieces or not self._clean or not self._keeper.due():
            return
        self._clean = audit.settle() and len(report.gaps) == self._gaps
        if not self._clean or certificates.waiting:
            return
        counts = {name: getattr(report.counts, name) for name in report.counts.__slots__}
        self._keeper.save(
            Point(
                pieces=self._pieces,
                content=self._content,
                height=audit.last_height,
                size=audit.size,
                root=Digest(bytes.fromhex(report.root)),
                counts=counts,
                certificates=certificates_document(certificates),
                natives=self._natives.digest(audit.size),
                native_sizes=sorted(audit.natives.sizes),
                certified_sizes=sorted(certificates.sizes),
                sequenced=audit.natives.sequenced,
            )
        )


__all__ = ["Keeping"]
