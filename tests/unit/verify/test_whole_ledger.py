"""A whole ledger under audit: what is intact, what is incomplete and why, and what is said in each case."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ledger.blockcodec import BlockData, SubmissionData, encode_block
from ledger.core.hashing import Digest, sha256
from ledger.errors import MalformedError, NotFoundError, RuntimeFault, UnavailableError, VerificationError
from ledger.verify.findings import LEVELS, gap
from ledger.verify.report import BROKEN, CHECKED, INCOMPLETE, INTACT, NOT_CHECKED, PARTLY
from ledger.verify.source import MemoryPiece, PieceData
from ledger.verify.trust import REMEMBERED, Known, Trust, known_checkpoint
from tests.models import tiny_ledger as tiny
from tests.models.tiny_ledger import MEMBERS, TinyLedger, TinySource, make_genesis, tiny_ledger
from tests.unit.verify.conftest import Verify


def codes(report: Any) -> list[str]:
    """The gaps' codes."""
    return [each.code for each in report.gaps]


def found(report: Any) -> list[str]:
    """The findings' codes."""
    return [each.code for each in report.findings.kept]


def test_intact_ledger_is_intact_at_every_level(ledger: TinyLedger, verify: Verify) -> None:
    """A ledger with conflicts, duplicates, timers and a revoked key verifies completely, and the counts say so."""
    report = verify(ledger)
    assert (report.verdict, report.gaps, found(report)) == (INTACT, [], [])
    assert {report.level(name) for name in LEVELS} == {CHECKED}
    counts = report.counts
    assert (counts.blocks, counts.events, counts.timers, counts.certificates) == (8, 9, 1, 2)
    assert counts.replayed_blocks == counts.blocks
    assert (report.height, report.size, report.runtime) == (7, ledger.app.head.size, "test")
    assert report.root == ledger.app.head.log.root().hex()
    assert report.last_certified is not None
    assert report.last_certified.cosigners == sorted(MEMBERS)


def test_pieces_and_caches_do_not_matter(ledger: TinyLedger, verify: Verify) -> None:
    """One block a piece, all in one, and caches that spill at once give the same report."""
    reports = [
        verify(ledger, blocks_a_piece=1),
        verify(ledger, blocks_a_piece=100),
        verify(ledger, cache_bytes=1, rows=ledger.state()),
    ]
    assert {report.verdict for report in reports} == {INTACT}
    assert len({report.state_root for report in reports}) == 1


def test_copy_of_the_state_is_compared_row_by_row(ledger: TinyLedger, verify: Verify) -> None:
    """After a replay a source's state must be the recomputed one, no row more, fewer or other."""
    rows = ledger.state()
    assert verify(ledger, rows=rows).counts.state_rows == len(rows)
    changed = [(key, value + b" ") if at == 3 else (key, value) for at, (key, value) in enumerate(rows)]
    assert found(verify(ledger, rows=changed)) == ["state-row"]
    assert found(verify(ledger, rows=rows[1:])) == ["state-copy"]
    assert found(verify(ledger, rows=[*rows, (b"\x02more", b"value")]))[0] == "state-row"


def test_without_replay_the_rest_is_checked_and_said(ledger: TinyLedger, verify: Verify) -> None:
    """Without rules all other levels hold, and replay and state are named as not checked."""
    report = verify(ledger, replay=False)
    assert (report.verdict, codes(report)) == (INCOMPLETE, ["replay-off", "state-unavailable"])
    assert (report.level("replay"), report.level("state"), report.level("leaves")) == (
        NOT_CHECKED,
        NOT_CHECKED,
        CHECKED,
    )
    assert report.counts.timers == 1


def test_without_replay_a_copy_of_the_state_gives_streams_and_root(ledger: TinyLedger, verify: Verify) -> None:
    """Streams follow from leaves and heads: with a copy of the state they are recomputed, objects only hashed."""
    report = verify(ledger, replay=False, rows=ledger.state())
    assert (report.verdict, codes(report)) == (INCOMPLETE, ["replay-off", "objects-not-recomputed"])
    assert report.level("state") == PARTLY


