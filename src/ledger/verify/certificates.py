"""Decides which sizes are certified: a certificate must be over a checkpoint of this log, by the set then in force.

Rules: log line and more than two thirds of the cosigners named by the config (checked by `core.quorum`); size and root are
those of a block's end as recomputed; under a wall clock a quorum cannot have signed more than 10 s before block time.
Not here: whether the newest certificate is fresh enough, or agrees with what was seen before (see `trust`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ledger.core.hashing import Digest
from ledger.core.quorum import CertifiedCheckpoint
from ledger.limits import CLOCK_AHEAD_MS
from ledger.verify.check import CheckedCertificate
from ledger.verify.findings import CERTIFICATES, Finding, show

BLOCKS_KEPT = 10_000
"""Checkpoints of recent blocks that are kept until their certificates come; sources give these beside their blocks."""


@dataclass(frozen=True, slots=True)
class Certified:
    """A checkpoint of this log that a quorum has cosigned; `height` and `time` (unix ms) are those of its block."""

    height: int
    time: int
    note: bytes
    result: CertifiedCheckpoint


@dataclass(slots=True)
class Certificates:
    """All certificates of one ledger, matched with the checkpoints as they are recomputed.

    `count` are certified checkpoints, `short` notes whose lines hold but are no quorum.
    """

    wall_clock: bool
    count: int = 0
    short: int = 0
    first: Certified | None = None
    last: Certified | None = None
    _roots: dict[int, tuple[Digest, int, int]] = field(default_factory=dict)
    _order: deque[int] = field(default_factory=deque)
    _waiting: list[CheckedCertificate] = field(default_factory=list)

    def confirmed(self, height: int, time: int, size: int, root: Digest) -> list[Finding]:
        """A block's checkpoint as recomputed; the findings about certificates that waited for it."""
        self._roots[size] = (root, height, time)
        self._order.append(size)
        if len(self._order) > BLOCKS_KEPT:
            del self._roots[self._order.popleft()]
        findings: list[Finding] = []
        while self._waiting and self._waiting[0].size <= size:
            findings.extend(self._match(self._waiting.pop(0)))
        return findings

    def add(self, certificates: list[CheckedCertificate], size: int) -> list[Finding]:
        """Certificates as a piece gives them, while the log recomputed so far has `size` leaves."""
        findings: list[Finding] = []
        for certificate in certificates:
            if certificate.size <= size:
                findings.extend(self._match(certificate))
            else:
                self._waiting.append(certificate)
        self._waiting.sort(key=lambda each: each.size)
        return findings

    def end(self) -> list[Finding]:
        """The findings about certificates over sizes that never came."""
        findings = [_no_such_size(each) for each in self._waiting]
        self._waiting.clear()
        return findings

    def _match(self, certificate: CheckedCertificate) -> list[Finding]:
        found = self._roots.get(certificate.size)
        if found is None:
            return [_no_such_size(certificate)]
        root, height, time = found
        seq = certificate.size - 1
        if root != certificate.root:
            return [
                Finding("certificate-root", CERTIFICATES, height, seq, None, "root", show(root), show(certificate.root))
            ]
        result = certificate.certified
        if result is None:  # a checkpoint under way, such as a live node's newest
            self.short += 1
            return []
        if self.wall_clock and result.recorded_by_s * 1000 + CLOCK_AHEAD_MS < time:
            expected, got = f"≥ {time - CLOCK_AHEAD_MS}", str(result.recorded_by_s * 1000)
            return [Finding("certificate-time", CERTIFICATES, height, seq, None, "time", expected, got)]
        self.count += 1
        certified = Certified(height, time, certificate.note, result)
        if self.first is None:
            self.first = certified
        if self.last is None or self.last.result.checkpoint.size <= certificate.size:
            self.last = certified
        return []


def _no_such_size(certificate: CheckedCertificate) -> Finding:
    return Finding("certificate-size", CERTIFICATES, field="size", got=str(certificate.size), place=certificate.place)
