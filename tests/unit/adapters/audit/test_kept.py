"""`ledger verify --with EXPORT`: bodies that are gone come from a kept export, by hash (R-V13)."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ledger import archiveformat as form
from ledger.adapters.audit import exporting, sources
from ledger.adapters.audit.archive import ArchiveSource
from ledger.adapters.audit.exporting import export
from ledger.adapters.audit.kept import FilledPiece, FilledSource, KeptCopy, fill_block, open_copy
from ledger.adapters.audit.sources import open_source
from ledger.adapters.sqlite.store import SqliteStore
from ledger.archiveformat import ListedFile
from ledger.blockcodec import SubmissionData, encode_block, parse_block
from ledger.core.genesis import parse_genesis
from ledger.core.leaf import Record, parse_leaf
from ledger.errors import RejectedError
from ledger.verify.source import MemoryPiece, PieceData
from tests.models.real_ledger import real_ledger
from tests.unit.cli.runner import Ran, ledger


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger, `kept` and `kept.tar` exported from it while every body was there, and `gone`: it without most of them."""
    folder = tmp_path_factory.mktemp("kept")
    real_ledger(folder / "whole", grants=2, uses=2)
    for name in ("kept", "kept.tar"):
        export(open_source(str(folder / "whole")), folder / name)
    shutil.copytree(folder / "whole", folder / "gone")
    store = SqliteStore.open(folder / "gone" / "ledger.sqlite")
    store.erase_bodies([seq for seq in records(folder / "gone") if seq % 3])
    store.close()
    return folder


def records(data_dir: Path) -> list[int]:
    """Log indexes of all records."""
    leaves = [
        leaf
        for piece in open_source(str(data_dir)).pieces()
        for data in piece.load().blocks
        for leaf in parse_block(data).leaves
    ]
    return [seq for seq, leaf in enumerate(leaves) if isinstance(parse_leaf(leaf), Record)]


def verify(kept: Path, *more: object, source: str = "gone") -> Ran:
    """One audit of the ledger, in this process."""
    origin = parse_genesis(open_source(str(kept / "whole")).genesis()).origin
    return ledger(
        "verify",
        kept / source,
        "--origin",
        origin,
        "--runtime",
        "inline",
        "--jobs",
        "1",
        "--no-remember",
        "--json",
        *more,
        home=kept,
    )


def codes(ran: Ran) -> set[str]:
    """Codes of what was not checked."""
    return {gap["code"] for gap in ran.json["not_checked"]}


@pytest.mark.parametrize(("name", "jobs"), [("kept", "1"), ("kept.tar", "2")])
def test_with_the_kept_export_everything_is_checked(kept: Path, name: str, jobs: str) -> None:
    """Without it the rules stop at the first missing body; with it every block is replayed and the verdict is intact,
    also where other processes do the checking."""
    alone = verify(kept)
    assert alone.code == 7 and {"bodies-missing", "replay-stopped"} <= codes(alone)
    missing = alone.json["counts"]["missing_bodies"]
    filled = verify(kept, "--with", kept / name, "--jobs", jobs)
    assert (filled.code, filled.json["verdict"], codes(filled)) == (0, "intact", set()), filled.out
    counts = filled.json["counts"]
    assert counts["filled_bodies"] == missing > 10 and counts["missing_bodies"] == 0
    assert counts["replayed_blocks"] == counts["blocks"] and filled.json["copies"] == [str(kept / name)]
    assert filled.json["head"] == alone.json["head"]


def test_the_report_says_where_bodies_came_from(kept: Path) -> None:
    """The text names the copy and the number, in both languages."""
    for language, word in (("en", "bodies missing here came from"), ("zh", "个正文取自")):
        ran = ledger(
            "verify",
            kept / "gone",
            "--with",
            kept / "kept",
            "--runtime",
            "inline",
            "--no-remember",
            "--lang",
            language,
            home=kept,
        )
        assert word in ran.out and str(kept / "kept") in ran.out


def damaged_copy(kept: Path, target: Path) -> Path:
    """The export with one byte of its segment flipped."""
    shutil.copytree(kept / "kept", target)
    segment = target / "segments" / "000000.gz"
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(bytes(data))
    return target


def test_a_flipped_byte_gives_no_body_and_no_finding(kept: Path, tmp_path: Path) -> None:
    """The damaged file is named; nothing of it is used; the ledger itself is found neither better nor worse."""
    ran = verify(kept, "--with", damaged_copy(kept, tmp_path / "flipped"))
    assert ran.code == 7 and ran.json["findings_total"] == 0 and ran.json["counts"]["filled_bodies"] == 0
    assert {"copy-damaged", "bodies-missing", "replay-stopped"} <= codes(ran)
    (gap,) = (gap for gap in ran.json["not_checked"] if gap["code"] == "copy-damaged")
    assert gap["file"] == "segments/000000.gz" and gap["level"] == "bodies" and gap["message"]


def test_a_second_copy_serves_where_the_first_does_not(kept: Path, tmp_path: Path) -> None:
    """Several copies are asked in turn; a damaged one limits nothing that another one has."""
    ran = verify(kept, "--with", damaged_copy(kept, tmp_path / "flipped"), "--with", kept / "kept")
    assert (ran.code, ran.json["verdict"], codes(ran)) == (0, "intact", {"copy-damaged"})


