"""The folder that a department is handed: what it holds, and how it becomes a data directory on the department's machine.

Rules: a hand-over folder holds keys, genesis, bundles and settings, and neither a ledger nor signer states, for states are
bound to machine and file: `init_node` makes them, once, with the key. The same holds for CometBFT's signing state.
Not here: how the folder is made (see `network` and `joining`).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ledger.adapters.home import datadir
from ledger.adapters.home.comethome import (
    COMET_GENESIS,
    CONSENSUS_KEY,
    HOME,
    SECRETS,
    SIGNING_STATE,
    create_signing_state,
    read_chain,
)
from ledger.adapters.home.keyfile import create_key, read_key, read_secret, write_secret
from ledger.adapters.home.nodefile import COSIGN_KEY, GENESIS, LOG_KEY, TOKEN, NodeSettings, read_settings
from ledger.adapters.home.signerstate import SignerState
from ledger.adapters.sqlite.lock import DataDirLock
from ledger.core.bundle import bundle_hash, parse_bundle
from ledger.core.engine import chain_id
from ledger.core.genesis import GENESIS_BYTES_MAX, Genesis, check_member_id, parse_genesis
from ledger.core.hashing import Digest
from ledger.core.keys import COSIGN, ED25519, Signer, registration_message
from ledger.errors import ConflictError, FatalError, MalformedError, NotFoundError, RejectedError
from ledger.limits import BUNDLE_BYTES_MAX

BUNDLES: Final = "bundles"
SET_ASIDE: Final = "set-aside"
_STATES: Final = (datadir.DATABASE, datadir.SIGNER_STATE, datadir.LOG_STATE, f"{HOME}/{SIGNING_STATE}")
_SECRETS: Final = frozenset({TOKEN, *(f"{HOME}/{name}" for name in SECRETS)})


def init_node(source: Path, data_dir: Path) -> tuple[Genesis, NodeSettings]:
    """Make the data directory `data_dir` from the hand-over folder `source`; both may be the same folder.

    Raises `ConflictError` (`node-initialised`) where a ledger or a signer state exists: states are made once, with the key.
    """
    genesis, bundles, settings = read_hand_over(source)
    for name in _STATES:
        for folder in {source, data_dir}:
            if (folder / name).exists():
                raise ConflictError("node-initialised", "this node was initialised before", path=str(folder / name))
    if data_dir.resolve() != source.resolve():
        make_empty(data_dir)
        data_dir.chmod(0o700)
        for path in sorted(source.rglob("*")):
            inner = path.relative_to(source)
            target = data_dir / inner
            if path.is_dir():
                target.mkdir(mode=0o700)
            elif path.suffix == ".key" or inner.as_posix() in _SECRETS:
                write_secret(target, read_secret(path))
            else:
                shutil.copyfile(path, target)
    make_ledger(data_dir, genesis, bundles)
    return genesis, settings


def begin_again(data_dir: Path) -> tuple[Genesis, NodeSettings, Path]:
    """Block 0 in the folder of a node that has lost its copy of the ledger or of CometBFT's blocks; what it set aside.

    Keys and the states of what they signed stay where they are, untouched, so nothing is signed a second time (R-Q11,
    R-N21); the copies go to a folder of their own, and the node gets the ledger from the others. Raises `FatalError`
    (`signer-state-missing`, `signer-state-foreign`, `signer-state-damaged`) where a key lacks its own state, `RejectedError`
    (`again-moved`) for a chain that does not begin at block 0.
    """
    lock = DataDirLock(data_dir)
    try:
        genesis, bundles, settings = read_hand_over(data_dir)
        for key, state in ((COSIGN_KEY, datadir.SIGNER_STATE), (LOG_KEY, datadir.LOG_STATE)):
            if (data_dir / key).exists():
                SignerState(data_dir / state, genesis.origin, read_key(data_dir / key).public.key_id).close()
        home = data_dir / HOME
        if (home / CONSENSUS_KEY).exists() and not (home / SIGNING_STATE).exists():
            raise FatalError("signer-state-missing", "a key without its state never signs again", path=SIGNING_STATE)
        if (home / COMET_GENESIS).exists() and read_chain(home)[0] != chain_id(genesis.origin, 0):
            raise RejectedError("again-moved", "this chain begins behind a move of the ledger", path=str(data_dir))
        number = 1
        while (aside := numbered(data_dir / SET_ASIDE, number)).exists():
            number += 1
        aside.mkdir(mode=0o700)
        (aside / HOME).mkdir(mode=0o700)
        for path in sorted(data_dir.glob("*.sqlite*")):
            path.rename(aside / path.name)
        for path in sorted((home / "data").glob("*")):
            if not path.name.startswith(Path(SIGNING_STATE).stem):  # nor those of exchanged keys
                path.rename(aside / HOME / path.name)
    finally:
        lock.close()
    datadir.create_ledger(data_dir, genesis, bundles)  # takes the lock itself, and never writes over a ledger
    return genesis, settings, aside


def read_hand_over(folder: Path) -> tuple[Genesis, dict[Digest, bytes], NodeSettings]:
    """Genesis, bundles and settings of a hand-over folder, each checked against the genesis."""
    settings = read_settings(folder)
    return *read_pinned(folder), settings


def read_genesis(folder: Path) -> Genesis:
    """The genesis in a folder. Raises `NotFoundError` (code `hand-over`), `MalformedError`."""
    try:
        data = (folder / GENESIS).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError("hand-over", "no genesis.json in this folder", path=str(folder)) from error
    if len(data) > GENESIS_BYTES_MAX:
        raise MalformedError("genesis", "too large", size=len(data))
    return parse_genesis(data)


def read_pinned(folder: Path) -> tuple[Genesis, dict[Digest, bytes]]:
    """The genesis in a folder, and the bundles beside it that it names. Raises `NotFoundError`, `MalformedError`."""
    genesis = read_genesis(folder)
    bundles: dict[Digest, bytes] = {}
    for digest in (genesis.rulebook, genesis.calendar):
        path = folder / BUNDLES / f"{digest.hex()}.json"
        if not path.exists():
            raise NotFoundError("bundle-file", "a bundle that the genesis names is missing", path=str(path))
        if path.stat().st_size > 2 * BUNDLE_BYTES_MAX:
            raise MalformedError("bundle-size", "too large", path=str(path))
        bundles[digest] = check_bundle(digest, path.read_bytes(), str(path))
    return genesis, bundles


def check_bundle(digest: Digest, data: bytes, path: str) -> bytes:
    """`data`, when it is the bundle of this hash; `MalformedError` (code `bundle-hash`) otherwise."""
    if bundle_hash(parse_bundle(data)) != digest:
        raise MalformedError("bundle-hash", "the file is another bundle than its name says", path=path)
    return data


def write_pinned(folder: Path, genesis: Genesis, bundles: Mapping[Digest, bytes]) -> None:
    """Write the genesis and its bundles into a folder."""
    (folder / GENESIS).write_bytes(genesis.data)
    (folder / BUNDLES).mkdir(mode=0o700)
    for digest, data in bundles.items():
        (folder / BUNDLES / f"{digest.hex()}.json").write_bytes(data)


def make_ledger(data_dir: Path, genesis: Genesis, bundles: Mapping[Digest, bytes]) -> None:
    """Block 0 and the fresh signer states of the keys that lie in `data_dir`."""
    datadir.create_ledger(data_dir, genesis, bundles)
    for key, state in ((COSIGN_KEY, datadir.SIGNER_STATE), (LOG_KEY, datadir.LOG_STATE)):
        if (data_dir / key).exists():
            signer = read_key(data_dir / key)
            SignerState.create(data_dir / state, genesis.origin, signer.public.key_id).close()
    if (data_dir / HOME / CONSENSUS_KEY).exists():
        create_signing_state(data_dir / HOME)


def make_empty(directory: Path) -> None:
    """Make a folder; `ConflictError` (code `folder-not-empty`) where it holds something."""
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise ConflictError("folder-not-empty", "the folder has to be new or empty", path=str(directory))


def registration(signer: Signer, origin: str, member: str, use: str) -> dict[str, Any]:
    """What a key is registered by, as an action takes it: the key proves that its holder asks for it (SPEC R-K04)."""
    proof = signer.sign(registration_message(origin, member, use)).hex()
    public = signer.public.raw.hex()
    return {"algorithm": ED25519, "proof": proof, "public": public, "roles": [], "use": use}


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
        while numbered(key, number).exists() or numbered(state, number).exists():
            number += 1
        for path in (state, key):  # the state first: a key without one never signs
            if path.exists():
                path.rename(numbered(path, number))
        signer = create_key(key)
        SignerState.create(state, genesis.origin, signer.public.key_id).close()
    finally:
        lock.close()
    return genesis, registration(signer, genesis.origin, member, COSIGN)


def numbered(path: Path, number: int) -> Path:
    """Where a file lies that another one replaced."""
    return path.with_name(f"{path.stem}-{number}{path.suffix}")
