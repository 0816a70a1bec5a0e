"""An ordering node that lies about governance: whatever it lets pass, the auditor decides again, with rules and without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ledger.blockcodec import encode_block
from ledger.core.keys import CONSENSUS, EVENT
from ledger.core.proposal import APPROVE, Vote
from ledger.machine import changes, enginemove, governance, memberchanges, misbehaviour, validators
from ledger.machine.block import ACCEPTED
from tests.models.governed import HOUR_MS, NEW_RULEBOOK, Governed
from tests.models.tiny_ledger import MEMBERS, signer

Lie = Callable[[pytest.MonkeyPatch], Any]


def add_key(ledger: Governed, voters: tuple[str, ...], **content: Any) -> None:
    """A key for wj, approved by `voters`."""
    key, fields = ledger.new_key("wj", EVENT, "new")
    refs = {"key": key.public.key_id.hex(), "member": "wj"}
    event = ledger.propose("sys.key.add", refs, {"key": fields}, **content)
    ledger.record("ga", event)
    for voter in voters:
        ledger.record(voter, ledger.approve(f"ga/{event.id}", event))
    ledger.block()


def below_quorum(ledger: Governed, patch: pytest.MonkeyPatch) -> None:
    """Two of four pass."""
    patch.setattr(governance, "threshold", lambda count: 2)
    add_key(ledger, MEMBERS[:2])


def strangers_vote(ledger: Governed, patch: pytest.MonkeyPatch) -> None:
    """Members without a vote count as authorities."""
    patch.setattr(governance.Governance, "_electorate", lambda self: MEMBERS)
    add_key(ledger, MEMBERS[:3])


def late_votes(ledger: Governed, patch: pytest.MonkeyPatch) -> None:
    """The last day of voting is moved."""
    patch.setattr(governance, "VOTING_MS", 300 * 24 * HOUR_MS)
    key, fields = ledger.new_key("wj", EVENT, "new")
    refs = {"key": key.public.key_id.hex(), "member": "wj"}
    event = ledger.propose("sys.key.add", refs, {"key": fields})
    ledger.record("ga", event)
    for voter in MEMBERS[:3]:
        ledger.record(voter, ledger.approve(f"ga/{event.id}", event), ms=20 * 24 * HOUR_MS)


def retroactive(ledger: Governed, patch: pytest.MonkeyPatch) -> None:
    """An effect in the past is taken."""
    patch.setattr(governance.Governance, "_times", lambda self, body, action: (2**53 - 1, 1))
    add_key(ledger, MEMBERS[:3], effective=ledger.app.head.time - HOUR_MS)


def no_notice(ledger: Governed, patch: pytest.MonkeyPatch) -> None:
    """A change of parameters does not wait."""
    patch.setattr(governance, "HOUR_MS", 0)
    ledger.change("sys.param.set", {}, {"parameters": {"skew_ms": 1}}, cosign=True)


def no_cosigners(ledger: Governed, patch: pytest.MonkeyPatch) -> None:
    """The cosigners are not asked."""
    patch.setattr(changes, "WITH_COSIGNERS", frozenset())
    ledger.change("sys.param.set", {}, {"parameters": {"skew_ms": 1}})


def stolen_key(ledger: Governed, patch: pytest.MonkeyPatch) -> None:
    """A key is registered whose holder never asked for it."""
    patch.setattr(memberchanges, "registration_message", lambda *parts: b"anything")
    key = signer("stranger", EVENT)
    fields = {"algorithm": 1, "public": key.public.raw.hex(), "roles": [], "use": EVENT}
    fields["proof"] = key.sign(b"anything").hex()
    ledger.change("sys.key.add", {"key": key.public.key_id.hex(), "member": "wj"}, {"key": fields})


def double_votes(ledger: Governed, patch: pytest.MonkeyPatch) -> None:
    """One member's vote counts for three."""
    vote = Vote(APPROVE, "ga/x", 0)
    patch.setattr(governance.Governance, "_votes", lambda self, proposal: {"gx": vote, "mz": vote})
    add_key(ledger, ("ga",))


def other_program(ledger: Governed, patch: pytest.MonkeyPatch) -> None:
    """A rulebook is voted on whose program nobody compiled."""
    args, attachment = ledger.bundle_args(NEW_RULEBOOK)
    patch.setattr(governance.Governance, "_check_program", lambda self, action, args: None)
    ledger.change("sys.rulebook.publish", {}, {**args, "program": "11" * 32}, attachments=(attachment,))


def validators_by_few(ledger: Governed, patch: pytest.MonkeyPatch) -> None:
    """A validator's key changes without the cosigners and without notice."""
    patch.setattr(changes, "needs_cosigners", lambda action, validators_change: False)
    key, fields = ledger.new_key("wj", CONSENSUS, "next")
    refs = {"key": [signer("wj", CONSENSUS).public.key_id.hex(), key.public.key_id.hex()], "member": "wj"}
    ledger.change("sys.key.rotate", refs, {"key": fields})


