"""Bundles: rulebooks and calendars as one canonical document, named by the hash of their files (SPEC R-U01 to R-U04).

A bundle is text files by path. Its hash is over the RFC 6962 root of the sorted (path, bytes), so a single file can be
shown to belong to a rulebook. Not here: what the files mean (see `rules`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ledger.core import canonical
from ledger.core.hashing import TAG_RULEBOOK, Digest, lp, sha256, u32
from ledger.core.merkle import leaf_hash, root
from ledger.errors import MalformedError
from ledger.limits import BUNDLE_BYTES_MAX, BUNDLE_FILES_MAX

_PATH: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*){0,7}")


def encode_bundle(files: Mapping[str, bytes]) -> bytes:
    """The canonical document `{path: text}` of UTF-8 text files. Raises `MalformedError`."""
    _check(files)
    try:
        texts = {path: data.decode("utf-8") for path, data in files.items()}
    except UnicodeDecodeError as error:
        raise MalformedError("bundle-text", "a bundle holds UTF-8 text files only") from error
    # An escape is at most six bytes long; the limit is for the document, which is what travels and stands in a block.
    data = canonical.encode(texts, bytes_max=8 * BUNDLE_BYTES_MAX)
    if len(data) > BUNDLE_BYTES_MAX:
        raise MalformedError("bundle-size", "a bundle has at most 4 MiB", limit=BUNDLE_BYTES_MAX)
    return data


def parse_bundle(data: bytes) -> dict[str, bytes]:
    """Files by path. Raises `MalformedError`."""
    document = canonical.parse(data, bytes_max=BUNDLE_BYTES_MAX)
    files: dict[str, bytes] = {}
    for path, text in document.items():
        if not isinstance(text, str):
            raise MalformedError("bundle-file", "a file is a text", path=path)
        files[path] = text.encode("utf-8")
    _check(files)
    return files


def bundle_hash(files: Mapping[str, bytes]) -> Digest:
    """SHA-256(TAG_RULEBOOK ‖ u32 count ‖ RFC 6962 root over D[i] = lp(path) ‖ bytes, sorted by path)."""
    hashes = [leaf_hash(lp(path.encode("ascii")) + files[path]) for path in sorted(files)]
    return sha256(TAG_RULEBOOK + u32(len(hashes)) + root(hashes))


def _check(files: Mapping[str, bytes]) -> None:
    if not 0 < len(files) <= BUNDLE_FILES_MAX:
        raise MalformedError("bundle-files", "a bundle has 1 to 1,000 files", got=len(files))
    if sum(len(data) for data in files.values()) > BUNDLE_BYTES_MAX:
        raise MalformedError("bundle-size", "a bundle has at most 4 MiB", limit=BUNDLE_BYTES_MAX)
    for path in files:
        if not _PATH.fullmatch(path) or len(path) > 200:
            raise MalformedError("bundle-path", "not a plain relative path", got=path)
