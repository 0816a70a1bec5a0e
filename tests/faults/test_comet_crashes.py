"""Four real validators under load: processes killed, stopped and starved; nothing acknowledged is lost, nothing doubled.

One network serves the whole file; every test leaves it as it found it, or the next one mends it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ledger import framing
from ledger.adapters.home.keyfile import read_key
from ledger.adapters.home.nodefile import event_key_file
from ledger.client.http import NodeClient
from ledger.client.recorder import Recorder
from ledger.client.request import get
from ledger.core.submission import Submission
from ledger.errors import LedgerError, UnavailableError
from ledger_node.readiness import CATCHING_UP
from tests.models.comet_network import LEVEL_S, CometNetwork, Load, Setup, Validator, comet_network, end, until
from tests.models.comet_rpc import asking
from tests.models.transactions import encode_transaction

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FULL = "ws"  # the node that has a small file system of its own, where one can be mounted
MEDIUM_BYTES = 64 * 1024 * 1024
FREE_BYTES = 300 * 1024
BLOCK_BYTES = 64 * 1024
MINUTES_MS = 60_000
MEMPOOL_MAX = 20_000  # transactions, more than any mempool is set to


@pytest.fixture(scope="module")
def shared(cometbft: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CometNetwork]:
    """The network of this file."""
    mounted: list[Path] = []

    def prepared(folder: Path) -> None:
        if folder.name == FULL and mount(folder):
            mounted.append(folder)

    try:
        with comet_network(tmp_path_factory.mktemp("comet"), cometbft, Setup(prepared=prepared)) as network:
            yield network
    finally:
        for folder in mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def network(shared: CometNetwork) -> CometNetwork:
    """The network with everything running."""
    shared.heal()
    return shared


def mount(folder: Path) -> bool:
    """A small file system of its own at `folder`, where one may be mounted."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={MEDIUM_BYTES}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        return False
    folder.chmod(0o700)
    return True


def others(network: CometNetwork, *nodes: Validator) -> list[Validator]:
    """All but `nodes`."""
    return [node for node in network.nodes if node not in nodes]


def test_kill_9_of_one_node(network: CometNetwork) -> None:
    """The others go on without it; started again, with a CometBFT of its own, it has what they have."""
    victim = network.nodes[1]
    with Load(network) as load:
        network.progress()
        orphan = victim.comet_pid
        victim.kill()
        network.progress(others(network, victim))
        network.restart(victim)
        assert victim.comet_pid not in (0, orphan)
        network.progress()
    network.send_again(load)
    network.check(audited=[victim])


def test_kill_9_of_one_cometbft(network: CometNetwork) -> None:
    """The node starts it again by itself and goes on."""
    victim = network.nodes[2]
    with Load(network) as load:
        network.progress()
        for _ in range(2):
            before = victim.comet_pid
            victim.kill_comet()
            until(lambda before=before: victim.comet_pid not in (0, before), "CometBFT is started again")  # type: ignore[misc]
            network.progress()
    network.send_again(load)
    network.check(audited=[victim])


def test_kill_9_of_all_eight_in_any_order(network: CometNetwork) -> None:
    """All nodes and all CometBFTs die within a second under load, and start in another order: clients send again what was
    not acknowledged, and nothing is doubled."""
    chance = random.Random(8)
    with Load(network) as load:
        network.progress()
        deaths: list[Callable[[], None]] = [node.kill for node in network.nodes]
        deaths += [functools.partial(end, node.comet_pid) for node in network.nodes]
        for death in chance.sample(deaths, len(deaths)):
            death()
            time.sleep(chance.random() * 0.1)
        network.restart(*chance.sample(network.nodes, len(network.nodes)))
        network.progress()
    network.send_again(load)
    network.check(audited=network.nodes[:1])


def test_a_node_that_stands_still(network: CometNetwork) -> None:
    """SIGSTOP for some seconds: the others go on, and it catches up when it is let go."""
    victim = network.nodes[3]
    with Load(network) as load:
        network.progress()
        with victim.paused():
            network.progress(others(network, victim))
            time.sleep(3)
            network.progress(others(network, victim))
        network.progress()
    network.send_again(load)
    network.check(audited=[victim])


