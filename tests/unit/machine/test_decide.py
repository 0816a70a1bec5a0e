"""Deciding and sealing: order of leaves, streams, governance, quotas, and what no honest engine may order."""

from __future__ import annotations

import pytest

from ledger.adapters.memory import MemoryStore
from ledger.core.header import parse_header
from ledger.core.leaf import Record, TimerLeaf, parse_leaf
from ledger.core.mapkeys import config_key, key_key, object_key, parse_object_value, stream_key
from ledger.core.registry import parse_key_entry
from ledger.core.stream import parse_stream_value
from ledger.errors import RejectedError, RuntimeFault
from ledger.machine import decide, streams
from ledger.machine.block import BlockInput
from tests.models.accept_all import GENESIS, START_MS, AcceptAllRules, Network, event_signer

T1, T2 = "timer/A3/application/ga/1", "timer/A3/application/ga/2"


@pytest.fixture
def network() -> Network:
    return Network(MemoryStore())


def stream_of(network: Network, kind: str, name: str, refused: bool = False) -> object:
    key = stream_key(kind, name, refused)
    row = network.store.read_rows([key]).get(key)
    return None if row is None else parse_stream_value(row.value)


def test_block_zero_is_one_header_with_the_genesis(network: Network) -> None:
    """SPEC R-B03, R-B04, R-H01: leaf 0 names the genesis; members, keys and config stand in the state."""
    header = parse_header(network.sealed[0].leaves[0])
    assert (header.height, header.count, header.index) == (0, 0, 0)
    assert header.genesis == GENESIS.hash
    keys = sum(len(member.keys) for member in GENESIS.members)
    assert header.state_keys == len(GENESIS.members) + keys + 1
    assert network.store.read_rows([config_key()])


def test_header_is_the_last_leaf_and_binds_the_block(network: Network) -> None:
    """SPEC R-H02, R-H04, R-H05: counts, previous log, config in force."""
    before = network.app.head
    sealed = network.block([network.submission("ga", [network.event(), network.event()])])
    header = parse_header(sealed.leaves[-1])
    assert header.count == 2 and header.index == sealed.size - 1
    assert (header.prev_size, header.prev_root) == (before.size, before.log.root())
    assert header.config == before.config.hash
    assert isinstance(parse_leaf(sealed.leaves[0]), Record)


def test_record_joins_author_refs_and_subjects_once(network: Network) -> None:
    """SPEC R-S02: author, each ref, each data subject below its member; twice named is joined once."""
    event = network.event(refs={"dataset": ["ga/a", "ga/b"], "member": "ga"})
    network.block([network.submission("ga", [event])])
    for kind, name in (("member", "ga"), ("dataset", "ga/a"), ("dataset", "ga/b")):
        value = stream_of(network, kind, name)
        assert value is not None and value.size == 1, (kind, name)  # type: ignore[attr-defined]


def test_refused_record_joins_the_twins_only(network: Network) -> None:
    """SPEC R-S03: nobody pollutes another's dataset by being refused."""
    network.block([network.submission("gx", [network.event(refs={"dataset": "ga/a"}, refuse=True)])])
    assert stream_of(network, "dataset", "ga/a") is None
    assert stream_of(network, "dataset", "ga/a", refused=True) is not None
    assert stream_of(network, "member", "gx", refused=True) is not None


def test_due_timers_come_first_in_order(network: Network) -> None:
    """SPEC R-B02, R-T02: due timers by (due, key), then events, then the header."""
    due = network.time + 5_000
    network.block([network.submission("ga", [network.event(timers={T2: due, T1: due})])])
    sealed = network.block([network.submission("ga", [network.event(time=due)])], ms=6_000)
    leaves = [parse_leaf(leaf) for leaf in sealed.leaves[:-1]]
    assert [leaf.key for leaf in leaves if isinstance(leaf, TimerLeaf)] == [T1, T2]
    assert isinstance(leaves[2], Record)
    assert stream_of(network, "rule", "a3").size == 2  # type: ignore[attr-defined]


