"""Keeps calling the peers that a home names and that are not connected.

CometBFT gives up on a peer that took the call and hung up at once, which is what a peer does until the registry knows this
node's key; and after some hours on any other. So a department that waits for a vote, or was away, would stay alone until a
restart. Rule: every few seconds, whoever of `persistent_peers` is not connected is called again. Nothing here decides who
may connect (the registry does, on the other side).
"""

from __future__ import annotations

import threading
import tomllib
from pathlib import Path
from typing import Final

import structlog

from ledger.adapters.home.comethome import CONFIG
from ledger.errors import LedgerError
from ledger_node.comet.rpc import CometRpc

LOOK_S: Final = 5.0


class Dialer:
    """A thread that calls missing peers of the engine in `home`, until it is closed."""

    def __init__(self, home: Path, *, look_s: float = LOOK_S) -> None:
        self._home, self._look_s = home, look_s
        self._stop = threading.Event()
        self._log = structlog.get_logger("dialer")
        self._thread = threading.Thread(target=self._run, name="dialer", daemon=True)

    def start(self) -> None:
        """Start the thread; once."""
        self._thread.start()

    def close(self) -> None:
        """Stop it. Idempotent."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        rpc = CometRpc(self._home, timeout_s=self._look_s)
        while not self._stop.wait(self._look_s):
            try:
                call_missing(rpc, configured_peers(self._home))
            except (LedgerError, OSError, ValueError):
                continue  # an engine that is down has nobody to call with; it is started again by its supervisor
            except Exception:  # noqa: BLE001 - settings or an answer of another form: said, and tried again
                self._log.exception("dialer.failed")
        rpc.close()


def configured_peers(home: Path) -> tuple[str, ...]:
    """`persistent_peers` of a home's config.toml."""
    named = tomllib.loads((home / CONFIG).read_text("utf-8"))["p2p"]["persistent_peers"]
    return tuple(peer for peer in named.split(",") if peer)


def call_missing(rpc: CometRpc, peers: tuple[str, ...]) -> tuple[str, ...]:
    """Call those of `peers` that are not connected; who was called. Raises as `CometRpc` does."""
    if not peers:
        return ()
    connected = {str(peer["node_info"]["id"]) for peer in rpc.net_info().get("peers") or ()}
    missing = tuple(peer for peer in peers if peer.partition("@")[0] not in connected)
    if missing:
        rpc.dial(missing)
    return missing
