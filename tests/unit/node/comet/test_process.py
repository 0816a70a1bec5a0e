"""The supervisor: restart always, never two on one home, settings from the home alone; and the real engine in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ledger.adapters.home.comethome import RPC_SOCKET, write_home
from ledger.core.keys import Ed25519Signer
from ledger.errors import LedgerError, UnavailableError
from ledger_node.comet import process
from ledger_node.comet.process import (
    LOG,
    PID,
    CometProcess,
    Said,
    clean_environment,
    end_left_over,
    rotate_log,
    shorten_log,
)
from ledger_node.comet.rpc import CometRpc

SEED = bytes(range(32))
INVALID = "prevote step: consensus deems this block invalid; prevoting nil"


def until(true: Callable[[], object], limit_s: float = 30.0) -> None:
    """Wait until `true`."""
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


def program(path: Path, text: str) -> Path:
    """A script in place of the engine."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_whoever_ends_is_started_again(tmp_path: Path) -> None:
    """Exit code 0 or not: each end is told, and the waits between grow."""
    codes: list[int] = []
    at: list[float] = []

    def tell(code: int) -> None:
        codes.append(code)
        at.append(time.monotonic())

    script = program(tmp_path / "engine", 'echo run >> count; test "$(wc -l < count)" -ne 2')
    child = CometProcess(tmp_path, script, on_exit=tell)
    child.start()
    until(lambda: len(codes) >= 4)
    child.close()
    assert codes[:4] == [0, 1, 0, 0] and child.restarts >= 3
    assert at[3] - at[2] >= 2 * process.BACK_OFF_FIRST_S
    assert not child.alive and child.pid is None and not (tmp_path / PID).exists()
    lines = (tmp_path / "count").read_text()
    time.sleep(3 * process.BACK_OFF_FIRST_S)
    assert (tmp_path / "count").read_text() == lines, "nothing runs after close"


def test_a_defect_leaves_no_engine_unwatched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is told of its end, the look at its log and a start may all fail: it is logged, and started again."""

    def fail(*_: object) -> None:
        raise RuntimeError("unforeseen")

    script = program(tmp_path / "engine", "echo run >> count")
    child = CometProcess(tmp_path, script, on_exit=fail)
    monkeypatch.setattr(child, "_glance", fail)
    spawn, fails = child._spawn, [True, False]  # the last one is of the first start

    def start() -> bool:
        if fails and fails.pop():
            fail()
        return spawn()

    monkeypatch.setattr(child, "_spawn", start)
    with capture_logs() as logged:
        child.start()
        until(lambda: child.restarts >= 2 and len((tmp_path / "count").read_text().split()) >= 3)
        child.close()
    assert {(each["event"], each["log_level"]) for each in logged} == {("comet.failed", "error")}
    assert len(logged) >= 5


def test_a_stopped_engine_gets_term_and_then_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that does not listen to TERM is killed, and is not started again."""
    monkeypatch.setattr(process, "STOP_S", 0.2)
    script = program(tmp_path / "engine", "trap '' TERM; echo ready; while true; do sleep 0.05; done")
    child = CometProcess(tmp_path, script)
    child.start()
    until(lambda: b"ready" in (tmp_path / LOG).read_bytes())
    pid = child.pid
    assert child.alive and pid is not None
    child.close()
    child.close()
    assert not child.alive and not Path(f"/proc/{pid}").exists()


def test_what_cannot_be_run_is_said_at_once(tmp_path: Path) -> None:
    """A binary that is none fails `start`; nothing is left running."""
    child = CometProcess(tmp_path, tmp_path / "nothing")
    with pytest.raises(UnavailableError) as caught:
        child.start()
    assert caught.value.code == "engine-start" and not child.alive
    child.close()


def test_the_environment_changes_no_setting() -> None:
    """CometBFT would take any setting from `CMT_…`; our own variables may hold a passphrase."""
    given = {"PATH": "/bin", "CMT_P2P_PEX": "true", "CMTHOME": "/x", "TMHOME": "/y", "LEDGER_PASSPHRASE": "z"}
    assert clean_environment(given) == {"PATH": "/bin"}


def test_the_last_two_logs_are_kept(tmp_path: Path) -> None:
    """A start moves the log of the run before; a log that grows too long under a running engine is moved too."""
    log = tmp_path / LOG
    for text in ("one", "two", "three"):
        rotate_log(log)
        log.write_text(text)
    assert (log.read_text(), (tmp_path / f"{LOG}.1").read_text()) == ("three", "two")
    with log.open("ab") as held:
        shorten_log(log, limit=5)
        assert log.read_text() == "three" and (tmp_path / f"{LOG}.1").read_text() == "two"
        shorten_log(log, limit=4)
        held.write(b"four")
    assert log.read_text() == "four" and (tmp_path / f"{LOG}.1").read_text() == "three"


