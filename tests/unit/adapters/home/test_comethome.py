"""CometBFT's home: the same genesis on every node, keys that are made once, settings that hold what was measured."""

from __future__ import annotations

import hashlib
import json
import stat
import subprocess
import tomllib
from base64 import b64decode
from pathlib import Path

import pytest

from ledger.adapters.home import comethome
from ledger.adapters.home.comethome import (
    COMET_GENESIS,
    CONFIG,
    CONSENSUS_KEY,
    P2P_KEY,
    SECRETS,
    SIGNING_STATE,
    comet_genesis,
    create_keys,
    create_signing_state,
    encode_config,
    read_keys,
    write_config,
    write_home,
)
from ledger.core.engine import chain_id
from ledger.core.keys import Ed25519Signer
from ledger.errors import ConflictError, MalformedError, NotFoundError, RejectedError

ORIGIN = "net.test/" + "ab" * 32
SEED = bytes(range(32))
PEERS = ("ab" * 20 + "@10.0.0.2:26656", "cd" * 20 + "@[fd00::3]:26656")


def written(home: Path) -> comethome.HomeKeys:
    """A home of the one validator `ga`."""
    return write_home(
        home,
        chain_id=chain_id(ORIGIN, 0),
        time_ms=1_795_248_000_000,
        validators=[("ga", Ed25519Signer(SEED).public)],
        origin=ORIGIN,
        p2p_listen="10.0.0.1:26656",
        peers=PEERS,
        moniker="ga",
        consensus_seed=SEED,
    )


def test_the_genesis_is_a_pure_function() -> None:
    """SPEC R-N03: who knows the ledger's genesis writes CometBFT's, byte for byte."""
    key = Ed25519Signer(SEED).public
    assert chain_id(ORIGIN, 0) == "suyuan-" + "ab" * 20
    made = comet_genesis(chain_id=chain_id(ORIGIN, 0), time_ms=1, validators=[("ga", key)], origin=ORIGIN)
    assert made == comet_genesis(chain_id=chain_id(ORIGIN, 0), time_ms=1, validators=[("ga", key)], origin=ORIGIN)
    address = hashlib.sha256(key.raw).hexdigest()[:40].upper()
    assert json.loads(made) == {
        "app_hash": "",
        "app_state": {"origin": ORIGIN},
        "chain_id": "suyuan-" + "ab" * 20,
        "consensus_params": {
            "abci": {"vote_extensions_enable_height": "0"},
            "block": {"max_bytes": "1048576", "max_gas": "-1"},
            "evidence": {"max_age_duration": "172800000000000", "max_age_num_blocks": "100000", "max_bytes": "65536"},
            "validator": {"pub_key_types": ["ed25519"]},
            "version": {"app": "1"},
        },
        "genesis_time": "1970-01-01T00:00:00.001Z",
        "initial_height": "1",
        "validators": [
            {
                "address": address,
                "name": "ga",
                "power": "10",
                "pub_key": {
                    "type": "tendermint/PubKeyEd25519",
                    "value": "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=",
                },
            }
        ],
    }


def test_settings_hold_the_profile() -> None:
    """The text is TOML, and says what the rest of the node relies on."""
    config = tomllib.loads(encode_config(listen="10.0.0.1:26656", peers=PEERS, moniker='g"a'))
    assert (config["moniker"], config["proxy_app"], config["rpc"]["laddr"]) == (
        'g"a', "unix://abci.sock", "unix://rpc.sock",
    )  # fmt: skip
    assert config["filter_peers"] is True and config["p2p"]["pex"] is False
    assert config["p2p"]["libp2p"]["enabled"] is False and config["instrumentation"]["prometheus"] is False
    assert config["p2p"]["laddr"] == "tcp://10.0.0.1:26656" and config["p2p"]["persistent_peers"].split(",") == [*PEERS]
    assert config["consensus"]["create_empty_blocks"] is False
    assert config["consensus"]["create_empty_blocks_interval"] == "2s"
    assert config["rpc"]["unsafe"] is True, "dial_peers; the socket is the owner's"
    assert config["rpc"]["max_body_bytes"] > 4 * (config["mempool"]["max_tx_bytes"] + 2) / 3 + 1_000
    assert config["tx_index"]["indexer"] == "null" and config["storage"]["discard_abci_responses"] is True


