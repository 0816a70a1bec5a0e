"""Decides which sizes are certified: a certificate must be over a checkpoint of this log, by the set then in force.

Rules: log line and more than two thirds of the cosigners named by the config (checked by `core.quorum`); size and root are
those of a block's end as recomputed; under a wall clock a quorum cannot have signed more than 10 s before block time.
Not here: whether the newest certificate is fresh enough, or agrees with what was seen before (see `trust`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ledger.core.hashing import Digest
from ledger.core.keys import PublicKey
from ledger.core.quorum import CertifiedCheckpoint, Cosigner
from ledger.errors import LedgerError
from ledger.limits import CLOCK_AHEAD_MS
from ledger.verify.check import CheckedCertificate, under_cosigners
from ledger.verify.findings import CERTIFICATES, Finding, from_error, show

BLOCKS_KEPT = 10_000
"""Checkpoints of recent blocks that are kept until their certificates come; sources give these beside their blocks."""


@dataclass(frozen=True, slots=True)
class Signers:
    """Who may sign the checkpoint of a block: every log key ever registered, and the cosigners of the config in force."""

    log_keys: tuple[PublicKey, ...]
    cosigners: tuple[Cosigner, ...]


@dataclass(frozen=True, slots=True)
class Certified:
    """A checkpoint of this log that a quorum has cosigned; `height` and `time` (unix ms) are those of its block.

    `cosigners` is the set under which it is certified.
    """

    height: int
    time: int
    note: bytes
    result: CertifiedCheckpoint
    cosigners: tuple[Cosigner, ...] = ()


@dataclass(slots=True)
class Certificates:
    """All certificates of one ledger, matched with the checkpoints as they are recomputed.

    `count` are certified checkpoints, of `sizes`; `short` notes whose lines hold but are no quorum.
    """

    wall_clock: bool
    origin: str = ""
    count: int = 0
    short: int = 0
    first: Certified | None = None
    last: Certified | None = None
    sizes: set[int] = field(default_factory=set)
    _roots: dict[int, tuple[Digest, int, int, Signers | None]] = field(default_factory=dict)
    _ends: dict[int, int] = field(default_factory=dict)
    _order: deque[int] = field(default_factory=deque)
    _waiting: list[CheckedCertificate] = field(default_factory=list)

    def confirmed(
        self, height: int, time: int, size: int, root: Digest, signers: Signers | None = None
    ) -> list[Finding]:
        """A block's checkpoint as recomputed, with who signs at its height (None: as checked); the findings about
        certificates that waited for it."""
        self._roots[size] = (root, height, time, signers)
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

    def epoch_ends(self, size: int, epoch: int) -> None:
        """The checkpoint of `size` is the last of `epoch`: under it the next set is adopted (R-G21)."""
        # Its certificate may have waited for this very block, and stands already.
        if size not in self.sizes:
            self._ends[size] = epoch

    def unanchored(self) -> list[tuple[int, int]]:
        """(epoch, size) of every change of the set that the old set did not certify, below the last certificate."""
        last = 0 if self.last is None else self.last.result.checkpoint.size
        return [(epoch, size) for size, epoch in self._ends.items() if size < last]

    def end(self) -> list[Finding]:
        """The findings about certificates over sizes that never came."""
        findings = [_no_such_size(each) for each in self._waiting]
        self._waiting.clear()
        return findings

    @property
    def waiting(self) -> bool:
        """Whether a certificate is over a size that did not come yet."""
        return bool(self._waiting)

    def signers_since(self) -> list[tuple[int, Signers]]:
        """Who signed the kept checkpoints: (height, signers) wherever they changed, ascending."""
        since: list[tuple[int, Signers]] = []
        for _, height, _, signers in self._roots.values():
            if signers is not None and (not since or since[-1][1] != signers):
                since.append((height, signers))
        return since

    def ends(self) -> dict[int, int]:
        """Epoch by the size at which it ended, of those whose last checkpoint is not certified yet."""
        return dict(self._ends)

    def go_on(
        self, *, count: int, short: int, first: Certified | None, last: Certified | None, ends: dict[int, int]
    ) -> None:
        """Take over what an earlier run counted; the kept checkpoints are confirmed again by the caller."""
        self.count, self.short, self.first, self.last, self._ends = count, short, first, last, dict(ends)

    def _match(self, certificate: CheckedCertificate) -> list[Finding]:
        found = self._roots.get(certificate.size)
        if found is None:
            return [_no_such_size(certificate)]
        root, height, time, signers = found
        seq = certificate.size - 1
        if root != certificate.root:
            return [
                Finding("certificate-root", CERTIFICATES, height, seq, None, "root", show(root), show(certificate.root))
            ]
        if signers is not None and certificate.cosigners != signers.cosigners:
            # Checked elsewhere under the genesis' set; what was in force at this height counts.
            try:
                certificate = under_cosigners(
                    certificate.note, self.origin, signers.log_keys, signers.cosigners, certificate.place
                )
            except LedgerError as error:
                return [from_error("certificate", CERTIFICATES, error, height=height, place=certificate.place)]
        result = certificate.certified
        if result is None:  # a checkpoint under way, such as a live node's newest
            self.short += 1
            return []
        if self.wall_clock and result.recorded_by_s * 1000 + CLOCK_AHEAD_MS < time:
            expected, got = f"≥ {time - CLOCK_AHEAD_MS}", str(result.recorded_by_s * 1000)
            return [Finding("certificate-time", CERTIFICATES, height, seq, None, "time", expected, got)]
        self.count += 1
        self.sizes.add(certificate.size)
        self._ends.pop(certificate.size, None)
        certified = Certified(height, time, certificate.note, result, certificate.cosigners or ())
        if self.first is None:
            self.first = certified
        if self.last is None or self.last.result.checkpoint.size <= certificate.size:
            self.last = certified
        return []


def _no_such_size(certificate: CheckedCertificate) -> Finding:
    return Finding("certificate-size", CERTIFICATES, field="size", got=str(certificate.size), place=certificate.place)
