"""Who reads: the bearer of a token below `readers/` of the data directory, or of the node's own token.

Rules: a token names one reader, a member or the tag of a person; tokens are looked up by their hash, never compared
byte by byte, never logged. Files may be added and removed while the node runs. Not here: what a reader may see (see
`entitled`), and making tokens (see `ledger node reader`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ledger.adapters.home.nodefile import member_of
from ledger.adapters.home.readertokens import FOLDER, Reader, read_readers
from ledger.core.hashing import Digest, sha256

__all__ = ["FOLDER", "Reader", "Readers", "owner_of"]


@dataclass(frozen=True, slots=True)
class _Known:
    stamp: int
    readers: dict[Digest, Reader]


class Readers:
    """The readers of a data directory; `own` tells the member whose node this is. Thread-safe."""

    def __init__(self, data_dir: Path, token_file: Path | None, own: Callable[[], str]) -> None:
        self._folder, self._own = data_dir / FOLDER, own
        token = token_file.read_bytes().strip() if token_file is not None and token_file.exists() else b""
        self._own_token = sha256(token) if token else None
        self._mutex = threading.Lock()
        self._known = _Known(-1, {})

    def of(self, authorization: bytes) -> Reader | None:
        """The reader of a request with this Authorization header; None where it carries no known token."""
        scheme, _, given = authorization.partition(b" ")
        digest = sha256(given.strip())
        if scheme.lower() == b"bearer" and given:
            if digest == self._own_token:
                return Reader(self._own(), person=False)
            return self._readers().get(digest)
        return None

    def _readers(self) -> dict[Digest, Reader]:
        try:
            stamp = self._folder.stat().st_mtime_ns
        except FileNotFoundError:
            return {}
        with self._mutex:
            if stamp != self._known.stamp:
                self._known = _Known(stamp, read_readers(self._folder.parent))
            return self._known.readers


def owner_of(data_dir: Path) -> str:
    """Whose node this is; "" where its keys do not say."""
    return member_of(data_dir) or ""
