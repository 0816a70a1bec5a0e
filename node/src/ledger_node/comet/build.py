"""Puts the CometBFT engine of a validator together: its process, its RPC, and the keeper of native commits.

Not here: the node around it (see `ledger_node.wiring`) and CometBFT's home folder (see `ledger.adapters.home.comethome`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

from ledger.adapters.home.comethome import HOME
from ledger.adapters.home.signerstate import SignerState
from ledger.adapters.ordering.moving import check_chain, check_seam
from ledger.adapters.sqlite.reader import SqliteReader
from ledger.adapters.sqlite.store import SqliteStore
from ledger.app import Application
from ledger.core.genesis import COMETBFT
from ledger.core.keys import Signer
from ledger.core.mapkeys import object_key
from ledger.errors import FatalError
from ledger_node.alarms import Alarms
from ledger_node.comet.accuser import Accuser
from ledger_node.comet.engine import CometEngine
from ledger_node.comet.natives import NativeKeeper
from ledger_node.comet.process import CometProcess
from ledger_node.comet.pruning import Pruning
from ledger_node.comet.rpc import CometRpc
from ledger_node.comet.snapshots import SnapshotTaker

INVALID: Final = "comet-invalid"
"""What counts the proposals that CometBFT voted against by itself."""


class Options(Protocol):
    """What is needed of a node's options."""

    @property
    def data_dir(self) -> Path:
        """Where the node's files are."""

    @property
    def signers(self) -> Mapping[str, Signer]:
        """Event keys that the node holds."""

    @property
    def keep_blocks(self) -> int:
        """How many CometBFT blocks are kept at least; 0: all."""

    @property
    def snapshots_every(self) -> int:
        """At which multiples of CometBFT's height a snapshot is taken; 0: none."""

    @property
    def comet(self) -> Path | None:
        """The CometBFT program."""


def build_engine(
    app: Application,
    store: SqliteStore,
    reader: SqliteReader,
    signer: Signer,
    state: SignerState,
    options: Options,
    alarms: Alarms,
) -> CometEngine:
    """The engine, not started. Raises `FatalError` (`comet-missing`) without a program to run, (`engine-other`, `chain-id`,
    `chain-origin`) where this chain does not order this ledger, and `RejectedError` where it cannot begin here (R-N61)."""
    binary = options.comet
    if binary is None:
        raise FatalError("comet-missing", "a validator needs the cometbft binary")
    in_force = app.engine
    if in_force.name != COMETBFT:
        raise FatalError("engine-other", "no CometBFT orders this ledger", got=in_force.name)
    home, chain_id = options.data_dir / HOME, in_force.chain_id
    check_chain(home, in_force, app.origin)
    if not store.engine_height():
        with reader.snapshot() as snap:
            check_seam(snap, app.genesis, in_force, app.head)

    def process(on_exit: Callable[[int], None]) -> CometProcess:
        return CometProcess(home, binary, on_exit=on_exit, on_invalid=lambda: alarms.reject(INVALID))

    engine = CometEngine(app, signer, state, home, chain_id, process, CometRpc(home))
    engine.handler.alarms = alarms
    engine.handler.pruning = Pruning(options.keep_blocks)
    engine.handler.snapshots = SnapshotTaker(options.data_dir, reader, options.snapshots_every)
    engine.natives = NativeKeeper(
        chain_id, CometRpc(home), lambda size, data: engine.call(lambda: store.write_native(size, data))
    )

    def known(key: str) -> bool:
        with reader.snapshot() as snap:
            row = snap.row(object_key(key))
        return row is not None and bool(row.value)

    engine.accuser = Accuser(
        app.origin, chain_id, options.signers, CometRpc(home), lambda: app.head.registry, known, engine.submit
    )
    return engine
