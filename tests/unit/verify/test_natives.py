"""Native commits of CometBFT as the auditor meets them: each is checked, none is needed, a wrong one is a finding."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ledger import archiveformat as form
from ledger.adapters.audit.archive import NATIVE_COMMITS, ArchiveSource
from ledger.adapters.audit.exporting import export
from ledger.adapters.audit.replayrules import rules_loader
from ledger.adapters.audit.scratch import ScratchState
from ledger.adapters.audit.sources import open_source
from ledger.adapters.home.comethome import HOME, read_keys
from ledger.adapters.sqlite.frames import Compressor
from ledger.cli.exits import Exit
from ledger.core import merkle
from ledger.core.checkpoint import app_hash
from ledger.core.engine import Engine, chain_id
from ledger.core.genesis import COMETBFT
from ledger.core.keys import CONSENSUS
from ledger.core.nativecommit import chain_id_of, parse
from ledger.core.registry import KeyEntry, Registry, genesis_registry
from ledger.errors import MalformedError, UnavailableError
from ledger.verify.findings import Finding
from ledger.verify.ledger import Options, verify_ledger
from ledger.verify.natives import Natives, chains_at
from ledger.verify.report import BROKEN, INTACT, Report
from ledger.verify.source import NativeEntry
from ledger.verify.trust import Trust
from tests.models import tiny_ledger as tiny
from tests.models.interrupted import Interrupted, Settled
from tests.models.moved import MovedLedger
from tests.models.native_commits import consensus_signer, make_commit
from tests.models.real_ledger import RealLedger, real_ledger
from tests.models.tiny_ledger import TinyLedger
from tests.unit.machine.test_validators import NOTICE, newcomer, validating
from tests.unit.verify.conftest import Verify
from tests.unit.verify.test_commands import call, document, verify_arguments

GENESIS = tiny.make_genesis(validators=tiny.MEMBERS)
CHAIN = chain_id_of(GENESIS.hash)
SIGNERS = [consensus_signer(member) for member in tiny.MEMBERS]
REGISTRY = genesis_registry(GENESIS)
ROOT = merkle.leaf_hash(b"root")


@pytest.fixture(scope="module")
def comet() -> TinyLedger:
    """The tiny ledger under CometBFT; not to be written to."""
    return tiny.tiny_ledger(GENESIS)


def entries(ledger: TinyLedger) -> list[NativeEntry]:
    """A native commit over every block."""
    return [
        (each.size, make_commit(CHAIN, app_hash(each.size, each.root), SIGNERS, height=each.height + 1).encode())
        for each in ledger.sealed
    ]


def codes(report: Report) -> list[str]:
    """Codes of findings and gaps."""
    return [*(each.code for each in report.findings.kept), *(each.code for each in report.gaps)]


@pytest.mark.parametrize("replay", [True, False])
def test_each_commit_is_checked_and_counted(comet: TinyLedger, verify: Verify, replay: bool) -> None:
    """With a commit over every block, block 0 included, nothing is missing; the rules are not needed for that."""
    report = verify(comet, replay=replay, native_entries=entries(comet))
    assert report.counts.natives == len(comet.sealed)
    assert "native-missing" not in codes(report)
    assert not report.findings.total
    assert report.level("certificates") == "checked"


def test_checkpoints_with_cosignatures_only_are_counted(comet: TinyLedger, verify: Verify) -> None:
    """A certified checkpoint without a native commit limits nothing, and is said."""
    report = verify(comet)
    assert report.verdict == INTACT
    assert [each.document() for each in report.gaps] == [
        {"code": "native-missing", "level": "certificates", "count": 2}
    ]
    certified = comet.certificates[0][0]
    report = verify(comet, native_entries=[each for each in entries(comet) if each[0] == certified])
    assert (report.counts.natives, report.gaps[0].document()["count"]) == (1, 1)


def test_a_sequencer_makes_none(ledger: TinyLedger, verify: Verify) -> None:
    """Where no CometBFT orders nothing is missing, and a commit is a finding."""
    assert codes(verify(ledger)) == []
    last = ledger.sealed[-1]
    native = make_commit(chain_id_of(ledger.genesis.hash), app_hash(last.size, last.root), SIGNERS)
    report = verify(ledger, native_entries=[(last.size, native.encode())])
    assert codes(report) == ["native"]
    assert "native-chain" in str(report.findings.kept[0].got)


def test_a_wrong_commit_under_a_valid_certificate_is_a_finding(comet: TinyLedger, verify: Verify) -> None:
    """The finding names block, size and reason, and the certificate beside it helps nothing."""
    size, root = comet.sealed[3].size, comet.sealed[3].root
    good = make_commit(CHAIN, app_hash(size, root), SIGNERS)
    other = [consensus_signer(member) for member in ("aa", "bb", "cc", "dd")]
    wrong = {
        "native-app-hash": make_commit(CHAIN, app_hash(size + 1, root), SIGNERS),
        "native-chain": make_commit("suyuan-other", app_hash(size, root), SIGNERS),
        "native-validators": make_commit(CHAIN, app_hash(size, root), other),
        "native-quorum": make_commit(CHAIN, app_hash(size, root), SIGNERS, flags=[2, 2, 1, 3]),
        "native-block": replace(good, header=replace(good.header, data_hash=ROOT)),
        "native-height": replace(good, height=good.height + 1),
        "native-vote": replace(good, round=5),
    }
    given = {name: native.encode() for name, native in wrong.items()} | {"native-commit": b'{"v":1}', "canonical": b"x"}
    for reason, data in given.items():
        changed = [(n, data if n == size else encoded) for n, encoded in entries(comet)]
        report = verify(comet, native_entries=changed)
        assert report.verdict == BROKEN
        (finding,) = report.findings.kept
        assert (finding.code, finding.height, finding.seq) == ("native", 3, size - 1)
        assert str(finding.got).startswith(reason)
        assert finding.place == f"native commit of size {size}"
        assert report.counts.natives == len(comet.sealed) - 1
        assert report.level("certificates") == "failed"


def test_commits_over_no_block_or_out_of_order_are_findings(comet: TinyLedger, verify: Verify) -> None:
    """A source may neither invent sizes nor repeat them."""
    good = entries(comet)
    data, last = good[0][1], good[-1][0]
    ends = {size for size, _ in good}
    between = next(size for size in range(1, last) if size not in ends)
    for extra, given in (
        (between, sorted([*good, (between, data)])),
        (last + 5, [*good, (last + 5, data)]),
        (0, [(0, data), *good]),
        (good[2][0], [*good, good[2]]),
    ):
        report = verify(comet, native_entries=given)
        assert [(each.code, each.got) for each in report.findings.kept] == [("native-size", str(extra))]
        assert report.counts.natives == len(good)


def test_a_source_that_breaks_off_is_a_finding(comet: TinyLedger, verify: Verify) -> None:
    """What cannot be read is said once; the rest of the audit goes on, and this machine's own trouble is raised."""

    class Broken(Sequence[NativeEntry]):
        def __init__(self, error: Exception) -> None:
            self.error = error

        def __len__(self) -> int:
            return 1

        def __getitem__(self, _index: object) -> NativeEntry:
            raise self.error

        def __iter__(self) -> Iterator[NativeEntry]:
            yield entries(comet)[0]
            raise self.error

    report = verify(comet, native_entries=Broken(MalformedError("archive", "cut off")))
    assert [each.code for each in report.findings.kept] == ["piece-unreadable"]
    assert report.counts.natives == 1
    with pytest.raises(UnavailableError):
        verify(comet, native_entries=Broken(UnavailableError("disk", "gone")))


