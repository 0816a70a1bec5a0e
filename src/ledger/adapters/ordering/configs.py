"""Configs that were in force once, by hash: proofs show the config of a block, the state holds only the newest.

Rules: every node executes every block, so it sees each config before its block is written; a file is believed by its hash
alone. Nothing else depends on these files. Not here: the config in force (see `machine`).
"""

from __future__ import annotations

import os
from pathlib import Path

from ledger.core.config import config_hash
from ledger.core.hashing import Digest
from ledger.errors import UnavailableError

FOLDER = "configs"


class Configs:
    """The configs kept below a data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / FOLDER
        self._known: dict[Digest, bytes] = {}

    def keep(self, config: bytes) -> None:
        """Keep a config; raises `OSError` where the disk does not take it."""
        digest = config_hash(config)
        self._known[digest] = config
        path = self._path(digest)
        if path.exists() and config_hash(path.read_bytes()) == digest:
            return
        self._folder.mkdir(mode=0o700, exist_ok=True)
        made = path.with_suffix(".new")
        with made.open("wb") as file:
            file.write(config)
            file.flush()
            os.fsync(file.fileno())
        made.rename(path)

    def read(self, digest: Digest) -> bytes:
        """The config of this hash; raises `UnavailableError` (code `proof-config`) where this node has not seen it."""
        found = self._known.get(digest)
        if found is None:
            try:
                found = self._path(digest).read_bytes()
            except OSError:
                found = b""
            if config_hash(found) != digest:
                raise UnavailableError(
                    "proof-config", "this node does not hold the config of that block", config=digest
                )
            self._known[digest] = found
        return found

    def _path(self, digest: Digest) -> Path:
        return self._folder / f"{digest.hex()}.json"
