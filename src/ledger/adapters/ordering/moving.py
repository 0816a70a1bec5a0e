"""Moves a node's data directory to the engine that a vote put in force (SPEC R-N60 to R-N63).

Before the vote `prepare_move` makes the keys that a validator needs, on the department's own machine, with fresh states. At
the seam `move_node` writes CometBFT's genesis for the moved chain and turns the node into a validator. Genesis, origin,
ledger, and the cosigner's key with its lock stay as they are: what was signed once binds behind the seam too.
Rules: a node moves only at the seam itself and under its certificate, for that is what the new engine builds
on; keys and states that exist are never replaced. Not here: the vote (see `ledger.machine.enginemove`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ledger.adapters.home import comethome, datadir
from ledger.adapters.home.handover import read_genesis, registration
from ledger.adapters.home.joining import REGISTRATIONS
from ledger.adapters.home.keyfile import create_key, read_key
from ledger.adapters.home.networkplan import LOOPBACK, ROLE_VALIDATOR, free_ports
from ledger.adapters.home.nodefile import (
    LOG_KEY,
    SETTINGS,
    CometSettings,
    NodeSettings,
    edit_settings,
    read_settings,
)
from ledger.adapters.home.signerstate import SignerState
from ledger.adapters.ordering.certificates import CertificateBook
from ledger.adapters.ordering.epochs import read_epochs
from ledger.adapters.ordering.peers import Peer
from ledger.adapters.ordering.snapshots import FOLDER as SNAPSHOTS
from ledger.adapters.sqlite.reader import SqliteReader
from ledger.adapters.sqlite.snapshot import Snapshot
from ledger.adapters.sqlite.store import SqliteStore
from ledger.core import canonical
from ledger.core.address import encode_address, parse_address, parse_peer
from ledger.core.engine import ENGINE_KEY, Engine
from ledger.core.genesis import COMETBFT, Genesis, check_member_id, parse_genesis
from ledger.core.keys import CONSENSUS, LOG, P2P, Signer, node_id
from ledger.core.quorum import verify_certificate
from ledger.errors import FatalError, LedgerError, NotFoundError, RejectedError
from ledger.limits import NOTE_BYTES_MAX
from ledger.machine.block import Head
from ledger.machine.enginemove import engine_in_force

_OLD_DATA: Final = "data-"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a department hands to the others before the vote: its engine's address, and by use the registration of each
    key that was made for the move, with the file that holds it."""

    genesis: Genesis
    p2p: str
    registrations: dict[str, dict[str, Any]]
    files: dict[str, Path]


@dataclass(frozen=True, slots=True)
class Moved:
    """A node that was moved: the engine in force, its settings, and whether it has a vote in the chain's first set."""

    genesis: Genesis
    engine: Engine
    settings: NodeSettings
    votes: bool


def prepare_move(data_dir: Path, member: str, p2p: str = "") -> Prepared:
    """Make the keys that a validator needs and this node lacks; the node may run meanwhile. Idempotent.

    `p2p` is host:port where the other engines reach this one; empty keeps what is there, else picks a free loopback port.
    Raises `FatalError` (`signer-state-missing`) for a consensus key without its state, which never signs again, and
    `RejectedError` (`move-clock`) for a network of simulated time, (`move-already`) for a node that runs with CometBFT.
    """
    check_member_id(member)
    settings = read_settings(data_dir)
    genesis = read_genesis(data_dir)
    if genesis.clock != "wall":
        raise RejectedError("move-clock", "with CometBFT block time is the validators' own", clock=genesis.clock)
    if settings.role == ROLE_VALIDATOR:
        raise RejectedError("move-already", "this node has its keys of CometBFT", role=settings.role)
    made = [(_log_key(data_dir, genesis.origin), LOG)]
    home = data_dir / comethome.HOME
    keys = _home_keys(home)
    made += [(keys.p2p, P2P), (keys.consensus, CONSENSUS)]
    known = settings.comet.p2p_listen if settings.comet is not None else f"{LOOPBACK}:{free_ports(1)[0]}"
    listen = encode_address(*parse_address(p2p or known))
    address = f"{keys.node_id}@{listen}"
    peers = settings.comet.p2p_peers if settings.comet is not None else ()
    _write_settings(data_dir, settings.role, CometSettings(listen, address, peers))
    folder = data_dir / REGISTRATIONS
    folder.mkdir(exist_ok=True)
    documents: dict[str, dict[str, Any]] = {}
    files: dict[str, Path] = {}
    for signer, use in made:
        if signer is None:
            continue
        document = {**registration(signer, genesis.origin, member, use), "member": member, "origin": genesis.origin}
        documents[use], files[use] = document, folder / f"{use}.json"
        files[use].write_bytes(canonical.encode(document) + b"\n")
    return Prepared(genesis, address, documents, files)


