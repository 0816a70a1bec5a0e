"""Gives a validator's folder another consensus key, in two steps around the vote that lets the keys change places.

Rules: the next key is made beside the one in use, and the node goes on voting with that meanwhile; CometBFT does not know
the name of the next one, so it signs nothing before the switch. The switch gives it a fresh signing state, and keeps the key
before with its own state under a number: a key never signs beside another key's state. Killed half way it is run again.
Not here: the vote (see `ledger.machine.memberchanges`), and the cosigner's key (see `handover`).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.adapters.home import comethome
from ledger.adapters.home.handover import numbered, read_genesis, registration
from ledger.adapters.home.joining import REGISTRATIONS
from ledger.adapters.sqlite.lock import DataDirLock
from ledger.core import canonical
from ledger.core.genesis import Genesis, check_member_id
from ledger.core.keys import CONSENSUS, PublicKey
from ledger.errors import NotFoundError


@dataclass(frozen=True, slots=True)
class RenewedKey:
    """A consensus key that is to replace `old` (None where the folder has lost it): what registers it, and the file."""

    genesis: Genesis
    old: PublicKey | None
    new: PublicKey
    registration: dict[str, Any]
    file: Path


def renew_consensus(data_dir: Path, member: str) -> RenewedKey:
    """Make the consensus key that is to replace the one in use; the node may run. The same key again until the switch.

    Raises `NotFoundError` (`hand-over`; `move-keys` for a node that is no validator), `MalformedError`.
    """
    genesis = read_genesis(data_dir)
    check_member_id(member)
    home = data_dir / comethome.HOME
    if not (home / comethome.P2P_KEY).exists():
        raise NotFoundError("move-keys", "this node has no keys of a validator", path=str(home))
    place = home / comethome.NEXT_KEY
    signer = (
        comethome.read_key_file(place)
        if place.exists()
        else comethome.create_consensus_key(place, secrets.token_bytes(32))
    )
    before = home / comethome.CONSENSUS_KEY
    old = comethome.read_key_file(before).public if before.exists() else None
    document = {**registration(signer, genesis.origin, member, CONSENSUS), "member": member, "origin": genesis.origin}
    folder = data_dir / REGISTRATIONS
    folder.mkdir(exist_ok=True)
    file = folder / f"{CONSENSUS}.json"
    file.write_bytes(canonical.encode(document) + b"\n")
    return RenewedKey(genesis, old, signer.public, document, file)


def switch_consensus(data_dir: Path) -> PublicKey:
    """Put the next consensus key in place, with a fresh state; the node must not run.

    Raises `NotFoundError` (`key-file`) where `renew_consensus` made none, `UnavailableError` (`data-dir-locked`).
    """
    home = data_dir / comethome.HOME
    key, state, place = (home / name for name in (comethome.CONSENSUS_KEY, comethome.SIGNING_STATE, comethome.NEXT_KEY))
    lock = DataDirLock(data_dir)
    try:
        signer = comethome.read_key_file(place)
        number = 1
        while numbered(key, number).exists() or numbered(state, number).exists():
            number += 1
        for path in (state, key):  # the state first: without one CometBFT does not start with a key
            if path.exists():
                path.rename(numbered(path, number))
        comethome.create_signing_state(home)
        place.rename(key)
    finally:
        lock.close()
    return signer.public
