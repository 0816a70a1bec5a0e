"""What the actions of governance do to members, keys, roles and parameters."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.core.config import parse_config
from ledger.core.keys import COSIGN, EVENT, LOG
from ledger.core.mapkeys import config_key, member_key, parse_object_value
from ledger.core.proposal import approval_message, proposal_hash
from ledger.core.registry import parse_member_entry
from ledger.errors import RejectedError
from tests.models.governed import HOUR_MS, Governed
from tests.models.tiny_ledger import MEMBERS, signer
from tests.unit.machine.test_governance import code, key_parts, propose

# --- members -----------------------------------------------------------------------------------------------------------


def admit_args(ledger: Governed, member: str = "zx") -> tuple[Any, dict[str, Any]]:
    key, fields = ledger.new_key(member, EVENT, "first")
    title = {"en": "Newcomer", "zh": "新成员"}
    return key, {"attributes": {"level": 3}, "keys": [fields], "roles": ["department"], "title": title}


def test_member_is_admitted_and_speaks() -> None:
    """SPEC R-G11: from the block after its effect a new member records events; the state holds its entry."""
    ledger = Governed()
    key, args = admit_args(ledger)
    ledger.change("sys.member.admit", {"member": "zx"}, args)
    entry = ledger.app.head.registry.members["zx"]
    row = ledger.store.read_rows([member_key("zx")])[member_key("zx")]
    assert parse_member_entry("zx", parse_object_value(row.value)[1]) == entry
    assert code(ledger.record("zx", ledger.event(), key=key)) == ""
    again = ledger.propose("sys.member.admit", {"member": "zx"}, args)
    assert code(ledger.record("ga", again)) == "member-exists"
    assert ledger.verify().findings.kept == []


def test_member_without_a_key_or_with_a_bad_name_is_not_admitted() -> None:
    """SPEC R-G11: a member needs an event key, a title in both languages, and a name without slash."""
    ledger = Governed()
    _, args = admit_args(ledger)
    for refs, changed, expected in (
        ({"member": "zx"}, {"keys": []}, "key-last"),
        ({"member": "zx"}, {"title": {"en": "x"}}, "shape"),
        ({"member": "a/b"}, {}, "shape"),
        ({"member": "zx"}, {"attributes": {"long": "x" * 5_000}}, "size"),
    ):
        assert code(ledger.record("ga", ledger.propose("sys.member.admit", refs, {**args, **changed}))) == expected


def test_removed_member_falls_silent_and_its_events_stay() -> None:
    """SPEC R-G18: keys end with the block of the effect, the old events verify, a cosigner must leave the set first."""
    ledger = Governed()
    key, args = admit_args(ledger)
    ledger.change("sys.member.admit", {"member": "zx"}, args)
    ledger.record("zx", ledger.event(refs={"dataset": "zx/a"}), key=key)
    assert code(ledger.record("ga", ledger.propose("sys.member.remove", {"member": "wj"}, {}))) == "cosigner"
    sealed = ledger.change("sys.member.remove", {"member": "zx"}, {})
    registry = ledger.app.head.registry
    assert registry.members["zx"].status == "removed"
    assert registry.keys[key.public.key_id].until_height == sealed.height
    with pytest.raises(RejectedError) as caught:
        ledger.app.check(ledger.sign("zx", ledger.event(), key))
    assert caught.value.code == "member-inactive"
    report = ledger.verify()
    assert report.findings.kept == [] and report.counts.replayed_blocks == len(ledger.blocks)
    assert ledger.verify(replay=False).findings.kept == []


def test_suspended_member_comes_back() -> None:
    """SPEC R-G18: a suspended member does not sign, does not vote, and resumes with its keys."""
    ledger = Governed()
    key, args = admit_args(ledger)
    ledger.change("sys.member.admit", {"member": "zx"}, args)
    ledger.change("sys.member.suspend", {"member": "zx"}, {})
    with pytest.raises(RejectedError):
        ledger.app.check(ledger.sign("zx", ledger.event(), key))
    ledger.change("sys.member.resume", {"member": "zx"}, {})
    assert code(ledger.record("zx", ledger.event(), key=key)) == ""
    assert ledger.verify().findings.kept == []


def test_successor_is_named() -> None:
    """SPEC R-G18: the old member ends and points to the one that took over."""
    ledger = Governed()
    _, args = admit_args(ledger)
    ledger.change("sys.member.admit", {"member": "zx"}, args)
    ledger.change("sys.member.succeed", {"member": ["zx", "wj"]}, {})
    entry = ledger.app.head.registry.members["zx"]
    assert (entry.status, entry.successor) == ("removed", "wj")


def test_votes_of_removed_authorities_do_not_count() -> None:
    """SPEC R-G13: who votes is asked when a vote is counted, not when it was cast."""
    ledger = Governed(authorities=("ga", "gx", "mz", "wj"))
    _, refs, args = key_parts(ledger)
    name, event = propose(ledger, "ga", "sys.key.add", refs, args)
    for voter in ("mz", "gx"):
        ledger.record(voter, ledger.approve(name, event))
    ledger.change("sys.role.set", {"member": "mz"}, {"roles": ["department"]}, voters=("ga", "gx", "wj"))
    ledger.record("ga", ledger.approve(name, event))
    assert ledger.proposal(name).status == "open"
    ledger.record("wj", ledger.approve(name, event))
    assert ledger.proposal(name).status == "passed"


# --- keys, roles, parameters -------------------------------------------------------------------------------------------


def test_member_rotates_its_own_key_without_a_vote() -> None:
    """SPEC R-G23: the new key has the old one's use and roles; the old one signs in that block and never after."""
    ledger = Governed()
    key, fields = ledger.new_key("wj", EVENT, "next")
    old = signer("wj", EVENT).public.key_id
    refs = {"key": [old.hex(), key.public.key_id.hex()], "member": "wj"}
    wrong = {**fields, "roles": ["authority"]}
    assert code(ledger.record("wj", ledger.sys("sys.key.rotate", refs, key=wrong))) == "shape"
    assert code(ledger.record("gx", ledger.sys("sys.key.rotate", refs, key=fields))) == "shape"
    assert code(ledger.record("wj", ledger.sys("sys.key.rotate", refs, key=fields))) == ""
    height = ledger.app.head.height
    registry = ledger.app.head.registry
    assert (registry.keys[old].until_height, registry.keys[key.public.key_id].from_height) == (height, height + 1)
    assert code(ledger.record("wj", ledger.event(), key=key)) == ""
    with pytest.raises(RejectedError):
        ledger.app.check(ledger.sign("wj", ledger.event()))
    assert ledger.verify().findings.kept == [] and ledger.verify(replay=False).findings.kept == []