def test_more_due_timers_than_a_block_fires_hold_events_back(network: Network) -> None:
    """SPEC R-T04: while more are due than `timers_block`, a block with events is refused and prepare makes none."""
    due = network.time + 1_000
    many = {f"timer/A3/application/ga/{number}": due for number in range(60)}
    for part in range(0, 1_020, 60):
        timers = {f"{key}-{part}": when for key, when in many.items()}
        network.block([network.submission("ga", [network.event(timers=timers)])], ms=10)
    event = network.submission("ga", [network.event(time=due)])
    block, left_out = network.app.prepare([event], due + 1)
    assert block.submissions == () and left_out == []
    with pytest.raises(RejectedError) as caught:
        network.app.begin(BlockInput(block.height, block.time, (event,)))
    assert caught.value.code == "timers-first"
    assert len(network.block(ms=2_000).leaves) == 1_001
    assert len(network.block(ms=1).leaves) == 21


def test_last_write_of_a_block_wins_and_takes_one_blind_step(network: Network) -> None:
    """SPEC R-M06: the stored object is the last written; its blind depends on the event that wrote it."""
    first = network.event(writes={"grant/ga/1": {"n": 1}})
    second = network.event(writes={"grant/ga/1": {"n": 2}})
    network.block([network.submission("ga", [first, second])])
    key = object_key("grant/ga/1")
    blind, value = parse_object_value(network.store.read_rows([key])[key].value)
    assert value == b'{"n":2}'
    from ledger.core.mapkeys import next_blind

    assert blind == next_blind(None, second.hash)


def revoke(network: Network, member: str, key_id: str, signer: str | None = None) -> bytes:
    from ledger.core.event import new_event
    from ledger.core.ident import uuid7_at
    from ledger.core.submission import new_submission

    event = new_event(
        event_id=uuid7_at(network.time, network.random.randbytes(10)),
        kind="sys.key.revoke",
        refs={"member": member, "key": key_id},
        time_ms=network.time,
        salt=network.random.randbytes(16),
        content={},
    )
    by = signer or member
    sealed = network.block([new_submission(GENESIS.origin, by, event_signer(by), [event])])
    return sealed.decision.items[0].verdict


def test_a_member_cannot_revoke_its_last_or_anothers_key(network: Network) -> None:
    """SPEC R-K05: the last event key stays; a stranger's key and an unknown one are refused."""
    own = event_signer("gx").public.key_id.hex()
    assert b"key-last" in revoke(network, "gx", own)
    assert b"shape" in revoke(network, "gx", own, signer="ga")
    assert b"key-unknown" in revoke(network, "gx", "0" * 64)


def test_revoked_key_signs_until_its_block_and_never_after(network: Network) -> None:
    """SPEC R-K05, R-K06: the log key of ga is revoked at a height; the registry and the state agree from the next block."""
    from tests.models.accept_all import log_signer

    key_id = log_signer().public.key_id
    assert revoke(network, "ga", key_id.hex()) == b'{"outcome":"accepted"}'
    height = network.app.head.height
    registry = network.app.head.registry
    registry.signer(key_id, "ga", "log", height)
    with pytest.raises(RejectedError) as caught:
        registry.signer(key_id, "ga", "log", height + 1)
    assert caught.value.code == "key-revoked"
    row = network.store.read_rows([key_key(key_id)])[key_key(key_id)]
    assert parse_key_entry(parse_object_value(row.value)[1]).until_height == height
    assert b"key-revoked" in revoke(network, "ga", key_id.hex())


def test_unknown_governance_kinds_are_refused_by_the_ledger(network: Network) -> None:
    """A `sys.*` kind that this protocol version does not know is recorded and refused."""
    from ledger.core.event import new_event
    from ledger.core.ident import uuid7_at

    event = new_event(
        event_id=uuid7_at(START_MS, bytes(10)),
        kind="sys.param.set",
        refs={},
        time_ms=START_MS,
        salt=bytes(16),
        content={},
    )
    sealed = network.block([network.submission("ga", [event])])
    assert b"shape" in sealed.decision.items[0].verdict


