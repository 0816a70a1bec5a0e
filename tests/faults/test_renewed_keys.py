"""Real nodes learn keys that were registered by vote while they run: a cosigner's new key, and a new key for ordering."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.adapters.home.datadir import LOG_STATE
from ledger.adapters.home.keyfile import read_key
from ledger.adapters.home.network import CreatedNetwork
from ledger.adapters.home.signerstate import SignerState
from ledger.client.http import NodeClient
from tests.faults.test_epoch_network import (
    NAMES,
    _certified,
    _config,
    _cosign_id,
    _proposal,
    _ready,
    four_nodes,
    wait_for,
)
from tests.unit.cli.runner import Ran, ledger

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def network(tmp_path: Path) -> Iterator[tuple[CreatedNetwork, Any]]:
    """The network of these tests."""
    with four_nodes(tmp_path / "net", "keys.test") as made:
        yield made


class Town:
    """The network with what the test does to it."""

    def __init__(self, made: CreatedNetwork, nodes: Any, home: Path) -> None:
        self.made, self.home = made, home
        self.clients = {name: NodeClient(made.urls[name]) for name in NAMES}
        self.nodes = {name: next(node for node in nodes.nodes if node.folder == made.folders[name]) for name in NAMES}

    def call(self, *arguments: object, by: str = "sj") -> Ran:
        """A command, signed by a member's event key."""
        key = self.made.folders[by] / "keys" / f"event-{by}.key"
        given = [*arguments, "--member", by, "--key", key, "--json"]
        ran = ledger(*given, env={"LEDGER_NODE": self.made.urls["sj"]}, home=self.home)
        assert ran.code == 0, ran.out + ran.err
        return ran

    def decide(self, *parts: object, voters: tuple[str, ...] = ("sj",)) -> None:
        """Propose, have the voters approve with their cosigners' keys, and wait until it is in force."""
        event = self.call("approve", "propose", *parts).json["events"][0]
        name = f"{event['member']}/{event['id']}"
        wait_for(lambda: _proposal(self.clients["sj"], name) is not None, "the proposal is certified")
        for voter in voters:
            cosign = ("--cosign-key", self.made.folders[voter] / "keys" / "cosign.key") if len(voters) > 1 else ()
            self.call("approve", "sign", name, *cosign, by=voter)

        def enacted() -> bool:
            found = _proposal(self.clients["sj"], name)
            return found is not None and found["proposal"]["status"] == "enacted"

        wait_for(enacted, f"{parts[0]} took effect")

    def record(self, by: str = "rs") -> str:
        """One event, and the certificate over it; its name."""
        height = self.clients["sj"].get_json(("v1", "status"))["height"]
        ran = ledger(
            *("event", "append", "--kind", "none.such", "--member", by, "--json"),
            *("--key", self.made.folders[by] / "keys" / f"event-{by}.key"),
            env={"LEDGER_NODE": self.made.urls["sj"]},
            home=self.home,
        )
        event = ran.json["events"][0]
        wait_for(lambda: _certified(self.clients["sj"]) > height, "the event is certified")
        return f"{event['member']}/{event['id']}"


def test_nodes_learn_keys_while_they_run(network: tuple[CreatedNetwork, Any], tmp_path: Path) -> None:
    """SPEC R-G18, R-G21, R-V12: ws cosigns by its new key as soon as it may, followers take the new ordering key, and a
    receipt of the later epoch leads back to the genesis."""
    town = Town(*network, tmp_path)
    made = town.made
    # The key of ws is lost: the node starts with another, and observes until that is registered and in the set.
    town.nodes["ws"].stop()
    renewed = ledger("node", "renew-cosigner", made.folders["ws"], "--member", "ws", "--json", home=tmp_path).json
    town.nodes["ws"].start()
    town.nodes["ws"].wait_listening()
    key_id, shown = renewed["key_id"], json.dumps(renewed["key"])
    town.decide("sys.key.add", "--ref", "member=ws", "--ref", f"key={key_id}", "--set", f"key={shown}")
    kept = [[name, key_id if name == "ws" else _cosign_id(made, name)] for name in sorted(NAMES)]
    refs = [part for name, _ in kept for part in ("--ref", f"member={name}")]
    town.decide("sys.set.change", *refs, "--set", f"cosigners={json.dumps(kept)}", voters=("ga", "rs", "sj"))
    for client in town.clients.values():
        wait_for(lambda each=client: _config(each)["epoch"] == 1, "every node is in the next epoch")
    town.nodes["ga"].stop()
    name = town.record()  # three of four: not without ws
    town.nodes["ga"].start()
    town.nodes["ga"].wait_listening()
    # A new key for ordering: only the ordering node starts again.
    log_key = tmp_path / "log-new.key"
    assert ledger("key", "new", log_key, home=tmp_path).code == 0
    town.decide("sys.key.add", "--ref", "member=sj", "--new-key", log_key, "--use", "log")
    wait_for(lambda: _ready(town.clients["ga"]), "ga is back")
    town.nodes["sj"].stop()
    folder = made.folders["sj"]
    (folder / LOG_STATE).rename(folder / "log-1.state")
    (folder / "keys" / "log.key").rename(folder / "keys" / "log-1.key")
    log_key.rename(folder / "keys" / "log.key")
    public = read_key(folder / "keys" / "log.key").public
    SignerState.create(folder / LOG_STATE, made.genesis.origin, public.key_id).close()
    town.nodes["sj"].start()
    town.nodes["sj"].wait_listening()
    wait_for(lambda: _ready(town.clients["sj"]), "the ordering node is back")
    receipt = tmp_path / "receipt.json"
    later = town.record()
    for wanted in (name, later):
        ledger("proof", "get", "receipt", wanted, "--out", receipt, "--node", made.urls["rs"], home=tmp_path)
        given = ("--genesis", made.folders["rs"] / "genesis.json", "--json")
        ran = ledger("proof", "verify", receipt, *given, home=tmp_path)
        assert (ran.code, ran.json["not_checked"]) == (7, ["anchor"]), ran.out + ran.err
