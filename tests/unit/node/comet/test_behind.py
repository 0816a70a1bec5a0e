"""A node that stands still says so where nobody has the block that it needs next."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest

pytest.importorskip("ledger_node.comet.behind", reason="suyuan-node is not installed")

from ledger.adapters.ordering.peers import Answer, Peer
from ledger.core.hashing import sha256
from ledger_node.alarms import Alarms
from ledger_node.comet import behind
from ledger_node.comet.behind import ABOUT, Behind
from ledger_node.comet.lightclient import is_forgotten
from tests.models.light_nodes import GONE, NEWEST, LightNodes

DIGEST = sha256(b"header").hex().upper()


@pytest.fixture
def peers() -> Iterator[list[Peer]]:
    """Two nodes that let block `GONE` go, and one that is away."""
    nodes = LightNodes()
    try:
        yield [Peer(url) for url in (nodes.add([], DIGEST), nodes.add([], DIGEST), "http://127.0.0.1:1")]
    finally:
        nodes.close()


def test_a_node_that_can_never_catch_up_says_so(peers: list[Peer]) -> None:
    """SPEC R-N64: at its second look at one height, until it moves; who only waits for the next block has no alarm."""
    alarms, at = Alarms(), [GONE - 1]
    looks = Behind(peers, lambda: at[0], alarms)
    looks.look()
    assert not alarms.found()
    looks.look()
    ((about, error),) = alarms.found()
    assert (about, error.code, error.evidence["height"]) == (ABOUT, "blocks-pruned", GONE)
    at[0] += 1
    looks.look()
    looks.look()
    assert not alarms.found()
    at[0] = NEWEST
    looks.look()
    looks.look()
    assert not alarms.found()
    at[0] = GONE - 1
    alone = Behind(peers[2:], lambda: at[0], alarms)
    alone.look()
    alone.look()
    assert not alarms.found()


def test_it_looks_by_itself_until_it_is_closed(peers: list[Peer], monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread ends with the node."""
    monkeypatch.setattr(behind, "LOOK_S", 0.01)
    alarms = Alarms()
    looks = Behind(peers, lambda: GONE - 1, alarms)
    looks.start()
    try:
        for _ in range(3_000):
            if alarms.found():
                break
            looks._closing.wait(0.01)
        assert alarms.codes() == {"blocks-pruned": 1}
    finally:
        looks.close()
    looks._thread.join(30)
    assert not looks._thread.is_alive()


def test_it_goes_on_looking_after_what_should_not_happen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that fails in a way that nobody thought of ends no thread: the next one is made."""
    monkeypatch.setattr(behind, "LOOK_S", 0.01)
    looked: list[int] = []
    again = Event()

    def height() -> int:
        looked.append(1)
        if len(looked) == 1:
            raise OverflowError("a fault")
        again.set()
        return len(looked)

    looks = Behind([], height, Alarms())
    looks.start()
    try:
        assert again.wait(10)
    finally:
        looks.close()


def test_a_peers_endless_height_is_no_height() -> None:
    """JSON of a stranger may hold a number without end; the peer then counts as one that did not answer."""

    class Endless(Peer):
        """Every commit is of a height without end."""

        def request(self, *_: Any, **__: Any) -> Answer:
            """See `Peer`."""
            return Answer(200, b'{"result":{"signed_header":{"commit":{"height":Infinity}}}}', "application/json")

    assert not is_forgotten([Endless("http://127.0.0.1:9")], 5)
