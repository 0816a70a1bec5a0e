"""Makes a network: keys, genesis, and one data directory (or hand-over folder) for each member that runs a node.

Rules: a member's keys are made here once and lie only in the folder of the node that uses them; members without a node
have their event keys in the folder of their host. A data directory holds block 0 and fresh signer states, so the node
starts there and then. A hand-over folder holds neither: signer states are bound to machine and file, so the department
makes them with `init_node` on its own machine.
Not here: what the settings mean to a running node, and the rulebook's contents.
"""

from __future__ import annotations

import secrets
import shutil
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ledger.adapters import datadir
from ledger.adapters.keyfile import create_key, read_key, read_secret, write_secret
from ledger.adapters.nodefile import (
    COSIGN_KEY,
    EVENT_KEY,
    GENESIS,
    LOG_KEY,
    SETTINGS,
    TOKEN,
    NodeSettings,
    encode_settings,
    event_key_file,
    read_settings,
)
from ledger.adapters.signerstate import SignerState
from ledger.adapters.sqlite.lock import DataDirLock
from ledger.core import canonical
from ledger.core.bundle import bundle_hash, encode_bundle, parse_bundle
from ledger.core.genesis import GENESIS_BYTES_MAX, Genesis, Predecessor, check_member_id, new_genesis, parse_genesis
from ledger.core.hashing import Digest
from ledger.core.keys import COSIGN, ED25519, EVENT, LOG, Ed25519Signer, registration_message
from ledger.errors import ConflictError, MalformedError, NotFoundError
from ledger.limits import BUNDLE_BYTES_MAX

BUNDLES: Final = "bundles"
TRUST: Final = "trust.json"
PREDECESSOR: Final = "predecessor.json"
CALENDARS: Final = "calendars"
DEFAULT_KEY_ROLES: Final = ("system",)


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """One event key of a member: `label` names its file, `roles` are what its signatures count as."""

    label: str = EVENT_KEY
    roles: tuple[str, ...] = DEFAULT_KEY_ROLES


@dataclass(frozen=True, slots=True)
class MemberPlan:
    """A first member. `host` is the member whose node keeps this one's keys; None: it runs a node and cosigns.

    `listen` is host:port of its node; empty picks a free loopback port.
    """

    id: str
    title: Mapping[str, str]
    roles: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    host: str | None = None
    listen: str = ""
    keys: tuple[KeyPlan, ...] = (KeyPlan(),)


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """A network to be made; `time` is unix ms of block 0, `parameters` override the genesis defaults.

    `continues` is the end of the network that this one follows (SPEC R-G06).
    """

    name: str
    members: Sequence[MemberPlan]
    sequencer: str
    rulebook: Mapping[str, bytes]
    calendars: Mapping[str, bytes]
    time: int
    clock: str = "wall"
    parameters: Mapping[str, int] = field(default_factory=dict)
    continues: Predecessor | None = None


@dataclass(frozen=True, slots=True)
class CreatedNetwork:
    """What `create_network` made: folders and addresses by member, the sequencer's first."""

    genesis: Genesis
    folders: dict[str, Path]
    urls: dict[str, str]


def create_network(directory: Path, plan: NetworkPlan, *, hand_over: bool = False) -> CreatedNetwork:
    """Make the network below the new or empty folder `directory`, one folder a node, named by member.

    Raises `ConflictError` (`folder-not-empty`), `MalformedError` for a plan that no genesis can hold.
    """
    nodes = _check_plan(plan)
    _make_empty(directory)
    for member in nodes:
        (directory / member / datadir.KEYS).mkdir(parents=True, mode=0o700)
        (directory / member).chmod(0o700)
    entries, signers = _make_keys(directory, plan)
    bundles = {bundle_hash(files): encode_bundle(files) for files in (plan.rulebook, plan.calendars)}
    genesis = new_genesis(
        name=plan.name,
        time=plan.time,
        members=entries,
        rulebook=bundle_hash(plan.rulebook),
        calendar=bundle_hash(plan.calendars),
        sign={signer.public.raw.hex(): signer for signer in signers},
        clock=plan.clock,
        parameters=dict(plan.parameters),
        continues=plan.continues,
    )
    urls = _write_nodes(directory, plan, nodes, genesis, bundles)
    folders = {member: directory / member for member in nodes}
    _write_trust(directory, genesis)
    if not hand_over:
        for folder in folders.values():
            make_ledger(folder, genesis, bundles)
    return CreatedNetwork(genesis, folders, urls)


