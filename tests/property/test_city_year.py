"""A generated year of a city: the rules find exactly the breaches that were planted, and the auditor's replay agrees."""

from __future__ import annotations

import json
import os
import time
from argparse import Namespace
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from ledger.adapters.audit.replayrules import rules_loader
from ledger.adapters.audit.scratch import ScratchState
from ledger.adapters.audit.sources import open_source
from ledger.verify.findings import CERTIFICATES, LEVELS
from ledger.verify.ledger import Options, verify_ledger
from ledger.verify.report import CHECKED, INCOMPLETE, NOT_CHECKED
from ledger.verify.trust import Trust
from scripts.bench.__main__ import conditions
from tests.models import city_breaches, city_oversight
from tests.models.city_scene import Scene
from tests.models.city_year import City, Planner, Played, plan

RECORD: Final = (
    "LEDGER_CITY_JSON"  # names the file that the run of the whole city is recorded in, for docs/BENCHMARKS.md
)
CITY_EVENTS: Final = 100_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "departments", "datasets", "events"),
    [(809, 5, 24, 1_500), (26, 5, 24, 1_500), pytest.param(809, 12, 300, CITY_EVENTS, marks=pytest.mark.soak)],
)
def test_exactly_the_planted_breaches_are_found(
    tmp_path: Path, seed: int, departments: int, datasets: int, events: int
) -> None:
    """Of every family of rules some breaches are planted, and the same scenes without the breach: each planted finding,
    refusal and alert is there once, no other finding and refusal is, and a full replay recomputes every verdict."""
    city = plan(seed, departments=departments, datasets=datasets, events=events)
    played = Played(tmp_path / "node", city)
    started = time.monotonic()
    played.play()
    played.close()
    played_s = time.monotonic() - started
    assert played.events == len(city.steps) >= events
    assert played.findings == city.expected
    assert Counter(played.refused) == city.refused
    # Alerts follow the strict readings, and ordinary use has its own: only the sorts that are planted are counted.
    assert {alert: played.alerts[alert] for alert in city.alerts} == city.alerts
    with ScratchState() as scratch:
        options = Options(Trust(played.genesis.origin, "origin"), played.app.head.time)
        report = verify_ledger(open_source(str(played.folder)), options, scratch, rules_loader("compiled"))
    assert report.findings.kept == []
    # Nobody cosigns this ledger, and its clock is simulated: that is all that an auditor cannot say of it.
    assert report.verdict == INCOMPLETE
    assert [gap.code for gap in report.gaps] == ["simulated-time", "no-certificate"]
    unchecked = {name: report.level(name) for name in LEVELS if report.level(name) != CHECKED}
    assert unchecked == {CERTIFICATES: NOT_CHECKED}
    assert report.counts.replayed_events == len(city.steps)
    if RECORD in os.environ and events == CITY_EVENTS:
        row = {
            "departments": departments, "datasets": datasets, "events": len(city.steps), "planted": city.expected.total(),
            "found": played.findings.total(), "refused": len(played.refused), "verdict": report.verdict,
            "gaps": ", ".join(gap.code for gap in report.gaps),
            "played_s": round(played_s), "verified_s": round(time.monotonic() - started - played_s),
        }  # fmt: skip
        measured = Namespace(what="city", seconds=None, repeat=1, followers=0, receipts=False)
        document = {"bench": "city", "conditions": conditions(measured), "rows": [row]}
        Path(os.environ[RECORD]).write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")


def test_every_sort_plants_a_breach() -> None:
    """The scene of each sort expects more as it is planted than played lawfully, and no two sorts have one name."""
    sorts = city_breaches.SORTS + city_oversight.SORTS
    assert len({sort.__name__ for sort in sorts}) == len(sorts)
    for sort in sorts:
        totals = []
        for planted in (True, False):
            planner = Planner(7, departments=5, datasets=0, events=0)
            sort(Scene(planner, sort.__name__, 0, planted=planted))
            totals.append(expectations(planner.city))
        assert totals[0] > totals[1], sort.__name__


def expectations(city: City) -> int:
    """How many findings, refusals and alerts a plan expects."""
    return city.expected.total() + city.refused.total() + city.alerts.total()
