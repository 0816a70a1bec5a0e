"""What nodes of a network answer to one that joins from a snapshot, without processes: from a data directory, or a lie."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgpack

from ledger.adapters.home.datadir import DATABASE
from ledger.adapters.ordering.peers import Answer
from ledger.adapters.sqlite.reader import SqliteReader
from ledger.adapters.sqlite.stored import read_block
from ledger.blockcodec import BlockData, encode_block
from ledger.core.merkle import consistency_nodes, prove_consistency
from ledger.errors import UnavailableError


class StoredPeer:
    """A node that answers from `folder`; `change` may falsify a block, `blocks_left` ends its answers."""

    def __init__(self, folder: Path, change: Callable[[BlockData], BlockData] = lambda block: block) -> None:
        self.url = f"http://{folder.name}"
        self.asked: list[str] = []
        self.blocks_left = 1_000_000
        self.certificate = True
        self._path, self._change = folder / DATABASE, change

    def blocks(self, first_height: int, wait_s: int = 0, limit: int = 100) -> bytes:
        """See `Peer`."""
        del wait_s
        self.asked.append(f"blocks {first_height}")
        reader = SqliteReader(self._path)
        try:
            with reader.snapshot() as snap:
                last = min(first_height + min(limit, 2), snap.head_height + 1)
                heights = [height for height in range(first_height, last) if self.blocks_left > 0]
                self.blocks_left -= len(heights)
                if not heights and self.blocks_left <= 0:
                    raise UnavailableError("peer", "gone")
                found: bytes = msgpack.packb([encode_block(self._change(read_block(snap, each))) for each in heights])
                return found
        finally:
            reader.close()

    def request(self, method: str, path: str, *_: object, **__: object) -> Answer:
        """See `Peer`."""
        assert method == "GET"
        self.asked.append(path)
        parts = urlsplit(path)
        asked = {name: int(values[0]) for name, values in parse_qs(parts.query).items()}
        reader = SqliteReader(self._path)
        try:
            with reader.snapshot() as snap:
                if parts.path == "/checkpoint":
                    newest = snap.certificates.latest()
                    return Answer(200, newest[1], "") if newest and self.certificate else Answer(503, b"", "")
                if parts.path == "/v1/proofs/epochs":
                    return Answer(200, b'{"checkpoint":{},"epochs":[]}', "")
                old, new = asked["old"], asked["new"]
                path_ = prove_consistency(old, new, snap.log_nodes(consistency_nodes(old, new)))
                document = {"old_root": snap.root_at(old).hex(), "path": [digest.hex() for digest in path_]}
                return Answer(200, json.dumps(document).encode(), "")
        finally:
            reader.close()
