"""A real CometBFT talks to our ABCI server: blocks, the order of its calls, kill -9 and restart, the end after an error.

Both release lines that speak ABCI 2.0 are tried; one that is not on this machine is skipped (`./dev engine` builds it).
"""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.errors import LedgerError, RejectedError
from ledger_node.comet import abci_pb2 as pb
from ledger_node.comet import binary
from ledger_node.comet.grammar import check_calls
from ledger_node.comet.server import AbciServer
from scripts.engine import engine_place, has_version

pytestmark = pytest.mark.interop

LIMIT_S = 60.0
POISON = b"poison"


class Ledger:
    """Accepts everything; its state is the height and a hash over all transactions. One thread, memory only."""

    def __init__(self) -> None:
        self.height, self.hash, self.txs = 0, b"", list[bytes]()
        self.told: list[str] = []
        self._next: tuple[int, bytes, list[bytes]] = (0, b"", [])

    def info(self, request: pb.RequestInfo) -> pb.ResponseInfo:
        """What was committed last; another ABCI is refused."""
        if request.abci_version != "2.0.0":
            raise RejectedError("abci-version", got=request.abci_version)
        self.told.append(request.version)
        return pb.ResponseInfo(data="wire", last_block_height=self.height, last_block_app_hash=self.hash)

    def init_chain(self, request: pb.RequestInitChain) -> pb.ResponseInitChain:
        """The genesis of `cometbft init`: one validator, the default parameters."""
        assert len(request.validators) == 1
        assert len(request.validators[0].pub_key.ed25519) == 32
        assert request.initial_height == 1
        assert request.consensus_params.evidence.max_age_duration.seconds == 48 * 3600
        assert request.time.seconds > 1_600_000_000
        return pb.ResponseInitChain()

    def query(self, request: pb.RequestQuery) -> pb.ResponseQuery:
        """The data comes back."""
        return pb.ResponseQuery(value=request.data, height=self.height)

    def check_tx(self, request: pb.RequestCheckTx) -> pb.ResponseCheckTx:
        """Everything is welcome but poison, which is an error of the application."""
        if request.tx == POISON:
            raise RejectedError("poisoned")
        return pb.ResponseCheckTx()

    def prepare_proposal(self, request: pb.RequestPrepareProposal) -> pb.ResponsePrepareProposal:
        """As it comes."""
        return pb.ResponsePrepareProposal(txs=request.txs)

    def process_proposal(self, request: pb.RequestProcessProposal) -> pb.ResponseProcessProposal:
        """Any block."""
        assert len(request.proposer_address) == 20
        return pb.ResponseProcessProposal(status=pb.ResponseProcessProposal.ACCEPT)

    def finalize_block(self, request: pb.RequestFinalizeBlock) -> pb.ResponseFinalizeBlock:
        """Hashes on; nothing is kept before Commit."""
        if request.height > 1:
            (vote,) = request.decided_last_commit.votes
            assert (vote.validator.power, vote.block_id_flag) == (10, pb.BLOCK_ID_FLAG_COMMIT)
        digest = hashlib.sha256(self.hash + b"".join(request.txs)).digest() if request.txs else self.hash
        self._next = (request.height, digest, list(request.txs))
        results = [pb.ExecTxResult(data=hashlib.sha256(tx).digest()) for tx in request.txs]
        return pb.ResponseFinalizeBlock(tx_results=results, app_hash=digest)

    def commit(self, _: pb.RequestCommit) -> pb.ResponseCommit:
        """Keeps the block."""
        self.height, self.hash = self._next[:2]
        self.txs += self._next[2]
        return pb.ResponseCommit()

    def __getattr__(self, name: str) -> Callable[[Any], Any]:
        """The rest (snapshots, vote extensions) is answered with nothing."""
        answer = getattr(pb, pb.Response.DESCRIPTOR.fields_by_name[name].message_type.name)
        return lambda _: answer()


