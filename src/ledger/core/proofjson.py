"""How proof files are read and written: canonical JSON with a closed schema, every part bounded (SPEC R-V01).

Rules: hashes and signatures are lower-case hex, packed pairs base64; documents that are hashed (leaves without their two
prefix bytes, heads, bodies, config, state values) stand as strings, so their exact bytes come back; a C2SP note is a
string too. One proof has one spelling. Readers raise `MalformedError` with code `proof` and the name of the field.
Never checks what a part proves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ledger.core import canonical
from ledger.core.hashing import Digest, parse_hex_digest
from ledger.core.keys import SIGNATURE_BYTES
from ledger.core.mapproof import MapProof, Window
from ledger.core.note import decode_base64, encode_base64
from ledger.errors import MalformedError
from ledger.limits import INT_MAX, PROOF_BYTES_MAX, PROOF_PATH_MAX, PROOF_RANGE_PATH_MAX, STREAM_NAME_CHARS_MAX

VERSION: Final = 1

Fields = dict[str, Any]


def encode_document(kind: str, fields: Mapping[str, Any]) -> bytes:
    """The file of a proof: canonical JSON of its fields with `kind` and version `v`."""
    return canonical.encode({"kind": kind, "v": VERSION, **fields}, bytes_max=PROOF_BYTES_MAX)


def parse_document(data: bytes) -> tuple[str, Fields]:
    """Kind and fields of a file, `kind` and `v` taken out."""
    fields = canonical.parse(data, bytes_max=PROOF_BYTES_MAX)
    kind, version = fields.pop("kind", None), fields.pop("v", None)
    if not isinstance(kind, str) or type(version) is not int or version != VERSION:
        raise MalformedError("proof", "not a proof of a known version", kind=kind, version=version)
    return kind, fields


def closed(value: object, what: str, required: str, optional: str = "") -> Fields:
    """`value` if it is an object that has all `required` names and none beyond the `optional` ones (space-separated)."""
    wanted, allowed = set(required.split()), set(optional.split())
    if not isinstance(value, dict) or not wanted <= value.keys() <= wanted | allowed:
        raise MalformedError("proof", "not an object with exactly these fields", field=what, expected=required)
    return value


def items(value: object, what: str, most: int) -> list[Any]:
    """`value` if it is a list of at most `most` items."""
    if not isinstance(value, list) or len(value) > most:
        raise MalformedError("proof", "not a list, or too long", field=what, limit=most)
    return value


def number(value: object, what: str) -> int:
    """`value` if it is an integer from 0 to 2^53 − 1."""
    if type(value) is not int or not 0 <= value <= INT_MAX:
        raise MalformedError("proof", "not a non-negative integer", field=what, got=value)
    return value


def flag(value: object, what: str) -> bool:
    """`value` if it is true or false."""
    if type(value) is not bool:
        raise MalformedError("proof", "not true or false", field=what, got=value)
    return value


def text(value: object, what: str) -> str:
    """`value` if it is a string."""
    if not isinstance(value, str):
        raise MalformedError("proof", "not a string", field=what)
    return value


def name(value: object, what: str) -> str:
    """Kind or id of a stream: ASCII, 1 to 512 characters. Ids made by the ledger are longer than identifiers."""
    written = text(value, what)
    if not written.isascii() or not 1 <= len(written) <= STREAM_NAME_CHARS_MAX:
        raise MalformedError("proof", "not the name of a stream", field=what)
    return written


def document(value: object, what: str) -> bytes:
    """The UTF-8 bytes of a string that holds a document."""
    return text(value, what).encode("utf-8")


def signature(value: object, what: str) -> bytes:
    """A 64-byte signature in lower-case hex."""
    written = text(value, what)
    if len(written) != 2 * SIGNATURE_BYTES or not set(written) <= set("0123456789abcdef"):
        raise MalformedError("proof", "not a signature in lower-case hex", field=what)
    return bytes.fromhex(written)


def path(value: object, what: str, most: int = PROOF_PATH_MAX) -> tuple[Digest, ...]:
    """A list of at most `most` digests in lower-case hex."""
    return tuple(parse_hex_digest(item) for item in items(value, what, most))


def encode_path(digests: Sequence[Digest]) -> list[str]:
    """Digests in lower-case hex."""
    return [digest.hex() for digest in digests]


def map_proof(value: object, what: str) -> MapProof:
    """A map proof: {"pairs": base64, "path": [hex], "window"?: {"begin", "count", "path": [hex], "root": hex}}."""
    fields = closed(value, what, "pairs path", "window")
    window = None
    if "window" in fields:
        inner = closed(fields["window"], f"{what}.window", "begin count path root")
        window = Window(
            begin=number(inner["begin"], f"{what}.window.begin"),
            count=number(inner["count"], f"{what}.window.count"),
            root=parse_hex_digest(inner["root"]),
            path=path(inner["path"], f"{what}.window.path", PROOF_RANGE_PATH_MAX),
        )
    pairs = decode_base64(text(fields["pairs"], f"{what}.pairs"), "proof")
    return MapProof(pairs, path(fields["path"], f"{what}.path"), window)


def encode_map_proof(proof: MapProof) -> Fields:
    """The fields of a map proof."""
    fields: Fields = {"pairs": encode_base64(proof.pairs), "path": encode_path(proof.path)}
    if proof.window is not None:
        fields["window"] = {
            "begin": proof.window.begin,
            "count": proof.window.count,
            "path": encode_path(proof.window.path),
            "root": proof.window.root.hex(),
        }
    return fields
