"""`python -m ledger_node DATA_DIR`: run one node until SIGTERM or SIGINT, then write what was accepted and stop.

Exit codes: 0 stopped as asked, 1 could not start or had to stop; the reason, with what to do, is the last line on
standard error.
Not here: building the node (see `wiring`) and answering (see `http`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import uvicorn
import uvloop

from ledger.adapters.home import datadir
from ledger.adapters.home.comethome import HOME, write_config
from ledger.adapters.home.keyfile import read_key
from ledger.adapters.home.statesyncfile import STATE_SYNC, LightClient, encode_table
from ledger.adapters.runtime.memory import give_back
from ledger.core.genesis import COMETBFT, SEQUENCER
from ledger.core.keys import Signer
from ledger.errors import LedgerError, MalformedError
from ledger_node.comet.binary import check_binary, find_binary
from ledger_node.comet.syncing import run_state_sync
from ledger_node.http.app import create_app
from ledger_node.http.server import NodeServer
from ledger_node.logs import configure_logs
from ledger_node.options import NodeOptions
from ledger_node.query.index import FILE_NAME as INDEX
from ledger_node.settings import Settings, load_settings
from ledger_node.wiring import VALIDATOR, Node

SWITCH_S = 0.0005  # the engine gives up the interpreter at each database call and must not wait long to get it back
CROSSED_LOOK_S = 1.0
OPEN_AGAIN = -1
STOPPING = (signal.SIGTERM, signal.SIGINT)
GC_THRESHOLDS = (50_000, 20, 50)  # a block makes tens of thousands of objects, hardly any of them in cycles


def node_options(data_dir: Path, settings: Settings) -> NodeOptions:
    """Options from settings and the key files in the data directory; a validator's engine gets its settings too.

    Raises `UnavailableError` (`comet-version`) for a CometBFT that this software was not tested with.
    """
    binary = None
    if settings.node.role == VALIDATOR:
        comet = settings.comet
        binary = find_binary(comet.binary)
        check_binary(binary)
        write_config(data_dir / HOME, listen=comet.p2p_listen, peers=comet.p2p_peers, moniker=data_dir.absolute().name)
    keys = data_dir / datadir.KEYS
    signers = {
        path.name.removeprefix("event-").removesuffix(".key"): read_key(path)
        for path in sorted(keys.glob("event-*.key"))
    }
    return NodeOptions(
        data_dir=data_dir,
        role=settings.node.role,
        peers=settings.node.peers,
        signers=signers,
        cosign_signer=_optional(keys / "cosign.key"),
        log_signer=_optional(keys / "log.key"),
        runtime=settings.rules.runtime,
        recover_wait_s=settings.node.recover_wait_s,
        comet=binary,
        keep_blocks=settings.comet.keep_blocks,
        links=settings.node.links,
        pass_seams=settings.node.pass_seams,
        snapshots_every=settings.comet.snapshots_every,
    )


def join_chain(data_dir: Path, settings: Settings) -> None:
    """Join the chain from a snapshot, where the data directory was made for that and it has not been done yet."""
    if settings.node.role == VALIDATOR and (data_dir / STATE_SYNC).exists():
        comet = settings.comet
        binary = find_binary(comet.binary)
        check_binary(binary)

        def configure(light: LightClient) -> None:
            moniker, table = data_dir.absolute().name, encode_table(light)
            write_config(
                data_dir / HOME, listen=comet.p2p_listen, peers=comet.p2p_peers, moniker=moniker, joining=table
            )

        run_state_sync(
            data_dir,
            binary,
            settings.node.peers,
            comet.p2p_peers,
            configure,
            derived=(INDEX,),
            links=settings.node.links,
        )


def _optional(path: Path) -> Signer | None:
    return read_key(path) if path.exists() else None


class _Server(NodeServer):
    """The server without its own signal handling, which ends the process before the node could write what it accepted."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing: `serve` handles signals."""
        yield


