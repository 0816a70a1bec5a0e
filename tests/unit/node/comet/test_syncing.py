"""How often CometBFT is started while a node joins, from which header, and what it must never forget."""

from __future__ import annotations

import json
import shutil
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ledger_node.comet.syncing", reason="suyuan-node is not installed")

from ledger.adapters.home.comethome import (
    COMET_GENESIS,
    HOME,
    SIGNING_STATE,
    create_signing_state,
    encode_config,
    genesis_of,
)
from ledger.adapters.home.statesyncfile import (
    STATE_SYNC,
    LightClient,
    SyncRequest,
    TrustedHeader,
    encode_table,
    read_said,
    write_request,
)
from ledger.core.hashing import sha256
from ledger_node.comet import syncing
from ledger_node.comet.statesync import StateSync
from ledger_node.comet.syncing import forget_chain, run_state_sync
from tests.models.light_nodes import GONE, NEWEST, LightNodes
from tests.models.real_ledger import RealLedger

DIGEST = sha256(b"header").hex().upper()


class Enough(Exception):
    """The test has seen what it wanted to."""


@pytest.fixture
def folder(begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node with block 0 that is to join; pauses are short."""
    monkeypatch.setattr(syncing, "PAUSE_S", 0.01)
    monkeypatch.setattr(syncing, "TELL_S", 0.01)
    copied = Path(shutil.copytree(begun, tmp_path / "jy"))
    if not (copied / HOME / SIGNING_STATE).exists():
        (copied / HOME).mkdir(exist_ok=True)
        create_signing_state(copied / HOME)
    return copied


def program(path: Path, body: str) -> Path:
    """A program in CometBFT's place."""
    path.write_text(f"#!{sys.executable}\n{body}\n", "utf-8")
    path.chmod(0o700)
    return path


def test_a_header_that_was_pruned_is_chosen_anew(folder: Path, nodes: LightNodes, tmp_path: Path) -> None:
    """SPEC R-N75: a CometBFT that ends because nobody has its first header any more begins with one that is there now."""
    write_request(folder, SyncRequest())
    offers: list[dict[str, int]] = [{"height": 30}]
    urls = [nodes.add(offers, DIGEST), nodes.add(offers, DIGEST)]
    ends = program(tmp_path / "cometbft", "print('ERROR: light block not found'); raise SystemExit(1)")
    chosen: list[LightClient] = []

    def configure(light: LightClient) -> None:
        chosen.append(light)
        if len(chosen) == 3:
            raise Enough
        offers[0] = {"height": 30 + 10 * len(chosen)}

    with pytest.raises(Enough):
        run_state_sync(folder, ends, urls, (), configure)
    assert [light.trusted.height for light in chosen] == [30, 40, 50]
    # CometBFT is told of addresses on this machine only, where the node asks for it.
    table = tomllib.loads(encode_config(listen="127.0.0.1:1", peers=[], joining=encode_table(chosen[0])))["statesync"]
    servers = table["rpc_servers"].split(",")
    assert len(servers) == 2 and all(each.startswith("http://127.0.0.1:") for each in servers)
    assert not any(url in each for each in servers for url in urls)
    assert (folder / STATE_SYNC).exists()
    said = json.loads(read_said(folder) or "")
    assert said["event"] == "state-sync.again" and "light block not found" in said["reason"]


def test_a_silent_comet_is_started_again(
    folder: Path, nodes: LightNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SPEC R-N78: a sync that failed leaves CometBFT running without another question."""
    monkeypatch.setattr(syncing, "SILENCE_S", 0.5)
    write_request(folder, SyncRequest(TrustedHeader(30, sha256(b"header"))))
    urls = [nodes.add([], DIGEST), nodes.add([], DIGEST)]
    idle = program(tmp_path / "cometbft", "import time; time.sleep(60)")
    begun: list[float] = []

    def configure(light: LightClient) -> None:
        begun.append(light.trusted.height)
        if len(begun) == 3:
            raise Enough

    with pytest.raises(Enough):
        run_state_sync(folder, idle, urls, (), configure)
    assert begun == [30, 30, 30]


def test_a_comet_that_waits_for_this_node_is_not_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC R-N76: a restore holds the thread that hears CometBFT, however long it takes; chunks may take longer too."""
    clock = SimpleNamespace(now=1_000.0)
    monkeypatch.setattr(syncing, "time", SimpleNamespace(monotonic=lambda: clock.now))
    run = syncing._Run(heard=1_000.0, looked=1_000.0)
    sync: Any = SimpleNamespace(again="", fetching=False)

    def silent_for(seconds: float) -> str:
        end = clock.now + seconds
        while clock.now < end:
            clock.now += syncing.LOOK_S
            if found := run.over(sync, tmp_path):
                return found
        return ""

    clock.now += 3_600.0  # one answer took an hour
    assert not silent_for(syncing.SILENCE_S - 1)
    assert "asks nothing" in silent_for(2)
    sync.fetching, run.heard = True, clock.now
    assert not silent_for(syncing.SILENCE_S + 60)  # CometBFT waits for a chunk for two minutes
    assert "asks nothing" in silent_for(syncing.FETCH_S)
    sync.again, run.heard = "told to give up", clock.now
    assert run.over(sync, tmp_path) == "told to give up"
    sync.again, run.exit = "", 1
    assert "1" in run.over(sync, tmp_path)


@pytest.mark.parametrize("height", [GONE, NEWEST - 1])
def test_where_the_block_behind_the_snapshot_is_gone_it_begins_anew(
    folder: Path, nodes: LightNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, height: int
) -> None:
    """SPEC R-N78: only where no node has it; CometBFT's state goes, what it signed last stays."""
    monkeypatch.setattr(StateSync, "restored", property(lambda _self: height - 1))
    write_request(folder, SyncRequest())
    urls = [nodes.add([{"height": 30}], DIGEST), nodes.add([{"height": 30}], DIGEST)]
    ends = program(tmp_path / "cometbft", "raise SystemExit(0)")
    home, begun = folder / HOME, []
    signed = (home / SIGNING_STATE).read_bytes()
    (home / "data" / "state.db").mkdir()

    def configure(light: LightClient) -> None:
        begun.append(light)
        if len(begun) == 2:
            raise Enough

    with pytest.raises(Enough):
        run_state_sync(folder, ends, urls, (), configure)
    assert (home / "data" / "state.db").exists() == (height != GONE)
    assert (home / SIGNING_STATE).read_bytes() == signed
    assert json.loads(read_said(folder) or "")["event"] == ("state-sync.anew" if height == GONE else "state-sync.again")


def test_the_genesis_of_a_moved_chain_comes_from_the_others_and_replaces_an_older_one(
    folder: Path, nodes: LightNodes, made: RealLedger, tmp_path: Path
) -> None:
    """SPEC R-N63: with it goes what CometBFT knew of another chain, but never what it signed."""
    genesis = genesis_of(made.genesis)
    urls = [nodes.add([{"height": 30}], DIGEST, genesis=json.loads(genesis)) for _ in range(2)]
    write_request(folder, SyncRequest(None, moved=True))
    home = folder / HOME
    (home / COMET_GENESIS).parent.mkdir(parents=True, exist_ok=True)
    (home / COMET_GENESIS).write_bytes(b"{}")
    (home / "data" / "state.db").mkdir()
    signed = (home / SIGNING_STATE).read_bytes()

    def configure(light: LightClient) -> None:
        del light
        raise Enough

    with pytest.raises(Enough):
        run_state_sync(folder, tmp_path / "none", urls, (), configure)
    assert (home / COMET_GENESIS).read_bytes() == genesis
    assert [path.name for path in (home / "data").iterdir()] == [Path(SIGNING_STATE).name]
    assert (home / SIGNING_STATE).read_bytes() == signed
    (home / "data" / "cs.wal").write_bytes(b"x")
    with pytest.raises(Enough):
        run_state_sync(folder, tmp_path / "none", urls, (), configure)
    assert (home / "data" / "cs.wal").exists()  # the same chain: nothing of it goes
    forget_chain(home)
    assert not (home / "data" / "cs.wal").exists() and (home / SIGNING_STATE).read_bytes() == signed
