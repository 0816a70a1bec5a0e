"""How a verdict is told: titles of the rulebook with what was found in the place of their placeholders."""

from __future__ import annotations

from ledger.cli.main import console_for
from ledger.cli.verdicts import Rulebook, verdict_lines


def test_titles_are_filled_with_what_was_found() -> None:
    """An alert and a finding say which, how many and since when; a list is a list of words, a gap stays visible."""
    texts = {
        "unusual": {"title": {"en": "Unusual ({kinds}), limit {open}", "zh": "异常（{kinds}）"}, "type": "alert"},
        "L/1": {"title": {"en": "Late by {days} days", "zh": "逾期{days}天"}, "type": "finding"},
    }
    console = console_for(["--lang", "en"])
    book = Rulebook("en", lambda: {"texts": texts})
    verdict = {
        "outcome": "irregular",
        "alerts": [{"code": "unusual", "rule": "B3", "args": {"kinds": ["rate", "hour"]}}],
        "findings": [{"code": "L/1", "about": "ga", "id": "f:1", "args": {"days": 3}}],
    }
    told = "\n".join(verdict_lines(console, verdict, book))
    assert "Unusual (rate, hour), limit {open}" in told and "Late by 3 days" in told
