"""The vote that moves a ledger to CometBFT, and versions that a vote raises: what is in force, and who stops where."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.core import canonical
from ledger.core.engine import ENGINE_KEY, Engine, chain_id, parse_engine
from ledger.core.keys import CONSENSUS, COSIGN, LOG, P2P
from ledger.errors import FatalError, MalformedError, RejectedError
from ledger.limits import RULE_STEPS_MAX
from ledger.machine.block import BlockInput
from ledger.machine.enginemove import check_orders, engine_in_force
from tests.models.governed import HOUR_MS, NEW_CALENDAR, Governed
from tests.models.tiny_ledger import MEMBERS, make_genesis
from tests.unit.machine.test_governance import code
from tests.unit.machine.test_validators import refused, validating

NOTICE = 24 * HOUR_MS


def in_force(ledger: Governed) -> Engine:
    """The engine in force after the last block."""
    return engine_in_force(ledger.genesis, ledger.store.read_objects([ENGINE_KEY]).get(ENGINE_KEY))


def move_parts(ledger: Governed, moves: int = 1, **flags: Any) -> tuple[str, dict[str, Any], dict[str, Any]]:
    args = {"chain_id": chain_id(ledger.origin, moves), "engine": "cometbft", **flags}
    return "sys.engine.move", {}, args


def add_keys(ledger: Governed, member: str, *uses: str) -> None:
    """Register keys of a member by votes, each with the cosigners and their notice."""
    for use in uses:
        key, fields = ledger.new_key(member, use, "engine")
        refs = {"key": key.public.key_id.hex(), "member": member}
        ledger.change("sys.key.add", refs, {"key": fields}, cosign=True, wait_ms=NOTICE + 1)


def test_engine_of_the_genesis_is_in_force_until_a_move() -> None:
    """SPEC R-N50: without the state object the genesis says which engine orders."""
    plain, comet = Governed(), validating()
    assert in_force(plain) == Engine("sequencer", "", -1, 0)
    assert in_force(comet) == Engine("cometbft", chain_id(comet.origin, 0), -1, 0)
    check_orders("sequencer", in_force(plain), 1)
    with pytest.raises(RejectedError):
        check_orders("cometbft", in_force(plain), 1)


def test_move_is_not_proposed_under_a_scenario_clock() -> None:
    """SPEC R-N51: stepped time and CometBFT's block time do not go together: check, prepare and process refuse it."""
    ledger = Governed()
    ledger.app.genesis = make_genesis(clock="scenario")
    submission = ledger.sign("ga", ledger.propose(*move_parts(ledger)))
    block = BlockInput(ledger.app.head.height + 1, ledger.app.head.time + 1, (submission,))
    for refusing in (lambda: ledger.app.check(submission), lambda: ledger.app.process(block)):
        with pytest.raises(RejectedError) as caught:
            refusing()
        assert caught.value.code == "scenario-engine"
    _, left_out = ledger.app.prepare([submission], block.time)
    assert [error.code for _, error in left_out] == ["scenario-engine"]
    ledger.app.check(ledger.sign("ga", ledger.propose("sys.param.set", {}, {"parameters": {"skew_ms": 1}})))
    ledger.app.genesis = ledger.genesis
    ledger.app.check(submission)


