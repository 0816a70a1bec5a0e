"""An interrupted audit goes on: the same report as without the interruption, and nothing weaker however files change."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.adapters.audit.progressfile import DIGEST_BYTES, MAGIC, ProgressFile
from ledger.adapters.audit.scratch import ScratchState
from ledger.blockcodec import encode_block
from ledger.errors import ConflictError
from ledger.verify.report import BROKEN, INCOMPLETE, INTACT
from ledger.verify.trust import Known, Trust
from tests.models.epoch_proofs import Changed
from tests.models.governed import NEW_RULEBOOK
from tests.models.interrupted import Cut, Interrupted, Settled, same
from tests.models.tiny_ledger import TinyLedger

ONCE = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def settled(ledger: TinyLedger, blocks: int = 1, **changes: Any) -> Settled:
    """The ledger's source, `blocks` a piece."""
    plain = ledger.source(**changes)
    return Settled(plain.genesis_data, plain.encoded, plain.notes, bundles=plain.bundles, blocks_a_piece=blocks)


@pytest.fixture
def audit(ledger: TinyLedger, tmp_path: Path) -> Interrupted:
    """Audits of the tiny ledger."""
    return Interrupted(tmp_path / "audit.progress", Trust(ledger.origin, "origin"), ledger.now_ms)


@pytest.fixture(scope="module")
def changed() -> tuple[TinyLedger, dict[str, Any]]:
    """A ledger with a new rulebook, a new key and two changes of its cosigners; what its source needs beside it."""
    made = Changed()
    args, attachment = made.ledger.bundle_args(NEW_RULEBOOK)
    made.ledger.change("sys.rulebook.publish", {}, args, attachments=(attachment,))
    made.block()
    made.ledger.record("ga", made.ledger.event(timers={"timer/a3/thing/a": made.ledger.app.head.time + 10**9}))
    made.block()
    return made.ledger, {"notes": list(made.notes.values())}


# --- the same report -------------------------------------------------------------------------------------------------


@ONCE
@given(blocks=st.integers(1, 3), cuts=st.lists(st.integers(0, 7), min_size=1, max_size=3))
def test_any_cuts_give_the_report_of_one_run(
    ledger: TinyLedger, audit: Interrupted, blocks: int, cuts: list[int]
) -> None:
    """However often and wherever an audit is cut off, it ends with verdict, counts and levels of one that was not."""
    source = settled(ledger, blocks)
    whole = audit.run(source)
    assert (whole.verdict, whole.resumed) == (INTACT, None)
    left = [audit.cut(source, height) for height in cuts]
    report = audit.go_on(source)
    assert same(report) == same(whole)
    assert (report.resumed is not None) == left[-1]
    assert report.certified_note == whole.certified_note
    assert not audit.path.exists(), "an audit that ended leaves nothing"


@pytest.mark.parametrize("blocks", [1, 4])
def test_governed_ledger_goes_on_at_every_block(
    changed: tuple[TinyLedger, dict[str, Any]], tmp_path: Path, blocks: int
) -> None:
    """Rulebook, keys, cosigners, epochs and armed timers of the cut are those that later blocks need."""
    ledger, parts = changed
    audit = Interrupted(tmp_path / "p", Trust(ledger.origin, "origin"), ledger.now_ms)
    source = settled(ledger, blocks, **parts)
    whole = audit.run(source)
    assert whole.verdict == INTACT, (whole.findings.kept, whole.gaps)
    resumed = 0
    for height in range(1, len(ledger.blocks)):
        resumed += audit.cut(source, height)
        assert same(audit.go_on(source)) == same(whole), height
    assert resumed > len(ledger.blocks) // 2
    assert set(audit.told) == {"continues"}


def test_report_says_what_an_earlier_run_found(ledger: TinyLedger, audit: Interrupted) -> None:
    """Height, size, events and time of the point stand in the document; a run from the start has none."""
    source = settled(ledger)
    assert audit.cut(source, 4)
    document = audit.go_on(source).document()["resumed"]
    assert document.pop("time") > 0
    assert document == {"height": 3, "size": ledger.sealed[3].size, "events": 5}
    assert audit.run(source).document()["resumed"] is None


