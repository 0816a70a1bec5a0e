"""Who is among the validators changes while they run, by vote and over the command line: a fifth department joins, votes
itself and leaves again, while a stranger is kept out; a department's keys change places."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ledger.adapters.home.comethome import read_keys
from ledger.adapters.home.joining import join_node, read_invitation
from ledger.adapters.home.keyfile import read_key
from ledger.adapters.home.network import CreatedNetwork, create_network, read_rulebook
from ledger.adapters.home.networkplan import KeyPlan, MemberPlan, NetworkPlan
from ledger.adapters.home.nodefile import COSIGN_KEY
from ledger.core.keys import ED25519, PublicKey
from ledger_node.contracts_folder import rulebook_folder
from tests.models.comet_network import Validator, until, verify
from tests.models.comet_rpc import newest, peers, voters

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

FOUNDERS = ("ga", "rs", "sj", "ws")
AUTHORITY = "sj"
NEWCOMER = "jy"
STRANGER = "xx"
RENEWED = "ga"


@dataclass
class Members:
    """The network that was made, and its nodes by member, the newcomer's included once it was made."""

    top: Path
    made: CreatedNetwork
    binary: Path
    nodes: dict[str, Validator]

    @property
    def origin(self) -> str:
        """The ledger's origin."""
        return self.made.genesis.origin

    def start(self, member: str) -> None:
        self.nodes[member] = Validator(self.top / member, self.binary)
        self.nodes[member].start()

    def cli(self, *arguments: str) -> dict[str, Any]:
        """One command, which has to succeed."""
        command = [sys.executable, "-m", "ledger.cli.main", *arguments, "--json"]
        done = subprocess.run(command, capture_output=True, check=False)
        assert done.returncode == 0, (arguments, done.stdout[-2000:], done.stderr[-2000:])
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def change(self, voters: tuple[str, ...], *arguments: str) -> None:
        """Propose, approve by `voters`, by several with their cosigners' keys, and wait until it is in force."""
        known = set(self.proposals())
        self.cli("approve", "propose", *arguments, "--data", str(self.top / AUTHORITY))
        until(lambda: set(self.proposals()) - known, f"{arguments[0]} is proposed")
        (name,) = set(self.proposals()) - known
        for member in voters:
            cosign = ("--cosign-key", str(self.top / member / COSIGN_KEY)) if len(voters) > 1 else ()
            self.cli("approve", "sign", name, *cosign, "--data", str(self.top / member))
        until(lambda: self.proposals()[name] == "enacted", f"{arguments[0]} is in force")

    def proposals(self) -> dict[str, str]:
        """Status by name."""
        found = self.nodes[AUTHORITY].client.get_json(["v1", "proposals"])
        return {each["name"]: each["proposal"]["status"] for each in found["items"]}

    def validators(self, member: str = AUTHORITY) -> int:
        """How many CometBFT counts in its newest set."""
        return len(voters(self.nodes[member].home))

    def level(self, *members: str) -> bool:
        """Whether these nodes have one log, certified to its end."""
        found = [self.nodes[member].status() for member in members]
        return len({(each["size"], each["certified_size"]) for each in found}) == 1 and (
            found[0]["size"] == found[0]["certified_size"]
        )

    def cosigners(self, *members: str) -> list[str]:
        """The options that name a set of cosigners."""
        named = []
        for member in sorted(members):
            key = read_key(self.top / member / COSIGN_KEY).public.key_id.hex()
            named += ["--cosigner", f"{member}={key}"]
        return named

    def stop(self) -> None:
        """End every process; what CometBFT asked of each node over all its runs had a legal order."""
        for node in self.nodes.values():
            node.stop()
            node.kill_comet()
        for node in self.nodes.values():
            node.check_calls()

    def connected(self, member: str) -> set[str]:
        """The node ids that a member's engine is connected to."""
        return peers(self.nodes[member].home)

    def record(self, member: str) -> None:
        """An event of a department's, recorded by its own node."""
        about = ("--ref", f"source={member}/desk", "--set", "system=desk", "--set", "method=by hand")
        told = ("--kind", "source.register", *about, "--set", "storage=none")
        self.cli("event", "append", *told, "--data", str(self.top / member))


def founded(
    top: Path, name: str, cometbft: Path, bundles: tuple[dict[str, bytes], dict[str, bytes]] | None = None
) -> Members:
    """The founders' network, made and not started; its sets may change without notice. `bundles` are rulebook and
    calendars, where they are not those that are shipped."""
    rulebook, calendars = bundles or read_rulebook(rulebook_folder("data-sharing"))
    plans = [
        MemberPlan(
            id=member,
            title={"zh": f"部门 {member}", "en": f"Department {member}"},
            roles=("authority",) if member == AUTHORITY else ("department",),
            keys=(KeyPlan(),),
        )
        for member in FOUNDERS
    ]
    made = create_network(
        top,
        NetworkPlan(
            name=name, members=plans, sequencer="", rulebook=rulebook, calendars=calendars,
            time=time.time_ns() // 1_000_000, engine="cometbft", parameters={"notice_hours": 0},
        ),
    )  # fmt: skip
    return Members(top, made, cometbft, {})


@pytest.fixture
def members(cometbft: Path, tmp_path: Path) -> Iterator[Members]:
    """Four validators whose sets may change without notice."""
    found = founded(tmp_path / "net", "members.local", cometbft)
    try:
        for member in FOUNDERS:
            found.start(member)
        for node in found.nodes.values():
            node.wait_listening(100)
        for node in found.nodes.values():
            node.wait_ready(100)
        yield found
    finally:
        found.stop()


