"""Four real nodes change their cosigner set: the old set certifies the epoch's last block, the new one goes on without the
node that left, also after restarts, and an auditor follows all of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ledger.adapters.home.keyfile import read_key
from ledger.adapters.home.network import CreatedNetwork, MemberPlan, NetworkPlan, create_network, read_rulebook
from ledger.client.http import NodeClient
from tests.unit.cli.runner import Ran, ledger

local = pytest.importorskip("ledger_node.local", reason="suyuan-node is not installed")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ROOT = Path(__file__).resolve().parents[2]
NAMES = ("sj", "ga", "rs", "ws")


@contextmanager
def four_nodes(folder: Path, name: str) -> Iterator[tuple[CreatedNetwork, Any]]:
    """Four nodes that cosign, sj orders and is the authority; changes need no notice here."""
    rulebook, calendars = read_rulebook(ROOT / "contracts" / "data-sharing")
    members = [
        MemberPlan(name, {"zh": name, "en": name}, ("authority", "department") if name == "sj" else ("department",))
        for name in NAMES
    ]
    now = time.time_ns() // 1_000_000
    plan = NetworkPlan(name, members, "sj", rulebook, calendars, now, parameters={"notice_hours": 0})
    made = create_network(folder, plan)
    with local.LocalNetwork(made.folders.values()) as nodes:
        yield made, nodes


@pytest.fixture
def network(tmp_path: Path) -> Iterator[tuple[CreatedNetwork, Any]]:
    """The network of these tests."""
    with four_nodes(tmp_path / "net", "epochs.test") as made:
        yield made


def wait_for(holds: Any, what: str, timeout_s: float = 60.0) -> None:
    until = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < until, f"not in time: {what}"
        time.sleep(0.05)


def test_network_goes_on_under_another_set(network: tuple[CreatedNetwork, Any], tmp_path: Path) -> None:
    """SPEC R-G20, R-G21, R-Q30: ws leaves the set by vote; three of three certify what follows."""
    made, nodes = network
    clients = {name: NodeClient(made.urls[name]) for name in NAMES}
    by_name = {node.folder: node for node in nodes.nodes}

    def call(*arguments: object, by: str) -> Ran:
        keys = made.folders[by] / "keys"
        signed = ["--member", by, "--key", keys / f"event-{by}.key"]
        return ledger(*arguments, *signed, "--json", env={"LEDGER_NODE": made.urls["sj"]}, home=tmp_path)

    kept = [[name, _cosign_id(made, name)] for name in sorted(NAMES) if name != "ws"]
    refs = [part for name, _ in kept for part in ("--ref", f"member={name}")]
    listed = ",".join(f'["{name}","{key}"]' for name, key in kept)
    ran = call("approve", "propose", "sys.set.change", *refs, "--set", f"cosigners=[{listed}]", by="sj")
    assert ran.code == 0, ran.out + ran.err
    event = ran.json["events"][0]
    name = f"{event['member']}/{event['id']}"
    wait_for(lambda: _proposal(clients["sj"], name) is not None, "the proposal is certified")
    for voter in ("ga", "rs", "sj"):
        key = made.folders[voter] / "keys" / "cosign.key"
        voted = call("approve", "sign", name, "--cosign-key", key, by=voter)
        assert voted.code == 0, voted.out + voted.err
    for client in clients.values():
        wait_for(lambda each=client: _config(each)["epoch"] == 1, "every node is in the next epoch")
    by_name[made.folders["ws"]].stop()
    height = clients["sj"].get_json(("v1", "status"))["height"]
    assert call("event", "append", "--kind", "none.such", by="ga").json["counts"]["refused"] == 1
    wait_for(lambda: _certified(clients["sj"]) > height, "the new set certifies without ws")
    sequencer = by_name[made.folders["sj"]]
    sequencer.kill()
    sequencer.start()
    sequencer.wait_listening()
    wait_for(lambda: _ready(clients["sj"]), "the ordering node is back")
    height = clients["sj"].get_json(("v1", "status"))["height"]
    assert call("event", "append", "--kind", "none.such", by="rs").json["counts"]["refused"] == 1
    wait_for(lambda: _certified(clients["sj"]) > height, "it goes on after a restart")
    report = ledger("verify", made.urls["sj"], "--origin", made.genesis.origin, "--json", home=tmp_path).json
    assert report["findings"] == []
    assert "epoch-uncertified" not in {gap["code"] for gap in report["not_checked"]}


def _cosign_id(made: CreatedNetwork, name: str) -> str:
    return read_key(made.folders[name] / "keys" / "cosign.key").public.key_id.hex()


def _config(client: NodeClient) -> dict[str, Any]:
    config: dict[str, Any] = client.get_json(("v1", "rulebooks"))["config"]
    return config


def _proposal(client: NodeClient, name: str) -> dict[str, Any] | None:
    items = client.get_json(("v1", "proposals"))["items"]
    return next((each for each in items if each["name"] == name), None)


def _certified(client: NodeClient) -> int:
    """Height of the latest certified block."""
    return int(client.get_json(("v1", "members"))["checkpoint"]["height"])


def _ready(client: NodeClient) -> bool:
    from ledger.client.request import get
    from ledger.errors import UnavailableError

    try:
        return client.send(get(["readyz"])).status == 200
    except UnavailableError:
        return False