def below_four(ledger: Governed, patch: pytest.MonkeyPatch) -> None:
    """The set shrinks below four though nobody voted for that."""
    patch.setattr(validators, "VALIDATORS_FLOOR", 0)
    refs = {"key": signer("wj", CONSENSUS).public.key_id.hex(), "member": "wj"}
    ledger.change("sys.key.revoke", refs, {}, cosign=True, wait_ms=25 * HOUR_MS)


def false_accusation(ledger: Governed, patch: pytest.MonkeyPatch) -> None:
    """A validator is recorded as guilty of what it never signed."""
    patch.setattr(misbehaviour, "_check", lambda key, message, signature: None)
    block = {"block": "11" * 32, "nanos": 0, "parts_hash": "22" * 32, "parts_total": 1, "seconds": 1}
    votes = [{**block, "block": digest, "signature": "00" * 64} for digest in ("11" * 32, "33" * 32)]
    refs = {"key": signer("wj", CONSENSUS).public.key_id.hex(), "member": "wj"}
    body = {"height": 1, "round": 0, "type": "duplicate-vote", "vote_type": "precommit", "votes": votes}
    assert ledger.record("ga", ledger.sys("sys.misbehaviour", refs, **body)).outcome == ACCEPTED


def other_chain(ledger: Governed, patch: pytest.MonkeyPatch) -> None:
    """The ledger moves to a chain that nobody may vote for."""
    patch.setattr(enginemove, "chain_id", lambda origin, moves: "elsewhere")
    args = {"chain_id": "elsewhere", "engine": "cometbft"}
    ledger.change("sys.engine.move", {}, args, cosign=True, wait_ms=25 * HOUR_MS)


LIES = [
    below_quorum, late_votes, retroactive, no_notice, no_cosigners, stolen_key, double_votes, strangers_vote,
    other_program, validators_by_few, below_four, false_accusation, other_chain,
]  # fmt: skip


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_lie_is_found(lie: Callable[[Governed, pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every verdict of governance is decided again from signed events; a difference names the leaf."""
    ledger = Governed(authorities=MEMBERS[:1] if lie is strangers_vote else (), validators=MEMBERS)
    with monkeypatch.context() as patch:
        lie(ledger, patch)
    ledger.certify()
    report = ledger.verify()
    assert report.findings.kept
    if lie is not other_program:  # whether a bundle compiles to what was said only its rules tell
        plain = ledger.verify(replay=False)
        assert "verdict" in {each.code for each in plain.findings.kept}


def changed_blocks(ledger: Governed, height: int, **changes: Any) -> list[bytes]:
    """The ledger's blocks with one of them changed."""
    blocks = list(ledger.blocks)
    blocks[height] = replace(blocks[height], **changes)
    return [encode_block(block) for block in blocks]


@pytest.mark.parametrize("replay", [True, False])
def test_attachment_that_was_changed_or_lost(replay: bool) -> None:
    """SPEC R-G19: the auditor hashes what travels with a proposal."""
    ledger = Governed()
    args, attachment = ledger.bundle_args(NEW_RULEBOOK)
    ledger.change("sys.rulebook.publish", {}, args, attachments=(attachment,))
    assert ledger.verify(replay=replay).findings.kept == []
    other = attachment.replace(b"another", b"changed")
    for attachments in ((), (other,), (attachment, other)):
        report = ledger.verify(replay=replay, encoded=changed_blocks(ledger, 1, attachments=attachments))
        assert report.findings.kept[0].code == "attachment-unknown"


def test_lost_vote_is_a_gap_and_not_a_lie() -> None:
    """Where the body of a vote is gone governance cannot be followed, which is said; nobody is accused."""
    ledger = Governed()
    add_key(ledger, MEMBERS[:3])
    data = ledger.blocks[2].submissions[0]
    (head, _, body_hash) = data.events[0]
    gone = replace(data, events=((head, None, body_hash),))
    report = ledger.verify(encoded=changed_blocks(ledger, 2, submissions=(gone,)))
    assert report.findings.kept == []
    assert {"governance-lost", "bodies-missing"} <= {each.code for each in report.gaps}


@pytest.mark.parametrize("replay", [True, False])
def test_rules_that_cannot_be_had_later(replay: bool) -> None:
    """A rulebook that this auditor cannot compile ends the replay at that block, with a gap; the rest is checked on."""
    from ledger.errors import MalformedError
    from tests.models.tiny_ledger import load_rules

    ledger = Governed()
    args, attachment = ledger.bundle_args(NEW_RULEBOOK)
    ledger.change("sys.rulebook.publish", {}, args, attachments=(attachment,))
    ledger.record("ga", ledger.event())

    def loading(genesis: Any, bundle: Any) -> Any:
        loaded = load_rules(genesis, bundle)

        def reload(config: Any, find: Any) -> Any:
            raise MalformedError("rule-program", "another compiler")

        loaded.reload = reload
        return loaded

    report = ledger.verify(replay=replay, rules=loading)
    assert report.findings.kept == []
    assert ("rules-unavailable" in {each.code for each in report.gaps}) == replay
