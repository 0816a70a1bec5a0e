"""Random ledgers: honest ones verify in every mode, and any single changed byte of one is found."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.adapters.audit.scratch import ScratchState
from ledger.blockcodec import encode_block
from ledger.verify.ledger import Options, verify_ledger
from ledger.verify.report import BROKEN, INTACT, Report
from ledger.verify.trust import Trust
from tests.models import tiny_ledger as tiny
from tests.models.tiny_ledger import MEMBERS, START_MS, TinyLedger

NAMES = ("a", "b", "c")
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

events = st.fixed_dictionaries(
    {},
    optional={
        "writes": st.dictionaries(
            st.sampled_from(["thing/x", "thing/y"]), st.one_of(st.none(), st.just({"n": 1})), min_size=1
        ),
        "timers": st.dictionaries(
            st.sampled_from(["timer/r/thing/x", "timer/s/thing/y"]),
            st.one_of(st.none(), st.integers(START_MS, START_MS + 20_000)),
            min_size=1,
        ),
        "streams": st.just([["finding", "f"], ["member", "ga"]]),
        "refuse": st.just(True),
        "refs": st.dictionaries(
            st.sampled_from(["dataset", "grant", "member", "subject"]),
            st.one_of(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), min_size=1, unique=True)),
        ),
        "data_subjects": st.just(["t:1", "t:2"]),
        "again": st.integers(0, 5),
        "same_id": st.integers(0, 5),
    },
)
blocks = st.lists(
    st.lists(st.tuples(st.sampled_from(MEMBERS), st.lists(events, min_size=1, max_size=3)), max_size=3), max_size=5
)


def build(plan: list[list[tuple[str, list[dict[str, Any]]]]]) -> TinyLedger:
    """The ledger of a plan; events may repeat earlier ones (`again`) or reuse their ids (`same_id`)."""
    ledger = TinyLedger()
    made: dict[str, list[Any]] = {member: [] for member in MEMBERS}
    for number, submissions in enumerate(plan):
        signed = []
        for member, contents in submissions:
            batch = []
            for content in contents:
                fields, earlier = dict(content), made[member]
                again, same_id = fields.pop("again", None), fields.pop("same_id", None)
                if again is not None and again < len(earlier):
                    batch.append(earlier[again])
                    continue
                if same_id is not None and same_id < len(earlier):
                    fields["event_id"] = earlier[same_id].id
                event = ledger.event(**fields)
                earlier.append(event)
                batch.append(event)
            signed.append(ledger.submission(member, batch))
        ledger.block(*signed, ms=4_000)
        if number % 2:
            ledger.certify()
    ledger.block()
    ledger.certify(MEMBERS)
    return ledger


def audit(ledger: TinyLedger, *, replay: bool, **changes: Any) -> Report:
    """The report."""
    with ScratchState(cache_bytes=3_000) as scratch:
        options = Options(Trust(ledger.origin, "origin"), ledger.now_ms, replay)
        return verify_ledger(ledger.source(**changes), options, scratch, tiny.load_rules)


@given(blocks, st.integers(1, 4))
@QUICK
def test_honest_ledger_verifies_in_every_mode(plan: list[Any], piece: int) -> None:
    """Whatever honest members record, the ledger is intact with rules, and without them nothing is found wrong."""
    ledger = build(plan)
    rows = ledger.state()
    report = audit(ledger, replay=True, rows=rows, blocks_a_piece=piece)
    assert (report.verdict, report.findings.kept) == (INTACT, [])
    without = audit(ledger, replay=False, rows=rows, blocks_a_piece=piece)
    assert without.findings.kept == []
    assert (without.counts.timers, without.counts.events) == (report.counts.timers, report.counts.events)


@given(blocks, st.data())
@QUICK
def test_any_changed_byte_is_found(plan: list[Any], data: st.DataObject) -> None:
    """One byte changed anywhere in the blocks or certificates of any ledger is found, with rules and without."""
    ledger = build(plan)
    encoded = [encode_block(block) for block in ledger.blocks]
    notes = [note for _, note in ledger.certificates]
    parts = data.draw(st.sampled_from([encoded, notes]), label="parts")
    number = data.draw(st.integers(0, len(parts) - 1), label="part")
    at = data.draw(st.integers(0, len(parts[number]) - 1), label="byte")
    changed = bytearray(parts[number])
    changed[at] ^= data.draw(st.integers(1, 255), label="flip")
    parts[number] = bytes(changed)
    for replay in (True, False):
        assert audit(ledger, replay=replay, encoded=encoded, notes=notes).verdict == BROKEN


@given(blocks, st.data())
@QUICK
def test_any_lost_leaf_or_submission_is_found(plan: list[Any], data: st.DataObject) -> None:
    """A leaf or submission taken out of any block is missed."""
    from dataclasses import replace

    ledger = build(plan)
    height = data.draw(st.integers(1, len(ledger.blocks) - 1), label="height")
    block = ledger.blocks[height]
    choices = [replace(block, leaves=block.leaves[:at] + block.leaves[at + 1 :]) for at in range(len(block.leaves))]
    for at in range(len(block.submissions)):
        rest = block.submissions[:at] + block.submissions[at + 1 :]
        records = any(
            b'"submission":"%b"' % sealed_submission.identity.hex().encode() in leaf
            for sealed_submission in [ledger.sealed[height].decision.block.submissions[at]]
            for leaf in block.leaves
        )
        if records:  # a submission of nothing but duplicates leaves no trace, and its absence cannot be seen
            choices.append(replace(block, submissions=rest))
    forged = data.draw(st.sampled_from(choices), label="forged")
    encoded = [encode_block(forged if each.height == height else each) for each in ledger.blocks]
    for replay in (True, False):
        assert audit(ledger, replay=replay, encoded=encoded).verdict == BROKEN
