"""The auditor's parts by themselves, where a whole ledger would not show them: chain, admission, trust, explanations."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from typing import Any

import pytest

from ledger.adapters.audit.pool import ProcessPool
from ledger.adapters.audit.scratch import ScratchState
from ledger.core.hashing import Digest, sha256
from ledger.core.header import Header
from ledger.core.mapkeys import NS_STREAM, key_hash, object_key, value_hash
from ledger.core.merkle import EMPTY_ROOT, leaf_hash
from ledger.core.registry import genesis_registry
from ledger.errors import FatalError, MalformedError, RejectedError, RuntimeFault, UnavailableError, VerificationError
from ledger.machine.block import StateRow
from ledger.verify import check as checking
from ledger.verify import state as state_module
from ledger.verify.admission import admission_findings
from ledger.verify.certificates import BLOCKS_KEPT, Certificates
from ledger.verify.chain import Chain
from ledger.verify.check import CheckContext, check_block, check_piece
from ledger.verify.explain import DIFFERENCES_MAX, explain
from ledger.verify.findings import SHOWN_CHARS_MAX, Finding, Findings, from_error, show
from ledger.verify.leaves import read_leaves
from ledger.verify.ledger import Options, Serial, _context, verify_ledger
from ledger.verify.report import INCOMPLETE, INTACT
from ledger.verify.source import MemoryPiece, PieceData
from ledger.verify.state import MapBuilder, check_rows
from ledger.verify.trust import Trust, freshness, known_checkpoint, parse_trust
from tests.models import tiny_ledger as tiny
from tests.models.accept_all import AcceptAllRules
from tests.models.tiny_ledger import TinyLedger
from tests.unit.verify.conftest import Verify

ORIGIN = f"net.example/{'0' * 64}"


# --- findings --------------------------------------------------------------------------------------------------------


def test_values_are_shown_bounded() -> None:
    """Bytes are shown in hex, and nothing is shown longer than a line of a report can hold."""
    assert show(b"\x01\xff") == "01ff"
    assert len(show("x" * 10_000)) == SHOWN_CHARS_MAX


def test_error_becomes_a_finding_with_its_evidence() -> None:
    """Expected and got of an error stay apart; the rest of its evidence is told."""
    finding = from_error("note", "tree", VerificationError("root", "differs", expected=b"\x01", got=b"\x02", size=3))
    assert (finding.expected, finding.got) == ("01", "root: differs: 02 (size=3)")
    plain = from_error("note", "tree", VerificationError("root", "differs"))
    assert (plain.expected, plain.got) == (None, "root: differs")
    assert Finding("x", "tree", seq=1).document() == {"code": "x", "level": "tree", "seq": 1}


def test_findings_count_beyond_what_they_keep() -> None:
    """All findings count, the first hundred are kept."""
    findings = Findings()
    for number in range(150):
        findings.add(Finding("x", "tree", number))
    assert (findings.total, len(findings.kept), findings.levels["tree"]) == (150, 100, 150)


# --- chain -----------------------------------------------------------------------------------------------------------


def _header(chain: Chain, height: int, time: int, count: int, **changes: Any) -> Header:
    root = chain.log.root() if chain.log.size else EMPTY_ROOT
    header = Header(
        height, time, chain.log.size, count, chain.log.size, root, Digest(bytes(32)), 1, 0, Digest(bytes(32)),
        None if height else Digest(bytes(32)),
    )  # fmt: skip
    return replace(header, **changes)


def _leaves(count: int, seed: int = 0) -> list[Digest]:
    return [leaf_hash(f"{seed} {number}".encode()) for number in range(count)]


def test_chain_follows_blocks_and_tells_each_wrong_field() -> None:
    """Height, time, count and what the header says of the log before are compared one by one."""
    chain = Chain()
    assert chain.follow(0, 5, _header(chain, 0, 5, 0), _leaves(1), None) == []
    header = _header(chain, 1, 6, 2)
    wrong = replace(header, height=2, time=7, count=3)
    fields = [each.field for each in Chain(chain.log, 0, 5).follow(1, 6, wrong, _leaves(3), None)]
    assert fields == ["height", "time", "count"]
    moved = replace(header, prev_size=9, first_seq=9)
    assert [each.field for each in Chain(chain.log, 0, 5).follow(1, 6, moved, _leaves(3), None)] == [
        "first_seq",
        "prev.size",
    ]
    late = Chain(chain.log, 0, 50)
    assert [each.code for each in late.follow(1, 6, header, _leaves(3), None)] == ["block-time"]


def test_broken_chain_is_told_once() -> None:
    """After the tree has differed no later checkpoint is compared, and places go on as the headers say."""
    chain = Chain()
    chain.follow(0, 0, _header(chain, 0, 0, 0), _leaves(1), None)
    findings = chain.follow(1, 0, _header(chain, 1, 0, 0), _leaves(1), (5, Digest(bytes(32))))
    assert ([each.field for each in findings], chain.broken) == (["size", "root"], True)
    assert chain.follow(2, 0, _header(chain, 2, 0, 0), _leaves(1), (9, Digest(bytes(32)))) == []
    lost = _header(chain, 7, 0, 0, first_seq=100, prev_size=100)
    assert chain.expect(7, "x") is not None
    chain.follow(7, 0, lost, _leaves(1), None)
    assert (chain.log.size, chain.height) == (101, 7)


def test_previous_root_breaks_the_chain() -> None:
    """A header over another log than the one before it breaks the chain."""
    chain = Chain()
    chain.follow(0, 0, _header(chain, 0, 0, 0), _leaves(1), None)
    findings = chain.follow(1, 0, _header(chain, 1, 0, 0, prev_root=Digest(bytes(32))), _leaves(1), None)
    assert ([each.field for each in findings], chain.broken) == (["prev.root"], True)


# --- checking a piece ------------------------------------------------------------------------------------------------


def _context_of(ledger: TinyLedger, **changes: Any) -> CheckContext:
    return replace(_context(ledger.genesis, parse_leaves=False), **changes)


def test_checked_values_pickle(ledger: TinyLedger) -> None:
    """What a worker gives back survives the way to the other process, and so does what it is given."""
    context = _context_of(ledger, rules=AcceptAllRules(), parse_leaves=True)
    block = check_block(pickle.loads(pickle.dumps(context)), ledger.blocks[2], "x")
    again = pickle.loads(pickle.dumps(block))
    assert again == block
    assert again.submissions[1].plans == [("timer/a3/thing/a",)]
    assert again.facts is not None
    assert len(again.facts.leaves) == len(block.leaves) - 1


def test_key_that_was_registered_later_is_checked_where_it_is_known(ledger: TinyLedger) -> None:
    """A worker that does not know a key leaves the signature to whoever follows the registry."""
    block = check_block(_context_of(ledger, event_keys={}), ledger.blocks[1], "x")
    assert (block.findings, block.submissions[0].verified) == ([], None)
    registry = genesis_registry(ledger.genesis)
    config = ledger.app.head.config
    assert admission_findings(block, ledger.genesis, registry, config) == []
    block.submissions[0].signature = bytes(64)
    findings = admission_findings(block, ledger.genesis, registry, config)
    assert [each.code for each in findings] == ["submission-signature"]


def test_sizes_of_inputs_are_bounded(ledger: TinyLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs beyond what an engine accepts are findings, though every event is well-formed."""
    monkeypatch.setattr(checking, "SUBMISSION_EXPANDED_BYTES_MAX", 10)
    monkeypatch.setattr(checking, "BLOCK_BYTES_MAX", 10)
    block = check_block(_context_of(ledger), ledger.blocks[1], "x")
    assert [each.code for each in block.findings] == ["submission-size", "block-size"]


