"""Collects cosignatures: which checkpoint is proposed, whose verified lines it has, when it is certified (SPEC R-Q01…).

Cosigners must sign the same sizes, or no size would reach a quorum while blocks keep coming. So the ordering node
*proposes* one checkpoint at a time: its newest when the one before is certified, or after `PROPOSE_AGAIN_S`; the others
sign what is proposed. All nodes serve the note with the lines they have verified and poll each other's. What a peer shows
that cannot be merged yet waits; a larger size replaces the proposal only where no liar could keep all of them from being
certified that way (R-Q15). Fork evidence is kept, never merged. Thread-safe.
Not here: signing (see `cosigner`) and transport (see `peers`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ledger.adapters.ordering.epochs import EpochEnd, Epochs
from ledger.core.checkpoint import Checkpoint, parse_checkpoint_text
from ledger.core.hashing import Digest, sha256
from ledger.core.keys import PublicKey
from ledger.core.note import NoteLine, UnverifiedNote, parse_note
from ledger.core.quorum import (
    CertifiedCheckpoint,
    Cosigner,
    VerifiedNote,
    certify,
    merge_lines,
    verify_certificate,
    verify_cosignatures,
    verify_note,
)
from ledger.errors import ForkError, VerificationError

log = logging.getLogger("ledger.ordering")

SERVE_AGAIN_S = 1.0  # lines beyond a quorum and fresher times are shown at most this often, and no later than this
PROPOSE_AGAIN_S = 2.0  # a proposal that nobody certifies gives way to a newer one
WAITING_EACH = 4  # notes of one giver that cannot be merged yet
KNOWN_ROOTS_MAX = 4_096  # recent (size, root) pairs of our own tree, to match peers' notes without the database


@dataclass(frozen=True, slots=True)
class Certified:
    """A certified checkpoint: its block's height, its note as first certified, and what the lines say."""

    height: int
    note: bytes
    result: CertifiedCheckpoint


