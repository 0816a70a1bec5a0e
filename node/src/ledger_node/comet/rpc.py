"""Asks CometBFT over its RPC, on the unix socket in its home: hand in a transaction, read status, commits, blocks.

Rules: blocking, one client per thread, one kept connection; a kept connection that the server closed is opened anew once,
which is safe because a transaction that comes twice is one to CometBFT. What the engine refuses is `RejectedError`, what
it cannot do now is `UnavailableError`; an answer of another form is `UnavailableError` too, for it is the engine's fault.
Not here: what a transaction holds. Never to be called from Commit: CometBFT holds its mempool's lock there.
"""

from __future__ import annotations

import json
import socket
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ledger.adapters.home.comethome import RPC_SOCKET
from ledger.client.exchange import FAILURES, Connection
from ledger.errors import RejectedError, UnavailableError
from ledger_node.comet.socketpath import socket_path

TIMEOUT_S: Final = 10.0
ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024
"""A block of 1 MiB in base64 with its evidence and commit is below two; nothing that is asked here is larger."""
VALIDATORS_PAGE: Final = 100
RETRY_AFTER_S: Final = 1

_HEADERS: Final = {"Content-Type": "application/json"}
_ENGINE_ERROR: Final = "engine-error"
_FULL: Final = ("mempool is full", "still rechecking")
_KNOWN: Final = "already exists in cache"
_SYNCING: Final = "catching up"
_TOO_LARGE: Final = "Tx too large"


class CometRpc:
    """A client of the CometBFT that runs in `home`. Not thread-safe."""

    def __init__(self, home: Path, *, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._connection = UnixConnection(home)

    def broadcast(self, tx: bytes) -> None:
        """Hand in `tx` and wait for CheckTx; a transaction that the mempool knows already is no error.

        Raises `RejectedError` (`check-tx` with `number` and `codespace` of CheckTx's answer; `tx-size`),
        `UnavailableError` (`mempool-full`, `engine-syncing`, `engine-unreachable`, `engine-answer`,
        `engine-error`).
        """
        result = self._submit("broadcast_tx_sync", tx)
        number = result.get("code", 0)
        if number:
            raise RejectedError(
                "check-tx",
                str(result.get("log") or "CheckTx refused the transaction"),
                number=number,
                codespace=result.get("codespace", ""),
            )

    def broadcast_async(self, tx: bytes) -> None:
        """Hand in `tx` without waiting for CheckTx; raises as `broadcast`, but for `check-tx`."""
        self._submit("broadcast_tx_async", tx)

    def status(self) -> dict[str, Any]:
        """`node_info`, `sync_info` and `validator_info` as CometBFT gives them."""
        return self._call("status", {})

    def commit(self, height: int) -> dict[str, Any]:
        """The signed header of CometBFT's block `height`: `signed_header` and `canonical`."""
        return self._call("commit", {"height": str(height)})

    def validators(self, height: int) -> dict[str, Any]:
        """All validators of `height`: `block_height`, `validators`, `count`, `total`."""
        return self._call("validators", {"height": str(height), "per_page": str(VALIDATORS_PAGE)})

    def block(self, height: int) -> dict[str, Any]:
        """CometBFT's block `height`: `block_id` and `block`."""
        return self._call("block", {"height": str(height)})

    def net_info(self) -> dict[str, Any]:
        """The peers that are connected: `n_peers` and `peers`."""
        return self._call("net_info", {})

    def dial(self, peers: Sequence[str]) -> None:
        """Call peers, each `<node id>@host:port`, that are not connected; returns before they answer."""
        self._call("dial_peers", {"peers": list(peers)})

    def ask(self, number: int, method: str, params: Mapping[str, object]) -> bytes:
        """The whole JSON-RPC answer to a question, errors included, as CometBFT gives it. Raises `UnavailableError`."""
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        return self._send(method, json.dumps(request).encode("ascii"))

    def close(self) -> None:
        """Close the kept connection; a later call opens another."""
        self._connection.close()

    def _submit(self, method: str, tx: bytes) -> dict[str, Any]:
        try:
            return self._call(method, {"tx": b64encode(tx).decode("ascii")})
        except UnavailableError as error:
            text = error.message if error.code == _ENGINE_ERROR else ""
            if _KNOWN in text:
                return {}
            if _TOO_LARGE in text:
                raise RejectedError("tx-size", "larger than a transaction may be", size=len(tx)) from None
            if any(sign in text for sign in _FULL):
                raise UnavailableError(
                    "mempool-full", "the engine has more to order than it can", retry_after_s=RETRY_AFTER_S
                ) from None
            if _SYNCING in text:
                raise UnavailableError(
                    "engine-syncing", "the engine is catching up with its peers", retry_after_s=RETRY_AFTER_S
                ) from None
            raise

    def _call(self, method: str, params: Mapping[str, object]) -> dict[str, Any]:
        """The result of one call. Raises `UnavailableError`, for an error of the engine with its text."""
        request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode("ascii")
        body = self._send(method, request)
        try:
            document = json.loads(body)
            fault = document.get("error")
            if fault:
                text = f"{fault.get('message', '')}: {fault.get('data', '')}"
                raise UnavailableError(_ENGINE_ERROR, text, method=method)
            result = document["result"]
        except (ValueError, KeyError, AttributeError):
            raise UnavailableError("engine-answer", "CometBFT answered something else", method=method) from None
        if not isinstance(result, dict):
            raise UnavailableError("engine-answer", "CometBFT answered something else", method=method)
        return result

    def _send(self, method: str, request: bytes) -> bytes:
        try:
            answer = self._connection.ask(
                "POST", "/", request, _HEADERS, timeout_s=self._timeout_s, bytes_max=ANSWER_BYTES_MAX
            )
        except FAILURES as error:
            raise UnavailableError(
                "engine-unreachable",
                "CometBFT does not answer",
                method=method,
                reason=str(error) or type(error).__name__,
            ) from error
        return answer.body


class UnixConnection(Connection):
    """HTTP over the RPC socket in a home."""

    def __init__(self, home: Path) -> None:
        super().__init__("localhost")
        self._home = home

    def dial(self) -> socket.socket:
        """Open the socket."""
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.settimeout(self.deadline.left_s())
            with socket_path(self._home, RPC_SOCKET) as path:
                made.connect(path)
        except BaseException:
            made.close()
            raise
        return made
