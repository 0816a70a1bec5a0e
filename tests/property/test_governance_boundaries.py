"""Laws of governance: verdicts do not depend on block boundaries, and a replay computes the same state."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ledger.core.engine import ENGINE_KEY, chain_id, parse_engine
from ledger.core.event import Event, new_event
from ledger.core.ident import uuid7_at
from ledger.core.keys import CONSENSUS, COSIGN, EVENT, Ed25519Signer, registration_message
from ledger.core.leaf import Record, parse_leaf
from ledger.core.proposal import approval_message, proposal_hash, proposal_key
from ledger.machine.block import BlockInput
from tests.models.governed import Governed
from tests.models.tiny_ledger import MEMBERS, START_MS, signer

STEP_MS = 1_000
NAMES = st.sampled_from(MEMBERS)
STEPS = st.one_of(
    st.tuples(st.just("propose"), NAMES, st.integers(0, 12)),
    st.tuples(st.just("approve"), NAMES, st.integers(0, 3)),
    st.tuples(st.just("reject"), NAMES, st.integers(0, 3)),
    st.tuples(st.just("all"), NAMES, st.integers(0, 3)),
    st.tuples(st.just("wait"), NAMES, st.sampled_from([1, 2, STEP_MS, 90_000_000])),
    st.tuples(st.just("plain"), NAMES, st.just(0)),
)
ROUND = [("all", "ga", 0), ("plain", "gx", 0), ("wait", "ga", 90_000_000)]
FULL = [step for number in (8, 9, 0, 3, 4, 5, 11, 12, 6, 1) for step in (("propose", "ga", number), *ROUND)]
"""Every change takes effect once: validator keys, a role, sets, parameters, revocations, the engine, a suspension."""
PLANS = st.lists(STEPS, min_size=4, max_size=18)


class Script:
    """The events of a plan, the same for every way to cut it: nothing here looks at the ledger."""

    def __init__(self, origin: str) -> None:
        self.origin, self.random = origin, random.Random(5)
        self.proposals: list[tuple[str, Event]] = []

    def event(self, time: int, kind: str, refs: dict[str, Any], **content: Any) -> Event:
        salt = self.random.randbytes(16)
        event_id = uuid7_at(time, self.random.randbytes(10))
        return new_event(event_id=event_id, kind=kind, refs=refs, time_ms=time, salt=salt, content=content)

    def action(self, number: int) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """One of thirteen things to propose; some can be done once only."""
        key = signer(f"wj {number}", EVENT)
        proof = key.sign(registration_message(self.origin, "wj", EVENT)).hex()
        fields = {"algorithm": 1, "proof": proof, "public": key.public.raw.hex(), "roles": [], "use": EVENT}
        spare = [[name, signer(name, COSIGN).public.key_id.hex()] for name in MEMBERS[:3]]
        actions: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
            ("sys.key.add", {"key": key.public.key_id.hex(), "member": "wj"}, {"key": fields}),
            ("sys.role.set", {"member": "mz"}, {"roles": ["authority"]}),
            ("sys.role.set", {"member": "mz"}, {"roles": ["department"]}),
            ("sys.set.change", {"member": list(MEMBERS[:3])}, {"cosigners": spare}),
            ("sys.param.set", {}, {"parameters": {"notice_hours": 1}}),
            ("sys.key.revoke", {"key": signer("gx", "second").public.key_id.hex(), "member": "gx"}, {}),
            ("sys.member.suspend", {"member": "wj"}, {"below_four": True}),
            ("sys.member.resume", {"member": "wj"}, {}),
            ("sys.key.rotate", {"key": [self.id("mz"), self.id("mz next")], "member": "mz"}, {"key": self.fresh("mz")}),
            ("sys.key.revoke", {"key": self.id("gx"), "member": "gx"}, {"below_four": True}),
            ("sys.key.revoke", {"key": self.id("gx"), "member": "gx"}, {}),
            ("sys.key.add", {"key": self.id("gx next"), "member": "gx"}, {"key": self.fresh("gx")}),
            ("sys.engine.move", {}, {"chain_id": chain_id(self.origin, 1), "engine": "cometbft"}),
        ]
        return actions[number]

    def id(self, label: str) -> str:
        """The key id of a validator, in hex."""
        return signer(label, CONSENSUS).public.key_id.hex()

    def fresh(self, member: str) -> dict[str, Any]:
        """The fields of a member's next consensus key."""
        key = signer(f"{member} next", CONSENSUS)
        proof = key.sign(registration_message(self.origin, member, CONSENSUS)).hex()
        return {"algorithm": 1, "proof": proof, "public": key.public.raw.hex(), "roles": ["system"], "use": CONSENSUS}

    def vote(self, time: int, kind: str, member: str, at: int) -> Event | None:
        if not self.proposals:
            return None
        name, of = self.proposals[-1 - at % len(self.proposals)]
        content: dict[str, Any] = {"proposal_hash": proposal_hash(of.hash).hex()}
        if kind == "sys.approve":
            key: Ed25519Signer = signer(member, COSIGN)
            signature = key.sign(approval_message(self.origin, proposal_hash(of.hash))).hex()
            content["cosign"] = {"key": key.public.key_id.hex(), "signature": signature}
        return self.event(time, kind, {"proposal": name}, **content)

    def of(self, time: int, step: tuple[str, str, int]) -> list[tuple[str, Event]]:
        what, member, number = step
        if what == "propose":
            action, refs, args = self.action(number)
            event = self.event(time, "sys.propose", refs, action=action, args=args)
            self.proposals.append((f"{member}/{event.id}", event))
            return [(member, event)]
        if what == "plain":
            return [(member, self.event(time, "test.event", {"dataset": "ga/a"}))]
        voters = MEMBERS if what == "all" else (member,)
        kind = "sys.reject" if what == "reject" else "sys.approve"
        return [(each, vote) for each in voters if (vote := self.vote(time, kind, each, number)) is not None]


