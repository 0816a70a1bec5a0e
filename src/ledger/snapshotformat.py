"""Decides which bytes are a snapshot of the state: what nodes hand each other so that a new one need not decide again.

Rules (SPEC R-N70 to R-N72): a snapshot is the rows of the state map after a height of CometBFT, by ascending key, in chunks
of at most 10,000,000 bytes, each filled with as many rows as fit. It is a function of the state alone, so every honest
node makes the same bytes. The log is not in it: leaves, events and certificates come as blocks, from any node.
Not here: whether any of it is true (see `adapters.restoring`), and where chunks lie (see `adapters.snapshots`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import msgpack

from ledger.core.hashing import DIGEST_BYTES, Digest, sha256
from ledger.errors import MalformedError
from ledger.limits import (
    INT_MAX,
    SNAPSHOT_CHUNK_BYTES_MAX,
    SNAPSHOT_CHUNKS_MAX,
    SNAPSHOT_KEY_BYTES_MAX,
    SNAPSHOT_METADATA_BYTES_MAX,
    SNAPSHOT_VALUE_BYTES_MAX,
)

FORMAT: Final = 1
"""What CometBFT calls the format of a snapshot."""
_ROW_PARTS: Final = 2
_FIELDS: Final = [int, int, int, bytes, list]

Row = tuple[bytes, bytes]
"""(map key, map value)."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a snapshot says of itself: the ledger's block `height`, the log's `size` and `root` there, and its chunks."""

    height: int
    size: int
    root: Digest
    chunks: tuple[Digest, ...]

    def encode(self) -> bytes:
        """Its one encoding, msgpack `[1, height, size, root, [SHA-256 of each chunk]]`."""
        data: bytes = msgpack.packb([FORMAT, self.height, self.size, self.root, list(self.chunks)])
        return data

    @property
    def hash(self) -> Digest:
        """SHA-256 of the encoding, and with it of every chunk."""
        return sha256(self.encode())


def parse_manifest(data: bytes) -> Manifest:
    """The manifest in `data`; `MalformedError` (code `snapshot`) for all other bytes. `encode` gives them back."""
    if len(data) > SNAPSHOT_METADATA_BYTES_MAX:
        _refuse("the manifest is too large", size=len(data), limit=SNAPSHOT_METADATA_BYTES_MAX)
    try:
        fields: Any = msgpack.unpackb(
            data,
            max_array_len=SNAPSHOT_CHUNKS_MAX,
            max_bin_len=DIGEST_BYTES,
            max_str_len=0,
            max_map_len=0,
            max_ext_len=0,
        )
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        _refuse("the manifest is not one msgpack value of the right form", reason=str(error))
    if type(fields) is not list or [type(field) for field in fields] != _FIELDS or fields[0] != FORMAT:
        _refuse("not a manifest of this version")
    _, height, size, root, chunks = fields
    if not (0 < height <= INT_MAX and 0 < size <= INT_MAX) or len(root) != DIGEST_BYTES or not chunks:
        _refuse("a field of the manifest is out of range", height=height, size=size)
    if not all(type(each) is bytes and len(each) == DIGEST_BYTES for each in chunks):
        _refuse("a chunk's hash is none")
    manifest = Manifest(height, size, Digest(root), tuple(Digest(each) for each in chunks))
    if manifest.encode() != data:
        _refuse("the manifest is not in canonical form")
    return manifest


def encode_chunks(rows: Iterable[Row]) -> Iterator[bytes]:
    """The chunks of `rows`, which come by ascending key: each as full as it can be."""
    parts: list[bytes] = []
    size = 0
    for key, value in rows:
        row: bytes = msgpack.packb([key, value])
        if size + len(row) > SNAPSHOT_CHUNK_BYTES_MAX:
            yield b"".join(parts)
            parts, size = [], 0
        parts.append(row)
        size += len(row)
    if parts:
        yield b"".join(parts)


def parse_chunk(data: bytes, after: bytes = b"") -> list[Row]:
    """The rows of a chunk, all behind the key `after`; `MalformedError` (code `snapshot`) for bytes that are none."""
    if not data or len(data) > SNAPSHOT_CHUNK_BYTES_MAX:
        _refuse("a chunk is empty or too large", size=len(data), limit=SNAPSHOT_CHUNK_BYTES_MAX)
    unpacker = msgpack.Unpacker(
        max_buffer_size=SNAPSHOT_CHUNK_BYTES_MAX,
        max_array_len=_ROW_PARTS,
        max_bin_len=max(SNAPSHOT_KEY_BYTES_MAX, SNAPSHOT_VALUE_BYTES_MAX),
        max_str_len=0,
        max_map_len=0,
        max_ext_len=0,
    )
    unpacker.feed(data)
    rows: list[Row] = []
    try:
        for row in unpacker:
            if type(row) is not list or [type(part) for part in row] != [bytes, bytes]:
                _refuse("a row is no key with its value", row=len(rows))
            key, value = row
            if not after < key or len(key) > SNAPSHOT_KEY_BYTES_MAX or len(value) > SNAPSHOT_VALUE_BYTES_MAX:
                _refuse("a row's key is out of order or too long, or its value is", row=len(rows))
            rows.append((key, value))
            after = key
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        _refuse("a chunk is not a run of rows", reason=str(error))
    # A cut row ends the loop without a word, and a length can be written in several ways: only one encoding counts.
    if b"".join(msgpack.packb([key, value]) for key, value in rows) != data:
        _refuse("a chunk is not in canonical form", rows=len(rows))
    return rows


def _refuse(message: str, **evidence: object) -> NoReturn:
    raise MalformedError("snapshot", message, **evidence)
