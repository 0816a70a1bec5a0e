"""Four real validators under load and one fault after the other, in any order, for as long as the run is given."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.models.comet_network import CometNetwork, Load, Setup, comet_network, end
from tests.models.relay import Relays
from tests.soak.budget import CHAOS_SHARE, budget_s

pytestmark = [pytest.mark.soak, pytest.mark.timeout(0)]

MINIMUM_S = 30.0
SEED = 1_207


def kill_some(network: CometNetwork, chance: random.Random) -> None:
    """Any of the eight processes end, and start again in any order."""
    nodes = chance.sample(network.nodes, chance.randint(1, len(network.nodes)))
    for node in nodes:
        if chance.random() < 0.5:
            node.kill()
        if chance.random() < 0.7:
            node.kill_comet()
        time.sleep(chance.random() * 0.2)
    network.restart(*nodes)


def pause_some(network: CometNetwork, chance: random.Random) -> None:
    """One or two nodes stand still for a while."""
    first, second = chance.sample(network.nodes, 2)
    with first.paused():
        if chance.random() < 0.5:
            with second.paused():
                time.sleep(chance.random() * 4)
        time.sleep(chance.random() * 4)


def part_some(network: CometNetwork, chance: random.Random) -> None:
    """The nodes fall into two groups that do not hear each other."""
    assert network.relays is not None
    names = [node.id for node in network.nodes]
    chance.shuffle(names)
    cut = chance.randint(1, 3)
    network.relays.partition(set(names[:cut]), set(names[cut:]))
    time.sleep(chance.random() * 6)
    network.relays.heal()


def fault_rules(network: CometNetwork, chance: random.Random) -> None:
    """The rule workers of a node end, maybe more often than it tries again: then it stops, and is started again."""
    node = chance.choice(network.nodes)
    for _ in range(chance.randint(1, 8)):
        for pid in node.worker_pids:
            end(pid)
        time.sleep(chance.random() * 0.3)
    time.sleep(1)
    if node.has_failed:
        node.stop()
        network.restart(node)


def test_one_fault_after_the_other(cometbft: Path, tmp_path: Path) -> None:
    """After each few faults: one history, nothing acknowledged lost or doubled, equal app hashes, the auditor content."""
    chance = random.Random(SEED)
    until_s = time.monotonic() + max(MINIMUM_S, budget_s(CHAOS_SHARE))
    with Relays() as relays, comet_network(tmp_path, cometbft, Setup(relays=relays)) as network:
        while time.monotonic() < until_s:
            with Load(network, pause_s=0.1) as load:
                network.progress()
                for _ in range(chance.randint(1, 4)):
                    chance.choice((kill_some, pause_some, part_some, fault_rules))(network, chance)
                    time.sleep(chance.random())
            network.heal()
            network.send_again(load)
            network.check(audited=[chance.choice(network.nodes)])
