"""Stands between CometBFT's light client and the other nodes, while a node joins from a snapshot (SPEC R-N75).

CometBFT's client knows the system's authorities only and shows no certificate; nodes ask each other with their own (see
`ledger.adapters.home.links`). So it asks here, on this machine, and each question goes on to one node as this node asks.
Rules: only the three questions that a node answers; only under a path that is not to be guessed, which stands in CometBFT's
settings, so that no other user of this machine calls nodes in this node's name. What comes back goes on unread: a light
client checks signatures. Not here: the questions and answers (see `lightclient`).
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from ledger.adapters.home.networkplan import LOOPBACK
from ledger.adapters.home.statesyncfile import LIGHT_PATH
from ledger.adapters.ordering.peers import Peer
from ledger.errors import LedgerError, UnavailableError
from ledger.limits import LIGHT_REQUEST_BYTES_MAX
from ledger_node.comet.lightclient import parse_question
from ledger_node.comet.rpc import ANSWER_BYTES_MAX

TIMEOUT_S: Final = 10.0  # CometBFT gives a header half a minute
SLOW_S: Final = 30.0
_JSON: Final = "application/json"
_NAME_BYTES: Final = 16
_DIGITS_MAX: Final = 9


class LightRelay:
    """A server on a loopback port that it picks; `close` it. `urls` are what CometBFT asks, one for each of `peers`."""

    def __init__(self, peers: Sequence[Peer]) -> None:
        secret = secrets.token_hex(_NAME_BYTES)
        self._server = ThreadingHTTPServer((LOOPBACK, 0), _handler(secret, peers))
        self._server.daemon_threads = True
        base = f"http://{LOOPBACK}:{self._server.server_port}/{secret}"
        self.urls = tuple(f"{base}/{number}" for number in range(len(peers)))
        self._thread = threading.Thread(target=self._server.serve_forever, name="light relay", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer nothing more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(secret: str, peers: Sequence[Peer]) -> type[BaseHTTPRequestHandler]:
    known = {f"/{secret}/{number}{LIGHT_PATH}": peer for number, peer in enumerate(peers)}

    class Relayed(BaseHTTPRequestHandler):
        """One connection of CometBFT's."""

        protocol_version = "HTTP/1.1"
        timeout = SLOW_S

        def do_POST(self) -> None:
            """Hand a question on."""
            status, body = self._answer()
            self.send_response(status)
            self.send_header("Content-Type", _JSON)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _answer(self) -> tuple[int, bytes]:
            peer = known.get(self.path)
            length = self.headers.get("Content-Length", "")
            known_length = length.isdecimal() and len(length) <= _DIGITS_MAX and int(length) <= LIGHT_REQUEST_BYTES_MAX
            if peer is None or not known_length:
                self.close_connection = True
                return 404, b"{}"
            try:
                question = self.rfile.read(int(length))
                parse_question(question)
            except LedgerError:
                return 400, b"{}"
            try:
                found = peer.request("POST", LIGHT_PATH, question, _JSON, TIMEOUT_S, ANSWER_BYTES_MAX)
            except UnavailableError:
                return 502, b"{}"
            return found.status, found.body

        def log_message(self, *_: object) -> None:
            """Nothing: what is wrong CometBFT says in its log."""

    return Relayed


__all__ = ["LightRelay"]
