"""Fetches from a node of a running network what a department needs to join it: genesis, bundles, and who else is there.

Rule: nothing is believed: bundles are checked against the genesis, and the genesis is what its origin says; whether it is
the right network only the origin tells that the department was given. Not here: making a node of it.
"""

from __future__ import annotations

from ledger.adapters.home.handover import check_bundle
from ledger.adapters.home.joining import Invitation, parse_peers
from ledger.client.http import NodeClient
from ledger.core.genesis import parse_genesis
from ledger.errors import MalformedError
from ledger.limits import ENGINE_MOVES_MAX

ORDERING = ("sequencer", "validator")


def fetch_invitation(url: str) -> Invitation:
    """The invitation of the node at `url`. Raises `UnavailableError`, `MalformedError`."""
    client = NodeClient(url)
    try:
        genesis = parse_genesis(client.get_bytes(("v1", "genesis")))
        bundles = {
            digest: check_bundle(digest, client.get_bytes(("v1", "bundles", digest.hex())), url)
            for digest in (genesis.rulebook, genesis.calendar)
        }
        http, p2p = parse_peers(client.get_bytes(("v1", "peers")))
        status = client.get_json(("v1", "status"))
        orders, moves = status.get("role") in ORDERING, status.get("moves", 0)
        if type(moves) is not int or not 0 <= moves <= ENGINE_MOVES_MAX:
            raise MalformedError("node-answer", "not how often a ledger moved", got=moves)
    finally:
        client.close()
    # Who follows asks the first address of the list, which has to be one that orders.
    nodes = (client.url, *http) if orders else (*http, client.url)
    return Invitation(genesis, bundles, tuple(dict.fromkeys(nodes)), p2p, moves)
