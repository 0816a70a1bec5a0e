r"""Decides what a signed note says and whose lines on it hold: C2SP signed-note, as Go's sumdb/note reads it.

Rules (c2sp.org/signed-note): UTF-8 without control characters but newline; text ending in newline, a blank line, then
signature lines `— <name> base64(4-byte key hash ‖ signature)`; key hash = SHA-256(name ‖ "\n" ‖ type ‖ key)[:4].
A line of a known key that fails refuses the whole note; lines of unknown keys are kept apart and prove nothing.
Stricter than Go in two ways, so that a note has one spelling: base64 is canonical, and no key has two lines.
At most 100 lines and 64 KiB. Not here: what the text means (see `checkpoint`), and how many lines suffice (`quorum`).
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from ledger.core.hashing import sha256
from ledger.core.keys import PublicKey, Signer, parse_public_key
from ledger.errors import MalformedError, VerificationError
from ledger.limits import NOTE_BYTES_MAX, NOTE_SIGNATURES_MAX

TYPE_ED25519: Final = 0x01
"""Signature type of log signatures: Ed25519 over the note text (c2sp.org/signed-note)."""

KEY_HASH_BYTES: Final = 4
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]").search
_LINE_START: Final = "\u2014 "
# Unicode White_Space, listed, so that no Unicode version of an interpreter decides what a name is.
_SPACES: Final = frozenset(
    "\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


@dataclass(frozen=True, slots=True)
class NoteLine:
    """One signature line; `signature` is what follows the key hash. Says nothing about being valid."""

    name: str
    key_hash: bytes
    signature: bytes

    def encode(self) -> str:
        """The line with its newline."""
        return f"{_LINE_START}{self.name} {encode_base64(self.key_hash + self.signature)}\n"


@dataclass(frozen=True, slots=True)
class UnverifiedNote:
    """A well-formed note of which nothing has been checked; do not act on its text."""

    text: str
    lines: tuple[NoteLine, ...]


@dataclass(frozen=True, slots=True)
class OpenedNote:
    """A note with at least one verified line; `unknown` holds the lines of keys that were not given."""

    text: str
    verified: tuple[NoteLine, ...]
    unknown: tuple[NoteLine, ...]


class LineVerifier(Protocol):
    """Checks the lines of one key."""

    @property
    def name(self) -> str:
        """The key name on the line."""
        ...

    @property
    def key(self) -> PublicKey:
        """The whole key; the hash on the line only points at it."""
        ...

    @property
    def key_hash(self) -> bytes:
        """The first four bytes on the line."""
        ...

    def verify(self, text: str, signature: bytes) -> None:
        """Raise `VerificationError` unless `signature` is this key's over `text`."""
        ...


@dataclass(frozen=True, slots=True)
class NoteVerifier:
    """Verifies the plain Ed25519 lines (type 0x01) of one named key; log keys are named by their origin."""

    name: str
    key: PublicKey
    key_hash: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key_hash", key_hash_of(check_key_name(self.name), TYPE_ED25519, self.key.raw))

    def verify(self, text: str, signature: bytes) -> None:
        """Raise `VerificationError` unless `signature` is Ed25519 over the text, final newline included."""
        self.key.verify(text.encode("utf-8"), signature)


def parse_note(data: bytes) -> UnverifiedNote:
    """The note of `data`; `MalformedError` (code `note`) for all other bytes. `encode_note` inverts it."""
    if len(data) > NOTE_BYTES_MAX:
        raise MalformedError("note", "note too long", size=len(data), limit=NOTE_BYTES_MAX)
    try:
        decoded = data.decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        raise MalformedError("note", "not UTF-8", offset=error.start) from None
    if _CONTROL(decoded):
        raise MalformedError("note", "control character")
    # The last blank line divides: the text may hold blank lines of its own.
    text, blank, tail = decoded.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise MalformedError("note", "no signature lines after a blank line")
    rows = tail[:-1].split("\n")
    if len(rows) > NOTE_SIGNATURES_MAX:
        raise MalformedError("note", "too many signature lines", count=len(rows), limit=NOTE_SIGNATURES_MAX)
    return UnverifiedNote(text + "\n", tuple(_parse_line(row) for row in rows))


def encode_note(text: str, lines: Iterable[NoteLine]) -> bytes:
    """The bytes of a note; `MalformedError` when they would not parse back to these parts."""
    wanted = UnverifiedNote(text, tuple(lines))
    try:
        data = (text + "\n" + "".join(line.encode() for line in wanted.lines)).encode("utf-8", "strict")
    except UnicodeEncodeError:
        raise MalformedError("note", "lone surrogate in the text") from None
    if parse_note(data) != wanted:
        raise MalformedError("note", "text or lines are not those of one note")
    return data