def test_a_log_is_read_once_line_by_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line that ended is given once, also behind a log that was shortened; of a flood the newest."""
    log = tmp_path / LOG
    said = Said(log)
    assert said.lines() == []
    with log.open("ab", buffering=0) as file:
        found = []
        for text in (b"one\ntw", b"o", b"\n\nthree\n", b""):
            file.write(text)
            found.append(said.lines())
        assert found == [[b"one"], [], [b"two", b"", b"three"], []]
        shorten_log(log, limit=5)
        file.write(b"four\n")
        assert said.lines() == [b"four"] and said.lines() == []
        monkeypatch.setattr(process, "GLANCE_BYTES_MAX", 12)
        file.write(b"five\nsix\nseven\neight\n")
        assert said.lines() == [b"seven", b"eight"]


def test_a_block_that_cometbft_votes_against_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning with height, round and reason, and a call, soon and once for each; a line that is cut off counts
    too, other errors do not."""
    monkeypatch.setattr(process, "GLANCE_S", 0.05)
    line = f'{{"_msg":"{INVALID}","err":"wrong Block.Header.AppHash","height":7,"level":"error","round":1}}'
    (tmp_path / "lines").write_text(f'{{"_msg":"another","level":"error"}}\n{line}\n')
    script = program(
        tmp_path / "engine", f"cat lines; until test -f end; do sleep 0.01; done; echo '{INVALID}'; sleep 60"
    )
    told: list[int] = []
    child = CometProcess(tmp_path, script, on_invalid=lambda: told.append(1))
    with capture_logs() as logged:
        child.start()
        until(lambda: len(told) == 1)
        (tmp_path / "end").touch()
        until(lambda: len(told) == 2)
        child.close()
    warning = {"event": "proposal.invalid", "log_level": "warning"}
    assert logged == [
        warning | {"height": 7, "round": 1, "reason": "wrong Block.Header.AppHash"},
        warning | {"height": 0, "round": 0, "reason": INVALID},
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which home a process runs on")
def test_what_a_killed_node_left_is_ended(tmp_path: Path) -> None:
    """The engine of this home is killed before another starts; a stranger with the same number is left alone."""
    script = program(tmp_path / "engine", "while true; do sleep 0.05; done")
    stranger = subprocess.Popen([str(script), "start", "--home", str(tmp_path / "other")], start_new_session=True)
    left = subprocess.Popen([str(script), "start", "--home", str(tmp_path)], start_new_session=True)
    try:
        (tmp_path / PID).write_text(str(stranger.pid))
        until(lambda: b"start" in Path(f"/proc/{stranger.pid}/cmdline").read_bytes().split(b"\0"))
        end_left_over(tmp_path)
        assert stranger.poll() is None
        until(lambda: b"start" in Path(f"/proc/{left.pid}/cmdline").read_bytes().split(b"\0"))
        (tmp_path / PID).write_text(str(left.pid))
        end_left_over(tmp_path)
        assert left.wait(5) == -signal.SIGKILL
        end_left_over(tmp_path)
    finally:
        for each in (stranger, left):
            each.kill()
            each.wait()


def test_the_real_engine_runs_is_killed_and_runs_again(tmp_path: Path, cometbft: Path) -> None:
    """One validator with CometBFT's own application orders a transaction, before and after kill -9, and stops on TERM."""
    home = tmp_path / ("long-" * 20) / "comet"
    write_home(
        home,
        chain_id="suyuan-test",
        time_ms=time.time_ns() // 1_000_000,
        validators=[("ga", Ed25519Signer(SEED).public)],
        origin="net.test/" + "ab" * 32,
        p2p_listen="127.0.0.1:0",
        peers=(),
        consensus_seed=SEED,
    )
    codes: list[int] = []
    child = CometProcess(home, cometbft, on_exit=codes.append, arguments=("--proxy_app", "kvstore"))
    child.start()
    client = CometRpc(home)

    def height() -> int:
        try:
            return int(client.status()["sync_info"]["latest_block_height"])
        except LedgerError:
            return 0

    try:
        until(lambda: height() >= 1)
        client.broadcast(b"a=1")
        client.broadcast(b"a=1")
        until(lambda: height() >= 2)
        answer = client.commit(1)["signed_header"]
        assert answer["header"]["chain_id"] == "suyuan-test" and answer["commit"]["height"] == "1"
        assert client.validators(1)["total"] == "1" and client.block(1)["block"]["header"]["height"] == "1"
        assert (home / RPC_SOCKET).is_socket()
        pid, before = child.pid, height()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        until(lambda: child.restarts == 1 and child.alive)
        until(height)
        client.broadcast_async(b"b=2")
        until(lambda: height() > before)
        assert codes == [-signal.SIGKILL]
    finally:
        child.close()
        client.close()
    assert codes == [-signal.SIGKILL] and not child.alive
