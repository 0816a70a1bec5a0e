"""A node with a short story behind it, the same bytes each time: what the examples of the HTTP interface are taken from.

Rule: everything is the product's own; only what differs from run to run is fixed: seeds of keys, chance, and the clock of
the machine. The node answers on a free loopback port. Not here: which requests become examples.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import sqlite3
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from unittest import mock

import httpx
import msgpack
import structlog

from ledger.adapters.home import network
from ledger.adapters.home.keyfile import read_key, write_key
from ledger.adapters.home.network import KeyPlan, MemberPlan, NetworkPlan, create_network, read_rulebook
from ledger.adapters.home.nodefile import TOKEN, event_key_file
from ledger.adapters.ordering.snapshots import StateSnapshots
from ledger.adapters.sqlite.frames import Compressor
from ledger.core.event import Event, new_event
from ledger.core.ident import format_time, parse_time, uuid7_at
from ledger.core.keys import ED25519, EVENT, Ed25519Signer, registration_message
from ledger.core.proposal import proposal_hash
from ledger.core.submission import Submission, new_submission
from ledger_node.__main__ import node_options
from ledger_node.http import routes_health
from ledger_node.http.app import create_app
from ledger_node.http.edge import Edge
from ledger_node.http.server import NodeServer
from ledger_node.intake import recording
from ledger_node.settings import Settings, load_settings
from ledger_node.wiring import Node
from scripts.make_vectors import raw_frame

ROOT: Final = Path(__file__).resolve().parent.parent
START: Final = parse_time("2026-09-01T00:30:00.000Z")  # a Tuesday morning in Beijing
WALL_NS: Final = parse_time("2026-10-12T01:00:00.000Z") * 1_000_000  # the machine's clock, which signs
DAY_MS: Final = 86_400_000
SNAPSHOT_HEIGHT: Final = 1_000  # CometBFT's
WAIT_S: Final = 30.0
PEERS: Final = {
    "node.peers": ["http://127.0.0.1:8651", "http://127.0.0.1:8652"],
    "comet.p2p_address": "9f1c2d3e4f5061728394a5b6c7d8e9f001122334@10.0.0.1:26656",
    "comet.p2p_peers": ["0011223344556677889900aabbccddeeff001122@10.0.0.2:26656"],
}
"""What another node would be told; this one runs alone."""


@dataclass
class Story:
    """The node, a client of it, and the names of what happened."""

    folder: Path
    node: Node
    client: httpx.Client
    starting: dict[str, Any]
    """What it said of its readiness before it was started."""
    chance: random.Random = field(default_factory=lambda: random.Random(809))
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def token(self) -> dict[str, str]:
        """The header of a local writer."""
        return {"authorization": f"Bearer {(self.folder / TOKEN).read_text('ascii').strip()}"}

    def event(self, kind: str, refs: dict[str, Any], **content: Any) -> Event:
        """An event at the ledger's time, with a new id unless `event_id` is among the fields."""
        now = self.node.head.time
        event_id = content.pop("event_id", None)
        return new_event(
            event_id=event_id or uuid7_at(now, self.chance.randbytes(10)),
            kind=kind,
            refs=refs,
            time_ms=now,
            salt=self.chance.randbytes(16),
            content=content,
        )

    def sign(self, member: str, event: Event, label: str) -> Submission:
        """The event under a member's key."""
        return new_submission(self.node.origin, member, read_key(self.folder / event_key_file(member, label)), [event])

    def record(self, member: str, label: str, event: Event, outcome: str = "accepted") -> str:
        """Have it recorded and certified; `<member>/<event id>`. `SystemExit` when it is decided otherwise."""
        answer = self.client.post(
            "/v1/submissions?ack=certified",
            content=framed(self.sign(member, event, label)),
            headers={"content-type": "application/msgpack"},
        )
        found = answer.json()
        if answer.status_code != 201 or found["events"][0]["outcome"] != outcome:
            raise SystemExit(f"the story went another way: {answer.text}")
        return f"{member}/{event.id}"

    def settle(self) -> None:
        """Wait until all that was written is certified, its certificate is stored, and it is indexed."""
        until = time.monotonic() + WAIT_S
        while not self._is_settled():
            if time.monotonic() > until:
                raise SystemExit("the node does not settle")
            time.sleep(0.01)

    def _is_settled(self) -> bool:
        certified = self.node.certificates.certified()
        if certified is None or certified.height != self.node.head.height:
            return False
        size = certified.result.checkpoint.size
        checks = {each["name"]: each["detail"] for each in self.client.get("/readyz").json()["checks"]}
        return checks["index"] == "0 blocks behind" and self.client.get(f"/v1/certificates/{size}").status_code == 200

    def step(self, ms: int) -> None:
        """Step the network's clock."""
        self.node.step_clock(self.node.head.time + ms)
        self.settle()


