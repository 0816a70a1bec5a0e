"""HTTP servers that answer a node which joins from a snapshot: offers, one block's hash for every height, a genesis.json."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

GONE = 7
"""A height that no node has any more."""
NEWEST = 90


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        return  # a client without the certificate that is asked for


class LightNodes:
    """The servers, and the questions that they heard; `close` them."""

    def __init__(self) -> None:
        self._servers: list[_Server] = []
        self.asked: list[dict[str, Any]] = []

    def add(
        self,
        heights: object,
        digest: str | None,
        *,
        gone: Sequence[int] = (GONE,),
        genesis: object = None,
        tls: tuple[Path, Path, Path] | None = None,
    ) -> str:
        """One more; its address. With `tls` (certificate, key, authority) it asks who calls."""
        heard = self.asked

        class Node(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._say({"genesis": genesis, "snapshots": heights})

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                heard.append(asked)
                height = int(asked["params"].get("height", NEWEST))
                known = digest is not None and height not in gone and height <= NEWEST
                commit = {"block_id": {"hash": digest}, "height": str(height)}
                block = {"signed_header": {"commit": commit}} if known else None
                self._say({"result": block} if block else {"error": {"code": 1}})

            def _say(self, value: object) -> None:
                data = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        server = _Server(("127.0.0.1", 0), Node)
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls[0], tls[1])
            context.load_verify_locations(tls[2])
            context.verify_mode = ssl.CERT_REQUIRED
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self._servers.append(server)
        return f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"

    def close(self) -> None:
        """End them."""
        for server in self._servers:
            server.shutdown()
            server.server_close()
