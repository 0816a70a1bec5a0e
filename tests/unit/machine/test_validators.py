"""The validator set by vote: who joins and leaves it, with whose approval, when, and what it can never become."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.core.keys import CONSENSUS, COSIGN, EVENT, LOG, P2P, Ed25519Signer
from ledger.core.proposal import proposal_hash
from tests.models.governed import HOUR_MS, Governed
from tests.models.tiny_ledger import MEMBERS, signer
from tests.unit.machine.test_governance import code, propose

NOTICE = 24 * HOUR_MS
FEW = {"below_four": True}


def validating(count: int = 4, **options: Any) -> Governed:
    """A ledger in whose genesis the first `count` members order with CometBFT."""
    return Governed(validators=MEMBERS[:count], **options)


def newcomer(ledger: Governed, member: str = "zx", uses: tuple[str, ...] = (COSIGN, LOG, P2P, CONSENSUS)) -> Any:
    """Arguments that admit `member` with an event key and keys for `uses`."""
    keys = [ledger.new_key(member, use, "first")[1] for use in (EVENT, *uses)]
    title = {"en": "Newcomer", "zh": "新成员"}
    return {"attributes": {}, "keys": keys, "roles": ["department"], "title": title}


def key_id(member: str, use: str = CONSENSUS) -> str:
    return signer(member, use).public.key_id.hex()


def refused(ledger: Governed, *parts: Any, by: str = "ga") -> str:
    """The code with which a proposal is refused."""
    return code(ledger.record(by, ledger.propose(*parts)))


def set_parts(ledger: Governed, cosigners: list[str], add: list[Any], end: list[str]) -> tuple[Any, ...]:
    """A change of both sets: the cosigners that stay with their keys, validator keys to add, members whose key ends."""
    pairs = [[member, key_id(member, COSIGN)] for member in cosigners]
    ended = [[member, key_id(member)] for member in end]
    about = sorted({*cosigners, *end, *(member for member, _ in add)})
    args = {"cosigners": pairs, "validators": {"add": add, "end": ended}}
    return "sys.set.change", {"member": about if len(about) > 1 else about[0]}, args


# --- growing -----------------------------------------------------------------------------------------------------------


def test_validator_is_admitted_by_both_majorities_after_notice() -> None:
    """SPEC R-N52: a member that brings a consensus key needs the cosigners too, and orders from the next block on."""
    ledger = validating()
    args = newcomer(ledger)
    name, event = propose(ledger, "ga", "sys.member.admit", {"member": "zx"}, args)
    assert ledger.proposal(name).validators
    for voter in MEMBERS:
        ledger.record(voter, ledger.approve(name, event))
    assert ledger.proposal(name).status == "open"
    items = [ledger.record(voter, ledger.approve(name, event, voter)) for voter in MEMBERS[:3]]
    assert items[-1].timers[0][1] == ledger.app.head.time + 1 + NOTICE
    ledger.block(ms=NOTICE)
    assert ledger.validators == list(MEMBERS)
    ledger.block(ms=1)
    assert ledger.validators == [*MEMBERS, "zx"]
    assert ledger.verify().findings.kept == [] and ledger.verify(replay=False).findings.kept == []


def test_member_without_consensus_key_is_admitted_as_ever() -> None:
    """SPEC R-N52: only what changes the set needs the cosigners; keys to order and connect alone do not."""
    ledger = validating()
    ledger.change("sys.member.admit", {"member": "zx"}, newcomer(ledger, uses=(COSIGN, LOG, P2P)))
    assert ledger.validators == list(MEMBERS) and "zx" in dict(ledger.app.head.registry.peer_ids())


def test_small_ledger_grows_without_a_word() -> None:
    """SPEC R-N53: a ledger that began with one validator grows; growing never needs the flag."""
    ledger = validating(1)
    for use in (LOG, P2P, CONSENSUS):
        key, fields = ledger.new_key("gx", use, "first")
        refs = {"key": key.public.key_id.hex(), "member": "gx"}
        ledger.change("sys.key.add", refs, {"key": fields}, cosign=True, wait_ms=NOTICE + 1)
    assert ledger.validators == ["ga", "gx"]
    assert ledger.verify().findings.kept == []


@pytest.mark.parametrize("lacking", [COSIGN, LOG, P2P])
def test_validator_needs_its_other_keys(lacking: str) -> None:
    """SPEC R-N53: who validates also cosigns, orders and connects; no consensus key without the three others."""
    ledger = validating()
    uses = tuple(use for use in (COSIGN, LOG, P2P, CONSENSUS) if use != lacking)
    assert refused(ledger, "sys.member.admit", {"member": "zx"}, newcomer(ledger, uses=uses)) == "validator-keys"
    if lacking == P2P:
        parts = "sys.key.revoke", {"key": key_id("wj", P2P), "member": "wj"}, {}
        assert refused(ledger, *parts) == "validator-keys"


def test_one_consensus_key_a_member() -> None:
    """SPEC R-N53: a second consensus key of one member would be a second vote."""
    ledger = validating()
    key, fields = ledger.new_key("wj", CONSENSUS, "second")
    refs = {"key": key.public.key_id.hex(), "member": "wj"}
    assert refused(ledger, "sys.key.add", refs, {"key": fields}) == "validator-twice"


# --- rotating ----------------------------------------------------------------------------------------------------------


def rotation(ledger: Governed, member: str, use: str) -> tuple[Ed25519Signer, dict[str, Any], dict[str, Any]]:
    key, fields = ledger.new_key(member, use, "next")
    return key, {"key": [key_id(member, use), key.public.key_id.hex()], "member": member}, {"key": fields}


def test_consensus_key_is_rotated_by_vote_only() -> None:
    """SPEC R-N52: old and new change places in one block; the member alone can neither rotate nor revoke it."""
    ledger = validating()
    key, refs, args = rotation(ledger, "wj", CONSENSUS)
    assert code(ledger.record("wj", ledger.sys("sys.key.rotate", refs, key=args["key"]))) == "key-use"
    for use in (CONSENSUS, P2P):
        own = {"key": key_id("wj", use), "member": "wj"}
        assert code(ledger.record("wj", ledger.sys("sys.key.revoke", own))) == "key-use"
    ledger.change("sys.key.rotate", refs, args, by="wj", cosign=True, wait_ms=NOTICE + 1)
    assert dict(ledger.app.head.registry.validators())["wj"] == key.public and len(ledger.validators) == 4
    assert ledger.verify().findings.kept == [] and ledger.verify(replay=False).findings.kept == []


def test_node_key_is_rotated_by_the_electorate_alone() -> None:
    """SPEC R-N52: a p2p key changes nobody's vote, so neither cosigners nor notice are asked for."""
    ledger = validating()
    key, refs, args = rotation(ledger, "wj", P2P)
    ledger.change("sys.key.rotate", refs, args)
    assert key.public.key_id in ledger.app.head.registry.keys


