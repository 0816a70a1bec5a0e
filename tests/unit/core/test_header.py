"""The block header: closed, canonical, last leaf of its block."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ledger.core import canonical
from ledger.core.header import Header, encode_header, parse_header
from ledger.errors import MalformedError
from tests.models.small_ledger import SmallLedger, digest

HEADER = Header(3, 1_795_248_000_000, 10, 4, 10, digest("prev"), digest("state"), 2, 31, digest("config"))
FIRST = replace(HEADER, height=0, first_seq=0, count=0, prev_size=0, prev_root=digest(""), genesis=digest("genesis"))


def altered(field: str, value: Any, header: Header = HEADER) -> bytes:
    """The leaf with one field (`a` or `a.b`) replaced, or removed where `value` is `...`."""
    leaf = encode_header(header)
    document = json.loads(leaf[2:])
    *parents, name = field.split(".")
    place = document
    for parent in parents:
        place = place[parent]
    if value is ...:
        del place[name]
    else:
        place[name] = value
    return leaf[:2] + canonical.encode(document)


def test_round_trip_and_place() -> None:
    """SPEC R-H01, R-H02: a header comes back as it was, and says its own index."""
    for header in (HEADER, FIRST):
        assert parse_header(encode_header(header)) == header
        assert header.index == header.first_seq + header.count


def test_index_is_the_last_leaf_of_the_checkpoint() -> None:
    """SPEC R-H02: in a ledger made by the book each header stands where it says."""
    ledger = SmallLedger()
    for count in (1, 3, 2):
        ledger.block(events=[ledger.event() for _ in range(count)])
    headers = [(seq, parse_header(leaf)) for seq, leaf in enumerate(ledger.leaves) if leaf[0] == 0]
    assert [header.index for _, header in headers] == [seq for seq, _ in headers]
    assert [header.count for _, header in headers] == [0, 1, 3, 2]


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("height", ..., "header-fields"),
        ("more", 1, "header-fields"),
        ("prev.size", ..., "header-fields"),
        ("state.more", 1, "header-fields"),
        ("prev", [], "header-fields"),
        ("time", -1, "header-number"),
        ("count", True, "header-number"),
        ("state.keys", "1", "header-number"),
        ("prev.root", "00", "digest"),
        ("state.root", 1, "digest"),
        ("config", None, "digest"),
        ("first_seq", 11, "header"),
        ("genesis", "0" * 64, "header"),
    ],
)
def test_what_is_no_header(field: str, value: Any, code: str) -> None:
    """SPEC R-H01, R-H04: missing, unknown, odd and contradicting fields are refused."""
    with pytest.raises(MalformedError) as caught:
        parse_header(altered(field, value))
    assert caught.value.code.startswith(code)


def test_height_0_names_the_genesis() -> None:
    """SPEC R-H04: the genesis hash stands in height 0 and nowhere else."""
    with pytest.raises(MalformedError):
        parse_header(altered("genesis", ..., FIRST))


def test_no_other_bytes_are_the_header() -> None:
    """Each truncation and another type or version is refused; a changed byte is refused or another header."""
    leaf = encode_header(HEADER)
    for end in range(len(leaf)):
        with pytest.raises(MalformedError):
            parse_header(leaf[:end])
    for at in range(len(leaf)):
        broken = leaf[:at] + bytes((leaf[at] ^ 1,)) + leaf[at + 1 :]
        try:
            found = parse_header(broken)
        except MalformedError:
            continue
        assert encode_header(found) == broken and found != HEADER
