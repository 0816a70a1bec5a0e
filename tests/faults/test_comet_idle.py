"""Four real validators on which nobody records for a while: a deadline passes, the ledger is signed again, and a fifth node
joins by state sync.

One network serves the whole file; its rulebook knows timers of seconds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import dropwhile, pairwise
from pathlib import Path
from statistics import median

import pytest

from ledger.adapters.home.keyfile import read_key
from ledger.adapters.home.nodefile import SETTINGS, event_key_file
from ledger.adapters.home.statesyncfile import STATE_SYNC
from ledger.core import canonical
from ledger.core.checkpoint import app_hash
from ledger.core.event import new_event
from ledger.core.hashing import Digest
from ledger.core.ident import uuid7_at
from ledger.core.keys import COSIGN, LOG
from ledger.core.leaf import TimerLeaf, parse_leaf
from ledger.core.quorum import CertifiedCheckpoint, verify_certificate
from ledger.core.submission import new_submission
from ledger.limits import HEARTBEAT_MS
from scripts.bench.workload import Workload
from tests.faults.test_comet_members import FOUNDERS, NEWCOMER, Members, founded
from tests.faults.test_state_sync import admit, logged, same_snapshots
from tests.models.comet_network import CometNetwork, Validator, root_at, until
from tests.models.comet_rpc import earliest, newest, signed_headers
from tests.unit.rules.books import contract, rule, tiny_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SOON = """
def on_thing_do(event, state, env):
    return set_timer('R1', on='thing', due=env.now + event.body['n'])


def on_timer_R1(timer, state, env):
    return finding('LAW/2', about=state['thing']['owner'], on='thing')
"""
DUE_MS = 6_000  # some of CometBFT's empty blocks, also on a machine with other work to do
LATE_MS = 5_000  # between empty blocks, so that a timer fires no later than that (see `comethome`)
EMPTY_AFTER = 2  # empty blocks that are looked at after the timer's
BEAT_MS = 12_000  # in this file, for the minute that is otherwise allowed between two signatures
BEATS = 2
SNAPSHOTS = "[comet]\nsnapshots_every = 4\n"


@pytest.fixture(scope="module")
def members(cometbft: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Members]:
    """Four validators under a rulebook with timers of seconds; they take snapshots, and sign an idle ledger often."""
    bundles = tiny_files(rule(SOON)), contract()[1]
    found = founded(tmp_path_factory.mktemp("idle") / "net", "idle.local", cometbft, bundles)
    try:
        for member in FOUNDERS:
            settings = found.top / member / SETTINGS
            settings.write_text(settings.read_text("utf-8").replace("[comet]\n", SNAPSHOTS), "utf-8")
            found.nodes[member] = Validator(found.top / member, cometbft)
            found.nodes[member].options = (f"--heartbeat-ms={BEAT_MS}",)
            found.nodes[member].start()
        for node in found.nodes.values():
            node.wait_listening()
        for node in found.nodes.values():
            node.wait_ready()
        yield found
    finally:
        found.stop()


@pytest.fixture
def network(members: Members) -> CometNetwork:
    """All nodes that run, as `comet_network` looks at them."""
    return CometNetwork(members.made, list(members.nodes.values()), Workload(members.origin, {}))


def record(network: CometNetwork, kind: str, refs: Mapping[str, str], **content: object) -> str:
    """Have the first node's member record one event, which is accepted; the event's name."""
    node, when = network.nodes[0], time.time_ns() // 1_000_000
    event = new_event(
        event_id=uuid7_at(when, os.urandom(10)), kind=kind, refs=refs, time_ms=when, salt=bytes(16), content=content
    )
    signer = read_key(node.folder / event_key_file(node.id))
    answer = network.record(new_submission(network.made.genesis.origin, node.id, signer, [event]), node)
    assert [each.outcome for each in answer.events] == ["accepted"]
    return f"{node.id}/{event.id}"


@dataclass(frozen=True, slots=True)
class Block:
    """What one of CometBFT's headers says: its time, unix ms, and the app hash after the block before it."""

    height: int
    time: int
    app_hash: bytes