class StopSignals:
    """SIGTERM and SIGINT, once the node answers and for the rest of the process.

    The handlers are the process's and not an event loop's, which takes its own away when it ends: a second signal, whichever
    thread it reaches, must not end the process before the node has written all.
    """

    def __init__(self) -> None:
        self.heard = False
        self._server: uvicorn.Server | None = None

    def stop(self, server: uvicorn.Server) -> None:
        """From now on a signal stops `server`; one that came before does so at once."""
        self._server = server
        for number in STOPPING:
            signal.signal(number, self._hear)
        server.should_exit = self.heard

    def written(self) -> None:
        """The node is closed: what still comes is ignored, so that the exit code is the node's."""
        if self._server is not None:
            for number in STOPPING:
                signal.signal(number, signal.SIG_IGN)

    def _hear(self, number: int, frame: object) -> None:
        del number, frame
        self.heard = True
        if self._server is not None:
            self._server.should_exit = True


async def serve(node: Node, settings: Settings, data_dir: Path, signals: StopSignals) -> int:
    """Answer until told to stop; a node that may not write any more goes on answering readers.

    Returns `OPEN_AGAIN` when the node has another replica to open (SPEC R-Q31).
    """
    app = create_app(node, settings, token_file=data_dir / datadir.TOKEN)
    server = _Server(app, settings)
    signals.stop(server)
    task = asyncio.create_task(server.serve())
    while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn offers a flag, no event
        await asyncio.sleep(0.01)
    if server.started:
        port = server.servers[0].sockets[0].getsockname()[1]
        sys.stderr.write(f"ready http://{settings.http.host}:{port}\n")
        sys.stderr.flush()
    while not task.done():
        await asyncio.wait([task], timeout=CROSSED_LOOK_S)
        if node.crossed.is_set() and not server.should_exit:
            server.should_exit = True
            await task
            return OPEN_AGAIN
    await task
    return 0 if server.started else 1


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run; returns the exit code."""
    parser = argparse.ArgumentParser(prog="ledger-node", description="Run a ledger node. 运行账本节点。")
    parser.add_argument("data_dir", type=Path, help="data directory 数据目录")
    parser.add_argument("--port", type=int, help="HTTP port, 0 for any 端口")
    parser.add_argument("--engine", choices=(SEQUENCER, COMETBFT), help="refuse another engine 只接受该引擎")
    given = parser.parse_args(arguments)
    try:
        flags = {"http.port": given.port}
        settings = load_settings(given.data_dir / datadir.SETTINGS, os.environ, flags).settings
        configure_logs(settings.log.level)
        join_chain(given.data_dir, settings)
        signals, code = StopSignals(), OPEN_AGAIN
        while code == OPEN_AGAIN:
            node = Node(node_options(given.data_dir, settings))
            if given.engine is not None:
                check_engine(node, given.engine)
            code = run(node, settings, given.data_dir, signals)
        signals.written()
    except LedgerError as error:
        sys.stderr.write(f"ledger-node: {_told(error)}\n")
        return 1
    return code


def check_engine(node: Node, wanted: str) -> None:
    """Close the node and raise `MalformedError` (`engine-unwanted`) where another engine than `wanted` orders its ledger."""
    if node.app.engine.name != wanted:
        node.close()
        raise MalformedError("engine-unwanted", "another engine orders", expected=node.app.engine.name, got=wanted)


def _told(error: LedgerError) -> str:
    """What happened, its code and what to do, on one line, in the language of the environment."""
    from ledger.cli.problems import sentences
    from ledger.cli.texts import Texts, choose_language

    texts = Texts(choose_language(None, os.environ))
    what, advice = sentences(texts, error)
    return f"{what} [{error.code}]" + (f" {texts.text('advice')}: {advice}" if advice else "")


def run(node: Node, settings: Settings, data_dir: Path, signals: StopSignals) -> int:
    """Run one opened node until it stops; see `serve`."""
    try:
        node.start()
        # What is loaded now stays; without this every collection of the oldest generation would walk it again.
        gc.collect()
        gc.freeze()
        give_back()  # what compiling the rulebook took
        gc.set_threshold(*GC_THRESHOLDS)
        sys.setswitchinterval(SWITCH_S)
        return uvloop.run(serve(node, settings, data_dir, signals))
    finally:
        node.close()


if __name__ == "__main__":
    sys.exit(main())