# --- shrinking ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "refs"),
    [
        ("sys.key.revoke", {"key": key_id("wj"), "member": "wj"}),
        ("sys.member.suspend", {"member": "zx"}),
        ("sys.member.remove", {"member": "zx"}),
        ("sys.member.succeed", {"member": ["zx", "ga"]}),
    ],
)
def test_whoever_leaves_the_floor_stays(action: str, refs: dict[str, Any]) -> None:
    """SPEC R-N53: with five validators one may go; below four every way of leaving needs the flag, each time."""
    ledger = validating(3)
    assert refused(ledger, "sys.key.revoke", {"key": key_id("mz"), "member": "mz"}, {}) == "validator-floor"
    ledger = validating()
    ledger.change("sys.member.admit", {"member": "zx"}, newcomer(ledger), cosign=True, wait_ms=NOTICE + 1)
    assert len(ledger.validators) == 5
    ledger.change(action, refs, {}, cosign=True, wait_ms=NOTICE + 1)
    assert len(ledger.validators) == 4
    parts = "sys.key.revoke", {"key": key_id("mz"), "member": "mz"}
    assert refused(ledger, *parts, {}) == "validator-floor"
    assert refused(ledger, *parts, {"below_four": False}) == "shape"
    assert refused(ledger, "sys.key.add", {"member": "wj", "key": "00" * 32}, FEW) == "shape"
    ledger.change(*parts, FEW, cosign=True, wait_ms=NOTICE + 1)
    assert len(ledger.validators) == 3
    assert ledger.verify().findings.kept == [] and ledger.verify(replay=False).findings.kept == []


