"""Decides what a tree head's text is: the three lines of a C2SP tlog-checkpoint, and nothing behind them.

Rules (c2sp.org/tlog-checkpoint; SPEC R-Q01): origin, decimal size without leading zeros, canonical base64 root,
each line ended by newline; no extension lines. The empty tree has the empty root.
Not here: signatures (see `note`, `cosignature`) and whether the origin is the expected one (see `quorum`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ledger.core.hashing import DIGEST_BYTES, TAG_APP, Digest, sha256, u64
from ledger.core.ident import check_origin
from ledger.core.merkle import EMPTY_ROOT
from ledger.core.note import decode_base64, encode_base64
from ledger.errors import MalformedError
from ledger.limits import INT_MAX

_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII).fullmatch


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: `root` over the first `size` leaves of the log `origin`. Says nothing about who signed it."""

    origin: str
    size: int
    root: Digest

    def __post_init__(self) -> None:
        check_origin(self.origin)
        if not 0 <= self.size <= INT_MAX:
            raise MalformedError("checkpoint", "size out of range", size=self.size)
        if len(self.root) != DIGEST_BYTES:
            raise MalformedError("checkpoint", "root is not 32 bytes", root=self.root)
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise MalformedError("checkpoint", "an empty tree has another root", root=self.root)


def encode_checkpoint(checkpoint: Checkpoint) -> str:
    """The text of a note, final newline included."""
    return f"{checkpoint.origin}\n{checkpoint.size}\n{encode_base64(checkpoint.root)}\n"


def parse_checkpoint_text(text: str) -> Checkpoint:
    """The checkpoint of a note's text; `MalformedError` (code `checkpoint` or `origin`) for any other text."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise MalformedError("checkpoint", "not exactly three lines", lines=len(lines) - 1)
    origin, size, root, _ = lines
    if not _SIZE(size):
        raise MalformedError("checkpoint", "size is no plain decimal", got=size)
    return Checkpoint(origin, int(size), Digest(decode_base64(root, "checkpoint")))


def app_hash(size: int, root: Digest) -> Digest:
    """What CometBFT carries of a checkpoint: SHA-256(TAG_APP ‖ u64 size ‖ root)."""
    return sha256(TAG_APP + u64(size) + root)
