"""A department that joins: keys of its own, an invitation without secrets, and registrations that anybody can check."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.adapters.home.comethome import CONSENSUS_KEY, HOME, P2P_KEY, SIGNING_STATE, read_keys
from ledger.adapters.home.datadir import DATABASE, LOG_STATE, SIGNER_STATE
from ledger.adapters.home.joining import FromSnapshot, Invitation, join_node, parse_peers, read_invitation
from ledger.adapters.home.network import (
    INVITATION,
    PEERS,
    CreatedNetwork,
    MemberPlan,
    NetworkPlan,
    create_network,
    read_rulebook,
)
from ledger.adapters.home.nodefile import member_of, read_settings
from ledger.adapters.home.statesyncfile import STATE_SYNC, SyncRequest, TrustedHeader, read_request
from ledger.core.genesis import COMETBFT, SEQUENCER
from ledger.core.hashing import sha256
from ledger.core.keys import CONSENSUS, COSIGN, EVENT, LOG, P2P, node_id, parse_public_key, registration_message
from ledger.errors import ConflictError, MalformedError, NotFoundError, RejectedError

ROOT = Path(__file__).resolve().parents[4]
TITLE = {"zh": "局", "en": "Bureau"}
NAMES = ("ga", "rs", "sj", "ws")


def network(folder: Path, engine: str) -> CreatedNetwork:
    """Four nodes, as hand-over folders."""
    rulebook, calendars = read_rulebook(ROOT / "contracts" / "data-sharing")
    members = [MemberPlan(name, TITLE, ("department",)) for name in NAMES]
    sequencer = "" if engine == COMETBFT else "ga"
    plan = NetworkPlan("net.test", members, sequencer, rulebook, calendars, 1_795_248_000_000, engine=engine)
    return create_network(folder, plan, hand_over=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> CreatedNetwork:
    """A CometBFT network."""
    return network(tmp_path_factory.mktemp("joined") / "net", COMETBFT)


@pytest.fixture(scope="module")
def invitation(made: CreatedNetwork) -> Invitation:
    """Its invitation."""
    return read_invitation(made.folders["ga"].parent / INVITATION)


def test_an_invitation_names_every_validator_and_no_secret(made: CreatedNetwork, invitation: Invitation) -> None:
    """Genesis, bundles, HTTP and engine addresses of all; nothing that only its owner may read."""
    assert invitation.genesis == made.genesis
    assert invitation.http == tuple(made.urls[name] for name in NAMES)
    ids = {node_id(key.public) for _, key in made.genesis.keys(P2P)}
    assert {peer.partition("@")[0] for peer in invitation.p2p} == ids and len(ids) == 4
    names = {path.name for path in (made.folders["ga"].parent / INVITATION).rglob("*")}
    assert not any(name.endswith(".key") or name in ("token", "node_key.json") for name in names)


def test_a_validator_to_be(tmp_path: Path, made: CreatedNetwork, invitation: Invitation) -> None:
    """Its folder holds everything a validator has, and knows all others; the genesis is the network's."""
    joined = join_node(tmp_path / "data", invitation, "zr", listen="127.0.0.1:7701", p2p="10.0.0.9:26656")
    settings = read_settings(tmp_path / "data")
    assert settings == joined.settings and settings.role == "validator" and settings.url == "http://127.0.0.1:7701"
    keys = read_keys(tmp_path / "data" / HOME)
    assert settings.comet is not None and settings.comet.p2p_address == f"{keys.node_id}@10.0.0.9:26656"
    assert settings.comet.p2p_peers == invitation.p2p and settings.peers == invitation.http
    for name in (DATABASE, SIGNER_STATE, LOG_STATE, f"{HOME}/{SIGNING_STATE}", "token", "genesis.json"):
        assert (tmp_path / "data" / name).exists(), name
    for name in (CONSENSUS_KEY, P2P_KEY):
        assert stat.S_IMODE((tmp_path / "data" / HOME / name).stat().st_mode) == 0o600
    theirs = made.folders["ga"] / HOME / "config" / "genesis.json"
    assert (tmp_path / "data" / HOME / "config" / "genesis.json").read_bytes() == theirs.read_bytes()
    assert member_of(tmp_path / "data") == "zr"
    with pytest.raises(ConflictError):
        join_node(tmp_path / "data", invitation, "zr")


def test_each_registration_proves_its_key(tmp_path: Path, invitation: Invitation) -> None:
    """SPEC R-K04: one file a use; the proof is over this network, member and use."""
    joined = join_node(tmp_path / "data", invitation, "zr")
    assert set(joined.registrations) == set(joined.files) == {EVENT, COSIGN, LOG, P2P, CONSENSUS}
    for use, path in joined.files.items():
        document = json.loads(path.read_bytes())
        assert document == joined.registrations[use] and document["use"] == use
        assert document["origin"] == invitation.genesis.origin and document["member"] == "zr"
        key = parse_public_key(document["algorithm"], bytes.fromhex(document["public"]))
        key.verify(registration_message(invitation.genesis.origin, "zr", use), bytes.fromhex(document["proof"]))
    assert joined.registrations[EVENT]["roles"] == ["system"] and joined.registrations[LOG]["roles"] == []