def test_last_validator_stays_whatever_is_said() -> None:
    """SPEC R-N53: no flag makes the set empty."""
    ledger = validating(1)
    assert refused(ledger, "sys.key.revoke", {"key": key_id("ga"), "member": "ga"}, FEW) == "validator-last"


def test_suspended_validator_comes_back_into_the_set() -> None:
    """SPEC R-N52: suspending and resuming a validator are changes of the set, both with the cosigners."""
    ledger = validating()
    ledger.change("sys.member.admit", {"member": "zx"}, newcomer(ledger), cosign=True, wait_ms=NOTICE + 1)
    ledger.change("sys.member.suspend", {"member": "zx"}, {}, cosign=True, wait_ms=NOTICE + 1)
    assert "zx" not in ledger.validators
    name, event = propose(ledger, "ga", "sys.member.resume", {"member": "zx"}, {})
    for voter in MEMBERS:
        ledger.record(voter, ledger.approve(name, event))
    assert ledger.proposal(name).status == "open"
    ledger.change("sys.member.resume", {"member": "zx"}, {}, cosign=True, wait_ms=NOTICE + 1)
    assert "zx" in ledger.validators


def test_two_votes_that_together_go_below_four() -> None:
    """SPEC R-N53, R-G17: each was allowed when proposed; the second finds four and fails."""
    ledger = validating()
    ledger.change("sys.member.admit", {"member": "zx"}, newcomer(ledger), cosign=True, wait_ms=NOTICE + 1)
    names = []
    for member in ("mz", "wj"):
        name, event = propose(ledger, "ga", "sys.key.revoke", {"key": key_id(member), "member": member}, {})
        for voter in MEMBERS[:3]:
            ledger.record(voter, ledger.approve(name, event, voter))
        names.append(name)
    ledger.block(ms=NOTICE + 10_000)
    ledger.block(ms=0)
    assert [ledger.proposal(name).status for name in names] == ["enacted", "failed"]
    assert ledger.proposal(names[1]).reason == "validator-floor" and len(ledger.validators) == 4


def test_nobody_slips_out_by_an_older_ordinary_vote() -> None:
    """SPEC R-N52: a suspension voted on while the member did not validate fails as stale once it does."""
    ledger = validating()
    args = newcomer(ledger, uses=(COSIGN, LOG, P2P))
    ledger.change("sys.member.admit", {"member": "zx"}, args)
    later = ledger.app.head.time + 3 * NOTICE
    name, event = propose(ledger, "ga", "sys.member.suspend", {"member": "zx"}, {}, effective=later)
    assert not ledger.proposal(name).validators
    for voter in MEMBERS[:3]:
        ledger.record(voter, ledger.approve(name, event))
    key, fields = ledger.new_key("zx", CONSENSUS, "first")
    refs = {"key": key.public.key_id.hex(), "member": "zx"}
    ledger.change("sys.key.add", refs, {"key": fields}, cosign=True, wait_ms=NOTICE + 1)
    ledger.block(ms=3 * NOTICE)
    assert (ledger.proposal(name).status, ledger.proposal(name).reason) == ("failed", "stale")
    assert "zx" in ledger.validators and ledger.verify().findings.kept == []


# --- both sets in one proposal -----------------------------------------------------------------------------------------


