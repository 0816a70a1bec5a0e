"""The demo's network: made, started and fed over the same HTTP interface that a department uses."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from time import time_ns
from typing import Any

from ledger import framing
from ledger.adapters.home.datadir import TOKEN
from ledger.adapters.home.keyfile import read_key
from ledger.adapters.home.network import CreatedNetwork, KeyPlan, MemberPlan, NetworkPlan, create_network, read_rulebook
from ledger.adapters.home.nodefile import event_key_file
from ledger.client.http import NodeClient
from ledger.client.request import Appended, Recorded, Request, parse_appended, parse_json, submit
from ledger.core.event import Event
from ledger.core.genesis import SEQUENCER
from ledger.core.ident import format_time
from ledger.core.keys import Signer
from ledger.core.submission import new_submission
from ledger.limits import SUBMISSION_EVENTS_MAX
from ledger_node.contracts_folder import rulebook_folder
from ledger_node.demo import city
from ledger_node.demo.scenario import START, Step
from ledger_node.local import LocalNetwork, NodeProcess


@dataclass(slots=True)
class Told:
    """What the story became: outcomes by (kind, outcome), findings by code, and steps that came out otherwise."""

    events: int = 0
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)
    surprises: list[tuple[Step, str]] = field(default_factory=list)
    notable: list[tuple[Step, dict[str, Any]]] = field(default_factory=list)


def make_network(folder: Path, extra_members: Sequence[MemberPlan] = (), *, engine: str = SEQUENCER) -> CreatedNetwork:
    """Four departments with a node each; `extra_members` have no node, the authority's keeps their keys.

    With the sequencer the authority's node orders and time is simulated; with CometBFT all four order, in real time.
    """
    simulated = engine == SEQUENCER
    rulebook, calendars = read_rulebook(rulebook_folder("data-sharing"))
    members = [
        MemberPlan(
            id=each.id,
            title={"zh": each.zh, "en": each.en},
            roles=each.roles,
            attributes={"level": "city", "territory": "420100"},
            keys=tuple(KeyPlan(label, city.key_roles(each.id, label)) for label in city.KEYS),
        )
        for each in city.DEPARTMENTS
    ]
    members += extra_members
    plan = NetworkPlan(
        name=city.NAME,
        members=members,
        sequencer=city.AUTHORITY if simulated else "",
        rulebook=rulebook,
        calendars=calendars,
        time=START - 60_000 if simulated else time_ns() // 1_000_000,
        clock="scenario" if simulated else "wall",
        engine=engine,
    )
    return create_network(folder, plan)


class Stage:
    """A made network and its running nodes."""

    def __init__(self, made: CreatedNetwork) -> None:
        self.made = made
        self.network = LocalNetwork(made.folders.values())
        self.sequencer = self.network.nodes[0]
        self.client = NodeClient(self.sequencer.url)
        self._signers: dict[tuple[str, str], Signer] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start every node, wait until each answers and the ordering one takes part; stop them at the end.

        The others take part with their first block, which `wait_ready` makes sure of once there was one.
        """
        try:
            for node in self.network.nodes:
                node.start()
            for node in self.network.nodes:
                node.wait_listening()
            self.sequencer.wait_ready()
            yield
        finally:
            self._stop()

    def _stop(self) -> None:
        """A sequencer's followers before it, so that it writes what it accepted; validators all at once."""
        if self.made.genesis.engine == SEQUENCER:
            self.network.stop()
            return
        with ThreadPoolExecutor(len(self.network.nodes)) as hands:
            list(hands.map(lambda node: node.stop(), self.network.nodes))

    def wait_ready(self) -> None:
        """Every node passes its own checks; raises `UnavailableError` naming those that do not hold."""
        for node in self.network.nodes:
            node.wait_ready()

    @property
    def origin(self) -> str:
        """The network's name."""
        return self.made.genesis.origin

    def client_of(self, member: str) -> NodeClient:
        """A client of the node of `member`."""
        return NodeClient(self.made.urls[member])

    def node_of(self, member: str) -> NodeProcess:
        """The process that runs the node of `member`."""
        folder = self.made.folders[member]
        return next(node for node in self.network.nodes if node.folder == folder)

    def replace_node(self, member: str, node: NodeProcess) -> NodeProcess:
        """From here on `node` runs for `member`; the one before was stopped."""
        self.network.nodes[self.network.nodes.index(self.node_of(member))] = node
        return node

    def signer(self, member: str, label: str) -> Signer:
        """A member's event key, from the folder of the node that keeps it."""
        found = self._signers.get((member, label))
        if found is None:
            folder = self.made.folders.get(member, self.made.folders[city.AUTHORITY])
            found = self._signers[member, label] = read_key(folder / event_key_file(member, label))
        return found

    def token(self, member: str) -> str:
        """The local writers' token of a node."""
        return (self.made.folders[member] / TOKEN).read_text("ascii").strip()

    def step_clock(self, time: int) -> None:
        """Step the scenario clock."""
        body = json.dumps({"time": format_time(time)}).encode("ascii")
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token(city.AUTHORITY)}"}
        parse_json(self.client.send(Request("POST", "/v1/clock", headers, body, wait_s=60)))

    def record(self, member: str, label: str, events: Sequence[Event], client: NodeClient | None = None) -> Appended:
        """Sign and submit events of one key."""
        submission = new_submission(self.origin, member, self.signer(member, label), events)
        return parse_appended((client or self.client).send(submit(framing.encode(submission))))

    def recorded(self, kind: str, object_id: str, client: NodeClient | None = None) -> Counter[str]:
        """How often each event stands in the stream of a thing, by `member/id`, as a node answers."""
        found: Counter[str] = Counter()
        after: int | None = 0
        while after is not None:
            page = (client or self.client).get_json(["v1", "streams", kind, object_id], {"after": after, "limit": 1000})
            leaves = [entry["leaf"] for entry in page["entries"] if entry["type"] == "record"]
            found.update(f"{leaf['member']}/{leaf['id']}" for leaf in leaves)
            after = page["next"]
        return found

    def play(self, steps: Iterable[Step]) -> Told:
        """Feed the story, moment by moment, and note what became of it.

        What several offices do in one moment arrives at the node together, as it does in a city; steps of one moment do
        not build on each other (`scenario.Step`).
        """
        told = Told()
        with ThreadPoolExecutor(len(city.DEPARTMENTS)) as offices:
            for time, steps_then in groupby(steps, key=lambda step: step.time):
                self.step_clock(time)
                moment = list(steps_then)
                desks: dict[tuple[str, str], list[Step]] = {}
                for step in moment:
                    desks.setdefault((step.member, step.key), []).append(step)
                became = dict(itertools.chain.from_iterable(offices.map(self._record_steps, desks.values())))
                for step in moment:
                    _note(told, step, became[step.event.id])
        return told

    def _record_steps(self, steps: list[Step]) -> list[tuple[str, Recorded]]:
        """Record what one key did; the outcomes by event id."""
        became: list[tuple[str, Recorded]] = []
        for start in range(0, len(steps), SUBMISSION_EVENTS_MAX):
            chunk = steps[start : start + SUBMISSION_EVENTS_MAX]
            appended = self.record(chunk[0].member, chunk[0].key, [step.event for step in chunk])
            became.extend((step.event.id, each) for step, each in zip(chunk, appended.events, strict=True))
        return became


def _note(told: Told, step: Step, became: Recorded) -> None:
    outcome, verdict = became.outcome, became.verdict
    told.events += 1
    told.outcomes[step.event.kind, outcome] += 1
    for finding in verdict.get("findings", []):
        told.findings[finding["code"]] += 1
    if outcome != step.expect:
        told.surprises.append((step, outcome))
    if step.note is not None:
        told.notable.append((step, verdict))
