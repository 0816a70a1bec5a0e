"""A ledger that was tampered with in any way: never accepted, never a crash, and the finding names the place."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from typing import Any

import pytest

from ledger.adapters.audit.scratch import ScratchState
from ledger.blockcodec import BlockData, SubmissionData, encode_block, from_submission
from ledger.core.event import new_event
from ledger.core.hashing import Digest, sha256
from ledger.core.ident import uuid7_at
from ledger.verify.ledger import Options, verify_ledger
from ledger.verify.report import BROKEN, Report
from ledger.verify.trust import Trust
from tests.models import tiny_ledger as tiny
from tests.models.tiny_ledger import TinyLedger, tiny_ledger

LEDGER = tiny_ledger()
ENCODED = LEDGER.source().encoded
FLIPS_A_BLOCK = 40


def audit(replay: bool = True, **changes: Any) -> Report:
    """The report on the ledger with changed parts; any exception is a failure of the test."""
    options = Options(Trust(LEDGER.origin, "origin"), LEDGER.now_ms, replay)
    with ScratchState() as scratch:
        return verify_ledger(LEDGER.source(**changes), options, scratch, tiny.load_rules)


def check_broken(height: int | None = None, **changes: Any) -> list[Report]:
    """Broken with and without replay; the first finding is not behind `height`."""
    reports = [audit(replay=replay, **changes) for replay in (True, False)]
    for report in reports:
        assert report.verdict == BROKEN
        first = report.findings.kept[0]
        assert height is None or first.height is None or first.height <= height
        assert first.height is not None or first.place is not None
    return reports


def with_block(block: BlockData) -> list[bytes]:
    """All encoded blocks with this one in its place."""
    return [encode_block(block) if at == block.height else each for at, each in enumerate(ENCODED)]


def places(size: int, count: int, seed: int) -> list[int]:
    """First and last bytes, and a seeded sample of the others."""
    inner = random.Random(seed).sample(range(size), min(count, size))
    return sorted({0, size - 1, *inner})


@pytest.mark.parametrize("height", range(len(ENCODED)))
def test_flipped_bytes_of_blocks(height: int) -> None:
    """A byte flipped anywhere in a block is found, in that block or before it."""
    data = ENCODED[height]
    for at in places(len(data), FLIPS_A_BLOCK, height):
        changed = bytearray(data)
        changed[at] ^= 1 << (at % 8)
        encoded = [bytes(changed) if number == height else each for number, each in enumerate(ENCODED)]
        report = audit(replay=bool(at % 2), encoded=encoded)
        assert report.verdict == BROKEN, f"byte {at} of block {height}"


@pytest.mark.soak
@pytest.mark.parametrize("replay", [True, False])
def test_every_bit_of_every_block(replay: bool) -> None:
    """The same exhaustively: every byte, three ways."""
    for height, data in enumerate(ENCODED):
        for at in range(len(data)):
            for flip in (0x01, 0x80, 0xFF):
                changed = bytearray(data)
                changed[at] ^= flip
                encoded = [bytes(changed) if number == height else each for number, each in enumerate(ENCODED)]
                assert audit(replay=replay, encoded=encoded).verdict == BROKEN, f"byte {at} of block {height}"


def test_flipped_bytes_of_certificates() -> None:
    """A byte flipped anywhere in a certificate is found."""
    notes = LEDGER.source().notes
    for number, note in enumerate(notes):
        for at in places(len(note), FLIPS_A_BLOCK, number):
            changed = bytearray(note)
            changed[at] ^= 1 << (at % 8)
            report = audit(notes=[bytes(changed) if each == note else each for each in notes])
            assert report.verdict == BROKEN, f"byte {at} of certificate {number}"


def test_flipped_bytes_of_the_genesis() -> None:
    """A byte flipped anywhere in the genesis is another network, or none."""
    data = LEDGER.genesis.data
    for at in places(len(data), FLIPS_A_BLOCK, 7):
        changed = bytearray(data)
        changed[at] ^= 1 << (at % 8)
        assert audit(genesis_data=bytes(changed)).verdict == BROKEN


@pytest.mark.parametrize("height", range(len(ENCODED) - 1))
def test_dropped_block(height: int) -> None:
    """A block left out is missed, and it alone: no later block is accused of what it did not bring."""
    for report in check_broken(encoded=[each for at, each in enumerate(ENCODED) if at != height]):
        assert [(each.code, each.height) for each in report.findings.kept] == [("block-missing", height)]
        assert "not-followed" in {each.code for each in report.gaps}


@pytest.mark.parametrize("height", range(len(ENCODED) - 1))
def test_swapped_blocks(height: int) -> None:
    """Two neighbours in the wrong order are found."""
    encoded = list(ENCODED)
    encoded[height], encoded[height + 1] = encoded[height + 1], encoded[height]
    check_broken(height=height + 1, encoded=encoded)


@pytest.mark.parametrize("height", range(len(ENCODED)))
def test_doubled_block(height: int) -> None:
    """A block that stands twice is found."""
    check_broken(encoded=[*ENCODED[: height + 1], *ENCODED[height:]])


def test_truncated_blocks() -> None:
    """A block that was cut or grew is found."""
    for height, data in enumerate(ENCODED):
        for changed in (data[:-1], data[: len(data) // 2], b"", data + b"\0", data + data):
            encoded = [changed if at == height else each for at, each in enumerate(ENCODED)]
            assert check_broken(encoded=encoded)[0].findings.kept[0].code == "block-unreadable"


def test_lost_tail_is_found_by_its_certificate() -> None:
    """Blocks cut from the end are missed by the certificate that covers them."""
    reports = check_broken(encoded=ENCODED[:-1])
    assert [each.findings.kept[0].code for each in reports] == ["certificate-size"] * 2


def test_foreign_block_is_appended() -> None:
    """A block of another ledger behind the last one is found."""
    other = TinyLedger(seed=9)
    for _ in range(8):
        other.block(other.submission("ga", [other.event()]))
    check_broken(height=8, encoded=[*ENCODED, encode_block(other.blocks[8])])


# --- a cleverer hand: parts that are right by themselves -------------------------------------------------------------


def _first(report: Report) -> tuple[str, str]:
    finding = report.findings.kept[0]
    return finding.code, finding.level


def test_changed_body_breaks_the_signature() -> None:
    """A canonical but other body is no longer what was signed."""
    block = LEDGER.blocks[1]
    data = block.submissions[0]
    head, body, _ = data.events[0]
    other = (body or b"").replace(b'"n":1', b'"n":2')
    assert other != body
    events = ((head, other, sha256(other)), *data.events[1:])
    changed = replace(block, submissions=(replace(data, events=events),))
    assert _first(check_broken(height=1, encoded=with_block(changed))[0]) == ("submission-signature", "signatures")


def test_body_withheld_under_another_hash() -> None:
    """A withheld body whose hash was changed is no longer what was signed."""
    block = LEDGER.blocks[1]
    data = block.submissions[0]
    head, _, _ = data.events[0]
    events = ((head, None, Digest(bytes(32))), *data.events[1:])
    changed = replace(block, submissions=(replace(data, events=events),))
    assert _first(check_broken(encoded=with_block(changed))[0]) == ("submission-signature", "signatures")


def test_submission_resigned_by_another_key() -> None:
    """The same events, validly signed by another member's key, are not what the records say."""
    block = LEDGER.blocks[1]
    data = block.submissions[0]
    from ledger.blockcodec import to_submission

    events = to_submission(data, LEDGER.origin).events
    stolen = from_submission(LEDGER.submission("gx", events))
    changed = replace(block, submissions=(stolen,))
    check_broken(height=1, encoded=with_block(changed))
    posing = replace(stolen, member="ga")
    assert _first(check_broken(encoded=with_block(replace(block, submissions=(posing,))))[0])[1] == "signatures"


