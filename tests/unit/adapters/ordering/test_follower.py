"""The follower: executes what the ordering node signed, and stops with evidence when it computes something else."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import msgpack
import pytest

from ledger.adapters.memory import MemoryStore
from ledger.adapters.ordering import follower as follower_module
from ledger.adapters.ordering.follower import Follower, read_page
from ledger.adapters.ordering.peers import Answer, Peer
from ledger.blockcodec import BlockData, encode_block, from_submission
from ledger.core.hashing import sha256
from ledger.core.keys import Ed25519Signer
from ledger.errors import ForkError, LedgerError, MalformedError, RejectedError, VerificationError
from tests.models.accept_all import GENESIS, Network, log_note, log_signer


def block_of(network: Network, height: int) -> BlockData:
    """A block as the ordering node would serve it."""
    sealed = network.sealed[height]
    return BlockData(
        height=height,
        time=sealed.header.time,
        submissions=tuple(from_submission(each) for each in network.submissions[height]),
        leaves=tuple(sealed.leaves),
        note=network.notes[height],
    )


@pytest.fixture
def leader() -> Network:
    network = Network(MemoryStore())
    for number in range(3):
        network.block([network.submission("ga", [network.event(n=number)])])
    return network


@pytest.fixture
def follower(tmp_path: Path) -> Follower:
    app = Network(MemoryStore()).app
    return Follower(app, [Peer("http://127.0.0.1:9")], [log_signer().public], tmp_path / "evidence")


def test_follower_computes_the_same_checkpoints(leader: Network, follower: Follower) -> None:
    """Every block is executed, and the follower's head equals the leader's; a block it has is skipped."""
    for height in (1, 2, 2, 3):
        follower.execute(block_of(leader, height))
    assert follower.app.info() == leader.app.info()


def test_a_signed_lie_stops_the_follower_with_evidence(leader: Network, follower: Follower, tmp_path: Path) -> None:
    """A checkpoint that the inputs do not give: the follower writes nothing, keeps what was signed, and names the leaf."""
    block = block_of(leader, 1)
    forged = replace(block, note=log_note(GENESIS.origin, leader.sealed[1].size, sha256(b"another tree")))
    with pytest.raises(ForkError) as caught:
        follower.execute(forged)
    assert caught.value.code == "diverged" and follower.app.store.load_head().height == 0  # type: ignore[union-attr]
    (path,) = (tmp_path / "evidence").iterdir()
    kept = json.loads(path.read_text("utf-8"))
    assert kept["signed"].encode() == forged.note and kept["height"] == 1
    assert (path.stat().st_mode & 0o777) == 0o600


def test_a_note_of_a_stranger_is_refused_before_anything_is_executed(leader: Network, follower: Follower) -> None:
    """Blocks count only under the network's log key and origin."""
    from ledger.adapters.ordering.engine import log_note as sign

    block = block_of(leader, 1)
    sealed = leader.sealed[1]
    stranger = Ed25519Signer(sha256(b"stranger"))
    for note in (
        sign(stranger, GENESIS.origin, sealed.size, sealed.root),
        sign(log_signer(), "other/" + "0" * 64, sealed.size, sealed.root),
    ):
        with pytest.raises(LedgerError) as caught:
            follower.execute(replace(block, note=note))
        assert isinstance(caught.value, VerificationError | MalformedError)
    assert follower.app.head.height == 0


def test_a_gap_or_time_going_back_is_refused(leader: Network, follower: Follower) -> None:
    """SPEC R-H03, R-B01: blocks follow each other, in height and time."""
    with pytest.raises(RejectedError):
        follower.execute(block_of(leader, 2))
    with pytest.raises(RejectedError):
        follower.execute(replace(block_of(leader, 1), time=GENESIS.time - 1))


def test_changed_inputs_under_an_honest_note_are_caught(leader: Network, follower: Follower, tmp_path: Path) -> None:
    """A relay that swaps a submission's signature, drops an event or moves time cannot make the follower accept it."""
    block = block_of(leader, 1)
    first = block.submissions[0]
    for forged in (
        replace(block, submissions=(replace(first, signature=bytes(64)),)),
        replace(block, submissions=()),
        replace(block, time=block.time + 1),
    ):
        with pytest.raises(LedgerError):
            follower.execute(forged)
        # What was computed for a refused block must not leak into the next one.
        follower = Follower(
            Network(MemoryStore()).app, [Peer("http://127.0.0.1:9")], [log_signer().public], tmp_path / "more"
        )


def test_pages_of_blocks_are_parsed_totally(leader: Network) -> None:
    """Any bytes give blocks or `MalformedError`."""
    page = msgpack.packb([encode_block(block_of(leader, height)) for height in (1, 2)])
    assert [block.height for block in read_page(page)] == [1, 2]
    for bad in (b"", b"\xc0", page[:-1], page + b"x", msgpack.packb([1]), msgpack.packb({b"a": 1}), msgpack.packb("x")):
        with pytest.raises(MalformedError):
            read_page(bad)


class BlocksPeer(Peer):
    """Serves given blocks."""

    def __init__(self, blocks: dict[int, BlockData]) -> None:
        super().__init__("http://127.0.0.1:9")
        self.served, self.asked = blocks, 0

    def request(self, method: str, path: str, *_: object, **__: object) -> Answer:
        """The block that is asked for, alone."""
        self.asked += 1
        height = int(path.partition("from=")[2].partition("&")[0])
        found = [encode_block(self.served[height])] if height in self.served else []
        return Answer(200, msgpack.packb(found), "")


def test_another_block_at_our_head_is_noticed_on_an_idle_ledger(leader: Network, tmp_path: Path) -> None:
    """Nothing follows and nothing is re-executed, yet the follower asks for its own head, once in a while, and stops."""
    other = Network(MemoryStore())
    other.block([other.submission("ga", [other.event(n=77), other.event(n=78)])])
    app = Network(MemoryStore()).app
    peer = BlocksPeer({1: block_of(other, 1)})
    follower = Follower(app, [peer], [log_signer().public], tmp_path / "evidence")
    follower.execute(block_of(leader, 1))
    follower._next_height = 2
    follower._fetch_from(peer, 0)
    with pytest.raises(ForkError) as caught:
        follower.step()
    assert caught.value.code == "diverged" and caught.value.evidence["height"] == 1
    (path,) = (tmp_path / "evidence").iterdir()
    assert json.loads(path.read_text("utf-8"))["signed"].encode() == other.notes[1]
    peer.served, asked = {1: block_of(leader, 1)}, peer.asked
    follower._fetch_from(peer, 0)
    assert peer.asked == asked + 1  # not compared again at once
    follower._compared_at = -1e9
    follower._fetch_from(peer, 0)
    follower.step()  # the same block: nothing to say


def test_the_fetching_thread_outlives_what_should_not_happen(
    follower: Follower, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A round that fails in a way that nobody thought of is logged, and the next one asks again."""
    monkeypatch.setattr(follower_module, "FAULT_S", 0.01)
    asked: list[int] = []

    def blocks(_peer: Peer, first: int, *_: int) -> bytes:
        asked.append(first)
        if len(asked) == 1:
            raise OSError("a fault")
        follower._closing.set()
        return msgpack.packb([])

    monkeypatch.setattr(Peer, "blocks", blocks)
    with caplog.at_level(logging.ERROR, "ledger.ordering"):
        follower._fetch()
    assert asked == [1, 1] and [record.exc_info[0] for record in caplog.records if record.exc_info] == [OSError]