def test_note_of_another_network_and_lines_of_strangers(ledger: TinyLedger) -> None:
    """A block's note must be of this origin and hold lines of its log keys only."""
    other = tiny.TinyLedger(tiny.make_genesis("other.example"))
    other.block()
    for note in (other.blocks[1].note, ledger.certificates[0][1], b"noise"):
        block = check_block(_context_of(ledger), replace(ledger.blocks[1], note=note), "x")
        assert [each.code for each in block.findings] == ["note"]
        assert block.checkpoint is None


def test_piece_that_a_busy_machine_cannot_load() -> None:
    """Trouble of this machine passes through a check; trouble of the source becomes a finding."""

    class Piece(MemoryPiece):
        def load(self) -> PieceData:
            raise error

    error: Exception = UnavailableError("storage-busy")
    context = CheckContext(ORIGIN, {}, (), ())
    with pytest.raises(UnavailableError):
        check_piece(context, Piece("x", PieceData([])))
    error = FatalError("storage-damaged")
    assert [each.code for each in check_piece(context, Piece("x", PieceData([]))).findings] == ["piece-unreadable"]


def test_leaves_are_read_one_by_one(ledger: TinyLedger) -> None:
    """Malformed leaves, headers inside a block and leaves of other blocks are named; the others are read."""
    leaves = list(ledger.blocks[1].leaves)
    facts = read_leaves([leaves[-1], b"noise", leaves[0], leaves[-1]], 1)
    assert [each.field for each in facts.findings] == ["leaf 0 of 4", "leaf 1 of 4"]
    assert (len(facts.leaves), facts.header is not None) == (1, True)
    assert [each.code for each in read_leaves(leaves, 2).findings] == ["leaf-malformed"] * 2
    assert [each.code for each in read_leaves([], 2).findings] == ["header-malformed"]