def test_revoked_key_speaks_no_more() -> None:
    """A submission by a key that was revoked before is refused, however well it is signed."""
    event = LEDGER.event(note="too late")
    late = from_submission(LEDGER.submission("gx", [event], "second"))
    block = replace(LEDGER.blocks[7], submissions=(*LEDGER.blocks[7].submissions, late))
    for report in check_broken(height=7, encoded=with_block(block)):
        assert ("signer", "signatures") in {(each.code, each.level) for each in report.findings.kept}


def test_event_from_another_time_is_refused() -> None:
    """An event whose id lies far from block time could not have been in the block."""
    event = new_event(
        event_id=uuid7_at(1_000, bytes(10)), kind="test.event", refs={}, time_ms=1_000, salt=bytes(16), content={}
    )
    old = from_submission(LEDGER.submission("ga", [event]))
    block = replace(LEDGER.blocks[7], submissions=(*LEDGER.blocks[7].submissions, old))
    for report in check_broken(height=7, encoded=with_block(block)):
        assert "event-time" in report.findings.counts


def test_hidden_event_is_missed() -> None:
    """A submission added to a block without records for its events is found."""
    more = from_submission(LEDGER.submission("ga", [LEDGER.event(note="hidden")]))
    block = replace(LEDGER.blocks[7], submissions=(*LEDGER.blocks[7].submissions, more))
    with_rules, without = check_broken(height=7, encoded=with_block(block))
    assert "leaf-lost" in with_rules.findings.counts
    assert "event-without-leaf" in without.findings.counts