def test_move_seals_the_sequencer_at_its_block() -> None:
    """SPEC R-N50, R-N51: after consensus and p2p keys are registered the vote moves; its block is the seam."""
    ledger = Governed()
    assert refused(ledger, *move_parts(ledger)) == "validator-last"
    for member in MEMBERS:
        add_keys(ledger, member, *([LOG] if member != "ga" else []), P2P, CONSENSUS)
        if member == "gx":
            assert refused(ledger, *move_parts(ledger)) == "validator-floor"
    assert refused(ledger, *move_parts(ledger, 2)) == "chain-id"
    assert refused(ledger, "sys.engine.move", {}, {"chain_id": "other", "engine": "cometbft"}) == "chain-id"
    for broken in ({"engine": "cometbft"}, {"chain_id": "x", "engine": "raft"}, {"chain_id": 1, "engine": "cometbft"}):
        assert refused(ledger, "sys.engine.move", {}, broken) == "shape"
    sealed = ledger.change(*move_parts(ledger), cosign=True, wait_ms=NOTICE + 1)
    moved = in_force(ledger)
    assert moved == Engine("cometbft", chain_id(ledger.origin, 1), sealed.height, 1)
    check_orders("sequencer", moved, sealed.height)
    check_orders("cometbft", moved, sealed.height + 1, moved.chain_id)
    for engine, chain in (("sequencer", None), ("cometbft", chain_id(ledger.origin, 0))):
        with pytest.raises(RejectedError) as caught:
            check_orders(engine, moved, sealed.height + 1, chain)
        assert caught.value.code == "engine-moved" and caught.value.evidence["seam"] == sealed.height
    assert refused(ledger, *move_parts(ledger)) == "in-force"
    assert refused(ledger, *move_parts(ledger, 3)) == "chain-id"
    report = ledger.verify()
    assert report.findings.kept == [] and report.counts.replayed_blocks == len(ledger.blocks)
    assert ledger.verify(replay=False).findings.kept == []


def test_small_move_needs_its_word_and_every_key() -> None:
    """SPEC R-N51: with `below_four` one validator may go on; one without a p2p key could never be reached."""
    ledger = Governed()
    add_keys(ledger, "ga", P2P, CONSENSUS)
    parts = move_parts(ledger, below_four=True)
    assert refused(ledger, *move_parts(ledger)) == "validator-floor"
    ledger.change(*parts, cosign=True, wait_ms=NOTICE + 1)
    assert in_force(ledger).name == "cometbft"
    ledger = validating()
    own = {
        "key": next(k.public.key_id.hex() for k in ledger.app.head.registry.valid_keys("wj", COSIGN)),
        "member": "wj",
    }
    assert code(ledger.record("wj", ledger.sys("sys.key.revoke", own))) == ""
    assert refused(ledger, *move_parts(ledger)) == "validator-keys"


def test_move_waits_for_cosigners() -> None:
    """SPEC R-G13: an ordinary majority moves nothing."""
    ledger = validating()
    event = ledger.propose(*move_parts(ledger))
    ledger.record("ga", event)
    for voter in MEMBERS:
        ledger.record(voter, ledger.approve(f"ga/{event.id}", event))
    assert ledger.proposal(f"ga/{event.id}").status == "open"
    ledger.block(ms=2 * NOTICE)
    assert in_force(ledger).moves == 0


def test_engine_object_is_closed() -> None:
    """SPEC R-N50: unknown engines, fields and numbers out of range are no engine."""
    good = Engine("cometbft", "chain", 7, 1)
    assert parse_engine(good.encode()) == good
    fields = canonical.parse(good.encode())
    for change in ({"engine": "raft"}, {"height": -1}, {"moves": 0}, {"moves": 100}, {"moves": True}, {"more": 1}):
        with pytest.raises(MalformedError) as caught:
            parse_engine(canonical.encode({**fields, **change}))
        assert caught.value.code == "engine"


# --- versions ----------------------------------------------------------------------------------------------------------


def test_node_stops_before_the_first_block_of_an_unknown_protocol() -> None:
    """SPEC R-G25: the vote passes whatever this software knows; the block after its effect is not decided here."""
    ledger = Governed()
    assert refused(ledger, "sys.proto.raise", {}, {"version": 1}) == "in-force"
    assert refused(ledger, "sys.proto.raise", {}, {"version": 3}) == "version"
    assert refused(ledger, "sys.proto.raise", {}, {"version": True}) == "shape"
    ledger.change("sys.proto.raise", {}, {"version": 2}, cosign=True, wait_ms=NOTICE + 1)
    head = ledger.app.head
    assert head.config.protocol_version == 2
    with pytest.raises(FatalError) as caught:
        ledger.app.finalize(BlockInput(head.height + 1, head.time + 1))
    assert caught.value.code == "protocol-version" and ledger.app.idle
    assert ledger.app.head == head
    for replay in (True, False):
        assert ledger.verify(replay=replay).findings.kept == []