def test_twin_of_a_record_follows_from_its_outcome(verify: Verify) -> None:
    """Which twin of a stream a record joins is written in its verdict, so no rule is needed to recompute streams."""

    class Unresolved(tiny.AcceptAllRuntime):
        def run_block(self, call: dict[str, Any]) -> list[Any]:
            outcomes = super().run_block(call)
            for outcome in outcomes:
                outcome[5] = not outcome[5]
            return outcomes

    ledger = TinyLedger()
    ledger.app.runtime = Unresolved()
    ledger.block(ledger.submission("ga", [ledger.event(refs={"dataset": "ga/x"}), ledger.event(refuse=True)]))
    ledger.certify()
    report = verify(ledger, replay=False, rows=ledger.state())
    assert (report.verdict, found(report)) == (INCOMPLETE, [])


@pytest.mark.parametrize("at", range(0, 35, 4))
def test_without_replay_a_changed_row_is_found(ledger: TinyLedger, verify: Verify, at: int) -> None:
    """A changed row of the copy breaks the root that the last header names, objects included."""
    rows = ledger.state()
    key, value = rows[at]
    rows[at] = (key, bytes([*value[:-1], 0]) if value else b"x")
    assert "state-copy" in found(verify(ledger, replay=False, rows=rows))


def test_origin_that_nobody_pinned_is_said(ledger: TinyLedger, verify: Verify) -> None:
    """The source's own word on its origin is no proof of it: incomplete, with the origin to pin."""
    report = verify(ledger, trust=Trust())
    assert (report.verdict, codes(report)) == (INCOMPLETE, ["origin-not-pinned"])
    assert dict(report.gaps[0].details) == {"origin": ledger.origin}


def test_other_network_is_refused_before_anything_else(ledger: TinyLedger, verify: Verify) -> None:
    """A ledger of another origin than the pinned one is a finding, and nothing of it is read."""
    report = verify(ledger, trust=Trust(f"other.example/{'0' * 64}", "origin"))
    assert (report.verdict, found(report), report.counts.blocks) == (BROKEN, ["origin"], 0)


def test_genesis_that_does_not_hold(ledger: TinyLedger, verify: Verify) -> None:
    """A changed genesis is a finding; so is a valid one of another network whose blocks do not follow from it."""
    assert found(verify(ledger, genesis_data=ledger.genesis.data[:-1])) == ["genesis"]
    other = make_genesis("other.example")
    report = verify(ledger, genesis_data=other.data, trust=Trust(other.origin, "origin"))
    assert report.verdict == BROKEN


def test_simulated_time_is_said_and_limits_nothing(verify: Verify) -> None:
    """A network with a scenario clock is intact, and the report says that its times are simulated."""
    ledger = tiny_ledger(make_genesis(clock="scenario"))
    report = verify(ledger)
    assert (report.verdict, report.clock, codes(report)) == (INTACT, "scenario", ["simulated-time"])


# --- certificates, freshness, what was seen before ------------------------------------------------------------------


def test_without_certificates_nobody_vouches(ledger: TinyLedger, verify: Verify) -> None:
    """A ledger without certificate is incomplete at that level."""
    report = verify(ledger, notes=[])
    assert (report.verdict, codes(report), report.level("certificates")) == (
        INCOMPLETE,
        ["no-certificate"],
        NOT_CHECKED,
    )


def test_tail_without_certificate_is_counted(ledger: TinyLedger, verify: Verify) -> None:
    """Leaves behind the last certificate are counted as not certified."""
    report = verify(ledger, notes=[ledger.certificates[0][1]])
    assert codes(report) == ["uncertified-tail"]
    assert dict(report.gaps[0].details) == {"leaves": ledger.app.head.size - ledger.certificates[0][0]}


def test_two_of_four_are_no_quorum(verify: Verify) -> None:
    """Too few cosignatures certify nothing: that is said, but it is no finding."""
    ledger = TinyLedger()
    ledger.block(ledger.submission("ga", [ledger.event()]))
    ledger.certify(MEMBERS[:2])
    report = verify(ledger)
    assert (report.verdict, codes(report)) == (INCOMPLETE, ["certificate-short", "no-certificate"])