# --- validators that change ------------------------------------------------------------------------------------------


def grown() -> Registry:
    """The registry with a fifth validator."""
    entry = KeyEntry("ga", consensus_signer("fifth").public, CONSENSUS, (), 5)
    return REGISTRY.with_key(entry)


def judged(
    signers: Sequence[object], before: Registry, after: Registry, *, followed: bool = True
) -> tuple[list[Finding], int]:
    """The findings about one commit by `signers` over a block that changed the registry, and how many hold."""
    native = make_commit(CHAIN, app_hash(9, ROOT), signers)  # type: ignore[arg-type]
    natives = Natives(GENESIS, [(9, native.encode())], lambda: None)
    return natives.confirmed(4, 9, ROOT, before, after, followed=followed), natives.count


def test_the_set_before_the_block_or_after_it_signs() -> None:
    """header(h + 1) is signed by the set before the block, later idle ones by the set after it; no other set may."""
    five = [*SIGNERS, consensus_signer("fifth")]
    assert judged(SIGNERS, REGISTRY, grown()) == ([], 1)
    assert judged(five, REGISTRY, grown()) == ([], 1)
    for signers, before, after in ((five, REGISTRY, REGISTRY), (SIGNERS, grown(), grown())):
        (finding,), count = judged(signers, before, after)
        assert "native-validators" in str(finding.got)
        assert count == 0


