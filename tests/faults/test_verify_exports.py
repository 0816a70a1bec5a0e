"""Exports and data directories that were damaged or forged: found, named, and never a way out of their folder."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.adapters.audit.archive import ArchiveSource, ArchiveWriter
from ledger.adapters.audit.exporting import export
from ledger.adapters.audit.replayrules import rules_loader
from ledger.adapters.audit.scratch import ScratchState
from ledger.adapters.audit.sources import open_source
from ledger.archiveformat import TAR_BLOCK
from ledger.errors import ConflictError, FatalError, LedgerError, MalformedError, NotFoundError, UnavailableError
from ledger.verify.ledger import Options, verify_ledger
from ledger.verify.report import BROKEN, INCOMPLETE, INTACT, Report
from ledger.verify.source import UnopenedError
from ledger.verify.trust import Trust
from tests.models.real_ledger import RealLedger, real_ledger

FLIPS_A_FILE = 12


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RealLedger:
    """A small ledger in a data directory."""
    return real_ledger(tmp_path_factory.mktemp("real") / "node")


@pytest.fixture(scope="module")
def exports(made: RealLedger, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same ledger as directory (with a copy of the state) and as tar."""
    folder = tmp_path_factory.mktemp("exports")
    paths = {"directory": folder / "export", "tar": folder / "export.tar"}
    for path in paths.values():
        export(open_source(str(made.folder)), path, state=True)
    return paths


def audit(made: RealLedger, path: Path, *, replay: bool = True) -> Report | LedgerError:
    """The report, or the error with which the source did not even open."""
    options = Options(Trust(made.genesis.origin, "origin"), made.app.head.time, replay)
    try:
        source = open_source(str(path))
    except LedgerError as error:
        return error
    with ScratchState() as scratch:
        return verify_ledger(source, options, scratch, rules_loader("inline"))


def refused(outcome: Report | LedgerError) -> bool:
    """Whether the auditor found something wrong, or refused the source as such."""
    return not isinstance(outcome, UnavailableError) and (isinstance(outcome, LedgerError) or outcome.verdict == BROKEN)


@pytest.mark.parametrize("form", ["directory", "tar"])
def test_export_verifies_with_rules_and_state(made: RealLedger, exports: dict[str, Path], form: str) -> None:
    """Directory and tar hold the whole ledger: everything is recomputed, the copy of the state included."""
    report = audit(made, exports[form])
    assert isinstance(report, Report)
    assert (report.verdict, report.gaps) == (INTACT, [])
    assert report.counts.state_rows > 100
    assert report.counts.certificates == 2


def test_data_directory_verifies(made: RealLedger) -> None:
    """A data directory verifies too, its hash tiles and indexes included."""
    report = audit(made, made.folder)
    assert isinstance(report, Report)
    assert (report.verdict, report.gaps) == (INTACT, [])


def test_directory_and_tar_hold_the_same_bytes(made: RealLedger, exports: dict[str, Path]) -> None:
    """One ledger gives one export: the same files, byte for byte, in both forms."""
    first, second = ArchiveSource(exports["directory"]), ArchiveSource(exports["tar"])
    assert first.manifest == second.manifest
    assert first.manifest.origin == made.genesis.origin
    for name in first.files.names():
        assert first.files.read(name, 1 << 26) == second.files.read(name, 1 << 26)


def test_export_of_an_export_is_the_same(exports: dict[str, Path], tmp_path: Path) -> None:
    """Exporting an export changes nothing."""
    export(ArchiveSource(exports["tar"]), tmp_path / "again.tar", state=True)
    assert (tmp_path / "again.tar").read_bytes() == exports["tar"].read_bytes()


def test_export_up_to_a_certified_size(made: RealLedger, tmp_path: Path) -> None:
    """An export may end at any block; it then holds the certificates up to there and verifies."""
    source = open_source(str(made.folder))
    first = next(iter(source.pieces())).load().certificates[0]
    size = int(first.split(b"\n")[1])
    result = export(source, tmp_path / "part", last_size=size)
    assert (result.size, result.certificates) == (size, 1)
    report = audit(made, tmp_path / "part")
    assert isinstance(report, Report)
    assert (report.verdict, report.size) == (INTACT, size)


def test_flipped_bytes_of_every_file_of_a_directory(made: RealLedger, exports: dict[str, Path], tmp_path: Path) -> None:
    """A byte flipped in any file of an export is found."""
    copy = tmp_path / "copy"
    shutil.copytree(exports["directory"], copy)
    chance = random.Random(1)
    for path in sorted(each for each in copy.rglob("*") if each.is_file()):
        data = path.read_bytes()
        for at in {0, len(data) - 1, *chance.sample(range(len(data)), min(FLIPS_A_FILE, len(data)))}:
            changed = bytearray(data)
            changed[at] ^= 1 << chance.randrange(8)
            path.write_bytes(bytes(changed))
            assert refused(audit(made, copy, replay=False)), f"byte {at} of {path.name}"
        path.write_bytes(data)


