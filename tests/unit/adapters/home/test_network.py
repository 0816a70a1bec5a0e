"""Networks as they are made: keys where they belong, a genesis that pins them, states that are made once."""

from __future__ import annotations

import json
import shutil
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ledger.adapters.home.comethome import COMET_GENESIS, HOME, SECRETS, SIGNING_STATE, genesis_of, read_keys
from ledger.adapters.home.datadir import DATABASE, LOG_STATE, SIGNER_STATE
from ledger.adapters.home.keyfile import read_key
from ledger.adapters.home.network import (
    GENESIS,
    TRUST,
    CreatedNetwork,
    KeyPlan,
    MemberPlan,
    NetworkPlan,
    create_network,
    free_ports,
    init_node,
    read_rulebook,
)
from ledger.adapters.home.nodefile import encode_settings, member_of, members_held, read_settings, read_token
from ledger.core.genesis import COMETBFT, parse_genesis
from ledger.core.keys import CONSENSUS, COSIGN, EVENT, LOG, P2P, node_id
from ledger.errors import ConflictError, LedgerError, MalformedError, NotFoundError

ROOT = Path(__file__).resolve().parents[4]
TITLE = {"zh": "局", "en": "Bureau"}
TIME = 1_795_248_000_000


def plan(members: list[MemberPlan], sequencer: str = "ga") -> NetworkPlan:
    """A plan under the real rulebook."""
    rulebook, calendars = read_rulebook(ROOT / "contracts" / "data-sharing")
    return NetworkPlan("net.test", members, sequencer, rulebook, calendars, TIME)


MEMBERS = [
    MemberPlan("rs", TITLE, ("department",)),
    MemberPlan("ga", TITLE, ("department",), keys=(KeyPlan(), KeyPlan("office", ("office-head",)))),
    MemberPlan("hosted", TITLE, host="rs"),
]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> CreatedNetwork:
    """Two nodes and a member whose keys one of them keeps, as hand-over folders."""
    return create_network(tmp_path_factory.mktemp("made") / "net", plan(MEMBERS), hand_over=True)


def test_keys_lie_where_they_are_used(network: CreatedNetwork) -> None:
    """Each node holds its members' event keys and its cosigning key; only the sequencer holds the log key."""
    ga, rs = network.folders["ga"], network.folders["rs"]
    names = {
        member: sorted(path.name for path in (folder / "keys").iterdir()) for member, folder in network.folders.items()
    }
    assert names == {
        "ga": ["cosign.key", "event-ga.key", "log.key", "office-ga.key"],
        "rs": ["cosign.key", "event-hosted.key", "event-rs.key"],
    }
    assert members_held(rs) == ["hosted", "rs"] and member_of(rs) == "rs" and member_of(ga) == "ga"
    secrets = [path for folder in (ga, rs) for path in [*(folder / "keys").iterdir(), folder / "token"]]
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets} == {0o600}
    assert {stat.S_IMODE((folder / "keys").stat().st_mode) for folder in (ga, rs)} == {0o700}


def test_the_genesis_registers_exactly_these_keys(network: CreatedNetwork) -> None:
    """Every key file is registered for its member, use and roles, and every registered key has a file."""
    genesis = parse_genesis((network.folders["ga"] / GENESIS).read_bytes())
    assert genesis.origin == network.genesis.origin and genesis.name == "net.test"
    registered = {
        (member, use, key.public, key.roles) for use in (EVENT, COSIGN, LOG) for member, key in genesis.keys(use)
    }
    files = {
        ("ga", EVENT, "ga/keys/event-ga.key", ("system",)),
        ("ga", EVENT, "ga/keys/office-ga.key", ("office-head",)),
        ("ga", COSIGN, "ga/keys/cosign.key", ()),
        ("ga", LOG, "ga/keys/log.key", ()),
        ("rs", EVENT, "rs/keys/event-rs.key", ("system",)),
        ("rs", COSIGN, "rs/keys/cosign.key", ()),
        ("hosted", EVENT, "rs/keys/event-hosted.key", ("system",)),
    }
    folder = network.folders["ga"].parent
    assert registered == {(member, use, read_key(folder / file).public, roles) for member, use, file, roles in files}


