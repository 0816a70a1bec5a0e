"""One of four validators lies: a test build proposes garbage, cosigns two checkpoints, and lies about the app hash.

The honest three go on with one history, nothing that they acknowledged is lost, and where there is guilt the evidence is
kept and names the key. One network serves the file; the liar is honest until a test has it lie (see `comet_node`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ledger.adapters.home.handover import begin_again
from ledger.adapters.home.keyfile import read_key
from ledger.adapters.home.nodefile import COSIGN_KEY, GENESIS, LOG_KEY
from ledger.client.request import get
from ledger.core.quorum import verify_note
from ledger_node.comet.process import GLANCE_S
from tests.models.comet_network import LEVEL_S, CometNetwork, Load, Validator, comet_network, root_at, until
from tests.models.comet_node import NEXT_EVENTS, NEXT_LEAVES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LIAR = "rs"
TRIES = 3
PAUSE_S = 0.5  # the others have the time to hear what it proposes
TOLD_EACH = 10
QUORUM = 3
COUNTED = b'\nledger_proposals_rejected_total{code="comet-invalid"}'


@pytest.fixture(scope="module")
def shared(cometbft: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CometNetwork]:
    """The network of this file."""
    with comet_network(tmp_path_factory.mktemp("comet"), cometbft) as network:
        yield network


@pytest.fixture
def network(shared: CometNetwork) -> CometNetwork:
    """The network with everything running and honest."""
    shared.heal()
    return shared


@contextmanager
def lying(network: CometNetwork, lie: str) -> Iterator[Validator]:
    """The liar tells a lie meanwhile."""
    liar = network.node(LIAR)
    liar.stop()
    liar.lie = lie
    network.restart(liar)
    network.liars.add(liar.id)
    (liar.folder / "lies").unlink(missing_ok=True)
    (liar.folder / "lie").touch()
    try:
        yield liar
    finally:
        (liar.folder / "lie").unlink()


def of_log(node: Validator, event: str) -> list[dict[str, str]]:
    """The lines of a node's log about one thing."""
    log = (node.folder / "node.log").read_text("utf-8")
    return [json.loads(line) for line in log.splitlines() if f'"{event}"' in line]


def told(liar: Validator) -> int:
    """How often the liar lied."""
    path = liar.folder / "lies"
    return len(path.read_text("ascii").splitlines()) if path.exists() else 0


def test_blocks_that_no_honest_node_proposes(network: CometNetwork) -> None:
    """Garbage, cut transactions, forged and stolen signatures: the others vote such a block down, name in log and metrics
    who proposed it, and go on; nothing of it is recorded, and no node stops."""
    known = {node.id: len(of_log(node, "proposal.rejected")) for node in network.nodes}

    def rejected(node: Validator) -> list[str]:
        return [line["member"] for line in of_log(node, "proposal.rejected")[known[node.id] :]]

    with Load(network, pause_s=PAUSE_S) as load, lying(network, "garbage"):
        # While it catches up it proposes what nobody hears: counted is what the others say.
        until(lambda: all(len(rejected(node)) >= 8 for node in network.honest), "eight bad blocks", 3 * LEVEL_S)
        network.progress(network.honest)
    for node in network.honest:
        assert set(rejected(node)) == {LIAR}, "who proposed it is in the log"
        assert b"\nledger_proposals_rejected_total{code=" in node.client.send(get(["metrics"])).body
    network.heal()
    network.send_again(load)
    network.check(audited=[network.honest[0]])


def test_a_node_that_signs_two_checkpoints(network: CometNetwork, tmp_path: Path) -> None:
    """It shows peers another history of a certified size under its own keys: each of them keeps that as evidence in which
    the key can be read, nobody cosigns it, certificates go on, and who watches the liar is not misled."""
    with lying(network, "fork") as liar:
        with Load(network) as load:
            network.progress(network.honest)
        until(
            lambda: all(any(map(is_fork, node.evidence())) for node in network.honest), "evidence at every honest node"
        )
        cosign, log = (read_key(liar.folder / file).public for file in (COSIGN_KEY, LOG_KEY))
        origin = network.made.genesis.origin
        for node in network.honest:
            (document, *_) = [json.loads(path.read_text("utf-8")) for path in filter(is_fork, node.evidence())]
            note = document["signed"].encode("utf-8")
            found = verify_note(note, origin, [log], [(LIAR, cosign)])  # both signatures are the liar's: it cannot deny
            assert [(each.name, each.key_id) for each in found.cosignatures] == [(LIAR, cosign.key_id)]
            with node.snapshot() as snap:
                assert root_at(snap, found.checkpoint.size) != found.checkpoint.root
        network.check(audited=[network.honest[0]], evidence=True)
        assert watch(network, liar, tmp_path) == 0
    network.heal()
    network.send_again(load)
    network.check()


