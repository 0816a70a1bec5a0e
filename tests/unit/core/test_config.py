"""The config document: closed, canonical, and named by one hash."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ledger.core import canonical
from ledger.core.config import Config, config_hash, parse_config
from ledger.core.hashing import TAGS, sha256
from ledger.errors import MalformedError
from tests.models.small_ledger import digest

COSIGNERS = (("ba", digest("ba")), ("ga", digest("ga")))
CONFIG = Config(digest("r"), digest("c"), digest("p"), 1, {"skew_ms": 600_000}, COSIGNERS, COSIGNERS)


def changed(path: str, value: Any) -> bytes:
    """The document with one field replaced, or removed where `value` is `...`."""
    document = json.loads(CONFIG.encode())
    *parents, name = path.split(".")
    place = document
    for parent in parents:
        place = place[parent]
    if value is ...:
        del place[name]
    else:
        place[name] = value
    return canonical.encode(document)


def test_round_trip_and_hash() -> None:
    """SPEC R-C01: parsing gives the same document back, and its hash is H(tag ‖ canonical JSON)."""
    data = CONFIG.encode()
    assert parse_config(data) == CONFIG
    assert CONFIG.hash == config_hash(data) == sha256(TAGS["config"] + data)


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("epoch", ..., "config-fields"),
        ("more", 1, "config-fields"),
        ("runtime.steps", ..., "config-runtime"),
        ("runtime.more", 1, "config-runtime"),
        ("runtime", [], "config-fields"),
        ("parameters", [], "config-fields"),
        ("rulebook", "00", "digest"),
        ("calendar", "G" * 64, "digest"),
        ("runtime.program", None, "digest"),
        ("epoch", -1, "config-number"),
        ("epoch", True, "config-number"),
        ("runtime.language", "1", "config-number"),
        ("parameters.skew_ms", None, "config-number"),
        ("cosigners", {}, "config-cosigners"),
        ("cosigners", ["ba"], "config-cosigners"),
        ("next_cosigners", [["ba"]], "config-cosigners"),
        ("cosigners", [["BA", "0" * 64]], "identifier"),
        ("cosigners", [["ba", "0"]], "digest"),
    ],
)
def test_what_is_no_config(path: str, value: Any, code: str) -> None:
    """A missing, unknown or odd field is refused with its code."""
    with pytest.raises(MalformedError) as caught:
        parse_config(changed(path, value))
    assert caught.value.code == code


def test_every_truncation_and_flipped_byte_is_another_config_or_none() -> None:
    """No other bytes are this config: each truncation is refused, each changed byte refused or another hash."""
    data = CONFIG.encode()
    for end in range(len(data)):
        with pytest.raises(MalformedError):
            parse_config(data[:end])
    for at in range(len(data)):
        broken = data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]
        try:
            found = parse_config(broken)
        except MalformedError:
            continue
        assert found.encode() == broken and found.hash != CONFIG.hash