def test_without_governance_nothing_is_said_of_a_commit() -> None:
    """Once members and keys are not known any more a commit is passed over: it stays missing, and is no finding."""
    assert judged(SIGNERS, REGISTRY, REGISTRY, followed=False) == ([], 0)


def test_ended_and_suspended_validators_do_not_sign() -> None:
    """Who validates is what the registry says, not who once held a key."""
    entry = next(each for each in REGISTRY.keys.values() if each.member == "wj" and each.use == CONSENSUS)
    ended = REGISTRY.with_key(replace(entry, until_height=3))
    suspended = REGISTRY.with_member(replace(REGISTRY.members["wj"], status="suspended"))
    for registry in (ended, suspended):
        assert judged(SIGNERS[:3], registry, registry) == ([], 1)
        assert judged(SIGNERS, registry, registry)[1] == 0


@pytest.mark.parametrize("replay", [True, False])
def test_the_walk_over_a_change_of_validators(replay: bool) -> None:
    """A set that grew by vote signs from then on: the audit recomputes the registry, with and without rules."""
    ledger = validating()
    ledger.change("sys.member.admit", {"member": "zx"}, newcomer(ledger), cosign=True, wait_ms=NOTICE)
    for _ in range(3):
        ledger.block(ms=1_000)
    assert ledger.validators == [*tiny.MEMBERS, "zx"]
    known = {each.public.raw: each for each in (*SIGNERS, tiny.signer("zx first", CONSENSUS))}
    chain = chain_id_of(ledger.genesis.hash)
    registries = [genesis_registry(ledger.genesis)]
    registries += [each.decision.registry for each in ledger.sealed]

    def given(late: int) -> list[NativeEntry]:
        """Commits by the set before each block, or after it."""
        made = []
        for number, sealed in enumerate(ledger.sealed):
            signers = [known[key.raw] for _, key in registries[number + late].validators()]
            native = make_commit(chain, app_hash(sealed.size, sealed.root), signers, height=number + 1 + late)
            made.append((sealed.size, native.encode()))
        return made

    for late in (0, 1):
        report = ledger.verify(replay=replay, native_entries=given(late))
        assert (report.findings.kept, report.counts.natives) == ([], len(ledger.sealed))
    last = ledger.sealed[-1]
    old = make_commit(chain, app_hash(last.size, last.root), SIGNERS)
    report = ledger.verify(replay=replay, native_entries=[*given(0)[:-1], (last.size, old.encode())])
    assert [(each.code, each.height) for each in report.findings.kept] == [("native", last.height)]


