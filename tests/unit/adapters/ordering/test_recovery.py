"""What an ordering node finds out before it writes: blocks that it signed and lost, and a second history it never made."""

from __future__ import annotations

from pathlib import Path
from threading import Event as Flag

import msgpack
import pytest

from ledger.adapters.home.signerstate import SignerState
from ledger.adapters.memory import MemoryStore
from ledger.adapters.ordering.certificates import CertificateBook
from ledger.adapters.ordering.peers import Answer, Peer
from ledger.adapters.ordering.recovery import recover
from ledger.blockcodec import BlockData, encode_block
from ledger.core.hashing import Digest, sha256
from ledger.core.keys import Ed25519Signer
from ledger.errors import FatalError, ForkError, UnavailableError
from tests.models.accept_all import GENESIS, Network, log_signer
from tests.unit.adapters.ordering.test_follower import block_of


class BlocksPeer(Peer):
    """Serves given blocks by height; none at all when `silent`."""

    def __init__(self, blocks: list[BlockData], port: int = 9, *, silent: bool = False) -> None:
        super().__init__(f"http://127.0.0.1:{port}")
        self.served, self.silent = blocks, silent

    def request(self, method: str, path: str, *_: object, **__: object) -> Answer:
        """The blocks from the height that is asked for."""
        if self.silent:
            raise UnavailableError("peer", "no answer")
        first = int(path.partition("from=")[2].partition("&")[0])
        page = [encode_block(each) for each in self.served if each.height >= first][:2]
        return Answer(200, msgpack.packb(page), "")


def network(blocks: int, *, salt: int = 0) -> Network:
    """A history of so many blocks, another one for another salt."""
    made = Network(MemoryStore())
    for number in range(blocks):
        made.block([made.submission("ga", [made.event(n=number + salt)])])
    return made


def blocks_of(made: Network) -> list[BlockData]:
    """All blocks behind the genesis."""
    return [block_of(made, height) for height in range(1, made.app.head.height + 1)]


@pytest.fixture
def state(tmp_path: Path) -> SignerState:
    """A fresh state of the log key."""
    return SignerState.create(tmp_path / "log.state", GENESIS.origin, log_signer().public.key_id)


def opened(made: Network, peers: list[BlocksPeer], state: SignerState, *, wait_s: float = 0.2) -> None:
    """Recover among three cosigners, so that both others have to answer."""
    cosigners = [(name, Ed25519Signer(sha256(name.encode())).public) for name in ("a", "b", "c")]
    book = CertificateBook(GENESIS.origin, [log_signer().public], cosigners)
    recover(made.app, peers, state, book, wait_s, Flag())


def test_blocks_that_only_peers_have_are_executed(state: SignerState) -> None:
    """SPEC R-Q30: the longest chain under our signature is taken, page by page, however little we have of it."""
    long = network(5)
    for own in (0, 2, 5):
        made = network(0)
        for data in blocks_of(long)[:own]:
            opened(made, [BlocksPeer([data], 9), BlocksPeer([data], 10)], state)
        opened(made, [BlocksPeer(blocks_of(long), 9), BlocksPeer(blocks_of(long)[:1], 10)], state)
        assert made.app.info() == long.app.info()


@pytest.mark.parametrize("own", [1, 2])
def test_another_block_under_our_signature_is_a_fork(state: SignerState, own: int) -> None:
    """At our head or behind it: the node does not open, and the error carries the other note for the evidence."""
    ours, theirs = network(own), network(2, salt=70)
    with pytest.raises(ForkError) as caught:
        opened(ours, [BlocksPeer(blocks_of(theirs), 9), BlocksPeer(blocks_of(theirs), 10)], state)
    assert caught.value.evidence["theirs"] == theirs.notes[own]
    assert ours.app.head.height == own


def test_too_few_answers_keep_it_closed(state: SignerState) -> None:
    """SPEC R-Q30: without more than two thirds heard, blocks that it signed might be unknown to it."""
    made = network(1)
    with pytest.raises(FatalError) as caught:
        opened(made, [BlocksPeer(blocks_of(made), 9), BlocksPeer([], 10, silent=True)], state)
    assert caught.value.code == "peers-missing"
    with pytest.raises(FatalError) as caught:
        opened(made, [], state)
    assert caught.value.code == "peers-configured"


def test_whom_it_waits_for_is_told(state: SignerState) -> None:
    """How many have answered and who is still asked, while it waits; nothing once enough have."""
    made, told = network(1), list[str]()
    peers = [BlocksPeer(blocks_of(made), 9), BlocksPeer([], 10, silent=True)]
    cosigners = [(name, Ed25519Signer(sha256(name.encode())).public) for name in ("a", "b", "c")]
    book = CertificateBook(GENESIS.origin, [log_signer().public], cosigners)
    with pytest.raises(FatalError):
        recover(made.app, peers, state, book, 0.2, Flag(), told.append)
    assert told[0].startswith("0 of the 2 other cosigners")
    assert told[-1] == "1 of the 2 other cosigners that it needs have answered; it asks http://127.0.0.1:10"
    peers[1].silent = False
    recover(made.app, peers, state, book, 0.2, Flag(), told.append)
    assert told[-1] == ""


def test_what_it_signed_and_cannot_find_keeps_it_closed(state: SignerState) -> None:
    """SPEC R-Q11, R-Q30: its state names a longer log, or another tree of this size."""
    made = network(1)
    peers = [BlocksPeer(blocks_of(made), 9), BlocksPeer(blocks_of(made), 10)]
    state.advance(made.app.head.size, Digest(bytes(32)), 1)
    with pytest.raises(FatalError) as caught:
        opened(made, peers, state)
    assert caught.value.code == "signed-other"
    state.advance(made.app.head.size + 1, Digest(bytes(32)), 1)
    with pytest.raises(FatalError) as caught:
        opened(made, peers, state)
    assert caught.value.code == "signed-more"
