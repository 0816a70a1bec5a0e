"""One real node behind real HTTP, for tests of the interface: a network of three departments on a simulated clock.

The node is built by the product's own wiring from a data directory that the product's own tools made; nothing is faked but
the clock, which the network itself declares. `tell_story` brings a dataset to publication, lends it out and lets a reply
fall overdue, so that every kind of answer has something to show.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from ledger import framing
from ledger.adapters.home.keyfile import read_key
from ledger.adapters.home.network import KeyPlan, MemberPlan, NetworkPlan, create_network, read_rulebook
from ledger.adapters.home.nodefile import TOKEN, event_key_file
from ledger.core.event import Event, new_event
from ledger.core.ident import parse_time, uuid7_at
from ledger.core.proof import Trust, trust_genesis
from ledger.core.submission import Submission, new_submission
from ledger_node.__main__ import node_options
from ledger_node.http.app import create_app
from ledger_node.http.server import NodeServer
from ledger_node.settings import load_settings
from ledger_node.wiring import Node

ROOT = Path(__file__).resolve().parents[2]
START = parse_time("2026-09-01T00:30:00.000Z")  # a Tuesday morning in Beijing
DAY_MS = 86_400_000
LABELS = {"event": ("system",), "office": ("office-head",), "head": ("dept-head",)}
MSGPACK = {"content-type": "application/msgpack"}


@dataclass
class LiveNode:
    """A running node. `client` talks to it; the token is not sent unless a test says so."""

    folder: Path
    node: Node
    client: httpx.Client
    port: int
    random: random.Random = field(default_factory=lambda: random.Random(809))
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def token(self) -> dict[str, str]:
        """The header of a local writer."""
        return {"authorization": f"Bearer {(self.folder / TOKEN).read_text('ascii').strip()}"}

    @property
    def trust(self) -> Trust:
        """The trust of somebody who pinned the genesis."""
        return trust_genesis(self.node.genesis, int(time.time()))

    def event(self, kind: str, refs: dict[str, Any], **content: Any) -> Event:
        """An event at the ledger's time."""
        now = self.node.head.time
        return new_event(
            event_id=content.pop("event_id", None) or uuid7_at(now, self.random.randbytes(10)),
            kind=kind,
            refs=refs,
            time_ms=now,
            salt=self.random.randbytes(16),
            content=content,
        )

    def sign(self, member: str, events: list[Event], label: str = "event") -> Submission:
        """The events under one signature of a member's key."""
        signer = read_key(self.folder / event_key_file(member, label))
        return new_submission(self.node.origin, member, signer, events)

    def post(self, submission: Submission, query: str = "?ack=certified") -> httpx.Response:
        """Send a signed submission."""
        return self.client.post(f"/v1/submissions{query}", content=framing.encode(submission), headers=MSGPACK)

    def record(self, member: str, label: str, kind: str, refs: dict[str, Any], **content: Any) -> str:
        """Record one event that the rules accept or call irregular; `<member>/<event id>`."""
        event = self.event(kind, refs, **content)
        answer = self.post(self.sign(member, [event], label))
        assert answer.status_code == 201, answer.text
        assert answer.json()["events"][0]["outcome"] != "refused", answer.text
        return f"{member}/{event.id}"

    def settle(self) -> None:
        """Wait until what was recorded so far is certified, so that two questions have the same answer."""
        assert self.node.certificates.wait_certified(self.node.head.size, 30), "the head is not certified in time"

    def step(self, ms: int) -> None:
        """Step the network's clock by `ms`, through the interface."""
        when = time_text(self.node.head.time + ms)
        answer = self.client.post("/v1/clock", json={"time": when}, headers=self.token)
        assert answer.status_code == 200, answer.text


def time_text(ms: int) -> str:
    """A time as the interface writes it."""
    from ledger.core.ident import format_time

    return format_time(ms)


