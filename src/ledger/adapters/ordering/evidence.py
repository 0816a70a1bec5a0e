"""Keeps what a lying node signed: one file a finding in the evidence folder, 0600, whole and fsynced before it has its name.

Rule: evidence is bytes as they were received, named by their hash, so that the same lie is kept once. Not here: judging it.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ledger.core.hashing import sha256
from ledger.limits import EVIDENCE_FILES_MAX

_PART = ".part"
_writing = threading.Lock()


def keep_evidence(folder: Path, kind: str, signed: bytes, facts: Mapping[str, Any]) -> Path:
    """Write `signed` (a note) with `facts` as `<kind>-<hash>.json`; the path. Raises `OSError`."""
    document = {"kind": kind, "signed": signed.decode("utf-8", "replace"), **facts}
    data = json.dumps(document, ensure_ascii=False, indent=1).encode("utf-8")
    return _write(folder, f"{kind}-{sha256(signed).hex()[:16]}.json", data)


def keep_proof(folder: Path, kind: str, proof: bytes) -> Path:
    """Write a proof file as it is, so that `ledger proof verify` reads it; the path. Raises `OSError`."""
    return _write(folder, f"{kind}-{sha256(proof).hex()[:16]}.json", proof)


def evidence_files(folder: Path) -> list[Path]:
    """The files of an evidence folder, the newest first; none where there is no folder."""
    return sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)


def _write(folder: Path, name: str, data: bytes) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / name
    if not path.exists() and len(evidence_files(folder)) >= EVIDENCE_FILES_MAX:
        # The first ones convict; a node that goes on lying shall not fill the disk, so of the rest the newest is kept.
        path = folder / f"{name.rpartition('-')[0]}-latest.json"
    with _writing:
        fd = os.open(folder / _PART, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        (folder / _PART).replace(path)
    return path