def chain(node: Validator, begin: int) -> list[Block]:
    """CometBFT's blocks from `begin` on."""
    headers = [each["header"] for each in signed_headers(node.home, begin)]
    return [Block(int(each["height"]), milliseconds(each["time"]), bytes.fromhex(each["app_hash"])) for each in headers]


def milliseconds(text: str) -> int:
    """Unix ms of a time as CometBFT writes it, with up to nine digits of a second, rounded down."""
    return (datetime.fromisoformat(text) - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)


def state_hash(node: Validator) -> tuple[int, int, Digest]:
    """(height, size, app hash) of a node's ledger."""
    with node.snapshot() as snap:
        return snap.head_height, snap.head_size, app_hash(snap.head_size, root_at(snap, snap.head_size))


def test_a_timer_falls_due_while_nobody_records(network: CometNetwork) -> None:
    """SPEC R-N10, R-T02: it fires in the first of CometBFT's empty blocks whose time is not before its due, alike on every
    node; the empty blocks before and after make none of the ledger's and leave its app hash alone."""
    nodes = network.nodes
    thing = record(network, "thing.make", {})
    network.await_level()
    height = state_hash(nodes[0])[0] + 1  # of the block that sets the timer: nobody else records
    begin = max(newest(node.home) for node in nodes) + 1
    record(network, "thing.do", {"thing": thing}, n=DUE_MS)
    until(lambda: all(node.status()["height"] > height for node in nodes), "the timer fires on every node")
    end = max(newest(node.home) for node in nodes) + EMPTY_AFTER
    until(lambda: all(newest(node.home) >= end for node in nodes), "empty blocks go on")

    network.await_level()
    with nodes[0].snapshot() as snap:
        size = snap.block(height + 1).first_seq
        before = app_hash(size, root_at(snap, size))
    leaves = []
    for node in nodes:
        with node.snapshot() as snap:
            assert (snap.head_height, snap.head_size) == (height + 1, size + 2)  # the timer's leaf and the header's
            leaves.append((snap.block(height + 1).time, snap.block_leaves(height + 1)))
    assert all(each == leaves[0] for each in leaves)
    made_ms, (leaf, _) = leaves[0]
    timer = parse_leaf(leaf)
    assert isinstance(timer, TimerLeaf)
    assert (timer.key, timer.height) == (f"timer/R1/thing/{thing}", height + 1)
    (finding,) = canonical.parse(timer.verdict, bytes_max=len(timer.verdict))["findings"]
    assert (finding["code"], finding["due"]) == ("LAW/2", timer.due)

    after = state_hash(nodes[0])[2]
    for node in nodes:
        # The first of them whose header tells what the set timer left behind, and all after it.
        blocks = list(dropwhile(lambda each: each.app_hash != before, chain(node, begin)))
        fired = next(each for each in blocks if each.time >= timer.due)
        assert blocks[0].height < fired.height < blocks[-1].height - 1, (timer, blocks)
        assert fired.time == made_ms
        assert median(later.time - earlier.time for earlier, later in pairwise(blocks)) <= LATE_MS
        assert [each.app_hash for each in blocks] == [
            before if each.height <= fired.height else after for each in blocks
        ]
    network.check(audited=nodes[:1])


def certificate(network: CometNetwork, node: Validator) -> CertifiedCheckpoint:
    """The latest certificate that a node shows, verified under the keys of the genesis."""
    genesis = network.made.genesis
    logs = [key.public for _, key in genesis.keys(LOG)]
    cosigners = [(name, key.public) for name, key in genesis.keys(COSIGN)]
    return verify_certificate(node.client.get_bytes(["checkpoint"]), genesis.origin, logs, cosigners)


def signed_s(found: CertifiedCheckpoint) -> dict[str, int]:
    """When each cosigner says that it signed, Unix seconds."""
    return {name: when for name, _, when in found.lines}


