"""A validator that runs twice votes twice, and its department is on record for it (SPEC R-N54, R-N55).

`rs` starts a second node from the same hand-over folder: the same consensus key, an empty signing state, and a node key that
the members let in by an ordinary vote. The second node refuses every proposal (see `comet_node`), so that one key signs
for a block and for none. CometBFT proves it to the others, and one of them writes it into the ledger.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from os import urandom
from pathlib import Path
from typing import Any

import pytest

from ledger.adapters.home.comethome import HOME, P2P_KEY, create_keys, read_keys
from ledger.adapters.home.handover import init_node
from ledger.adapters.home.keyfile import read_key
from ledger.adapters.home.networkplan import free_ports
from ledger.adapters.home.nodefile import SETTINGS, CometSettings, edit_settings, event_key_file, read_settings
from ledger.client.governance import key_fields, propose, vote
from ledger.core import canonical
from ledger.core.engine import chain_id
from ledger.core.event import new_event, parse_event
from ledger.core.hashing import lp
from ledger.core.ident import uuid7_at
from ledger.core.keys import P2P, Signer
from ledger.core.leaf import Record, parse_leaf
from ledger.core.mapkeys import object_name, parse_object_value
from ledger.core.misbehaviour import DUPLICATE_VOTE, STATE_KIND, misbehaviour_key
from ledger.core.proposal import proposal_hash
from ledger.core.submission import Submission, new_submission
from tests.models.comet_network import CometNetwork, Load, Setup, Validator, comet_network, until
from tests.models.comet_rpc import asking, newest
from tests.unit.cli.runner import ledger

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TWICE = "rs"
VOTERS = ("ga", "sj", "ws")
PROVEN_S = 180.0
BLOCKS_MORE = 4  # by then each honest node has proposed what evidence it has


@pytest.fixture
def network(cometbft: Path, tmp_path: Path) -> Iterator[CometNetwork]:
    """Four validators whose nodes may record in their members' names."""
    with comet_network(tmp_path, cometbft, Setup(grants=4, speaks=True)) as found:
        yield found


@pytest.fixture
def twin(network: CometNetwork, cometbft: Path, tmp_path: Path) -> Iterator[Validator]:
    """The second node of `rs`, let in and not started; ended with the test."""
    found = Validator(second_node(network, tmp_path), cometbft)
    try:
        yield found
    finally:
        found.stop()
        found.kill_comet()
        found.check_calls()


def second_node(network: CometNetwork, top: Path) -> Path:
    """A data directory from the hand-over folder of `rs`, with a node key and addresses of its own."""
    handed = top / "handed-again"
    shutil.copytree(network.made.folders[TWICE], handed)
    p2p = create_keys(top / "spare")
    shutil.copyfile(top / "spare" / P2P_KEY, handed / HOME / P2P_KEY)
    first = read_settings(handed)
    assert first.comet is not None
    http, listen = free_ports(2)
    comet = CometSettings(f"127.0.0.1:{listen}", f"{p2p.node_id}@127.0.0.1:{listen}", first.comet.p2p_peers)
    text = (handed / SETTINGS).read_text("utf-8").replace(f"port = {first.port}\n", f"port = {http}\n")
    (handed / SETTINGS).write_text(edit_settings(text, first.role, comet, SETTINGS), "utf-8")
    folder = top / "nodes" / f"{TWICE}-again"
    folder.mkdir(mode=0o700)
    init_node(handed, folder)
    keys, before = read_keys(folder / HOME), read_keys(network.node(TWICE).home)
    assert keys.consensus.public == before.consensus.public and keys.node_id != before.node_id
    let_in(network, keys.p2p)
    return folder


def let_in(network: CometNetwork, key: Signer) -> None:
    """The members register a node key of `rs` by vote."""
    refs = {"key": key.public.key_id.hex(), "member": TWICE}
    args = {"key": key_fields(key, network.made.genesis.origin, TWICE, P2P)}
    asked = signed(network, TWICE, propose("sys.key.add", refs, args))
    accepted(network, TWICE, asked)
    (event,) = asked.events
    name, digest = f"{TWICE}/{event.id}", proposal_hash(event.hash)
    for member in VOTERS:
        accepted(
            network, member, signed(network, member, vote(name, digest, network.made.genesis.origin, approve=True))
        )

    def in_force() -> bool:
        found = network.node(TWICE).client.get_json(["v1", "proposals", name])
        return bool(found["proposal"]["status"] == "enacted")

    until(in_force, "the second node key is registered", 20)


