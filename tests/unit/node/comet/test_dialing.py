"""Peers that CometBFT gave up on are called again, with two real engines."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ledger.adapters.home.comethome import CONFIG, HomeKeys, create_keys, create_signing_state, write_config, write_home
from ledger.adapters.home.network import free_ports
from ledger.core.keys import Ed25519Signer
from ledger.errors import UnavailableError
from ledger_node.comet.dialing import Dialer, call_missing, configured_peers
from ledger_node.comet.process import CometProcess
from ledger_node.comet.rpc import CometRpc
from tests.unit.node.comet.test_process import until

SEED = bytes(range(32))


def home_at(home: Path, port: int, peers: tuple[str, ...]) -> HomeKeys:
    """A home of a network whose only validator is nobody here."""
    return write_home(
        home,
        chain_id="suyuan-test",
        time_ms=time.time_ns() // 1_000_000,
        validators=[("ga", Ed25519Signer(SEED).public)],
        origin="net.test/" + "ab" * 32,
        p2p_listen=f"127.0.0.1:{port}",
        peers=peers,
    )


def test_peers_come_from_the_home(tmp_path: Path) -> None:
    """What config.toml names is what is called; nobody is no entry."""
    create_keys(tmp_path)
    create_signing_state(tmp_path)
    peers = ("ab" * 20 + "@10.0.0.2:1", "cd" * 20 + "@[::1]:2")
    for given in (peers, ()):
        write_config(tmp_path, listen="127.0.0.1:1", peers=given)
        assert configured_peers(tmp_path) == given
    assert call_missing(CometRpc(tmp_path), ()) == ()
    with pytest.raises(UnavailableError):
        call_missing(CometRpc(tmp_path), peers)


def test_a_dialer_outlives_an_engine_that_is_down(tmp_path: Path) -> None:
    """Nobody answering, or no settings at all, ends no thread; closing does, twice and unstarted too."""
    dialer = Dialer(tmp_path, look_s=0.01)
    dialer.close()
    dialer = Dialer(tmp_path, look_s=0.01)
    dialer.start()
    time.sleep(0.05)
    assert dialer._thread.is_alive()
    dialer.close()
    dialer.close()
    assert not dialer._thread.is_alive()


def test_settings_of_another_form_end_no_dialer(tmp_path: Path) -> None:
    """They are logged, and read again at the next look."""
    config = tmp_path / CONFIG
    config.parent.mkdir(parents=True)
    config.write_text("[rpc]\n")
    with capture_logs() as logged:
        dialer = Dialer(tmp_path, look_s=0.01)
        dialer.start()
        until(lambda: len(logged) >= 2)
        dialer.close()
    assert {(each["event"], each["log_level"]) for each in logged} == {("dialer.failed", "error")}


def test_a_missing_peer_is_called(tmp_path: Path, cometbft: Path) -> None:
    """An engine that knows nobody is told of one by a call, connects, and calls nobody again."""
    ports = free_ports(2)
    called = home_at(tmp_path / "a", ports[0], ())
    home_at(tmp_path / "b", ports[1], ())
    engines = [CometProcess(tmp_path / name, cometbft, arguments=("--proxy_app", "kvstore")) for name in "ab"]
    rpc = CometRpc(tmp_path / "b")
    peers = (f"{called.node_id}@127.0.0.1:{ports[0]}",)

    def missing() -> tuple[str, ...] | None:
        try:
            return call_missing(rpc, peers)
        except UnavailableError:
            return None

    try:
        for engine in engines:
            engine.start()
        until(lambda: missing() == peers)
        until(lambda: missing() == ())
        assert rpc.net_info()["n_peers"] == "1"
    finally:
        for engine in engines:
            engine.close()
        rpc.close()
