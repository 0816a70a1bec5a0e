"""Four real validators that cannot all hear each other: three go on, two and two stop, and all of it heals.

Two ways to part them: relays between the nodes that end every connection (any machine), and network namespaces in which
packets vanish silently (where the machine allows; CometBFT's traffic only, for HTTP stays on loopback).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ledger.errors import UnavailableError
from tests.models.comet_network import CometNetwork, Load, Setup, Validator, comet_network
from tests.models.namespaces import Namespaces, may_use
from tests.models.relay import Relays

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STANDSTILL_S = 4.0


@pytest.fixture(scope="module")
def shared(cometbft: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CometNetwork]:
    """A network whose nodes hear each other through relays only."""
    with (
        Relays() as relays,
        comet_network(tmp_path_factory.mktemp("comet"), cometbft, Setup(relays=relays)) as network,
    ):
        yield network


@pytest.fixture
def network(shared: CometNetwork) -> CometNetwork:
    """The network with everything running and connected."""
    shared.heal()
    return shared


@contextmanager
def parted(network: CometNetwork, *sides: list[Validator]) -> Iterator[None]:
    """The sides do not hear each other meanwhile."""
    assert network.relays is not None
    network.relays.partition(*({node.id for node in side} for side in sides))
    try:
        yield
    finally:
        network.relays.heal()


def check_nothing_moves(network: CometNetwork, *nodes: Validator) -> None:
    """None of `nodes` acknowledges or records anything."""
    time.sleep(1)  # what was under way when the connections ended may still arrive
    sizes, known = [node.status()["size"] for node in nodes], len(network.history)
    for node in nodes:
        with pytest.raises(UnavailableError):
            network.record(network.submission("ga"), node, timeout_s=STANDSTILL_S)
    assert [node.status()["size"] for node in nodes] == sizes and len(network.history) == known


def test_three_and_one(network: CometNetwork) -> None:
    """The three go on; the one acknowledges nothing, and has what they have once it hears them again."""
    alone, three = network.nodes[0], network.nodes[1:]
    with Load(network) as load:
        network.progress()
        with parted(network, [alone], three):
            network.progress(three)
            check_nothing_moves_alone(network, alone)
            network.progress(three)
        network.progress()
    network.send_again(load)
    network.check(audited=[alone])


def check_nothing_moves_alone(network: CometNetwork, alone: Validator) -> None:
    """The node that hears nobody records nothing, while clients of the others go on."""
    size = alone.status()["size"]
    with pytest.raises(UnavailableError):
        network.record(network.submission("ga"), alone, timeout_s=STANDSTILL_S)
    assert alone.status()["size"] == size


def test_two_and_two(network: CometNetwork) -> None:
    """Neither side has more than two thirds: nothing is acknowledged on either, and after healing it goes on as one."""
    with Load(network) as load:
        network.progress()
    with parted(network, network.nodes[:2], network.nodes[2:]):
        check_nothing_moves(network, network.nodes[0], network.nodes[2])
    with Load(network) as again:
        network.progress()
    network.send_again(load)
    network.send_again(again)
    network.check(audited=[network.nodes[0], network.nodes[2]])


def test_partitions_that_move(network: CometNetwork) -> None:
    """One partition after the other under load, each of another shape: one history at the end."""
    nodes = network.nodes
    with Load(network) as load:
        network.progress()
        for sides in (
            [[nodes[0]], nodes[1:]],
            [[nodes[0], nodes[1]], [nodes[2], nodes[3]]],
            [[nodes[3], nodes[1], nodes[0]], [nodes[2]]],
            [[nodes[0], nodes[2]], [nodes[1]], [nodes[3]]],
        ):
            with parted(network, *sides):
                time.sleep(2)
        network.progress()
    network.send_again(load)
    network.check(audited=[nodes[1]])


@pytest.mark.parametrize("alone", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_packets_that_vanish(alone: int, cometbft: Path, tmp_path: Path) -> None:
    """CometBFTs in network namespaces: with packets swallowed silently between the sides, three go on and two stop."""
    reason = may_use()
    if reason:
        pytest.skip(f"network namespaces cannot be used here: {reason}")
    with Namespaces(tmp_path, ("ga", "rs", "sj", "ws"), cometbft) as spaces:
        setup = Setup(binaries=spaces.binaries, p2p=spaces.addresses, grants=4)
        with comet_network(tmp_path, cometbft, setup) as network:
            away, rest = network.nodes[:alone], network.nodes[alone:]
            with Load(network) as load:
                network.progress()
            spaces.part({node.id for node in away}, {node.id for node in rest})
            if alone == 1:
                network.record(network.submission("rs"), rest[0])
                network.record(network.submission("rs"), rest[1])
                check_nothing_moves(network, *away)
            else:
                check_nothing_moves(network, away[0], rest[0])
            spaces.heal()
            with Load(network) as again:
                network.progress()
            network.send_again(load)
            network.send_again(again)
            network.check(audited=away[:1])
