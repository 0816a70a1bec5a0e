"""Who may write locally: whoever can read the node's 0600 token file, until HTTP message signatures exist.

Rule: the token travels in a header of its own kind (so no page of a stranger can send it), is compared in constant time, and
is never logged or echoed. Not here: signed submissions, which need no token.
"""

from __future__ import annotations

import hmac
from pathlib import Path

from ledger_node.http.body import Scope, header
from ledger_node.http.problems import HttpError


class LocalToken:
    """The token of a data directory; a node without one accepts no local writers."""

    def __init__(self, file: Path | None) -> None:
        self._token = file.read_bytes().strip() if file is not None and file.exists() else b""

    def require(self, scope: Scope) -> None:
        """Raise `HttpError` (`token`) unless the request carries the token."""
        scheme, _, given = header(scope, b"authorization").partition(b" ")
        if not self._token or scheme.lower() != b"bearer" or not hmac.compare_digest(given.strip(), self._token):
            raise HttpError("token", "the node's local token is needed")