def other_words(submission: SubmissionData) -> SubmissionData:
    """The submission with one byte of each body changed."""
    events = ((head, body and body.replace(b'"', b"'", 1), digest) for head, body, digest in submission.events)
    return replace(submission, events=tuple(events))


def rewritten_copy(kept: Path, target: Path) -> Path:
    """The export with one character of every body changed and a manifest that agrees."""
    shutil.copytree(kept / "kept", target)
    source = ArchiveSource(target)
    files = dict(source.manifest.files)
    for piece in source.pieces():
        blocks = [parse_block(data) for data in piece.load().blocks]
        changed = [replace(block, submissions=tuple(map(other_words, block.submissions))) for block in blocks]
        data = form.pack(encode_block(block) for block in changed)
        (target / piece.segment).write_bytes(data)
        files[piece.segment] = ListedFile(len(data), hashlib.sha256(data).hexdigest())
    (target / "manifest.json").write_bytes(form.encode_manifest(replace(source.manifest, files=files)))
    return target


def test_a_copy_cannot_put_other_words_into_the_ledger(kept: Path, tmp_path: Path) -> None:
    """Bodies with other bytes are not taken, however well the copy agrees with itself."""
    ran = verify(kept, "--with", rewritten_copy(kept, tmp_path / "rewritten"))
    assert ran.code == 7 and ran.json["findings_total"] == 0
    assert (
        ran.json["counts"]["filled_bodies"] == 0 and "bodies-missing" in codes(ran) and "copy-damaged" not in codes(ran)
    )


def test_the_export_of_another_ledger_is_refused(kept: Path, tmp_path: Path) -> None:
    """Another ledger's export, a data directory and nothing at all are refused before anything is read; exits 1 and 3."""
    real_ledger(tmp_path / "other", grants=1, uses=1)
    export(open_source(str(tmp_path / "other")), tmp_path / "other.tar")
    for place, code, exit_code in (
        (tmp_path / "other.tar", "copy-origin", 1),
        (kept / "whole", "copy-kind", 1),
        (tmp_path / "nothing", "source", 3),
    ):
        ran = verify(kept, "--with", place)
        assert (ran.code, ran.json["error"]["code"]) == (exit_code, code), ran.out
    with pytest.raises(RejectedError):
        open_copy(str(tmp_path / "other.tar"), open_source(str(kept / "gone")))


def test_a_finding_of_the_ledger_stays_one(kept: Path, tmp_path: Path) -> None:
    """A copy repairs nothing: a changed leaf of the ledger is found with it as without."""
    target = tmp_path / "changed"
    export(open_source(str(kept / "gone")), target)
    source = ArchiveSource(target)
    files = dict(source.manifest.files)
    (piece,) = source.pieces()
    blocks = [parse_block(data) for data in piece.load().blocks]
    leaf = bytearray(blocks[-1].leaves[0])
    leaf[-40] ^= 1
    blocks[-1] = replace(blocks[-1], leaves=(bytes(leaf), *blocks[-1].leaves[1:]))
    data = form.pack(encode_block(block) for block in blocks)
    (target / piece.segment).write_bytes(data)
    files[piece.segment] = ListedFile(len(data), hashlib.sha256(data).hexdigest())
    (target / "manifest.json").write_bytes(form.encode_manifest(replace(source.manifest, files=files)))
    shutil.copytree(target, kept / "changed", dirs_exist_ok=True)
    ran = verify(kept, "--with", kept / "kept", source="changed")
    assert ran.code == 6 and ran.json["findings_total"] > 0


def test_blocks_are_found_in_segments_of_any_length(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a segment for every few leaves each block is filled from its own; a height beyond the copy has none."""
    monkeypatch.setattr(exporting, "SEGMENT_TARGET_BYTES", 2_000)
    monkeypatch.setattr(sources, "PIECE_LEAVES", 20)
    export(open_source(str(kept / "whole")), tmp_path / "many")
    copy = open_copy(str(tmp_path / "many"), open_source(str(kept / "gone")))
    assert len(copy.segments) > 2 and copy.firsts[0] == 0 and copy.damaged == ()
    whole = [data for piece in open_source(str(kept / "whole")).pieces() for data in piece.load().blocks]
    filled = FilledSource(open_source(str(kept / "gone")), [copy])
    pieces = list(filled.pieces())
    assert [data for piece in pieces for data in piece.load().blocks] == whole
    assert filled.head() == (len(whole) - 1, filled.events_hint())
    assert copy.block(len(whole)) is None and KeptCopy(copy.path, (), ()).block(0) is None


def test_what_is_no_block_stays_as_it_is(kept: Path) -> None:
    """Bytes that no block has, and blocks that miss nothing, pass unchanged: the audit itself says what they are."""
    copy = open_copy(str(kept / "kept"), open_source(str(kept / "gone")))
    assert fill_block(b"\xc1", [copy]) == (b"\xc1", 0)
    whole = next(iter(open_source(str(kept / "whole")).pieces())).load().blocks[1]
    assert fill_block(whole, [copy]) == (whole, 0)
    piece = FilledPiece(MemoryPiece("here", PieceData([b"\xc1"], [b"note"])), (copy,))
    assert piece.place == "here" and piece.load() == PieceData([b"\xc1"], [b"note"], 0)
