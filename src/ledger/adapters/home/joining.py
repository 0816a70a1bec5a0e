"""Makes the data directory of a department that joins a running network, and the documents that register its keys.

Rules: keys are made here, on the department's own machine, and never leave it; what leaves is one registration a key, with
the proof that its holder asks for it (SPEC R-K04), for the others to vote on. A node that joins starts with block 0 and
gets everything else from its peers, checked by its own replay; with CometBFT they let it connect once its `p2p` key is
registered, and it has a vote once its `consensus` key is; there it
may take the state from a snapshot, behind moves too. Not here: fetching an invitation from a node, and the votes.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ledger.adapters.home import comethome, datadir
from ledger.adapters.home.handover import make_empty, make_ledger, read_pinned, registration, write_pinned
from ledger.adapters.home.keyfile import create_key, write_secret
from ledger.adapters.home.network import PEERS, write_comet
from ledger.adapters.home.networkplan import DEFAULT_KEY_ROLES, LOOPBACK, ROLE_FOLLOWER, ROLE_VALIDATOR, free_ports
from ledger.adapters.home.nodefile import (
    COSIGN_KEY,
    LOG_KEY,
    SETTINGS,
    TOKEN,
    CometSettings,
    NodeSettings,
    encode_settings,
    event_key_file,
)
from ledger.adapters.home.statesyncfile import SyncRequest, TrustedHeader, check_servers, write_request
from ledger.core import canonical
from ledger.core.address import encode_address, parse_address, parse_peer
from ledger.core.genesis import COMETBFT, Genesis, check_member_id
from ledger.core.hashing import Digest
from ledger.core.keys import CONSENSUS, COSIGN, EVENT, LOG, P2P, Signer
from ledger.errors import MalformedError, NotFoundError, RejectedError

REGISTRATIONS: Final = "registrations"
PEERS_BYTES_MAX: Final = 256 * 1024
_PEERS_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a joining node needs of its network: genesis, bundles, nodes to ask (`http`, those that order first), engines
    to connect to (`p2p`, as `<node id>@host:port`), and how often the ledger moved to another engine."""

    genesis: Genesis
    bundles: Mapping[Digest, bytes]
    http: tuple[str, ...]
    p2p: tuple[str, ...]
    moves: int = 0


@dataclass(frozen=True, slots=True)
class Joined:
    """A node that was made: its settings, and by use the registration of each key, as `approve propose` reads it."""

    settings: NodeSettings
    registrations: dict[str, dict[str, Any]]
    files: dict[str, Path]


def read_invitation(folder: Path) -> Invitation:
    """The invitation in a folder as `network new` leaves it. Raises `NotFoundError`, `MalformedError`."""
    genesis, bundles = read_pinned(folder)
    path = folder / PEERS
    if not path.is_file():
        raise NotFoundError("invitation", "no peers.json in this folder", path=str(folder))
    if path.stat().st_size > PEERS_BYTES_MAX:
        raise MalformedError("peers", "too large", path=str(path))
    return Invitation(genesis, bundles, *parse_peers(path.read_bytes()))


