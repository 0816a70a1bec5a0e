"""Four real nodes move their ledger from the sequencer to CometBFT: by vote, at a certified seam, with all that stood."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.adapters.home.datadir import DATABASE
from ledger.adapters.home.network import CreatedNetwork
from ledger.adapters.home.nodefile import read_settings
from ledger.adapters.home.signerstate import SLOT_BYTES
from ledger.adapters.sqlite.reader import SqliteReader
from ledger.client.http import NodeClient
from ledger.core.engine import chain_id
from tests.faults.test_epoch_network import (
    NAMES,
    _certified,
    _proposal,
    _ready,
    four_nodes,
    wait_for,
)
from tests.models.traces import check_trace, traced
from tests.unit.cli.runner import Ran, ledger

binary = pytest.importorskip("ledger_node.comet.binary", reason="suyuan-node is not installed")
local = pytest.importorskip("ledger_node.local", reason="suyuan-node is not installed")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def network(tmp_path: Path) -> Iterator[tuple[CreatedNetwork, Any]]:
    """The network, ordered by its sequencer."""
    from ledger.errors import LedgerError

    try:
        binary.find_binary("")
    except LedgerError as error:
        pytest.skip(str(error))
    with four_nodes(tmp_path / "net", "move.test") as made:
        yield made
    for folder in made[0].folders.values():
        check_trace(folder)


class Town:
    """The network with what the test does to it; commands go to the node of `at`."""

    def __init__(self, made: CreatedNetwork, nodes: Any, home: Path) -> None:
        self.made, self.home, self.at = made, home, "sj"
        self.clients = {name: NodeClient(made.urls[name]) for name in NAMES}
        by_folder = {node.folder: traced(node) for node in nodes.nodes}
        self.nodes = {name: by_folder[made.folders[name]] for name in NAMES}

    @property
    def client(self) -> NodeClient:
        """The node that is asked."""
        return self.clients[self.at]

    def run(self, *arguments: object) -> Ran:
        """A command against the node that is asked."""
        return ledger(*arguments, "--json", env={"LEDGER_NODE": self.made.urls[self.at]}, home=self.home)

    def call(self, *arguments: object, by: str = "sj") -> Ran:
        """A command, signed by a member's event key, that has to succeed."""
        key = self.made.folders[by] / "keys" / f"event-{by}.key"
        ran = self.run(*arguments, "--member", by, "--key", key)
        assert ran.code == 0, ran.out + ran.err
        return ran

    def decide(self, *parts: object, voters: tuple[str, ...] = ("sj",)) -> None:
        """Propose, have the voters approve, with their cosigners' keys where there are several, and wait for the effect."""
        event = self.call("approve", "propose", *parts).json["events"][0]
        assert event["outcome"] == "accepted", event
        name = f"{event['member']}/{event['id']}"
        wait_for(lambda: _proposal(self.client, name) is not None, "the proposal is certified")
        for voter in voters:
            cosign = ("--cosign-key", self.made.folders[voter] / "keys" / "cosign.key") if len(voters) > 1 else ()
            self.call("approve", "sign", name, *cosign, by=voter)

        def enacted() -> bool:
            found = _proposal(self.client, name)
            return found is not None and found["proposal"]["status"] == "enacted"

        wait_for(enacted, f"{parts[0]} took effect")

    def append(self, by: str) -> Ran:
        """One event, sent to the node that is asked."""
        key = self.made.folders[by] / "keys" / f"event-{by}.key"
        return self.run("event", "append", "--kind", "none.such", "--member", by, "--key", key)

    def record(self, by: str) -> str:
        """One event, certified; its name."""
        height = self.client.get_json(("v1", "status"))["height"]
        event = self.append(by).json["events"][0]  # refused by the rules, which is a record like any other
        wait_for(lambda: _certified(self.client) > height, "the event is certified")
        return f"{event['member']}/{event['id']}"

    def height(self, name: str) -> int:
        """The head of a node."""
        return int(self.clients[name].get_json(("v1", "status"))["height"])

    def restart(self) -> None:
        """Start every node and wait until all of them take part."""
        for node in self.nodes.values():
            node.start()
        for node in self.nodes.values():
            node.wait_listening()
        for name in NAMES:
            wait_for(lambda each=self.clients[name]: _ready(each), f"{name} takes part")

    def prepare(self) -> dict[str, dict[str, Any]]:
        """Every department makes its keys, and the vote registers them and makes all four validators."""
        made = {}
        for name in NAMES:
            ran = self.run("node", "prepare-move", self.made.folders[name], "--member", name)
            assert ran.code == 0, ran.out + ran.err
            made[name] = ran.json
        assert self.run("node", "prepare-move", self.made.folders["ga"]).json == made["ga"]
        for name in NAMES:
            for use, key in made[name]["registrations"].items():
                voters = ("ga", "rs", "sj") if use == "consensus" else ("sj",)
                self.decide("sys.key.add", "--registration", json.dumps(key), voters=voters)
        return made

    def locks(self) -> dict[str, int]:
        """How much each cosigner's key has signed."""
        return {name: _locked(self.made.folders[name] / "signer.state") for name in NAMES}


