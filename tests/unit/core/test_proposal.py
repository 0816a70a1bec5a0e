"""Proposals and votes as state objects: one spelling each, and what is hashed and signed."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from ledger.core import canonical
from ledger.core.hashing import Digest
from ledger.core.proposal import (
    APPROVE,
    Proposal,
    Vote,
    approval_message,
    parse_proposal,
    parse_vote,
    proposal_hash,
    proposal_of_timer,
    timer_key,
)
from ledger.core.registry import parse_member_entry
from ledger.errors import MalformedError

EVENT = Digest(bytes(range(32)))
NAME = "ga/0192f5c2-0000-7000-8000-000000000001"
FULL = Proposal(
    NAME, "sys.key.add", {"member": "ga"}, {"n": 1}, EVENT, 5, 9, 0,
    status="failed", effective=7, due=8, height=3, reason="stale", base=("00", "11"),
)  # fmt: skip


def test_hash_and_message_are_tagged() -> None:
    """SPEC R-G12: both carry the tag; the message a cosigner signs is bound to the network."""
    tag = b"suyuan/proposal/v1\x00"
    assert proposal_hash(EVENT) == sha256(tag + EVENT).digest()
    assert approval_message("n/ab", EVENT) == tag + b"\x00\x04n/ab" + EVENT


@pytest.mark.parametrize("proposal", [FULL, Proposal(NAME, "sys.param.set", {}, {}, EVENT, 5, 9, 0)])
def test_proposal_round_trip(proposal: Proposal) -> None:
    """SPEC R-G22: what is encoded parses back to the same, absent fields included."""
    assert parse_proposal(NAME, proposal.encode()) == proposal


def test_vote_round_trip() -> None:
    """SPEC R-G22: a vote with and without a cosigner's key."""
    for vote in (Vote(APPROVE, NAME, 5), Vote("reject", NAME, 5), Vote(APPROVE, NAME, 5, "ab")):
        assert parse_vote(vote.encode()) == vote


@pytest.mark.parametrize("change", [{"more": 1}, {"status": "done"}, {"hash": "00"}, {"reason": ""}, {"base": []}])
def test_other_proposals_are_refused(change: dict[str, object]) -> None:
    """SPEC R-G22: unknown fields and states, bad digests, and empty fields that stand for absent ones."""
    fields = {**canonical.parse(FULL.encode()), **change}
    with pytest.raises(MalformedError):
        parse_proposal(NAME, canonical.encode(fields))
    with pytest.raises(MalformedError):
        parse_proposal(NAME, b"{}")


@pytest.mark.parametrize("field", sorted(canonical.parse(FULL.encode())))
@pytest.mark.parametrize("value", [None, True, 7, "x", [], [7], {}, {"a": 1}], ids=repr)
def test_a_field_of_another_type_is_refused(field: str, value: object) -> None:
    """SPEC R-G22: whatever a field holds, the parser gives the proposal that is written so, or says that it is none."""
    data = canonical.encode({**canonical.parse(FULL.encode()), field: value})
    try:
        parsed = parse_proposal(NAME, data)
    except MalformedError:
        return
    types = {"refs": dict, "args": dict, "base": tuple, "hash": bytes, "validators": bool}
    held = getattr(parsed, field)
    assert type(held) is types.get(field, str if isinstance(value, str) else int)
    assert type(value) is not bool or field == "validators"


@pytest.mark.parametrize("field", ["at", "event", "vote", "cosign"])
@pytest.mark.parametrize("value", [None, True, [], {}, [1]], ids=repr)
def test_a_vote_with_a_field_of_another_type_is_refused(field: str, value: object) -> None:
    """SPEC R-G22: no other type than the field's."""
    with pytest.raises(MalformedError):
        parse_vote(canonical.encode({"at": 5, "event": NAME, "vote": APPROVE, "cosign": "ab", field: value}))


@pytest.mark.parametrize(
    "data", [b"{}", b"x", b'{"at":1,"event":"a","vote":"perhaps"}', b'{"at":1,"event":"a","more":1}']
)
def test_other_votes_are_refused(data: bytes) -> None:
    """SPEC R-G22: a vote approves or rejects, and has no other fields."""
    with pytest.raises(MalformedError):
        parse_vote(data)


def test_timers_name_their_proposal() -> None:
    """SPEC R-G16: the timer's key and back; another timer is none of a proposal."""
    assert proposal_of_timer(timer_key(NAME)) == NAME
    with pytest.raises(MalformedError):
        proposal_of_timer("timer/A3/application/ga/1")


@pytest.mark.parametrize(
    ("parse", "fields"),
    [
        (lambda data: parse_member_entry("ga", data), {"attributes": {}, "roles": 127, "title": {}}),
        (lambda data: parse_member_entry("ga", data), {"attributes": [], "roles": [], "title": {}}),
        (parse_vote, {"at": 1, "cosign": [], "event": "ga/x", "vote": "approve"}),
        (parse_vote, {"at": 1, "cosign": "", "event": "ga/x", "vote": "approve"}),
    ],
)
def test_fields_of_a_wrong_type_are_refused(parse: Any, fields: dict[str, Any]) -> None:
    """Documents whose fields have another type, or a spelling of their own, are malformed, not a crash."""
    with pytest.raises(MalformedError):
        parse(canonical.encode(fields))