def parse_peers(data: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(addresses of nodes, addresses of engines) of a peers document. Raises `MalformedError` (code `peers`)."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise MalformedError("peers", "not JSON") from None
    if not isinstance(document, dict) or set(document) != {"http", "p2p"}:
        raise MalformedError("peers", "expected the lists http and p2p")
    http, p2p = document["http"], document["p2p"]
    for texts in (http, p2p):
        if not isinstance(texts, list) or len(texts) > _PEERS_MAX or not all(isinstance(text, str) for text in texts):
            raise MalformedError("peers", "expected the lists http and p2p")
    for text in p2p:
        parse_peer(text)
    return tuple(http), tuple(p2p)


@dataclass(frozen=True, slots=True)
class FromSnapshot:
    """That a node joins its chain from a snapshot, and the header to start from, where people named one."""

    trusted: TrustedHeader | None = None


def join_node(
    data_dir: Path,
    invitation: Invitation,
    member: str,
    *,
    listen: str = "",
    p2p: str = "",
    snapshot: FromSnapshot | None = None,
) -> Joined:
    """Make keys, settings and block 0 of a node of `member` in the new or empty folder `data_dir`.

    `listen` and `p2p` are host:port of its HTTP and its CometBFT; empty picks a free loopback port. With `snapshot` its
    first start takes the state from the other nodes instead of deciding every block again (SPEC R-N74). Of a ledger that
    moved it is a follower, which passes all seams but the last and is moved there (`moving`); with `snapshot` it needs no
    seam and is a validator to be at once. Raises
    `ConflictError` (`folder-not-empty`), `MalformedError` (`address`, `member-id`, `state-sync-nodes`), `RejectedError`
    (`state-sync-engine`) for a snapshot of a ledger that a sequencer orders.
    """
    check_member_id(member)
    genesis = invitation.genesis
    if snapshot is not None:
        if genesis.engine != COMETBFT and not invitation.moves:
            raise RejectedError("state-sync-engine", "no CometBFT orders this ledger", got=genesis.engine)
        check_servers(invitation.http)
    free = free_ports(2)
    host, port = parse_address(listen or f"{LOOPBACK}:{free[0]}")
    p2p_listen = encode_address(*parse_address(p2p or f"{LOOPBACK}:{free[1]}"))
    make_empty(data_dir)
    data_dir.chmod(0o700)
    (data_dir / datadir.KEYS).mkdir(mode=0o700)
    signers: list[tuple[Signer, str, Sequence[str]]] = [
        (create_key(data_dir / event_key_file(member)), EVENT, DEFAULT_KEY_ROLES),
        (create_key(data_dir / COSIGN_KEY), COSIGN, ()),
    ]
    role, comet = ROLE_FOLLOWER, None
    if snapshot is not None or (genesis.engine == COMETBFT and not invitation.moves):
        role = ROLE_VALIDATOR
        keys = comethome.create_keys(data_dir / comethome.HOME)
        signers += [(create_key(data_dir / LOG_KEY), LOG, ()), (keys.p2p, P2P, ()), (keys.consensus, CONSENSUS, ())]
        comet = CometSettings(p2p_listen, f"{keys.node_id}@{p2p_listen}", invitation.p2p)
        if invitation.moves:  # the chain's genesis.json names its seam: other nodes have it
            comethome.write_config(
                data_dir / comethome.HOME, listen=comet.p2p_listen, peers=comet.p2p_peers, moniker=member
            )
        else:
            write_comet(data_dir, genesis, comet, member)
    comment, passes = f"Node of {member} in {genesis.origin}", 0 if comet else max(0, invitation.moves - 1)
    text = encode_settings(role, invitation.http, host, port, comment, comet, passes)
    (data_dir / SETTINGS).write_text(text, "utf-8")
    write_secret(data_dir / TOKEN, secrets.token_urlsafe(32).encode("ascii") + b"\n")
    write_pinned(data_dir, genesis, invitation.bundles)
    make_ledger(data_dir, genesis, invitation.bundles)
    if snapshot is not None:
        write_request(data_dir, SyncRequest(snapshot.trusted, invitation.moves > 0))
    documents = {use: _document(signer, genesis.origin, member, use, roles) for signer, use, roles in signers}
    settings = NodeSettings(role, invitation.http, host, port, comet)
    return Joined(settings, documents, _write_registrations(data_dir / REGISTRATIONS, documents))


def _document(signer: Signer, origin: str, member: str, use: str, roles: Sequence[str]) -> dict[str, Any]:
    """A registration with what it is for, as `ledger key show --register` prints it."""
    made = registration(signer, origin, member, use)
    return {**made, "member": member, "origin": origin, "roles": list(roles)}


def _write_registrations(folder: Path, documents: Mapping[str, dict[str, Any]]) -> dict[str, Path]:
    """One file a key; there is no secret in them."""
    folder.mkdir()
    files: dict[str, Path] = {}
    for use, document in documents.items():
        files[use] = folder / f"{use}.json"
        files[use].write_bytes(canonical.encode(document) + b"\n")
    return files