def test_chain_ids_follow_the_moves() -> None:
    """Each height knows the chains that sign its state: at a seam the one before it and the one after."""
    plain = tiny.make_genesis()
    first, second = chain_id(GENESIS.origin, 0), chain_id(GENESIS.origin, 1)
    moved = Engine(COMETBFT, second, 10, 1)
    assert chains_at(GENESIS, None, 5) == [first] == [CHAIN]
    assert chains_at(plain, None, 5) == []
    assert [chains_at(GENESIS, moved, height) for height in (9, 10, 11)] == [[first], [second, first], [second]]
    assert chains_at(plain, moved, 9) == []
    assert chains_at(plain, moved, 10) == chains_at(plain, moved, 11) == [chain_id(plain.origin, 1)]


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> MovedLedger:
    """A ledger that began with the sequencer, with three certified blocks before the seam, one at it and two behind it."""
    ledger = MovedLedger(tmp_path_factory.mktemp("moved"))
    ledger.prepare()
    for _ in range(3):
        ledger.block(ms=1_000)
        ledger.certify()
    ledger.move()
    for _ in range(3):
        ledger.certify()
        ledger.block(ms=1_000)
    return ledger


@pytest.mark.parametrize("replay", [True, False])
def test_what_the_sequencer_ordered_lacks_no_native_commit(moved: MovedLedger, replay: bool) -> None:
    """SPEC R-N46: of six certified checkpoints the three from the seam on count as those that could have one."""
    assert len(moved.certificates) == 6
    report = moved.verify(replay=replay)
    assert [dict(each.details) for each in report.gaps if each.code == "native-missing"] == [{"count": 3}]
    last = moved.certificates[-1][0]
    sealed = next(each for each in moved.sealed if each.size == last)
    signers = [read_keys(folder / HOME).consensus for folder in moved.folders.values()]
    native = make_commit(chain_id(moved.origin, 1), app_hash(last, sealed.root), signers)
    report = moved.verify(replay=replay, native_entries=[(last, native.encode())])
    assert (report.findings.kept, report.counts.natives) == ([], 1)
    assert [dict(each.details) for each in report.gaps if each.code == "native-missing"] == [{"count": 2}]


@pytest.mark.parametrize("height", [2, -2])
def test_an_audit_that_goes_on_counts_the_same(moved: MovedLedger, tmp_path: Path, height: int) -> None:
    """SPEC R-N46: cut off before the seam or behind it, what lacks a native commit is counted as without the cut."""
    audit = Interrupted(tmp_path / "p", Trust(moved.origin, "origin"), moved.now_ms)
    plain = moved.source()
    source = Settled(plain.genesis_data, plain.encoded, plain.notes, bundles=plain.bundles, blocks_a_piece=1)
    assert audit.cut(source, height % len(moved.sealed))
    report = audit.go_on(source)
    assert report.resumed is not None
    assert [dict(each.details) for each in report.gaps if each.code == "native-missing"] == [{"count": 3}]


def test_what_an_earlier_run_judged_is_passed_over(comet: TinyLedger) -> None:
    """An audit that goes on in the middle takes the commits from there."""
    given = entries(comet)
    natives = Natives(GENESIS, given, lambda: None)
    natives.skip_to(given[4][0])
    sealed = comet.sealed[5]
    assert natives.confirmed(5, sealed.size, sealed.root, REGISTRY, REGISTRY) == []
    assert natives.sizes == {sealed.size}


# --- stored, exported, verified --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RealLedger:
    """A small ledger under CometBFT with the real rulebook, in a data directory."""
    return real_ledger(tmp_path_factory.mktemp("comet") / "node", grants=2, uses=1, engine=COMETBFT)


def audit(made: RealLedger, path: Path) -> Report:
    """The report on a data directory or export."""
    options = Options(Trust(made.genesis.origin, "origin"), made.app.head.time)
    with ScratchState() as scratch:
        return verify_ledger(open_source(str(path)), options, scratch, rules_loader("inline"))


@pytest.mark.parametrize("form_of", ["directory", "tar"])
def test_commits_travel_from_the_store_to_the_auditor(made: RealLedger, tmp_path: Path, form_of: str) -> None:
    """What a node stored is exported and verified; an export of the export is the same."""
    stored = list(open_source(str(made.folder)).natives())
    assert len(stored) > 3
    report = audit(made, made.folder)
    assert (report.verdict, report.counts.natives) == (INTACT, len(stored))
    target = tmp_path / ("export" if form_of == "directory" else "export.tar")
    result = export(open_source(str(made.folder)), target)
    assert result.natives == len(stored)
    assert list(ArchiveSource(target).natives()) == stored
    report = audit(made, target)
    assert (report.verdict, report.counts.natives) == (INTACT, len(stored))
    assert [(each.code, dict(each.details)) for each in report.gaps if each.code.startswith("native")] == [
        ("native-missing", {"count": 1})
    ]
    export(ArchiveSource(target), tmp_path / "again.tar")
    export(open_source(str(made.folder)), tmp_path / "first.tar")
    assert (tmp_path / "again.tar").read_bytes() == (tmp_path / "first.tar").read_bytes()