def test_node_stops_before_rules_in_a_runtime_that_it_lacks() -> None:
    """SPEC R-G25: another language version is another runtime; going back is refused, and so is another program."""
    ledger = Governed()
    program = ledger.app.head.config.program.hex()
    args = {"language": 1, "program": program, "steps": RULE_STEPS_MAX}
    assert refused(ledger, "sys.runtime.set", {}, args) == "in-force"
    for broken in ({"language": 0}, {"steps": 0}, {"steps": True}, {"program": "x"}):
        assert refused(ledger, "sys.runtime.set", {}, {**args, **broken}) == "shape"
    other = {**args, "program": "22" * 32, "steps": RULE_STEPS_MAX + 1}
    assert refused(ledger, "sys.runtime.set", {}, other) == "program"
    ledger.change("sys.runtime.set", {}, {**args, "language": 2}, cosign=True, wait_ms=NOTICE + 1)
    head = ledger.app.head
    assert head.config.language == 2 and head.config.steps == RULE_STEPS_MAX
    with pytest.raises(FatalError) as caught:
        ledger.app.finalize(BlockInput(head.height + 1, head.time + 1))
    assert caught.value.code == "rule-runtime"
    assert ledger.verify().findings.kept == []


@pytest.mark.parametrize(("action", "gap"), [("sys.proto.raise", "protocol-unknown"), ("sys.runtime.set", "")])
def test_older_auditor_says_what_it_cannot_follow(action: str, gap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC R-G25: blocks of a newer protocol or runtime give gaps and no finding: nobody is accused by old software."""
    from ledger.machine import supported

    ledger = Governed()
    config = ledger.app.head.config
    args: dict[str, Any] = {"version": 2}
    if action == "sys.runtime.set":
        args = {"language": 2, "program": config.program.hex(), "steps": RULE_STEPS_MAX}
    with monkeypatch.context() as newer:
        newer.setattr(supported, "PROTOCOL_VERSION", 2)
        if action == "sys.runtime.set":
            # Software of that version runs what comes after the vote; what came before it replays from the log.
            newer.setattr(supported, "check_supported", lambda config: None)
            newer.setattr("ledger.machine.decide.check_supported", lambda config: None)
        ledger.change(action, {}, args, cosign=True, wait_ms=NOTICE + 1)
        ledger.record("ga", ledger.event())
    for replay in (True, False):
        report = ledger.verify(replay=replay)
        assert report.findings.kept == []
        gaps = {each.code for each in report.gaps}
        assert ("rules-unavailable" in gaps) == replay and (not gap or gap in gaps)


def test_runtime_change_is_bound_to_the_rules_it_was_compiled_with() -> None:
    """SPEC R-G17: the program of another rulebook or calendar does not take effect."""
    ledger = Governed()
    event = ledger.propose("sys.runtime.set", {}, {"language": 2, "program": "11" * 32, "steps": RULE_STEPS_MAX})
    ledger.record("ga", event)
    name = f"ga/{event.id}"
    calendar, attached = ledger.bundle_args(NEW_CALENDAR)
    ledger.change("sys.calendar.publish", {}, calendar, attachments=(attached,))
    for voter in MEMBERS[:3]:
        ledger.record(voter, ledger.approve(name, event, voter))
    ledger.block(ms=NOTICE + 1)
    assert (ledger.proposal(name).status, ledger.proposal(name).reason) == ("failed", "stale")
    assert ledger.app.head.config.language == 1 and ledger.verify().findings.kept == []