def test_cosigning_key_is_not_rotated_without_a_vote() -> None:
    """SPEC R-G23: keys that cosign or order change by vote only."""
    ledger = Governed()
    key, fields = ledger.new_key("wj", COSIGN, "next")
    refs = {"key": [signer("wj", COSIGN).public.key_id.hex(), key.public.key_id.hex()], "member": "wj"}
    assert code(ledger.record("wj", ledger.sys("sys.key.rotate", refs, key=fields))) == "key-use"
    assert code(ledger.record("ga", ledger.propose("sys.key.rotate", refs, {"key": fields}))) == "cosigner"


def test_keys_end_by_vote() -> None:
    """SPEC R-G11: another member's key is revoked by vote; the last event key and the last log key stay."""
    ledger = Governed()
    second = signer("gx", "second").public.key_id
    ledger.change("sys.key.revoke", {"key": second.hex(), "member": "gx"}, {})
    assert ledger.app.head.registry.keys[second].until_height == ledger.app.head.height
    for member, key in (("gx", signer("gx", EVENT)), ("ga", signer("ga", LOG))):
        refs = {"key": key.public.key_id.hex(), "member": member}
        assert code(ledger.record("ga", ledger.propose("sys.key.revoke", refs, {}))) == "key-last"


def test_roles_of_a_key() -> None:
    """SPEC R-G11: with the ref `key` the roles are those of one key."""
    ledger = Governed()
    key_id = signer("wj", EVENT).public.key_id
    ledger.change("sys.role.set", {"key": key_id.hex(), "member": "wj"}, {"roles": ["office-head"]})
    assert ledger.app.head.registry.keys[key_id].roles == ("office-head",)
    assert ledger.app.head.registry.members["wj"].roles == ("department",)


def test_parameters_need_cosigners_and_notice() -> None:
    """SPEC R-G13, R-G15: without the cosigners' own signatures nothing passes; the effect waits for the notice."""
    ledger = Governed()
    wanted = {"parameters": {"timers_block": 7}}
    name, event = propose(ledger, "ga", "sys.param.set", {}, wanted)
    for voter in MEMBERS[:3]:
        ledger.record(voter, ledger.approve(name, event))
    assert ledger.proposal(name).status == "open"
    items = [ledger.record(voter, ledger.approve(name, event, voter)) for voter in MEMBERS[:3]]
    assert items[-1].timers[0][1] == ledger.app.head.time + 1 + 24 * HOUR_MS
    ledger.block(ms=24 * HOUR_MS)
    assert ledger.app.head.config.parameters["timers_block"] == 1_000
    sealed = ledger.block(ms=1)
    assert ledger.app.head.config.parameters["timers_block"] == 7
    row = ledger.store.read_rows([config_key()])[config_key()]
    assert parse_config(parse_object_value(row.value)[1]) == ledger.app.head.config
    following = ledger.block()
    assert (sealed.header.config, following.header.config) == (
        ledger.sealed[0].header.config,
        ledger.app.head.config.hash,
    )
    assert ledger.verify().findings.kept == [] and ledger.verify(replay=False).findings.kept == []


def test_forged_approvals() -> None:
    """SPEC R-G12: a cosigner's approval is by its own key, over this proposal, on this network."""
    ledger = Governed()
    name, event = propose(ledger, "ga", "sys.param.set", {}, {"parameters": {"skew_ms": 5}})
    stranger = signer("stranger", COSIGN)
    assert code(ledger.record("ga", ledger.approve(name, event, "ga", stranger))) == "cosigner"
    assert code(ledger.record("ga", ledger.approve(name, event, "gx"))) == "cosigner"
    key = signer("ga", COSIGN)
    for message in (
        approval_message("other/" + "0" * 64, proposal_hash(event.hash)),
        approval_message(ledger.origin, event.hash),
        proposal_hash(event.hash),
    ):
        cosign = {"key": key.public.key_id.hex(), "signature": key.sign(message).hex()}
        forged = ledger.sys(
            "sys.approve", {"proposal": name}, proposal_hash=proposal_hash(event.hash).hex(), cosign=cosign
        )
        assert code(ledger.record("ga", forged)) == "approval-signature"