def test_a_node_that_catches_up_is_not_ready(network: CometNetwork) -> None:
    """While nobody gives it the blocks that it missed, a node that was started again says that it fetches them, with 503;
    it answers readers meanwhile, and is ready once it has them."""
    node = network.nodes[0]
    node.kill()
    node.kill_comet()
    network.record(network.submission("ga"), network.nodes[1])
    with contextlib.ExitStack() as stack:
        for each in others(network, node):
            stack.enter_context(each.paused())
        node.start()
        node.wait_listening()
        until(lambda: lacking(node).get("cometbft") == CATCHING_UP, "it says what it does")
        assert node.client.send(get(["readyz"])).status == 503
        assert "engine" not in lacking(node) and int(node.status()["size"]) > 0
    network.restart()
    network.await_level()
    node.wait_ready()
    assert "cometbft" not in lacking(node)
    network.check(audited=[node])


def lacking(node: Validator) -> dict[str, str]:
    """Why a node is not ready: by the name of a check, what it says."""
    checks = json.loads(node.client.send(get(["readyz"])).body)["checks"]
    return {each["name"]: each["detail"] for each in checks if not each["ok"]}


def test_two_of_four_are_too_few(network: CometNetwork) -> None:
    """With two nodes down nothing is acknowledged and nothing recorded; with one of them back it goes on, what was not
    acknowledged is sent again, and stands in the log once."""
    down, left = network.nodes[:2], network.nodes[2:]
    with Load(network) as load:
        network.progress()
    network.await_level()  # nothing is under way
    for node in down:
        node.kill()
        node.kill_comet()
    sizes = [int(node.status()["size"]) for node in left]
    waiting = [network.submission("ga"), network.submission("rs")]
    known = len(network.history)
    for submission, node in zip(waiting, left, strict=True):
        with pytest.raises(UnavailableError):
            network.record(submission, node, timeout_s=4)
    assert [node.status()["size"] for node in left] == sizes and len(network.history) == known
    network.restart(down[0])
    for submission in waiting:
        network.record(submission, down[0])
    network.restart(down[1])
    network.send_again(load)
    network.check(audited=[down[1]])


def test_a_full_mempool_and_a_spool(network: CometNetwork, tmp_path: Path) -> None:
    """Without a quorum a node's mempool is filled up: what comes then is not acknowledged and stays in the client's spool,
    which sends it again until it is recorded, once."""
    down, left = network.nodes[2:], network.nodes[0]
    for node in down:
        node.kill()
        node.kill_comet()
    filling = network.submission("ga", 1)
    with pytest.raises(UnavailableError, match="mempool-full"):
        fill_mempool(left, filling)
    signer = read_key(left.folder / event_key_file("ga", "office"))
    client = NodeClient(left.url, timeout_s=10)
    with Recorder(
        left.url,
        tmp_path,
        member="ga",
        signer=signer,
        origin=network.made.genesis.origin,
        ack="committed",
        transport=client,
    ) as recorder:
        waiting = network.workload.mix("ga", 40)
        recorder.append(waiting)
        until(lambda: recorder.problem is not None, "the spool waits")
        assert recorder.problem is not None
        assert recorder.problem.code == "mempool-full"
        assert recorder.backlog() == 40
        network.restart(*down)
        recorder.flush(120)
        later = network.workload.mix("ga", 5)
        recorder.append(later)
        assert not any(recorder.wait(event.id, 60).duplicate for event in later)
    network.record(filling, network.nodes[1])
    network.check(audited=[left])
    with left.snapshot() as snap:
        for event in (*waiting, *later):
            assert len(snap.find_event("ga", event.id)) == 1


def fill_mempool(node: Validator, submission: Submission) -> None:
    """One submission in ever new transactions. Raises what CometBFT says when it takes no more."""
    framed = framing.encode(submission)
    with asking(node.home) as rpc:
        for number in range(MEMPOOL_MAX):
            rpc.broadcast(encode_transaction(number.to_bytes(8, "big"), [framed]))


def test_rule_workers_that_are_killed(network: CometNetwork) -> None:
    """A rule worker that dies is replaced and the block decided again: no verdict differs and the node goes on."""
    victim = network.nodes[0]
    killed = set()
    with Load(network) as load:
        network.progress()
        for _ in range(6):
            for pid in victim.worker_pids:
                killed.add(pid)
                end(pid)
            until(lambda: victim.worker_pids, "a new worker")
            network.progress()
    assert len(killed) >= 6
    network.send_again(load)
    network.check(audited=[victim])


