"""What an ordering node does before it writes again (SPEC R-Q30): find every block that it ever signed.

It asks its peers for heads until more than two thirds of the cosigners (itself included) have answered, executes the
longest chain that carries its own log signature, and refuses to open while its signer state says that it signed more
than it can find. So a shortened WAL or a restored backup is noticed, and no second history is signed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from threading import Event as Flag

from ledger.adapters.home.signerstate import SignerState
from ledger.adapters.ordering.certificates import CertificateBook
from ledger.adapters.ordering.follower import compute, read_page, signed_checkpoint
from ledger.adapters.ordering.peers import Peer
from ledger.app import Application
from ledger.blockcodec import BlockData
from ledger.core.genesis import SEQUENCER
from ledger.core.keys import PublicKey
from ledger.core.note import NoteVerifier
from ledger.core.quorum import threshold
from ledger.errors import FatalError, ForkError, LedgerError, UnavailableError
from ledger.limits import NOTE_BYTES_MAX

ASK_AGAIN_S = 0.3
PAGE = 100


def seek_ends(peer: Peer, book: CertificateBook, size: int) -> None:
    """Ask a peer for the certificates of the epochs' ends that this node of `size` leaves missed, as far as it has them.
    Raises `LedgerError` where it does not answer, or answers nonsense."""
    end = book.pending_end()
    while end is not None and end.size < size:
        answer = peer.request("GET", f"/v1/certificates/{end.size}", bytes_max=NOTE_BYTES_MAX)
        if answer.status != HTTPStatus.OK:
            return
        book.add_end(answer.body)
        end = book.pending_end()


def recover(
    app: Application,
    peers: Sequence[Peer],
    state: SignerState,
    book: CertificateBook,
    wait_s: float,
    closing: Flag,
    tell: Callable[[str], None] = lambda _: None,
) -> None:
    """Execute what peers have and we lack; `tell` hears what it waits for, in words for whoever runs the node.

    Raises `FatalError` when the node must not open, `ForkError` (`theirs`: the other note) when a peer holds another
    history under our signature.
    """
    keys = list(book.log_keys)
    heard: set[str] = set()
    needed = threshold(len(book.cosigners)) - 1 if len(book.cosigners) > 1 else 0
    if len(peers) < needed:
        raise FatalError(
            "peers-configured",
            "name the addresses of more cosigners: a node opens after more than two thirds of them answered",
            configured=len(peers),
            needed=needed,
        )
    until = time.monotonic() + wait_s
    while not closing.is_set():
        for peer in peers:
            if len(heard) < needed:
                asked = ", ".join(each.url for each in peers if each.url not in heard)
                tell(f"{len(heard)} of the {needed} other cosigners that it needs have answered; it asks {asked}")
            if peer.url not in heard and _catch_up(app, peer, keys):
                heard.add(peer.url)
        if len(heard) >= needed:
            break
        if time.monotonic() > until:
            raise FatalError(
                "peers-missing",
                "too few peers answered, so blocks that this node signed might be unknown to it; not opening",
                heard=len(heard),
                needed=needed,
            )
        closing.wait(ASK_AGAIN_S)
    tell("")
    signed, head = state.signed, app.head
    if signed.size > head.size:
        raise FatalError(
            "signed-more",
            "this node signed a longer log than it can find (shortened WAL or restored backup?); not opening",
            signed=signed.size,
            found=head.size,
        )
    if signed.size == head.size and signed.root != head.log.root():
        raise FatalError("signed-other", "this node signed another tree of this size; not opening", size=head.size)


def _catch_up(app: Application, peer: Peer, keys: Sequence[PublicKey]) -> bool:
    """Execute the peer's blocks beyond ours; False when it does not answer.

    The first page begins with our head, which has to be the peer's too.
    """
    verifiers = [NoteVerifier(app.origin, key) for key in keys]
    first = max(1, app.head.height)
    while True:
        try:
            page = read_page(peer.blocks(first, 0, PAGE))
        except (UnavailableError, LedgerError):
            return False
        for data in page:
            if app.engine.name != SEQUENCER and data.height > app.engine.seam:
                return True  # another engine ordered it; nothing behind the seam was ordered here
            if data.height == app.head.height:
                _compare(app, data, verifiers)
            else:
                _execute(app, data, verifiers)
        if not page or page[-1].height < first:
            return True
        first = app.head.height + 1


def _compare(app: Application, data: BlockData, verifiers: Sequence[NoteVerifier]) -> None:
    """Our head and the peer's block of this height are one, where our signature stands under both."""
    try:
        checkpoint = signed_checkpoint(data.note, app.origin, verifiers)
    except LedgerError:
        return  # nobody signed it: the peer's word only
    head = app.head
    if (checkpoint.size, checkpoint.root) != (head.size, head.log.root()):
        raise ForkError("fork", "our own signature stands under another block", height=data.height, theirs=data.note)


def _execute(app: Application, data: BlockData, verifiers: Sequence[NoteVerifier]) -> None:
    checkpoint, sealed = compute(app, data, verifiers)
    if (sealed.size, sealed.root) != (checkpoint.size, checkpoint.root):
        raise ForkError("fork", "our own signature stands under another block", height=data.height, theirs=data.note)
    app.commit(data.note)
