"""A small HTTP server on loopback for tests of the client: answers come from a function of the test."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ledger import framing
from ledger.core.genesis import parse_genesis
from ledger.core.registry import genesis_registry
from ledger.core.submission import verify_signature
from ledger.errors import LedgerError


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


Answer = tuple[int, str, bytes]
"""(status, content type, body)."""


@contextmanager
def serve(answer: Callable[[Asked], Answer | None]) -> Iterator[str]:
    """The address of a server that answers by `answer`; None closes the connection without a word."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            found = answer(Asked(self.command, parts.path, query, headers, body))
            if found is None:
                self.close_connection = True
                return
            status, kind, data = found
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = handle_any  # noqa: N815 - the names that http.server looks for

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def problem(status: int, code: str, **evidence: Any) -> Answer:
    """A problem+json answer as a node gives it."""
    document: dict[str, Any] = {"status": status, "code": code, "title": code, "detail": code, "evidence": evidence}
    if "index" in evidence:
        document["index"] = evidence["index"]
    return status, "application/problem+json", json.dumps(document).encode()


@dataclass
class Ledger:
    """Takes signed submissions as a node would: checks the signature, keeps each event once, remembers what came.

    `refuse` may turn a submission away before it is recorded.
    """

    genesis: bytes
    events: dict[str, tuple[str, bytes, bytes]] = field(default_factory=dict)
    submissions: int = 0
    duplicates: int = 0
    refuse: Callable[[Any], Answer | None] = lambda submission: None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, asked: Asked) -> Answer | None:
        """The answer of POST /v1/submissions and GET /v1/genesis."""
        if asked.path == "/v1/genesis":
            return 200, "application/json", self.genesis
        if asked.path != "/v1/submissions":
            return problem(404, "path")
        try:
            submission = framing.parse(asked.body)
            key = genesis_registry(parse_genesis(self.genesis)).keys[submission.key_id]
            verify_signature(submission, key.public)
        except LedgerError as error:
            return problem(422, error.code, **{name: str(value) for name, value in error.evidence.items()})
        with self.lock:
            refused = self.refuse(submission)
            if refused is not None:
                return refused
            self.submissions += 1
            return 201, "application/json", json.dumps(self._record(submission)).encode()

    def _record(self, submission: Any) -> dict[str, Any]:
        entries = []
        for event in submission.events:
            known = self.events.get(event.id)
            assert known is None or known[1:] == (event.head, event.body)
            self.duplicates += known is not None
            self.events[event.id] = (submission.member, event.head, event.body)
            entries.append(
                {
                    "member": submission.member,
                    "id": event.id,
                    "seq": list(self.events).index(event.id),
                    "outcome": "accepted",
                    "verdict": {"outcome": "accepted"},
                    "duplicate": known is not None,
                }
            )
        return {
            "height": self.submissions,
            "time": 0,
            "size": len(self.events),
            "certified": True,
            "checkpoint": "",
            "events": entries,
        }
