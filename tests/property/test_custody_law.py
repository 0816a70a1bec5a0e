"""The law of custody (rule C2) over drawn histories: what a grant counts is what its copies are, and it closes over none."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.core import canonical
from tests.models.any_kind import AnyKind, Draw
from tests.unit.rules.books import contract_program

PROGRAM = contract_program()
START_MS = 1_790_000_000_000
CUSTODY = (
    "share.deliver", "share.receive", "use.derive", "use.analyze", "custody.found", "dispose.done", "dispose.verify",
    "custody.release", "hold.set", "hold.lift", "purpose.end", "grant.terminate", "share.apply", "share.approve",
    "entrust.end", "entrust.check", *["dispose.done"] * 3, *["dispose.verify"] * 8, *["hold.set"] * 2, "custody.release",
)  # fmt: skip
GONE = {"verified", "released"}
ENDED = {"expired", "purpose_ended", "terminated"}

ENTRUSTED = (
    "share.deliver",
    "use.derive",
    "entrust.end",
    "entrust.check",
    "entrust.check",
    "dispose.done",
    "dispose.verify",
)


def courses(kinds: tuple[str, ...]) -> st.SearchStrategy[list[Draw]]:
    """Histories of these kinds."""
    draws = st.builds(
        Draw, hours=st.sampled_from([0, 0, 0, 1, 30]), kind=st.sampled_from(kinds), seed=st.integers(0, 2**32)
    )
    return st.lists(draws, min_size=10, max_size=60)


@settings(max_examples=150, deadline=None)
@given(st.one_of(courses(CUSTODY), courses(ENTRUSTED)))
def test_grants_count_the_copies_that_stand_under_them(history: list[Draw]) -> None:
    """After every event a grant's counts by holder are those of the copies whose root it is and that are not gone; a closed
    grant has none but copies on legal hold, and one that has ended and has others owes their disposal. An entrustment counts
    the copies with its processor, and closes over none."""
    played = AnyKind(PROGRAM, START_MS)
    played.lead(entrusted=True)
    for draw in history:
        played.add(draw)
        values = {key: canonical.parse(data) for key, data in played.scratch.objects.items() if data}
        copies = [value for key, value in values.items() if key.startswith("copy/") and value["status"] not in GONE]
        for key, found in values.items():
            kind, _, name = key.partition("/")
            if kind == "grant" and "live" in found:
                hold_grant(found, [copy for copy in copies if name in copy["roots"]], values.get(f"duty/C2/{key}"))
            if kind == "entrustment":
                count = sum(copy.get("entrustment") == name for copy in copies)
                assert found["copies"] == count, (draw, key)
                assert found["status"] != "closed" or not count, (draw, key)


def hold_grant(grant: dict[str, Any], under: list[dict[str, Any]], duty: dict[str, Any] | None) -> None:
    """A grant against the copies that stand under it and its duty of disposal."""
    live = Counter(copy["holder"] for copy in under)
    held = Counter(copy["holder"] for copy in under if copy["hold"])
    assert (grant["live"], grant["held"]) == (live, held), grant
    assert grant["status"] != "closed" or live == held, grant
    if grant["status"] in ENDED and live != held:
        assert duty is not None and duty["status"] in ("open", "overdue"), grant