def init_node(source: Path, data_dir: Path) -> tuple[Genesis, NodeSettings]:
    """Make the data directory `data_dir` from the hand-over folder `source`; both may be the same folder.

    Raises `ConflictError` (`node-initialised`) where a ledger or a signer state exists: states are made once, with the key.
    """
    genesis, bundles, settings = read_hand_over(source)
    for name in (datadir.DATABASE, datadir.SIGNER_STATE, datadir.LOG_STATE):
        for folder in {source, data_dir}:
            if (folder / name).exists():
                raise ConflictError("node-initialised", "this node was initialised before", path=str(folder / name))
    if data_dir.resolve() != source.resolve():
        _make_empty(data_dir)
        data_dir.chmod(0o700)
        for path in sorted(source.rglob("*")):
            target = data_dir / path.relative_to(source)
            if path.is_dir():
                target.mkdir(mode=0o700)
            elif path.suffix == ".key" or path.name == TOKEN:
                write_secret(target, read_secret(path))
            else:
                shutil.copyfile(path, target)
    make_ledger(data_dir, genesis, bundles)
    return genesis, settings


def read_hand_over(folder: Path) -> tuple[Genesis, dict[Digest, bytes], NodeSettings]:
    """Genesis, bundles and settings of a hand-over folder, each checked against the genesis."""
    settings = read_settings(folder)
    try:
        data = (folder / GENESIS).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError("hand-over", "no genesis.json in this folder", path=str(folder)) from error
    if len(data) > GENESIS_BYTES_MAX:
        raise MalformedError("genesis", "too large", size=len(data))
    genesis = parse_genesis(data)
    bundles: dict[Digest, bytes] = {}
    for digest in (genesis.rulebook, genesis.calendar):
        path = folder / BUNDLES / f"{digest.hex()}.json"
        if not path.exists():
            raise NotFoundError("bundle-file", "a bundle that the genesis names is missing", path=str(path))
        if path.stat().st_size > 2 * BUNDLE_BYTES_MAX:
            raise MalformedError("bundle-size", "too large", path=str(path))
        bundles[digest] = path.read_bytes()
        if bundle_hash(parse_bundle(bundles[digest])) != digest:
            raise MalformedError("bundle-hash", "the file is another bundle than its name says", path=str(path))
    return genesis, bundles, settings


def make_ledger(data_dir: Path, genesis: Genesis, bundles: Mapping[Digest, bytes]) -> None:
    """Block 0 and the fresh signer states of the keys that lie in `data_dir`."""
    datadir.create_ledger(data_dir, genesis, bundles)
    for key, state in ((COSIGN_KEY, datadir.SIGNER_STATE), (LOG_KEY, datadir.LOG_STATE)):
        if (data_dir / key).exists():
            signer = read_key(data_dir / key)
            SignerState.create(data_dir / state, genesis.origin, signer.public.key_id).close()


def renew_cosigner(data_dir: Path, member: str) -> tuple[Genesis, dict[str, Any]]:
    """A new cosigner key with a fresh state for a node that does not run; what registers it (SPEC R-Q31, R-K04).

    The old key and its state stay beside it under a number: a key never signs without the state that it was made with.
    """
    genesis, _, _ = read_hand_over(data_dir)
    check_member_id(member)
    lock = DataDirLock(data_dir)
    try:
        key, state = data_dir / COSIGN_KEY, data_dir / datadir.SIGNER_STATE
        number = 1
        while _numbered(key, number).exists() or _numbered(state, number).exists():
            number += 1
        for path in (state, key):  # the state first: a key without one never signs
            if path.exists():
                path.rename(_numbered(path, number))
        signer = create_key(key)
        SignerState.create(state, genesis.origin, signer.public.key_id).close()
    finally:
        lock.close()
    proof = signer.sign(registration_message(genesis.origin, member, COSIGN)).hex()
    public = signer.public.raw.hex()
    return genesis, {"algorithm": ED25519, "proof": proof, "public": public, "roles": [], "use": COSIGN}


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}-{number}{path.suffix}")