def framed(submission: Submission) -> bytes:
    """A submission as it is sent, its frame uncompressed: compressors differ from version to version."""
    flat = [part for event in submission.events for part in (event.head, event.body)]
    parts = [submission.member, submission.key_id, raw_frame(msgpack.packb(flat)), submission.signature]
    data: bytes = msgpack.packb([1, submission.origin, *parts])
    return data


def _version() -> str:
    """The node's version, which a checkout that was never installed does not know."""
    project = Path(__file__).resolve().parents[1] / "node" / "pyproject.toml"
    return str(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"])


@contextmanager
def open_story(folder: Path) -> Iterator[Story]:
    """A new network of three departments and the city government below `folder`, its one node, and what happened."""
    chance = random.Random(39)
    with ExitStack() as stack:
        stack.enter_context(structlog.testing.capture_logs())
        stack.enter_context(mock.patch("time.time_ns", return_value=WALL_NS))
        stack.enter_context(mock.patch("time.time", return_value=WALL_NS / 1e9))
        stack.enter_context(mock.patch.object(network, "create_key", _seeded_key))
        stack.enter_context(mock.patch.object(routes_health, "package_version", return_value=_version()))
        stack.enter_context(mock.patch.object(recording, "os", SimpleNamespace(urandom=chance.randbytes)))
        data_dir = create_network(folder, _plan()).folders["ga"]
        flags: dict[str, Any] = {
            "http.port": 0, "rules.runtime": "inline", "log.level": "error", "http.check_worker": False,
        }  # fmt: skip
        settings = load_settings(data_dir / "node.toml", {}, flags).settings
        node = Node(node_options(data_dir, settings))
        stack.callback(node.close)
        shown = load_settings(data_dir / "node.toml", {}, {**flags, **PEERS}).settings
        app = create_app(node, shown, token_file=data_dir / TOKEN)
        client = stack.enter_context(_served(app, shown))
        starting = client.get("/readyz", params={"lang": "en"}).json()
        node.start()
        story = Story(data_dir, node, client, starting)
        story.settle()
        _tell(story)
        yield story


@contextmanager
def _served(app: Edge, settings: Settings) -> Iterator[httpx.Client]:
    """A client of the application behind the product's own server."""
    server = NodeServer(app, settings)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until = time.monotonic() + WAIT_S
        while not server.started:
            if time.monotonic() > until or not thread.is_alive():
                raise SystemExit("the server does not start")
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=WAIT_S) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(WAIT_S)


def _plan() -> NetworkPlan:
    rulebook, calendars = read_rulebook(ROOT / "contracts" / "data-sharing")
    keys = tuple(
        KeyPlan(label, (role,))
        for label, role in (("event", "system"), ("office", "office-head"), ("head", "dept-head"))
    )
    voters = (KeyPlan("event"), KeyPlan("office", ("authority", "office-head")))
    members = [
        MemberPlan("ga", {"zh": "公安局", "en": "Public Security Bureau"}, ("department",), keys=keys),
        MemberPlan("rs", {"zh": "人社局", "en": "Human Resources Bureau"}, ("department",), host="ga", keys=keys),
        MemberPlan("sj", {"zh": "数据局", "en": "Data Bureau"}, ("authority", "department"), host="ga", keys=voters),
        MemberPlan("zf", {"zh": "市政府", "en": "City Government"}, ("authority",), host="ga", keys=voters),
    ]
    return NetworkPlan("jiangcheng", members, "ga", rulebook, calendars, START, clock="scenario")


def _seeded_key(path: Path, passphrase: bytes | None = None) -> Ed25519Signer:
    """A key file whose seed is the hash of its name."""
    seed = hashlib.sha256(f"example {path.name}".encode()).digest()
    write_key(path, seed, passphrase)
    return Ed25519Signer(seed)