class CertificateBook:
    """See the module.

    `origin`, `log_keys` and `cosigners` fix what may be verified; `on_certified` is called (without the lock) once for
    each newly certified size, with the note to keep. `own_key` is the key id of this node's cosigner, where it has one
    and does not order: peers wait for its line, so a note is shown to them with it, and again when it is certified.
    """

    def __init__(
        self,
        origin: str,
        log_keys: Sequence[PublicKey],
        cosigners: Sequence[Cosigner],
        own_key: Digest | None = None,
    ) -> None:
        self.origin, self.log_keys = origin, tuple(log_keys)
        self._epochs = Epochs(tuple(cosigners))
        self._own_key = own_key
        self._shown = b""
        self._shown_size = -1
        self._shown_certified = False
        self._shown_at = 0.0
        self._shown_since = 0.0  # when its checkpoint was first shown
        self.on_certified: list[Callable[[Certified], None]] = []
        self._changed = threading.Condition()
        self._own: OrderedDict[int, tuple[int, Digest]] = OrderedDict()
        self._newest: tuple[int, bytes] | None = None
        self._proposed: VerifiedNote | None = None
        self._proposed_at = 0.0
        self._note = b""
        self._certified: Certified | None = None
        # By giver, which is a node that is polled, so that nobody displaces another's.
        self._waiting: dict[str, list[VerifiedNote]] = {}
        self.is_kept: Callable[[int], bool] = lambda _size: True
        """Whether the store has the certificate of a size; see `may_sign`."""
        self.on_fork: list[Callable[[str, ForkError], None]] = []
        self.proposers: frozenset[str] | None = None
        """Givers whose larger checkpoint takes the place of the proposal at once; None: everybody's. See `_gives_way`."""

    # --- epochs ------------------------------------------------------------------------------------------------------

    @property
    def cosigners(self) -> tuple[Cosigner, ...]:
        """The newest set."""
        return self._epochs.cosigners

    def cosigners_at(self, size: int) -> tuple[Cosigner, ...]:
        """The set that signs the checkpoint of `size` (R-G21)."""
        return self._epochs.at(size)

    def follow(self, epochs: Epochs) -> None:
        """Take over the epochs of the store, at start."""
        with self._changed:
            self._epochs = epochs

    def end_epoch(self, end: EpochEnd, cosigners: Sequence[Cosigner]) -> None:
        """A block of ours was the last of its epoch; `cosigners` sign what comes after it."""
        with self._changed:
            self._epochs.ends.append(end)
            self._epochs.cosigners = tuple(cosigners)
            if self._certified is not None:
                self._epochs.certified(self._certified.result.checkpoint.size)
            self._changed.notify_all()
        self._review()

    def epoch_ends(self) -> tuple[EpochEnd, ...]:
        """The ends of all epochs so far, the oldest first."""
        with self._changed:
            return tuple(self._epochs.ends)

    def pending_end(self) -> EpochEnd | None:
        """The end of an epoch whose certificate this node lacks, None where it holds all."""
        with self._changed:
            return self._epochs.pending()

    def may_sign(self, size: int, key_id: Digest) -> bool:
        """Whether a cosigner's key signs checkpoints of `size`: it is in that set, and the set has been adopted, under
        certificates that are on disk: who signed behind an end can never sign the end again."""
        with self._changed:
            if not self._epochs.allowed(size) or all(key.key_id != key_id for _, key in self._epochs.at(size)):
                return False
            before = [end for end in self._epochs.ends if end.size < size and not end.kept]
        for end in before:
            end.kept = self.is_kept(end.size)
        return all(end.kept for end in before)

    def signs_next(self, key_id: Digest) -> bool:
        """Whether a key is in the newest set and that set has been adopted: what it signs may still be to come."""
        with self._changed:
            return self._epochs.pending() is None and any(key.key_id == key_id for _, key in self._epochs.cosigners)

    def add_end(self, note: bytes) -> None:
        """Take the certificate of an epoch's end from a peer. Raises as `verify_certificate` does."""
        end = self.pending_end()
        if end is None:
            return
        result = verify_certificate(note, self.origin, self.log_keys, end.cosigners)
        if (result.checkpoint.size, result.checkpoint.root) != (end.size, end.root):
            raise VerificationError("epoch-end", "not the certificate of this epoch's end", size=end.size)
        certified = Certified(end.height, note, result)
        with self._changed:
            end.certified = True
            if self._certified is None or self._certified.result.checkpoint.size < end.size:
                self._certified = certified
            self._changed.notify_all()
        for listener in self.on_certified:
            listener(certified)
        self._review()

    # --- what we computed ourselves ----------------------------------------------------------------------------------

    def committed(self, height: int, size: int, root: Digest, log_note: bytes) -> None:
        """A block of ours is durable; its log-signed note may be proposed."""
        with self._changed:
            last = next(reversed(self._own.values()), None)
            if last is not None and not last[0] <= height <= last[0] + 1:
                self._own.clear()  # blocks came in between that this book was not told of (see `_contradicts`)
            self._own[size] = (height, root)
            while len(self._own) > KNOWN_ROOTS_MAX:
                self._own.popitem(last=False)
            self._newest = (size, log_note)
            self._changed.notify_all()
        self._review()

    def know(self, height: int, size: int, root: Digest) -> None:
        """A checkpoint of ours that carries no log signature yet (block 0 of a follower)."""
        with self._changed:
            self._own[size] = (height, root)

    def own_root(self, size: int) -> Digest | None:
        """The root that this node computed and stored at a recent block's end, None for any other size."""
        with self._changed:
            own = self._own.get(size)
            return None if own is None else own[1]

    def propose(self, *, at_once: bool = False) -> None:
        """Propose our newest checkpoint, when the proposal before is certified or too old (ordering nodes only).

        `at_once`: it is one that all ordering nodes propose by the same rule, so the one before gives way (R-N20).
        """
        with self._changed:
            if self._newest is None:
                return
            size, note = self._newest
            end = self._epochs.pending()
            if end is not None and end.size < size:
                size, note = end.size, end.note  # nothing behind it before the leaving set has certified it
            if not note:
                return  # this node may not sign for ordering yet
            current = self._proposed
            if current is not None:
                if size <= current.checkpoint.size:
                    return
                waiting = self._certified is None or self._certified.result.checkpoint.size < current.checkpoint.size
                if waiting and not at_once and time.monotonic() - self._proposed_at < PROPOSE_AGAIN_S:
                    return
        self._offer(verify_note(note, self.origin, self.log_keys, self.cosigners_at(size)))
        self._review()

    def know_log_keys(self, keys: Sequence[PublicKey]) -> None:
        """Notes from here on may be signed by keys for ordering that were registered meanwhile."""
        self.log_keys = tuple(keys)

    def take_part(self, key_id: Digest) -> None:
        """This node cosigns by this key from here on: its note is shown with its line."""
        with self._changed:
            self._own_key = key_id

    def observe(self) -> None:
        """This node does not cosign after all: its note is shown as it comes."""
        with self._changed:
            self._own_key = None

    # --- lines -------------------------------------------------------------------------------------------------------

    def add_line(self, checkpoint: Checkpoint, line: NoteLine) -> None:
        """Add our own cosignature to the proposed checkpoint."""
        with self._changed:
            proposed = self._proposed
        if proposed is None or proposed.checkpoint != checkpoint:
            return
        self._offer(verify_cosignatures(proposed, [line], self.cosigners_at(checkpoint.size)))

    def add_note(self, data: bytes, giver: str = "") -> None:
        """Merge a peer's note. Raises `MalformedError`, `VerificationError`, and `ForkError` for another root at a size of
        ours under valid lines: evidence of two histories. A note that cannot be merged yet, as that of a size that is
        still to come here, waits; where it turns out to contradict, `on_fork` is told its giver."""
        parsed = parse_note(data)
        checkpoint = parse_checkpoint_text(parsed.text)
        with self._changed:
            proposed = self._proposed
            smaller = proposed is not None and checkpoint.size < proposed.checkpoint.size
            if data == self._note or (smaller and not self._contradicts(checkpoint)):
                return
        verified = self._verify(data, parsed, checkpoint)
        if verified is None:
            return
        self._merge(verified, giver)
        self._review()

    def _merge(self, verified: VerifiedNote, giver: str) -> None:
        """Merge a peer's note, or let it wait. Raises `ForkError` where it is not of our history."""
        checkpoint = verified.checkpoint
        with self._changed:
            own = self._known(checkpoint.size)
            contradicts = self._contradicts(checkpoint)
            if not contradicts and not self._gives_way(verified, giver):
                _keep(self._waiting.setdefault(giver, []), verified)
                return
        if contradicts:
            size, ours, theirs = checkpoint.size, own[1] if own is not None else b"", verified.encode()
            raise ForkError("fork", "a peer's checkpoint is not of our history", size=size, theirs=theirs, ours=ours)
        if own is not None:
            self._offer(verified)

    def _gives_way(self, verified: VerifiedNote, giver: str) -> bool:
        """Whether the proposal gives way to a peer's larger one: this node has come so far, no uncertified end of an epoch
        lies before, and where the giver is none of the proposers, a liar could not have every proposal replaced before it is
        certified: it is certified or old, or the larger one bears the line of somebody honest."""
        size, current, end = verified.checkpoint.size, self._proposed, self._epochs.pending()
        if self._known(size) is None and size > (self._newest[0] if self._newest else 0):
            return False
        if current is None or size <= current.checkpoint.size:
            return end is None or size <= end.size
        if end is not None and size > end.size:
            return False
        if self.proposers is None or giver in self.proposers:
            return True
        is_certified = self._certified is not None and self._certified.result.checkpoint.size >= current.checkpoint.size
        is_old = time.monotonic() - self._proposed_at >= PROPOSE_AGAIN_S
        return is_certified or is_old or 3 * len(verified.cosignatures) > len(self._epochs.at(size))

    def _review(self) -> None:
        """Look again at the notes that wait, whenever something changed; who contradicts us is told of."""
        with self._changed:
            waiting = [(giver, each) for giver, kept in self._waiting.items() for each in kept]
            reached = [(giver, each) for giver, each in waiting if self._is_ripe(each, giver)]
            for giver, each in reached:
                self._waiting[giver].remove(each)
        for giver, each in reached:
            try:
                self._merge(each, giver)
            except ForkError as error:  # the giver's fault, of whom whoever is the caller knows nothing
                self._tell_fork(giver, error)

    def _tell_fork(self, giver: str, error: ForkError) -> None:
        """Tell of a note that waited; what keeps evidence from being written stops neither the cosigner nor the engine."""
        for listener in self.on_fork:
            try:
                listener(giver, error)
            except Exception:
                log.exception("a fork of %s could not be kept", giver)

    def _is_ripe(self, verified: VerifiedNote, giver: str) -> bool:
        return self._contradicts(verified.checkpoint) or self._gives_way(verified, giver)

    def _known(self, size: int) -> tuple[int, Digest] | None:
        """(height, root) of our own tree at a recent block's end or the end of an epoch."""
        ends = ((end.height, end.root) for end in self._epochs.ends if end.size == size)
        return self._own.get(size) or next(ends, None)

    def _contradicts(self, checkpoint: Checkpoint) -> bool:
        """Whether a checkpoint is of another history than ours, as far back as roots are known here."""
        own = self._known(checkpoint.size)
        if own is not None:
            return own[1] != checkpoint.root
        # Checkpoints stand at block ends only (R-B03): a size between two of ours is of another history.
        return bool(self._own) and next(iter(self._own)) < checkpoint.size < next(reversed(self._own))

    def _verify(self, data: bytes, parsed: UnverifiedNote, checkpoint: Checkpoint) -> VerifiedNote | None:
        """A peer's note, verified; None where nothing of it is new. Of a note over the text that is proposed already only
        the cosignatures that were not verified before are looked at: its log line adds nothing to ours."""
        cosigners = self.cosigners_at(checkpoint.size)
        with self._changed:
            proposed = self._proposed
        if proposed is None or proposed.text != parsed.text:
            return verify_note(data, self.origin, self.log_keys, cosigners)
        known = {each.line for each in proposed.cosignatures}
        new = [line for line in parsed.lines if line not in known and line.name != self.origin]
        return verify_cosignatures(proposed, new, cosigners) if new else None

    def _offer(self, verified: VerifiedNote) -> None:
        """Make `verified` (of our own tree) the proposal, or merge it into the one that stands."""
        with self._changed:
            size = verified.checkpoint.size
            own = self._known(size)
            if own is None:
                return  # forgotten meanwhile
            if own[1] != verified.checkpoint.root:
                raise ForkError("fork", "a note has another root", size=size, theirs=verified.encode(), ours=own[1])
            proposed = self._proposed
            if proposed is not None and size < proposed.checkpoint.size:
                return
            if proposed is None or size > proposed.checkpoint.size:
                self._proposed_at = time.monotonic()
                merged = verified
            else:
                merged = merge_lines(proposed, verified)
            note = merged.encode()
            if note == self._note:
                return
            self._proposed, self._note = merged, note
            certified = self._certify(own[0], merged, note)
            self._show(merged, note)
            self._changed.notify_all()
        if certified is not None:
            for listener in self.on_certified:
                listener(certified)
            self._review()

    def _certify(self, height: int, merged: VerifiedNote, note: bytes) -> Certified | None:
        """The certified checkpoint, when it is newly certified."""
        try:
            result = certify(merged, self._epochs.at(merged.checkpoint.size))
        except VerificationError:
            return None
        known = self._certified is not None and self._certified.result.checkpoint.size == merged.checkpoint.size
        if not self._epochs.allowed(merged.checkpoint.size):
            return None  # a set that was adopted under nobody's certificate
        self._epochs.certified(merged.checkpoint.size)
        certified = Certified(height, note, result)
        self._certified = certified
        return None if known else certified

    def _show(self, merged: VerifiedNote, note: bytes) -> None:
        """Show peers the note at the moments that matter to them, not at each line."""
        size, now = merged.checkpoint.size, time.monotonic()
        is_certified = self._certified is not None and self._certified.result.checkpoint.size == size
        lacks_own = self._own_key is not None and all(each.key_id != self._own_key for each in merged.cosignatures)
        if lacks_own and not is_certified:
            return
        if (
            size > self._shown_size
            or (is_certified and not self._shown_certified)
            or now - self._shown_at >= SERVE_AGAIN_S
        ):
            if size > self._shown_size:
                self._shown_since = now
            self._shown, self._shown_size, self._shown_certified, self._shown_at = note, size, is_certified, now

    def _show_late(self) -> bytes:
        """The note to show, with the lines that came too soon after it was shown, once it stood for long enough.

        Whoever reads looks for them: nothing runs for that, and peers' long polls look several times a second anyway.
        """
        late = self._proposed
        if late is not None and self._note != self._shown and late.checkpoint.size == self._shown_size:
            self._show(late, self._note)
        return self._shown

    # --- what others ask ---------------------------------------------------------------------------------------------

    def restore(self, certified: Certified) -> None:
        """Remember a certificate that the store kept, at start, after the head was told by `committed`.

        Where it is the head's, peers are shown it with its lines at once: an idle ledger has no other note.
        """
        with self._changed:
            self._certified = certified
            is_own = certified.result.checkpoint.size in self._own
        if is_own:
            self.add_note(certified.note)

    def proposal(self) -> VerifiedNote | None:
        """The checkpoint that cosigners should sign now."""
        self._review()  # the one that stood so far may have become old
        with self._changed:
            return self._proposed

    def note(self) -> bytes:
        """The note to show peers: the proposed checkpoint with lines that we have verified; empty before the first."""
        with self._changed:
            return self._show_late()

    def settled(self) -> bool:
        """Whether nothing larger was shown for a while: then lines that come late are worth a look."""
        with self._changed:
            return time.monotonic() - self._shown_since >= SERVE_AGAIN_S

    def note_above(self, size: int, after: str | None = None) -> bytes | None:
        """The note to show when its checkpoint is larger than `size`: once for each that is proposed. Where nothing larger
        came for a while also another one than `after` (SHA-256, hex) over that size: a cosigner was late."""
        with self._changed:
            shown = self._show_late()
            if self._shown_size > size:
                return shown
            if after is None or not shown or time.monotonic() - self._shown_since < SERVE_AGAIN_S:
                return None
            return shown if sha256(shown).hex() != after else None

    def certified_size(self) -> int:
        """Size of the latest certified checkpoint, 0 before the first."""
        with self._changed:
            return 0 if self._certified is None else self._certified.result.checkpoint.size

    def certified(self) -> Certified | None:
        """The latest certified checkpoint, its note with the freshest lines."""
        with self._changed:
            return self._certified

    def wait(self, after: str | None, timeout_s: float) -> bytes:
        """The note to show, as soon as its SHA-256 (hex) is not `after`, or after `timeout_s`."""
        with self._changed:
            self._changed.wait_for(lambda: sha256(self._shown).hex() != after, timeout_s)
            return self._show_late()

    def wait_certified(self, size: int, timeout_s: float) -> Certified | None:
        """The latest certificate once it covers `size`, None after `timeout_s`."""

        def covered() -> bool:
            return self._certified is not None and self._certified.result.checkpoint.size >= size

        with self._changed:
            return self._certified if self._changed.wait_for(covered, timeout_s) else None

    def wait_change(self, timeout_s: float) -> None:
        """Wait for any change."""
        with self._changed:
            self._changed.wait(timeout_s)


def _keep(kept: list[VerifiedNote], note: VerifiedNote) -> None:
    """Add a giver's note to those of it that wait, the smallest first; of too many the last but one goes: the smallest come
    first, and the largest is what it says now."""
    kept[:] = sorted(
        [each for each in kept if each.checkpoint != note.checkpoint] + [note], key=lambda each: each.checkpoint.size
    )
    if len(kept) > WAITING_EACH:
        del kept[-2]
