"""Snapshots of the state: one encoding, cut as full as can be; other bytes are refused by name, whatever they claim."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import snapshotformat
from ledger.core.hashing import Digest, sha256
from ledger.errors import MalformedError
from ledger.snapshotformat import Manifest, encode_chunks, parse_chunk, parse_manifest

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "tests" / "vectors" / "snapshot" / "format.json"
ROWS = st.dictionaries(st.binary(min_size=1, max_size=40), st.binary(max_size=60), min_size=1, max_size=40)
MANIFEST = Manifest(7, 359, sha256(b"root"), (sha256(b"a"), sha256(b"b")))


def read(parse: Callable[[], T]) -> T | None:
    """What `parse` gives; None where it refuses by the one code that it has."""
    found: T | None = None
    with suppress(MalformedError):
        found = parse()
    if found is None:
        with pytest.raises(MalformedError) as caught:
            parse()
        assert caught.value.code == "snapshot"
    return found


@given(ROWS, st.integers(110, 400))
def test_rows_come_back_in_chunks_as_full_as_can_be(rows: dict[bytes, bytes], most: int) -> None:
    """SPEC R-N71: whatever the bound, chunks give the rows back, none is too large, and none could hold the next row."""
    ordered = sorted(rows.items())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshotformat, "SNAPSHOT_CHUNK_BYTES_MAX", most)
        chunks = list(encode_chunks(ordered))
        found: list[tuple[bytes, bytes]] = []
        for chunk in chunks:
            found += parse_chunk(chunk, found[-1][0] if found else b"")
    assert found == ordered
    assert all(len(chunk) <= most for chunk in chunks)
    for chunk, following in pairwise(chunks):
        first = parse_chunk(following)[0]
        assert len(chunk) + len(msgpack.packb(list(first))) > most


@given(ROWS, st.data())
def test_no_other_bytes_give_the_same_rows(rows: dict[bytes, bytes], data: st.DataObject) -> None:
    """SPEC R-N71: a chunk in which any byte is changed, cut or added is refused as `snapshot` or holds other rows."""
    (chunk,) = encode_chunks(sorted(rows.items()))
    place = data.draw(st.integers(0, len(chunk) - 1))
    changed = data.draw(st.sampled_from(("flip", "cut", "add")))
    damaged = {
        "flip": chunk[:place] + bytes((chunk[place] ^ data.draw(st.integers(1, 255)),)) + chunk[place + 1 :],
        "cut": chunk[:place],
        "add": chunk + b"\x00",
    }[changed]
    assert dict(read(lambda: parse_chunk(damaged)) or ()) != rows


def test_chunks_in_another_order_are_refused() -> None:
    """SPEC R-N71: keys ascend over the ends of chunks, so swapped or repeated chunks are no snapshot."""
    first, second = (msgpack.packb([key, b"v"]) for key in (b"a", b"b"))
    assert parse_chunk(second, b"a") == [(b"b", b"v")]
    for chunk, after in ((first, b"b"), (second, b"b"), (second + first, b""), (first + first, b"")):
        with pytest.raises(MalformedError) as caught:
            parse_chunk(chunk, after)
        assert caught.value.code == "snapshot"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc0",
        b"\xdd\xff\xff\xff\xff" + b"\xc0" * 10,
        b"\x92\xc4\x01a\xc6\xff\xff\xff\xff",
        b"\x91" * 100_000,
        b"\x93\xc4\x01a\xc4\x01b\xc4\x01c",
        b"\x92\xa1a\xc4\x01b",
        b"\x92\xc5\x00\x01a\xc4\x01b",
        b"\x92\xc4\x01a\xc4\x01",
        msgpack.packb([b"k" * 2_049, b""]),
        msgpack.packb([b"k", b"v" * 4_353]),
        bytes(10_000_001),
    ],
)
def test_hostile_chunks_are_refused_by_name(data: bytes) -> None:
    """SPEC R-N71: bombs, other types, long forms and oversized parts all end as `snapshot`, with memory bounded."""
    with pytest.raises(MalformedError) as caught:
        parse_chunk(data)
    assert caught.value.code == "snapshot"


def test_a_manifest_has_one_encoding() -> None:
    """SPEC R-N72: it comes back from its bytes, and every byte of them counts."""
    data = MANIFEST.encode()
    assert parse_manifest(data) == MANIFEST and MANIFEST.hash == sha256(data)
    for place in range(len(data)):
        for damaged in (data[:place], data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :]):
            found = read(partial(parse_manifest, damaged))
            assert found is None or (found != MANIFEST and found.hash != MANIFEST.hash)


@pytest.mark.parametrize(
    "fields",
    [
        [2, 1, 1, bytes(32), [bytes(32)]],
        [1, 0, 1, bytes(32), [bytes(32)]],
        [1, 1, -1, bytes(32), [bytes(32)]],
        [1, 1, 2**53, bytes(32), [bytes(32)]],
        [1, 1, 1, bytes(31), [bytes(32)]],
        [1, 1, 1, bytes(32), []],
        [1, 1, 1, bytes(32), [b""]],
        [1, 1, 1, bytes(32), [1]],
        [1, True, 1, bytes(32), [bytes(32)]],
        {"v": 1},
    ],
)
def test_no_other_manifest_is_read(fields: object) -> None:
    """SPEC R-N72: another version, numbers out of range, hashes of another length."""
    with pytest.raises(MalformedError) as caught:
        parse_manifest(msgpack.packb(fields))
    assert caught.value.code == "snapshot"


def test_a_manifest_is_bounded() -> None:
    """SPEC R-N72: CometBFT takes four megabytes; 100,000 hashes are below them and one more is not read."""
    hashes = tuple(Digest(number.to_bytes(32, "big")) for number in range(100_001))
    whole = Manifest(1, 1, hashes[0], hashes[:-1]).encode()
    assert len(parse_manifest(whole).chunks) == 100_000
    for data in (Manifest(1, 1, hashes[0], hashes).encode(), bytes(4_000_000)):
        with pytest.raises(MalformedError):
            parse_manifest(data)


def test_the_vectors_are_what_the_script_makes() -> None:
    """SPEC R-N70 to R-N72: rows, chunks, manifest and hash that are checked in are what the script makes, byte for byte."""
    script = [sys.executable, str(ROOT / "scripts" / "make_snapshot_vectors.py"), "--check"]
    done = subprocess.run(script, capture_output=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    vector = json.loads(VECTORS.read_text("utf-8"))
    chunks = [bytes.fromhex(each) for each in vector["chunks"]]
    rows = [(bytes.fromhex(key), bytes.fromhex(value)) for key, value in vector["rows"]]
    assert list(encode_chunks(rows)) == chunks
    manifest = parse_manifest(bytes.fromhex(vector["manifest"]))
    assert [sha256(chunk) for chunk in chunks] == list(manifest.chunks)
    assert manifest.hash.hex() == vector["hash"]