def test_flipped_bytes_of_a_tar(made: RealLedger, exports: dict[str, Path], tmp_path: Path) -> None:
    """A byte flipped anywhere in a tar, headers and padding included, is found."""
    data = exports["tar"].read_bytes()
    copy = tmp_path / "copy.tar"
    chance = random.Random(2)
    for at in {0, 150, 300, TAR_BLOCK - 1, len(data) - 1, *chance.sample(range(len(data)), 60)}:
        changed = bytearray(data)
        changed[at] ^= 1 << chance.randrange(8)
        copy.write_bytes(bytes(changed))
        assert refused(audit(made, copy, replay=False)), f"byte {at}"


def test_cut_and_grown_tars(made: RealLedger, exports: dict[str, Path], tmp_path: Path) -> None:
    """A tar that is cut anywhere, or has bytes behind its end, is refused."""
    data = exports["tar"].read_bytes()
    copy = tmp_path / "copy.tar"
    for changed in (b"", data[:100], data[:-1], data[:-TAR_BLOCK], data[: len(data) // 2], data + b"\0", data + data):
        copy.write_bytes(changed)
        assert refused(audit(made, copy, replay=False)), f"{len(changed)} bytes"


def test_every_missing_file_is_noticed(made: RealLedger, exports: dict[str, Path], tmp_path: Path) -> None:
    """Any file taken out of an export is missed; a bundle leaves the rules out, everything else is a finding."""
    for name in ArchiveSource(exports["directory"]).files.names():
        copy = tmp_path / name.replace("/", "-")
        shutil.copytree(exports["directory"], copy)
        (copy / name).unlink()
        outcome = audit(made, copy)
        if name.startswith("bundles/"):
            assert isinstance(outcome, Report)
            assert outcome.verdict in (BROKEN, INCOMPLETE)
        else:
            assert refused(outcome), name


def test_file_that_the_manifest_does_not_list(made: RealLedger, exports: dict[str, Path], tmp_path: Path) -> None:
    """Something laid beside the listed files is named."""
    copy = tmp_path / "copy"
    shutil.copytree(exports["directory"], copy)
    (copy / "segments" / "notes.txt").write_text("read me")
    outcome = audit(made, copy, replay=False)
    assert isinstance(outcome, Report)
    assert [(each.code, each.place) for each in outcome.findings.kept] == [("file-unlisted", "segments/notes.txt")]


@pytest.mark.parametrize("name", ["genesis.json", "segments/000000.gz", "manifest.json"])
def test_links_are_not_followed(made: RealLedger, exports: dict[str, Path], tmp_path: Path, name: str) -> None:
    """A link in place of a file is refused, even when the right bytes lie behind it."""
    copy = tmp_path / "copy"
    shutil.copytree(exports["directory"], copy)
    (copy / name).rename(tmp_path / "elsewhere")
    (copy / name).symlink_to(tmp_path / "elsewhere")
    assert refused(audit(made, copy, replay=False))


def test_linked_folder_is_named(made: RealLedger, exports: dict[str, Path], tmp_path: Path) -> None:
    """A link to another folder inside an export is named, and not walked through."""
    copy = tmp_path / "copy"
    shutil.copytree(exports["directory"], copy)
    (copy / "more").symlink_to(tmp_path)
    outcome = audit(made, copy, replay=False)
    assert isinstance(outcome, Report)
    assert [each.place for each in outcome.findings.kept] == ["more"]


def test_pipe_in_place_of_a_file_does_not_hang(made: RealLedger, exports: dict[str, Path], tmp_path: Path) -> None:
    """A special file is refused without being opened."""
    copy = tmp_path / "copy"
    shutil.copytree(exports["directory"], copy)
    (copy / "genesis.json").unlink()
    os.mkfifo(copy / "genesis.json")
    assert refused(audit(made, copy, replay=False))


def test_huge_file_is_refused_unread(made: RealLedger, exports: dict[str, Path], tmp_path: Path) -> None:
    """A file larger than any segment may be is refused by its size (a hole: it takes no disk here)."""
    copy = tmp_path / "copy"
    shutil.copytree(exports["directory"], copy)
    with (copy / "segments" / "000000.gz").open("r+b") as file:
        file.truncate(1 << 40)
    assert refused(audit(made, copy, replay=False))


def test_what_is_no_ledger_is_not_found(tmp_path: Path) -> None:
    """An empty folder or a missing path is no source; another file is a malformed export."""
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(NotFoundError):
            open_source(str(path))
    (tmp_path / "file").write_bytes(b"x" * 2_000)
    with pytest.raises(MalformedError):
        open_source(str(tmp_path / "file"))


# --- writing --------------------------------------------------------------------------------------------------------


def test_existing_targets_are_never_touched(tmp_path: Path) -> None:
    """A target that exists is refused, unless it is an empty directory."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").write_text("x")
    (tmp_path / "file.tar").write_text("x")
    for name in ("full", "file.tar"):
        with pytest.raises(ConflictError):
            ArchiveWriter(tmp_path / name)
    (tmp_path / "empty").mkdir()
    ArchiveWriter(tmp_path / "empty").abandon()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["empty", "file.tar", "full"]


@pytest.mark.parametrize("name", ["out", "out.tar"])
def test_failed_export_leaves_nothing(made: RealLedger, tmp_path: Path, name: str) -> None:
    """An export that fails half way leaves no file behind, neither at its place nor beside it."""

    class Failing(ArchiveSource):
        def __init__(self) -> None:
            self.inner = open_source(str(made.folder))

        def genesis(self) -> bytes:
            return self.inner.genesis()

        def bundle(self, digest: object) -> bytes:
            raise NotFoundError("bundle")

        def pieces(self) -> Iterator[object]:
            yield from self.inner.pieces()
            raise UnavailableError("node-unreachable")

    with pytest.raises(UnavailableError):
        export(Failing(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_unwritable_place_is_told(made: RealLedger, tmp_path: Path) -> None:
    """A place that cannot be written is an error with its path."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(UnavailableError):
        export(open_source(str(made.folder)), tmp_path / "file" / "out")


# --- data directories -----------------------------------------------------------------------------------------------


def test_flipped_bytes_of_a_database(made: RealLedger, tmp_path: Path) -> None:
    """A byte flipped in a page that holds content is found; pages without content are skipped by comparing the dump."""
    import sqlite3

    source = made.folder / "ledger.sqlite"
    with sqlite3.connect(source) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        content = "\n".join(connection.iterdump())
    data = source.read_bytes()
    folder = tmp_path / "node"
    folder.mkdir()
    chance = random.Random(3)
    for at in chance.sample(range(100, len(data)), 40):
        changed = bytearray(data)
        changed[at] ^= 1 << chance.randrange(8)
        (folder / "ledger.sqlite").write_bytes(bytes(changed))
        if refused(audit(made, folder, replay=False)):
            continue
        with sqlite3.connect(folder / "ledger.sqlite") as connection:
            assert "\n".join(connection.iterdump()) == content, f"byte {at} changed the content unnoticed"


def packed(made: RealLedger) -> bytes:
    """The database in one file."""
    import sqlite3

    source = made.folder / "ledger.sqlite"
    with sqlite3.connect(source) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return source.read_bytes()


def stored(made: RealLedger, sql: str) -> list[tuple[int, bytes]]:
    """(number, bytes) of stored rows."""
    import sqlite3

    with sqlite3.connect(made.folder / "ledger.sqlite") as connection:
        return [(number, bytes(data)) for number, data in connection.execute(sql)]


def flip_stored(made: RealLedger, folder: Path, rows: list[bytes]) -> Path:
    """A copy of the data directory with one bit changed in each of these stored values."""
    data = bytearray(packed(made))
    for row in rows:
        data[data.index(row[:60]) + min(len(row), 60) // 2] ^= 0x20
    folder.mkdir(exist_ok=True)
    (folder / "ledger.sqlite").write_bytes(bytes(data))
    return folder


OWNER = "(SELECT max(height) FROM blocks WHERE first_seq <= seq)"


@pytest.mark.parametrize("replay", [True, False])
@pytest.mark.parametrize("part", ["blocks", "records", "bodies"])
def test_the_changed_block_is_named_and_no_other(made: RealLedger, tmp_path: Path, part: str, replay: bool) -> None:
    """SPEC R-V11: a byte changed in a stored block is found, every finding names that block, and all others are read."""
    sql = "SELECT height, data FROM blocks" if part == "blocks" else f"SELECT {OWNER}, data FROM {part}"
    rows = stored(made, sql)
    for height, row in (rows[0], rows[len(rows) // 2], rows[-1]) if not replay else (rows[len(rows) // 3],):
        report = audit(made, flip_stored(made, tmp_path / "node", [row]), replay=replay)
        assert isinstance(report, Report)
        assert {each.height for each in report.findings.kept} == {height}, report.findings.kept
        assert report.findings.kept[0].place == f"block {height}"
        assert report.counts.blocks == made.app.head.height, "a healthy block was not read"


def test_two_changed_blocks_are_both_named(made: RealLedger, tmp_path: Path) -> None:
    """Behind a block that cannot be read the search goes on: a second one is named too."""
    rows = dict(stored(made, f"SELECT {OWNER}, data FROM records"))
    report = audit(made, flip_stored(made, tmp_path / "node", [rows[2], rows[5]]), replay=False)
    assert isinstance(report, Report)
    assert {each.height for each in report.findings.kept} == {2, 5}


def test_a_changed_block_among_several_pieces(
    made: RealLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of later pieces are not accused of the one that is missing before them."""
    from ledger.adapters.audit import sources

    monkeypatch.setattr(sources, "PIECE_LEAVES", 50)
    for height, row in stored(made, "SELECT height, data FROM blocks")[::3]:
        report = audit(made, flip_stored(made, tmp_path / "node", [row]), replay=False)
        assert isinstance(report, Report)
        assert {each.height for each in report.findings.kept} == {height}


def test_a_changed_certificate_accuses_no_block(made: RealLedger, tmp_path: Path) -> None:
    """A stored certificate that cannot be read is named by its size; every block is read, the other certificate counts."""
    for size, row in stored(made, "SELECT size, data FROM certificates"):
        report = audit(made, flip_stored(made, tmp_path / "node", [row]))
        assert isinstance(report, Report)
        assert {each.height for each in report.findings.kept} == {None}
        assert report.findings.kept[0].place == f"certificate {size}"
        assert (report.counts.blocks, report.counts.certificates) == (made.app.head.height + 1, 1)


def test_a_changed_hash_tile_accuses_no_block(made: RealLedger, tmp_path: Path) -> None:
    """A hash tile that differs is named alone: neither blocks nor certificates nor streams, which are sound."""
    for _, row in stored(made, "SELECT level, hashes FROM tiles WHERE tree=0"):
        report = audit(made, flip_stored(made, tmp_path / "node", [row]), replay=False)
        assert isinstance(report, Report)
        assert [(each.code, each.height) for each in report.findings.kept] == [("storage", None)]
        assert "hash tile" in (report.findings.kept[0].got or "")


def test_the_changed_file_of_an_export_is_named_and_no_other(
    made: RealLedger, exports: dict[str, Path], tmp_path: Path
) -> None:
    """SPEC R-V11: each file of an export is reported under its own name, certificates beside their segment too."""
    copy = tmp_path / "copy"
    shutil.copytree(exports["directory"], copy)
    names = {path: path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
    for path, name in names.items():
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes((data[-1] ^ 1,)))
        if name == "manifest.json":
            with pytest.raises(UnopenedError):
                open_source(str(copy))
        else:
            report = audit(made, copy, replay=False)
            assert isinstance(report, Report)
            assert {each.place for each in report.findings.kept} <= {name, None}, name
            assert any(each.place == name for each in report.findings.kept), name
            heights = {each.height for each in report.findings.kept} - {None}
            assert heights <= {0} if name in ("genesis.json", "segments/000000.gz") else not heights, name
            if name.startswith("certificates/"):
                assert report.counts.blocks == made.app.head.height + 1
        path.write_bytes(data)


def test_with_kept_bodies_the_changed_block_is_named(
    made: RealLedger, exports: dict[str, Path], tmp_path: Path
) -> None:
    """Bodies from a kept export do not hide a block that cannot be read."""
    from ledger.adapters.audit.kept import FilledSource, open_copy

    height, row = stored(made, f"SELECT {OWNER}, data FROM records")[2]
    source = open_source(str(flip_stored(made, tmp_path / "node", [row])))
    filled = FilledSource(source, [open_copy(str(exports["directory"]), source)])
    options = Options(Trust(made.genesis.origin, "origin"), made.app.head.time, replay=False)
    with ScratchState() as scratch:
        report = verify_ledger(filled, options, scratch, rules_loader("inline"))
    assert {each.height for each in report.findings.kept} == {height}


def test_a_damaged_directory_is_not_exported(made: RealLedger, tmp_path: Path) -> None:
    """What an audit leaves out no export leaves out: a block that cannot be read ends it, and nothing is written."""
    _, row = stored(made, f"SELECT {OWNER}, data FROM records")[2]
    source = open_source(str(flip_stored(made, tmp_path / "node", [row])))
    with pytest.raises(FatalError):
        export(source, tmp_path / "out")
    assert [each.name for each in tmp_path.iterdir()] == ["node"]