def signed(network: CometNetwork, member: str, draft: Mapping[str, Any]) -> Submission:
    """An event of a member, by the key that its node holds."""
    now = time.time_ns() // 1_000_000
    event = new_event(
        event_id=uuid7_at(now, urandom(10)), kind=draft["kind"], refs=draft["refs"], time_ms=now, salt=urandom(16),
        content=draft["body"],
    )  # fmt: skip
    key = read_key(network.node(member).folder / event_key_file(member))
    return new_submission(network.made.genesis.origin, member, key, [event])


def accepted(network: CometNetwork, member: str, submission: Submission) -> None:
    """Record it, and have it accepted."""
    (event,) = network.record(submission, network.node(member)).events
    assert event.outcome == "accepted", event.verdict


def test_two_votes_of_one_key_are_recorded(network: CometNetwork, twin: Validator) -> None:
    """Evidence that CometBFT carried in blocks, of as many heights as it may be, becomes one accepted record, the same
    object on every honest node; nothing forks, the chain goes on, the auditor finds the ledger intact, and `ledger watch`
    tells who it was."""
    network.liars.add(TWICE)
    begin = newest(network.honest[0].home)
    twin.lie = "dissent"
    network.restart(twin)
    (twin.folder / "lie").touch()
    until(lambda: all(objects(network, node) for node in network.honest), "recorded by every honest node", PROVEN_S)
    twin.stop()
    seen = newest(network.honest[0].home)
    with Load(network) as load:
        until(lambda: newest(network.honest[0].home) >= seen + BLOCKS_MORE, "it goes on", 30)
        network.progress(network.honest)
    proven = carried(network.honest[0], begin)
    network.send_again(load)
    network.check(audited=[network.honest[0]])
    for node in network.honest:
        recorded = [(height, event) for height, event, outcome in accusations(node) if outcome == "accepted"]
        assert len(recorded) == 1
        assert recorded == list(objects(network, node).items())
        assert {height for height, _ in recorded} <= proven
    first, second = network.honest[:2]
    home = network.made.folders[TWICE].parent
    ran = ledger(
        "watch", "--once", "--json", "--node", first.client.url, "--also", second.client.url, "--trust",
        home / "trust.json", "--genesis", home / "genesis.json", "--evidence", home / "found", home=home,
    )  # fmt: skip
    assert ran.code == 0, ran.out + ran.err
    assert [each["accused"] for each in ran.json["misbehaviour"]] == [TWICE]


def carried(node: Validator, begin: int) -> set[int]:
    """The heights of double votes whose evidence stands in CometBFT's blocks from `begin` on."""
    top = newest(node.home)
    with asking(node.home) as rpc:
        blocks = [rpc.block(height)["block"] for height in range(begin, top + 1)]
    pieces = [piece["value"] for block in blocks for piece in block["evidence"]["evidence"]]
    return {int(piece["vote_a"]["height"]) for piece in pieces}


def objects(network: CometNetwork, node: Validator) -> dict[int, str]:
    """What a node's state says of the second votes of `rs`: by height the event that proved it."""
    prefix = b"\x02" + lp(STATE_KIND.encode("ascii"))
    key = read_keys(network.node(TWICE).home).consensus.public.key_id.hex()
    found: dict[int, str] = {}
    with node.snapshot() as snap:
        for at, row in snap.rows_with_prefix(prefix, None, 1000):
            (kind, name) = object_name(at)
            value = canonical.parse(parse_object_value(row.value)[1])
            height, chain = value["height"], chain_id(network.made.genesis.origin, 0)
            assert f"{kind}/{name}" == misbehaviour_key(TWICE, key, chain, height, DUPLICATE_VOTE)
            found[height] = str(value["event"])
    return found


def accusations(node: Validator) -> list[tuple[int, str, str]]:
    """Every recorded accusation: the height that it names, its event, and its outcome."""
    found = []
    with node.snapshot() as snap:
        for stored in snap.leaves(range(snap.head_size)):
            record = parse_leaf(stored.leaf)
            if isinstance(record, Record) and stored.head is not None and stored.body is not None:
                event = parse_event(stored.head, stored.body)
                if event.kind == "sys.misbehaviour":
                    outcome = str(canonical.parse(record.verdict)["outcome"])
                    found.append((int(event.content["height"]), f"{record.member}/{record.id}", outcome))
    return found