def test_a_department_joins_votes_and_leaves(members: Members) -> None:
    """Admitted by vote it may connect and replays everything, while nobody talks to a stranger's node that calls the same
    founders (SPEC R-N14); in the set it is needed and there when a founder is away; out of the set the four go on without
    it. The auditor walks every change of the set."""
    join_node(members.top / STRANGER, read_invitation(members.top / "invitation"), STRANGER)
    members.start(STRANGER)
    joined = join_node(members.top / NEWCOMER, read_invitation(members.top / "invitation"), NEWCOMER)
    files = {use: str(path) for use, path in joined.files.items()}
    members.start(NEWCOMER)
    admit = [
        "--id",
        NEWCOMER,
        "--title-zh",
        "教育局",
        "--title-en",
        "Education",
        "--attribute",
        f"node={joined.settings.url}",
    ]
    admit += [part for use in ("event", "cosign", "log", "p2p") for part in ("--registration", files[use])]
    members.change((AUTHORITY,), "member.admit", *admit)
    until(lambda: members.level(*FOUNDERS, NEWCOMER), "the newcomer has everything")
    assert members.validators() == len(FOUNDERS)
    own = read_keys(members.nodes[NEWCOMER].home).node_id
    until(lambda: all(own in members.connected(each) for each in FOUNDERS), "every founder talks to it")
    check_stranger(members)

    everybody = members.cosigners(*FOUNDERS, NEWCOMER)
    members.change((AUTHORITY, "ga", "rs"), "set.change", "--registration", files["consensus"], *everybody)
    until(lambda: members.validators() == len(FOUNDERS) + 1, "five validators")
    until(lambda: members.level(*FOUNDERS, NEWCOMER), "level after the change")

    # Four of five are more than two thirds: without `ga` nothing is ordered or certified but with the newcomer's vote.
    members.nodes["ga"].kill()
    members.nodes["ga"].kill_comet()
    key = f"{NEWCOMER}={PublicKey(ED25519, bytes.fromhex(joined.registrations['consensus']['public'])).key_id.hex()}"
    leave = ["--end-validator", key, *members.cosigners(*FOUNDERS)]
    members.change((AUTHORITY, "rs", "ws", NEWCOMER), "set.change", *leave)
    until(lambda: members.validators() == len(FOUNDERS), "four validators again")
    members.record("rs")
    until(lambda: members.level("rs", "ws", AUTHORITY), "certified across the end of the epoch, with one of them dead")
    members.start("ga")
    until(lambda: members.level(*FOUNDERS), "level at the end")
    for node in members.nodes.values():
        node.stop()
    for member in ("ga", NEWCOMER):
        verdict, findings = verify(members.top / member, members.origin)
        assert (verdict, findings) == ("intact", []), (member, json.dumps(findings)[:3000])


def check_stranger(members: Members) -> None:
    """A node whose key nobody registered is connected to nobody and has nothing but block 0."""
    node = members.nodes[STRANGER]
    own = read_keys(node.home).node_id
    assert not any(own in members.connected(founder) for founder in FOUNDERS)
    # Its own filter lets in whom it calls, until that one has asked its registry and hung up.
    until(lambda: not members.connected(STRANGER), "nobody stays on the line")
    assert newest(node.home) == 0
    assert node.status()["height"] == 0
    node.stop()


def test_a_validators_keys_change_places(members: Members) -> None:
    """SPEC R-N52, R-G20, R-Q31: a new consensus key by `key.rotate`, a new cosigner key by `key.add` and `set.change`. The
    node votes and cosigns until each vote is in force, and afterwards nothing is ordered or certified without its new keys;
    the old ones have ended, and the auditor walks the change."""
    folder = str(members.top / RENEWED)
    node = members.nodes[RENEWED]
    others = tuple(each for each in FOUNDERS if each != RENEWED)
    made = members.cli("node", "renew-consensus", folder)  # while it runs
    rotated = ("--registration", made["registration"], "--ref", f"key={made['old_key_id']}")
    members.change(others, "key.rotate", *rotated)
    node.stop()
    assert members.cli("node", "renew-consensus", folder, "--switch")["key_id"] == made["key_id"]

    made = members.cli("node", "renew-cosigner", folder)
    node.start()
    node.wait_listening(100)
    new = ("--ref", f"member={RENEWED}", "--ref", f"key={made['key_id']}", "--set", f"key={json.dumps(made['key'])}")
    members.change((AUTHORITY,), "key.add", *new)
    members.change(others, "set.change", *members.cosigners(*FOUNDERS))
    old = read_key(members.top / RENEWED / "keys" / "cosign-1.key").public.key_id.hex()
    members.change((AUTHORITY,), "key.revoke", "--ref", f"member={RENEWED}", "--ref", f"key={old}")
    members.record("rs")  # the first block of the epoch that the new key cosigns
    until(lambda: members.level(*FOUNDERS), "level with the new keys")
    node.wait_ready(100)

    # Three of four: without `ga` and its new keys nothing would be ordered or certified.
    members.nodes["ws"].kill()
    members.nodes["ws"].kill_comet()
    members.record(RENEWED)
    until(lambda: members.level(RENEWED, "rs", AUTHORITY), "certified without ws")
    found = voters(members.nodes[AUTHORITY].home)
    assert len(set(found)) == members.validators() == len(FOUNDERS)
    assert read_keys(node.home).consensus.public.raw in found
    members.start("ws")
    until(lambda: members.level(*FOUNDERS), "level at the end")
    for each in members.nodes.values():
        each.stop()
    for member in (RENEWED, AUTHORITY):
        verdict, findings = verify(members.top / member, members.origin)
        assert (verdict, findings) == ("intact", []), (member, json.dumps(findings)[:3000])
