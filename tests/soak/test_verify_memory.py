"""`ledger verify` on a ledger that grows fourfold: no process of it takes more memory for that."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.bench.bed import make
from scripts.bench.sizes import Builder, _ledger

SMALL, LARGE = 100_000, 400_000
MORE_MB = 30  # what the caches and the allocator may still take beyond the first hundred thousand events
MAIN_MB = 220
WORKER_MB = 120


@pytest.mark.soak
def test_memory_of_every_process_stays_where_it_is(tmp_path: Path) -> None:
    """From a hundred thousand events on the largest resident memory of main process, checking and rules stays flat."""
    made = make(tmp_path / "network", 0)
    builder = Builder(made)
    peaks: list[dict[str, float]] = []
    for size in (SMALL, LARGE):
        builder.grow(size)
        export = str(tmp_path / str(size))
        _ledger("export", "archive", export, "--from", str(builder.folder), "--until", "head")
        ran = _ledger("verify", export, "--origin", made.genesis.origin, "--no-remember", "--fresh", "--jobs", "2")
        assert ran.document["counts"]["replayed_events"] == ran.document["counts"]["events"] >= size
        peaks.append({role: size / 2**20 for role, size in ran.peaks.items()})
    small, large = peaks
    assert set(small) == set(large) == {"main", "check", "rules"}
    for role, peak in large.items():
        assert peak <= small[role] + MORE_MB, peaks
        assert peak <= (MAIN_MB if role == "main" else WORKER_MB), peaks