def _log_key(data_dir: Path, origin: str) -> Signer | None:
    """The log key that was made for the move, None where the node had one before."""
    key, state = data_dir / LOG_KEY, data_dir / datadir.LOG_STATE
    if not key.exists():
        signer = create_key(key)
        SignerState.create(state, origin, signer.public.key_id).close()
        return signer
    return read_key(key) if (data_dir / REGISTRATIONS / f"{LOG}.json").exists() else None


def _home_keys(home: Path) -> comethome.HomeKeys:
    """The keys of the engine's home, made where there are none; the state first, so that no key is without one."""
    if (home / comethome.CONSENSUS_KEY).exists():
        if not (home / comethome.SIGNING_STATE).exists():
            raise FatalError(
                "signer-state-missing", "a key without its state never signs again", path=comethome.SIGNING_STATE
            )
        return comethome.read_keys(home)
    if not (home / comethome.SIGNING_STATE).exists():
        home.mkdir(mode=0o700, exist_ok=True)
        comethome.create_signing_state(home)
    return comethome.create_keys(home)


def move_node(data_dir: Path, peers: Sequence[str]) -> Moved:
    """Turn a node that stands at the certified seam into a validator of the chain in force. Idempotent; it must not run.

    `peers` are the other engines, `<node id>@host:port`. Raises `RejectedError` (`engine-stays`, `seam-height`,
    `seam-uncertified`, `move-peer`), `NotFoundError` (`move-keys`), `UnavailableError` (`data-dir-locked`).
    """
    for peer in peers:
        parse_peer(peer)
    settings = read_settings(data_dir)
    store = SqliteStore.open(data_dir / datadir.DATABASE)
    try:
        head = store.load_head()
        if head is None:
            raise FatalError("store-empty", "the data directory holds no ledger")
        genesis = parse_genesis(store.genesis())
        in_force = engine_in_force(genesis, store.read_objects([ENGINE_KEY]).get(ENGINE_KEY))
        if in_force.name != COMETBFT or not in_force.moves:
            raise RejectedError("engine-stays", "no vote moved this ledger to another engine", got=in_force.name)
        home = data_dir / comethome.HOME
        if settings.comet is None or not (home / comethome.CONSENSUS_KEY).exists():
            raise NotFoundError("move-keys", "this node has no keys of a validator", path=str(home))
        _check_stands(data_dir, genesis, in_force, head)
        known = {peer for _, peer in head.registry.peer_ids()}
        for peer in peers:
            if parse_peer(peer)[0] not in known:
                raise RejectedError("move-peer", "no member's engine has this node id", got=peer)
        keys = comethome.read_keys(home)
        if _begin_chain(home, in_force.chain_id):
            # Their heights are the other chain's, and would pass for newer than any of this one.
            shutil.rmtree(data_dir / SNAPSHOTS, ignore_errors=True)
        store.write_engine_height(0)
    finally:
        store.close()
    comethome.write_genesis(
        home,
        comethome.comet_genesis(
            chain_id=in_force.chain_id,
            time_ms=head.time,
            validators=head.registry.validators(),
            origin=genesis.origin,
        ),
    )
    others = tuple(peer for peer in peers if parse_peer(peer)[0] != node_id(keys.p2p.public))
    comet = CometSettings(settings.comet.p2p_listen, settings.comet.p2p_address, others or settings.comet.p2p_peers)
    made = _write_settings(data_dir, ROLE_VALIDATOR, comet)
    own = keys.consensus.public.key_id
    votes = any(key.key_id == own for _, key in head.registry.validators())
    return Moved(genesis, in_force, made, votes)


