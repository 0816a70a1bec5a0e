"""The files of an export: names, manifest, gzip segments and tar members have one spelling, and nothing escapes a bound."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import archiveformat as form
from ledger.archiveformat import ListedFile, Manifest
from ledger.core import canonical
from ledger.errors import MalformedError

HASH = "ab" * 32
FILES = {
    "genesis.json": ListedFile(10, HASH),
    f"bundles/{HASH}.json": ListedFile(11, HASH),
    "segments/000000.gz": ListedFile(12, HASH),
    "segments/000001.gz": ListedFile(13, HASH),
    "certificates/000001.gz": ListedFile(14, HASH),
    "native/000000.gz": ListedFile(15, HASH),
}
MANIFEST = Manifest("tiny/" + HASH, 7, 17, FILES)


def test_manifest_comes_back() -> None:
    """A manifest parses back to itself, with segments in order."""
    parsed = form.parse_manifest(form.encode_manifest(MANIFEST))
    assert parsed == MANIFEST
    assert parsed.numbered("segments") == ["segments/000000.gz", "segments/000001.gz"]


@pytest.mark.parametrize(
    "name",
    [
        "../genesis.json", "/etc/passwd", "segments/../genesis.json", "segments/0.gz", "segments/000000.gz/x", "x",
        "bundles/..json", "Segments/000000.gz", "segments/000000.gz\n", "", "manifest.json", None, 3,
    ],
)  # fmt: skip
def test_other_names_are_refused(name: object) -> None:
    """A path that an export does not have is refused, above all one that leads out of its folder."""
    with pytest.raises(MalformedError):
        form.check_name(name)


def _document(**changes: object) -> bytes:
    document = canonical.parse(form.encode_manifest(MANIFEST)) | changes
    return canonical.encode(document)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "other"},
        {"v": 2},
        {"v": True},
        {"origin": 3},
        {"files": []},
        {"files": {}},
        {"head": {"height": -1, "size": 1}},
        {"head": {"height": 1}},
        {"extra": 1},
        {"files": {"genesis.json": {"bytes": 1, "sha256": HASH}, "segments/000001.gz": {"bytes": 1, "sha256": HASH}}},
        {
            "files": {
                "genesis.json": {"bytes": 1, "sha256": HASH},
                "certificates/000000.gz": {"bytes": 1, "sha256": HASH},
            }
        },
        {"files": {"genesis.json": {"bytes": 1, "sha256": "x"}}},
        {"files": {"genesis.json": {"bytes": -1, "sha256": HASH}}},
        {"files": {"genesis.json": 1}},
        {"files": {"../genesis.json": {"bytes": 1, "sha256": HASH}}},
    ],
)
def test_odd_manifests_are_refused(changes: dict[str, object]) -> None:
    """A manifest of another form, with gaps or foreign files, is refused."""
    with pytest.raises(MalformedError):
        form.parse_manifest(_document(**changes))


@given(st.lists(st.binary(max_size=60), max_size=8))
@settings(max_examples=60, deadline=None)
def test_packed_items_come_back_and_any_gzip_reads_them(items: list[bytes]) -> None:
    """Items come back from their gzip file, which other programs can expand too."""
    data = form.pack(items)
    assert form.unpack(data) == items
    assert form.pack(items) == data
    assert gzip.decompress(data) == b"".join(len(item).to_bytes(4, "big") + item for item in items)


def test_every_changed_byte_of_a_segment_is_refused_or_changes_its_hash() -> None:
    """A changed byte either makes the gzip file unreadable or is one that only the manifest's hash can tell."""
    items = [b"some block", b"another block"]
    data = form.pack(items)
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 0x55
        try:
            assert form.unpack(bytes(changed)) != items
        except MalformedError:
            continue


@given(st.binary(max_size=80))
@settings(max_examples=100, deadline=None)
def test_other_bytes_are_no_segment(data: bytes) -> None:
    """Any bytes are refused or expand to items that pack again."""
    try:
        items = form.unpack(data)
    except MalformedError:
        return
    assert form.unpack(form.pack(items)) == items


def test_two_members_and_trailing_bytes_are_refused() -> None:
    """A segment is one gzip member and ends with it."""
    data = form.pack([b"x"])
    for bad in (data + data, data + b"\0", data[:-1], data[:12]):
        with pytest.raises(MalformedError):
            form.unpack(bad)


def test_bomb_is_refused_within_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that would expand beyond the limit is refused when the limit is reached."""
    monkeypatch.setattr(form, "SEGMENT_BYTES_MAX", 100_000)
    with pytest.raises(MalformedError):
        form.unpack(form.pack([bytes(200_000)]))


def test_cut_item_is_refused() -> None:
    """An item that claims more bytes than there are is refused."""
    content = b"\x00\x00\x00\x09abc"
    squeezed = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = squeezed.compress(content) + squeezed.flush()
    data = form.pack([])[:10] + body + zlib.crc32(content).to_bytes(4, "little") + len(content).to_bytes(4, "little")
    with pytest.raises(MalformedError) as caught:
        form.unpack(data)
    assert "cut off" in caught.value.message


def test_tar_header_is_read_by_others_and_has_one_spelling() -> None:
    """A member's header is plain ustar, and every changed byte of it is refused or names another member."""
    header = form.tar_header("segments/000003.gz", 5)
    archive = header + b"hello".ljust(512, b"\0") + form.TAR_END
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        member = tar.getmembers()[0]
        assert (member.name, member.size, member.mtime, member.mode) == ("segments/000003.gz", 5, 0, 0o644)
    assert form.parse_tar_header(header) == ("segments/000003.gz", 5)
    for at in range(len(header)):
        changed = bytearray(header)
        changed[at] ^= 1
        with pytest.raises(MalformedError):
            form.parse_tar_header(bytes(changed))


@pytest.mark.parametrize("header", [bytes(512), b"\xff" * 512, b"x" * 512])
def test_other_tar_headers_are_refused(header: bytes) -> None:
    """Bytes that are no header of ours are refused."""
    with pytest.raises(MalformedError):
        form.parse_tar_header(header)


def test_what_a_tar_cannot_hold_is_refused() -> None:
    """A name or size beyond ustar is refused instead of being cut."""
    for name, size in (("x" * 100, 1), ("genesis.json", 8**11)):
        with pytest.raises(MalformedError):
            form.tar_header(name, size)
