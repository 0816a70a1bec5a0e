"""The cosigner: signs proposed checkpoints that this node computed itself, by the signer rule (SPEC R-Q10 to R-Q15).

Sign iff the size is greater than the locked one, our own tree has that root at that size and still the locked root at the
locked size; or the same (size, root) again with a later time, as heartbeat. The state is fsynced before the signature
leaves. Withholds while block time is ahead of this machine's clock. Never signs what only a peer says. A key whose
locked checkpoint is no longer of this node's tree never signs again (SPEC R-Q31).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ledger.adapters.home.signerstate import SignerState
from ledger.adapters.ordering.certificates import CertificateBook
from ledger.core.checkpoint import Checkpoint, encode_checkpoint
from ledger.core.cosignature import sign_cosignature
from ledger.core.hashing import Digest
from ledger.core.keys import Signer
from ledger.core.quorum import VerifiedNote
from ledger.errors import FatalError, LedgerError
from ledger.limits import CLOCK_AHEAD_MS, HEARTBEAT_MS

HEARTBEAT_EARLY = 0.5  # sign again after this part of the limit, so that an idle ledger always looks fresh
IDLE_S = 0.5
NOT_IN_SET = "this node's key is not in the cosigner set, or the set is not certified yet"
CLOCK_BEHIND = "block time is ahead of this machine's clock"

RootAt = Callable[[int], Digest | None]
"""Root of our own stored tree at a size, None where the size is no block end or beyond the head."""


class Cosigner:
    """One thread that cosigns what the book proposes. `alarm` names why it withholds, empty when it does not."""

    def __init__(
        self,
        book: CertificateBook,
        name: str,
        signer: Signer,
        state: SignerState,
        root_at: RootAt,
        block_time: Callable[[], int],
        *,
        check_skew: bool,
    ) -> None:
        self._book, self._name, self._signer, self._state = book, name, signer, state
        self._root_at, self._block_time, self._check_skew = root_at, block_time, check_skew
        self._closing = threading.Event()
        self.alarm = ""
        self._thread = threading.Thread(target=self._run, name="cosigner", daemon=True)

    @property
    def key_id(self) -> Digest:
        """Which key signs."""
        return self._signer.public.key_id

    def start(self) -> None:
        """Start signing."""
        self._thread.start()

    def close(self) -> None:
        """Stop; no signature is made after this returns."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def _run(self) -> None:
        try:
            self._check_lock()
            while not self._closing.is_set():
                try:
                    self._sign_proposal()
                except FatalError:
                    raise
                except LedgerError as error:
                    self.alarm = str(error)
                self._book.wait_change(IDLE_S)
        except FatalError as error:
            self.alarm = str(error)
            self._book.observe()  # no line of ours will come that peers could wait for

    def _sign_proposal(self) -> None:
        proposal = self._book.proposal()
        if proposal is None:
            return
        checkpoint = proposal.checkpoint
        if not self._book.may_sign(checkpoint.size, self.key_id):
            # The set before signs the end of its epoch, and an idle ledger stands there until the next event.
            self.alarm = "" if self._book.signs_next(self.key_id) else NOT_IN_SET
            return
        now_ms = time.time_ns() // 1_000_000
        if not self._wanted(proposal, now_ms):
            return
        self._check_own(checkpoint)
        if self._check_skew and self._block_time() > now_ms + CLOCK_AHEAD_MS:
            self.alarm = CLOCK_BEHIND
            return
        self.alarm = ""
        # A cosignature carries whole seconds; state first, signature after (R-Q11).
        self._state.advance(checkpoint.size, checkpoint.root, now_ms)
        line = sign_cosignature(encode_checkpoint(checkpoint), self._name, self._signer, now_ms // 1000)
        if not self._closing.is_set():
            self._book.add_line(checkpoint, line)

    def _wanted(self, proposal: VerifiedNote, now_ms: int) -> bool:
        signed, size = self._state.signed, proposal.checkpoint.size
        if size != signed.size:
            return size > signed.size
        has_line = any(each.key_id == self._signer.public.key_id for each in proposal.cosignatures)
        return not has_line or now_ms - signed.time >= HEARTBEAT_MS * HEARTBEAT_EARLY

    def _check_own(self, checkpoint: Checkpoint) -> None:
        """R-Q10: our own tree says so, at this size and still at the locked one; else stop for good."""
        size, root = checkpoint.size, checkpoint.root
        if size and self._root_at(size) != root:
            raise FatalError("signer-rule", "our own tree has another root at this size", size=size, signed=root)
        if not self._check_lock():
            raise FatalError("signer-rule", "our own tree is shorter than what was signed", size=size)

    def _check_lock(self) -> bool:
        """R-Q31: what this key signed is of the tree that this node follows; False where the node has not come so far."""
        signed = self._state.signed
        root = self._root_at(signed.size) if signed.size else signed.root
        if root not in (None, signed.root):
            raise FatalError(
                "signer-locked-elsewhere",
                "this key signed a history that the ledger does not follow; register a new cosigner key",
                size=signed.size,
                signed=signed.root,
            )
        return root is not None
