"""How far back CometBFT keeps its own blocks (SPEC R-N64): `retain_height` in the answer to Commit.

Rules: without a limit everything is kept. With one, never less than the evidence window: a double vote can be reported
while its block is younger than either bound of the genesis, so both have to be past. Times of earlier heights are
remembered since the start only, so that a node which starts anew prunes nothing for that long.
Nothing of the ledger is pruned: events, certificates and native commits are its own. Who joins replays CometBFT's blocks
from the first, so some validators keep all, or from the block of a snapshot that is offered, so these stay everywhere.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from ledger.adapters.home.comethome import EVIDENCE_BLOCKS, EVIDENCE_MS

MARK_EVERY: Final = 100  # heights; at ten a second these are some 17,000 marks in 48 hours


class Pruning:
    """`keep_blocks` is how many of the newest CometBFT blocks stay at least; 0 keeps all."""

    def __init__(
        self,
        keep_blocks: int,
        *,
        evidence_blocks: int = EVIDENCE_BLOCKS,
        evidence_ms: int = EVIDENCE_MS,
        mark_every: int = MARK_EVERY,
    ) -> None:
        self._blocks = max(keep_blocks, evidence_blocks) if keep_blocks else 0
        self._evidence_ms, self._mark_every = evidence_ms, mark_every
        self._marks: deque[tuple[int, int]] = deque()
        self._retain = 0

    def retain_height(self, height: int, time_ms: int, snapshot: int = 0) -> int:
        """The lowest height to keep once `height` of `time_ms` (unix ms) is committed; 0: keep all.

        Blocks from that of the oldest `snapshot` on stay (0: there is none): who joins by it needs them.
        """
        if not self._blocks:
            return 0
        if height % self._mark_every == 0:
            self._marks.append((height, time_ms))
        while self._marks:
            marked, when = self._marks[0]
            if marked > height - self._blocks or when > time_ms - self._evidence_ms:
                break
            self._retain = marked
            self._marks.popleft()
        return min(self._retain, snapshot) if snapshot else self._retain