def test_both_sets_change_in_the_last_block_of_the_epoch() -> None:
    """SPEC R-G20, R-N52: announced first; then cosigners and validators change in one block, two after the vote."""
    ledger = validating()
    ledger.change("sys.member.admit", {"member": "zx"}, newcomer(ledger, uses=(COSIGN, LOG, P2P)))
    _, fields = ledger.new_key("zx", CONSENSUS, "first")
    action, refs, args = set_parts(ledger, list(MEMBERS[:3]), [["zx", fields]], ["wj"])
    args["cosigners"].append(["zx", ledger.new_key("zx", COSIGN, "first")[0].public.key_id.hex()])
    ledger.change(action, refs, args, cosign=True, wait_ms=NOTICE + 1)
    config = ledger.app.head.config
    assert config.cosigners != config.next_cosigners and ledger.validators == list(MEMBERS)
    ledger.block(ms=1)
    assert ledger.validators == ["ga", "gx", "mz", "zx"]
    assert [name for name, _ in ledger.app.head.config.cosigners] == ledger.validators
    ledger.change("sys.member.remove", {"member": "wj"}, {})
    assert ledger.verify().findings.kept == [] and ledger.verify(replay=False).findings.kept == []


def test_sets_of_validators_that_cannot_be() -> None:
    """SPEC R-N52, R-N53: nothing to do, a foreign key, another use, two of one member, refs that leave one out."""
    ledger = validating()
    _, fields = ledger.new_key("wj", CONSENSUS, "next")
    _, node = ledger.new_key("wj", P2P, "next")
    stay = list(MEMBERS[:3])
    assert refused(ledger, *set_parts(ledger, stay, [], [])) == "shape"
    assert refused(ledger, *set_parts(ledger, stay, [], ["wj"])) == "validator-floor"
    assert refused(ledger, *set_parts(ledger, stay, [["wj", node]], ["wj"])) == "key-use"
    assert refused(ledger, *set_parts(ledger, stay, [["wj", fields]], [])) == "validator-twice"
    assert refused(ledger, *set_parts(ledger, stay, [["mz", fields]], ["mz"])) == "key-proof"
    action, refs, args = set_parts(ledger, stay, [["wj", fields]], ["wj"])
    assert refused(ledger, action, {"member": stay}, args) == "shape"
    for broken in ([], {"add": []}, {"add": [], "end": [["wj"]]}, {"add": 1, "end": []}):
        assert refused(ledger, action, refs, {**args, "validators": broken}) == "shape"
    again = {**args, "validators": {"add": [], "end": [["wj", key_id("wj")], ["wj", key_id("wj")]]}}
    assert refused(ledger, action, refs, again) == "shape"
    wrong = {**args, "validators": {"add": [], "end": [["wj", key_id("wj", P2P)]]}}
    assert refused(ledger, action, refs, wrong) == "key-use"
    assert ledger.app.head.registry.validators() == Governed(validators=MEMBERS).app.head.registry.validators()


def test_set_that_cannot_follow_any_more_stays_whole() -> None:
    """SPEC R-G20: where the validators' part has become impossible the cosigners stay as they were too."""
    ledger = validating()
    key, fields = ledger.new_key("wj", CONSENSUS, "next")
    parts = set_parts(ledger, list(MEMBERS[:3]), [["wj", fields]], ["wj"])
    ledger.change(*parts, cosign=True, wait_ms=NOTICE + 1)
    assert ledger.app.head.config.next_cosigners != ledger.app.head.config.cosigners
    own = {"key": key_id("mz", COSIGN), "member": "mz"}
    assert code(ledger.record("mz", ledger.sys("sys.key.revoke", own), ms=0)) == ""
    item = ledger.block(ms=1).decision.items[0]
    assert code(item) == "key-revoked" and ledger.validators == list(MEMBERS)
    assert key.public.key_id not in ledger.app.head.registry.keys
    config = ledger.app.head.config
    assert config.cosigners == config.next_cosigners and config.epoch == 0
    assert ledger.verify().findings.kept == []


def test_hash_of_a_flagged_proposal_covers_the_flag() -> None:
    """SPEC R-G12: who votes for a removal has not voted for going below four."""
    ledger = validating()
    refs = {"key": key_id("wj"), "member": "wj"}
    plain = ledger.propose("sys.key.revoke", refs, {})
    flagged = ledger.propose("sys.key.revoke", refs, FEW)
    assert proposal_hash(plain.hash) != proposal_hash(flagged.hash)