def _locked(path: Path) -> int:
    data = path.read_bytes()
    slots = [data[start : start + SLOT_BYTES][64:].rstrip(b"\0") for start in (0, SLOT_BYTES)]
    return max(int(json.loads(slot)["size"]) for slot in slots if slot)


def test_ledger_moves_to_cometbft_by_vote(network: tuple[CreatedNetwork, Any], tmp_path: Path) -> None:
    """SPEC R-N60 to R-N63: same genesis and origin, a certified seam, locks that carry over, proofs across it, and a
    sequencer that orders nothing any more."""
    town = Town(*network, tmp_path)
    made = town.made
    before = town.record("rs")
    prepared = town.prepare()
    town.decide("sys.engine.move", voters=("ga", "rs", "sj"))
    seam = town.height("sj")
    for name in NAMES:
        wait_for(lambda each=name: town.height(each) == seam, f"{name} is at the seam")
        wait_for(lambda each=name: _certified(town.clients[each]) == seam, f"{name} holds the certificate of the seam")
    # The sequencer answers whoever sends, and so does a follower; neither orders.
    for asked in ("sj", "ga"):
        town.at = asked
        ran = town.append("rs")
        assert ran.code != 0 and "engine-moved" in ran.out + ran.err, ran.out + ran.err
    town.at = "sj"
    # A copy of the old sequencer, as a backup would be, is kept for later.
    for name in NAMES:
        town.nodes[name].stop()
    locks = town.locks()
    addresses = [document["p2p"] for document in prepared.values()]
    peers = [part for address in addresses for part in ("--peer", address)]
    for name in NAMES:
        moved = town.run("node", "move", made.folders[name], *peers)
        assert moved.code == 0, moved.out + moved.err
        assert (moved.json["seam"], moved.json["votes"], moved.json["role"]) == (seam, True, "validator")
        assert moved.json["chain"].endswith("-1") and len(moved.json["peers"]) == 3
    genesis = {(made.folders[name] / "comet" / "config" / "genesis.json").read_bytes() for name in NAMES}
    assert len(genesis) == 1
    town.restart()
    after = [town.record(name) for name in NAMES]
    assert town.height("sj") > seam
    for name in NAMES:
        wait_for(lambda each=name: town.locks()[each] > locks[each], f"{name} cosigns behind the seam")
        wait_for(lambda each=name: _certified(town.clients[each]) == town.height("sj"), f"{name} is certified")
        assert read_settings(made.folders[name]).role == "validator"
    _audit(town, before, after)
    _join_later(town, seam, peers)
    _old_engine(town, seam)
    _move_again(town)


def _audit(town: Town, before: str, after: list[str]) -> None:
    """The export is whole across the seam, and so are proofs."""
    made, home = town.made, town.home
    trust = ("--origin", made.genesis.origin)
    export = home / "export"
    assert town.run("export", "archive", export).code == 0
    for source in (export, made.urls["ga"]):
        report = ledger("verify", source, *trust, "--json", home=home).json
        assert report["findings"] == [] and report["counts"]["blocks"] == town.height("ga") + 1
        assert "epoch-uncertified" not in {gap["code"] for gap in report["not_checked"]}
    for number, parts in enumerate((("completeness", "member", "rs"), ("receipt", before), ("receipt", after[0]))):
        proof = home / f"proof-{number}.json"
        got = town.run("proof", "get", *parts, "--out", proof)
        assert got.code == 0, got.out + got.err
        held = ledger("proof", "verify", proof, "--genesis", made.folders["rs"] / "genesis.json", "--json", home=home)
        assert held.code in (0, 7), held.out + held.err
    stream = json.loads((home / "proof-0.json").read_text("utf-8"))
    assert before.partition("/")[2] in json.dumps(stream) or stream["kind"] == "completeness"