def test_nodes_know_each_other(network: CreatedNetwork) -> None:
    """Settings name role and peers, addresses differ, tokens differ, and the trust file pins the origin."""
    ga, rs = (read_settings(network.folders[member]) for member in ("ga", "rs"))
    assert (ga.role, rs.role) == ("sequencer", "follower")
    assert ga.peers == (rs.url,) and rs.peers == (ga.url,) and ga.url == network.urls["ga"]
    tokens = {read_token(folder) for folder in network.folders.values()}
    assert len(tokens) == 2 and all(token and len(token) > 32 for token in tokens)
    folder = network.folders["ga"].parent
    assert json.loads((folder / TRUST).read_text()) == {"origin": network.genesis.origin}
    assert (folder / GENESIS).read_bytes() == network.genesis.data


def test_a_hand_over_folder_becomes_a_data_directory_once(network: CreatedNetwork, tmp_path: Path) -> None:
    """`init_node` makes block 0 and fresh states for the keys there are; a second time is refused, in both folders."""
    source = tmp_path / "handed-over"
    shutil.copytree(network.folders["ga"], source)
    genesis, settings = init_node(source, tmp_path / "data")
    assert genesis.origin == network.genesis.origin and settings.role == "sequencer"
    made = {path.name for path in (tmp_path / "data").iterdir()}
    assert {DATABASE, SIGNER_STATE, LOG_STATE, "keys", "token", GENESIS} <= made
    assert read_key(tmp_path / "data" / "keys" / "log.key").public == read_key(source / "keys" / "log.key").public
    for again in (tmp_path / "data", source):
        with pytest.raises(ConflictError) as caught:
            init_node(tmp_path / "data", again)
        assert caught.value.code == "node-initialised"
    follower = tmp_path / "follower"
    init_node(network.folders["rs"], follower)
    assert (follower / SIGNER_STATE).exists() and not (follower / LOG_STATE).exists()


def comet_plan(members: list[MemberPlan], **parts: Any) -> NetworkPlan:
    """A plan with CometBFT."""
    return replace(plan(members, ""), engine=COMETBFT, **parts)


@pytest.fixture(scope="module")
def validators(tmp_path_factory: pytest.TempPathFactory) -> CreatedNetwork:
    """Four validators, an observer and a hosted member, as hand-over folders."""
    members = [MemberPlan(name, TITLE, ("department",), p2p=f"10.0.0.{at}:26656") for at, name in enumerate("abcd", 1)]
    members += [MemberPlan("audit", TITLE, ("auditor",), validator=False), MemberPlan("hosted", TITLE, host="a")]
    return create_network(tmp_path_factory.mktemp("comet") / "net", comet_plan(members), hand_over=True)


def test_validators_hold_what_they_register(validators: CreatedNetwork) -> None:
    """SPEC R-N01: each validator's folder holds its engine's two keys beside the others; others none."""
    genesis = validators.genesis
    assert genesis.engine == COMETBFT
    assert validators.roles == {
        "a": "validator",
        "b": "validator",
        "c": "validator",
        "d": "validator",
        "audit": "observer",
    }
    for use, name in ((CONSENSUS, "consensus"), (P2P, "p2p")):
        held = {m: getattr(read_keys(validators.folders[m] / HOME), name).public for m in "abcd"}
        assert held == {member: key.public for member, key in genesis.keys(use)}
    for use in (COSIGN, LOG):
        assert [member for member, _ in genesis.keys(use)] == list("abcd")
    audit = validators.folders["audit"]
    assert sorted(path.name for path in (audit / "keys").iterdir()) == ["event-audit.key"]
    assert not (audit / HOME).exists() and read_settings(audit).comet is None