def run(plan: list[tuple[str, str, int]], cuts: set[int]) -> tuple[Governed, list[tuple[str, bytes]]]:
    """The plan on a ledger whose blocks close after the events in `cuts`, and whenever time moves."""
    ledger = Governed(validators=MEMBERS)
    script, time, number = Script(ledger.origin), START_MS + STEP_MS, 0
    waiting: list[Any] = []

    def close() -> None:
        nonlocal waiting
        app = ledger.app
        while app.timers_waiting(time):
            ledger.block(ms=time - app.head.time)
        block, _ = app.prepare(waiting, time)
        waiting = []
        if block.submissions:
            ledger.block(*block.submissions, ms=time - app.head.time)

    for step in plan:
        if step[0] == "wait":
            close()
            time += step[2]
            continue
        for member, event in script.of(time, step):
            waiting.append(ledger.sign(member, event))
            if number in cuts:
                close()
            number += 1
    close()
    time += 90_000_000
    close()
    found = []
    for sealed in ledger.sealed:
        for leaf in sealed.leaves[:-1]:
            parsed = parse_leaf(leaf)
            found.append((parsed.id if isinstance(parsed, Record) else parsed.key, parsed.verdict))  # type: ignore[union-attr]
    return ledger, found


@settings(max_examples=20, deadline=None)
@example(plan=FULL, first=set(), second=set(range(40)))
@given(plan=PLANS, first=st.sets(st.integers(0, 40)), second=st.sets(st.integers(0, 40)))
def test_governance_does_not_depend_on_block_boundaries(
    plan: list[tuple[str, str, int]], first: set[int], second: set[int]
) -> None:
    """SPEC R-R04, R-G16: the same events at the same times give the same verdicts, members, keys, config, proposals."""
    (one, said), (two, says) = run(plan, first), run(plan, second)
    assert said == says
    assert one.app.head.config == two.app.head.config
    assert one.app.head.registry.members == two.app.head.registry.members
    keys = [
        {key: replace(entry, from_height=0, until_height=entry.until_height and 1) for key, entry in each.items()}
        for each in (one.app.head.registry.keys, two.app.head.registry.keys)
    ]
    assert keys[0] == keys[1]
    names = [proposal_key(name) for name, _ in said if "/" in name]
    assert set(one.store.read_objects(names)) == set(two.store.read_objects(names))


@settings(max_examples=12, deadline=None)
@example(plan=FULL, cuts={1, 3})
@given(plan=PLANS, cuts=st.sets(st.integers(0, 40)))
def test_replay_gives_the_same_state(plan: list[tuple[str, str, int]], cuts: set[int]) -> None:
    """SPEC R-B01, R-A06: a second node and the auditor, with and without rules, compute what the first one did."""
    one, _ = run(plan, cuts)
    two = Governed(validators=MEMBERS)
    for sealed in one.sealed[1:]:
        block = sealed.decision.block
        again = two.app.finalize(BlockInput(block.height, block.time, block.submissions, block.attachments))
        two.app.commit(b"")
        assert (again.root, again.header.state_root) == (sealed.root, sealed.header.state_root)
    rows: list[tuple[bytes, bytes]] = one.state()
    assert one.verify(rows=rows).findings.kept == []
    assert one.verify(replay=False, rows=rows).findings.kept == []


def test_full_plan_reaches_everything() -> None:
    """The plan that every run begins with does what it says: the laws above are not met by refusals."""
    ledger, _ = run(FULL, {1, 3})
    head = ledger.app.head
    assert head.config.epoch == 1 and head.registry.members["wj"].status == "suspended"
    assert dict(head.registry.validators())["mz"] == signer("mz next", CONSENSUS).public
    assert dict(head.registry.validators())["gx"] == signer("gx next", CONSENSUS).public
    assert parse_engine(ledger.store.read_objects([ENGINE_KEY])[ENGINE_KEY]).moves == 1
