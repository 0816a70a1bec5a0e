"""Which cosigners sign which checkpoint, as a running node follows changes of the set (SPEC R-G20, R-G21).

Rules: the checkpoint of an epoch's last block is signed by the set that leaves; what comes after it by the next one, and
only by a node that holds the leaving set's certificate over that block. Not here: how a set is voted on (see `machine`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ledger.adapters.sqlite.snapshot import Snapshot
from ledger.core.genesis import Genesis
from ledger.core.hashing import Digest, lp, parse_hex_digest
from ledger.core.header import parse_header
from ledger.core.keys import COSIGN
from ledger.core.mapkeys import NS_OBJECT, parse_object_value
from ledger.core.proposal import ENACTED, Proposal, parse_proposal
from ledger.core.quorum import Cosigner
from ledger.core.registry import Registry
from ledger.machine.changes import SET_CHANGE

PREFIX = bytes((NS_OBJECT,)) + lp(b"sys-proposal")
PAGE = 1_000


@dataclass(slots=True)
class EpochEnd:
    """The last block of an epoch: its checkpoint with the log-signed note, and the set that certifies it.

    `certified` says that this node holds that certificate, `kept` that it is known to stand in the store.
    """

    height: int
    size: int
    root: Digest
    note: bytes
    cosigners: tuple[Cosigner, ...]
    certified: bool = False
    kept: bool = False


@dataclass(slots=True)
class Epochs:
    """All sets so far; `cosigners` is the newest. Used under its owner's lock."""

    cosigners: tuple[Cosigner, ...]
    ends: list[EpochEnd] = field(default_factory=list)

    def at(self, size: int) -> tuple[Cosigner, ...]:
        """The set that signs the checkpoint of `size`."""
        for end in self.ends:
            if size <= end.size:
                return end.cosigners
        return self.cosigners

    def pending(self) -> EpochEnd | None:
        """The first epoch whose end is not certified yet: nothing behind it may be signed."""
        return next((end for end in self.ends if not end.certified), None)

    def allowed(self, size: int) -> bool:
        """Whether the set of `size` has been adopted under the certificate of the one before."""
        end = self.pending()
        return end is None or size <= end.size

    def certified(self, size: int) -> None:
        """A certificate over the checkpoint of `size` is at hand."""
        for end in self.ends:
            if end.size == size:
                end.certified = True


def read_epochs(snap: Snapshot, genesis: Genesis, registry: Registry) -> Epochs:
    """The epochs of a stored ledger: the genesis' set, and every change that took effect, by the proposals in the state."""
    epochs = Epochs(tuple((member, key.public) for member, key in genesis.keys(COSIGN)))
    for proposal in sorted(_changes(snap), key=lambda each: each.height or 0):
        height = (proposal.height or 0) - 1
        block = snap.block(height)
        size = parse_header(block.header_leaf).index + 1
        held = snap.certificates.of(size) is not None
        # The root is the note's own: the store keeps what was log-signed, and the head was verified against it. A node
        # that joined later may have no note for the block (SPEC R-N21), and takes the root of its own tree.
        root = _root(block.note) if block.note else snap.root_at(size)
        epochs.ends.append(EpochEnd(height, size, root, block.note, epochs.cosigners, held))
        named = [(member, parse_hex_digest(key)) for member, key in proposal.args["cosigners"]]
        epochs.cosigners = registry.cosigner_keys(tuple(named))
    return epochs


def _root(note: bytes) -> Digest:
    from ledger.core.checkpoint import parse_checkpoint_text
    from ledger.core.note import parse_note

    return parse_checkpoint_text(parse_note(note).text).root


def _changes(snap: Snapshot) -> Sequence[Proposal]:
    """Changes of the set that took effect, in any order."""
    found: list[Proposal] = []
    after: bytes | None = None
    while True:
        rows = snap.rows_with_prefix(PREFIX, after, PAGE)
        for key, row in rows:
            name = key[len(PREFIX) + 2 :].decode("ascii")
            proposal = parse_proposal(name, parse_object_value(row.value)[1])
            if proposal.action == SET_CHANGE and proposal.status == ENACTED:
                found.append(proposal)
        if len(rows) < PAGE:
            return found
        after = rows[-1][0]
