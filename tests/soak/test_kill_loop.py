"""kill -9 under load for as long as the budget allows: nothing acknowledged is lost, nothing is doubled, the auditor agrees.

The load writes single events and batches from several threads, each repeating what was not acknowledged. One network is an
ordering node by itself, the other has three followers, of which any node is killed. Not here: faults of the disk (see
`tests/faults`).
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

import pytest

from ledger.client.http import NodeClient
from ledger.errors import LedgerError, NotFoundError
from scripts.bench.bed import Bed, bed
from scripts.bench.workload import MEMBERS
from tests.soak.budget import KILL_SHARE, budget_s

pytestmark = [pytest.mark.soak, pytest.mark.timeout(0)]

BATCHES = (1, 1, 20, 200)  # events a submission, one writer each
RETRY_S = 0.02
RESTART_S = 30.0  # on a shared machine; what counts is that it comes back
CERTIFIED_S = 60.0


@dataclass
class Writer:
    """One department's office: sends until told to stop, repeats what was not acknowledged."""

    network: Bed
    batch: int
    member: str
    stop: threading.Event
    chance: random.Random
    acknowledged: list[str] = field(default_factory=list)
    retries: int = 0
    failure: BaseException | None = None

    def run(self) -> None:
        """Write; what goes wrong other than a refusal to connect or a node that is closed ends the test."""
        try:
            while not self.stop.is_set():
                events = self.network.workload.mix(self.member, self.batch)
                submission = self.network.workload.submission(self.member, "office", events)
                while not self._send(submission):
                    time.sleep(RETRY_S)
                self.acknowledged.extend(event.id for event in events)
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            self.failure = error

    def _send(self, submission: object) -> bool:
        try:
            self.network.record(submission)  # type: ignore[arg-type]
        except LedgerError:
            self.retries += 1
            return False
        return True


@pytest.mark.parametrize("followers", [0, 3])
def test_killed_again_and_again(followers: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Killed at random moments for the whole budget: every acknowledged event is on the ledger, exactly once."""
    seed = os.environ.get("LEDGER_SOAK_SEED") or str(time.time_ns())
    chance, until = random.Random(seed), time.monotonic() + budget_s(KILL_SHARE / 2)
    with bed(followers) as network:
        before = counted(network)
        stop = threading.Event()
        writers = [
            Writer(network, batch, MEMBERS[number % len(MEMBERS)], stop, random.Random(f"{seed} {number}"))
            for number, batch in enumerate(BATCHES)
        ]
        threads = [threading.Thread(target=writer.run, daemon=True) for writer in writers]
        for thread in threads:
            thread.start()
        kills, slowest_s = 0, 0.0
        while time.monotonic() < until or not kills:
            time.sleep(chance.random() * 1.5)
            slowest_s = max(slowest_s, kill_one(network, chance))
            kills += 1
            assert not [writer.failure for writer in writers if writer.failure], f"seed {seed}"
        stop.set()
        for thread in threads:
            thread.join(RESTART_S)
            assert not thread.is_alive(), f"a writer hangs · seed {seed}"
        acknowledged = [(writer.member, event_id) for writer in writers for event_id in writer.acknowledged]
        check_history(network, acknowledged, before, seed)
        with capsys.disabled():
            retries = sum(writer.retries for writer in writers)
            print(
                f"\n{followers} followers: {kills} kills, {len(acknowledged):,} events acknowledged, {retries} retries, "
                f"slowest restart {slowest_s:.1f} s, seed {seed}"
            )


def kill_one(network: Bed, chance: random.Random) -> float:
    """Kill a node, the ordering one half of the time, and wait until it answers again; the seconds that took."""
    nodes = network.network.nodes
    node = nodes[0] if chance.random() < 0.5 else chance.choice(nodes)
    node.kill()
    if chance.random() < 0.3:
        time.sleep(chance.random() * 0.5)
    started = time.monotonic()
    node.start()
    node.wait_listening(RESTART_S)
    if chance.random() < 0.7:  # else the next kill may find it still recovering
        node.wait_ready(RESTART_S)
    return time.monotonic() - started


def check_history(network: Bed, acknowledged: list[tuple[str, str]], before: int, seed: str) -> None:
    """Present, once each, on every node; then the auditor verifies each data directory, all of it."""
    assert len(set(acknowledged)) == len(acknowledged)
    for node in network.network.nodes:
        if not node.running:
            node.start()
        node.wait_listening(RESTART_S)
        node.wait_ready(RESTART_S)
    await_certified(network)
    sizes = set()
    for node in network.network.nodes:
        client = NodeClient(node.url)
        for member, event_id in acknowledged[:: max(1, len(acknowledged) // 500)]:
            entry = client.get_json(["v1", "events", member, event_id])["entry"]
            assert entry["head"]["id"] == event_id, f"seed {seed}"
        sizes.add(client.get_json(["v1", "status"])["size"])
    assert len(sizes) == 1, f"nodes differ: {sizes} · seed {seed}"
    after = counted(network)
    # Every writer repeats until it is told yes, so what is there is what was acknowledged: no more, no less.
    assert after - before == len(acknowledged), (
        f"{after - before} recorded, {len(acknowledged)} acknowledged · seed {seed}"
    )
    network.network.stop()
    for folder in network.made.folders.values():
        done = subprocess.run(
            [sys.executable, "-m", "ledger.cli.main", "verify", str(folder), "--origin", network.made.genesis.origin,
             "--no-remember", "--max-age", "none", "--json"],
            capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{folder.name}: {done.stdout[-800:]!r} · seed {seed}"


def counted(network: Bed) -> int:
    """Events on the ledger, by its members' streams."""
    client = NodeClient(network.network.nodes[0].url)
    await_certified(network)
    total = 0
    for member in MEMBERS:
        for refused in (False, True):
            try:
                page = client.get_json(
                    ["v1", "streams", "member", member], {"limit": 1, "refused": str(refused).lower()}
                )
            except NotFoundError:
                continue
            total += page["count"]
    return total


def await_certified(network: Bed) -> None:
    """Answers stand on certified state; every node gets there."""
    until = time.monotonic() + CERTIFIED_S
    size = 0
    for number, node in enumerate(network.network.nodes):
        client = NodeClient(node.url)
        while True:
            status = client.get_json(["v1", "status"])
            size = status["size"] if number == 0 else size
            if status["certified_size"] == status["size"] >= size:
                break
            assert time.monotonic() < until, f"{node.folder.name}: {status}"
            time.sleep(0.05)