@contextmanager
def live_node(folder: Path, **flags: Any) -> Iterator[LiveNode]:
    """A new network below `folder` with one running node; flags are settings by dotted name."""
    rulebook, calendars = read_rulebook(ROOT / "contracts" / "data-sharing")
    keys = tuple(KeyPlan(label, roles) for label, roles in LABELS.items())
    members = [
        MemberPlan("ga", {"zh": "公安局", "en": "Public Security Bureau"}, ("department",), keys=keys),
        MemberPlan("rs", {"zh": "人社局", "en": "Human Resources Bureau"}, ("department",), host="ga", keys=keys),
        MemberPlan(
            "sj",
            {"zh": "数据局", "en": "Data Bureau"},
            ("authority", "department"),
            host="ga",
            keys=(KeyPlan("event"), KeyPlan("office", ("authority", "office-head"))),
        ),
    ]
    plan = NetworkPlan("live.test", members, "ga", rulebook, calendars, START, clock="scenario")
    data_dir = create_network(folder, plan).folders["ga"]
    settings = load_settings(
        data_dir / "node.toml", {}, {"http.port": 0, "rules.runtime": "inline", "log.level": "error", **flags}
    ).settings
    node = Node(node_options(data_dir, settings))
    node.start()
    app = create_app(node, settings, token_file=data_dir / TOKEN)
    server = NodeServer(app, settings)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        _await(lambda: server.started, "the server starts")
        _await(lambda: all(passes for _, passes, _ in node.ready()), "the node is ready")
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield LiveNode(data_dir, node, client, port)
    finally:
        server.should_exit = True
        thread.join(20)
        node.close()


def tell_story(live: LiveNode) -> None:
    """A dataset is published, applied for twice, granted once, delivered and used; the second reply falls overdue."""
    ids, refs = live.ids, {"dataset": "ga/hukou"}
    live.record(
        "ga", "office", "catalog.draft", refs,
        name="户籍人口 household register", items=["name-tag", "status"], format="table", frequency="daily",
        sharing="conditional", methods=["api"], level="general", purposes=["pension-check"],
    )  # fmt: skip
    live.record(
        "ga", "office", "quality.plan", refs, completeness=9800, accuracy=9900, consistency=9500, timeliness=9000
    )
    live.record("ga", "head", "catalog.submit", refs, attested=["secrecy", "pi-impact", "no-secrets"])
    live.record("sj", "office", "catalog.publish", {**refs, "item": ["name-tag", "status"]})
    asked = {
        "basis": "条例第二十条", "purpose": "pension-check", "items": ["status"], "method": "api", "until": "2026-12-31",
    }  # fmt: skip
    ids["application"] = live.record("rs", "office", "share.apply", refs, **asked)
    ids["waiting"] = live.record("rs", "office", "share.apply", refs, **asked)
    named = {"application": ids["application"], "dataset": "ga/hukou"}
    ids["grant"] = live.record("ga", "office", "share.approve", named)
    named = {"dataset": "ga/hukou", "grant": ids["grant"]}
    ids["copy"] = live.record("ga", "event", "share.deliver", named, to="rs", method="api", volume=1200)
    live.record("rs", "event", "share.receive", {"copy": ids["copy"], "grant": ids["grant"]})
    ids["access"] = live.record("rs", "event", "use.access", named, purpose="pension-check", items=["status"], count=3)
    # Nobody may lend out what is not published: refused, and recorded all the same.
    ghost = live.sign("rs", [live.event("share.apply", {"dataset": "ga/ghost"}, **asked)], "office")
    answer = live.post(ghost)
    assert answer.json()["events"][0]["outcome"] == "refused", answer.text
    ids["refused"] = f"rs/{answer.json()['events'][0]['id']}"
    live.step(30 * DAY_MS)
    ids["late"] = live.record("rs", "event", "use.access", named, purpose="pension-check", items=["status"], count=1)


def _await(holds: Any, what: str, timeout_s: float = 30.0) -> None:
    until = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < until, f"not in time: {what}"
        time.sleep(0.01)