class Bed:
    """The application on a thread of its own, and CometBFT, one after the other, on one home folder."""

    def __init__(self, program: Path, home: Path) -> None:
        self.program, self.home = program, home
        self.ledger = Ledger()
        self.calls: list[str] = []
        self.fatal: list[BaseException] = []
        self.comet: subprocess.Popen[bytes] | None = None
        self._loop = asyncio.new_event_loop()
        self._server = AbciServer(self.ledger, self.fatal.append, self.calls.append)
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def _on_loop(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(LIMIT_S)

    def open(self) -> None:
        """The application listens, the home folder is made."""
        done = subprocess.run(
            [self.program, "init", "--home", self.home], capture_output=True, check=False, timeout=LIMIT_S
        )
        assert done.returncode == 0, done.stderr
        self._on_loop(self._server.start(str(self.home / "abci.sock")))

    def start(self) -> None:
        """CometBFT runs and answers."""
        command = [
            self.program, "start", "--home", self.home, "--abci", "socket", "--proxy_app", "unix://abci.sock",
            "--rpc.laddr", "unix://rpc.sock", "--p2p.laddr", "tcp://127.0.0.1:0", "--p2p.pex=false",
            "--consensus.create_empty_blocks=false", "--log_level", "error",
        ]  # fmt: skip
        (self.home / "rpc.sock").unlink(missing_ok=True)  # one that was killed leaves it, and the next cannot listen
        with (self.home / "log").open("ab") as log:
            self.comet = subprocess.Popen(command, cwd=self.home, stdout=log, stderr=log)
        self.until(lambda: "result" in self.rpc("status"))

    def rpc(self, path: str) -> dict[str, Any]:
        """CometBFT's answer over its unix socket; empty while there is none."""
        connection = http.client.HTTPConnection("localhost", timeout=LIMIT_S)
        try:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(LIMIT_S)
            connection.sock.connect(str(self.home / "rpc.sock"))
            connection.request("GET", f"/{path}")
            answer = json.load(connection.getresponse())
        except (OSError, http.client.HTTPException):
            return {}
        finally:
            connection.close()
        assert isinstance(answer, dict)
        return answer

    def record(self, tx: bytes) -> dict[str, Any]:
        """Sends a transaction and waits for its block."""
        answer = self.rpc(f"broadcast_tx_commit?tx=0x{tx.hex()}")
        assert "result" in answer, answer
        return dict(answer["result"])

    def until(self, met: Callable[[], bool]) -> None:
        """Polls, up to the limit."""
        end_s = time.monotonic() + LIMIT_S
        while not met():
            assert time.monotonic() < end_s, (self.home / "log").read_text(encoding="utf-8")[-2000:]
            assert self.fatal == []
            time.sleep(0.02)

    def kill(self) -> None:
        """CometBFT dies at once, as after a power cut of the process."""
        assert self.comet is not None
        self.comet.send_signal(signal.SIGKILL)
        self.comet.wait(LIMIT_S)

    def close(self) -> None:
        """Nothing is left running."""
        if self.comet is not None and self.comet.poll() is None:
            self.kill()
        self._on_loop(self._server.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LIMIT_S)
        self._loop.close()


def program_of(version: str) -> Path:
    """A CometBFT of that version; the test is skipped where there is none."""
    place = engine_place(version)
    if not has_version(place, version) and version == binary.VERSION:
        try:
            place = binary.find_binary()
        except LedgerError:
            pass
    if not has_version(place, version):
        pytest.skip(f"no CometBFT {version}: ./dev engine --version {version.removeprefix('v')} builds it")
    return place


@pytest.fixture(params=["v0.39.4", "v0.38.23"])
def bed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bed]:
    """Application and home folder, ready to start."""
    bed = Bed(program_of(request.param), tmp_path)
    try:
        bed.open()
        yield bed
    finally:
        bed.close()


@pytest.mark.timeout(300)
def test_blocks_are_made_and_go_on_after_a_kill(bed: Bed) -> None:
    """Transactions come through RPC into blocks, the calls keep the grammar, and a killed CometBFT goes on where it was."""
    bed.start()
    first = bed.record(b"one")
    result = first.get("tx_result") or first["deliver_tx"]
    assert result["code"] == 0
    assert result["data"] is not None
    assert bed.ledger.txs == [b"one"]
    query = bed.rpc("abci_query?data=0x0102")["result"]["response"]
    assert query["value"] == "AQI="
    check_calls(bed.calls, calm=True)
    assert {"info", "init_chain", "query", "check_tx", "prepare_proposal", "process_proposal", "commit"} <= set(
        bed.calls
    )

    bed.kill()
    height, state = bed.ledger.height, bed.ledger.hash
    bed.start()
    second = bed.record(b"two")
    assert int(second["height"]) > int(first["height"])
    assert bed.ledger.txs == [b"one", b"two"]
    assert bed.ledger.height > height
    assert bed.ledger.hash == hashlib.sha256(state + b"two").digest()
    assert bed.calls.count("init_chain") == 1
    assert len(bed.ledger.told) == 2
    check_calls(bed.calls)
    assert bed.fatal == []


@pytest.mark.timeout(300)
def test_error_of_the_application_ends_cometbft(bed: Bed) -> None:
    """After an exception CometBFT ends by itself, names the error in its log, and the application decided nothing more."""
    bed.start()
    bed.record(b"one")
    state = (bed.ledger.height, bed.ledger.hash)
    bed.rpc(f"broadcast_tx_sync?tx=0x{POISON.hex()}")
    assert bed.comet is not None
    bed.comet.wait(LIMIT_S)
    end_s = time.monotonic() + LIMIT_S
    while not bed.fatal and time.monotonic() < end_s:  # the server tells it when it sees that the connection is gone
        time.sleep(0.01)
    (error,) = bed.fatal
    assert isinstance(error, LedgerError)
    assert error.code == "poisoned"
    assert (bed.ledger.height, bed.ledger.hash) == state
    assert "poisoned" in (bed.home / "log").read_text(encoding="utf-8")
    check_calls(bed.calls)
