"""Several nodes behind ABCI under arbitrary legal orders of calls, crashes included."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.adapters.memory import Memory
from ledger.core.hashing import Digest
from ledger_node.comet.grammar import check_calls
from tests.models.abci_joining import CHUNK_BYTES, Offering, join
from tests.models.abci_network import Chain, Peer
from tests.models.abci_starts import Start, begun, behind, moved, open_application

EXAMPLES = settings().max_examples
SEEDS = st.integers(0, 2**32)
STARTS = st.sampled_from((begun, moved))
KINDS = {
    "CometBFT alone", "checked before its commit", "decided in a later round", "joined late", "odd, and accepted", "updates",
    "end: write", *(f"end: {name}" for name in ("prepare_proposal", "process_proposal", "finalize_block", "commit")),
    *(f"end: {name}, in a handshake" for name in ("info", "init_chain", "finalize_block", "commit")),
}  # fmt: skip


def play(
    seed: int, rounds: int, crash: float, start: Callable[[], Start] = begun, votes: float = 0.5, *, last: bool = True
) -> Chain:
    """Some heights with events and votes; with `last` everybody starts again and what waits is ordered."""
    chain = Chain(seed, crash, start())
    dice = random.Random(seed)
    for _ in range(rounds):
        for _ in range(dice.randint(0, 2)):
            chain.submit(timers=dice.random() < 0.5)
        if dice.random() < votes:
            chain.vote()
        chain.height()
    if last:
        chain.settle()
    return chain


def orders(chain: Chain) -> Counter[Digest]:
    """How often each event stands in the log of a node."""
    (first, *_) = chain.peers.values()
    items = [item for sealed, _ in first.memory.blocks for item in sealed.decision.items]
    return Counter(item.event.hash for item in items if item.event is not None)


def changes(peer: Peer) -> list[tuple[tuple[bytes, int], ...]]:
    """Each change of the validators that the blocks of a node made, by key: 1 for one that came, 0 for one that left."""
    sets = [{key.raw for _, key in sealed.decision.registry.validators()} for sealed, _ in peer.memory.blocks]
    steps = pairwise(sets)
    return [
        tuple((key, int(key in after)) for key in sorted(before ^ after)) for before, after in steps if before != after
    ]


@settings(deadline=None, max_examples=EXAMPLES // 2)
@given(seed=SEEDS, crash=st.sampled_from((0.0, 0.05, 0.3)), start=STARTS)
def test_all_nodes_decide_alike_whatever_crashes(seed: int, crash: float, start: Callable[[], Start]) -> None:
    """Nodes that crash at any call, or while they replay, have the same app hash and validator updates at each height and
    the same log at the end, and hear calls that fit the grammar only."""
    chain = play(seed, 6, crash, start)
    assert len({(peer.app.head.size, peer.app.head.log.root()) for peer in chain.peers.values()}) == 1
    assert {peer.handler.height for peer in chain.peers.values()} == {len(chain.blocks)}
    for peer in chain.peers.values():
        assert peer.app.info().app_hash == chain.answers[-1].app_hash
        check_calls(peer.calls)


@settings(deadline=None, max_examples=EXAMPLES // 4)
@given(seed=SEEDS, start=STARTS)
def test_what_was_ordered_stands_in_the_log_once(seed: int, start: Callable[[], Start]) -> None:
    """Each event of an ordered submission has exactly one leaf, however often and wherever it was sent; what any node may
    still order is ordered in the end."""
    chain = play(seed, 5, 0.15, start)
    counts = orders(chain)
    assert set(counts.values()) <= {1}
    for peer in chain.peers.values():
        assert max(Counter(peer.ordered).values(), default=1) == 1
        for submission in chain.sent:
            if submission.identity in peer.ordered:
                assert all(event.hash in counts for event in submission.events)


@settings(deadline=None, max_examples=EXAMPLES // 4)
@given(seed=SEEDS, crash=st.sampled_from((0.0, 0.2)), start=STARTS)
def test_validators_follow_the_votes(seed: int, crash: float, start: Callable[[], Start]) -> None:
    """SPEC R-N17: each change of the registry's validators is told once, at its height, and counts two heights on."""
    chain = play(seed, 7, crash, start, votes=1.0)
    seam = len(start().make().blocks)
    told = [tuple((key, int(power > 0)) for key, power in each.updates) for each in chain.answers if each.updates]
    for peer in chain.peers.values():
        assert changes(peer)[-len(told) :] == told if told else not changes(peer)[max(0, seam - 1) :]
        assert chain.sets[-1] == {key.raw: chain.power for _, key in peer.registry.validators()}