def test_a_node_whose_rules_always_fail(network: CometNetwork) -> None:
    """A fault of one node's rules is no verdict: it stops writing and says why, the others go on, and it catches up once the
    fault is mended."""
    victim = network.nodes[1]
    victim.stop()
    victim.lie = "faults"
    network.restart(victim)
    (victim.folder / "lie").touch()
    try:
        with Load(network) as load:
            network.progress(others(network, victim))
            until(lambda: b"rule-fault" in victim.client.send(get(["readyz"])).body, "it says why")
            network.progress(others(network, victim))
            with pytest.raises(UnavailableError):
                network.record(network.submission("ga"), victim)
            until(lambda: victim.comet_pid == 0, "CometBFT without its application, which would only wait, is ended")
    finally:
        (victim.folder / "lie").unlink()
    network.heal()
    network.send_again(load)
    network.check(audited=[victim])


def test_a_full_disk(network: CometNetwork) -> None:
    """ENOSPC on one node, for its store and its CometBFT: it acknowledges nothing that it cannot keep, the others go on, and
    with space again a restart is enough."""
    victim = network.node(FULL)
    if not victim.folder.is_mount():
        pytest.skip("a small file system cannot be mounted here")
    ballast = victim.folder / "ballast"
    try:
        with Load(network) as load:
            network.progress()
            fill(ballast)
            until(lambda: _refuses(network, victim), "the full node refuses", 2 * LEVEL_S)
            network.progress(others(network, victim))
    finally:
        ballast.unlink()
        victim.stop()
    network.heal()
    network.send_again(load)
    network.check(audited=[victim])


def fill(ballast: Path) -> None:
    """Leave next to nothing of the file system that `ballast` lies on, whoever else is writing there."""
    free = os.statvfs(ballast.parent)
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for _ in range((free.f_bavail * free.f_frsize - FREE_BYTES) // BLOCK_BYTES):
            file.write(bytes(BLOCK_BYTES))


def _refuses(network: CometNetwork, node: Validator) -> bool:
    """Whether a node acknowledges no more."""
    try:
        network.record(network.submission("ga", 40), node)  # longer than the node waits, which has to say so itself
    except LedgerError as error:
        return error.code != "node-unreachable"
    return False


def test_clocks_that_are_minutes_apart(network: CometNetwork) -> None:
    """Two nodes' clocks are four minutes wrong, one each way: blocks and certificates go on (a node whose clock is behind
    withholds its cosignature and says so), and all decide alike."""
    ahead, behind = network.nodes[0], network.nodes[1]
    for node, shift in ((ahead, 4 * MINUTES_MS), (behind, -4 * MINUTES_MS)):
        node.stop()
        node.shift_ms = shift
        node.start()
    for node in (ahead, behind):
        node.wait_listening()
    with Load(network) as load:
        network.progress()
        until(lambda: b"ahead of this machine" in behind.client.send(get(["readyz"])).body, "it says that it withholds")
        network.progress()
    network.send_again(load)
    network.check(audited=[ahead])


def test_stopped_in_order(network: CometNetwork) -> None:
    """SIGTERM for all under load: exit code 0, no CometBFT left behind, and everything acknowledged is there again."""
    with Load(network) as load:
        network.progress()
        pids = [node.comet_pid for node in network.nodes]
        for node in network.nodes:
            os.kill(node.pid, signal.SIGTERM)
        assert [node.stop() for node in network.nodes] == [0, 0, 0, 0]
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
        network.restart(*network.nodes)
    network.send_again(load)
    network.check(audited=network.nodes[:2])


def test_any_node_answers_for_what_another_recorded(network: CometNetwork) -> None:
    """An event that one node acknowledged is found at each of the others, with the same place in the log."""
    answer = network.record(network.submission("rs", 2), network.nodes[2])
    network.await_level()
    for node in network.nodes:
        for event in answer.events:
            found = NodeClient(node.url).get_json(["v1", "events", event.member, event.id])
            assert found["entry"]["seq"] == event.seq
