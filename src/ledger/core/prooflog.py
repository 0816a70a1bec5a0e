"""Two proofs about checkpoints alone: this one extends that one, and these keys signed two histories (SPEC R-V05).

Rules: an extension is between two certificates, or a certificate and the checkpoint that the verifier remembers. A fork
is shown by two notes of one size with two roots; or of two sizes, with the complete subtrees over the smaller one's
leaves as they are in the larger tree, which give another root. Guilty are the keys with a valid line on both.
Not here: what follows from guilt.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger.core import merkle
from ledger.core import proofjson as pj
from ledger.core.checkpoint import Checkpoint, parse_checkpoint_text
from ledger.core.hashing import Digest
from ledger.core.note import parse_note
from ledger.core.proofepochs import EpochEnd, adopt, encode_epochs, parse_epochs
from ledger.core.prooftrust import ANCHOR, HISTORY, Certification, Trust, verify_certification, verify_under
from ledger.core.quorum import VerifiedNote, verify_note
from ledger.errors import VerificationError
from ledger.limits import PROOF_PATH_MAX, PROOF_RANGE_PATH_MAX

CONSISTENCY = "consistency"
FORK = "fork"


@dataclass(frozen=True, slots=True)
class ConsistencyResult:
    """The `new` checkpoint extends `old`: every leaf that was there still is, in its place."""

    certification: Certification
    old: Checkpoint
    new: Checkpoint
    not_checked: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Consistency:
    """A consistency proof as it stands in its file; nothing holds until `verify` returns."""

    old: bytes
    new: bytes
    path: tuple[Digest, ...]
    epochs: tuple[EpochEnd, ...] = ()

    def verify(self, trust: Trust) -> ConsistencyResult:
        """What the proof shows to somebody with this trust.

        Raises `MalformedError`, or `VerificationError`: `epochs`, either certificate, or `consistency`.
        """
        trust = adopt(self.epochs, trust)
        remembered = trust.remembered()
        # A checkpoint that the verifier remembers needs no signature here: it may be of an older set of cosigners.
        old = parse_checkpoint_text(parse_note(self.old).text)
        if old != remembered:
            old = verify_under(self.old, trust).checkpoint
        certification, unchecked = verify_certification(self.new, None, trust)
        new = certification.checkpoint
        merkle.verify_consistency(old.size, old.root, new.size, new.root, self.path)
        tied = remembered is None or remembered in {old, new}
        changed = trust.adopted[-1].checkpoint.size if trust.adopted else 0
        anchored = tied and remembered is not None and remembered.size >= changed
        gaps = (*(() if tied else (HISTORY,)), *((ANCHOR,) if ANCHOR in unchecked and not anchored else ()))
        return ConsistencyResult(certification, old, new, gaps)

    def encode(self) -> bytes:
        """The file."""
        notes = {"new": self.new.decode("utf-8"), "old": self.old.decode("utf-8")}
        fields = {**notes, "path": pj.encode_path(self.path), **encode_epochs(self.epochs)}
        return pj.encode_document(CONSISTENCY, fields)


@dataclass(frozen=True, slots=True)
class ForkResult:
    """A proven fork: two checkpoints that cannot be of one log, and the (name, key id) that signed both."""

    first: Checkpoint
    second: Checkpoint
    guilty: tuple[tuple[str, Digest], ...]


@dataclass(frozen=True, slots=True)
class Fork:
    """Evidence of a fork as it stands in its file; nothing holds until `verify` returns.

    `first` is the note of the smaller size. For two sizes, `subtrees` are the roots of `range_nodes(0, smaller)` in the
    larger tree and `path` those of `range_nodes(smaller, larger)`; for one size both are empty.
    """

    first: bytes
    second: bytes
    subtrees: tuple[Digest, ...] = ()
    path: tuple[Digest, ...] = ()
    epochs: tuple[EpochEnd, ...] = ()

    def verify(self, trust: Trust) -> ForkResult:
        """The fork, if it is one: age, quorum and what is remembered do not matter for guilt.

        Each note counts with the lines of the set of its size, as far as `epochs` lead there.
        Raises `MalformedError`, or `VerificationError`: `epochs`, a note, `range`, or `fork` (nothing contradicts, or no
        key has signed both).
        """
        trust = adopt(self.epochs, trust)
        first, second = _opened(self.first, trust), _opened(self.second, trust)
        small, large = first.checkpoint, second.checkpoint
        if small.size > large.size:
            raise VerificationError("fork", "the smaller checkpoint comes first", first=small.size, second=large.size)
        if self._root_in_second(small, large) == small.root:
            raise VerificationError("fork", "both are of one history", first=small.size, second=large.size)
        guilty = tuple(sorted(_signers(first) & _signers(second)))
        if not guilty:
            raise VerificationError("fork", "no key has signed both", first=self.first, second=self.second)
        return ForkResult(small, large, guilty)

    def _root_in_second(self, small: Checkpoint, large: Checkpoint) -> Digest:
        """The root of the first `small.size` leaves of the larger tree."""
        if len(self.subtrees) != small.size.bit_count() * (small.size < large.size):
            raise VerificationError("fork", "another number of subtrees", size=small.size, got=len(self.subtrees))
        if small.size == large.size:
            if self.path:
                raise VerificationError("fork", "two notes of one size need no path", size=small.size)
            return large.root
        path = (*self.subtrees, *self.path)
        merkle.verify_range(small.size, small.size, large.size, (), path, large.root)
        return merkle.fold(self.subtrees)

    def encode(self) -> bytes:
        """The file."""
        fields: pj.Fields = {"first": self.first.decode("utf-8"), "second": self.second.decode("utf-8")}
        fields.update(path=pj.encode_path(self.path), subtrees=pj.encode_path(self.subtrees))
        fields.update(encode_epochs(self.epochs))
        return pj.encode_document(FORK, fields)


def _opened(note: bytes, trust: Trust) -> VerifiedNote:
    size = parse_checkpoint_text(parse_note(note).text).size
    return verify_note(note, trust.origin, trust.log_keys, trust.cosigners_at(size))


def _signers(note: VerifiedNote) -> set[tuple[str, Digest]]:
    return {(each.name, each.key_id) for each in (*note.log_lines, *note.cosignatures)}


def parse_consistency(fields: pj.Fields) -> Consistency:
    """The consistency proof of a file's fields."""
    pj.closed(fields, CONSISTENCY, "new old path", "epochs")
    return Consistency(
        old=pj.document(fields["old"], "old"),
        new=pj.document(fields["new"], "new"),
        path=pj.path(fields["path"], "path", PROOF_RANGE_PATH_MAX),
        epochs=parse_epochs(fields),
    )


def parse_fork(fields: pj.Fields) -> Fork:
    """The evidence of a fork of a file's fields."""
    pj.closed(fields, FORK, "first path second subtrees", "epochs")
    return Fork(
        first=pj.document(fields["first"], "first"),
        second=pj.document(fields["second"], "second"),
        subtrees=pj.path(fields["subtrees"], "subtrees", PROOF_PATH_MAX),
        path=pj.path(fields["path"], "path", PROOF_RANGE_PATH_MAX),
        epochs=parse_epochs(fields),
    )
