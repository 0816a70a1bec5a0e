"""Decides which files may hold a private key, and reads and writes them: PKCS#8 PEM, readable by its owner only.

Rules: a key file is created once (O_EXCL) with mode 0600, written through to the disk, and refused when group or others
may read it. With a passphrase it is PBES2 with scrypt (RFC 7914) and AES-256-CBC, which OpenSSL opens too: the
library's own PKCS#8 encryption stretches by 2,048 rounds of PBKDF2 only.
Not here: which member a key belongs to (see `nodefile`), and signing state (see `signerstate`).
"""

from __future__ import annotations

import hashlib
import os
import stat
from base64 import b64encode
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from ledger.core.keys import Ed25519Signer, PublicKey
from ledger.errors import ConflictError, MalformedError, NotFoundError, RejectedError

KEY_FILE_BYTES_MAX: Final = 8 * 1024  # an encrypted Ed25519 key is about 400 bytes

# OpenSSL's default memory (16 MiB) with five passes: what OWASP lists as equal to N = 2^17, p = 1.
SCRYPT_N: Final = 2**14
SCRYPT_R: Final = 8
SCRYPT_P: Final = 5
SCRYPT_MEMORY_BYTES: Final = 64 * 1024 * 1024

_OID_PBES2: Final = bytes.fromhex("06092a864886f70d01050d")  # 1.2.840.113549.1.5.13
_OID_SCRYPT: Final = bytes.fromhex("06092b06010401da47040b")  # 1.3.6.1.4.1.11591.4.11
_OID_AES256_CBC: Final = bytes.fromhex("060960864801650304012a")  # 2.16.840.1.101.3.4.1.42


def create_key(path: Path, passphrase: bytes | None = None) -> Ed25519Signer:
    """A new Ed25519 key in the new file `path`; `ConflictError` (code `key-exists`) when the file exists."""
    seed = Ed25519PrivateKey.generate().private_bytes_raw()
    write_key(path, seed, passphrase)
    return Ed25519Signer(seed)


def write_key(path: Path, seed: bytes, passphrase: bytes | None = None) -> PublicKey:
    """Write the key of a 32-byte `seed` to the new file `path`, durable on return; its public key."""
    signer = Ed25519Signer(seed)
    der = Ed25519PrivateKey.from_private_bytes(seed).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    if passphrase is None:
        pem = _pem("PRIVATE KEY", der)
    else:
        salt, iv = os.urandom(16), os.urandom(16)
        pem = _pem("ENCRYPTED PRIVATE KEY", encrypt_pkcs8(der, passphrase, salt, iv))
    write_secret(path, pem)
    return signer.public


def read_key(path: Path, passphrase: bytes | None = None) -> Ed25519Signer:
    """The signer of a key file.

    Raises `NotFoundError` (`key-file`), `RejectedError` (`key-file-mode` when others may read it, `key-passphrase` when
    it is encrypted and the passphrase is missing or wrong), `MalformedError` (`key-file`) when it holds no Ed25519 key.
    """
    pem = read_secret(path, KEY_FILE_BYTES_MAX)
    encrypted = b"ENCRYPTED PRIVATE KEY" in pem
    if encrypted and not passphrase:
        raise RejectedError("key-passphrase", "the key file is encrypted and no passphrase was given", path=str(path))
    try:
        key = load_pem_private_key(pem, passphrase if encrypted else None)
    except ValueError as error:
        if encrypted:
            raise RejectedError("key-passphrase", "wrong passphrase, or a damaged file", path=str(path)) from error
        raise MalformedError("key-file", "no PKCS#8 private key in PEM", path=str(path)) from error
    except Exception as error:  # the library has families of its own for unknown algorithms
        raise MalformedError("key-file", "no private key that can be read", path=str(path)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise MalformedError("key-file", "not an Ed25519 key", path=str(path), got=type(key).__name__)
    return Ed25519Signer(key.private_bytes_raw())


def write_secret(path: Path, data: bytes) -> None:
    """Write `data` to the new file `path`, mode 0600 whatever the umask, file and folder fsynced."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise ConflictError("key-exists", "the file exists; secrets are never overwritten", path=str(path)) from error
    except FileNotFoundError as error:
        raise NotFoundError("folder", "the folder does not exist", path=str(path.parent)) from error
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read_secret(path: Path, bytes_max: int = KEY_FILE_BYTES_MAX) -> bytes:
    """The bytes of a regular file that only its owner may read; raises as `read_key` does."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError("key-file", "no such file", path=str(path)) from error
    except PermissionError as error:
        raise RejectedError("key-file-access", "the file may not be read by this user", path=str(path)) from error
    with os.fdopen(fd, "rb") as file:
        # Asked of the open file, so that nobody can exchange it between check and use.
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise MalformedError("key-file", "not a regular file", path=str(path))
        if status.st_mode & 0o077:
            mode = f"{stat.S_IMODE(status.st_mode):04o}"
            raise RejectedError("key-file-mode", "others may read this file", path=str(path), mode=mode)
        data = file.read(bytes_max + 1)
    if len(data) > bytes_max:
        raise MalformedError("key-file", "too large for a key", path=str(path), limit=bytes_max)
    return data


def encrypt_pkcs8(der: bytes, passphrase: bytes, salt: bytes, iv: bytes) -> bytes:
    """The EncryptedPrivateKeyInfo (RFC 5958, section 3) of a PKCS#8 key by PBES2 with scrypt (RFC 7914, section 7)."""
    derived = hashlib.scrypt(
        passphrase, salt=salt, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P, maxmem=SCRYPT_MEMORY_BYTES, dklen=32
    )
    padding = 16 - len(der) % 16
    encryptor = Cipher(algorithms.AES(derived), modes.CBC(iv)).encryptor()
    data = encryptor.update(der + bytes([padding]) * padding) + encryptor.finalize()
    # PBES2-params ::= SEQUENCE { keyDerivationFunc, encryptionScheme }
    kdf = _sequence(_OID_SCRYPT, _sequence(_octets(salt), _integer(SCRYPT_N), _integer(SCRYPT_R), _integer(SCRYPT_P)))
    scheme = _sequence(_OID_AES256_CBC, _octets(iv))
    return _sequence(_sequence(_OID_PBES2, _sequence(kdf, scheme)), _octets(data))


def _tlv(tag: int, value: bytes) -> bytes:
    size = len(value)
    if size < 0x80:
        return bytes((tag, size)) + value
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + value


def _sequence(*parts: bytes) -> bytes:
    return _tlv(0x30, b"".join(parts))


def _octets(value: bytes) -> bytes:
    return _tlv(0x04, value)


def _integer(value: int) -> bytes:
    return _tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _pem(label: str, der: bytes) -> bytes:
    text = b64encode(der).decode("ascii")
    rows = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join((f"-----BEGIN {label}-----", *rows, f"-----END {label}-----", "")).encode("ascii")
