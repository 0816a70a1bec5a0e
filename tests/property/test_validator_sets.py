"""Laws of the validator set: whatever is proposed and voted for, it never becomes empty, nor too small by an oversight."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ledger.core.engine import ENGINE_KEY, chain_id, parse_engine
from ledger.core.genesis import VALIDATOR_USES
from ledger.core.keys import CONSENSUS, COSIGN, EVENT, Ed25519Signer
from ledger.core.leaf import TimerLeaf, parse_leaf
from ledger.core.proposal import ENACTED, proposal_of_timer
from ledger.machine.block import BlockInput
from tests.models.governed import HOUR_MS, Governed
from tests.models.tiny_ledger import MEMBERS, signer

NOTICE = 24 * HOUR_MS
NAMES = (*MEMBERS, "zx", "zy")
Parts = tuple[str, dict[str, Any], dict[str, Any]]


class ValidatorSets(RuleBasedStateMachine):
    """Proposals about members and their keys, all of them voted for by everybody; some wait, so that they meet others."""

    @initialize(count=st.integers(1, 4))
    def begin(self, count: int) -> None:
        self.ledger = Governed(validators=MEMBERS[:count])
        self.sets = [frozenset(self.ledger.validators)]
        self.checked = 0
        self.number = 0

    # --- what is proposed --------------------------------------------------------------------------------------------

    def new_key(self, member: str, use: str) -> tuple[str, dict[str, Any]]:
        self.number += 1
        key, fields = self.ledger.new_key(member, use, str(self.number))
        return key.public.key_id.hex(), fields

    def consensus_key(self, member: str) -> str:
        valid = self.ledger.app.head.registry.valid_keys(member, CONSENSUS)
        return valid[0].public.key_id.hex() if valid else "00" * 32

    def vote(self, parts: Parts, *, later: bool = False) -> None:
        """Propose and let everybody vote; refusals are answers like others."""
        ledger = self.ledger
        self.settle(1)
        times = {"effective": ledger.app.head.time + 2 * NOTICE} if later else {}
        event = ledger.propose(*parts, **times)
        item = ledger.record("ga", event, ms=0)
        if item.refused_streams:
            return
        for voter in MEMBERS:
            status = ledger.app.head.registry.members[voter].status
            if not status:
                cosigns = any(name == voter for name, _ in ledger.app.head.config.cosigners)
                ledger.record(voter, ledger.approve(f"ga/{event.id}", event, voter if cosigns else ""), ms=0)

    @rule(member=st.sampled_from(NAMES[4:]), validates=st.booleans())
    def admit(self, member: str, validates: bool) -> None:
        uses = (EVENT, *VALIDATOR_USES, *([CONSENSUS] if validates else []))
        keys = [self.new_key(member, use)[1] for use in uses]
        title = {"en": "New", "zh": "新"}
        args = {"attributes": {}, "keys": keys, "roles": ["department"], "title": title}
        self.vote(("sys.member.admit", {"member": member}, args))

    @rule(member=st.sampled_from(NAMES), later=st.booleans())
    def add(self, member: str, later: bool) -> None:
        for use in (*VALIDATOR_USES, CONSENSUS) if member in MEMBERS else (CONSENSUS,):
            key_id, fields = self.new_key(member, use)
            self.vote(("sys.key.add", {"key": key_id, "member": member}, {"key": fields}), later=later)

    @rule(member=st.sampled_from(NAMES), flag=st.booleans(), later=st.booleans())
    def revoke(self, member: str, flag: bool, later: bool) -> None:
        args = {"below_four": True} if flag else {}
        self.vote(("sys.key.revoke", {"key": self.consensus_key(member), "member": member}, args), later=later)

    @rule(member=st.sampled_from(NAMES))
    def rotate(self, member: str) -> None:
        key_id, fields = self.new_key(member, CONSENSUS)
        refs = {"key": [self.consensus_key(member), key_id], "member": member}
        self.vote(("sys.key.rotate", refs, {"key": fields}))

    @rule(
        member=st.sampled_from(NAMES[4:]),
        action=st.sampled_from(["sys.member.suspend", "sys.member.resume", "sys.member.remove"]),
        flag=st.booleans(),
        later=st.booleans(),
    )
    def status(self, member: str, action: str, flag: bool, later: bool) -> None:
        args = {"below_four": True} if flag and action != "sys.member.resume" else {}
        self.vote((action, {"member": member}, args), later=later)

    @rule(leaving=st.sampled_from(MEMBERS[1:]), joining=st.sampled_from(NAMES[4:]), flag=st.booleans())
    def change_sets(self, leaving: str, joining: str, flag: bool) -> None:
        """One cosigner leaves, its consensus key with it; another member may validate in its place."""
        config = self.ledger.app.head.config
        pairs = [[name, key.hex()] for name, key in config.cosigners if name != leaving or len(config.cosigners) == 1]
        known = self.ledger.app.head.registry.members.get(joining)
        add = [[joining, self.new_key(joining, CONSENSUS)[1]]] if known is not None and not known.status else []
        end = [[leaving, self.consensus_key(leaving)]]
        about = sorted({leaving, *(name for name, _ in pairs), *(name for name, _ in add)})
        args: dict[str, Any] = {"cosigners": pairs, "validators": {"add": add, "end": end}}
        if flag:
            args["below_four"] = True
        self.vote(("sys.set.change", {"member": about}, args))

    @rule(flag=st.booleans())
    def move(self, flag: bool) -> None:
        data = self.ledger.store.read_objects([ENGINE_KEY]).get(ENGINE_KEY)
        moves = 1 + (parse_engine(data).moves if data else 0)
        args = {"chain_id": chain_id(self.ledger.origin, moves), "engine": "cometbft"}
        self.vote(("sys.engine.move", {}, {**args, "below_four": True} if flag else args))

    @rule(hours=st.sampled_from([0, 25, 60]))
    def wait(self, hours: int) -> None:
        """Let what is due take effect, one change a block."""
        self.settle(hours * HOUR_MS + 1)

    def settle(self, ms: int) -> None:
        self.ledger.block(ms=ms)
        while self.ledger.app.timers_waiting(self.ledger.app.head.time):
            self.ledger.block(ms=0)

    # --- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def sets_are_lawful(self) -> None:
        """SPEC R-N53, in every block: never empty, one key a member, and below four only by a proposal that says so."""
        ledger = self.ledger
        for sealed in ledger.sealed[len(self.sets) :]:
            names = [member for member, _ in sealed.decision.registry.validators()]
            before, now = self.sets[-1], frozenset(names)
            assert now and len(now) == len(names)
            if len(now) < min(len(before), 4):
                (leaf,) = [parse_leaf(leaf) for leaf in sealed.leaves[:-1]]
                assert isinstance(leaf, TimerLeaf)
                assert ledger.proposal(proposal_of_timer(leaf.key)).args["below_four"] is True
            self.sets.append(now)

    @invariant()
    def changes_had_the_cosigners(self) -> None:
        """SPEC R-N52: whatever changed the set is a proposal that said so, and took effect after its notice."""
        ledger = self.ledger
        for height in range(self.checked + 1, len(self.sets)):
            if self.sets[height] != self.sets[height - 1]:
                (leaf,) = [parse_leaf(leaf) for leaf in ledger.sealed[height].leaves[:-1]]
                assert isinstance(leaf, TimerLeaf)
                proposal = ledger.proposal(proposal_of_timer(leaf.key))
                assert proposal.validators and proposal.status == ENACTED
                assert ledger.sealed[height].header.time >= proposal.at + NOTICE
        self.checked = len(self.sets) - 1

    @precondition(lambda self: len(self.ledger.blocks) > 1)
    @invariant()
    def auditor_agrees(self) -> None:
        """SPEC R-A06: the offline verifier walks every change, without rules after each step."""
        assert self.ledger.verify(replay=False).findings.kept == []

    def teardown(self) -> None:
        """A second node computes the same state; the auditor replays it."""
        if not hasattr(self, "ledger"):
            return
        first = self.ledger
        other = Governed(validators=[member for member, _ in first.sealed[0].decision.registry.validators()])
        for sealed in first.sealed[1:]:
            block = sealed.decision.block
            again = other.app.finalize(BlockInput(block.height, block.time, block.submissions, block.attachments))
            other.app.commit(b"")
            assert (again.root, again.header.state_root) == (sealed.root, sealed.header.state_root)
        assert first.verify(rows=first.state()).findings.kept == []


TestValidatorSets = ValidatorSets.TestCase
TestValidatorSets.settings = settings(max_examples=12, stateful_step_count=10, deadline=None)


def shrink(ledger: Governed, member: str, key: Ed25519Signer, flag: bool) -> str:
    """Vote a validator's key away; the proposal's status in the end, "" where it was refused at once."""
    refs = {"key": key.public.key_id.hex(), "member": member}
    event = ledger.propose("sys.key.revoke", refs, {"below_four": True} if flag else {})
    if ledger.record("ga", event).refused_streams:
        return ""
    for voter in MEMBERS:
        ledger.record(voter, ledger.approve(f"ga/{event.id}", event, voter))
    ledger.block(ms=NOTICE + 1)
    return ledger.proposal(f"ga/{event.id}").status


def test_the_laws_are_met_on_a_known_path() -> None:
    """The set is emptied as far as it goes, with and without the flag: four, three, two, one, and never none."""
    ledger = Governed(validators=MEMBERS)
    for member in MEMBERS[:0:-1]:
        assert shrink(ledger, member, signer(member, CONSENSUS), flag=False) == ""
        assert shrink(ledger, member, signer(member, CONSENSUS), flag=True) == ENACTED
    assert shrink(ledger, "ga", signer("ga", CONSENSUS), flag=True) == "" and ledger.validators == ["ga"]
    assert signer("ga", COSIGN).public.key_id in dict(ledger.app.head.registry.keys)
    assert ledger.verify().findings.kept == []
