"""A network to measure: made fresh in a temporary folder, one ordering node and, where asked for, followers."""

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
from ledger.adapters.home.keyfile import read_key
from ledger.adapters.home.network import CreatedNetwork, KeyPlan, MemberPlan, NetworkPlan, create_network, read_rulebook
from ledger.adapters.home.nodefile import event_key_file
from ledger.client.http import NodeClient
from ledger.client.request import parse_appended, submit
from ledger.core.submission import Submission
from ledger_node.contracts_folder import rulebook_folder
from ledger_node.local import LocalNetwork
from scripts.bench.workload import AUTHORITY, GRANTS, KEYS, MEMBERS, Workload


@dataclass(slots=True)
class Bed:
    """A running network with its catalogue and grants on the ledger."""

    made: CreatedNetwork
    network: LocalNetwork
    workload: Workload

    @property
    def host(self) -> str:
        """Host of the ordering node."""
        return urlsplit(self.network.nodes[0].url).hostname or ""

    @property
    def port(self) -> int:
        """Port of the ordering node."""
        return urlsplit(self.network.nodes[0].url).port or 0

    @property
    def folder(self) -> Path:
        """Data directory of the ordering node."""
        return self.network.nodes[0].folder

    def record(self, submission: Submission) -> None:
        """Record one submission; every event must be accepted."""
        answer = parse_appended(NodeClient(self.network.nodes[0].url).send(submit(framing.encode(submission))))
        wrong = [event for event in answer.events if event.outcome != "accepted"]
        if wrong:
            raise RuntimeError(f"set-up was not accepted: {wrong[0]}")


@contextmanager
def bed(followers: int = 0) -> Iterator[Bed]:
    """Make, start and set up a network; removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="suyuan-bench-"))
    try:
        with bed_in(folder, followers) as found:
            yield found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def bed_in(folder: Path, followers: int = 0, grants: int = GRANTS) -> Iterator[Bed]:
    """Make, start and set up a network below `folder`, which stays."""
    made = make(folder / "network", followers)
    with LocalNetwork(made.folders.values()) as network:
        signers = {
            (member, label): read_key(made.folders.get(member, made.folders[AUTHORITY]) / event_key_file(member, label))
            for member in MEMBERS
            for label in KEYS
        }
        found = Bed(made, network, Workload(made.genesis.origin, signers))
        for wave in found.workload.setup(grants):
            for submission in wave:
                found.record(submission)
        yield found


def make(folder: Path, followers: int) -> CreatedNetwork:
    """Four members; the authority orders, the first `followers` others run nodes too."""
    rulebook, calendars = read_rulebook(rulebook_folder("data-sharing"))
    others = [member for member in MEMBERS if member != AUTHORITY]
    hosted = others[followers:]
    members = [
        MemberPlan(
            id=member,
            title={"zh": f"部门 {member}", "en": f"Department {member}"},
            roles=("department",),
            host=AUTHORITY if member in hosted else None,
            keys=tuple(KeyPlan(label, roles) for label, roles in KEYS.items()),
        )
        for member in MEMBERS
    ]
    now = time.time_ns() // 1_000_000
    return create_network(
        folder,
        NetworkPlan(
            name="bench.local", members=members, sequencer=AUTHORITY, rulebook=rulebook, calendars=calendars, time=now
        ),
    )
