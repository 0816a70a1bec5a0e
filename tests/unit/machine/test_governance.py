"""Governance on the ledger: proposals, votes, effect, and everything that must not pass."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.core.keys import COSIGN, EVENT, HTTP, LOG
from ledger.core.leaf import TimerLeaf, parse_leaf
from ledger.core.mapkeys import key_key, parse_object_value
from ledger.core.proposal import proposal_hash, timer_key
from ledger.core.registry import parse_key_entry
from ledger.errors import MalformedError, RejectedError
from ledger.machine.block import BlockInput, Item
from tests.models.governed import HOUR_MS, NEW_CALENDAR, NEW_RULEBOOK, Governed
from tests.models.tiny_ledger import MEMBERS, signer


def code(item: Item) -> str:
    """The reason code of a refused item, "" for an accepted one."""
    from ledger.core.canonical import parse

    verdict = parse(item.verdict)
    return str(verdict["reasons"][0][1]) if verdict["outcome"] == "refused" else ""


def propose(ledger: Governed, by: str, *parts: Any, **content: Any) -> tuple[str, Any]:
    """Record an accepted proposal; its name and event."""
    event = ledger.propose(*parts, **content)
    assert code(ledger.record(by, event)) == ""
    return f"{by}/{event.id}", event


def key_parts(ledger: Governed, member: str = "wj", use: str = EVENT, label: str = "new") -> tuple[Any, ...]:
    """Key, refs and args of a `sys.key.add`."""
    key, fields = ledger.new_key(member, use, label)
    return key, {"key": key.public.key_id.hex(), "member": member}, {"key": fields}


# --- the thin slice: a key is added ------------------------------------------------------------------------------------


def test_key_is_added_by_more_than_two_thirds() -> None:
    """SPEC R-G10 to R-G16, R-G18: three of four approve, a timer fires later, and from the next block the key signs."""
    ledger = Governed()
    key, refs, args = key_parts(ledger)
    name, event = propose(ledger, "ga", "sys.key.add", refs, args)
    for voter in ("ga", "gx"):
        item = ledger.record(voter, ledger.approve(name, event))
        assert item.verdict == b'{"outcome":"accepted"}' and item.timers == []
    last = ledger.record("mz", ledger.approve(name, event))
    assert last.timers == [(timer_key(name), ledger.app.head.time + 1)]
    assert ledger.proposal(name).status == "passed"
    with pytest.raises(RejectedError):
        ledger.app.check(ledger.sign("wj", ledger.event(), key))
    sealed = ledger.block(ms=1)
    leaf = parse_leaf(sealed.leaves[0])
    assert isinstance(leaf, TimerLeaf) and leaf.key == timer_key(name)
    entry = ledger.app.head.registry.keys[key.public.key_id]
    assert (entry.from_height, entry.member, entry.use) == (sealed.height + 1, "wj", EVENT)
    row = ledger.store.read_rows([key_key(key.public.key_id)])[key_key(key.public.key_id)]
    assert parse_key_entry(parse_object_value(row.value)[1]) == entry
    proposal = ledger.proposal(name)
    assert (proposal.status, proposal.height) == ("enacted", sealed.height + 1)
    assert code(ledger.record("wj", ledger.event(), key=key)) == ""
    report = ledger.verify()
    assert report.findings.kept == [] and report.counts.replayed_blocks == len(ledger.blocks)


def test_authorities_vote_where_there_are_some() -> None:
    """SPEC R-G13: with authorities only their votes count, and one suffices where the genesis names one."""
    ledger = Governed(authorities=("gx",))
    _, refs, args = key_parts(ledger)
    assert code(ledger.record("ga", ledger.propose("sys.key.add", refs, args))) == "author"
    name, event = propose(ledger, "wj", "sys.key.add", refs, args)
    assert code(ledger.record("ga", ledger.approve(name, event))) == "author"
    assert ledger.record("gx", ledger.approve(name, event)).timers
    assert ledger.verify().findings.kept == []


# --- what must not pass ------------------------------------------------------------------------------------------------


def test_votes_that_do_not_count() -> None:
    """SPEC R-G12, R-G14: another hash, twice, after the end, after the decision, by a stranger to the vote."""
    ledger = Governed()
    _, refs, args = key_parts(ledger)
    name, event = propose(ledger, "ga", "sys.key.add", refs, args)
    other_name, other = propose(ledger, "ga", "sys.key.add", refs, args)
    assert code(ledger.record("ga", ledger.approve(name, other))) == "proposal-hash"
    assert code(ledger.record("ga", ledger.approve("ga/none", event))) == "proposal-unknown"
    assert code(ledger.record("ga", ledger.approve(name, event))) == ""
    assert code(ledger.record("ga", ledger.approve(name, event))) == "vote-twice"
    assert code(ledger.record("gx", ledger.reject(name, event))) == ""
    assert code(ledger.record("gx", ledger.approve(name, event))) == "vote-twice"
    for voter in ("mz", "wj"):
        assert code(ledger.record(voter, ledger.approve(name, event))) == ""
    assert ledger.proposal(name).status == "passed"
    assert code(ledger.record("gx", ledger.reject(name, event), ms=0)) == "proposal-closed"
    assert ledger.proposal(other_name).status == "open"
    ledger.block()
    assert code(ledger.record("gx", ledger.approve(other_name, other), ms=31 * 24 * HOUR_MS)) == "proposal-late"
    assert ledger.verify().findings.kept == []


def test_two_against_of_four_reject() -> None:
    """SPEC R-G14: once more than two thirds cannot be reached any more the proposal is rejected."""
    ledger = Governed()
    _, refs, args = key_parts(ledger)
    name, event = propose(ledger, "ga", "sys.key.add", refs, args)
    ledger.record("gx", ledger.reject(name, event))
    assert ledger.proposal(name).status == "open"
    ledger.record("mz", ledger.reject(name, event))
    assert ledger.proposal(name).status == "rejected"
    assert code(ledger.record("wj", ledger.approve(name, event))) == "proposal-closed"


def test_proposer_withdraws() -> None:
    """SPEC R-G14: who proposed may take it back while it is open."""
    ledger = Governed()
    _, refs, args = key_parts(ledger)
    name, event = propose(ledger, "ga", "sys.key.add", refs, args)
    ledger.record("ga", ledger.reject(name, event))
    assert ledger.proposal(name).status == "withdrawn"


def test_below_quorum_nothing_happens() -> None:
    """SPEC R-G13: two thirds exactly are not more than two thirds."""
    ledger = Governed(authorities=("ga", "gx", "mz"))
    key, refs, args = key_parts(ledger)
    name, event = propose(ledger, "ga", "sys.key.add", refs, args)
    for voter in ("ga", "gx"):
        ledger.record(voter, ledger.approve(name, event))
    ledger.block(ms=10 * 24 * HOUR_MS)
    assert ledger.proposal(name).status == "open" and key.public.key_id not in ledger.app.head.registry.keys


def test_never_retroactive() -> None:
    """SPEC R-G15: an effect before now, or before its notice is over, is refused; a late vote does not move it."""
    ledger = Governed()
    now = ledger.app.head.time
    _, refs, args = key_parts(ledger)
    assert code(ledger.record("ga", ledger.propose("sys.key.add", refs, args, effective=now))) == "retroactive"
    wanted = {"parameters": {"timers_block": 500}}
    soon = ledger.app.head.time + HOUR_MS
    assert code(ledger.record("ga", ledger.propose("sys.param.set", {}, wanted, effective=soon))) == "retroactive"
    assert code(ledger.record("ga", ledger.propose("sys.key.add", refs, args, until=now))) == "retroactive"
    name, event = propose(ledger, "ga", "sys.key.add", refs, args, effective=ledger.app.head.time + 10_000)
    assert code(ledger.record("ga", ledger.approve(name, event), ms=8_999)) == ""
    assert code(ledger.record("gx", ledger.approve(name, event), ms=1)) == "proposal-late"


def test_effect_waits_for_its_moment() -> None:
    """SPEC R-G15: a passed proposal takes effect at the moment that it asked for, not before."""
    ledger = Governed()
    key, refs, args = key_parts(ledger)
    when = ledger.app.head.time + HOUR_MS
    name, event = propose(ledger, "ga", "sys.key.add", refs, args, effective=when)
    for voter in MEMBERS[:3]:
        ledger.record(voter, ledger.approve(name, event))
    ledger.block(ms=HOUR_MS - 4_000 - 1)
    assert ledger.proposal(name).status == "passed" and ledger.app.head.time == when - 1
    ledger.block(ms=1)
    assert key.public.key_id in ledger.app.head.registry.keys


def test_key_that_proves_nothing_or_stands_already() -> None:
    """SPEC R-K03, R-K04: another's proof, a key twice, a key id that is not its own, an unknown use are refused."""
    ledger = Governed()
    _, refs, args = key_parts(ledger)
    stolen = {"key": {**args["key"], "proof": "00" * 64}}
    assert code(ledger.record("ga", ledger.propose("sys.key.add", refs, stolen))) == "key-proof"
    other = {**refs, "member": "gx"}
    assert code(ledger.record("ga", ledger.propose("sys.key.add", other, args))) == "key-proof"
    known = signer("gx", "second").public
    again = {"key": {**args["key"], "public": known.raw.hex()}}
    taken = {"key": known.key_id.hex(), "member": "wj"}
    assert code(ledger.record("ga", ledger.propose("sys.key.add", taken, again))) == "key-twice"
    assert code(ledger.record("ga", ledger.propose("sys.key.add", {**refs, "key": "00" * 32}, args))) == "shape"
    assert code(ledger.record("ga", ledger.propose("sys.key.add", {**refs, "member": "xx"}, args))) == "member-unknown"
    wrong = {"key": {**args["key"], "use": "vote"}}
    assert code(ledger.record("ga", ledger.propose("sys.key.add", refs, wrong))) == "shape"
    assert ledger.verify().findings.kept == []


