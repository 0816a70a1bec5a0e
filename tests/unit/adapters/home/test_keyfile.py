"""Key files: created once, 0600, refused when others may read them, encrypted so that OpenSSL can open them."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from ledger.adapters.home.keyfile import create_key, encrypt_pkcs8, read_key, read_secret, write_key, write_secret
from ledger.errors import ConflictError, LedgerError, MalformedError, NotFoundError, RejectedError

SEED = bytes(range(32))


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key file under the passphrase `open sesame`; scrypt takes a moment, so it is made once."""
    path = tmp_path_factory.mktemp("keys") / "secret.key"
    write_key(path, SEED, b"open sesame")
    return path


def test_a_key_comes_back_from_its_file(tmp_path: Path) -> None:
    """What was created reads back as the same key, with mode 0600 whatever the umask."""
    before = os.umask(0)
    try:
        signer = create_key(tmp_path / "a.key")
    finally:
        os.umask(before)
    path = tmp_path / "a.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_key(path).public == signer.public
    assert read_key(path, b"a passphrase that is not needed").public == signer.public


def test_secrets_are_never_overwritten(tmp_path: Path) -> None:
    """A second key under the same name is refused and the first stays."""
    first = create_key(tmp_path / "a.key")
    with pytest.raises(ConflictError) as caught:
        create_key(tmp_path / "a.key")
    assert caught.value.code == "key-exists" and read_key(tmp_path / "a.key").public == first.public


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o677])
def test_a_key_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    """Any bit for group or others refuses the file, and the error names mode and path."""
    path = tmp_path / "a.key"
    create_key(path)
    path.chmod(mode)
    with pytest.raises(RejectedError) as caught:
        read_key(path)
    assert caught.value.code == "key-file-mode" and caught.value.evidence["mode"] == f"{mode:04o}"


def test_an_encrypted_key_needs_its_passphrase(encrypted: Path) -> None:
    """The right passphrase opens it; none, another one or a changed file do not."""
    assert read_key(encrypted, b"open sesame").public == write_free(SEED)
    for passphrase in (None, b"", b"open sesame!"):
        with pytest.raises(RejectedError) as caught:
            read_key(encrypted, passphrase)
        assert caught.value.code == "key-passphrase"
    assert SEED.hex() not in encrypted.read_bytes().hex()


def test_a_damaged_encrypted_key_is_refused(encrypted: Path, tmp_path: Path) -> None:
    """A changed character anywhere in the file never gives another key, only an error."""
    lines = encrypted.read_bytes().split(b"\n")
    whole = read_key(encrypted, b"open sesame").public
    for number in range(1, len(lines) - 2, 2):
        changed = [*lines]
        changed[number] = changed[number][:-3] + (b"AAA" if changed[number][-3:] != b"AAA" else b"BBB")
        path = tmp_path / f"{number}.key"
        write_secret(path, b"\n".join(changed))
        assert outcome(path) in (whole, "key-passphrase", "key-file")


def test_openssl_opens_both_forms(encrypted: Path, tmp_path: Path) -> None:
    """A program that no one here wrote reads the plain and the encrypted file, and finds the same public key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl command")
    plain = tmp_path / "plain.key"
    write_key(plain, SEED)
    found = set()
    for path, extra in ((plain, []), (encrypted, ["-passin", "pass:open sesame"])):
        command = [openssl, "pkey", "-in", str(path), *extra, "-pubout", "-outform", "DER"]
        found.add(subprocess.run(command, capture_output=True, check=True).stdout[-32:])
    assert found == {write_free(SEED).raw}


@pytest.mark.parametrize("data", [b"", b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n", b"\0" * 9000])
def test_other_content_is_no_key(tmp_path: Path, data: bytes) -> None:
    """A file without a PKCS#8 Ed25519 key, or a large one, is `key-file`."""
    write_secret(tmp_path / "x.key", data)
    with pytest.raises(MalformedError) as caught:
        read_key(tmp_path / "x.key")
    assert caught.value.code == "key-file"


def test_another_algorithm_is_refused(tmp_path: Path) -> None:
    """A P-256 key is named as such."""
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_secret(tmp_path / "p256.key", pem)
    with pytest.raises(MalformedError) as caught:
        read_key(tmp_path / "p256.key")
    assert "Ed25519" in str(caught.value)


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    """A folder, a pipe or nothing at all is an error and never waits."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(MalformedError):
        read_secret(tmp_path / "pipe")
    for name in ("nothing", "nothing/below"):
        with pytest.raises(NotFoundError):
            read_secret(tmp_path / name)


def test_every_salt_gives_another_file() -> None:
    """The encryption depends on salt and iv, and the same ones give the same bytes."""
    made = [encrypt_pkcs8(b"der", b"p", salt, iv) for salt in (b"a" * 16, b"b" * 16) for iv in (b"a" * 16, b"b" * 16)]
    assert len(set(made)) == 4 and encrypt_pkcs8(b"der", b"p", b"a" * 16, b"a" * 16) == made[0]


def outcome(path: Path) -> object:
    """The public key that a file gives, or the code of the error."""
    try:
        return read_key(path, b"open sesame").public
    except LedgerError as error:
        return error.code


def write_free(seed: bytes):
    """The public key of a seed, without a file."""
    from ledger.core.keys import Ed25519Signer

    return Ed25519Signer(seed).public