def test_a_checkpoint_of_a_size_that_is_still_to_come(network: CometNetwork) -> None:
    """On an idle ledger it shows peers a root for the log after the next block. When that block comes, each node on which it
    comes before the liar speaks of the next keeps the contradiction as evidence; the block is acknowledged, and no engine
    and no certificate stops."""
    node = network.node("ga")
    with lying(network, "fork-ahead") as liar:
        network.await_level()
        size, heard = int(node.status()["size"]), told(liar)
        until(lambda: told(liar) > heard + len(network.honest) * TOLD_EACH, "each has heard of the size to come")
        known = {each.id: set(each.evidence()) for each in network.honest}

        def found(each: Validator) -> list[Path]:
            return list(filter(is_fork, set(each.evidence()) - known[each.id]))

        network.record(network.submission("ga", NEXT_EVENTS), node)
        network.await_level()
        assert int(node.status()["size"]) == size + NEXT_LEAVES, "the size that was lied about"
        # The liar speaks of the next size once a quorum has certified this one: two of the three with it.
        until(lambda: sum(bool(found(each)) for each in network.honest) >= QUORUM - 1, "evidence")
        assert not any(each.has_failed or of_log(each, "engine.failed") for each in network.honest)
        with Load(network) as load:
            network.progress(network.honest)
        network.await_level()
    network.heal()
    with Load(network) as more:
        network.progress()  # past the last size that was lied about: that is evidence too
    network.heal()
    for each in (load, more):
        network.send_again(each)
    network.check(audited=[node])


def is_fork(path: Path) -> bool:
    """Whether a file of an evidence folder is a second note of a size."""
    return path.name.startswith("fork-note-")


def watch(network: CometNetwork, node: Validator, home: Path) -> int:
    """The exit code of `ledger watch --once` at a node, by somebody who has the genesis."""
    command = [sys.executable, "-m", "ledger.cli.main", "watch", "--once", "--node", node.url]
    command += ["--genesis", str(node.folder / GENESIS), "--evidence", str(home)]
    environment = {**os.environ, "HOME": str(home), "XDG_STATE_HOME": str(home)}
    return subprocess.run(command, capture_output=True, check=False, env=environment, timeout=60).returncode


def test_another_app_hash_than_the_ledger_s(network: CometNetwork) -> None:
    """Its CometBFT contradicts everybody's and falls out; the others go on, and say that a block was proposed which does.
    Rebuilt from its keys and what it signed, it replays everything and takes part again."""
    for _ in range(TRIES):
        # On an idle ledger: it proposes at once, as after each block that changes something, and the others wait for work.
        with lying(network, "app-hash") as liar:
            until(lambda: told(liar) >= 1, "it lied")
            said, size = is_said(network), int(liar.status()["size"])
            with Load(network) as load:
                for _ in range(4):
                    network.progress(network.honest)
            assert int(liar.status()["size"]) == size < int(network.honest[0].status()["size"])
        network.send_again(load)
        if said:
            break
        liar.stop()
        rebuild(liar)
    else:
        raise AssertionError("no honest node says what was proposed")
    network.check(audited=[network.honest[0]])
    liar.stop()
    liar.lie = ""
    rebuild(liar)
    network.heal()
    with Load(network) as load:
        network.progress()
    network.check(audited=[liar])


def is_said(network: CometNetwork) -> bool:
    """Whether an honest node's log has a warning of a proposed block with another app hash, which it then counted."""
    try:
        until(lambda: any(map(warned, network.honest)), "a warning", 5 * GLANCE_S)
    except AssertionError:
        return False
    for node in filter(warned, network.honest):
        until(lambda asked=node: COUNTED in asked.client.send(get(["metrics"])).body, "it is counted")
    return True


def warned(node: Validator) -> list[str]:
    """The lines of a node's log about proposals that contradict its app hash."""
    lines = (node.folder / "node.log").read_text("utf-8").splitlines()
    return [line for line in lines if "proposal.invalid" in line and "AppHash" in line]


def rebuild(node: Validator) -> None:
    """What is left to an operator whose node computed rubbish: keys and states of what was signed stay, the copies of ledger
    and chain go, and are replayed from the others."""
    begin_again(node.folder)
