"""Decides which files an export has and which bytes they hold: manifest, segments, members of a tar.

Rules (SPEC R-V08, R-N47): `manifest.json` (canonical JSON) lists every other file with size and SHA-256; segments,
certificates, native commits and state are gzip files (one member, fixed header) of items, each behind its length as u32
big-endian; a tar holds the same files as plain ustar members with fixed owner, mode and time, the manifest last. One ledger,
one order of items.
Not here: files, directories, and whether what they say is true.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from ledger.core import canonical
from ledger.core.hashing import parse_hex_digest, u32, u64
from ledger.errors import MalformedError
from ledger.limits import ARCHIVE_FILES_MAX, INT_MAX, MANIFEST_BYTES_MAX, SEGMENT_BYTES_MAX

MANIFEST: Final = "manifest.json"
GENESIS: Final = "genesis.json"
KIND: Final = "ledger-export"
VERSION: Final = 1
COMPRESSION_LEVEL: Final = 6

_NAME: Final = re.compile(
    r"genesis\.json|bundles/[0-9a-f]{64}\.json|(?:segments|certificates|native|state)/[0-9]{6,9}\.gz"
).fullmatch  # fmt: skip
_FIELDS: Final = frozenset(("files", "head", "kind", "origin", "v"))
_HEAD_FIELDS: Final = frozenset(("height", "size"))
_FILE_FIELDS: Final = frozenset(("bytes", "sha256"))
# RFC 1952: magic, deflate, no flags, mtime 0, no extra flags, unknown system; so one content has one header.
_GZIP_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_GZIP_TRAILER_BYTES: Final = 8
_SIZE_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class ListedFile:
    """One file of the manifest: its size in bytes and SHA-256 in hex."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an export says it holds; `height` and `size` are those of its last block."""

    origin: str
    height: int
    size: int
    files: Mapping[str, ListedFile]

    def numbered(self, folder: str) -> list[str]:
        """The files of `segments`, `certificates`, `native` or `state`, in order."""
        return sorted(name for name in self.files if name.startswith(f"{folder}/"))


def file_name(folder: str, number: int) -> str:
    """`segments/000007.gz`."""
    return f"{folder}/{number:06d}.gz"


def check_name(name: object) -> str:
    """`name` when an export may hold a file of this name: no other path, and none that leaves the folder."""
    if not isinstance(name, str) or not _NAME(name):
        _refuse("a file that no export has", name=name)
    return name


def encode_manifest(manifest: Manifest) -> bytes:
    """The canonical bytes of a manifest."""
    files = {name: {"bytes": each.size, "sha256": each.sha256} for name, each in manifest.files.items()}
    head = {"height": manifest.height, "size": manifest.size}
    document = {"files": files, "head": head, "kind": KIND, "origin": manifest.origin, "v": VERSION}
    return canonical.encode(document, bytes_max=MANIFEST_BYTES_MAX)


def parse_manifest(data: bytes) -> Manifest:
    """The manifest of canonical bytes; `MalformedError` otherwise. Segments are numbered from 0 without a gap."""
    document = canonical.parse(data, bytes_max=MANIFEST_BYTES_MAX)
    _closed(document, _FIELDS, "manifest")
    head = _closed(document["head"], _HEAD_FIELDS, "head")
    if document["kind"] != KIND or type(document["v"]) is not int or document["v"] != VERSION:
        _refuse("not an export of a known version", kind=document["kind"], version=document["v"])
    if not isinstance(document["origin"], str) or not isinstance(document["files"], dict):
        _refuse("origin is a text and files an object")
    if len(document["files"]) > ARCHIVE_FILES_MAX:
        _refuse("too many files", count=len(document["files"]))
    files: dict[str, ListedFile] = {}
    for name, entry in document["files"].items():
        fields = _closed(entry, _FILE_FIELDS, name)
        parse_hex_digest(fields["sha256"])
        files[check_name(name)] = ListedFile(_count(fields["bytes"], name), fields["sha256"])
    manifest = Manifest(document["origin"], _count(head["height"], "height"), _count(head["size"], "size"), files)
    segments = manifest.numbered("segments")
    if GENESIS not in files or segments != [file_name("segments", number) for number in range(len(segments))]:
        _refuse("genesis or a segment is missing", segments=len(segments))
    if any(name.replace("certificates", "segments") not in files for name in manifest.numbered("certificates")):
        _refuse("certificates without their segment")
    return manifest