@settings(deadline=None, max_examples=EXAMPLES // 5)
@given(seed=SEEDS)
def test_the_sequencer_s_path_gives_the_same_log(seed: int) -> None:
    """The same inputs in the same order through `finalize` and `commit`, as the sequencer calls them, give the same
    leaves, roots and state."""
    (first, *_) = play(seed, 5, 0.1).peers.values()
    app = open_application(Memory())
    for sealed, note in first.memory.blocks[1:]:
        app.process(sealed.decision.block)
        again = app.finalize(sealed.decision.block)
        assert again.leaves == sealed.leaves
        assert (again.size, again.root, again.header) == (sealed.size, sealed.root, sealed.header)
        app.commit(note)


@settings(deadline=None, max_examples=EXAMPLES // 6)
@given(seed=SEEDS, crash=st.sampled_from((0.0, 0.2)), start=STARTS)
def test_a_chain_goes_on_where_another_was_left(seed: int, crash: float, start: Callable[[], Start]) -> None:
    """SPEC R-N60, R-N61: after the vote nothing changes the ledger on the old chain; the next begins at the seam, and what
    was ordered on the old one is not ordered again."""
    old = play(seed, 3, crash, start, last=False)
    old.leave()
    seam = old.answers[-1].app_hash
    for _ in range(3):
        old.submit(timers=True)
        old.height()
    old.settle()
    assert {answer.app_hash for answer in old.answers[-4:]} == {seam} and not old.answers[-1].updates
    (first, *others) = old.peers.values()
    assert all(peer.app.head.height == peer.app.engine.seam == first.app.head.height for peer in others)
    new = Chain(seed, crash, behind(first.app.engine.chain_id, first.memory), keys=old.keys)
    assert new.first_hash == seam and new.sets[0] == old.sets[-1]
    for submission in old.sent:
        if submission.member in old.head.registry.members and len(submission.events) > 1:
            new.send([submission])
    new.now = old.now
    for _ in range(3):
        new.submit(timers=True)
        new.height()
    new.settle()
    assert set(orders(new).values()) == {1}
    for peer in (*old.peers.values(), *new.peers.values()):
        check_calls(peer.calls)


@pytest.mark.parametrize("seed", range(3))
def test_blocks_that_say_nothing_leave_no_trace(seed: int) -> None:
    """A height without news makes no block, keeps the app hash, and replays of recorded submissions are such."""
    chain = play(seed, 3, 0.0, votes=0.0)
    chain.now += 60_000
    chain.height()  # timers that fell due meanwhile
    (first, *_) = chain.peers.values()
    first.rest()
    height = first.app.head.height
    for _ in range(3):
        chain.height()
    first.rest()
    assert first.app.head.height == height
    assert len({answer.app_hash for answer in chain.answers[-4:]}) == 1


def test_whatever_may_happen_happens() -> None:
    """A few seeds reach every kind of end, of joining and of odd proposals, so that the laws above speak of them; a seed
    gives the same again."""
    seen: Counter[str] = Counter()
    for seed in range(10):
        chain = play(seed, 6, 0.2, (begun, moved)[seed % 2], votes=1.0)
        seen += chain.seen
    again = play(seed, 6, 0.2, (begun, moved)[seed % 2], votes=1.0)
    assert set(seen) == KINDS, set(seen) ^ KINDS
    assert (again.blocks, again.answers, again.seen) == (chain.blocks, chain.answers, chain.seen)
    assert [peer.calls for peer in again.peers.values()] == [peer.calls for peer in chain.peers.values()]


@pytest.mark.parametrize(("seed", "start"), [(0, begun), (1, moved), (2, moved)])
def test_a_node_that_joins_from_a_snapshot_goes_on_as_the_others(
    seed: int, start: Callable[[], Start], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SPEC R-N70 to R-N78: killed while chunks come it begins again; then it decides what follows as all others do."""
    monkeypatch.setattr("ledger.snapshotformat.SNAPSHOT_CHUNK_BYTES_MAX", CHUNK_BYTES)
    chain = Chain(seed, 0.1, start())
    chain.votes.sets_change = False
    for _ in range(4):
        chain.submit(timers=True)
        chain.vote()
        chain.height()
    chain.settle()
    made = [n for n in range(2, len(chain.answers)) if chain.answers[n - 1].app_hash != chain.answers[n - 2].app_hash]
    offering = Offering(chain, chain.random.choice(made), tmp_path / "offering")
    assert len(offering.chunks) > 1
    node = join(chain, offering, tmp_path / "joining", monkeypatch)
    chain.crash = 0.1
    chain.peers["jy"] = node
    chain.revive(node)
    for _ in range(4):
        chain.submit(timers=True)
        chain.height()
    chain.settle()
    assert len({(peer.app.head.size, peer.app.head.log.root()) for peer in chain.peers.values()}) == 1
    check_calls(node.calls)
    node.store.close()