# --- explanations ----------------------------------------------------------------------------------------------------


def test_explanations_name_leaf_and_field(ledger: TinyLedger) -> None:
    """Lost, unexpected, malformed and changed leaves each have their own word."""
    ours = list(ledger.blocks[1].leaves)
    assert explain(1, 1, ours, [*ours[:1], ours[-1]])[0].code == "leaf-lost"
    assert explain(1, 1, [*ours[:1], ours[-1]], ours)[0].code == "leaf-unexpected"
    assert [each.code for each in explain(1, 1, ours, [b"\x01\x01noise", *ours[1:]])] == ["leaf-differs"]
    spaced = ours[0].replace(b'"member":', b'"member": ')
    assert [each.code for each in explain(1, 1, ours, [spaced, *ours[1:]])] == ["leaf-differs"]
    assert [each.code for each in explain(1, 1, ours, [*ours[:-1], b"noise"])] == ["header"]
    assert [each.code for each in explain(1, 1, ours[-1:], [])] == ["header"]
    timer = ledger.blocks[5].leaves
    other = timer[0].replace(b'"due":1790000009000', b'"due":1790000009001')
    (finding,) = explain(5, 9, list(timer), [other, *timer[1:]])
    assert (finding.code, finding.field, finding.event) == ("timer", "due", "timer/a3/thing/a")


def test_explanations_are_bounded() -> None:
    """A block that differs everywhere gives some findings, not one for each leaf."""
    ours = [b"\x01\x01%d" % number for number in range(50)]
    theirs = [b"\x01\x01x%d" % number for number in range(50)]
    assert len(explain(1, 0, ours, theirs)) == DIFFERENCES_MAX


# --- certificates ----------------------------------------------------------------------------------------------------


def test_checkpoints_are_forgotten_after_a_while() -> None:
    """Only recent checkpoints wait for certificates, so that memory does not grow with the ledger."""
    certificates = Certificates(wall_clock=True)
    for size in range(1, BLOCKS_KEPT + 20):
        certificates.confirmed(size, 0, size, Digest(bytes(32)))
    assert len(certificates._roots) == BLOCKS_KEPT


# --- trust -----------------------------------------------------------------------------------------------------------


def _trust(**fields: Any) -> bytes:
    return json.dumps({"origin": ORIGIN, **fields}, indent=2).encode()


def test_trust_file_pins_origin_age_and_anchor(ledger: TinyLedger) -> None:
    """A trust file may hold white space, an anchor note and the age to accept; ten minutes are the default."""
    assert parse_trust(_trust()) == Trust(ORIGIN, "trust", (), 600)
    note = ledger.certificates[0][1].decode()
    trust = parse_trust(json.dumps({"origin": ledger.origin, "anchor": note, "max_age_s": 5}).encode())
    assert (trust.known[0].size, trust.known[0].source, trust.max_age_s) == (ledger.certificates[0][0], "anchor", 5)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"{}", b"\xff", b"{", b'{"origin":1}', b'{"origin":"x"}', _trust(max_age_s=0), _trust(max_age_s="5"),
        _trust(max_age_s=True), _trust(max_age_s=1.5), _trust(anchor=3), _trust(anchor="note"), _trust(unknown=1),
        b'{"origin":"%b","origin":"%b"}' % (ORIGIN.encode(), ORIGIN.encode()), b"[" * 100_000,
    ],
)  # fmt: skip
def test_other_trust_files_are_refused(data: bytes) -> None:
    """Anything but a trust file is malformed, doubled and unknown fields included."""
    with pytest.raises(MalformedError):
        parse_trust(data)