def pack(items: Iterable[bytes]) -> bytes:
    """The gzip file of `items`."""
    content = b"".join([part for item in items for part in (u32(len(item)), item)])
    squeezed = zlib.compressobj(COMPRESSION_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = squeezed.compress(content) + squeezed.flush()
    checksum = zlib.crc32(content).to_bytes(4, "little")
    return _GZIP_HEADER + body + checksum + (len(content) & 0xFFFFFFFF).to_bytes(4, "little")


def unpack(data: bytes) -> list[bytes]:
    """The items of a gzip file; `MalformedError` for all other bytes. Expands to at most `SEGMENT_BYTES_MAX`."""
    content = memoryview(_expand(data))
    items: list[bytes] = []
    at = 0
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        end = at + 4 + size
        if end > len(content):
            _refuse("an item is cut off", offset=at)
        items.append(bytes(content[at + 4 : end]))
        at = end
    return items


def encode_native(size: int, data: bytes) -> bytes:
    """The item of a native commit over the checkpoint of `size` leaves."""
    # u64 size ‖ native commit
    return u64(size) + data


def parse_native(item: bytes) -> tuple[int, bytes]:
    """(size, native commit) of an item; `MalformedError` for one that is too short for a size."""
    if len(item) < _SIZE_BYTES:
        _refuse("a native commit without its size", size=len(item))
    return int.from_bytes(item[:_SIZE_BYTES], "big"), item[_SIZE_BYTES:]


def _expand(data: bytes) -> bytes:
    if len(data) > SEGMENT_BYTES_MAX or data[: len(_GZIP_HEADER)] != _GZIP_HEADER:
        _refuse("not a gzip file as an export has it", size=len(data))
    expander = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = expander.decompress(data[len(_GZIP_HEADER) :], SEGMENT_BYTES_MAX)
    except zlib.error as error:
        _refuse("cannot be expanded", reason=str(error))
    trailer = expander.unused_data
    if not expander.eof or len(trailer) != _GZIP_TRAILER_BYTES:
        _refuse("does not end where its file ends, or expands to too much", limit=SEGMENT_BYTES_MAX)
    size = (len(content) & 0xFFFFFFFF).to_bytes(4, "little")
    if trailer != zlib.crc32(content).to_bytes(4, "little") + size:
        _refuse("checksum differs")
    return content


# --- tar -------------------------------------------------------------------------------------------------------------

TAR_BLOCK: Final = 512
TAR_END: Final = bytes(2 * TAR_BLOCK)
_TAR_SIZE_MAX: Final = 8**11 - 1


def tar_header(name: str, size: int) -> bytes:
    """The one ustar header (POSIX.1-1988) of a member: mode 0644, owner 0, time 0."""
    if size > _TAR_SIZE_MAX or len(name) > 99:
        _refuse("does not fit a tar", name=name, size=size)
    fields = (
        name.encode("ascii").ljust(100, b"\0"), b"0000644\0", b"0000000\0", b"0000000\0", b"%011o\0" % size,
        b"00000000000\0", b"        ", b"0", bytes(100), b"ustar\0", b"00", bytes(32), bytes(32), b"0000000\0",
        b"0000000\0", bytes(155), bytes(12),
    )  # fmt: skip
    header = b"".join(fields)
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


def parse_tar_header(header: bytes) -> tuple[str, int]:
    """Name and size of the member; `MalformedError` unless this is the header that `tar_header` gives for them."""
    try:
        name = header[:100].rstrip(b"\0").decode("ascii")
        size = int(header[124:135], 8)
    except (UnicodeDecodeError, ValueError):
        _refuse("not a tar header")
    if name != MANIFEST:
        check_name(name)
    if size < 0 or tar_header(name, size) != header:
        _refuse("a tar header that no export has", name=name)
    return name, size


def _closed(value: object, names: frozenset[str], what: str) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != names:
        _refuse("missing or unknown fields", field=what)
    return value


def _count(value: object, what: str) -> int:
    if type(value) is not int or not 0 <= value <= INT_MAX:
        _refuse("not a non-negative integer", field=what, got=value)
    return value


def _refuse(message: str, **evidence: object) -> NoReturn:
    raise MalformedError("archive", message, **evidence)
