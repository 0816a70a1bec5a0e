"""Decides what a `.tlog-proof` file shows: that one leaf stands in a certified tree, checkable offline.

Rules (c2sp.org/tlog-proof, SPEC R-V10): header line, optional `extra <base64>`, `index <decimal>`, one base64 hash a
line from the leaf's sibling upwards, an empty line, then the checkpoint note verbatim. `extra` is context that nobody
has signed.
Not here: how the leaf's hash comes from its content; the caller computes that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ledger.core.checkpoint import Checkpoint
from ledger.core.hashing import DIGEST_BYTES, Digest
from ledger.core.merkle import verify_inclusion
from ledger.core.note import decode_base64, encode_base64, parse_note
from ledger.core.quorum import CertifiedCheckpoint, Cosigner, LogKeys, verify_certificate, verify_note
from ledger.errors import MalformedError
from ledger.limits import INT_MAX, NOTE_BYTES_MAX, TLOG_PROOF_EXTRA_BYTES_MAX

HEADER: Final = "c2sp.org/tlog-proof@v1"
PATH_MAX: Final = 64
"""A path has at most one hash for each bit of an index."""

_INDEX: Final = re.compile(r"index (0|[1-9][0-9]{0,15})", re.ASCII).fullmatch
_BYTES_MAX: Final = NOTE_BYTES_MAX + TLOG_PROOF_EXTRA_BYTES_MAX * 4 // 3 + 64 * PATH_MAX + 128


@dataclass(frozen=True, slots=True)
class TlogProof:
    """A well-formed proof; nothing in it is checked until `verify_tlog_proof` returns.

    `note` is the checkpoint note verbatim; `extra` is None or unauthenticated bytes.
    """

    index: int
    path: tuple[Digest, ...]
    note: bytes
    extra: bytes | None = None


def encode_tlog_proof(proof: TlogProof) -> bytes:
    """The file's bytes; `MalformedError` (code `tlog-proof`) for parts that would not parse back."""
    lines = [HEADER]
    if proof.extra is not None:
        lines.append(f"extra {encode_base64(proof.extra)}")
    lines.append(f"index {proof.index}")
    lines += [encode_base64(digest) for digest in proof.path]
    data = "".join(line + "\n" for line in lines).encode("ascii") + b"\n" + proof.note
    if parse_tlog_proof(data) != proof:
        raise MalformedError("tlog-proof", "parts do not parse back")
    return data


def parse_tlog_proof(data: bytes) -> TlogProof:
    """The proof of a file's bytes; `MalformedError` (code `tlog-proof` or `note`) for all other bytes."""
    if len(data) > _BYTES_MAX:
        raise MalformedError("tlog-proof", "file too long", size=len(data), limit=_BYTES_MAX)
    # No line before the note is empty, so the first blank line divides.
    preamble, blank, note = data.partition(b"\n\n")
    if not blank:
        raise MalformedError("tlog-proof", "no empty line before the checkpoint")
    try:
        lines = preamble.decode("ascii", "strict").split("\n")
    except UnicodeDecodeError as error:
        raise MalformedError("tlog-proof", "not ASCII before the checkpoint", offset=error.start) from None
    if lines.pop(0) != HEADER:
        raise MalformedError("tlog-proof", "unknown header")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = decode_base64(lines.pop(0)[len("extra ") :], "tlog-proof")
        if not 1 <= len(extra) <= TLOG_PROOF_EXTRA_BYTES_MAX:
            raise MalformedError("tlog-proof", "extra is empty or too long", size=len(extra))
    match = _INDEX(lines.pop(0)) if lines else None
    if match is None or int(match[1]) > INT_MAX:
        raise MalformedError("tlog-proof", "no index line, or not a plain decimal")
    if len(lines) > PATH_MAX:
        raise MalformedError("tlog-proof", "path too long", count=len(lines), limit=PATH_MAX)
    path = tuple(Digest(decode_base64(line, "tlog-proof")) for line in lines)
    if any(len(digest) != DIGEST_BYTES for digest in path):
        raise MalformedError("tlog-proof", "a hash is not 32 bytes")
    parse_note(note)
    return TlogProof(int(match[1]), path, note, extra)


def verify_tlog_proof(
    proof: TlogProof, leaf_hash: Digest, origin: str, log_keys: LogKeys, cosigners: list[Cosigner]
) -> CertifiedCheckpoint:
    """The certified checkpoint that binds `leaf_hash` at the proof's index; raises as `quorum` and `merkle` do."""
    certified = verify_certificate(proof.note, origin, log_keys, cosigners)
    head = certified.checkpoint
    verify_inclusion(leaf_hash, proof.index, head.size, proof.path, head.root)
    return certified


def checkpoint_of_later_set(
    proof: TlogProof, leaf_hash: Digest, origin: str, log_keys: LogKeys, cosigners: list[Cosigner]
) -> Checkpoint | None:
    """The log-signed checkpoint that binds `leaf_hash`, where strangers to the set signed it too; else None.

    Nothing certifies it: whoever made the file may have been led to a later set of cosigners, or be a liar with the
    log's key. Raises as `quorum` and `merkle` do.
    """
    verified = verify_note(proof.note, origin, log_keys, cosigners)
    head = verified.checkpoint
    verify_inclusion(leaf_hash, proof.index, head.size, proof.path, head.root)
    known = {line.line for line in (*verified.log_lines, *verified.cosignatures)}
    return head if any(line not in known for line in parse_note(proof.note).lines) else None
