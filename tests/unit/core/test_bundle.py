"""Bundles: text files by path, one document, one hash, and no way out of a folder."""

from __future__ import annotations

import json

import pytest

from ledger.core.bundle import bundle_hash, encode_bundle, parse_bundle
from ledger.core.hashing import TAGS, lp, sha256, u32
from ledger.core.merkle import leaf_hash, root
from ledger.errors import MalformedError
from ledger.limits import BUNDLE_BYTES_MAX, BUNDLE_FILES_MAX

FILES = {"rulebook.toml": b'id = "x"\n', "rules/A1.py": "规则\n".encode(), "Kinds/b-c_d.toml": b""}


def test_round_trip() -> None:
    """SPEC R-U01: the document is canonical JSON `{path: text}` and gives back the same bytes."""
    data = encode_bundle(FILES)
    assert parse_bundle(data) == FILES
    assert encode_bundle(parse_bundle(data)) == data
    assert list(json.loads(data)) == sorted(FILES)


def test_hash_is_the_tagged_root_over_sorted_files() -> None:
    """SPEC R-U02: the hash does not depend on the order of files, and on every byte of path and content."""
    leaves = [leaf_hash(lp(path.encode()) + FILES[path]) for path in sorted(FILES)]
    assert bundle_hash(FILES) == sha256(TAGS["rulebook"] + u32(3) + root(leaves))
    assert bundle_hash(dict(reversed(FILES.items()))) == bundle_hash(FILES)
    others = [{**FILES, "rules/A1.py": b"x"}, {**FILES, "rules/A2.py": b""}, {"rulebook.toml": FILES["rulebook.toml"]}]
    assert len({bundle_hash(FILES), *map(bundle_hash, others)}) == 4


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/a",
        "a/",
        "a//b",
        "../a",
        "a/../b",
        "a/.b",
        ".a",
        "-a",
        "a b",
        "é",
        "a\\b",
        "a:b",
        "a/" * 8 + "a",
        "a" * 201,
    ],
)
def test_path_that_leaves_the_folder_or_hides(path: str) -> None:
    """SPEC R-U03: a path is plain, relative, short and visible, when made and when read."""
    with pytest.raises(MalformedError) as caught:
        encode_bundle({path: b""})
    assert caught.value.code == "bundle-path"
    if path.isascii():
        with pytest.raises(MalformedError):
            parse_bundle(json.dumps({path: ""}, separators=(",", ":")).encode())


def test_bounds() -> None:
    """SPEC R-U01: one file up to the limits is taken; none, too many or too much is not."""
    most = BUNDLE_BYTES_MAX - len(b'{"a":""}')
    assert parse_bundle(encode_bundle({"a": b"x" * most}))["a"].count(b"x") == most
    for files, code in (
        ({}, "bundle-files"),
        ({f"f{n}": b"" for n in range(BUNDLE_FILES_MAX + 1)}, "bundle-files"),
        ({"a": b"x" * BUNDLE_BYTES_MAX, "b": b"x"}, "bundle-size"),
        ({"a": b"\n" * (BUNDLE_BYTES_MAX // 2)}, "bundle-size"),  # escaped it is twice as long
        ({"a": b"\xff"}, "bundle-text"),
    ):
        with pytest.raises(MalformedError) as caught:
            encode_bundle(files)
        assert caught.value.code == code


@pytest.mark.parametrize(
    "data", [b"{}", b'{"a":1}', b'{"a":{}}', b'{"a":null}', b'{"a": "x"}', b"[]", b'{"b":"","a":""}']
)
def test_what_is_no_bundle(data: bytes) -> None:
    """Anything but a canonical object of texts is refused."""
    with pytest.raises(MalformedError):
        parse_bundle(data)
