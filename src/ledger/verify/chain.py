"""Decides whether blocks follow each other: heights, times, and a log tree that each header and checkpoint names right.

Rules: a header names the log before its block (size and root) and the number of its leaves; the checkpoint of the block
is the log after it. Leaf hashes come from leaf bytes, nothing is taken over from the source.
Once the tree differs it differs for ever: that is said once. Not here: what the leaves mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.core.hashing import Digest
from ledger.core.header import Header
from ledger.core.merkle import EMPTY_RANGE, EMPTY_ROOT, CompactRange
from ledger.verify.findings import TREE, Finding, show


@dataclass(slots=True)
class Chain:
    """The log up to the last block followed. `broken` says that its tree is no longer that of the source's notes."""

    log: CompactRange = EMPTY_RANGE
    height: int = -1
    time: int = 0
    broken: bool = False

    def expect(self, height: int, place: str) -> Finding | None:
        """None when the block at `height` is the next one."""
        if height == self.height + 1:
            return None
        expected, got = str(self.height + 1), str(height)
        if height > self.height:  # nothing is wrong with the block that is there
            return Finding("block-missing", TREE, self.height + 1, expected=expected, got=got)
        return Finding("block-order", TREE, height, expected=expected, got=got, place=place)

    def follow(
        self,
        height: int,
        time: int,
        header: Header | None,
        hashes: Sequence[Digest],
        checkpoint: tuple[int, Digest] | None,
    ) -> list[Finding]:
        """Append a block; the findings about its header and checkpoint. A lost block breaks the chain first."""
        findings: list[Finding] = []
        if height != self.height + 1:
            self.broken = True
        if header is not None:
            findings.extend(self._header(height, time, header, len(hashes)))
        if self.broken and header is not None and height != self.height + 1:
            # Count on where the source says it is, so that places stay right; hashes are not compared any more.
            self.log = CompactRange(header.first_seq, (EMPTY_ROOT,) * header.first_seq.bit_count())
        self.log = self.log.extend(hashes)
        self.height, self.time = height, max(self.time, time)
        if checkpoint is not None and not self.broken:
            expected = (self.log.size, self.log.root())
            if checkpoint != expected:
                for name, want, got in zip(("size", "root"), expected, checkpoint, strict=True):
                    if want != got:
                        findings.append(_differs("checkpoint", height, name, want, got, self.log.size - 1))
                self.broken = True
        return findings

    def _header(self, height: int, time: int, header: Header, count: int) -> list[Finding]:
        wanted: dict[str, tuple[object, object]] = {
            "height": (height, header.height),
            "time": (time, header.time),
            "count": (count - 1, header.count),
        }
        if not self.broken:
            wanted["first_seq"] = (self.log.size, header.first_seq)
            wanted["prev.size"] = (self.log.size, header.prev_size)
            wanted["prev.root"] = (self.log.root() if self.log.size else EMPTY_ROOT, header.prev_root)
        seq = None if self.broken else self.log.size + count - 1
        findings = [
            _differs("header", height, name, expected, got, seq)
            for name, (expected, got) in wanted.items()
            if expected != got
        ]
        if time < self.time:
            findings.append(_differs("block-time", height, "time", f"≥ {self.time}", time, seq))
        if any(finding.field == "prev.root" for finding in findings):
            self.broken = True
        return findings


def _differs(code: str, height: int, name: str, expected: object, got: object, seq: int | None) -> Finding:
    return Finding(code, TREE, height, seq, field=name, expected=show(expected), got=show(got))
