"""The law of custody (rule C2) over drawn histories: what a grant counts is what its copies are, and it closes over none."""

from __future__ import annotations

from collections import Counter

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
)  # fmt: skip
GONE = {"verified", "released"}
ENDED = {"expired", "purpose_ended", "terminated"}

draws = st.builds(
    Draw,
    hours=st.sampled_from([0, 0, 0, 1, 30]),
    kind=st.sampled_from(CUSTODY),
    seed=st.integers(0, 2**32),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(draws, min_size=10, max_size=60))
def test_grants_count_the_copies_that_stand_under_them(history: list[Draw]) -> None:
    """After every event a grant's counts by holder are those of the copies whose root it is and that are not gone; a closed
    grant has none but copies on legal hold, and one that has ended and has others owes their disposal."""
    played = AnyKind(PROGRAM, START_MS)
    played.lead()
    for draw in history:
        played.add(draw)
        values = {key: canonical.parse(data) for key, data in played.scratch.objects.items() if data}
        copies = [value for key, value in values.items() if key.startswith("copy/") and value["status"] not in GONE]
        for key, grant in values.items():
            kind, _, name = key.partition("/")
            if kind != "grant" or "live" not in grant:
                continue
            under = [copy for copy in copies if name in copy["roots"]]
            live = Counter(copy["holder"] for copy in under)
            held = Counter(copy["holder"] for copy in under if copy["hold"])
            assert (grant["live"], grant["held"]) == (live, held), (draw, key)
            assert grant["status"] != "closed" or live == held, (draw, key)
            if grant["status"] in ENDED and live != held:
                assert values[f"duty/C2/{key}"]["status"] in ("open", "overdue"), (draw, key)
