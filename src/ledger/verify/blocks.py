"""Joins checked blocks into one ledger: replays them where possible, and checks what remains where not.

Rule: the first finding or missing body ends the replay at that block, and everything that does not need the rules goes on:
signers and times, leaves against events, the index of events, tree and header, governance, streams.
Not here: what a block says alone (see `check`), and the end of the ledger (see `ledger`).
"""

from __future__ import annotations

from ledger.core import canonical
from ledger.core.config import Config
from ledger.core.event import Event, parse_head
from ledger.core.genesis import Genesis
from ledger.core.hashing import Digest
from ledger.core.header import Header
from ledger.core.keys import EVENT
from ledger.core.registry import KeyEntry, Registry, genesis_registry
from ledger.core.submission import signed_message
from ledger.errors import RejectedError, RuntimeFault
from ledger.limits import EVENT_PAST_MAX_MS
from ledger.machine import governance
from ledger.machine.admit import NEW, Admitted
from ledger.machine.block import Head, Sealed
from ledger.verify.certificates import Certificates
from ledger.verify.chain import Chain
from ledger.verify.check import CheckedBlock, CheckedSubmission, leaf_hashes, signature_finding
from ledger.verify.findings import BYTES, LEAVES, REPLAY, SIGNATURES, STATE, Finding, from_error, gap, show
from ledger.verify.leaves import Matched, match_leaves, read_leaves
from ledger.verify.replay import LoadedRules, Replay, compare
from ledger.verify.report import Report
from ledger.verify.scratch import Scratch
from ledger.verify.state import StreamBook


class BlockAudit:
    """All blocks of one ledger in order; writes into `report`."""

    def __init__(
        self,
        genesis: Genesis,
        loaded: LoadedRules | None,
        replay: LoadedRules | None,
        scratch: Scratch,
        report: Report,
        certificates: Certificates,
        known: object,
    ) -> None:
        raise NotImplementedError