@pytest.mark.parametrize(
    ("action", "refs", "args"),
    [
        ("sys.nothing", {}, {}),
        ("sys.member.suspend", {}, {}),
        ("sys.member.suspend", {"member": "wj"}, {"why": "x"}),
        ("sys.member.suspend", {"member": ["wj"]}, {}),
        ("sys.param.set", {}, {"parameters": {"unknown": 1}}),
        ("sys.param.set", {}, {"parameters": {"timers_block": 0}}),
        ("sys.param.set", {}, {"parameters": {"timers_block": True}}),
        ("sys.param.set", {}, {"parameters": {}}),
        ("sys.role.set", {"member": "wj"}, {"roles": ["b", "a"]}),
        ("sys.role.set", {"member": "wj"}, {"roles": "a"}),
        ("sys.set.change", {"member": "ga"}, {"cosigners": []}),
        ("sys.set.change", {"member": "ga"}, {"cosigners": [["gx"]]}),
        ("sys.rulebook.publish", {}, {"bundle": "x", "language": 1, "program": "y"}),
        ("sys.key.rotate", {"key": ["00" * 32], "member": "ga"}, {"key": {}}),
    ],
)
def test_shape_of_proposals(action: str, refs: dict[str, Any], args: dict[str, Any]) -> None:
    """SPEC R-G11, R-G24: what is not exactly what the action takes is refused, and nothing raises."""
    ledger = Governed()
    assert code(ledger.record("ga", ledger.propose(action, refs, args))) == "shape"


