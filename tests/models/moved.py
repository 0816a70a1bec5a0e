"""A governed ledger whose members move it to CometBFT, with the data directories of their nodes as departments keep them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ledger.adapters.home import datadir
from ledger.adapters.home.nodefile import GENESIS, SETTINGS
from ledger.adapters.ordering.moving import Prepared, prepare_move
from ledger.adapters.sqlite.store import SqliteStore
from ledger.core.engine import chain_id
from ledger.core.keys import key_id_of
from ledger.machine.block import Sealed
from tests.models.governed import HOUR_MS, Governed
from tests.models.tiny_ledger import BUNDLES, MEMBERS

NOTICE = 24 * HOUR_MS
USES = ("log", "p2p", "consensus")
NODE_TOML = """\
# our node
[node]
role = "follower"  # until the vote
peers = ["http://127.0.0.1:7301"]

[http]
port = 7302
"""


class MovedLedger(Governed):
    """`folders` are data directories by member, without a ledger until `write_store`."""

    def __init__(self, home: Path, **options: Any) -> None:
        super().__init__(**options)
        self.folders = {member: home / member for member in MEMBERS}
        self.prepared: dict[str, Prepared] = {}
        for folder in self.folders.values():
            (folder / "keys").mkdir(parents=True)
            (folder / GENESIS).write_bytes(self.genesis.data)
            (folder / SETTINGS).write_text(NODE_TOML, "utf-8")

    def prepare(self) -> None:
        """Every department makes its keys, and votes register them."""
        for member, folder in self.folders.items():
            self.prepared[member] = prepare_move(folder, member)
            for use in USES:
                document = self.prepared[member].registrations[use]
                key = {name: document[name] for name in ("algorithm", "proof", "public", "roles", "use")}
                digest = key_id_of(key["algorithm"], bytes.fromhex(key["public"])).hex()
                refs = {"key": digest, "member": member}
                self.change("sys.key.add", refs, {"key": key}, cosign=True, wait_ms=NOTICE + 1)

    def propose_move(self, moves: int = 1) -> None:
        """The vote, whose effect waits for its notice."""
        args = {"chain_id": chain_id(self.origin, moves), "engine": "cometbft"}
        event = self.propose("sys.engine.move", {}, args)
        self.record("ga", event)
        for voter in MEMBERS[:3]:
            self.record(voter, self.approve(f"ga/{event.id}", event, voter))

    def move(self, moves: int = 1) -> Sealed:
        """The vote and its effect: the seam."""
        self.propose_move(moves)
        sealed = self.block(ms=NOTICE + 1)
        assert self.app.engine.seam == sealed.height
        return sealed

    def write_store(self, member: str, height: int | None = None, *, certified: bool = True) -> Path:
        """The ledger up to `height` in a data directory, with its certificates."""
        folder = self.folders[member]
        store = SqliteStore.create(folder / datadir.DATABASE)
        try:
            for sealed, block in zip(self.sealed, self.blocks, strict=True):
                if height is not None and sealed.height > height:
                    break
                if sealed.height == 0:
                    store.write_genesis(self.genesis.data, BUNDLES, sealed, b"")
                else:
                    store.write(sealed, block.note)
            if certified:
                store.write_certificates(self.certificates)
        finally:
            store.close()
        return folder
