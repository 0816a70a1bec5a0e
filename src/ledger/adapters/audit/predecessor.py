"""Finds where a ledger ended: the last certified note and state root, for a genesis that continues it (SPEC R-G06).

Rule: the note is one that an audit has verified; the state root is that of the header which the note's tree ends with.
Not here: the audit (see `ledger.verify`), and the successor (see `network`).
"""

from __future__ import annotations

from ledger.blockcodec import BlockData, parse_block
from ledger.core.checkpoint import Checkpoint, parse_checkpoint_text
from ledger.core.genesis import Predecessor
from ledger.core.header import Header, parse_header
from ledger.core.note import parse_note
from ledger.errors import MalformedError, NotFoundError, VerificationError
from ledger.verify.report import Report
from ledger.verify.source import LedgerSource


def find_predecessor(source: LedgerSource, report: Report) -> Predecessor:
    """The end of `source`, which the audit `report` is about.

    Raises `VerificationError` (code `predecessor-broken`) where the audit found anything, `NotFoundError` (code
    `predecessor-uncertified`) where nothing was ever certified.
    """
    if report.findings.total:
        raise VerificationError(
            "predecessor-broken",
            "the ledger to be continued does not verify",
            source=source.name,
            findings=", ".join(sorted(report.findings.counts)),
        )
    if not report.certified_note:
        raise NotFoundError("predecessor-uncertified", "nothing of this ledger is certified", source=source.name)
    checkpoint = parse_checkpoint_text(parse_note(report.certified_note).text)
    return Predecessor(checkpoint, report.certified_note, _header(source, checkpoint).state_root)


def _header(source: LedgerSource, checkpoint: Checkpoint) -> Header:
    """The header that is the last leaf of the checkpoint's tree."""
    for piece in source.pieces():
        for encoded in piece.load().blocks:
            header = parse_header(_last_leaf(parse_block(encoded)))
            if header.index + 1 == checkpoint.size:
                return header
    raise NotFoundError("predecessor-block", "no block ends at the certified size", size=checkpoint.size)


def _last_leaf(block: BlockData) -> bytes:
    if not block.leaves:
        raise MalformedError("predecessor-block", "a block without leaves", height=block.height)
    return block.leaves[-1]
