"""Who may sign what at which height, and the two documents that say so in the state."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from ledger.core import canonical
from ledger.core.genesis import Member
from ledger.core.keys import CONSENSUS, COSIGN, EVENT, LOG, P2P
from ledger.core.registry import REMOVED, SUSPENDED, KeyEntry, genesis_registry, parse_key_entry, parse_member_entry
from ledger.errors import MalformedError, RejectedError
from tests.models.small_ledger import MEMBERS, make_genesis, signer

GENESIS = make_genesis()
REGISTRY = genesis_registry(GENESIS)
GA = signer("ga", EVENT).public.key_id
ENTRY = REGISTRY.keys[GA]


def test_documents_round_trip() -> None:
    """SPEC R-G05: entries of members and keys give back the same values and bytes, with and without an end."""
    for entry in (*REGISTRY.keys.values(), replace(ENTRY, until_height=7)):
        assert parse_key_entry(entry.encode()) == entry
    for member in REGISTRY.members.values():
        assert parse_member_entry(member.id, member.encode()) == member


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("from", ...), ("more", 1), ("public", "00"), ("public", "zz"), ("public", 1), ("roles", 1), ("algorithm", 2),
        ("proof", "0"), ("algorithm", "1"), ("roles", {"a": 1}),
    ],
)  # fmt: skip
def test_what_is_no_key_entry(field: str, value: Any) -> None:
    """A missing, unknown or odd field of a key entry is refused."""
    document: dict[str, Any] = json.loads(ENTRY.encode())
    if value is ...:
        del document[field]
    else:
        document[field] = value
    with pytest.raises(MalformedError):
        parse_key_entry(canonical.encode(document))


@pytest.mark.parametrize(
    "data", [b"{}", b'{"attributes":{},"roles":[]}', b'{"attributes":{},"more":1,"roles":[],"title":{}}', b"x"]
)
def test_what_is_no_member_entry(data: bytes) -> None:
    """A member entry has exactly its three fields."""
    with pytest.raises(MalformedError):
        parse_member_entry("ga", data)


def test_a_key_signs_for_its_member_and_use_only() -> None:
    """SPEC R-K03: the same key for another member or another use is refused, each with its code."""
    assert REGISTRY.signer(GA, "ga", EVENT, 1) == ENTRY
    cosign = signer("ga", COSIGN).public.key_id
    for key_id, member, use, code in (
        (GA, "ba", EVENT, "key-unknown"),
        (GA, "nobody", EVENT, "member-unknown"),
        (GA, "ga", LOG, "key-use"),
        (cosign, "ga", EVENT, "key-use"),
        (signer("no", EVENT).public.key_id, "ga", EVENT, "key-unknown"),
    ):
        with pytest.raises(RejectedError) as caught:
            REGISTRY.signer(key_id, member, use, 1)
        assert caught.value.code == code


def test_a_key_signs_from_and_until_its_heights() -> None:
    """SPEC R-G05, R-K05: both ends are included; before and after is `key-revoked`."""
    bounded = REGISTRY.with_key(replace(ENTRY, from_height=5, until_height=7))
    for height in (5, 6, 7):
        assert bounded.signer(GA, "ga", EVENT, height).until_height == 7
    for height in (4, 8):
        with pytest.raises(RejectedError) as caught:
            bounded.signer(GA, "ga", EVENT, height)
        assert caught.value.code == "key-revoked"
    assert REGISTRY.keys[GA].until_height is None, "a registry never changes in place"


def test_log_keys_and_cosigners() -> None:
    """Every log key ever registered opens notes; a cosigner that is not registered for it is refused."""
    assert REGISTRY.log_keys() == (signer("ba", LOG).public,)
    named = tuple((member, signer(member, COSIGN).public.key_id) for member in MEMBERS)
    assert [name for name, _ in REGISTRY.cosigner_keys(named)] == list(MEMBERS)
    with pytest.raises(RejectedError) as caught:
        REGISTRY.cosigner_keys((("ga", GA),))
    assert caught.value.code == "cosigner-unknown"


def test_a_member_is_added() -> None:
    """`with_member` leaves the registry it was asked of alone."""
    entry = replace(REGISTRY.members["ga"], id="new")
    assert "new" in REGISTRY.with_member(entry).members and "new" not in REGISTRY.members
    assert isinstance(GENESIS.members[0], Member) and isinstance(ENTRY, KeyEntry)


def test_validators_and_their_peers() -> None:
    """SPEC R-N02: keys without an end of members without a status, in order of member and key id; ids as CometBFT's."""
    registry = REGISTRY
    for member in reversed(MEMBERS):
        for use in (CONSENSUS, P2P):
            registry = registry.with_key(replace(ENTRY, member=member, use=use, public=signer(member, use).public))
    assert registry.validators() == tuple((member, signer(member, CONSENSUS).public) for member in MEMBERS)
    ids = tuple((m, hashlib.sha256(signer(m, P2P).public.raw).hexdigest()[:40]) for m in MEMBERS)
    assert registry.peer_ids() == ids
    for status in (SUSPENDED, REMOVED):
        left = registry.with_member(replace(registry.members["ga"], status=status))
        assert "ga" not in dict(left.validators()) and "ga" not in dict(left.peer_ids())
        assert len(left.validators()) == len(MEMBERS) - 1
    ended = registry.with_key(replace(registry.keys[signer("ga", CONSENSUS).public.key_id], until_height=9))
    assert "ga" not in dict(ended.validators()) and "ga" in dict(ended.peer_ids())
