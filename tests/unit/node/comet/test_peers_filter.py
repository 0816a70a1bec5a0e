"""CometBFT asks of every peer whether it may connect: the registry answers, and nothing else does."""

from __future__ import annotations

import pytest

from ledger.core.keys import COSIGN, LOG, P2P, node_id
from ledger_node.comet import abci_pb2 as pb
from ledger_node.comet.handler import FILTER_ADDR, FILTER_ID, OK, REFUSED
from tests.models.governed import Governed
from tests.models.tiny_ledger import signer
from tests.unit.machine.test_validators import newcomer, rotation, validating
from tests.unit.node.comet.test_retired import Node


@pytest.fixture
def ledger() -> Governed:
    """Four members that order."""
    return validating()


def may_connect(ledger: Governed, peer: str) -> bool:
    """What CometBFT is told of a node id."""
    answer = Node(ledger).handler.query(pb.RequestQuery(path=f"{FILTER_ID}{peer}"))
    assert answer.code in (OK, REFUSED) and bool(answer.log) == (answer.code == REFUSED)
    return answer.code == OK


def peer_of(member: str) -> str:
    """The node id of a member's first p2p key."""
    return node_id(signer(member, P2P).public)


def test_members_connect_and_strangers_do_not(ledger: Governed) -> None:
    """SPEC R-N14: a node id in the registry may connect, in any case of its letters; any other, a part of one or none may
    not."""
    known = peer_of("ga")
    assert may_connect(ledger, known) and may_connect(ledger, known.upper())
    for stranger in (peer_of("zx"), "00" * 20, known[:-2], known + "00", f"{known}/", "", "*"):
        assert not may_connect(ledger, stranger), stranger


def test_who_may_connect_changes_by_vote(ledger: Governed) -> None:
    """SPEC R-N02, R-N14: from the block behind its admission on a member's node may connect; a rotated key may no more, and
    its successor may."""
    assert not may_connect(ledger, peer_of("zx"))
    ledger.change("sys.member.admit", {"member": "zx"}, newcomer(ledger, uses=(COSIGN, LOG, P2P)))
    (added,) = [peer for member, peer in ledger.app.head.registry.peer_ids() if member == "zx"]
    assert may_connect(ledger, added)
    old = peer_of("wj")
    assert may_connect(ledger, old)
    key, refs, args = rotation(ledger, "wj", P2P)
    ledger.change("sys.key.rotate", refs, args)
    assert not may_connect(ledger, old) and may_connect(ledger, node_id(key.public))


def test_a_suspended_member_does_not_connect(ledger: Governed) -> None:
    """SPEC R-N02, R-N14: a suspended member's node may not connect, and may again once the member is back."""
    ledger.change("sys.member.admit", {"member": "zx"}, newcomer(ledger, uses=(COSIGN, LOG, P2P)))
    (peer,) = [peer for member, peer in ledger.app.head.registry.peer_ids() if member == "zx"]
    for action, expected in (("suspend", False), ("resume", True)):
        ledger.change(f"sys.member.{action}", {"member": "zx"}, {})
        assert may_connect(ledger, peer) == expected


def test_addresses_are_no_reason_and_nothing_else_is_answered(ledger: Governed) -> None:
    """SPEC R-N14: an address is let through, since the key decides; every other query is refused."""
    handler = Node(ledger).handler
    assert handler.query(pb.RequestQuery(path=f"{FILTER_ADDR}10.0.0.9:26656")).code == OK
    for path in ("", "/p2p/filter/", "/p2p/filter/ids/" + peer_of("ga"), "/store", f" {FILTER_ID}{peer_of('ga')}"):
        assert handler.query(pb.RequestQuery(path=path)).code == REFUSED, path
