"""Departments join a ledger that moved twice, on real processes: one walks through its log, one takes a snapshot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.adapters.home.comethome import COMET_GENESIS, HOME
from ledger.adapters.home.keyfile import read_key
from ledger.adapters.home.nodefile import COSIGN_KEY, read_settings
from ledger.adapters.home.statesyncfile import STATE_SYNC
from ledger.adapters.ordering.snapshots import FOLDER as SNAPSHOTS
from ledger.adapters.ordering.snapshots import StateSnapshots
from ledger.client.http import NodeClient
from ledger.core.engine import chain_id
from tests.faults.test_epoch_network import NAMES, _certified, _ready, four_nodes, wait_for
from tests.faults.test_move_engine import Town, _join_later, _status
from tests.models.traces import check_trace, traced
from tests.unit.cli.runner import ledger

binary = pytest.importorskip("ledger_node.comet.binary", reason="suyuan-node is not installed")
local = pytest.importorskip("ledger_node.local", reason="suyuan-node is not installed")

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]  # by `./dev soak`: minutes, and the machine to itself

EVERY = "[comet]\nsnapshots_every = 10\n"


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """Four nodes that a sequencer orders."""
    from ledger.errors import LedgerError

    try:
        binary.find_binary("")
    except LedgerError as error:
        pytest.skip(str(error))
    with four_nodes(tmp_path / "net", "again.test") as (made, nodes):
        yield Town(made, nodes, tmp_path)
    for folder in made.folders.values():
        check_trace(folder)


def cross(town: Town, *peers: str) -> int:
    """Every node stands at the certified seam, is moved there, and runs again; the seam's height."""
    seam = town.height("sj")
    for name in NAMES:
        wait_for(lambda each=name: _certified(town.clients[each]) == seam, f"{name} holds the certificate of the seam")
    for name in NAMES:
        town.nodes[name].stop()
    for name in NAMES:
        moved = town.run(
            "node", "move", town.made.folders[name], *(part for peer in peers for part in ("--peer", peer))
        )
        assert moved.code == 0 and moved.json["seam"] == seam, moved.out + moved.err
        settings = town.made.folders[name] / "node.toml"
        text = settings.read_text("utf-8")
        if "snapshots_every" not in text:
            settings.write_text(text.replace("[comet]\n", EVERY), "utf-8")
    town.restart()
    return seam


def _join_from_snapshot(town: Town, member: str) -> None:
    """SPEC R-N74 to R-N78: behind two seams the state of now is taken over, with the log from the first block on; the node
    votes, and the auditor replays what it took over."""
    folder, made = town.home / member, town.made
    source = ("--from", made.urls["sj"], "--member", member, "--state-sync")
    joined = ledger("node", "join", folder, *source, "--json", home=town.home)
    assert joined.code == 0 and joined.json["role"] == "validator", joined.out + joined.err
    assert not (folder / HOME / COMET_GENESIS).exists()
    keys: dict[str, Any] = joined.json["registrations"]
    given = [part for use, key in keys.items() if use != "consensus" for part in ("--registration", json.dumps(key))]
    titles = ("--title-zh", "教育局", "--title-en", "Education")
    town.decide("sys.member.admit", "--id", member, *titles, *given)
    node = traced(local.NodeProcess(folder))
    try:
        node.start()
        wait_for(lambda: not (folder / STATE_SYNC).exists(), f"{member} took a snapshot", 200)
        node.wait_listening()
        client = NodeClient(node.url)
        wait_for(lambda: _status(client)["height"] >= town.height("sj"), f"{member} has caught up")
        assert 0 < _status(client)["restored"] <= _status(client)["height"]
        theirs = made.folders["ga"] / HOME / COMET_GENESIS
        assert (folder / HOME / COMET_GENESIS).read_bytes() == theirs.read_bytes()
        folders = {**{name: made.folders[name] for name in NAMES}, member: folder}
        named = {name: read_key(each / COSIGN_KEY).public.key_id.hex() for name, each in sorted(folders.items())}
        cosigners = [part for name, key in named.items() for part in ("--cosigner", f"{name}={key}")]
        consensus = ("--registration", json.dumps(keys["consensus"]))
        town.decide("set.change", *consensus, *cosigners, voters=("ga", "rs", "sj"))
        town.record("ga")
        wait_for(lambda: _status(client)["height"] == town.height("sj"), f"{member} follows with a vote")
        wait_for(lambda: _ready(client), f"{member} is ready")
    finally:
        node.stop()
    check_trace(folder)
    report = ledger("verify", folder, "--origin", made.genesis.origin, "--no-remember", "--json", home=town.home).json
    assert report["findings"] == [] and report["counts"]["blocks"] > 1


def test_departments_join_a_ledger_that_moved_twice(town: Town) -> None:
    """SPEC R-N60 to R-N63, R-N74: two engines further than its genesis, a ledger is joined by replay from the last seam on,
    and from a snapshot; snapshots of the chain before are not among those that are offered."""
    prepared = town.prepare()
    town.decide("sys.engine.move", voters=("ga", "rs", "sj"))
    addresses = [document["p2p"] for document in prepared.values()]
    cross(town, *addresses)
    town.record("ws")
    chain = chain_id(town.made.genesis.origin, 2)
    town.decide("sys.engine.move", "--set", f"chain_id={chain}", voters=("ga", "rs", "sj"))
    old = town.made.folders["sj"] / SNAPSHOTS
    assert list(old.iterdir())
    kept = max(StateSnapshots(old.parent).heights())
    seam = cross(town, *addresses)
    assert kept not in StateSnapshots(old.parent).heights()
    town.record("rs")
    _join_later(town, seam, [part for address in addresses for part in ("--peer", address)], "zr")
    _join_from_snapshot(town, "zs")
    assert read_settings(town.home / "zs").role == "validator"