def test_stream_limit_counts_across_blocks(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC R-S05: over the daily limit an event is refused, joins its author's refused stream only, and opens nothing."""
    monkeypatch.setattr(streams, "NEW_STREAMS_MEMBER_DAY_MAX", 5)
    network.block([network.submission("ga", [network.event(refs={"dataset": ["ga/1", "ga/2"]})])])
    network.block([network.submission("ga", [network.event(refs={"dataset": ["ga/3", "ga/4"]})])])
    sealed = network.block([network.submission("ga", [network.event(refs={"dataset": "ga/5"})])])
    assert b"stream-limit" in sealed.decision.items[0].verdict
    assert stream_of(network, "dataset", "ga/5", refused=True) is None
    known = network.block([network.submission("ga", [network.event(refs={"dataset": "ga/1"})])])
    assert known.decision.items[0].outcome == 1
    day = network.block([network.submission("ga", [network.event(refs={"dataset": "ga/6"})])], ms=86_400_000)
    assert day.decision.items[0].outcome == 1


def test_runtime_answers_that_do_not_fit_are_faults(network: Network) -> None:
    """A runtime that answers too little or too much is a fault, never a verdict."""
    block = BlockInput(1, network.time, (network.submission("ga", [network.event()]),))
    for outcomes in ([], [[1, None, None, b"{}", 1, False, [], [], []]]):
        network.app.begin(block)
        draft, network.app._draft = network.app._draft, None
        assert draft is not None
        with pytest.raises(RuntimeFault):
            decide.finish(draft, outcomes)


def test_a_record_too_long_for_a_leaf_is_refused_without_effect(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SPEC R-L14: the verdict is replaced, writes and extra streams are dropped."""
    monkeypatch.setattr("ledger.machine.decide.VERDICT_BYTES_MAX", 2_000)
    wide = [[f"finding{number}", "x" * 120] for number in range(20)]
    event = network.event(writes={"grant/ga/1": {"n": 1}}, streams=wide)
    sealed = network.block([network.submission("ga", [event])])
    assert b"leaf-size" in sealed.leaves[0]
    assert not network.store.read_objects(["grant/ga/1"])


def test_a_labelled_timer_joins_its_objects_stream() -> None:
    """SPEC R-S03, R-T01: a label is no part of the object's id."""
    from ledger.core.leaf import timer_streams

    assert timer_streams("timer/C2/grant/ga/0192#holder") == (("rule", "c2"), ("grant", "ga/0192"))
    assert timer_streams("timer/A3/application/ga/0192") == (("rule", "a3"), ("application", "ga/0192"))


def test_a_timer_that_an_earlier_one_cleared_does_not_fire(network: Network) -> None:
    """SPEC R-R04: no leaf for a timer cleared in this block; a runtime that just leaves a due timer out is a fault."""
    due = network.time + 1_000
    network.block([network.submission("ga", [network.event(timers={T1: due, T2: due})])], ms=10)
    verdict = b'{"outcome":"accepted"}'
    for cleared in ([[T2, None]], []):
        network.app.begin(BlockInput(network.app.head.height + 1, due))
        draft, network.app._draft = network.app._draft, None
        assert draft is not None
        outcomes = [[0, T1, due, verdict, 1, False, [], [], cleared]]
        if cleared:
            assert len(decide.finish(draft, outcomes).items) == 1
        else:
            with pytest.raises(RuntimeFault):
                decide.finish(draft, outcomes)


def test_rules_read_members_from_the_registry(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC R-R09: `member/<id>` is the registry's entry as it stood before the block; of nobody there is nothing."""
    monkeypatch.setattr(AcceptAllRules, "plan", lambda *_: ["member/ga", "member/nobody", "grant/x"])
    network.app.begin(
        BlockInput(network.app.head.height + 1, network.time, (network.submission("ga", [network.event()]),))
    )
    draft = network.app._draft
    assert draft is not None
    assert draft.call["objects"] == {"member/ga": network.app.head.registry.members["ga"].encode()}