def test_known_checkpoints_are_compared_in_every_run(ledger: TinyLedger, audit: Interrupted) -> None:
    """An anchor below the point is looked for again: what was trusted then binds nobody now."""
    source = settled(ledger)
    assert audit.cut(source, 6)
    sealed = ledger.sealed[2]
    good = Known("anchor", sealed.size, sealed.root, b"note")
    audit.trust = replace(audit.trust, known=(good,))
    report = audit.go_on(source)
    assert (report.resumed is not None, [size for _, size in report.agreed]) == (True, [sealed.size])
    assert audit.cut(source, 6)
    audit.trust = replace(audit.trust, known=(replace(good, root=ledger.sealed[1].root),))
    report = audit.go_on(source)
    assert [each.code for each in report.findings.kept] == ["history-differs"]
    assert report.resumed is not None


# --- a source that changes -------------------------------------------------------------------------------------------


@ONCE
@given(data=st.data())
def test_tampered_source_gives_the_findings_of_one_run(ledger: TinyLedger, audit: Interrupted, data: Any) -> None:
    """A byte changed before or after the cut is found as a run from the start finds it."""
    source = settled(ledger)
    assert audit.cut(source, data.draw(st.integers(1, 7)))
    encoded = list(source.encoded)
    number = data.draw(st.integers(0, len(encoded) - 1))
    at = data.draw(st.integers(0, len(encoded[number]) - 1))
    flipped = bytearray(encoded[number])
    flipped[at] ^= 1 << data.draw(st.integers(0, 7))
    encoded[number] = bytes(flipped)
    other = replace(source, encoded=encoded)
    report = audit.go_on(other)
    wanted = Interrupted(audit.path, audit.trust, audit.now_ms).run(other)
    assert same(report) == same(wanted)
    assert report.verdict == BROKEN


@pytest.mark.parametrize("part", ["notes", "fewer", "order"])
def test_changed_pieces_before_the_cut_begin_anew(ledger: TinyLedger, audit: Interrupted, part: str) -> None:
    """Another certificate, a piece less or another order of blocks is other content, which is said."""
    source = settled(ledger)
    assert audit.cut(source, 6)
    other = {
        "notes": replace(source, notes=source.notes[1:]),
        "fewer": replace(source, encoded=source.encoded[:4], notes=source.notes[:1]),
        "order": replace(source, encoded=[source.encoded[0], *source.encoded[2:1:-1], *source.encoded[1:2]]),
    }[part]
    report = audit.go_on(other)
    assert audit.told == ["continues", "other-content"]
    assert report.resumed is None


def test_findings_are_never_taken_over(ledger: TinyLedger, audit: Interrupted) -> None:
    """The point stays before the first finding, so that a run that goes on finds it again."""
    source = settled(ledger)
    blocks = list(source.encoded)
    bad = replace(ledger.blocks[3], time=ledger.blocks[3].time + 1)
    blocks[3] = encode_block(bad)
    other = replace(source, encoded=blocks)
    whole = audit.run(other)
    assert whole.verdict == BROKEN
    assert audit.cut(other, 7)
    report = audit.go_on(other)
    assert report.resumed is not None and report.resumed.height == 2
    assert same(report) == same(whole)


def test_missing_body_ends_the_saving(ledger: TinyLedger, audit: Interrupted) -> None:
    """From the first block on that cannot be replayed the last point stays."""
    source = settled(ledger)
    block = ledger.blocks[4]
    data = block.submissions[0]
    ((head, _, body_hash),) = data.events
    gone = replace(block, submissions=(replace(data, events=((head, None, body_hash),)),))
    other = replace(source, encoded=[*source.encoded[:4], encode_block(gone), *source.encoded[5:]])
    whole = audit.run(other)
    assert whole.verdict == INCOMPLETE
    assert audit.cut(other, 7)
    report = audit.go_on(other)
    assert report.resumed is not None and report.resumed.height == 3
    assert same(report) == same(whole)


# --- a progress file that changes ------------------------------------------------------------------------------------


@ONCE
@given(at=st.integers(0, 1 << 20), bit=st.integers(0, 7), signed=st.booleans())
def test_flipped_byte_in_the_file_is_never_believed(
    ledger: TinyLedger, audit: Interrupted, at: int, bit: int, signed: bool
) -> None:
    """A flipped byte means a run from the start; one in the state does so too where the file's digest is made to fit."""
    source = settled(ledger)
    assert audit.cut(source, 6)
    data = bytearray(audit.path.read_bytes())
    first = len(MAGIC)
    if signed:  # beyond question and point, which nothing but the digest covers as a whole
        for _ in range(2):
            first += 4 + int.from_bytes(data[first : first + 4], "big") - 1
    place = first + at % (len(data) - first - (DIGEST_BYTES if signed else 0))
    data[place] ^= 1 << bit
    if signed:
        data[-DIGEST_BYTES:] = sha256(data[:-DIGEST_BYTES]).digest()
    audit.path.write_bytes(data)
    report = audit.go_on(source)
    assert report.resumed is None, place
    assert audit.told[-1] in ("damaged", "other-question", "other-content", "other-state")
    assert same(report) == same(audit.run(source))