def test_removed_submission_leaves_its_records_alone() -> None:
    """A submission taken out of its block is missed by its records."""
    block = replace(LEDGER.blocks[2], submissions=LEDGER.blocks[2].submissions[1:])
    with_rules, without = check_broken(height=2, encoded=with_block(block))
    assert with_rules.findings.total
    assert "leaf-without-event" in without.findings.counts


def test_duplicate_recorded_twice() -> None:
    """An event that stands in the log already must not get a second record, also where nobody replays."""
    ledger = tiny_ledger()
    first = ledger.blocks[1].submissions[0].events[0]
    assert ledger.blocks[3].submissions[0].events[0] == first
    duplicate = ledger.blocks[3]
    forged = replace(duplicate, leaves=(ledger.blocks[1].leaves[0], *duplicate.leaves))
    for report in check_broken(height=3, encoded=with_block(forged)):
        assert report.findings.counts


def test_conflict_recorded_as_new() -> None:
    """A second event under a used id must carry the conflict verdict."""
    block = LEDGER.blocks[4]
    leaf = block.leaves[0].replace(
        b'"verdict":{"outcome":"refused","reasons":[["ledger","conflict",{}]]}', b'"verdict":{"outcome":"accepted"}'
    )
    assert leaf != block.leaves[0]
    with_rules, without = check_broken(height=4, encoded=with_block(replace(block, leaves=(leaf, *block.leaves[1:]))))
    assert "verdict" in with_rules.findings.counts
    assert "event-status" in without.findings.counts


def test_verdict_of_governance_is_recomputed_without_rules() -> None:
    """What the ledger itself decides is decided again even where rules are not replayed."""
    block = LEDGER.blocks[6]
    leaf = block.leaves[1].replace(b'"outcome":"accepted"', b'"outcome":"irregular"')
    assert leaf != block.leaves[1]
    leaves = (block.leaves[0], leaf, *block.leaves[2:])
    _, without = check_broken(height=6, encoded=with_block(replace(block, leaves=leaves)))
    assert "verdict" in without.findings.counts


def test_timer_before_its_time() -> None:
    """A timer leaf whose due time lies behind block time is found without rules too."""
    block = LEDGER.blocks[5]
    leaf = block.leaves[0].replace(b'"due":1790000009000', b'"due":1790099999000')
    assert leaf != block.leaves[0]
    _, without = check_broken(height=5, encoded=with_block(replace(block, leaves=(leaf, *block.leaves[1:]))))
    assert "timer" in without.findings.counts


@pytest.mark.parametrize(
    ("name", "level"),
    [("height", "tree"), ("count", "tree"), ("time", "tree"), ("buckets", "state"), ("keys", "state")],
)
def test_header_fields(name: str, level: str) -> None:
    """A header that says another number is found at the level of that number."""
    block = LEDGER.blocks[4]
    header, count = re.subn(rb'"%s":([0-9]+)' % name.encode(), rb'"%s":1\1' % name.encode(), block.leaves[-1])
    assert count == 1
    with_rules, _ = check_broken(height=4, encoded=with_block(replace(block, leaves=(*block.leaves[:-1], header))))
    assert _first(with_rules)[1] == level


