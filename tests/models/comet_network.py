"""A real network of four validators, each a node process with its CometBFT, and what clients were told by it.

Everything runs on loopback below one folder. `CometNetwork` starts, kills, stops and continues single processes by their
ids, `Load` sends submissions from several clients as long as a test needs, `History` keeps every acknowledgement, and
`check` compares all of it with what the nodes have afterwards: no fork, equal roots and app hashes, nothing acknowledged
lost or doubled, a legal order of ABCI calls, and the auditor's word. Not here: what goes wrong (see `tests/faults`).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from ledger import framing
from ledger.adapters.home.comethome import HOME
from ledger.adapters.home.datadir import DATABASE, EVIDENCE
from ledger.adapters.home.handover import init_node
from ledger.adapters.home.keyfile import read_key
from ledger.adapters.home.network import CreatedNetwork, KeyPlan, MemberPlan, NetworkPlan, create_network, read_rulebook
from ledger.adapters.home.nodefile import SETTINGS, event_key_file
from ledger.adapters.ordering.evidence import evidence_files
from ledger.adapters.sqlite.reader import SqliteReader
from ledger.adapters.sqlite.snapshot import Snapshot
from ledger.client.http import NodeClient
from ledger.client.request import Appended, get, parse_appended, submit
from ledger.core import merkle
from ledger.core.checkpoint import app_hash
from ledger.core.hashing import Digest
from ledger.core.submission import Submission
from ledger.errors import LedgerError, UnavailableError
from ledger_node.comet.binary import VARIABLE
from ledger_node.comet.process import PID
from ledger_node.contracts_folder import rulebook_folder
from ledger_node.local import NodeProcess
from scripts.bench.workload import KEYS, MEMBERS, Workload
from tests.models.comet_rpc import newest, signed_headers, sync_info
from tests.models.relay import Relays
from tests.models.traces import PROGRAM, TRACE, check_trace

GRANTS: Final = 8
CLIENT_S: Final = 8.0  # how long a client waits before it asks another node
LEVEL_S: Final = 90.0
VERIFY_TRIES: Final = 5
APP_HASHES: Final = 12  # newest heights of CometBFT that are compared


class Validator(NodeProcess):
    """One node and the CometBFT that it runs. `shift_ms`, `lie`, `options` count from the next start (see `comet_node`)."""

    def __init__(self, folder: Path, binary: Path) -> None:
        super().__init__(folder, (), {VARIABLE: str(binary)})
        self.id, self.shift_ms, self.lie = folder.name, 0, ""
        self.options: tuple[str, ...] = ()
        self.client = NodeClient(self.url)

    def start(self) -> None:
        """See `NodeProcess`."""
        told = (*self.options, *(("--lie", self.lie) if self.lie else ()))
        self._program = (str(PROGRAM), "--trace", str(self.folder / TRACE), f"--shift-ms={self.shift_ms}", *told)
        super().start()

    @property
    def home(self) -> Path:
        """CometBFT's home."""
        return self.folder / HOME

    @property
    def comet_pid(self) -> int:
        """Process id of its CometBFT, an orphan of a killed node included; 0 where none runs."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.home / PID).read_text("ascii"))
            if str(self.home).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        return 0

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of its rule worker."""
        found = subprocess.run(
            ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(self.pid)], capture_output=True, check=False
        )
        lines = found.stdout.decode().splitlines()
        return [int(line.split()[0]) for line in lines if "ruleworker" in line and "defunct" not in line]

    def kill_comet(self) -> None:
        """SIGKILL for its CometBFT."""
        end(self.comet_pid)

    def status(self) -> dict[str, Any]:
        """`/v1/status`."""
        return self.client.get_json(["v1", "status"])

    @property
    def has_failed(self) -> bool:
        """Whether it writes no more, for a reason that it names."""
        checks = json.loads(self.client.send(get(["readyz"])).body)["checks"]
        return any(check["name"] == "engine" and check["detail"] for check in checks)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """SIGSTOP for the node and its CometBFT, SIGCONT at the end."""
        pids = [pid for pid in (self.pid, self.comet_pid) if pid]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """What it has stored, read beside it."""
        reader = SqliteReader(self.folder / DATABASE)
        try:
            with reader.snapshot() as snap:
                yield snap
        finally:
            reader.close()

    def check_calls(self) -> None:
        """What CometBFT asked over all its runs had a legal order (see `grammar`)."""
        if self._process is not None:
            check_trace(self.folder)

    def evidence(self) -> list[Path]:
        """The files of its evidence folder."""
        return sorted(evidence_files(self.folder / EVIDENCE))


