"""Decides which bytes are a CometBFT transaction of ours: submissions that waited together at one node, with their bundles.

Rules (SPEC R-N11): msgpack `[1, nonce, [framed submission, …], [zstd frame of a bundle, …]]`, at least one submission,
no bundle that no submission of it names, and no more events and bytes than a block holds. The transaction is framing
only: each submission keeps its own identity, signature and verdict, and two transactions may carry the same submission.
The nonce makes a repetition another transaction, because CometBFT's cache would swallow the same bytes.
Not here: signatures and membership.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgpack
import zstandard

from ledger import framing
from ledger.core.bundle import bundle_hash, parse_bundle
from ledger.core.hashing import Digest
from ledger.core.submission import Submission
from ledger.errors import LedgerError, MalformedError
from ledger.limits import (
    BLOCK_BYTES_MAX,
    BLOCK_EVENTS_MAX,
    BUNDLE_BYTES_MAX,
    BUNDLES_WAITING_MAX,
    SUBMISSION_FRAMED_BYTES_MAX,
    TRANSACTION_BYTES_MAX,
    TRANSACTION_SUBMISSIONS_MAX,
    ZSTD_WINDOW_BYTES_MAX,
)
from ledger.machine.governance import carried_bundles

VERSION: Final = 1
NONCE_BYTES: Final = 8
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"


@dataclass(slots=True)
class Transaction:
    """A parsed transaction; `bundles` by hash, `frames` as they travel. `verified`: its signatures were checked.

    `refused`: why submissions of it, by number, may not wait, as CometBFT's question was answered last.
    """

    nonce: bytes
    framed: tuple[bytes, ...]
    submissions: tuple[Submission, ...]
    bundles: dict[Digest, bytes] = field(default_factory=dict)
    frames: dict[Digest, bytes] = field(default_factory=dict)
    verified: bool = False
    refused: Mapping[int, LedgerError] = field(default_factory=dict)

    @property
    def events(self) -> int:
        """Number of events."""
        return sum(len(submission.events) for submission in self.submissions)

    @property
    def size(self) -> int:
        """Bytes that it brings into a block."""
        return sum(each.size for each in self.submissions) + sum(map(len, self.bundles.values()))

    def encode(self) -> bytes:
        """Its bytes. Raises `MalformedError` (`transaction`) when they are more than the limits."""
        parts = [VERSION, self.nonce, list(self.framed), list(self.frames.values())]
        data: bytes = msgpack.packb(parts, use_bin_type=True)
        if len(data) > TRANSACTION_BYTES_MAX:
            raise MalformedError("transaction", "transaction too large", size=len(data), limit=TRANSACTION_BYTES_MAX)
        return data

    def keep(self, numbers: Sequence[int]) -> Transaction:
        """This transaction with the named submissions only; bundles that nobody names any more are left out."""
        submissions = tuple(self.submissions[number] for number in numbers)
        named = set(carried_bundles(submissions))
        bundles = {digest: data for digest, data in self.bundles.items() if digest in named}
        frames = {digest: data for digest, data in self.frames.items() if digest in named}
        framed = tuple(self.framed[number] for number in numbers)
        return Transaction(self.nonce, framed, submissions, bundles, frames, self.verified)


def make(
    nonce: bytes, framed: Sequence[bytes], submissions: Sequence[Submission], bundles: Mapping[Digest, bytes]
) -> Transaction:
    """A transaction of one's own submissions, whose signatures were verified; `framed` are they as they travel."""
    compressor = zstandard.ZstdCompressor(write_content_size=True, write_checksum=False)
    frames = {digest: compressor.compress(data) for digest, data in sorted(bundles.items())}
    return Transaction(nonce, tuple(framed), tuple(submissions), dict(bundles), frames, verified=True)


def parse(data: bytes) -> Transaction:
    """The transaction in `data`; `MalformedError` for all other bytes."""
    if len(data) > TRANSACTION_BYTES_MAX:
        raise MalformedError("transaction", "transaction too large", size=len(data), limit=TRANSACTION_BYTES_MAX)
    fields = _unpack(data)
    if type(fields) is not list or [type(each) for each in fields] != [int, bytes, list, list]:
        raise MalformedError("transaction", "not a list of version, nonce, submissions and bundles")
    version, nonce, framed, frames = fields
    if version != VERSION or len(nonce) != NONCE_BYTES:
        raise MalformedError("transaction", "unknown version or a nonce of another length", got=version)
    if not framed or {type(each) for each in (*framed, *frames)} != {bytes}:
        raise MalformedError("transaction", "submissions and bundles are byte strings, one submission at least")
    if len(frames) > BUNDLES_WAITING_MAX:
        raise MalformedError("transaction", "too many bundles", got=len(frames), limit=BUNDLES_WAITING_MAX)
    room, submissions = _Room(), list[Submission]()
    for each in framed:
        submissions.append(framing.parse(each))
        room.take(len(submissions[-1].events), submissions[-1].size)
    bundles: dict[Digest, bytes] = {}
    kept: dict[Digest, bytes] = {}
    for frame in frames:
        bundle = _expand(frame)
        room.take(0, len(bundle))
        digest = bundle_hash(parse_bundle(bundle))
        bundles[digest], kept[digest] = bundle, frame
    if not bundles.keys() <= set(carried_bundles(submissions)) or len(bundles) != len(frames):
        raise MalformedError("transaction", "a bundle that no submission names, or one twice")
    return Transaction(nonce, tuple(framed), tuple(submissions), bundles, kept)


class _Room:
    """What a block still has room for, asked before more is expanded: a few kilobytes may stand for a gigabyte."""

    def __init__(self) -> None:
        self._events, self._bytes = BLOCK_EVENTS_MAX, BLOCK_BYTES_MAX

    def take(self, events: int, size: int) -> None:
        self._events -= events
        self._bytes -= size
        if self._events < 0 or self._bytes < 0:
            raise MalformedError("transaction", "more than a block holds", limit=BLOCK_EVENTS_MAX, size=BLOCK_BYTES_MAX)


def _unpack(data: bytes) -> Any:
    try:
        return msgpack.unpackb(
            data,
            raw=False,
            max_array_len=TRANSACTION_SUBMISSIONS_MAX,
            max_bin_len=max(SUBMISSION_FRAMED_BYTES_MAX, TRANSACTION_BYTES_MAX),
            max_str_len=0,
            max_map_len=0,
            max_ext_len=0,
        )
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise MalformedError("transaction", "not one msgpack value of the right form", reason=str(error)) from None


def _expand(frame: bytes) -> bytes:
    """A bundle out of its one zstd frame, whose declared size bounds the memory."""
    if frame[:4] != _ZSTD_MAGIC:
        raise MalformedError("transaction", "a bundle is no zstd frame")
    try:
        header = zstandard.get_frame_parameters(frame)
        if header.content_size > BUNDLE_BYTES_MAX or header.dict_id or header.window_size > ZSTD_WINDOW_BYTES_MAX:
            raise MalformedError("transaction", "a bundle is too large", got=header.content_size)
        decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES_MAX)
        data: bytes = decompressor.decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise MalformedError("transaction", "bad zstd frame", reason=str(error)) from None
    return data