def test_a_follower_to_be(tmp_path: Path) -> None:
    """Beside a sequencer the node follows: no log key, no engine, two registrations."""
    made = network(tmp_path / "net", SEQUENCER)
    joined = join_node(tmp_path / "data", read_invitation(tmp_path / "net" / INVITATION), "zr")
    settings = read_settings(tmp_path / "data")
    assert settings.role == "follower" and settings.peers[0] == made.urls["ga"] and settings.comet is None
    assert set(joined.registrations) == {EVENT, COSIGN}
    assert not (tmp_path / "data" / HOME).exists() and not (tmp_path / "data" / LOG_STATE).exists()


def test_a_bad_address_makes_nothing(tmp_path: Path, invitation: Invitation) -> None:
    """What cannot be listened on is told before the folder is made."""
    for given in ({"listen": "nowhere"}, {"p2p": "a:0"}):
        with pytest.raises(MalformedError) as caught:
            join_node(tmp_path / "data", invitation, "zr", **given)
        assert caught.value.code == "address"
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b'{"http":[],"p2p":[],"more":1}', b'{"http":{},"p2p":[]}', b'{"http":[1],"p2p":[]}', b"[" * 9999,
     b'{"http":[],"p2p":["a:1"]}'],
)  # fmt: skip
def test_what_is_no_list_of_peers(data: bytes) -> None:
    """Anything but the two lists is refused."""
    with pytest.raises(MalformedError) as caught:
        parse_peers(data)
    assert caught.value.code in ("peers", "address")


def test_a_folder_without_peers_is_no_invitation(made: CreatedNetwork) -> None:
    """A department's own folder is told apart from the invitation."""
    assert not (made.folders["ga"] / PEERS).exists()
    with pytest.raises(NotFoundError) as caught:
        read_invitation(made.folders["ga"])
    assert caught.value.code == "invitation"


def test_a_node_may_ask_to_join_from_a_snapshot(invitation: Invitation, tmp_path: Path) -> None:
    """SPEC R-N74, R-N75: the request lies beside the settings, with the header that people named, or none."""
    trusted = TrustedHeader(1200, sha256(b"header"))
    for name, asked in (("a", FromSnapshot()), ("b", FromSnapshot(trusted))):
        join_node(tmp_path / name, invitation, "jy", snapshot=asked)
        assert read_request(tmp_path / name) == SyncRequest(asked.trusted)
    join_node(tmp_path / "c", invitation, "jy")
    assert not (tmp_path / "c" / STATE_SYNC).exists()


def test_a_snapshot_of_a_ledger_that_moved_makes_a_validator_to_be(tmp_path: Path) -> None:
    """SPEC R-N74: it needs no seam, so that its keys are made at once; genesis.json of the chain it gets from others."""
    network(tmp_path / "net", SEQUENCER)
    moved = replace(read_invitation(tmp_path / "net" / INVITATION), moves=2, p2p=(f"{'ab' * 20}@127.0.0.1:1",))
    joined = join_node(tmp_path / "a", moved, "jy", snapshot=FromSnapshot())
    settings = read_settings(tmp_path / "a")
    assert settings.role == "validator" and settings.comet is not None and settings.comet.p2p_peers == moved.p2p
    assert set(joined.registrations) == {EVENT, COSIGN, LOG, P2P, CONSENSUS}
    assert read_request(tmp_path / "a") == SyncRequest(None, moved=True)
    assert not (tmp_path / "a" / HOME / "config" / "genesis.json").exists()
    assert (tmp_path / "a" / HOME / SIGNING_STATE).exists() and (tmp_path / "a" / LOG_STATE).exists()
    assert "pass_seams" not in (tmp_path / "a" / "node.toml").read_text("utf-8")


def test_a_snapshot_needs_two_nodes_and_a_ledger_that_cometbft_orders(invitation: Invitation, tmp_path: Path) -> None:
    """SPEC R-N74, R-N75: anything else is refused before a key is made."""
    network(tmp_path / "net", SEQUENCER)
    other = read_invitation(tmp_path / "net" / INVITATION)
    with pytest.raises(RejectedError) as engine:
        join_node(tmp_path / "a", other, "jy", snapshot=FromSnapshot())
    with pytest.raises(MalformedError) as few:
        join_node(tmp_path / "b", replace(invitation, http=invitation.http[:1]), "jy", snapshot=FromSnapshot())
    assert (engine.value.code, few.value.code) == ("state-sync-engine", "state-sync-nodes")
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()