def read_rulebook(folder: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """(rulebook files, calendar files) of a folder as in `contracts/`: calendars stand below `calendars/`."""
    if not folder.is_dir():
        raise NotFoundError("rulebook", "no such folder", path=str(folder))
    files = datadir.read_bundle_folder(folder)
    calendars = datadir.read_bundle_folder(folder, only=CALENDARS)
    rulebook = {path: data for path, data in files.items() if not path.startswith(f"{CALENDARS}/")}
    if not rulebook or not calendars:
        raise MalformedError("rulebook", "a rulebook folder holds rules and a folder `calendars`", path=str(folder))
    return rulebook, calendars


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Ports that nobody listens on right now; all are held at once, so they differ."""
    held = [socket.socket() for _ in range(count)]
    try:
        for each in held:
            each.bind((host, 0))
        return [int(each.getsockname()[1]) for each in held]
    finally:
        for each in held:
            each.close()


def _check_plan(plan: NetworkPlan) -> list[str]:
    """Members that run a node, the sequencer first."""
    nodes = [member.id for member in plan.members if member.host is None]
    for member in plan.members:
        check_member_id(member.id)
        labels = [key.label for key in member.keys]
        if len(set(labels)) != len(labels) or not all(map(_is_label, labels)):
            raise MalformedError("plan", "labels of keys are distinct, lower-case words", member=member.id, got=labels)
        if member.host is not None and member.host not in nodes:
            raise MalformedError("plan", "the host of a member has to run a node", member=member.id, host=member.host)
    if plan.sequencer not in nodes:
        raise MalformedError("plan", "the sequencer is none of the members with a node", got=plan.sequencer)
    return [plan.sequencer, *(member for member in nodes if member != plan.sequencer)]


def _is_label(label: str) -> bool:
    return label.isascii() and label.replace("-", "").isalnum() and label == label.lower()


def _make_empty(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise ConflictError("folder-not-empty", "the folder has to be new or empty", path=str(directory))


def _make_keys(directory: Path, plan: NetworkPlan) -> tuple[list[dict[str, Any]], list[Ed25519Signer]]:
    """Key files of every member; (genesis members, signers)."""
    entries: list[dict[str, Any]] = []
    signers: list[Ed25519Signer] = []
    for member in sorted(plan.members, key=lambda each: each.id):
        wanted = [(event_key_file(member.id, key.label), EVENT, key.roles) for key in member.keys]
        if member.host is None:
            wanted.append((COSIGN_KEY, COSIGN, ()))
        if member.id == plan.sequencer:
            wanted.append((LOG_KEY, LOG, ()))
        keys: list[dict[str, Any]] = []
        for file, use, roles in wanted:
            signer = create_key(directory / (member.host or member.id) / file)
            signers.append(signer)
            public = signer.public.raw.hex()
            keys.append({"algorithm": ED25519, "public": public, "roles": sorted(roles), "use": use})
        attributes, title = dict(member.attributes), dict(member.title)
        entries.append(
            {"attributes": attributes, "id": member.id, "keys": keys, "roles": sorted(member.roles), "title": title}
        )
    return entries, signers


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
    nodes: Sequence[str],
    genesis: Genesis,
    bundles: Mapping[Digest, bytes],
) -> dict[str, str]:
    """node.toml, token, genesis and bundles of each node; addresses by member."""
    addresses = _addresses(plan, nodes)
    urls = {member: NodeSettings("", (), host, port).url for member, (host, port) in addresses.items()}
    for member in nodes:
        folder = directory / member
        host, port = addresses[member]
        role = "sequencer" if member == plan.sequencer else "follower"
        peers = [urls[other] for other in nodes if other != member]
        text = encode_settings(role, peers, host, port, f"Node of {member} in {genesis.origin}")
        (folder / SETTINGS).write_text(text, "utf-8")
        write_secret(folder / TOKEN, secrets.token_urlsafe(32).encode("ascii") + b"\n")
        (folder / GENESIS).write_bytes(genesis.data)
        (folder / BUNDLES).mkdir(mode=0o700)
        for digest, data in bundles.items():
            (folder / BUNDLES / f"{digest.hex()}.json").write_bytes(data)
    return urls


def _addresses(plan: NetworkPlan, nodes: Sequence[str]) -> dict[str, tuple[str, int]]:
    """(host, port) of each node; free loopback ports where the plan names none."""
    listens = {member.id: member.listen for member in plan.members}
    unset = [member for member in nodes if not listens[member]]
    free = dict(zip(unset, free_ports(len(unset)), strict=True))
    found: dict[str, tuple[str, int]] = {}
    for member in nodes:
        host, _, port = (listens[member] or f"127.0.0.1:{free[member]}").rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
            raise MalformedError("plan", "expected host:port", member=member, got=listens[member])
        found[member] = (host.strip("[]"), int(port))
    if len(set(found.values())) != len(found):
        raise MalformedError("plan", "two nodes would listen on one address", got=sorted(set(found.values())))
    return found