def _check_stands(data_dir: Path, genesis: Genesis, in_force: Engine, head: Head) -> None:
    reader = SqliteReader(data_dir / datadir.DATABASE)
    try:
        with reader.snapshot() as snap:
            check_seam(snap, genesis, in_force, head)
    finally:
        reader.close()


def check_seam(snap: Snapshot, genesis: Genesis, in_force: Engine, head: Head) -> None:
    """The head is where the engine in force begins: block 0, or a seam under its certificate (R-N61).

    Raises `RejectedError` (`seam-height`, `seam-uncertified`), `VerificationError` for a certificate that does not hold.
    """
    first = max(0, in_force.seam)
    if head.height != first:
        raise RejectedError("seam-height", "the ledger is not at the seam", expected=first, got=head.height)
    if not in_force.moves:
        return  # block 0 needs no certificate: the origin pins it
    certificate = snap.certificates.of(head.size)
    if certificate is None:
        raise RejectedError("seam-uncertified", "this node holds no certificate of the seam", height=first)
    cosigners = read_epochs(snap, genesis, head.registry).at(head.size)
    checkpoint = verify_certificate(certificate, genesis.origin, head.registry.log_keys(), cosigners).checkpoint
    if (checkpoint.size, checkpoint.root) != (head.size, head.log.root()):
        raise RejectedError("seam-uncertified", "the certificate is over another tree", height=first)


def keep_seam(
    peers: Sequence[Peer],
    reader: SqliteReader,
    book: CertificateBook,
    head: Head,
    keep: Callable[[int, bytes], None],
) -> None:
    """Ask peers for the certificate of the seam at `head`, where this node came too late to collect it, and keep it."""
    with reader.snapshot() as snap:
        if snap.certificates.of(head.size) is not None:
            return
    cosigners = book.cosigners_at(head.size)
    for peer in peers:
        with suppress(LedgerError):  # who does not answer, or answers nonsense, is passed over
            answer = peer.request("GET", f"/v1/certificates/{head.size}", bytes_max=NOTE_BYTES_MAX)
            if answer.status != 200:
                continue
            checkpoint = verify_certificate(answer.body, book.origin, book.log_keys, cosigners).checkpoint
            if (checkpoint.size, checkpoint.root) == (head.size, head.log.root()):
                keep(head.size, answer.body)
                return


def check_chain(home: Path, in_force: Engine, origin: str) -> None:
    """CometBFT's genesis in `home` is that of the chain in force and of this ledger; raises `FatalError` (R-N61)."""
    chain_id, named = comethome.read_chain(home)
    if chain_id != in_force.chain_id:
        raise FatalError(
            "chain-id", "genesis.json is of another network's chain", got=chain_id, expected=in_force.chain_id
        )
    if named != origin:
        raise FatalError("chain-origin", "the chain was made for another ledger", got=named)


def _begin_chain(home: Path, chain_id: str) -> bool:
    """Set aside what an earlier chain left, its signing state too: heights begin anew, and votes name their chain.

    True where there was one."""
    try:
        before, _ = comethome.read_chain(home)
    except NotFoundError:
        return False
    if before == chain_id:
        return False
    data, aside = home / "data", home / f"{_OLD_DATA}{before}"
    if not aside.exists():
        data.rename(aside)
    if not (home / comethome.SIGNING_STATE).exists():
        comethome.create_signing_state(home)
    return True


def _write_settings(data_dir: Path, role: str, comet: CometSettings) -> NodeSettings:
    path = data_dir / SETTINGS
    edited = edit_settings(path.read_text("utf-8"), role, comet, str(path))
    new = path.with_name(f"{path.name}.new")
    new.write_text(edited, "utf-8")
    new.replace(path)
    return read_settings(data_dir)