def _tell(story: Story) -> None:
    """A dataset is published, lent out and used; one reply is overdue, one application refused, one proposal open."""
    ids, refs, event = story.ids, {"dataset": "ga/hukou"}, story.event
    draft = {
        "name": "户籍人口 household register", "items": ["name-tag", "status"], "format": "table", "frequency": "daily",
        "sharing": "conditional", "methods": ["api"], "level": "general", "purposes": ["pension-check"],
    }  # fmt: skip
    story.record("ga", "office", event("catalog.draft", refs, **draft))
    quality = {"completeness": 9800, "accuracy": 9900, "consistency": 9500, "timeliness": 9000}
    story.record("ga", "office", event("quality.plan", refs, **quality))
    story.record("ga", "head", event("catalog.submit", refs, attested=["secrecy", "pi-impact", "no-secrets"]))
    story.record("sj", "office", event("catalog.publish", {**refs, "item": ["name-tag", "status"]}))
    asked = {
        "basis": "条例第二十条", "purpose": "pension-check", "items": ["status"], "method": "api", "until": "2026-12-31",
    }  # fmt: skip
    ids["application"] = story.record("rs", "office", event("share.apply", refs, **asked))
    ids["waiting"] = story.record("rs", "office", event("share.apply", refs, **asked))
    ids["grant"] = story.record("ga", "office", event("share.approve", {**refs, "application": ids["application"]}))
    named = {**refs, "grant": ids["grant"]}
    ids["copy"] = story.record("ga", "event", event("share.deliver", named, to="rs", method="api", volume=1200))
    story.record("rs", "event", event("share.receive", {"copy": ids["copy"], "grant": ids["grant"]}))
    ids["access"] = story.record(
        "rs", "event", event("use.access", named, purpose="pension-check", items=["status"], count=3)
    )
    ids["refused"] = story.record("rs", "office", event("share.apply", {"dataset": "ga/ghost"}, **asked), "refused")
    story.step(30 * DAY_MS)
    _propose(story)
    certified = story.node.certificates.certified()
    if certified is None:
        raise SystemExit("nothing is certified")
    ids["size"] = str(certified.result.checkpoint.size)
    _as_beside_cometbft(story)


def _propose(story: Story) -> None:
    """The Data Bureau proposes a newcomer and votes for it; the other authority has not voted yet."""
    newcomer = Ed25519Signer(hashlib.sha256(b"example newcomer").digest())
    proof = newcomer.sign(registration_message(story.node.origin, "zx", EVENT)).hex()
    key = {
        "algorithm": ED25519, "proof": proof, "public": newcomer.public.raw.hex(), "roles": ["system"], "use": EVENT,
    }  # fmt: skip
    title = {"en": "Credit Office", "zh": "征信办"}
    args = {"attributes": {}, "keys": [key], "roles": ["department"], "title": title}
    made = story.event("sys.propose", {"member": "zx"}, action="sys.member.admit", args=args, reason="a new department")
    story.ids["proposal"] = story.record("sj", "office", made)
    vote = story.event("sys.approve", {"proposal": story.ids["proposal"]}, proposal_hash=proposal_hash(made.hash).hex())
    story.record("sj", "office", vote)
    story.settle()


def _as_beside_cometbft(story: Story) -> None:
    """Lay beside the checkpoint what a validator has: a commit of a real CometBFT network, and a snapshot of the state."""
    data = real_commit()["native"].encode("utf-8")
    with closing(sqlite3.connect(story.folder / "ledger.sqlite", timeout=WAIT_S)) as connection, connection:
        connection.execute(
            "INSERT OR REPLACE INTO native VALUES (?, ?)", (int(story.ids["size"]), Compressor().single(data))
        )
    with story.node.reader.snapshot() as snap:
        StateSnapshots(story.folder).write(SNAPSHOT_HEIGHT, snap)


def real_commit() -> dict[str, Any]:
    """A commit of a real CometBFT network: its RPC's `answer`, and `native` as a ledger keeps it."""
    vectors = json.loads((ROOT / "tests/vectors/native/commits.json").read_text("utf-8"))
    found: dict[str, Any] = vectors["commits"][0]
    return found


def base64_of(data: bytes) -> str:
    """Bytes as an example shows them."""
    return base64.b64encode(data).decode("ascii")


def time_text(ms: int) -> str:
    """A time as the interface writes it."""
    return format_time(ms)