def test_shape_of_votes_and_heads() -> None:
    """SPEC R-G11, R-G14: unknown fields, an intent and missing refs are refused."""
    ledger = Governed()
    _, refs, args = key_parts(ledger)
    _, event = propose(ledger, "ga", "sys.key.add", refs, args)
    good = proposal_hash(event.hash).hex()
    for kind, names, content in (
        ("sys.approve", {}, {"proposal_hash": good}),
        ("sys.approve", {"proposal": ["a", "b"]}, {"proposal_hash": good}),
        ("sys.approve", {"proposal": f"ga/{event.id}"}, {"proposal_hash": good, "why": "x"}),
        ("sys.approve", {"proposal": f"ga/{event.id}"}, {"proposal_hash": 1}),
        ("sys.approve", {"proposal": f"ga/{event.id}"}, {"proposal_hash": good, "cosign": 1}),
        ("sys.propose", refs, {"action": 1, "args": {}}),
        ("sys.propose", refs, {"action": "sys.key.add", "args": []}),
        ("sys.propose", refs, {"action": "sys.key.add", "args": args, "until": "soon"}),
        ("sys.propose", refs, {"action": "sys.key.add", "args": args, "reason": 7}),
        ("sys.engine.move", {}, {}),
    ):
        assert code(ledger.record("ga", ledger.sys(kind, names, **content))) == "shape"