def test_anchor_of_another_network_is_refused(ledger: TinyLedger) -> None:
    """A note of another log cannot anchor this one."""
    with pytest.raises(MalformedError):
        known_checkpoint("anchor", ledger.certificates[0][1], ORIGIN)


def test_freshness_is_asked_only_where_it_was_demanded() -> None:
    """No greatest age, or no certificate at all, leaves freshness to others; a second too old is stale."""
    assert freshness(Trust(max_age_s=None), 1, 10_000_000) is None
    assert freshness(Trust(max_age_s=5), None, 10_000_000) is None
    assert freshness(Trust(max_age_s=5), 10, 15_999) is None
    assert freshness(Trust(max_age_s=5), 10, 16_000) is not None


# --- state -----------------------------------------------------------------------------------------------------------


def _header_of(rows: list[tuple[bytes, bytes]]) -> Header:
    builder = MapBuilder()
    builder.add(rows)
    root, size = builder.tree.root(), builder.tree.size
    return Header(1, 0, 1, 0, 1, EMPTY_ROOT, root, size, builder.keys, Digest(bytes(32)))


def test_rows_are_compared_batch_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any number of rows in any order gives the map's root, however they are cut into batches."""
    monkeypatch.setattr(state_module, "ROWS_BATCH", 7)
    rows = [(object_key(f"thing/{number}"), b'{"n":%d}' % number) for number in range(100)]
    header = _header_of(rows)
    with ScratchState() as scratch:
        result = check_rows(iter(rows[::-1]), header, scratch, streams=False, rows=False)
        assert (result.findings, result.rows) == ([], 100)
        twice = check_rows([*rows[1:], rows[5]], header, scratch, streams=False, rows=False)
        assert [each.field for each in twice.findings] == ["state.keys", "state.root"]
        assert check_rows([], header, scratch, streams=False, rows=False).findings


def test_streams_of_a_copy_are_those_recomputed() -> None:
    """Where streams were recomputed each of them must stand in the copy; objects count for the root only."""
    key = bytes((NS_STREAM,)) + b"\x00\x01k\x00\x01n\x00"
    rows = [(key, b"value"), (object_key("thing/1"), b"{}")]
    with ScratchState() as scratch:
        scratch.write_rows({key: StateRow(b"other", b"")})
        result = check_rows(rows, _header_of(rows), scratch, streams=True, rows=False)
        assert [(each.code, each.expected, each.got) for each in result.findings] == [("state-row", "other", "value")]
        assert (result.rows, result.streams) == (2, 1)


# --- replay ----------------------------------------------------------------------------------------------------------


def _loading(runtime: Any) -> Any:
    def load(genesis: Any, bundle: Any) -> Any:
        return replace(tiny.load_rules(genesis, bundle), runtime=runtime)

    return load


def test_runtime_that_does_not_even_start(ledger: TinyLedger, verify: Verify) -> None:
    """A worker that cannot take a call ends the replay as this machine's fault."""

    class Failing(tiny.AcceptAllRuntime):
        def start(self, call: dict[str, Any]) -> None:
            if call["height"] == 4:
                super().start(call)
            elif call["height"] > 4:
                raise RuntimeFault("runtime-start")
            else:
                super().start(call)

    report = verify(ledger, rules=_loading(Failing()))
    assert (report.verdict, report.findings.kept) == (INCOMPLETE, [])
    assert [each.code for each in report.gaps] == ["runtime-fault", "state-unavailable"]
    assert report.counts.replayed_blocks == 5


def test_running_call_is_dropped_when_the_block_before_differs(ledger: TinyLedger, verify: Verify) -> None:
    """The rules already work on the next block when the one before turns out to differ: that call is abandoned."""

    class Lying(tiny.AcceptAllRuntime):
        def run_block(self, call: dict[str, Any]) -> list[Any]:
            outcomes = super().run_block(call)
            if call["height"] == 1:
                outcomes[0][3] = b'{"outcome":"irregular"}'
            return outcomes

        def result(self) -> list[Any]:
            if self._outcomes and self._outcomes[0][3] == b'{"outcome":"refused"}':
                raise RuntimeFault("runtime-crash")
            return super().result()

    report = verify(ledger, rules=_loading(Lying()))
    assert report.findings.kept[0].code == "verdict"
    assert {each.height for each in report.findings.kept} == {1}