def test_block_time_runs_backwards() -> None:
    """A block whose time lies before its predecessor's is found."""
    block = replace(LEDGER.blocks[5], time=LEDGER.blocks[4].time - 1)
    check_broken(height=5, encoded=with_block(block))


def test_attachment_that_nobody_asked_for() -> None:
    """Bytes attached to a block that no event names are a finding."""
    block = replace(LEDGER.blocks[3], attachments=(b"something",))
    assert all("attachment-unknown" in report.findings.counts for report in check_broken(encoded=with_block(block)))


def test_genesis_block_with_content() -> None:
    """Block 0 holds its header and nothing else."""
    more = from_submission(LEDGER.submission("ga", [LEDGER.event()]))
    check_broken(height=0, encoded=with_block(replace(LEDGER.blocks[0], submissions=(more,))))
    check_broken(height=0, encoded=with_block(replace(LEDGER.blocks[0], leaves=())))
    check_broken(height=0, encoded=with_block(replace(LEDGER.blocks[0], time=5)))
    check_broken(height=0, encoded=with_block(replace(LEDGER.blocks[0], note=LEDGER.blocks[1].note)))


def test_empty_ledger_is_not_accepted() -> None:
    """A source without any block verifies nothing: its certificates cover sizes that never come."""
    check_broken(encoded=[])
    assert audit(encoded=[], notes=[]).verdict != "intact"


def test_note_of_a_neighbour() -> None:
    """A validly signed note of another block does not fit this one."""
    block = replace(LEDGER.blocks[4], note=LEDGER.blocks[3].note)
    assert _first(check_broken(height=4, encoded=with_block(block))[1])[0] == "checkpoint"


def test_certificate_lines_instead_of_a_log_line() -> None:
    """A block note that holds cosignatures beside the log's line is not what the sequencer signed."""
    block = replace(LEDGER.blocks[2], note=LEDGER.certificates[0][1])
    check_broken(height=2, encoded=with_block(block))


def test_findings_are_bounded() -> None:
    """A ledger that is wrong everywhere fills no memory: a hundred findings are kept, all are counted."""
    ledger = TinyLedger()
    for _ in range(130):
        ledger.block(ms=1)
    encoded = [encode_block(replace(block, attachments=(b"x",))) for block in ledger.blocks]
    options = Options(Trust(ledger.origin, "origin"), ledger.now_ms, replay=False)
    with ScratchState() as scratch:
        report = verify_ledger(ledger.source(encoded=encoded), options, scratch, tiny.load_rules)
    assert len(report.findings.kept) == 100
    assert report.findings.counts["attachment-unknown"] == len(encoded)


def test_random_bytes_are_never_a_ledger() -> None:
    """Noise in place of blocks, certificates and genesis is refused without a crash."""
    chance = random.Random(4)
    for _ in range(30):
        noise = [chance.randbytes(chance.randrange(200)) for _ in range(4)]
        assert audit(encoded=noise, notes=noise).verdict == BROKEN
        assert audit(genesis_data=noise[0]).verdict == BROKEN


def test_swapped_submissions_and_events() -> None:
    """The order inside a block is part of what is verified."""
    block = LEDGER.blocks[2]
    check_broken(height=2, encoded=with_block(replace(block, submissions=block.submissions[::-1])))
    data: SubmissionData = LEDGER.blocks[1].submissions[0]
    swapped = replace(data, events=data.events[::-1])
    check_broken(height=1, encoded=with_block(replace(LEDGER.blocks[1], submissions=(swapped,))))


def test_leaves_in_another_order() -> None:
    """Records in another order than their events are found."""
    block = LEDGER.blocks[1]
    leaves = (block.leaves[1], block.leaves[0], *block.leaves[2:])
    check_broken(height=1, encoded=with_block(replace(block, leaves=leaves)))
