"""Blocks read back as they are exchanged, also after bodies were erased."""

from __future__ import annotations

from pathlib import Path

from ledger.adapters.audit.exporting import export
from ledger.adapters.audit.replayrules import rules_loader
from ledger.adapters.audit.scratch import ScratchState
from ledger.adapters.audit.sources import open_source
from ledger.adapters.sqlite.reader import SqliteReader
from ledger.adapters.sqlite.store import SqliteStore
from ledger.adapters.sqlite.stored import read_block
from ledger.blockcodec import encode_block, parse_block
from ledger.core.event import event_hash_parts
from ledger.core.hashing import sha256
from ledger.core.leaf import Record, parse_leaf
from ledger.verify.ledger import Options, verify_ledger
from ledger.verify.report import INCOMPLETE, INTACT, Report
from ledger.verify.trust import Trust
from tests.models.real_ledger import RealLedger, real_ledger


def audit(made: RealLedger, path: Path) -> Report:
    """The auditor's report on what lies at `path`."""
    with ScratchState() as scratch:
        options = Options(Trust(made.genesis.origin, "origin"), made.app.head.time)
        return verify_ledger(open_source(str(path)), options, scratch, rules_loader("inline"))


def test_erased_bodies_leave_a_ledger_that_checks(tmp_path: Path) -> None:
    """After bodies are erased their hashes travel along: directory and export are incomplete by them, and not broken."""
    made = real_ledger(tmp_path / "node")
    assert audit(made, made.folder).verdict == INTACT
    store = SqliteStore.open(made.folder / "ledger.sqlite")
    reader = SqliteReader(made.folder / "ledger.sqlite")
    with reader.snapshot() as snap:
        head = snap.block(snap.head_height)
        seqs = range(head.first_seq, head.first_seq + 2)
        before = read_block(snap, head.height)
    assert store.erase_bodies(seqs) == 2
    store.close()
    with reader.snapshot() as snap:
        after = parse_block(encode_block(read_block(snap, head.height)))
        records = [parse_leaf(leaf) for leaf in after.leaves]
    reader.close()
    gone = [event for submission in after.submissions for event in submission.events if event[1] is None]
    kept = [event for submission in before.submissions for event in submission.events][:2]
    assert [event[2] for event in gone] == [sha256(body) for _, body, _ in kept if body is not None]
    hashes = {record.event_hash for record in records if isinstance(record, Record)}
    assert all(event_hash_parts(sha256(event_head), body_hash) in hashes for event_head, _, body_hash in gone)
    assert after.leaves == before.leaves
    export(open_source(str(made.folder)), tmp_path / "export")
    for path in (made.folder, tmp_path / "export"):
        report = audit(made, path)
        assert (report.verdict, report.counts.missing_bodies) == (INCOMPLETE, 2), report.findings.kept