def test_validators_know_each_other(validators: CreatedNetwork) -> None:
    """Settings name the other engines by node id and address, and the others' HTTP; the genesis of all is one."""
    settings = {member: read_settings(validators.folders[member]) for member in validators.folders}
    ids = {member: node_id(key.public) for member, key in validators.genesis.keys(P2P)}
    for at, member in enumerate("abcd", 1):
        comet = settings[member].comet
        assert comet is not None and comet.p2p_listen == f"10.0.0.{at}:26656"
        assert comet.p2p_address == f"{ids[member]}@10.0.0.{at}:26656"
        others = [other for other in "abcd" if other != member]
        assert set(comet.p2p_peers) == {f"{ids[o]}@10.0.0.{'abcd'.index(o) + 1}:26656" for o in others}
        assert settings[member].peers == tuple(validators.urls[other] for other in others)
    assert settings["audit"].peers == tuple(validators.urls[member] for member in "abcd")
    geneses = {(validators.folders[member] / HOME / COMET_GENESIS).read_bytes() for member in "abcd"}
    assert geneses == {genesis_of(validators.genesis)}
    names = [entry["name"] for entry in json.loads(geneses.pop())["validators"]]
    assert names == list("abcd")


def test_a_validators_signing_state_is_made_where_it_signs(validators: CreatedNetwork, tmp_path: Path) -> None:
    """A hand-over folder has none; `init_node` makes it once, and copies the engine's keys as secrets."""
    source = tmp_path / "handed-over"
    shutil.copytree(validators.folders["b"], source)
    assert not (source / HOME / SIGNING_STATE).exists()
    init_node(source, tmp_path / "data")
    for name in SECRETS:
        assert stat.S_IMODE((tmp_path / "data" / HOME / name).stat().st_mode) == 0o600
    assert {DATABASE, SIGNER_STATE, LOG_STATE} <= {path.name for path in (tmp_path / "data").iterdir()}
    (tmp_path / "data" / DATABASE).unlink()
    (tmp_path / "data" / SIGNER_STATE).unlink()
    (tmp_path / "data" / LOG_STATE).unlink()
    with pytest.raises(ConflictError) as caught:
        init_node(tmp_path / "data", tmp_path / "data")
    assert caught.value.code == "node-initialised"


@pytest.mark.parametrize(
    "parts",
    [{"sequencer": "a"}, {"clock": "scenario"}, {"engine": "raft"}, {"members": [MemberPlan("a", TITLE, validator=False)]},
     {"members": [MemberPlan("a", TITLE, p2p="a b:1")]},
     {"members": [MemberPlan("a", TITLE, listen="127.0.0.1:7", p2p="127.0.0.1:7")]}],
)  # fmt: skip
def test_a_plan_that_cometbft_cannot_follow_is_refused(tmp_path: Path, parts: dict[str, Any]) -> None:
    """A sequencer, a stepped clock, no validator, or two listeners on one address, are errors of the plan."""
    with pytest.raises(MalformedError) as caught:
        create_network(tmp_path / "net", replace(comet_plan([MemberPlan("a", TITLE)]), **parts), hand_over=True)
    assert caught.value.code in ("plan", "plan-address")


