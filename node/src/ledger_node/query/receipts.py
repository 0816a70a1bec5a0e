"""Receipts: one self-contained file that shows an event in the log with its verdict, checkable years later with no node.

Rule: by default a receipt stands on the latest certificate, whose state also shows the registration of the signing key, so
that nothing is left unchecked; the first certificate that covered the event shows the earliest time instead, and leaves the
key to what the verifier knows. Not here: the form of a receipt (see `ledger.core.proofreceipt`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from ledger.adapters.sqlite.snapshot import StoredLeaf
from ledger.core import merkle
from ledger.core.hashing import Digest
from ledger.core.leaf import Record, parse_leaf
from ledger.core.merkle import Node as TreeNode
from ledger.core.merkle import inclusion_nodes, prove_inclusion
from ledger.core.proof import EpochEnd, Receipt, Registration, SubmissionPart
from ledger.errors import FatalError, LedgerError, NotFoundError, UnavailableError
from ledger_node.query.epochs import prove_epochs
from ledger_node.query.outcome import Outcome
from ledger_node.query.ports import Node
from ledger_node.query.proving import inclusion_path, prove_registration
from ledger_node.query.standing import Standing, standing


def receipts_of(node: Node, outcomes: Sequence[Outcome]) -> list[list[bytes] | LedgerError]:
    """The receipt files of each submission's events, in order, or why there are none; every event is certified.

    All stand on one certificate, and what they share is read once. Reads the database.
    """
    made: list[list[bytes] | LedgerError] = []
    with standing(node) as found:
        maker = _Maker(found)
        wanted = [[event.seq for event in outcome.events if event is not None] for outcome in outcomes]
        with suppress(LedgerError):  # then each reads for itself, and says itself what is wrong with it
            maker.read([seq for seqs in wanted for seq in seqs])
        for seqs in wanted:
            try:
                made.append(maker.make(seqs))
            except LedgerError as error:
                made.append(error)
    return made


def make_receipts(found: Standing, seqs: Sequence[int], *, first: bool = False) -> list[bytes]:
    """The receipt files of the records at these log indexes.

    With `first` each stands on the first certificate that covered it. Raises `UnavailableError` where an event is not
    certified yet, `NotFoundError` where its body is no longer here.
    """
    return _Maker(found).make(seqs, first=first)


class _Maker:
    """Receipts under one certified state; keys' registrations and the ends of epochs are proven once."""

    def __init__(self, found: Standing) -> None:
        self._found = found
        self._registrations: dict[Digest, Registration] = {}
        self._epochs = prove_epochs(found)
        self._leaves: dict[int, StoredLeaf] = {}
        self._nodes: dict[TreeNode, Digest] = {}

    def read(self, seqs: Sequence[int]) -> None:
        """Read at once what the receipts of these records need: leaves of one block lie together, and most nodes of their
        paths are the same. What is not certified yet is left out."""
        found = self._found
        known = sorted({seq for seq in seqs if seq < found.size})
        leaves = {stored.seq: stored for stored in found.snap.leaves(known)}
        self._nodes = found.snap.log_nodes({node for seq in known for node in inclusion_nodes(seq, found.size)})
        self._leaves = leaves

    def make(self, seqs: Sequence[int], *, first: bool = False) -> list[bytes]:
        """See `make_receipts`."""
        found, parts, receipts = self._found, dict[tuple[int, int], _Submission](), list[bytes]()
        here = [self._leaves[seq] for seq in seqs if seq in self._leaves]
        for stored in here if len(here) == len(seqs) else found.snap.leaves(seqs):
            receipts.append(self._one(stored, parts, first=first))
        return receipts

    def _one(self, stored: StoredLeaf, parts: dict[tuple[int, int], _Submission], *, first: bool) -> bytes:
        found = self._found
        if stored.seq >= found.size:
            raise UnavailableError("uncertified", "recorded, but not certified yet", seq=stored.seq, retry_after_s=1)
        record = parse_leaf(stored.leaf)
        if not isinstance(record, Record) or stored.place is None:
            raise FatalError("leaf", "an event's leaf is no record", seq=stored.seq)
        place = (record.height, stored.place[0])
        if place not in parts:
            parts[place] = _Submission(found, *place)
        part = parts[place].part(stored.place[1])
        if first:
            size, note = _first_certificate(found, stored.seq)
            return _receipt(found, stored, part, inclusion_path(found, stored.seq, size), note, size)
        if record.key_id not in self._registrations:
            self._registrations[record.key_id] = prove_registration(found, record.key_id)
        registration = self._registrations[record.key_id]
        path = (
            prove_inclusion(stored.seq, found.size, self._nodes)
            if stored.seq in self._leaves
            else inclusion_path(found, stored.seq, found.size)
        )
        return _receipt(found, stored, part, path, found.state.note, found.size, registration, self._epochs)


def _receipt(
    found: Standing,
    stored: StoredLeaf,
    part: SubmissionPart,
    path: Sequence[Digest],
    note: bytes,
    size: int,
    registration: Registration | None = None,
    epochs: tuple[EpochEnd, ...] | None = None,
) -> bytes:
    if stored.head is None or (stored.body is None and stored.body_hash is None):
        raise NotFoundError("body-archived", "the body of this event is no longer here", seq=stored.seq)
    return Receipt(
        certificate=note,
        head=stored.head,
        body=stored.body,
        body_hash=stored.body_hash,
        submission=part,
        index=stored.seq,
        record=stored.leaf,
        path=tuple(path),
        registration=registration,
        epochs=prove_epochs(found, size) if epochs is None else epochs,
    ).encode()


def _first_certificate(found: Standing, seq: int) -> tuple[int, bytes]:
    stored = found.snap.certificates.least(seq + 1)
    # The newest certificate may not be written yet.
    return stored if stored is not None and stored[0] <= found.size else (found.size, found.state.note)


class _Submission:
    """One submission's tree, from which every event's path to the signature is read."""

    def __init__(self, found: Standing, height: int, number: int) -> None:
        _, _, self._signature, self._count, hashes = found.snap.submission_of(height, number)
        tree, levels = merkle.EMPTY_RANGE.grow(hashes)
        self._root = tree.root()
        self._nodes = {
            (level, first + offset): digest
            for level, (first, row) in enumerate(levels)
            for offset, digest in enumerate(row)
        }

    def part(self, index: int) -> SubmissionPart:
        """Where the event at `index` stands."""
        path = merkle.prove_inclusion(index, self._count, self._nodes)
        return SubmissionPart(index, self._count, self._root, tuple(path), self._signature)
