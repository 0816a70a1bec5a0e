"""Runs CometBFT while a node joins from a snapshot, as often as it takes, and says what it waits for (SPEC R-N75, R-N78).

Rules: this runs instead of the node, before it, and only where `state-sync.json` lies in the data directory. A CometBFT that
ended, gave up or fell silent is started again, each time from a header that the others name *then*: the one before may be
pruned. Of a ledger that moved they name the chain's genesis.json too. Where they have forgotten the block behind the
snapshot, the sync begins anew; what CometBFT signed stays known.
Killed at any moment it begins again and keeps the blocks of the ledger that it has.
Not here: the answers to CometBFT (see `statesync`), and making the ledger (see `ledger.adapters.ordering.restoring`).
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn, TypeVar

import structlog

from ledger.adapters.home.comethome import ABCI_SOCKET, COMET_GENESIS, HOME, SIGNING_STATE, write_genesis
from ledger.adapters.home.links import DEFAULT, Links
from ledger.adapters.home.statesyncfile import (
    SAID,
    STATE_SYNC,
    LightClient,
    check_servers,
    read_request,
    write_said,
)
from ledger.adapters.ordering.peers import Peer
from ledger.adapters.ordering.restoring import Restoring
from ledger.errors import UnavailableError
from ledger_node.comet.lightclient import find_genesis, find_trusted, is_forgotten, know
from ledger_node.comet.lightrelay import LightRelay
from ledger_node.comet.process import CometProcess, last_error
from ledger_node.comet.server import AbciServer
from ledger_node.comet.statesync import Over, StateSync

TELL_S: Final = 5.0
LOOK_S: Final = 0.1
BUSY_S: Final = 1.0
"""Who looks as late as that was kept from it by an answer to CometBFT."""
SILENCE_S: Final = 60.0
"""Without a question about snapshots or blocks for so long CometBFT is started again: a failed sync leaves it running."""
FETCH_S: Final = 150.0
"""The same while a chunk is on its way, for which CometBFT itself waits two minutes."""
PAUSE_S: Final = 2.0
T = TypeVar("T")
STOPPING: Final = (signal.SIGTERM, signal.SIGINT)
_IDLE: Final = frozenset(("query", "check_tx", "list_snapshots", "load_snapshot_chunk"))
"""What CometBFT asks whether or not its sync goes on."""


def run_state_sync(
    data_dir: Path,
    binary: Path,
    nodes: Sequence[str],
    p2p_peers: Sequence[str],
    configure: Callable[[LightClient], None],
    *,
    derived: Sequence[str] = (),
    links: Links = DEFAULT,
) -> None:
    """Join the chain of `data_dir` from a snapshot; returns when an ordinary start goes on from there.

    `nodes` are other nodes' addresses, `p2p_peers` their engines', `configure` writes CometBFT's settings, `derived` are
    names of databases that go with the old ledger, `links` how this node asks others. Ends with the process at SIGTERM.
    Raises `FatalError` for another chain (`chain-id`, `chain-origin`, `chain-validators`), `MalformedError`
    (`state-sync-nodes`) where too few nodes are known, `UnavailableError` (`state-sync-disk`), `VerificationError`
    (`state-sync-trust`) where nodes contradict each other.
    """
    nodes = check_servers(nodes)
    handlers = {number: signal.signal(number, _stop) for number in STOPPING}
    peers = [Peer(url, links) for url in nodes]
    relay = LightRelay(peers)
    try:
        log = Told(data_dir)
        asked = read_request(data_dir)
        named = asked.trusted
        restoring = Restoring(data_dir, peers, _Teller(log.info), derived=derived)
        sync = StateSync(restoring, data_dir, (peer.partition("@")[0] for peer in p2p_peers), log)
        while not sync.done:
            if asked.moved:
                _take_genesis(data_dir / HOME, _waiting(lambda: find_genesis(peers), log.info))
            trusted = _waiting(lambda: know(peers, named) if named else find_trusted(peers), log.info)
            configure(LightClient(relay.urls, trusted))
            log.info("state-sync.begins", trusted_height=trusted.height, nodes=list(nodes))
            reason = asyncio.run(_attempt(sync, data_dir / HOME, binary))
            if reason:
                log.warning("state-sync.again", reason=reason)
                if sync.restored and is_forgotten(peers, sync.restored + 1):
                    log.warning("state-sync.anew", reason="no node has the block behind the snapshot any more")
                    forget_chain(data_dir / HOME)
                time.sleep(PAUSE_S)
        restoring.clear()
        (data_dir / STATE_SYNC).unlink()
        log.info("state-sync.joined")
        (data_dir / SAID).unlink(missing_ok=True)
    except OSError as error:
        raise UnavailableError("state-sync-disk", "the disk does not take it", reason=str(error)) from error
    finally:
        relay.close()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def forget_chain(home: Path) -> None:
    """Remove what CometBFT knows of its chain in `home`, so that it takes a snapshot again; never what it signed last."""
    for path in (home / SIGNING_STATE).parent.iterdir():
        if path != home / SIGNING_STATE:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@dataclass(slots=True)
class _Run:
    """One CometBFT that syncs: what it was told, when it was heard, and whether it ended."""

    heard: float
    looked: float
    error: BaseException | None = None
    exit: int | None = None

    def failed(self, error: BaseException) -> None:
        """The first error that CometBFT was told."""
        if self.error is None:
            self.error = error

    def exited(self, code: int) -> None:
        """CometBFT ended by itself."""
        self.exit = code

    def over(self, sync: StateSync, home: Path) -> str:
        """Why it has to be started again; empty where it goes on. To be asked every `LOOK_S`."""
        now = time.monotonic()
        if now - self.looked > BUSY_S:
            self.heard = now  # a restore that takes minutes is no silence
        self.looked = now
        if sync.again:
            return sync.again
        if self.exit is not None:
            return last_error(home) or f"CometBFT ended with {self.exit}"
        if now - self.heard > (FETCH_S if sync.fetching else SILENCE_S):
            return f"CometBFT asks nothing; last it logged: {last_error(home)}"
        return ""


async def _attempt(sync: StateSync, home: Path, binary: Path) -> str:
    """One CometBFT, until the sync is done (empty) or has to begin again: why."""
    sync.again = ""
    run = _Run(time.monotonic(), time.monotonic())

    def called(name: str) -> None:
        if name not in _IDLE:
            run.heard = time.monotonic()
        if sync.trace is not None:
            sync.trace(name)

    server = AbciServer(sync, run.failed, called)
    await server.start(str(home / ABCI_SOCKET))
    process = CometProcess(home, binary, on_exit=run.exited)
    reason = ""
    try:
        process.start()
        run.looked = time.monotonic()
        while not (sync.done or run.error or reason):
            await asyncio.sleep(LOOK_S)
            reason = run.over(sync, home)
    finally:
        process.close()
        await server.close()
    if run.error is not None and not isinstance(run.error, Over):
        raise run.error
    return "" if sync.done else reason


def _take_genesis(home: Path, genesis: bytes) -> None:
    """Have CometBFT begin with `genesis`; what it knows of another chain goes, which it never voted on."""
    path = home / COMET_GENESIS
    if not path.exists() or path.read_bytes() != genesis:
        forget_chain(home)
        write_genesis(home, genesis)


def _waiting(ask: Callable[[], T], tell: Callable[..., object]) -> T:
    """What the other nodes say, as soon as enough of them say it."""
    while True:
        try:
            return ask()
        except UnavailableError as error:
            tell("state-sync.waits", reason=str(error))
            time.sleep(TELL_S)


class Told:
    """Logs how the sync goes, and keeps the last line for whoever asks why the node does not answer yet."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir, self._log = data_dir, structlog.get_logger("state-sync")

    def info(self, event: str, **fields: object) -> None:
        """Something that had to come."""
        self._log.info(event, **fields)
        write_said(self._data_dir, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Something that somebody may have to look at."""
        self._log.warning(event, **fields)
        write_said(self._data_dir, event, fields)


class _Teller:
    """Says how far it is, not more often than every `TELL_S`."""

    def __init__(self, tell: Callable[..., object]) -> None:
        self._tell, self._at = tell, 0.0

    def __call__(self, what: str, done: int, whole: int) -> None:
        if time.monotonic() - self._at >= TELL_S:
            self._at = time.monotonic()
            self._tell("state-sync.goes-on", step=what, done=done, of=whole)


def _stop(number: int, frame: object) -> NoReturn:
    """End the process in order, wherever it is: what was fetched stays."""
    del frame
    raise SystemExit(128 + number if number != signal.SIGTERM else 0)
