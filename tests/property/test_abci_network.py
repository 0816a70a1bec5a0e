"""Several nodes behind ABCI under arbitrary legal orders of calls, crashes included."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.adapters.memory import Memory
from ledger_node.comet.grammar import check_calls
from tests.models.abci_network import Chain, open_application


def play(seed: int, rounds: int, crash: float) -> Chain:
    chain = Chain(seed)
    dice = random.Random(seed)
    for _ in range(rounds):
        for _ in range(dice.randint(0, 3)):
            chain.submit(timers=dice.random() < 0.5)
        chain.round(crash)
    for _ in range(3):  # what still waits is ordered
        chain.round(0.0)
    for peer in chain.peers:
        peer.rest()
    return chain


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), crash=st.sampled_from((0.0, 0.1, 0.4)))
def test_all_nodes_decide_alike_whatever_crashes(seed: int, crash: float) -> None:
    """Nodes that crash at any call and replay have the same app hash at each height and the same log at the end."""
    chain = play(seed, 6, crash)
    roots = {(peer.app.head.size, peer.app.head.log.root()) for peer in chain.peers}
    assert len(roots) == 1
    assert len({peer.handler.height for peer in chain.peers}) == 1
    for peer in chain.peers:
        check_calls(peer.calls)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32))
def test_what_was_ordered_stands_in_the_log_once(seed: int) -> None:
    """Each event of a proposed submission has exactly one leaf, however often and wherever it was sent."""
    chain = play(seed, 5, 0.2)
    ordered = {s.identity for peer in chain.peers for sealed, _ in peer.memory.blocks
               for s in sealed.decision.block.submissions}  # fmt: skip
    counts: dict[bytes, int] = {}
    for sealed, _ in chain.peers[0].memory.blocks:
        for item in sealed.decision.items:
            if item.event is not None:
                counts[item.event.hash] = counts.get(item.event.hash, 0) + 1
    assert set(counts.values()) <= {1}
    for submission in chain.sent:
        if submission.identity in ordered:
            assert all(event.hash in counts for event in submission.events)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_sequencer_s_path_gives_the_same_log(seed: int) -> None:
    """The same inputs in the same order through `finalize` and `commit`, as the sequencer calls them, give the same
    leaves, roots and state."""
    chain = play(seed, 5, 0.1)
    app = open_application(Memory())
    for sealed, note in chain.peers[0].memory.blocks[1:]:
        app.process(sealed.decision.block)
        again = app.finalize(sealed.decision.block)
        assert again.leaves == sealed.leaves
        assert (again.size, again.root, again.header) == (sealed.size, sealed.root, sealed.header)
        app.commit(note)


@pytest.mark.parametrize("seed", range(3))
def test_blocks_that_say_nothing_leave_no_trace(seed: int) -> None:
    """A height without news makes no block, keeps the app hash, and replays of recorded submissions are such."""
    chain = play(seed, 3, 0.0)
    height, digest = chain.peers[0].app.head.height, chain.hashes[-1]
    chain.now += 60_000
    chain.round(0.0)  # timers that fell due meanwhile
    chain.peers[0].rest()
    height, digest = chain.peers[0].app.head.height, chain.hashes[-1]
    for _ in range(3):
        chain.round(0.0)
    chain.peers[0].rest()
    assert chain.peers[0].app.head.height == height
    assert chain.hashes[-1] == digest
