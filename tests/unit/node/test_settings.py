"""Settings: precedence, origins, and that nothing unknown or unsafe is accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.errors import MalformedError
from ledger_node.settings import load_settings


def write(folder: Path, text: str) -> Path:
    file = folder / "node.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    """Each value comes from the highest source that names it, and its origin is told."""
    file = write(tmp_path, "[http]\nport = 1001\nlanguage = 'zh'\n[log]\nlevel = 'debug'\n")
    loaded = load_settings(file, {"LEDGER_HTTP_PORT": "1002", "LEDGER_LOG_LEVEL": "error"}, {"http.port": 1003})
    assert (loaded.settings.http.port, loaded.settings.log.level, loaded.settings.http.language) == (
        1003,
        "error",
        "zh",
    )
    origins = {name: loaded.origins[name] for name in ("http.port", "log.level", "http.language", "http.host")}
    assert origins == {
        "http.port": "flag", "log.level": "environment", "http.language": "node.toml", "http.host": "default",
    }  # fmt: skip


def test_absent_file_and_flags_leave_defaults(tmp_path: Path) -> None:
    """No file, no environment and flags of None are the defaults."""
    loaded = load_settings(tmp_path / "none.toml", {}, {"http.port": None})
    assert set(loaded.origins.values()) == {"default"}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[http]\nprot = 1\n", "http.prot"),
        ("[htpp]\nport = 1\n", "htpp"),
        ("[http]\nport = 'many'\n", "http.port"),
        ("[http]\nport = 70000\n", "http.port"),
        ("[node]\nrole = 'king'\n", "node.role"),
        ("[node]\npeers = ['ftp://far.example']\n", "node.peers"),
        ("[rules]\nruntime = 'wasm'\n", "rules.runtime"),
        ("[comet]\np2p_listen = '26656'\n", "comet.p2p_listen"),
        ("[comet]\np2p_address = '127.0.0.1:1'\n", "comet.p2p_address"),
        ("[comet]\np2p_peers = ['ab@127.0.0.1:1']\n", "comet.p2p_peers"),
    ],
)
def test_unknown_or_bad_entry_is_refused_by_name(tmp_path: Path, text: str, key: str) -> None:
    """A key nobody knows, or a value out of range, is an error that names the key and the file."""
    with pytest.raises(MalformedError) as caught:
        load_settings(write(tmp_path, text), {})
    assert caught.value.code == "settings"
    assert key in caught.value.message
    assert "node.toml" in caught.value.message


@pytest.mark.parametrize("text", ["port = 1\n", "[http\n", "http = 3\n"])
def test_other_toml_is_refused(tmp_path: Path, text: str) -> None:
    """What is no table of tables is an error."""
    with pytest.raises(MalformedError) as caught:
        load_settings(write(tmp_path, text), {})
    assert caught.value.code == "settings"


def test_unknown_variable_of_a_section_is_refused() -> None:
    """A typo in a variable of ours is an error; variables of the command line are not ours."""
    with pytest.raises(MalformedError):
        load_settings(None, {"LEDGER_HTTP_PROT": "1"})
    assert load_settings(None, {"LEDGER_LANG": "zh", "LEDGER_HTTPS": "1"}).settings.http.port


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.10", "node.example", "127.0.0.1.nip.io", ""])
def test_only_loopback_binds(host: str) -> None:
    """Until readers are authenticated, a node listens on this machine only; the error says why and what to do."""
    with pytest.raises(MalformedError) as caught:
        load_settings(None, {"LEDGER_HTTP_HOST": host})
    assert "loopback" in caught.value.message
    assert "proxy" in caught.value.message


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_is_accepted(host: str) -> None:
    """Every spelling of this machine is accepted."""
    assert load_settings(None, {"LEDGER_HTTP_HOST": host}).settings.http.host == host


def test_lists_from_the_environment() -> None:
    """A list in a variable is separated by commas."""
    found = load_settings(None, {"LEDGER_NODE_PEERS": "http://127.0.0.1:1, http://127.0.0.1:2"}).settings
    assert found.node.peers == ("http://127.0.0.1:1", "http://127.0.0.1:2")


def test_addresses_of_engines_are_read(tmp_path: Path) -> None:
    """A validator's table is taken from the file, its lists from the environment too."""
    peers = [f"{'ab' * 20}@10.0.0.2:26656", f"{'cd' * 20}@[fd00::3]:26656"]
    file = write(tmp_path, f"[node]\nrole = 'validator'\n[comet]\np2p_listen = '0.0.0.0:1'\np2p_peers = {peers}\n")
    comet = load_settings(file, {}).settings.comet
    assert (comet.p2p_listen, list(comet.p2p_peers), comet.binary) == ("0.0.0.0:1", peers, "")
    given = {"LEDGER_COMET_P2P_PEERS": ", ".join(peers[:1]), "LEDGER_COMET_BINARY": "/x", "LEDGER_COMETBFT": "/y"}
    loaded = load_settings(file, given)
    assert loaded.settings.comet.p2p_peers == (peers[0],) and loaded.settings.comet.binary == "/x"
    assert loaded.origins["comet.p2p_peers"] == "environment"