@pytest.mark.parametrize("length", [0, 1, 100, -1, -40])
def test_cut_file_begins_anew(ledger: TinyLedger, audit: Interrupted, length: int) -> None:
    """What a full disk or a power cut may leave is passed over with a word."""
    source = settled(ledger)
    assert audit.cut(source, 6)
    audit.path.write_bytes(audit.path.read_bytes()[:length] if length else b"")
    if length == 1:
        with pytest.raises(ConflictError):
            audit.run(source)
        return
    report = audit.go_on(source)
    assert (report.verdict, report.resumed) == (INTACT, None)
    assert audit.told[-1] == "damaged"


def test_other_question_begins_anew(ledger: TinyLedger, audit: Interrupted) -> None:
    """Another runtime asks another question, and so does another network."""
    source = settled(ledger)
    assert audit.cut(source, 6)
    audit.runtime = "another"
    assert audit.go_on(source).resumed is None
    assert audit.told == ["other-question"]


def test_fresh_passes_over_what_is_there(ledger: TinyLedger, audit: Interrupted) -> None:
    """Who asks for a run from the start gets one, without a word."""
    source = settled(ledger)
    assert audit.cut(source, 6)
    report = audit.run(source, fresh=True)
    assert (report.resumed, audit.told) == (None, [])


# --- the file --------------------------------------------------------------------------------------------------------


def test_file_is_private_and_whole(ledger: TinyLedger, audit: Interrupted) -> None:
    """Only its owner may read it, and nothing is left beside it."""
    assert audit.cut(settled(ledger), 6)
    assert audit.path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in audit.path.parent.iterdir()] == [audit.path.name]


def test_file_of_somebody_else_is_not_touched(ledger: TinyLedger, audit: Interrupted) -> None:
    """A file that holds no progress is refused before anything is read."""
    audit.path.write_bytes(b"my only copy")
    with pytest.raises(ConflictError, match="resume-file"):
        audit.run(settled(ledger))
    assert audit.path.read_bytes() == b"my only copy"


def test_disk_that_refuses_ends_the_saving_only(ledger: TinyLedger, tmp_path: Path) -> None:
    """Where nothing can be written the audit says so once and goes on."""
    (tmp_path / "file").write_bytes(b"")
    audit = Interrupted(tmp_path / "file" / "p", Trust(ledger.origin, "origin"), ledger.now_ms)
    assert audit.run(settled(ledger)).verdict == INTACT
    assert audit.told == ["unwritable"]


def test_saving_takes_a_small_share_of_the_time(ledger: TinyLedger, tmp_path: Path) -> None:
    """The next save comes after five seconds, and after forty times as long as the last one took."""
    now = [0.0]
    with ScratchState() as scratch:
        keeper = ProgressFile(tmp_path / "p", scratch, clock=lambda: now[0])
        assert not keeper.due()
        now[0] = 5.0
        assert keeper.due()
        slow = keeper._write
        keeper._write = lambda *arguments: (slow(*arguments), now.__setitem__(0, now[0] + 2.0))[0]  # type: ignore[method-assign]
        audit = Interrupted(tmp_path / "q", Trust(ledger.origin, "origin"), ledger.now_ms)
        assert audit.cut(settled(ledger), 3)
        from ledger.adapters.audit.progressfile import _Reader
        from ledger.verify.resume import parse_point

        with audit.path.open("rb") as file:
            reader = _Reader(file)
            reader.item()
            keeper.save(parse_point(reader.item()))
        now[0] = 86.0
        assert not keeper.due()
        now[0] = 87.0
        assert keeper.due()


def test_cut_is_not_an_error_of_the_audit(ledger: TinyLedger, audit: Interrupted) -> None:
    """The model itself: an audit that is cut off raises, before the first point it leaves nothing."""
    with pytest.raises(Cut):
        audit.run(settled(ledger), 0)
    assert not audit.path.exists()
