"""How much of CometBFT's own chain a node lets go: never what a double vote could still be reported in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ledger.adapters.home.comethome import EVIDENCE_BLOCKS, EVIDENCE_MS
from ledger_node.comet.pruning import Pruning


@given(
    st.integers(1, 40),
    st.lists(st.integers(0, 40), min_size=1, max_size=80),
    st.integers(1, 20),
    st.integers(0, 200),
    st.integers(1, 7),
)
def test_the_window_is_never_pruned(
    keep: int, steps: list[int], evidence_blocks: int, evidence_ms: int, every: int
) -> None:
    """SPEC R-N64: every height within the limit, or young by count or by time, stays; what is let go stays gone."""
    pruning = Pruning(keep, evidence_blocks=evidence_blocks, evidence_ms=evidence_ms, mark_every=every)
    times: list[int] = [0]
    last = 0
    for height, step in enumerate(steps, 1):
        times.append(times[-1] + step)
        retain = pruning.retain_height(height, times[height])
        assert last <= retain <= max(0, height - max(keep, evidence_blocks))
        assert retain == 0 or times[retain] <= times[height] - evidence_ms
        last = retain


def test_a_small_limit_is_raised_to_the_evidence_window() -> None:
    """SPEC R-N64: `keep_blocks` of one keeps 100,000 blocks and 48 hours; zero keeps all."""
    for keep, expected in ((0, 0), (1, 100), (EVIDENCE_BLOCKS + 5_000, 0)):
        pruning = Pruning(keep)
        retain = 0
        for height in range(100, EVIDENCE_BLOCKS + 200, 100):
            retain = pruning.retain_height(height, height * 2_000)
        assert retain == expected
    assert EVIDENCE_BLOCKS * 2_000 > EVIDENCE_MS  # at one block in two seconds the count decides


def test_blocks_of_a_snapshot_that_is_offered_stay() -> None:
    """SPEC R-N64, R-N73: whoever joins by it needs the chain from its height on; without one the limit alone decides."""
    pruning = Pruning(4, evidence_blocks=4, evidence_ms=10, mark_every=1)
    for height in range(1, 40):
        pruning.retain_height(height, height * 100)
    limit = pruning.retain_height(40, 4_000)
    assert limit == 36
    assert pruning.retain_height(40, 4_000, 12) == 12 and pruning.retain_height(40, 4_000, 39) == limit
    assert Pruning(0).retain_height(40, 4_000, 12) == 0
