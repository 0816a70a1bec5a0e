r"""Decides what a cosigner states: at this time, this is the largest tree of this log that I recomputed myself.

Rules (c2sp.org/tlog-cosignature, Ed25519): signature type 0x04; the line holds u64 big-endian seconds ‖ 64 bytes over
`cosignature/v1\ntime <seconds>\n` ‖ note text. The message does not name the cosigner, so one key serves one name.
Not here: when a node may sign (SPEC R-Q10 needs its durable state), and how many suffice (`quorum`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ledger.core.hashing import u64
from ledger.core.keys import SIGNATURE_BYTES, PublicKey, Signer
from ledger.core.note import NoteLine, check_key_name, key_hash_of
from ledger.errors import MalformedError, VerificationError

TYPE_COSIGNATURE: Final = 0x04
"""Signature type of timestamped Ed25519 cosignatures (c2sp.org/signed-note)."""

TIME_S_MAX: Final = 2**63 - 1
_TIME_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class CosignatureVerifier:
    """Verifies the cosignature lines (type 0x04) of one named cosigner."""

    name: str
    key: PublicKey
    key_hash: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key_hash", key_hash_of(check_key_name(self.name), TYPE_COSIGNATURE, self.key.raw))

    def verify(self, text: str, signature: bytes) -> None:
        """Raise `VerificationError` unless the timestamped signature is this cosigner's over `text`."""
        time_s = timestamp_of(signature)
        self.key.verify(cosignature_message(time_s, text), signature[_TIME_BYTES:])


def cosignature_message(time_s: int, text: str) -> bytes:
    """The signed bytes for Unix seconds `time_s` and the note text with its final newline."""
    # "cosignature/v1\n" ‖ "time " ‖ decimal ‖ "\n" ‖ text
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def sign_cosignature(text: str, name: str, signer: Signer, time_s: int) -> NoteLine:
    """The cosignature line of `signer`, known as `name`, at Unix seconds `time_s`."""
    if not 0 <= time_s <= TIME_S_MAX:
        raise MalformedError("cosignature", "time out of range", time_s=time_s)
    hashed = key_hash_of(check_key_name(name), TYPE_COSIGNATURE, signer.public.raw)
    return NoteLine(name, hashed, u64(time_s) + signer.sign(cosignature_message(time_s, text)))


def timestamp_of(signature: bytes) -> int:
    """The Unix seconds on a cosignature; only a verified line's time means anything."""
    if len(signature) != _TIME_BYTES + SIGNATURE_BYTES:
        raise VerificationError("cosignature", "not a time and a signature", size=len(signature))
    time_s = int.from_bytes(signature[:_TIME_BYTES], "big")
    if time_s > TIME_S_MAX:
        raise VerificationError("cosignature", "time out of range", time_s=time_s)
    return time_s