def test_an_export_ends_with_its_last_block(made: RealLedger, tmp_path: Path) -> None:
    """Commits over sizes behind the end are left out."""
    sizes = [size for size, _ in open_source(str(made.folder)).natives()]
    result = export(open_source(str(made.folder)), tmp_path / "part", last_size=sizes[2])
    assert (result.size, result.natives) == (sizes[2], 3)
    assert audit(made, tmp_path / "part").counts.natives == 3


def test_many_commits_make_many_files(comet: TinyLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits are split into files of a fixed number; their order stays."""
    assert NATIVE_COMMITS > 1_000
    monkeypatch.setattr("ledger.adapters.audit.exporting.NATIVE_COMMITS", 3)
    given = entries(comet)
    assert export(comet.source(native_entries=given), tmp_path / "export").natives == 8
    source = ArchiveSource(tmp_path / "export")
    assert source.manifest.numbered("native") == [form.file_name("native", number) for number in range(3)]
    assert list(source.natives()) == given


def test_a_forged_commit_in_a_data_directory_is_found(made: RealLedger, tmp_path: Path) -> None:
    """Exit code 6 with size and reason, in words and as JSON, while every certificate holds."""
    copy = tmp_path / "node"
    shutil.copytree(made.folder, copy)
    size, data = next(iter(open_source(str(made.folder)).natives()))
    native = parse(data)
    forged = replace(native, votes=(native.votes[0], native.votes[0], *native.votes[2:]))
    with sqlite3.connect(copy / "ledger.sqlite") as connection:
        connection.execute("UPDATE native SET data=? WHERE size=?", (Compressor().single(forged.encode()), size))
    connection.close()
    arguments = verify_arguments(copy, "--origin", made.genesis.origin)
    code, out, _ = call(*arguments, home=tmp_path)
    assert code == Exit.INTEGRITY
    assert f"native commit of size {size}" in out
    assert "native-vote" in out
    code, told = document(*arguments, home=tmp_path)
    assert code == Exit.INTEGRITY
    assert [(each["code"], each["seq"]) for each in told["findings"]] == [("native", size - 1)]
    assert told["levels"]["certificates"] == "failed"


def test_the_report_counts_commits_and_what_has_none(made: RealLedger, tmp_path: Path) -> None:
    """`ledger verify` and `ledger export archive` say how many there are, in both languages."""
    total = len(list(open_source(str(made.folder)).natives()))
    code, out, _ = call("export", "archive", str(tmp_path / "out"), "--from", str(made.folder), home=tmp_path)
    assert code == Exit.OK
    assert f"{total} commits of CometBFT" in out
    for lang, line, missing in (
        ("en", f"{total} checkpoints also by its own commits", "1 certified checkpoint has cosignatures only"),
        ("zh", f"{total} 个检查点另有其原生提交证明", "1 个已认证检查点只有联署"),
    ):
        code, out, _ = call(
            *verify_arguments(tmp_path / "out", "--origin", made.genesis.origin), home=tmp_path, lang=lang
        )
        assert code == Exit.OK
        assert line in out
        assert missing in out


def test_items_of_an_export_carry_their_size() -> None:
    """An item is the size in eight bytes and the commit; a shorter one is malformed."""
    assert form.parse_native(form.encode_native(7, b"x")) == (7, b"x")
    assert form.encode_native(258, b"") == bytes(6) + b"\x01\x02"
    for short in (b"", bytes(7)):
        with pytest.raises(MalformedError):
            form.parse_native(short)
