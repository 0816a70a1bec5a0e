"""Tokens of readers in a node's data directory: one 0600 file each, made here, read by the node.

Rules: a file is JSON with a reader and its token; it is named by the hash of the reader, so that no id can lead out of
the folder; a reader has one token, and a new one replaces it. Not here: what readers may see.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger.adapters.home.keyfile import write_secret
from ledger.core.hashing import Digest, sha256
from ledger.core.ident import check_identifier
from ledger.errors import MalformedError

FOLDER: Final = "readers"
_TOKEN_BYTES: Final = 32
_FILE_BYTES_MAX: Final = 4_096


@dataclass(frozen=True, slots=True)
class Reader:
    """A member id; or, of a person, the name of the stream of its tag, `<member>/<tag>`."""

    name: str
    person: bool


def make_reader(data_dir: Path, reader: Reader) -> tuple[Path, str]:
    """A new token of `reader`, in place of its old one: (file, token). Raises `MalformedError` for what is no name."""
    check_identifier(reader.name, "reader")
    if reader.person != ("/" in reader.name):
        raise MalformedError("reader-name", "a member id, or <member>/<tag> of a person", got=reader.name)
    folder = data_dir / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    path = _path(data_dir, reader.name)
    path.unlink(missing_ok=True)
    document = {"person": reader.person, "reader": reader.name, "token": token}
    write_secret(path, json.dumps(document, sort_keys=True).encode("ascii") + b"\n")
    return path, token


def remove_reader(data_dir: Path, name: str) -> bool:
    """End a reader's token; whether there was one."""
    path = _path(data_dir, name)
    found = path.exists()
    path.unlink(missing_ok=True)
    return found


def read_readers(data_dir: Path) -> dict[Digest, Reader]:
    """Readers by the hash of their token. Raises `MalformedError` for a file that is none of ours."""
    found: dict[Digest, Reader] = {}
    for path in sorted((data_dir / FOLDER).glob("*.json")):
        try:
            document = json.loads(path.read_bytes()[:_FILE_BYTES_MAX])
            token, reader = document["token"].encode("ascii"), Reader(document["reader"], document["person"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise MalformedError("reader-file", "not a reader's token", path=str(path), reason=str(error)) from None
        found[sha256(token)] = reader
    return found


def _path(data_dir: Path, name: str) -> Path:
    return data_dir / FOLDER / f"{sha256(name.encode('utf-8')).hex()[:32]}.json"