# --- rulebook and calendar ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["sys.rulebook.publish", "sys.rulebook.amend", "sys.calendar.publish"])
def test_bundle_takes_effect(action: str) -> None:
    """SPEC R-G19: the bundle travels with its proposal, is kept, and the config names it from its effect on."""
    ledger = Governed()
    files = NEW_CALENDAR if action == "sys.calendar.publish" else NEW_RULEBOOK
    args, attachment = ledger.bundle_args(files)
    sealed = ledger.change(action, {}, args, attachments=(attachment,))
    config = ledger.app.head.config
    assert args["bundle"] in (config.rulebook.hex(), config.calendar.hex())
    assert config.program.hex() == args["program"]
    assert ledger.store.bundle(config.calendar if files is NEW_CALENDAR else config.rulebook) == attachment
    assert sealed.header.config == ledger.sealed[0].header.config
    ledger.record("ga", ledger.event())
    report = ledger.verify()
    assert report.findings.kept == [] and report.counts.replayed_blocks == len(ledger.blocks)
    assert ledger.verify(replay=False).findings.kept == []


def test_bundle_that_is_not_what_was_said() -> None:
    """SPEC R-G19: a bundle that does not compile, another program, another language, no bundle, and a stranger's."""
    ledger = Governed()
    args, attachment = ledger.bundle_args(NEW_RULEBOOK)
    broken, useless = ledger.bundle_args({"broken": b"x"})
    for changed, attached, expected in (
        ({**args, "program": "00" * 32}, attachment, "program"),
        ({**args, "language": 2}, attachment, "program"),
        (broken, useless, "bundle"),
    ):
        event = ledger.propose("sys.rulebook.publish", {}, changed)
        assert code(ledger.record("ga", event, attachments=(attached,))) == expected
    event = ledger.propose("sys.rulebook.publish", {}, args)
    for attachments in ((), (useless,), (attachment, useless), (attachment, attachment), (b"noise",)):
        with pytest.raises(RejectedError) as caught:
            ledger.block(ledger.sign("ga", event), attachments=attachments)
        assert caught.value.code == "attachments"
    with pytest.raises(RejectedError):
        ledger.block(attachments=(attachment,))


def test_rulebook_that_was_voted_on_under_another_calendar_fails() -> None:
    """SPEC R-G17: the program was compiled with the calendar of then; under another one the change fails, unchanged."""
    ledger = Governed()
    args, attachment = ledger.bundle_args(NEW_RULEBOOK)
    later = ledger.app.head.time + HOUR_MS
    event = ledger.propose("sys.rulebook.amend", {}, args, effective=later)
    ledger.record("ga", event, attachments=(attachment,))
    name = f"ga/{event.id}"
    for voter in MEMBERS[:3]:
        ledger.record(voter, ledger.approve(name, event))
    calendar, attached = ledger.bundle_args(NEW_CALENDAR)
    ledger.change("sys.calendar.publish", {}, calendar, attachments=(attached,))
    before = ledger.app.head.config
    item = ledger.block(ms=HOUR_MS).decision.items[-1]
    assert code(item) == "stale" and item.timer_key == timer_key(name)
    assert ledger.app.head.config == before
    assert (ledger.proposal(name).status, ledger.proposal(name).reason) == ("failed", "stale")
    assert ledger.verify().findings.kept == [] and ledger.verify(replay=False).findings.kept == []


@pytest.mark.parametrize(
    ("action", "named", "second", "third"),
    [
        ("sys.rulebook.publish", "rulebook", NEW_RULEBOOK, {"rules/third.py": b"# a third"}),
        ("sys.calendar.publish", "calendar", NEW_CALENDAR, {"2028.json": b"{}"}),
    ],
)
def test_retired_rulebook_never_comes_back(
    action: str, named: str, second: dict[str, bytes], third: dict[str, bytes]
) -> None:
    """SPEC R-G11, R-G22: what is in force, rulebook or calendar, cannot be retired; what was is not published again, or
    retired twice."""
    ledger = Governed()
    gone = {"bundle": getattr(ledger.app.head.config, named).hex()}
    assert code(ledger.record("ga", ledger.propose("sys.rulebook.retire", {}, gone))) == "in-force"
    args, attachment = ledger.bundle_args(second)
    ledger.change(action, {}, args, attachments=(attachment,))
    ledger.change("sys.rulebook.retire", {}, gone)
    assert code(ledger.record("ga", ledger.propose("sys.rulebook.retire", {}, gone))) == "retired"
    other, attached = ledger.bundle_args(third)
    event = ledger.propose(action, {}, other, effective=ledger.app.head.time + HOUR_MS)
    ledger.record("ga", event, attachments=(attached,))
    for voter in MEMBERS[:3]:
        ledger.record(voter, ledger.approve(f"ga/{event.id}", event))
    ledger.change("sys.rulebook.retire", {}, {"bundle": other["bundle"]})
    assert code(ledger.block(ms=HOUR_MS).decision.items[0]) == "retired"
    assert code(ledger.record("ga", ledger.propose(action, {}, other), attachments=(attached,))) == "retired"
    assert ledger.app.head.config.program.hex() == args["program"]
    assert ledger.verify().findings.kept == [] and ledger.verify(replay=False).findings.kept == []


