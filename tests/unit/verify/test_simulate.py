"""Deciding a ledger's history again: deadlines that fall otherwise, blocks that fire only some, verdicts by their parts."""

from __future__ import annotations

import functools
import itertools
import json
import time
from pathlib import Path

import pytest

from ledger.adapters.audit.ruletrace import explain_event
from ledger.adapters.audit.simulation import simulate
from ledger.adapters.audit.sources import open_source
from ledger.adapters.home.network import read_rulebook
from ledger.core.bundle import encode_bundle
from ledger.core.event import Event, new_event
from ledger.core.hashing import sha256
from ledger.core.ident import uuid7_at
from ledger.core.proposal import proposal_hash
from ledger.core.submission import Submission, new_submission
from ledger.rules.program import Program
from ledger.verify.redecide import read_blocks
from ledger.verify.simulate import Simulation, compare
from tests.models import real_ledger
from tests.models.real_ledger import CONTRACT, RealLedger

DAY_MS = 86_400_000
GRANTS = 5


class Stepped(RealLedger):
    """A real ledger whose blocks are as late as the test says."""

    late_ms = 0

    def block(self, submissions: list[Submission]) -> None:
        """Decide, seal and store a block at the stepped time."""
        block, left_out = self.app.prepare(submissions, time.time_ns() // 1_000_000 + self.late_ms)
        assert not left_out
        sealed = self.app.finalize(block)
        self.app.commit(self._note(sealed.size, sealed.root, []))


@pytest.fixture(scope="module", params=[1000, 2])
def overdue(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger whose deliveries were all late by a month: every deadline has fired, at most 1,000 or 2 in a block."""
    patch = pytest.MonkeyPatch()
    limited = functools.partial(real_ledger.new_genesis, parameters={"timers_block": request.param})
    patch.setattr(real_ledger, "new_genesis", limited)
    folder = tmp_path_factory.mktemp("overdue") / "data"
    ledger = Stepped(folder)
    patch.undo()
    waves = ledger.workload.setup(GRANTS)
    for wave in itertools.islice(waves, 6):  # up to the approvals; nothing is delivered
        ledger.block(wave)
    ledger.late_ms = 40 * DAY_MS
    while ledger.app.timers_waiting(time.time_ns() // 1_000_000 + ledger.late_ms):
        ledger.block([])
    ledger.block([])
    ledger.certify()
    ledger.close()
    return folder


def run(folder: Path, days: int | None = None) -> Simulation:
    """The simulation under the shipped rulebook, with another term of delivery."""
    files, calendars = read_rulebook(CONTRACT)
    if days is not None:
        files["params.toml"] = files["params.toml"].replace(b"value = 20", f"value = {days}".encode())
    return simulate(open_source(str(folder)), Program.compile(files, calendars), runtime="inline", kept_max=100)


def test_deadlines_that_fired_fire_again(overdue: Path) -> None:
    """Under its own rules every deadline fires again with the same verdict, however few a block could hold."""
    found = run(overdue)
    assert found.different == 0 and found.timers >= GRANTS and found.stopped is None and found.missing == 0


def test_an_earlier_deadline_is_another_one(overdue: Path) -> None:
    """With a shorter term each recorded deadline is gone and an earlier one stands in its place, beside the changed duty."""
    found = run(overdue, 15)
    leaves = [change for each in found.kept for change in each.changes if change.part == "leaf"]
    assert sum(change.after is None for change in leaves) == sum(change.before is None for change in leaves) == GRANTS
    assert all("D809/39-4" in (change.before or change.after or "") and change.rule == "A5" for change in leaves)
    assert found.groups[("duty", "A5", "", "changed")] == GRANTS
    assert {each.due is None for each in found.kept} == {True, False}


def test_a_later_deadline_has_not_come(overdue: Path) -> None:
    """With a longer term the recorded findings would not have been raised, and nothing stands in their place."""
    found = run(overdue, 60)
    leaves = [change for each in found.kept for change in each.changes if change.part == "leaf"]
    assert len(leaves) == GRANTS and all(change.after is None for change in leaves)


ACCEPTED = {"outcome": "accepted"}
FINDING = {"rule": "R", "code": "C/1", "about": "ga", "id": "f:1", "on": "thing/x"}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (ACCEPTED, ACCEPTED, []),
        (ACCEPTED, {"outcome": "refused", "reasons": [["R", "no", {}]]}, [("outcome", "", ""), ("reason", "R", "no")]),
        ({**ACCEPTED, "findings": [FINDING]}, {**ACCEPTED, "findings": [{**FINDING, "id": "f:2", "repeats": 3}]}, []),
        ({**ACCEPTED, "findings": [FINDING]}, {**ACCEPTED, "findings": [{**FINDING, "on": "thing/y"}]},
         [("finding", "R", "C/1"), ("finding", "R", "C/1")]),
        ({**ACCEPTED, "findings": [FINDING]}, {**ACCEPTED, "findings": [{**FINDING, "held": "jy"}]},
         [("finding", "R", "C/1")]),
        ({**ACCEPTED, "alerts": [{"rule": "R", "code": "a"}]}, ACCEPTED, [("alert", "R", "a")]),
        ({**ACCEPTED, "timers": [["timer/R/thing/x", 5]]}, {**ACCEPTED, "timers": [["timer/R/thing/x", 6]]},
         [("timer", "R", "")]),
        ({"outcome": "irregular", "reasons": [["R", "rule-error", {"error": "key", "line": 3}]]},
         {"outcome": "irregular", "reasons": [["R", "rule-error", {"error": "key", "line": 9}]]}, []),
        (None, {**ACCEPTED, "findings": [FINDING]}, [("leaf", "R", "")]),
    ],
)  # fmt: skip
def test_verdicts_are_compared_by_parts(before: dict, after: dict, said: list[tuple[str, str, str]]) -> None:
    """A difference is named under its part, rule and code; numbers that only follow from another difference are none."""
    assert [(each.part, each.rule, each.code) for each in compare(before, after)] == said


def test_a_duty_says_its_timer() -> None:
    """A duty whose term moves is one difference, though its timer moves too."""
    duty = {"by": "ga", "on": "thing/x", "rule": "R", "status": "open"}
    verdicts = [{**ACCEPTED, "duties": [{**duty, "due": due}], "timers": [["timer/R/thing/x", due]]} for due in (1, 2)]
    (change,) = compare(*verdicts)
    assert (change.part, change.rule) == ("duty", "R") and '"due": 1' in change.before and '"due": 2' in change.after


# --- a rulebook that changed on the way --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def amended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger whose term of delivery was voted down to 15 days before the second half of its approvals."""
    folder = tmp_path_factory.mktemp("amended") / "data"
    ledger = Stepped(folder)
    waves = ledger.workload.setup(GRANTS)
    for wave in itertools.islice(waves, 5):
        ledger.block(wave)
    approvals = next(waves)
    ledger.block(approvals[:1])
    files = {
        name: data
        for name, data in real_ledger.read_bundle_folder(CONTRACT).items()
        if name[:5] not in ("cases", "calen")
    }
    files["params.toml"] = files["params.toml"].replace(b"value = 20", b"value = 15")
    program = ledger.app.rules.successor(files, None)
    bundle = ledger.app.offer_bundle(encode_bundle(files))
    args = {"bundle": bundle.hex(), "language": program[1], "program": program[0].hex()}
    proposal = _governing(ledger, "sys.propose", {}, action="sys.rulebook.amend", args=args)
    _governing(
        ledger, "sys.approve", {"proposal": f"sj/{proposal.id}"}, proposal_hash=proposal_hash(proposal.hash).hex()
    )
    ledger.late_ms = 60_000
    ledger.block([])
    assert ledger.app.head.config.rulebook == bundle
    ledger.block(approvals[1:])
    ledger.certify()
    ledger.close()
    return folder


def _governing(ledger: Stepped, kind: str, refs: dict[str, str], **content: object) -> Event:
    """A governance event of the authority, in a block of its own."""
    now = time.time_ns() // 1_000_000
    event = new_event(
        event_id=uuid7_at(now, sha256(kind.encode())[:10]),
        kind=kind,
        refs=refs,
        time_ms=now,
        salt=bytes(16),
        content=content,
    )
    ledger.block([new_submission(ledger.genesis.origin, "sj", real_ledger.signer("sj", "office"), [event])])
    return event


def test_each_event_is_explained_by_the_rules_of_its_time(amended: Path) -> None:
    """Before the change an approval is explained by 20 days, after it by 15, each exactly as recorded."""
    days = []
    source = open_source(str(amended))
    for block in read_blocks(source.pieces()):
        for data in block.submissions:
            for head, _, _ in data.events:
                fields = json.loads(head)
                if fields["kind"] == "share.approve":
                    program, found = explain_event(source, f"{data.member}/{fields['id']}")
                    assert found.exact
                    (used,) = next(rule.parameters for rule in found.rules if rule.rule == "A5")
                    days.append(used.value)
                    assert program.rulebook_hash.hex()
    assert set(days) == {20, 15} and days == sorted(days, reverse=True)


def test_a_change_that_was_voted_stays_voted(amended: Path) -> None:
    """Under one rulebook for the whole history the vote is not decided anew: only what the rules say differs."""
    before, after = run(amended), run(amended, 15)
    assert before.stopped is None and after.stopped is None
    assert set(before.groups) == set(after.groups) == {("duty", "A5", "", "changed")}
    assert before.different > 0 and after.different > 0
    assert before.different + after.different == GRANTS


def test_the_governing_events_are_explained(amended: Path) -> None:
    """A vote is decided by the ledger itself: no rule was asked, and the explanation says so."""
    source = open_source(str(amended))
    for block in read_blocks(source.pieces()):
        for data in block.submissions:
            for head, _, _ in data.events:
                fields = json.loads(head)
                if fields["kind"].startswith("sys."):
                    _, found = explain_event(source, f"{data.member}/{fields['id']}")
                    assert found.rules == () and found.verdict["outcome"] == "accepted" and found.again is None
