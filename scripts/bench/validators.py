"""Networks for `./dev bench engine`: validators of ours, and CometBFT's own kvstore in process, with the same settings.

Each has its own temporary folder and is ended here. Not here: what is sent (see `engine`).
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ledger import framing
from ledger.adapters.home.comethome import CONFIG, create_keys, create_signing_state, write_config, write_genesis
from ledger.adapters.home.comethome import comet_genesis as genesis_document
from ledger.adapters.home.keyfile import read_key
from ledger.adapters.home.network import create_network, free_ports, read_rulebook
from ledger.adapters.home.networkplan import KeyPlan, MemberPlan, NetworkPlan
from ledger.adapters.home.nodefile import event_key_file
from ledger.client.http import NodeClient
from ledger.client.request import parse_appended, submit
from ledger.errors import UnavailableError
from ledger_node.comet.binary import find_binary
from ledger_node.comet.process import CometProcess
from ledger_node.comet.rpc import CometRpc
from ledger_node.contracts_folder import rulebook_folder
from ledger_node.local import LocalNetwork
from scripts.bench.workload import KEYS, MEMBERS, Workload

GRANTS = 60
SETTLED = 40  # submissions of 100 events before anything is measured
START_S = 60.0
SUBSCRIPTIONS = "max_subscription_clients = 1000\nmax_subscriptions_per_client = 1000\n"  # the client waits for commits


@dataclass(slots=True)
class Validators:
    """A running network of ours, its catalogue and grants recorded."""

    network: LocalNetwork
    workload: Workload

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """(host, port) of each node."""
        parts = [urlsplit(node.url) for node in self.network.nodes]
        return [(part.hostname or "", part.port or 0) for part in parts]

    @property
    def pids(self) -> list[int]:
        """Process ids of the nodes."""
        return [node.pid for node in self.network.nodes]


@contextmanager
def validators(count: int) -> Iterator[Validators]:
    """`count` validators with the full rulebook; the first four act."""
    folder = Path(tempfile.mkdtemp(prefix="suyuan-bench-"))
    rulebook, calendars = read_rulebook(rulebook_folder("data-sharing"))
    names = [*MEMBERS, *(f"v{number}" for number in range(len(MEMBERS), count))][:count]
    members = [
        MemberPlan(
            id=name,
            title={"zh": f"部门 {name}", "en": f"Department {name}"},
            roles=("department",),
            keys=tuple(KeyPlan(label, roles) for label, roles in KEYS.items()),
        )
        for name in names
    ]
    plan = NetworkPlan(
        name="bench.local", members=members, sequencer="", rulebook=rulebook, calendars=calendars,
        time=time.time_ns() // 1_000_000, engine="cometbft",
    )  # fmt: skip
    try:
        made = create_network(folder / "network", plan)
        with LocalNetwork(made.folders.values()) as network:
            signers = {
                (name, label): read_key(made.folders[name] / event_key_file(name, label))
                for name in MEMBERS
                for label in KEYS
            }
            found = Validators(network, Workload(made.genesis.origin, signers))
            client = NodeClient(network.nodes[0].url)
            for wave in found.workload.setup(GRANTS):
                for submission in wave:
                    answer = parse_appended(client.send(submit(framing.encode(submission))))
                    if any(event.outcome != "accepted" for event in answer.events):
                        raise RuntimeError(f"set-up was not accepted: {answer.events[0]}")
            # Each store trains its compression dictionaries once, at some thousand events: a third of a second at one block.
            for body in found.workload.framed(100, SETTLED):
                parse_appended(client.send(submit(body)))
            yield found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(slots=True)
class Kvstore:
    """A running network of CometBFT with its own key-value store in process."""

    homes: list[Path]
    processes: list[CometProcess]


@contextmanager
def kvstore(count: int) -> Iterator[Kvstore]:
    """`count` validators, settings as ours."""
    folder = Path(tempfile.mkdtemp(prefix="suyuan-bench-kv-"))
    binary = find_binary()
    homes = [folder / f"n{number}" for number in range(count)]
    keys = [create_keys(home) for home in homes]
    ports = free_ports(count)
    named = [(f"n{number}", each.consensus.public) for number, each in enumerate(keys)]
    document = genesis_document(
        chain_id="bench-kv", time_ms=time.time_ns() // 1_000_000, validators=named, origin="bench"
    )
    peers = [f"{each.node_id}@127.0.0.1:{port}" for each, port in zip(keys, ports, strict=True)]
    processes: list[CometProcess] = []
    try:
        for number, home in enumerate(homes):
            create_signing_state(home)
            write_genesis(home, document)
            others = [peer for place, peer in enumerate(peers) if place != number]
            write_config(home, listen=f"127.0.0.1:{ports[number]}", peers=others, moniker=f"n{number}")
            config = home / CONFIG
            config.write_text(config.read_text("utf-8").replace("[rpc]\n", f"[rpc]\n{SUBSCRIPTIONS}"), "utf-8")
            process = CometProcess(home, binary, arguments=("--proxy_app", "kvstore"))
            processes.append(process)
            process.start()
        for home in homes:
            _await_height(home)
        yield Kvstore(homes, processes)
    finally:
        for process in processes:
            process.close()
        shutil.rmtree(folder, ignore_errors=True)


def _await_height(home: Path) -> None:
    rpc, until = CometRpc(home), time.monotonic() + START_S
    while time.monotonic() < until:
        try:
            if int(rpc.status()["sync_info"]["latest_block_height"]) >= 2:
                return
        except UnavailableError:
            pass
        time.sleep(0.1)
    raise RuntimeError("kvstore did not start")
