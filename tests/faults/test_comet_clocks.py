"""One of four validators has a wrong clock, its CometBFT's and its node's: nothing forks, and block time stays the true one.

CometBFT takes as block time the first of the times of the votes in a commit at which half of their power is reached, rounded
down: the second of four and of three votes, as all have a power of ten. With a power of one it would be the earliest of
three, and one clock that is behind would hold block time (`VALIDATOR_POWER`).
CometBFT is the pinned one, built with a Go whose wall clock can be shifted (see `scripts.engine`). One network serves the
file.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ledger.adapters.home.comethome import read_keys
from ledger.client.request import get
from ledger.core.keys import node_id
from ledger.core.nativecommit import COMMIT
from ledger_node.comet.process import clean_environment
from scripts.engine import SHIFT, EngineError, shifted_engine
from tests.models import comet_node
from tests.models.comet_network import CometNetwork, Load, Setup, Validator, comet_network, until
from tests.models.comet_rpc import newest, signed_headers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # the first run builds

WRONG = "rs"
AWAY = "ws"
AHEAD_S = 300
BEHIND_S = 120
FOUNDED_MS = 600_000  # ago: until its clock shows the time of the genesis a CometBFT waits
STALE_MS = 10_000  # block time is the time of the votes on the block before
NEWEST = 40  # heights among which there is a vote of every validator
FEW_BLOCKS = 3


@pytest.fixture(scope="module")
def shared(cometbft: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CometNetwork]:
    """The network of this file."""
    if os.environ.get("LEDGER_ENGINE") == "no":
        pytest.skip("no CometBFT with a clock to shift: LEDGER_ENGINE=no")
    try:
        shifted = shifted_engine()
    except EngineError as error:
        pytest.skip(f"no CometBFT with a clock to shift: {error}")
    setup = Setup(binaries={WRONG: shifted}, grants=4, age_ms=FOUNDED_MS)
    with comet_network(tmp_path_factory.mktemp("comet"), cometbft, setup) as network:
        yield network


@pytest.fixture
def network(shared: CometNetwork) -> CometNetwork:
    """The network with everything running and every clock right."""
    shared.heal()
    return shared


def turn_clock(network: CometNetwork, by_s: int) -> Validator:
    """The validator whose machine has another time from now on."""
    node = network.node(WRONG)
    node.stop()
    node.shift_ms = by_s * 1_000
    node.start()
    node.wait_listening()
    return node


def now_ms() -> int:
    """The true time."""
    return time.time_ns() // 1_000_000


def recorded(network: CometNetwork, node: Validator) -> None:
    """Something recorded now bears a block time of now."""
    before = now_ms()
    answer = network.record(network.submission("ga"), node)
    assert before - STALE_MS <= answer.time <= now_ms()


def cosigner(node: Validator) -> str:
    """Why a node does not cosign; empty when it does."""
    checks = json.loads(node.client.send(get(["readyz"])).body)["checks"]
    return str(next(check["detail"] for check in checks if check["name"] == "cosigner"))


def at_ms(text: str) -> int:
    """A time as CometBFT writes it, with up to nine digits behind the point."""
    whole, _, part = text.removesuffix("Z").partition(".")
    return round(datetime.fromisoformat(f"{whole}+00:00").timestamp()) * 1_000 + int(part.ljust(3, "0")[:3])


def votes_for(signed: dict[str, Any]) -> list[dict[str, Any]]:
    """The votes for the block in its commit."""
    return [vote for vote in signed["commit"]["signatures"] if vote["block_id_flag"] == COMMIT]


def consensus_address(node: Validator) -> str:
    """What CometBFT calls a validator."""
    return node_id(read_keys(node.home).consensus.public).upper()


def vote_ms(network: CometNetwork) -> int:
    """How long after its block the newest vote of the wrong clock was given, as that clock has it; 0 where there is none."""
    address, node = consensus_address(network.node(WRONG)), network.node(AWAY)
    for signed in reversed(signed_headers(node.home, newest(node.home) - NEWEST)):
        for vote in signed["commit"]["signatures"]:
            if vote["validator_address"] == address:
                return at_ms(vote["timestamp"]) - at_ms(signed["header"]["time"])
    return 0


def test_the_shift_reaches_cometbft() -> None:
    """The tests' node sets the name that the built CometBFT reads, and a node hands it on."""
    assert comet_node.SHIFT == SHIFT
    assert clean_environment({SHIFT: "1"}) == {SHIFT: "1"}


def test_a_clock_that_is_five_minutes_ahead(network: CometNetwork) -> None:
    """Block time stays the true one, also where no block and no certificate comes about without the validator that is ahead;
    it cosigns and is ready."""
    ahead = turn_clock(network, AHEAD_S)
    others = [node for node in network.nodes if node is not ahead]
    with Load(network) as load:
        network.progress()
        for node in (*network.nodes, ahead):  # the alarm takes two blocks of what was handed in there
            recorded(network, node)
    until(lambda: abs(vote_ms(network) - AHEAD_S * 1_000) < STALE_MS, "its votes are of its clock")
    assert b'\nledger_alarms{code="clock-apart"} 1' in ahead.client.send(get(["metrics"])).body
    assert b"clock-apart" not in others[0].client.send(get(["metrics"])).body
    away = network.node(AWAY)
    with away.paused():
        for node in others[:-1]:
            recorded(network, node)
        network.await_level([node for node in network.nodes if node is not away])
    until(lambda: cosigner(ahead) == "" and ahead.client.send(get(["readyz"])).status == 200, "it is ready")
    network.send_again(load)
    network.check(audited=[ahead])


def test_a_clock_that_is_two_minutes_behind(network: CometNetwork) -> None:
    """Blocks and certificates go on, the validator that is behind withholds its cosignature and says so, and block time
    stays the true one, also while each commit needs that vote beside two others."""
    behind = turn_clock(network, -BEHIND_S)
    others = [node for node in network.nodes if node is not behind]
    with Load(network) as load:
        network.progress()
        until(lambda: "ahead of this machine" in cosigner(behind), "it says that it withholds")
        for node in network.nodes:
            recorded(network, node)
        network.progress()
    until(lambda: vote_ms(network) == 1, "its votes are as early as they may be")
    with network.node(AWAY).paused():
        first = (
            newest(others[0].home) + 3
        )  # its votes, and those on the block before, came without the one that is away
        until(lambda: newest(others[0].home) >= first + FEW_BLOCKS, "blocks without the one that is away")
        signed = signed_headers(others[0].home, first)
        assert all(len(votes_for(header)) == 3 for header in signed), "each commit needs the vote that is behind"
        for node in others[:-1]:
            recorded(network, node)
    network.send_again(load)
    network.check(audited=[behind, others[0]])