def open_note(note: UnverifiedNote, verifiers: Iterable[LineVerifier]) -> OpenedNote:
    """The note with every line of the given keys verified; raises `VerificationError` as soon as one does not hold.

    Codes: `note-line` (a known key's line fails), `note-doubled` (a known key has two lines), `note-unsigned` (no line
    of a known key), `note-ambiguous` (two given keys share name and hash).
    """
    known = index_verifiers(verifiers)
    verified: dict[tuple[str, bytes], NoteLine] = {}
    unknown: list[NoteLine] = []
    for line in note.lines:
        identity = (line.name, line.key_hash)
        verifier = known.get(identity)
        if verifier is None:
            unknown.append(line)
            continue
        if identity in verified:
            raise VerificationError("note-doubled", "two lines of one key", name=line.name, key_hash=line.key_hash)
        try:
            verifier.verify(note.text, line.signature)
        except VerificationError as error:
            raise VerificationError(
                "note-line", error.message, name=line.name, key_hash=line.key_hash, signature=line.signature
            ) from None
        verified[identity] = line
    if not verified:
        raise VerificationError("note-unsigned", "no line of a known key", lines=len(note.lines))
    return OpenedNote(note.text, tuple(verified.values()), tuple(unknown))


def index_verifiers(verifiers: Iterable[LineVerifier]) -> dict[tuple[str, bytes], LineVerifier]:
    """Verifiers by name and key hash; `VerificationError` when two cannot be told apart."""
    known: dict[tuple[str, bytes], LineVerifier] = {}
    for verifier in verifiers:
        identity = (verifier.name, verifier.key_hash)
        if identity in known:
            raise VerificationError("note-ambiguous", "two keys share name and hash", name=verifier.name)
        known[identity] = verifier
    return known


def sign_note(text: str, name: str, signer: Signer) -> NoteLine:
    """The plain Ed25519 line of `signer`, whose key is known by `name`, over `text`."""
    if not text.endswith("\n"):
        raise MalformedError("note", "text does not end in newline")
    hashed = key_hash_of(check_key_name(name), TYPE_ED25519, signer.public.raw)
    return NoteLine(name, hashed, signer.sign(text.encode("utf-8")))


def key_hash_of(name: str, signature_type: int, raw: bytes) -> bytes:
    """The four bytes that point at a key; not a strong hash, the configured key decides."""
    # SHA-256(name ‖ "\n" ‖ type ‖ public key)[:4]
    return sha256(name.encode("utf-8") + b"\n" + bytes((signature_type,)) + raw)[:KEY_HASH_BYTES]


def check_key_name(name: str) -> str:
    """`name` when it can stand on a signature line; `MalformedError` (code `key-name`) otherwise."""
    if (
        not name
        or "+" in name
        or not _SPACES.isdisjoint(name)
        or any(char < " " or "\ud800" <= char <= "\udfff" for char in name)
    ):
        raise MalformedError("key-name", "empty, or holds a space, plus, control character or surrogate", got=name)
    return name


def encode_vkey(name: str, signature_type: int, key: PublicKey) -> str:
    """The verifier key `<name>+<key hash>+base64(type ‖ key)` that other tools are configured with."""
    hashed = key_hash_of(check_key_name(name), signature_type, key.raw)
    return f"{name}+{hashed.hex()}+{encode_base64(bytes((signature_type,)) + key.raw)}"


def parse_vkey(text: str, signature_types: Sequence[int] = (TYPE_ED25519,)) -> tuple[str, int, PublicKey]:
    """Name, signature type and key of a verifier key; `MalformedError` (code `vkey` or `public-key`) otherwise."""
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise MalformedError("vkey", "not <name>+<hash>+<key>", got=text)
    name, hashed, encoded = parts
    data = decode_base64(encoded, "vkey")
    if not data or data[0] not in signature_types:
        raise MalformedError("vkey", "signature type is not one of those wanted", got=text)
    check_key_name(name)
    if hashed != key_hash_of(name, data[0], data[1:]).hex():
        raise MalformedError("vkey", "hash is not that of name and key", got=text)
    return name, data[0], parse_public_key(1, data[1:])


def encode_base64(data: bytes) -> str:
    """Standard base64 with padding (RFC 4648, section 4)."""
    return b64encode(data).decode("ascii")


def decode_base64(text: str, code: str) -> bytes:
    """The bytes of canonical base64; `MalformedError` with `code` for any other spelling."""
    try:
        data = b64decode(text, validate=True)
    except (Base64Error, ValueError):
        raise MalformedError(code, "not base64", got=text) from None
    if encode_base64(data) != text:
        raise MalformedError(code, "base64 is not canonical", got=text)
    return data


def _parse_line(row: str) -> NoteLine:
    if not row.startswith(_LINE_START):
        raise MalformedError("note", "signature line does not begin with an em dash", got=row)
    name, _, encoded = row[len(_LINE_START) :].partition(" ")
    check_key_name(name)
    data = decode_base64(encoded, "note")
    if len(data) <= KEY_HASH_BYTES:
        raise MalformedError("note", "signature too short", got=row)
    return NoteLine(name, data[:KEY_HASH_BYTES], data[KEY_HASH_BYTES:])