def test_certificate_of_another_tree_is_a_finding(ledger: TinyLedger, verify: Verify) -> None:
    """A valid certificate over another root at one of our sizes shows a changed or forked history."""
    other = TinyLedger()
    other.block(other.submission("ga", [other.event(note="another history"), other.event()]))
    assert other.app.head.size == ledger.sealed[1].size
    note = other.certify()
    report = verify(ledger, notes=[note])
    assert found(report) == ["certificate-root"]


def test_certificate_over_no_block_is_a_finding(ledger: TinyLedger, verify: Verify) -> None:
    """A certificate over a size at which no block ends, or beyond the head, is a finding."""
    other = TinyLedger()
    other.block(other.submission("ga", [other.event() for _ in range(40)]))
    assert found(verify(ledger, notes=[other.certify()])) == ["certificate-size"]
    small = TinyLedger()
    small.block()
    assert small.app.head.size == 2
    assert found(verify(ledger, notes=[small.certify()])) == ["certificate-size"]


def test_quorum_before_block_time_is_a_finding(verify: Verify) -> None:
    """Under a wall clock no quorum signs a block long before its time."""
    ledger = TinyLedger()
    ledger.block(ledger.submission("ga", [ledger.event()]))
    ledger.certify(time_s=ledger.app.head.time // 1000 - 60)
    assert found(verify(ledger)) == ["certificate-time"]


def test_old_certificate_is_stale_where_freshness_is_asked(ledger: TinyLedger, verify: Verify) -> None:
    """With a greatest age the newest certificate must be young enough; without one its age is no matter."""
    late = ledger.now_ms + 3_600_000
    trust = Trust(ledger.origin, "trust", max_age_s=600)
    assert codes(verify(ledger, trust=trust, now_ms=late)) == ["stale"]
    assert verify(ledger, trust=trust).verdict == INTACT
    assert verify(ledger, now_ms=late).verdict == INTACT


def test_remembered_checkpoint_must_be_part_of_the_ledger(ledger: TinyLedger, verify: Verify) -> None:
    """A checkpoint of an earlier audit agrees, or shows another history, or shows that something newer is withheld."""
    note = ledger.certificates[0][1]
    known = known_checkpoint(REMEMBERED, note, ledger.origin)
    report = verify(ledger, trust=Trust(ledger.origin, "remembered", (known,)))
    assert (report.verdict, report.agreed) == (INTACT, [("remembered", known.size)])
    forged = replace(known, root=Digest(bytes(32)))
    assert found(verify(ledger, trust=Trust(ledger.origin, "remembered", (forged,)))) == ["history-differs"]
    between = replace(known, size=known.size + 1)
    assert "history-differs" in found(verify(ledger, trust=Trust(ledger.origin, "remembered", (between,))))
    larger = Known(REMEMBERED, 1_000, Digest(bytes(32)), note)
    report = verify(ledger, trust=Trust(ledger.origin, "remembered", (larger,)))
    assert (report.verdict, codes(report)) == (INCOMPLETE, ["behind"])


# --- rules ----------------------------------------------------------------------------------------------------------


def _raising(error: Exception) -> Any:
    def load(*_: Any) -> Any:
        raise error

    return load


@pytest.mark.parametrize("error", [NotFoundError("bundle"), MalformedError("rulebook", "another language")])
def test_rules_that_cannot_be_had_are_a_gap(ledger: TinyLedger, verify: Verify, error: Exception) -> None:
    """A missing bundle or one that this software cannot compile leaves the rules out, and nothing else."""
    report = verify(ledger, rules=_raising(error))
    assert (report.verdict, codes(report)) == (INCOMPLETE, ["rules-unavailable", "state-unavailable"])
    assert report.runtime == ""


def test_bundle_with_another_hash_is_a_finding(ledger: TinyLedger, verify: Verify) -> None:
    """A rulebook that is not the one the genesis names is a finding."""
    assert found(verify(ledger, rules=_raising(VerificationError("bundle-hash")))) == ["bundle"]


def test_other_program_is_a_gap_not_a_finding(ledger: TinyLedger, verify: Verify) -> None:
    """Where this software compiles the rulebook to another program the rules are not replayed; the rest is checked."""

    def load(genesis: Any, bundle: Any) -> Any:
        loaded = tiny.load_rules(genesis, bundle)
        return replace(loaded, config=replace(loaded.config, program=sha256(b"another compiler")))

    report = verify(ledger, rules=load)
    assert (report.verdict, codes(report)) == (INCOMPLETE, ["rules-unavailable", "state-unavailable"])


def test_failing_runtime_is_this_machines_fault(ledger: TinyLedger, verify: Verify) -> None:
    """A rule runtime that fails stops the replay with a gap, never with a finding."""

    class Failing(tiny.AcceptAllRuntime):
        def result(self) -> list[Any]:
            raise RuntimeFault("runtime-crash")

    def load(genesis: Any, bundle: Any) -> Any:
        return replace(tiny.load_rules(genesis, bundle), runtime=Failing())

    report = verify(ledger, rules=load)
    assert (report.verdict, codes(report)) == (INCOMPLETE, ["runtime-fault", "state-unavailable"])
    assert (report.height, report.counts.replayed_blocks) == (7, 1)


def test_other_verdict_is_found_and_the_rest_goes_on(ledger: TinyLedger, verify: Verify) -> None:
    """Rules that decide otherwise than was recorded are a finding that names leaf, event and both verdicts."""

    class Refusing(tiny.AcceptAllRuntime):
        def run_block(self, call: dict[str, Any]) -> list[Any]:
            outcomes = super().run_block(call)
            if call["height"] == 2:
                outcomes[1][3:6] = [b'{"outcome":"refused","reasons":[["R1","late",{}]]}', 0, True]
            return outcomes

    def load(genesis: Any, bundle: Any) -> Any:
        return replace(tiny.load_rules(genesis, bundle), runtime=Refusing())

    report = verify(ledger, rules=load)
    finding = report.findings.kept[0]
    assert (finding.code, finding.level, finding.height, finding.field) == ("verdict", "replay", 2, "verdict")
    assert finding.seq == ledger.sealed[2].header.first_seq + 1
    assert finding.event is not None
    assert finding.event.startswith("mz/")
    assert '"refused"' in str(finding.expected)
    assert '"accepted"' in str(finding.got)
    assert "replay-stopped" in codes(report)
    assert (report.height, report.counts.certificates) == (7, 2)


# --- missing bodies -------------------------------------------------------------------------------------------------


def _without_body(block: BlockData, submission: int, event: int) -> BlockData:
    data = block.submissions[submission]
    events = [(h, None if at == event else b, d) for at, (h, b, d) in enumerate(data.events)]
    changed = SubmissionData(data.member, data.key_id, data.signature, tuple(events))
    submissions = [changed if at == submission else each for at, each in enumerate(block.submissions)]
    return replace(block, submissions=tuple(submissions))


@pytest.mark.parametrize("height", [1, 2, 6, 7])
def test_missing_body_stops_the_replay_only(ledger: TinyLedger, verify: Verify, height: int) -> None:
    """An erased body leaves every hash and signature checkable; the replay ends there, which is said."""
    blocks = [_without_body(each, 0, 0) if each.height == height else each for each in ledger.blocks]
    report = verify(ledger, encoded=[encode_block(block) for block in blocks])
    assert (report.verdict, found(report)) == (INCOMPLETE, [])
    assert codes(report) == ["replay-stopped", "bodies-missing", "state-unavailable"]
    assert dict(report.gaps[0].details) == {"height": height, "reason": "bodies-missing"}
    assert (report.counts.missing_bodies, report.counts.replayed_blocks) == (1, height)
    assert report.level("signatures") == CHECKED


def test_streams_are_recomputed_across_missing_bodies(ledger: TinyLedger, verify: Verify) -> None:
    """Streams need heads and leaves only, so they are compared although the replay ended half way."""
    blocks = [_without_body(each, 0, 0) if each.height == 4 else each for each in ledger.blocks]
    encoded = [encode_block(block) for block in blocks]
    report = verify(ledger, encoded=encoded, rows=ledger.state())
    assert (report.verdict, found(report)) == (INCOMPLETE, [])
    assert "objects-not-recomputed" in codes(report)


# --- sources that do not give what they should ----------------------------------------------------------------------


def test_fewer_blocks_than_claimed(ledger: TinyLedger, verify: Verify) -> None:
    """A source that ends before the head it claims is a finding."""
    encoded = [encode_block(block) for block in ledger.blocks[:6]]
    report = verify(ledger, encoded=encoded, notes=[ledger.certificates[0][1]], claimed_head=(7, 17))
    assert (found(report), report.findings.kept[0].height) == (["block-missing"], 6)
    head = (7, ledger.app.head.size)
    assert verify(ledger, claimed_head=head).verdict == INTACT
    assert found(verify(ledger, claimed_head=(7, head[1] + 1))) == ["manifest"]
    assert found(verify(ledger, claimed_head=(6, head[1]))) == ["manifest"]


def test_source_that_cannot_be_read_is_a_finding(ledger: TinyLedger, verify: Verify) -> None:
    """A piece that turns out to be damaged is a finding with its place, and later pieces are still checked."""

    class Damaged(TinySource):
        def pieces(self) -> Any:
            for number, piece in enumerate(super().pieces()):
                yield _Broken() if number == 1 else piece

    class _Broken(MemoryPiece):
        def __init__(self) -> None:
            super().__init__("the middle", PieceData([]))

        def load(self) -> PieceData:
            raise MalformedError("archive", "cut off")

    report = _run(ledger, Damaged)
    assert (report.findings.kept[0].code, report.findings.kept[0].place) == ("piece-unreadable", "the middle")
    assert "block-missing" in found(report)
    assert report.counts.blocks == 5


def test_trouble_of_this_machine_is_no_finding(ledger: TinyLedger) -> None:
    """A disk that is full or a node that is away says nothing about the ledger: the audit itself fails."""

    class Away(TinySource):
        def pieces(self) -> Any:
            raise UnavailableError("node-unreachable")

    with pytest.raises(UnavailableError):
        _run(ledger, Away)


def test_what_only_the_source_can_check_is_reported(ledger: TinyLedger) -> None:
    """Findings and gaps of the source's own checks stand in the report."""

    class Inspecting(TinySource):
        def inspect(self) -> Any:
            yield gap("bodies-missing", "bodies", count=3)

    assert codes(_run(ledger, Inspecting)) == ["bodies-missing"]


def _run(ledger: TinyLedger, kind: type[TinySource]) -> Any:
    from ledger.adapters.audit.scratch import ScratchState
    from ledger.verify.ledger import Options, verify_ledger

    plain = ledger.source()
    source = kind(plain.genesis_data, plain.encoded, plain.notes)
    with ScratchState() as scratch:
        return verify_ledger(source, Options(Trust(ledger.origin, "origin"), ledger.now_ms), scratch, tiny.load_rules)


def test_report_document_is_plain_and_complete(ledger: TinyLedger, verify: Verify) -> None:
    """The JSON document names verdict, levels, counts, what was not checked, and both certified checkpoints."""
    document = verify(ledger, trust=Trust()).document()
    assert document["verdict"] == INCOMPLETE
    assert document["not_checked"] == [{"code": "origin-not-pinned", "level": "tree", "origin": ledger.origin}]
    assert set(document["levels"]) == set(LEVELS)
    assert document["certified"]["first"]["size"] == ledger.certificates[0][0]
    assert (document["counts"]["events"], document["findings_total"]) == (9, 0)


def test_progress_is_told_after_each_block(ledger: TinyLedger) -> None:
    """Whoever asked is told height and leaves after each block."""
    from ledger.adapters.audit.scratch import ScratchState
    from ledger.verify.ledger import Options, verify_ledger

    seen: list[tuple[int, int]] = []
    with ScratchState() as scratch:
        verify_ledger(
            ledger.source(), Options(Trust(), 0), scratch, tiny.load_rules, progress=lambda h, n: seen.append((h, n))
        )
    assert [height for height, _ in seen] == list(range(8))
    assert seen[-1][1] == ledger.app.head.size