@pytest.mark.parametrize("name", [GENESIS, "node.toml", "bundles"])
def test_an_incomplete_hand_over_folder_is_refused(network: CreatedNetwork, tmp_path: Path, name: str) -> None:
    """A missing genesis, settings file or bundle is told before anything is made."""
    source = tmp_path / "handed-over"
    shutil.copytree(network.folders["rs"], source)
    shutil.rmtree(source / name) if (source / name).is_dir() else (source / name).unlink()
    with pytest.raises(NotFoundError):
        init_node(source, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_changed_bundle_is_refused(network: CreatedNetwork, tmp_path: Path) -> None:
    """A bundle file whose content is not what its name says is never compiled."""
    source = tmp_path / "handed-over"
    shutil.copytree(network.folders["rs"], source)
    path = source / "bundles" / f"{network.genesis.rulebook.hex()}.json"
    path.write_bytes(path.read_bytes().replace(b"department", b"departmemt", 1))
    with pytest.raises(MalformedError) as caught:
        init_node(source, tmp_path / "data")
    assert caught.value.code == "bundle-hash"


@pytest.mark.parametrize(
    ("members", "sequencer"),
    [
        ([MemberPlan("ga", TITLE)], "rs"),
        ([MemberPlan("ga", TITLE), MemberPlan("x", TITLE, host="y")], "ga"),
        ([MemberPlan("ga", TITLE), MemberPlan("x", TITLE, host="ga")], "x"),
        ([MemberPlan("g/a", TITLE)], "g/a"),
        ([MemberPlan("ga", TITLE, keys=(KeyPlan(), KeyPlan()))], "ga"),
        ([MemberPlan("ga", TITLE, keys=(KeyPlan("../x"),))], "ga"),
        ([MemberPlan("ga", TITLE, listen="nowhere")], "ga"),
        ([MemberPlan("ga", TITLE, listen="127.0.0.1:7"), MemberPlan("rs", TITLE, listen="127.0.0.1:7")], "ga"),
    ],
)
def test_a_plan_that_no_network_can_follow_is_refused(
    tmp_path: Path, members: list[MemberPlan], sequencer: str
) -> None:
    """Unknown sequencers and hosts, bad ids, labels and addresses are errors of the plan."""
    with pytest.raises(LedgerError) as caught:
        create_network(tmp_path / "net", plan(members, sequencer), hand_over=True)
    assert caught.value.code in ("plan", "plan-address", "member-id")


def test_nothing_is_made_in_a_folder_that_holds_something(tmp_path: Path) -> None:
    """A network needs a new or empty folder."""
    (tmp_path / "keep.txt").write_text("x")
    with pytest.raises(ConflictError) as caught:
        create_network(tmp_path, plan(MEMBERS))
    assert caught.value.code == "folder-not-empty" and [path.name for path in tmp_path.iterdir()] == ["keep.txt"]


def test_a_rulebook_folder_needs_calendars(tmp_path: Path) -> None:
    """A folder without rules or calendars is no rulebook."""
    (tmp_path / "rulebook.toml").write_text("id='x'")
    with pytest.raises(MalformedError):
        read_rulebook(tmp_path)
    with pytest.raises(NotFoundError):
        read_rulebook(tmp_path / "none")


def test_free_ports_differ() -> None:
    """Ports are handed out once."""
    assert len(set(free_ports(8))) == 8


@pytest.mark.parametrize(
    "text",
    ["[http]\nport = 0", "[http]\nport = 'x'", "[node]\nrole = 3\n[http]\nport = 1", "node = 1", "[", "[http]\nhost=1"],
)
def test_settings_that_name_no_address_are_refused(tmp_path: Path, text: str) -> None:
    """A node.toml without a usable address is `node-settings`."""
    (tmp_path / "node.toml").write_text(text)
    with pytest.raises(MalformedError) as caught:
        read_settings(tmp_path)
    assert caught.value.code == "node-settings"
    with pytest.raises(NotFoundError):
        read_settings(tmp_path / "none")


def test_written_settings_read_back(tmp_path: Path) -> None:
    """What `encode_settings` writes is what `read_settings` finds, IPv6 included."""
    text = encode_settings("follower", ["http://127.0.0.1:1"], "::1", 8650, "Node of ga")
    (tmp_path / "node.toml").write_text(text)
    found = read_settings(tmp_path)
    assert (found.role, found.peers, found.url) == ("follower", ("http://127.0.0.1:1",), "http://[::1]:8650")