def _join_later(town: Town, seam: int, peers: list[str], member: str = "zr") -> None:
    """SPEC R-N61: who joins a moved ledger follows it up to the seam, gets its certificate, moves there, and catches up."""
    folder = town.home / member
    joined = ledger(
        "node", "join", folder, "--from", town.made.urls["sj"], "--member", member, "--json", home=town.home
    )
    assert joined.code == 0 and joined.json["role"] == "follower", joined.out + joined.err
    prepared = ledger("node", "prepare-move", folder, "--json", home=town.home).json
    keys = {**joined.json["registrations"], **prepared["registrations"]}
    given = [part for use, key in keys.items() if use != "consensus" for part in ("--registration", json.dumps(key))]
    titles = ("--title-zh", "执法局", "--title-en", "Enforcement Bureau")
    town.decide("sys.member.admit", "--id", member, *titles, *given)
    node = traced(local.NodeProcess(folder))
    reader = SqliteReader(folder / DATABASE)
    try:
        node.start()
        node.wait_listening()

        def certified() -> bool:
            with reader.snapshot() as snap:
                found = snap.certificates.least(snap.head_size)
                return snap.head_height == seam and found is not None

        wait_for(certified, f"{member} holds the certified seam")
        node.stop()
        moved = ledger("node", "move", folder, *peers, "--json", home=town.home)
        assert moved.code == 0 and moved.json["votes"] is False, moved.out + moved.err
        node.start()
        node.wait_listening()
        client = NodeClient(node.url)
        wait_for(
            lambda: _status(client)["height"] >= town.height("sj"), f"{member} has caught up as an engine of its own"
        )
        town.decide("sys.key.add", "--registration", json.dumps(keys["consensus"]), voters=("ga", "rs", "sj"))
        town.record("ga")
        wait_for(lambda: _status(client)["height"] == town.height("sj"), f"{member} follows with a vote")
    finally:
        reader.close()
        node.stop()
    check_trace(folder)


def _status(client: NodeClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get_json(("v1", "status"))
    return found


def _old_engine(town: Town, seam: int) -> None:
    """Started as it was, the sequencer stands at the seam; a validator refuses another chain's genesis, or no seam."""
    folder = town.made.folders["sj"]
    town.nodes["sj"].stop()
    text = (folder / "node.toml").read_text("utf-8")
    (folder / "node.toml").write_text(text.replace('role = "validator"', 'role = "sequencer"'), "utf-8")
    town.nodes["sj"].start()
    town.nodes["sj"].wait_listening()
    height = town.height("sj")
    time.sleep(2)
    ran = town.append("rs")
    assert ran.code != 0 and town.height("sj") == height
    town.nodes["sj"].stop()
    (folder / "node.toml").write_text(text, "utf-8")
    path = folder / "comet" / "config" / "genesis.json"
    kept = path.read_bytes()
    path.write_bytes(kept.replace(b'-1","consensus', b'-2","consensus'))
    assert path.read_bytes() != kept
    town.nodes["sj"].start()
    wait_for(lambda: not town.nodes["sj"].running, "a validator does not start on another chain")
    wait_for(lambda: "chain-id" in town.nodes["sj"].log_tail(), "it says why")
    path.write_bytes(kept)
    # The ledger is behind the seam now, so this data directory moves no more, and never from anywhere else.
    ran = ledger("node", "move", folder, "--json", home=town.home)
    assert ran.code == 1 and "seam-height" in ran.out + ran.err
    town.nodes["sj"].start()
    town.nodes["sj"].wait_listening()
    wait_for(lambda: _ready(town.clients["sj"]), "sj is back")
    town.record("ws")


def _move_again(town: Town) -> None:
    """SPEC R-N60, R-N63: a vote moves on to a chain of a new number; the old one goes on without blocks of the ledger until
    the nodes are stopped, and its data are set aside."""
    chain = chain_id(town.made.genesis.origin, 2)
    town.decide("sys.engine.move", "--set", f"chain_id={chain}", voters=("ga", "rs", "sj"))
    seam = town.height("sj")
    for name in NAMES:
        wait_for(
            lambda each=name: _certified(town.clients[each]) == seam, f"{name} holds the certificate of the new seam"
        )
    refused = town.append("rs")
    assert refused.code != 0 and "engine-moved" in refused.out + refused.err
    for name in NAMES:
        town.nodes[name].stop()
    for name in NAMES:
        folder = town.made.folders[name]
        moved = town.run("node", "move", folder)
        assert moved.code == 0 and (moved.json["chain"], moved.json["seam"]) == (chain, seam), moved.out + moved.err
        assert (folder / "comet" / f"data-{chain_id(town.made.genesis.origin, 1)}").is_dir()
    town.restart()
    town.record("ga")
    town.nodes["sj"].stop()  # so that its last certificate is on disk
    export = town.home / "again"
    written = ledger("export", "archive", export, "--data", town.made.folders["sj"], "--json", home=town.home)
    assert written.code == 0, written.out + written.err
    report = ledger("verify", export, "--origin", town.made.genesis.origin, "--json", home=town.home).json
    assert report["findings"] == [] and report["counts"]["blocks"] >= seam + 2
    assert report["counts"]["natives"] > 0  # CometBFT's own commits, under the chain id of their time


__all__ = ["Town", "network"]