def end(pid: int) -> None:
    """SIGKILL one process, where there is one."""
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def until(holds: Callable[[], object], what: str, timeout_s: float = LEVEL_S) -> None:
    """Wait for something; a node that does not answer means not yet."""
    end_at, seen = time.monotonic() + timeout_s, ""
    while True:
        try:
            if holds():
                return
        except (LedgerError, OSError) as error:
            seen = str(error)
        if time.monotonic() > end_at:
            raise AssertionError(f"not in time: {what} {seen}")
        time.sleep(0.05)


@dataclass
class History:
    """Every acknowledgement that a client got. Thread-safe."""

    events: dict[str, tuple[str, int | None, str]] = field(default_factory=dict)
    contradictions: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def told(self, answer: Appended) -> None:
        """A node acknowledged a submission; what it says of an event that was acknowledged before has to be the same."""
        with self._lock:
            for event in answer.events:
                now = (event.member, event.seq, event.outcome)
                before = self.events.setdefault(event.id, now)
                if before != now:
                    self.contradictions.append(f"{event.id}: {before}, then {now}")

    def __len__(self) -> int:
        return len(self.events)


class Load:
    """Clients that send one submission after the other, each to its own node, and to the next when that one fails.

    `sent` are the submissions in the order of their first sending, `unanswered` those that nobody acknowledged by the end.
    """

    def __init__(self, network: CometNetwork, *, batch: int = 3, pause_s: float = 0.03) -> None:
        self._network, self._batch, self._pause_s = network, batch, pause_s
        self._stop = threading.Event()
        self.sent: list[Submission] = []
        self.unanswered: list[Submission] = []
        self.refusals: list[str] = []
        self._threads = [
            threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(len(network.nodes))
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(4 * CLIENT_S)
        if any(thread.is_alive() for thread in self._threads):
            raise AssertionError("a client does not end")

    def _run(self, number: int) -> None:
        clients = [NodeClient(node.url, timeout_s=CLIENT_S) for node in self._network.nodes]
        at = number
        while not self._stop.is_set():
            submission = self._network.submission(MEMBERS[number % len(MEMBERS)], self._batch)
            self.sent.append(submission)
            while not self._acknowledged(clients[at % len(clients)], submission):
                if self._stop.is_set():
                    self.unanswered.append(submission)
                    return
                at += 1
                self._stop.wait(0.05)
            self._stop.wait(self._pause_s)

    def _acknowledged(self, client: NodeClient, submission: Submission) -> bool:
        try:
            self._network.history.told(parse_appended(client.send(submit(framing.encode(submission)))))
        except UnavailableError as error:
            self.refusals.append(error.code)
            return False
        return True


@dataclass
class CometNetwork:
    """Running validators, what clients record on them, and what clients were told."""

    made: CreatedNetwork
    nodes: list[Validator]
    workload: Workload
    relays: Relays | None = None
    history: History = field(default_factory=History)
    liars: set[str] = field(default_factory=set)
    _known_evidence: set[Path] = field(default_factory=set)
    _signing: threading.Lock = field(default_factory=threading.Lock)

    def node(self, member: str) -> Validator:
        """The node of a member."""
        return next(node for node in self.nodes if node.id == member)

    @property
    def honest(self) -> list[Validator]:
        """Those whose word counts."""
        return [node for node in self.nodes if node.id not in self.liars]

    def submission(self, member: str, count: int = 3) -> Submission:
        """A signed submission of the mix."""
        with self._signing:
            return self.workload.submission(member, "office", self.workload.mix(member, count))

    def record(self, submission: Submission, node: Validator, *, timeout_s: float = 40.0) -> Appended:
        """Have a submission recorded by one node. Raises what its answer says."""
        answer = parse_appended(NodeClient(node.url, timeout_s=timeout_s).send(submit(framing.encode(submission))))
        self.history.told(answer)
        return answer

    def send_again(self, load: Load, answered: int = 20) -> None:
        """What a load was not told of, and the last that it was told of, once more: nothing of it may be doubled."""
        for number, submission in enumerate([*load.unanswered, *load.sent[-answered:]]):
            self.record(submission, self.honest[number % len(self.honest)])

    def restart(self, *nodes: Validator) -> None:
        """Start what does not run, and wait until all of `nodes` work."""
        for node in nodes:
            if not node.running:
                node.start()
        for node in nodes:
            node.wait_listening()
        for node in nodes:
            node.wait_ready()

    def heal(self) -> None:
        """Everything runs as after the start, whatever a test before did."""
        if self.relays is not None:
            self.relays.heal()
        for node in self.nodes:
            if node.lie or node.shift_ms or (node.running and node.has_failed):
                node.stop()
                node.lie, node.shift_ms = "", 0
        self.liars.clear()
        self.restart(*self.nodes)
        self.await_level()
        self._known_evidence = {path for node in self.nodes for path in node.evidence()}

    def progress(self, nodes: Sequence[Validator] | None = None, timeout_s: float = LEVEL_S) -> None:
        """Wait until every one of `nodes` has recorded and certified something of now."""
        asked = nodes or self.nodes
        size = max(int(node.status()["size"]) for node in asked if node.running)
        until(lambda: all((node.status()["certified_size"] or 0) > size for node in asked), "it goes on", timeout_s)

    def await_level(self, nodes: Sequence[Validator] | None = None, timeout_s: float = LEVEL_S) -> None:
        """Wait until all have the same log, certified to its end, and it stays that way."""

        def level() -> bool:
            found = [node.status() for node in nodes or self.honest]
            heads = {(each["height"], each["size"], each["certified_size"]) for each in found}
            return len(heads) == 1 and found[0]["size"] == found[0]["certified_size"]

        try:
            until(level, "level", timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}: {[node.status() for node in nodes or self.honest]}") from error

    def stop(self) -> None:
        """End every process, orphans included; each node, liars too, was asked in a legal order to the end."""
        for node in self.nodes:
            with contextlib.suppress(ProcessLookupError, UnavailableError):
                os.kill(node.pid, signal.SIGTERM)
        for node in self.nodes:
            node.stop()
            node.kill_comet()
        for node in self.nodes:
            node.check_calls()

    # --- what has to hold after every fault ----------------------------------------------------------------------------

    def check(self, *, audited: Iterable[Validator] = (), evidence: bool = False) -> None:
        """All of it, on every honest node; `evidence`: there is guilt of which evidence was kept."""
        self.await_level()
        assert not self.history.contradictions, self.history.contradictions
        self.check_one_history()
        self.check_acknowledged()
        self.check_app_hashes()
        for node in self.honest:
            node.check_calls()
            kept = set(node.evidence())
            assert bool(kept - self._known_evidence) == evidence, (node.id, kept)
            self._known_evidence |= kept
        for node in audited:
            # The certificate of an idle ledger's head is written down some seconds after it is known.
            found = verify(node.folder, self.made.genesis.origin)
            for _ in range(VERIFY_TRIES):
                if found != ("incomplete", []):
                    break
                time.sleep(1)
                found = verify(node.folder, self.made.genesis.origin)
            assert found == ("intact", []), (node.id, found)

    def check_one_history(self) -> None:
        """Equal headers at every height, equal leaves, one root over all of them."""
        headers: list[bytes] = []
        roots = set()
        for node in self.honest:
            with node.snapshot() as snap:
                mine = [snap.block(height).header_leaf for height in range(snap.head_height + 1)]
                roots.add((snap.head_size, root_at(snap, snap.head_size)))
            headers = headers or mine
            assert mine == headers, f"{node.id} has another history"
        assert len(roots) == 1, roots

    def check_acknowledged(self) -> None:
        """Every acknowledged event is there once, at the place that was named, on every node."""
        for node in self.honest:
            with node.snapshot() as snap:
                for event_id, (member, seq, _) in self.history.events.items():
                    found = snap.find_event(member, event_id)
                    assert len(found) == 1, (node.id, event_id, found)
                    assert seq is None or found == [seq], (node.id, event_id, found, seq)

    def check_app_hashes(self) -> None:
        """CometBFT's headers of the newest heights carry the same app hash on every node, the last that of the log."""
        found = []
        for node in self.honest:
            headers = [each["header"] for each in signed_headers(node.home, newest(node.home) - APP_HASHES)]
            found.append({int(each["height"]): str(each["app_hash"]) for each in headers})
        shared = set.intersection(*map(set, found))
        assert shared and all(len({each[height] for each in found}) == 1 for height in shared), found
        with self.honest[0].snapshot() as snap:
            digest = app_hash(snap.head_size, root_at(snap, snap.head_size))
        # On an idle ledger the head's app hash stands in the header after the one that made it, two seconds later.
        until(
            lambda: bytes.fromhex(sync_info(self.honest[0].home)["latest_app_hash"]) == digest,
            "the ledger's app hash is CometBFT's",
        )


def root_at(snap: Snapshot, size: int) -> Digest:
    """The root over the first `size` leaves that a node has stored."""
    plan = merkle.range_nodes(0, size)
    stored = snap.log_nodes(plan)
    return merkle.fold([stored[each] for each in plan])


def verify(folder: Path, origin: str) -> tuple[str, list[Any]]:
    """The auditor's verdict over a data directory, and the findings."""
    done = subprocess.run(
        [sys.executable, "-m", "ledger.cli.main", "verify", str(folder), "--origin", origin, "--no-remember",
         "--max-age", "none", "--jobs", "1", "--json"],
        capture_output=True, check=False,
    )  # fmt: skip
    found = json.loads(done.stdout)
    return found["verdict"], found["findings"]


# --- building ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Setup:
    """What is unusual about a network: by member, another CometBFT and an address for its p2p; `prepared` is called with
    each data directory before it is filled; `speaks` gives each node an event key, so that it records in its member's
    name; `age_ms` is how long ago the network was founded."""

    binaries: Mapping[str, Path] = field(default_factory=dict)
    p2p: Mapping[str, str] = field(default_factory=dict)
    prepared: Callable[[Path], None] = lambda _folder: None
    relays: Relays | None = None
    grants: int = GRANTS
    speaks: bool = False
    age_ms: int = 0


@contextmanager
def comet_network(folder: Path, binary: Path, setup: Setup | None = None) -> Iterator[CometNetwork]:
    """Four validators with a catalogue and some grants on the ledger; everything that was started is ended."""
    setup = setup or Setup()
    made = make(folder / "handed", setup)
    folders = {}
    for member, handed in made.folders.items():
        folders[member] = folder / "nodes" / member
        folders[member].mkdir(parents=True, mode=0o700)
        setup.prepared(folders[member])
        init_node(handed, folders[member])
    if setup.relays is not None:
        _relay(made, folders, setup.relays)
    nodes = [Validator(data_dir, setup.binaries.get(member, binary)) for member, data_dir in folders.items()]
    keys = {(m, label): read_key(folders[m] / event_key_file(m, label)) for m in MEMBERS for label in KEYS}
    workload = Workload(made.genesis.origin, keys)
    del workload.datasets[setup.grants :]  # a grant each is enough
    network = CometNetwork(made, nodes, workload, setup.relays)
    try:
        network.restart(*nodes)
        for wave in network.workload.setup(setup.grants):
            for submission in wave:
                answer = network.record(submission, nodes[0])
                assert all(event.outcome == "accepted" for event in answer.events)
        network.await_level()
        yield network
    finally:
        network.stop()


def make(folder: Path, setup: Setup) -> CreatedNetwork:
    """Hand-over folders of four departments, each a validator, with the rulebook that is shipped."""
    rulebook, calendars = read_rulebook(rulebook_folder("data-sharing"))
    keys = tuple(KeyPlan(label, roles) for label, roles in KEYS.items())
    if setup.speaks:
        keys += (KeyPlan(),)
    members = [
        MemberPlan(member, {"zh": f"部门 {member}", "en": f"Department {member}"}, ("department",), keys=keys,
                   p2p=setup.p2p.get(member, ""))
        for member in MEMBERS
    ]  # fmt: skip
    founded = time.time_ns() // 1_000_000 - setup.age_ms
    plan = NetworkPlan("faults.test", members, "", rulebook, calendars, founded, engine="cometbft")
    return create_network(folder, plan, hand_over=True)


def _relay(made: CreatedNetwork, folders: Mapping[str, Path], relays: Relays) -> None:
    """Have each node call the others through relays, for HTTP and for CometBFT."""
    ports = {(member, "http"): int(url.rsplit(":", 1)[1]) for member, url in made.urls.items()}
    for member, data_dir in folders.items():
        found = re.search(r'p2p_listen = "127\.0\.0\.1:(\d+)"', (data_dir / SETTINGS).read_text("utf-8"))
        assert found is not None
        ports[member, "p2p"] = int(found[1])
    relays.reserved |= set(ports.values())  # their owners do not listen yet
    for member, data_dir in folders.items():
        text = (data_dir / SETTINGS).read_text("utf-8")
        for (other, what), port in ports.items():
            if other != member:
                # The node's own lines name its own ports only, so the others' stand where it calls them.
                text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{relays.add(member, other, what, port)}")
        (data_dir / SETTINGS).write_text(text, "utf-8")