def test_an_idle_ledger_is_signed_again(network: CometNetwork) -> None:
    """SPEC R-Q12: each of the four signs the same size and root again within the time that is allowed, each node shows all
    four signatures with their later times, and the certificate is fresher while the log does not grow."""
    assert HEARTBEAT_MS <= 60_000  # what BEAT_MS stands for here
    if network.nodes[0].status()["size"] <= 1:
        record(network, "thing.make", {})
    network.await_level()
    height, size, _ = state_hash(network.nodes[0])
    founders = [network.node(member) for member in FOUNDERS]
    first = {node.id: certificate(network, node) for node in founders}
    assert {each.checkpoint for each in first.values()} == {first[FOUNDERS[0]].checkpoint}
    assert first[FOUNDERS[0]].checkpoint.size == size
    begin = newest(network.nodes[0].home)

    own: dict[str, list[int]] = {node.id: [signed_s(first[node.id])[node.id]] for node in founders}
    shown = {node.id: [first[node.id]] for node in founders}

    def signed_again() -> bool:
        """Look at each node's certificate once more; whether every line was renewed often enough on every node."""
        for node in founders:
            found = certificate(network, node)
            if found != shown[node.id][-1]:
                shown[node.id].append(found)
            if signed_s(found)[node.id] != own[node.id][-1]:
                own[node.id].append(signed_s(found)[node.id])
        return all(len(times) > BEATS for times in own.values()) and all(
            set(signed_s(shown[node.id][-1])) == set(FOUNDERS)
            and all(when > signed_s(first[node.id]).get(name, 0) for name, when in signed_s(shown[node.id][-1]).items())
            for node in founders
        )

    until(signed_again, "each cosigner signs again")
    for node in founders:
        times, fresh = own[node.id], [each.fresh_at_s for each in shown[node.id]]
        assert all(0 < later - earlier <= BEAT_MS // 1_000 for earlier, later in pairwise(times)), own
        assert fresh == sorted(fresh) and fresh[-1] > fresh[0]
        assert {each.checkpoint for each in shown[node.id]} == {first[FOUNDERS[0]].checkpoint}
    assert newest(network.nodes[0].home) > begin
    assert all(state_hash(node)[:2] == (height, size) for node in network.nodes)
    network.check()


def test_a_fifth_node_joins_by_state_sync(members: Members, network: CometNetwork) -> None:
    """SPEC R-N70 to R-N77: the snapshots of the four are equal byte for byte; a node that decided none of the blocks before
    takes one, has root and app hash of the others, decides what comes after from the state that it took over, and the
    auditor replays its whole ledger."""
    thing = record(network, "thing.make", {})
    admit(members, NEWCOMER)
    until(lambda: same_snapshots(members), "snapshots of one height")
    members.start(NEWCOMER)
    node = members.nodes[NEWCOMER]
    until(lambda: logged(node, "state-sync.joined"), "the newcomer has taken a snapshot")
    node.wait_listening()
    network.nodes.append(node)
    network.await_level()
    assert earliest(node.home) > 1 and not (node.folder / STATE_SYNC).exists()
    restored = node.status()["restored"]
    assert 0 < restored <= node.status()["height"]
    assert len({state_hash(each) for each in network.nodes}) == 1

    record(network, "thing.do", {"thing": thing}, n=1)
    network.await_level()
    until(lambda: thing in fired_since(node, restored), "a timer on what was taken over fires")
    assert members.validators() == len(FOUNDERS)
    network.check(audited=[node])


def fired_since(node: Validator, height: int) -> list[str]:
    """The things whose timers fired on a node above `height`."""
    with node.snapshot() as snap:
        leaves = [
            parse_leaf(leaf) for each in range(height + 1, snap.head_height + 1) for leaf in snap.block_leaves(each)
        ]
    return [leaf.key.removeprefix("timer/R1/thing/") for leaf in leaves if isinstance(leaf, TimerLeaf)]
