"""A generated year of a city: the rules find exactly the breaches that were planted, and the auditor's replay agrees."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.adapters.audit.replayrules import rules_loader
from ledger.adapters.audit.scratch import ScratchState
from ledger.adapters.audit.sources import open_source
from ledger.verify.ledger import Options, verify_ledger
from ledger.verify.report import BROKEN
from ledger.verify.trust import Trust
from tests.models.city_year import Played, plan


@pytest.mark.parametrize(
    ("departments", "datasets", "events"),
    [(5, 24, 1_500), pytest.param(12, 300, 100_000, marks=pytest.mark.soak)],
)
def test_exactly_the_planted_breaches_are_found(tmp_path: Path, departments: int, datasets: int, events: int) -> None:
    """Late replies, deliveries, updates, reviews and corrections, use beyond the grant, supply onward, records and
    disposals that lack: each planted one is found once, nothing else is, and a full replay recomputes every verdict."""
    city = plan(departments=departments, datasets=datasets, events=events)
    played = Played(tmp_path / "node", city)
    played.play()
    played.close()
    assert played.events == len(city.steps) >= events
    assert played.findings == city.expected
    assert len(played.refused) == city.refused
    with ScratchState() as scratch:
        options = Options(Trust(played.genesis.origin, "origin"), played.app.head.time)
        report = verify_ledger(open_source(str(played.folder)), options, scratch, rules_loader("compiled"))
    assert report.verdict != BROKEN, report.findings.kept
    assert report.counts.replayed_events == len(city.steps)