def test_bundles_wait_for_their_proposal() -> None:
    """SPEC R-G19, R-A03: `prepare` puts the waiting bundle into the block, or leaves the proposal out with a reason."""
    ledger = Governed()
    args, attachment = ledger.bundle_args(NEW_RULEBOOK)
    submission = ledger.sign("ga", ledger.propose("sys.rulebook.publish", {}, args))
    block, left_out = ledger.app.prepare([submission], ledger.app.head.time)
    assert [error.code for _, error in left_out] == ["bundle-missing"] and block.attachments == ()
    ledger.app.offer_bundle(attachment)
    block, left_out = ledger.app.prepare([submission], ledger.app.head.time)
    assert left_out == [] and block.attachments == (attachment,)
    ledger.app.process(block)
    ledger.app.finalize(block)
    ledger.app.commit(b"")
    _, left_out = ledger.app.prepare([submission], ledger.app.head.time)
    assert [error.code for _, error in left_out] == ["bundle-missing"]
    with pytest.raises(MalformedError):
        ledger.app.offer_bundle(b"noise")


# --- the block of an effect --------------------------------------------------------------------------------------------


def test_block_of_an_effect_holds_no_events() -> None:
    """SPEC R-G16: while a change is due no event goes before it, so that whoever is judged after it lives under it."""
    ledger = Governed()
    _, refs, args = key_parts(ledger)
    name, event = propose(ledger, "ga", "sys.key.add", refs, args)
    for voter in MEMBERS[:3]:
        ledger.record(voter, ledger.approve(name, event))
    time = ledger.app.head.time + 1
    assert ledger.app.timers_waiting(time) and not ledger.app.timers_waiting(time - 1)
    submission = ledger.sign("ga", ledger.event())
    with pytest.raises(RejectedError) as caught:
        ledger.app.process(BlockInput(ledger.app.head.height + 1, time, (submission,)))
    assert caught.value.code == "timers-first"
    assert ledger.app.prepare([submission], time)[0].submissions == ()


def test_effect_is_the_last_timer_of_its_block() -> None:
    """SPEC R-G16: earlier deadlines fire before it in the same block, later ones in the next."""
    ledger = Governed()
    _, refs, args = key_parts(ledger)
    when = ledger.app.head.time + HOUR_MS
    timers = {"timer/A3/thing/early": when - 1, "timer/A3/thing/late": when + 1}
    ledger.record("ga", ledger.event(timers=timers))
    name, event = propose(ledger, "ga", "sys.key.add", refs, args, effective=when)
    for voter in MEMBERS[:3]:
        ledger.record(voter, ledger.approve(name, event))
    first, second = ledger.block(ms=HOUR_MS), ledger.block(ms=1)
    assert [item.timer_key for item in first.decision.items] == ["timer/A3/thing/early", timer_key(name)]
    assert [item.timer_key for item in second.decision.items] == ["timer/A3/thing/late"]
    assert ledger.verify().findings.kept == []


def test_change_that_became_impossible_fails_without_effect() -> None:
    """SPEC R-G17: two proposals add one key; the second one finds it there and changes nothing."""
    ledger = Governed()
    _, refs, args = key_parts(ledger)
    pairs = [propose(ledger, "ga", "sys.key.add", refs, args) for _ in range(2)]
    for name, event in pairs:
        for voter in MEMBERS[:3]:
            ledger.record(voter, ledger.approve(name, event), ms=0)
    ledger.block(ms=1)
    registry = ledger.app.head.registry
    assert code(ledger.block(ms=1).decision.items[0]) == "key-twice"
    assert ledger.app.head.registry == registry
    assert ledger.verify().findings.kept == [] and ledger.verify(replay=False).findings.kept == []


def test_use_of_a_new_key_is_the_one_it_proved() -> None:
    """SPEC R-K03: keys for HTTP, cosigning and ordering are added the same way, each for its use only."""
    ledger = Governed()
    for use in (HTTP, COSIGN, LOG):
        key, refs, args = key_parts(ledger, "wj", use, "extra")
        ledger.change("sys.key.add", refs, args)
        assert ledger.app.head.registry.keys[key.public.key_id].use == use
    assert len(ledger.app.head.registry.log_keys()) == 2
