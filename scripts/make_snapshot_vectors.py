"""Makes tests/vectors/snapshot/format.json: a small state as rows, chunks and manifest (SPEC R-N70 to R-N72).

    ./dev run python scripts/make_snapshot_vectors.py [--check]

The bytes are put together here with nothing but `struct` and `hashlib`, not with the code that they test. `--check` writes
nothing and exits 1 where the committed file is another.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
from hashlib import sha256
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).resolve().parent.parent / "tests" / "vectors" / "snapshot" / "format.json"


def part(text: str) -> bytes:
    """A length-prefixed part of a map key."""
    return struct.pack(">H", len(text)) + text.encode("ascii")


def binary(data: bytes) -> bytes:
    """msgpack bin, in its shortest form."""
    if len(data) < 1 << 8:
        return struct.pack(">BB", 0xC4, len(data)) + data
    return struct.pack(">BH", 0xC5, len(data)) + data


def unsigned(number: int) -> bytes:
    """A msgpack integer of at most 16 bits, in its shortest form."""
    if number < 1 << 7:
        return struct.pack(">B", number)
    return struct.pack(">BB", 0xCC, number) if number < 1 << 8 else struct.pack(">BH", 0xCD, number)


def make() -> bytes:
    """The file's content."""
    blind = sha256(b"blind").hexdigest()
    stream = {"blind": blind, "first": 1, "last": 300, "root": sha256(b"root").hexdigest(), "size": 2, "time": 7}
    value = json.dumps(stream, separators=(",", ":")).encode("ascii")
    thing = f'{{"blind":"{blind}","object":{{"text":"{"x" * 300}"}}}}'.encode("ascii")
    rows = sorted(
        [
            (b"\x01" + part("member") + part("ga") + b"\x00", value),
            (b"\x02" + part("grant") + part("ga/1"), thing),
            (b"\x03" + part("r/grant/1"), b""),
            (b"\x06", thing),
        ]
    )
    chunk = b"".join(b"\x92" + binary(key) + binary(value) for key, value in rows)
    root = sha256(b"log").digest()
    manifest = b"\x95\x01" + unsigned(5) + unsigned(359) + binary(root) + b"\x91" + binary(sha256(chunk).digest())
    document = {
        "chunks": [chunk.hex()],
        "hash": sha256(manifest).hexdigest(),
        "height": 5,
        "manifest": manifest.hex(),
        "root": root.hex(),
        "rows": [[key.hex(), value.hex()] for key, value in rows],
        "size": 359,
    }
    return json.dumps(document, indent=1, sort_keys=True).encode("ascii") + b"\n"


def main() -> int:
    """Write or compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    made = make()
    if not parser.parse_args().check:
        FILE.parent.mkdir(exist_ok=True)
        FILE.write_bytes(made)
        return 0
    if FILE.read_bytes() != made:
        sys.stderr.write(f"{FILE} is not what this script makes\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
