"""The signer's memory: what was signed last, fsynced before a signature leaves (SPEC R-Q10 to R-Q14).

Two slots of one fixed-size file are written in turn, each with its own checksum, so that a torn write leaves the slot
before it. The state is made once with the key, bound to this machine and this very file, and is never part of a backup: a
key without its state never signs again. Not here: whether something may be signed (see `cosigner`).
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from ledger.core.hashing import ZERO_DIGEST, Digest
from ledger.errors import FatalError

SLOT_BYTES = 1024
_CHECK_CHARS = 64
MACHINE_ID = Path("/etc/machine-id")
_NO_IDS = ("", "uninitialized")
"""What images and containers have in that file before a machine got its id: the same everywhere, so it names none."""


@dataclass(frozen=True, slots=True)
class Signed:
    """The locked checkpoint: size, root, and the unix ms it was last signed at."""

    size: int
    root: Digest
    time: int
    count: int = 0


class SignerState:
    """One key's state file. Thread-safe; `advance` is durable when it returns."""

    def __init__(self, path: Path, origin: str, key_id: Digest) -> None:
        self._path, self._origin, self._key_id = path, origin, key_id
        self._lock = threading.Lock()
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise FatalError(
                "signer-state-missing", "a key without its state never signs again", path=path.name
            ) from error
        self._bound_to = _identity(self._file)
        self.signed = self._load()

    @staticmethod
    def create(path: Path, origin: str, key_id: Digest) -> SignerState:
        """Make the state of a new key ({size 0}); refuses an existing file. Mode 0600, directory fsynced."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            first = _encode_slot(Signed(0, ZERO_DIGEST, 0), origin, key_id, _identity(fd))
            os.pwrite(fd, first + b"\0" * SLOT_BYTES, 0)
            os.fsync(fd)
        finally:
            os.close(fd)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        return SignerState(path, origin, key_id)

    def advance(self, size: int, root: Digest, time: int) -> None:
        """Lock (size, root): durable on return. Raises `FatalError` for a step back or another root at this size."""
        with self._lock:
            before = self.signed
            if size < before.size or (size == before.size and before.size and root != before.root):
                raise FatalError("signer-rule", "would sign a second history", locked=before.size, asked=size)
            signed = Signed(size, root, max(time, before.time), before.count + 1)
            slot = _encode_slot(signed, self._origin, self._key_id, self._bound_to)
            os.pwrite(self._file, slot, (signed.count % 2) * SLOT_BYTES)
            os.fdatasync(self._file)
            self.signed = signed

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _load(self) -> Signed:
        data = os.pread(self._file, 2 * SLOT_BYTES, 0)
        slots = [_parse_slot(data[:SLOT_BYTES]), _parse_slot(data[SLOT_BYTES:])]
        found = [slot for slot in slots if slot is not None]
        if not found:
            raise FatalError("signer-state-damaged", "no slot of the signer state checks", path=self._path.name)
        newest = max(found, key=lambda slot: int(slot["count"]))
        expected = {"identity": _identity(self._file), "key": self._key_id.hex(), "origin": self._origin}
        for name, value in expected.items():
            if newest[name] != value:
                raise FatalError(
                    "signer-state-foreign",
                    "the signer state was made for another key, network, machine or file (a copy or a backup?)",
                    field=name,
                )
        return Signed(
            int(newest["size"]), Digest(bytes.fromhex(newest["root"])), int(newest["time"]), int(newest["count"])
        )


def _identity(fd: int) -> str:
    """What a copy of the file cannot have: this machine's id and the file's inode."""
    try:
        machine = MACHINE_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        machine = ""
    if machine in _NO_IDS:
        machine = os.uname().nodename
    return hashlib.sha256(f"{machine}/{os.fstat(fd).st_ino}".encode()).hexdigest()


def _encode_slot(signed: Signed, origin: str, key_id: Digest, identity: str) -> bytes:
    fields = {
        "count": signed.count,
        "identity": identity,
        "key": key_id.hex(),
        "origin": origin,
        "root": signed.root.hex(),
        "size": signed.size,
        "time": signed.time,
    }
    body = json.dumps(fields, sort_keys=True).encode("ascii")
    slot = hashlib.sha256(body).hexdigest().encode("ascii") + body
    return slot.ljust(SLOT_BYTES, b"\0")


def _parse_slot(slot: bytes) -> dict[str, str] | None:
    body = slot[_CHECK_CHARS:].rstrip(b"\0")
    if not body or hashlib.sha256(body).hexdigest().encode("ascii") != slot[:_CHECK_CHARS]:
        return None
    fields: dict[str, str] = json.loads(body)
    return fields