@pytest.mark.parametrize("name", ["", " ", "公安局", "a\tb"])
def test_a_name_that_cometbft_refuses_is_replaced(name: str) -> None:
    """The name is for people only; an engine that does not start for it would be worse."""
    assert tomllib.loads(encode_config(listen="127.0.0.1:1", peers=(), moniker=name))["moniker"] == comethome.MONIKER


def test_a_home_keeps_its_secrets(tmp_path: Path) -> None:
    """Key files and signing state are readable by their owner only, and hold what CometBFT reads."""
    home = tmp_path / "comet"
    keys = written(home)
    assert {stat.S_IMODE((home / name).stat().st_mode) for name in SECRETS} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (home, home / "config", home / "data")} == {0o700}
    again = read_keys(home)
    assert again.consensus.public == keys.consensus.public == Ed25519Signer(SEED).public
    assert again.p2p.public == keys.p2p.public and again.p2p.public != again.consensus.public
    assert keys.node_id == hashlib.sha256(keys.p2p.public.raw).hexdigest()[:40]
    value = json.loads((home / P2P_KEY).read_bytes())["priv_key"]["value"]
    assert b64decode(value)[32:] == keys.p2p.public.raw
    assert json.loads((home / SIGNING_STATE).read_bytes()) == {"height": "0", "round": 0, "step": 0}
    assert json.loads((home / COMET_GENESIS).read_bytes())["app_state"] == {"origin": ORIGIN}


def test_keys_and_state_are_made_once(tmp_path: Path) -> None:
    """A second key or a fresh signing state beside what there is, is refused; settings may be written again."""
    home = tmp_path / "comet"
    written(home)
    for again in (lambda: create_keys(home), lambda: create_signing_state(home)):
        with pytest.raises(ConflictError) as caught:
            again()
        assert caught.value.code == "key-exists"
    write_config(home, listen="127.0.0.1:1", peers=())
    assert tomllib.loads((home / CONFIG).read_text())["p2p"]["laddr"] == "tcp://127.0.0.1:1"
    assert not list(home.rglob("*.new"))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"priv_key":1}', '{"priv_key":{"type":"tendermint/PrivKeyEd25519","value":"AA=="}}',
     '{"priv_key":{"type":"x","value":"' + "A" * 86 + '=="}}',
     '{"priv_key":{"type":"tendermint/PrivKeyEd25519","value":"' + "A" * 86 + '=="}}'],
)  # fmt: skip
def test_what_is_no_key_file(tmp_path: Path, text: str) -> None:
    """Anything but a whole Ed25519 key whose halves belong together is refused."""
    home = tmp_path / "comet"
    written(home)
    (home / CONSENSUS_KEY).write_text(text)
    with pytest.raises(MalformedError) as caught:
        read_keys(home)
    assert caught.value.code == "comet-key"


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """As every key file: no group, no others, and it has to be there."""
    home = tmp_path / "comet"
    written(home)
    (home / P2P_KEY).chmod(0o640)
    with pytest.raises(RejectedError):
        read_keys(home)
    (home / P2P_KEY).unlink()
    with pytest.raises(NotFoundError):
        read_keys(home)


def test_the_real_engine_reads_the_home(tmp_path: Path, cometbft: Path) -> None:
    """CometBFT itself finds the node id and the validator in these files."""
    home = tmp_path / "comet"
    keys = written(home)

    def ask(command: str) -> str:
        ran = subprocess.run(
            [str(cometbft), command, "--home", str(home)], capture_output=True, text=True, timeout=30, check=True
        )
        return ran.stdout.strip()

    assert ask("show-node-id") == keys.node_id
    assert b64decode(json.loads(ask("show-validator"))["value"]) == keys.consensus.public.raw