def test_block_that_the_machine_refuses(ledger: TinyLedger, verify: Verify) -> None:
    """What no honest engine would have decided is a finding, also when only the rules' plan shows it."""

    class Refusing(AcceptAllRules):
        def plan(self, member: str, head: Any, body: Any) -> Any:
            raise RejectedError("timers-first", "no such block")

    def load(genesis: Any, bundle: Any) -> Any:
        return replace(tiny.load_rules(genesis, bundle), rules=_Late(Refusing()))

    report = verify(ledger, rules=load)
    assert [each.code for each in report.findings.kept] == ["block-impossible"]


class _Late:
    """Rules that plan nothing while checking, and refuse when the machine plans a timer."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def plan(self, member: str, head: Any, body: Any) -> Any:
        return [*body.get("timers", {}), *body.get("writes", {})]

    def plan_timer(self, timer: Any) -> Any:
        return self.inner.plan("", {}, {})

    def successor(self, rulebook: Any, calendar: Any) -> Any:
        return self.inner.successor(rulebook, calendar)


def test_plans_made_while_checking_are_used(ledger: TinyLedger) -> None:
    """The machine is given the plans that checking made, so bodies are not read a second time."""

    class Counting(AcceptAllRules):
        calls = 0

        def plan(self, member: str, head: Any, body: Any) -> Any:
            Counting.calls += 1
            return super().plan(member, head, body)

    def load(genesis: Any, bundle: Any) -> Any:
        return replace(tiny.load_rules(genesis, bundle), rules=Counting())

    with ScratchState() as scratch:
        options = Options(Trust(ledger.origin, "origin"), ledger.now_ms)
        report = verify_ledger(ledger.source(), options, scratch, load, parallel=Serial())
    assert (report.verdict, Counting.calls) == (INTACT, report.counts.events)


# --- processes -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_check_in_order(ledger: TinyLedger) -> None:
    """A pool gives the pieces back in order; the report is the one of a single process."""
    source = ledger.source(blocks_a_piece=1)
    with ScratchState() as scratch:
        options = Options(Trust(ledger.origin, "origin"), ledger.now_ms)
        report = verify_ledger(source, options, scratch, tiny.load_rules, parallel=ProcessPool(2))
    assert (report.verdict, report.height) == (INTACT, 7)


class _Dying(MemoryPiece):
    def load(self) -> PieceData:
        import os

        os._exit(3)


@pytest.mark.slow
def test_worker_that_dies_is_this_machines_fault() -> None:
    """A worker that is killed ends the audit with an error of its own, never with a finding."""
    pool = ProcessPool(1)
    with pytest.raises(UnavailableError):
        list(pool.check(CheckContext(ORIGIN, {}, (), ()), [_Dying("x", PieceData([]))]))
    pool.close()


# --- scratch ---------------------------------------------------------------------------------------------------------


def test_scratch_that_spills_remembers_everything() -> None:
    """With caches too small for anything the scratch state still answers as one that keeps all."""
    names = [(f"m{number % 3}", f"0192f5c2-0000-7000-8000-{number:012x}") for number in range(300)]
    with ScratchState(cache_bytes=2_000) as small, ScratchState() as large:
        for scratch in (small, large):
            for start in range(0, 300, 10):
                scratch.add_events([(*name, sha256(name[1].encode())) for name in names[start : start + 10]])
                scratch.write_rows({object_key(f"a/{n}"): StateRow(b"%d" % n, b"r") for n in range(start, start + 10)})
            scratch.add_events([(*names[0], sha256(b"conflict"))])
        for wanted in (names, names[::7], names[:1]):
            assert small.find_events(wanted) == large.find_events(wanted)
        keys = [object_key(f"a/{n}") for n in range(0, 310, 3)]
        assert small.read_rows(keys) == large.read_rows(keys)
        assert len(small.find_events(names[:1])[names[0]]) == 2
        stored = "SELECT count(*) FROM events"
        assert small._db.execute(stored).fetchone()[0] > 250
        assert large._db.execute(stored).fetchone()[0] == 0


def test_scratch_without_a_place_is_told(tmp_path: Any) -> None:
    """Where no temporary file can be made the audit says so."""
    with pytest.raises((UnavailableError, OSError)):
        ScratchState(tmp_path / "missing")


def test_map_keys_of_the_tests_are_spread() -> None:
    """The keys used above hash to different places, so that more than one bucket is touched."""
    assert len({key_hash(object_key(f"thing/{n}"))[:1] for n in range(100)}) > 20
    assert value_hash(b"a") != value_hash(b"b")
