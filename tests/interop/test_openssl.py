"""The openssl command verifies our Ed25519 signatures, and refuses damaged ones."""

from __future__ import annotations

import shutil
import subprocess
from base64 import b64encode
from pathlib import Path

import pytest

from ledger.core.keys import PublicKey
from tests.unit.core import samples
from tests.unit.core.samples import signer

pytestmark = pytest.mark.interop

SPKI_ED25519 = bytes.fromhex("302a300506032b6570032100")  # RFC 8410: SubjectPublicKeyInfo before the 32 bytes


def verifies(folder: Path, key: PublicKey, message: bytes, signature: bytes) -> bool:
    """What `openssl pkeyutl -verify` says."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl command on PATH")
    text = b64encode(SPKI_ED25519 + key.raw).decode()
    (folder / "key.pem").write_text(f"-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
    (folder / "message").write_bytes(message)
    (folder / "signature").write_bytes(signature)
    done = subprocess.run(
        [
            openssl,
            "pkeyutl",
            "-verify",
            "-pubin",
            "-inkey",
            "key.pem",
            "-rawin",
            "-in",
            "message",
            "-sigfile",
            "signature",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if "rawin" in done.stderr or "nitializ" in done.stderr:
        pytest.skip(f"this openssl cannot verify Ed25519: {done.stderr.strip()[:200]}")
    return done.returncode == 0


def test_openssl_verifies_a_submission(tmp_path: Path) -> None:
    """A submission's signature verifies over its message, and over no other message or with no other key."""
    made = samples.submission(3)
    assert verifies(tmp_path, signer(1).public, made.message, made.signature)
    assert not verifies(tmp_path, signer(1).public, made.message + b"x", made.signature)
    assert not verifies(tmp_path, signer(2).public, made.message, made.signature)
    assert not verifies(tmp_path, signer(1).public, made.message, made.signature[:63] + b"\xff")
