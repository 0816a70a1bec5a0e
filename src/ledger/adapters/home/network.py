"""Makes a network: keys, genesis, and one data directory (or hand-over folder) for each member that runs a node.

Rules: a member's keys are made here once and lie only in the folder of the node that uses them; members without a node
have their event keys in the folder of their host. A data directory holds block 0 and fresh signer states, so the node
starts there and then; a hand-over folder holds neither (see `handover`). The folder `invitation` holds what a member
that joins later needs, and no secret.
Not here: what a plan may say (see `networkplan`), what the settings mean to a running node, and the rulebook's contents.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ledger.adapters.home import comethome, datadir
from ledger.adapters.home.handover import (
    BUNDLES,
    init_node,
    make_empty,
    make_ledger,
    read_hand_over,
    renew_cosigner,
    write_pinned,
)
from ledger.adapters.home.keyfile import create_key, write_secret
from ledger.adapters.home.networkplan import (
    ROLE_OBSERVER,
    ROLE_SEQUENCER,
    ROLE_VALIDATOR,
    KeyPlan,
    MemberPlan,
    NetworkPlan,
    Place,
    check_plan,
    free_ports,
    places,
)
from ledger.adapters.home.nodefile import (
    COSIGN_KEY,
    GENESIS,
    LOG_KEY,
    SETTINGS,
    TOKEN,
    CometSettings,
    encode_settings,
    event_key_file,
)
from ledger.core import canonical
from ledger.core.bundle import bundle_hash, encode_bundle
from ledger.core.genesis import GENESIS_BYTES_MAX, Genesis, new_genesis
from ledger.core.hashing import Digest
from ledger.core.keys import CONSENSUS, COSIGN, ED25519, EVENT, LOG, P2P, Ed25519Signer
from ledger.errors import MalformedError, NotFoundError

__all__ = [
    "BUNDLES",
    "GENESIS",
    "CreatedNetwork",
    "KeyPlan",
    "MemberPlan",
    "NetworkPlan",
    "create_network",
    "free_ports",
    "init_node",
    "make_ledger",
    "read_hand_over",
    "read_rulebook",
    "renew_cosigner",
]

TRUST: Final = "trust.json"
PREDECESSOR: Final = "predecessor.json"
INVITATION: Final = "invitation"
PEERS: Final = "peers.json"
CALENDARS: Final = "calendars"


@dataclass(frozen=True, slots=True)
class CreatedNetwork:
    """What `create_network` made: folders, addresses and roles by member, those that order first."""

    genesis: Genesis
    folders: dict[str, Path]
    urls: dict[str, str]
    roles: dict[str, str] = field(default_factory=dict)


def create_network(directory: Path, plan: NetworkPlan, *, hand_over: bool = False) -> CreatedNetwork:
    """Make the network below the new or empty folder `directory`, one folder a node, named by member.

    Raises `ConflictError` (`folder-not-empty`), `MalformedError` for a plan that no genesis can hold.
    """
    nodes = check_plan(plan)
    make_empty(directory)
    for node in nodes:
        (directory / node.id / datadir.KEYS).mkdir(parents=True, mode=0o700)
        (directory / node.id).chmod(0o700)
    entries, signers, peers = _make_keys(directory, plan)
    bundles = {bundle_hash(files): encode_bundle(files) for files in (plan.rulebook, plan.calendars)}
    genesis = new_genesis(
        name=plan.name,
        time=plan.time,
        members=entries,
        rulebook=bundle_hash(plan.rulebook),
        calendar=bundle_hash(plan.calendars),
        sign={signer.public.raw.hex(): signer for signer in signers},
        clock=plan.clock,
        engine=plan.engine,
        parameters=dict(plan.parameters),
        continues=plan.continues,
    )
    found = places(plan, nodes)
    _write_nodes(directory, plan, nodes, found, peers, genesis, bundles)
    _write_trust(directory, genesis)
    _write_invitation(directory / INVITATION, plan, nodes, found, peers, genesis, bundles)
    folders = {node.id: directory / node.id for node in nodes}
    if not hand_over:
        for folder in folders.values():
            make_ledger(folder, genesis, bundles)
    urls = {node.id: found[node.id].url for node in nodes}
    return CreatedNetwork(genesis, folders, urls, {node.id: plan.role(node) for node in nodes})


def read_rulebook(folder: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """(rulebook files, calendar files) of a folder as in `contracts/`: calendars stand below `calendars/`.

    Raises `NotFoundError` or `MalformedError` (`rulebook-folder`) for a folder that is none, or no rulebook's.
    """
    from ledger.rules.rulebook import MANIFEST

    if not folder.is_dir():
        raise NotFoundError("rulebook-folder", "no such folder", path=str(folder))
    files = datadir.read_bundle_folder(folder)
    calendars = datadir.read_bundle_folder(folder, only=CALENDARS)
    rulebook = {path: data for path, data in files.items() if not path.startswith(f"{CALENDARS}/")}
    if MANIFEST not in rulebook or not calendars:
        missing = f"{CALENDARS}/" if MANIFEST in rulebook else MANIFEST
        raise MalformedError("rulebook-folder", "not the folder of a rulebook", path=str(folder), missing=missing)
    return rulebook, calendars


def _make_keys(directory: Path, plan: NetworkPlan) -> tuple[list[dict[str, Any]], list[Ed25519Signer], dict[str, str]]:
    """Key files of every member; (genesis members, signers, CometBFT's node ids by member)."""
    entries: list[dict[str, Any]] = []
    signers: list[Ed25519Signer] = []
    node_ids: dict[str, str] = {}
    for member in sorted(plan.members, key=lambda each: each.id):
        role = plan.role(member) if member.host is None else ""
        wanted = [(event_key_file(member.id, key.label), EVENT, key.roles) for key in member.keys]
        if role and role != ROLE_OBSERVER:
            wanted.append((COSIGN_KEY, COSIGN, ()))
        if role in (ROLE_SEQUENCER, ROLE_VALIDATOR):
            wanted.append((LOG_KEY, LOG, ()))
        folder = directory / (member.host or member.id)
        made = [(create_key(folder / file), use, roles) for file, use, roles in wanted]
        if role == ROLE_VALIDATOR:
            home = comethome.create_keys(folder / comethome.HOME)
            made += [(home.consensus, CONSENSUS, ()), (home.p2p, P2P, ())]
            node_ids[member.id] = home.node_id
        signers += [signer for signer, _, _ in made]
        keys = [
            {"algorithm": ED25519, "public": signer.public.raw.hex(), "roles": sorted(roles), "use": use}
            for signer, use, roles in made
        ]
        attributes, title = dict(member.attributes), dict(member.title)
        entries.append(
            {"attributes": attributes, "id": member.id, "keys": keys, "roles": sorted(member.roles), "title": title}
        )
    return entries, signers, node_ids


def _write_trust(directory: Path, genesis: Genesis) -> None:
    """What an auditor or regulator is given: the origin to pin, and the genesis that it pins.

    Of a successor also the trust in what it continues: the older ledger must hold the note that the genesis names.
    """
    (directory / TRUST).write_bytes(canonical.encode({"origin": genesis.origin}) + b"\n")
    (directory / GENESIS).write_bytes(genesis.data)
    before = genesis.continues
    if before is not None:
        anchored = {"anchor": before.note.decode("utf-8"), "origin": before.origin}
        (directory / PREDECESSOR).write_bytes(canonical.encode(anchored, bytes_max=GENESIS_BYTES_MAX) + b"\n")


def _write_nodes(
    directory: Path,
    plan: NetworkPlan,
    nodes: Sequence[MemberPlan],
    found: Mapping[str, Place],
    node_ids: Mapping[str, str],
    genesis: Genesis,
    bundles: Mapping[Digest, bytes],
) -> None:
    """node.toml, token, genesis, bundles and CometBFT's files of each node."""
    for node in nodes:
        folder, place, role = directory / node.id, found[node.id], plan.role(node)
        # Who has no vote has nothing to say to the others, which would only ask it in vain.
        peers = [found[other.id].url for other in nodes if other != node and plan.role(other) != ROLE_OBSERVER]
        comet = None
        if role == ROLE_VALIDATOR:
            p2p = {member: f"{node_id}@{found[member].p2p}" for member, node_id in node_ids.items()}
            others = tuple(address for member, address in p2p.items() if member != node.id)
            comet = CometSettings(place.p2p, p2p[node.id], others)
            write_comet(folder, genesis, comet, node.id)
        comment = f"Node of {node.id} in {genesis.origin}"
        text = encode_settings(role, peers, place.host, place.port, comment, comet)
        (folder / SETTINGS).write_text(text, "utf-8")
        write_secret(folder / TOKEN, secrets.token_urlsafe(32).encode("ascii") + b"\n")
        write_pinned(folder, genesis, bundles)


def write_comet(folder: Path, genesis: Genesis, comet: CometSettings, member: str) -> None:
    """CometBFT's genesis and settings in the home below `folder`."""
    home = folder / comethome.HOME
    comethome.write_genesis(home, comethome.genesis_of(genesis))
    comethome.write_config(home, listen=comet.p2p_listen, peers=comet.p2p_peers, moniker=member)


def _write_invitation(
    folder: Path,
    plan: NetworkPlan,
    nodes: Sequence[MemberPlan],
    found: Mapping[str, Place],
    node_ids: Mapping[str, str],
    genesis: Genesis,
    bundles: Mapping[Digest, bytes],
) -> None:
    """What a member that joins needs: the genesis, its bundles, and where the nodes are that it may ask."""
    folder.mkdir()
    write_pinned(folder, genesis, bundles)
    peers = {
        "http": [found[node.id].url for node in nodes if plan.role(node) != ROLE_OBSERVER],
        "p2p": [f"{node_ids[node.id]}@{found[node.id].p2p}" for node in nodes if node.id in node_ids],
    }
    (folder / PEERS).write_text(json.dumps(peers, indent=2) + "\n", "utf-8")
