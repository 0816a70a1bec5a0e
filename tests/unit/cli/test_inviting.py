"""An invitation fetched from a running node: everything is checked, and the nodes that order come first."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.adapters.home.joining import Invitation, read_invitation
from ledger.adapters.home.network import INVITATION, MemberPlan, NetworkPlan, create_network, read_rulebook
from ledger.cli.inviting import fetch_invitation
from ledger.core.genesis import COMETBFT
from ledger.errors import LedgerError, MalformedError
from tests.unit.client.server import Answer, Asked, serve

ROOT = Path(__file__).resolve().parents[3]
JSON = "application/json"


@pytest.fixture(scope="module")
def invitation(tmp_path_factory: pytest.TempPathFactory) -> Invitation:
    """What a network of two validators says of itself in a folder."""
    rulebook, calendars = read_rulebook(ROOT / "contracts" / "data-sharing")
    members = [MemberPlan(name, {"zh": "局", "en": "Bureau"}) for name in ("a", "b")]
    plan = NetworkPlan("net.test", members, "", rulebook, calendars, 1_795_248_000_000, engine=COMETBFT)
    folder = tmp_path_factory.mktemp("inviting") / "net"
    create_network(folder, plan, hand_over=True)
    return read_invitation(folder / INVITATION)


def node(known: Invitation, role: str, swap: bytes = b"", **status: object) -> Callable[[Asked], Answer]:
    """A node that knows the second of two others by HTTP; `swap` stands in place of every bundle."""

    def answer(asked: Asked) -> Answer:
        if asked.path == "/v1/genesis":
            return 200, JSON, known.genesis.data
        if asked.path == "/v1/status":
            return 200, JSON, json.dumps({"role": role, **status}).encode()
        if asked.path == "/v1/peers":
            return 200, JSON, json.dumps({"http": [known.http[1]], "p2p": list(known.p2p)}).encode()
        return 200, JSON, swap or known.bundles[bytes.fromhex(asked.path.rpartition("/")[2])]  # type: ignore[index]

    return answer


@pytest.mark.parametrize(("role", "first"), [("validator", True), ("sequencer", True), ("follower", False)])
def test_what_a_node_tells_is_an_invitation(invitation: Invitation, role: str, first: bool) -> None:
    """The node that was asked comes first when it orders, and last when it only follows."""
    with serve(node(invitation, role)) as url:
        found = fetch_invitation(url)
    assert (found.genesis, found.bundles, found.p2p) == (invitation.genesis, invitation.bundles, invitation.p2p)
    assert found.http == ((url, invitation.http[1]) if first else (invitation.http[1], url))


def test_a_ledger_that_moved_is_known_to_have(invitation: Invitation) -> None:
    """How often it moved to another engine comes with the invitation; anything but a count is refused."""
    with serve(node(invitation, "validator", moves=2)) as url:
        assert fetch_invitation(url).moves == 2
    for moves in (-1, "2", True, 10**6):
        with serve(node(invitation, "validator", moves=moves)) as url, pytest.raises(MalformedError):
            fetch_invitation(url)


def test_another_bundle_than_the_genesis_names_is_refused(invitation: Invitation) -> None:
    """A node cannot slip in other rules."""
    other = invitation.bundles[invitation.genesis.calendar]
    with serve(node(invitation, "validator", swap=other)) as url, pytest.raises(MalformedError) as caught:
        fetch_invitation(url)
    assert caught.value.code == "bundle-hash"


def test_an_odd_answer_is_no_invitation() -> None:
    """A server that is no node is refused, not half believed."""
    with serve(lambda _: (200, JSON, b"{}")) as url, pytest.raises(LedgerError):
        fetch_invitation(url)
