"""Which native commits are kept, and that nothing wrong is."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import Any

import pytest
from structlog.testing import capture_logs

from ledger.core.hashing import sha256
from ledger.core.nativecommit import ABSENT, NativeCommit, parse, verify_native
from ledger.errors import UnavailableError
from ledger_node.comet import natives as module
from ledger_node.comet.natives import TRIES, NativeKeeper
from tests.models.native_commits import consensus_signer, make_commit, rpc_answer

CHAIN = "suyuan-test"
SIGNERS = [consensus_signer(member) for member in ("ga", "gx", "mz", "rs")]
KEYS = [each.public for each in SIGNERS]
STATE = sha256(b"state")
WAIT_S = 10.0


class Rpc:
    def __init__(self, **answers: NativeCommit) -> None:
        self.answers = {int(name[1:]): rpc_answer(native) for name, native in answers.items()}
        self.asked: list[int] = []

    def commit(self, height: int) -> dict[str, Any]:
        self.asked.append(height)
        if height not in self.answers:
            raise UnavailableError("engine-unreachable", "not there", height=height)
        return self.answers[height]


class Store:
    def __init__(self) -> None:
        self.kept: dict[int, bytes] = {}
        self.written = threading.Event()

    def write(self, size: int, data: bytes) -> Future[None]:
        self.kept[size] = data
        self.written.set()
        future: Future[None] = Future()
        future.set_result(None)
        return future


class Slow(Future[None]):
    """A write that the engine does not get to."""

    def result(self, timeout: float | None = None) -> None:
        assert timeout is not None
        raise TimeoutError


@pytest.fixture(autouse=True)
def short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.01)
    monkeypatch.setattr(module, "IDLE_S", 0.05)


def test_the_commit_over_an_idle_checkpoint_is_kept() -> None:
    """It proves the state at that size; a vote that does not hold by our rules is left out of it."""
    store, rpc = Store(), Rpc(h7=make_commit(CHAIN, STATE, SIGNERS, flags=(2, 2, 2, ABSENT)))
    keeper = NativeKeeper(CHAIN, rpc, store.write)
    keeper.start()
    keeper.offer(40, STATE, 7, KEYS)
    assert store.written.wait(WAIT_S)
    keeper.close()
    verify_native(parse(store.kept[40]), CHAIN, KEYS, STATE)


@pytest.mark.parametrize(
    "wrong",
    [
        make_commit(CHAIN, sha256(b"another state"), SIGNERS),
        make_commit("another-chain", STATE, SIGNERS),
        make_commit(CHAIN, STATE, SIGNERS[:3]),
        make_commit(CHAIN, STATE, SIGNERS, flags=(2, 2, ABSENT, ABSENT)),
    ],
)
def test_what_would_not_verify_is_not_kept(wrong: NativeCommit) -> None:
    """Another state, chain or set, and too few votes: tried some times, then left to the cosignatures."""
    store, rpc = Store(), Rpc(h7=wrong)
    keeper = NativeKeeper(CHAIN, rpc, store.write)
    keeper.start()
    keeper.offer(40, STATE, 7, KEYS)
    assert not store.written.wait(0.3)
    keeper.close()
    assert rpc.asked == [7] * len(rpc.asked)
    assert store.kept == {}


def test_of_many_the_newest_is_kept_when_it_is_quiet() -> None:
    """While checkpoints come one after the other nothing is fetched but one in a span; then the last of them is."""
    store, rpc = Store(), Rpc(h9=make_commit(CHAIN, STATE, SIGNERS, height=9))
    keeper = NativeKeeper(CHAIN, rpc, store.write, every_s=3600.0)
    keeper.start()
    keeper._kept_at = time.monotonic()
    with keeper._changed:  # one moment for the keeper
        for number in range(3):
            keeper.offer(40 + number, STATE, 7 + number, KEYS)
            keeper.offer(40 + number, STATE, 7 + number, KEYS)
    assert store.written.wait(WAIT_S)
    keeper.close()
    assert (set(store.kept), rpc.asked) == ({42}, [9])


@pytest.mark.parametrize("failure", [TimeoutError, RuntimeError])
def test_a_proof_that_fails_is_not_the_last(failure: type[Exception]) -> None:
    """Whether the engine does not get to writing it, or what nobody foresaw: the next checkpoint gets its own."""
    store = Store()
    rpc = Rpc(h7=make_commit(CHAIN, STATE, SIGNERS), h9=make_commit(CHAIN, STATE, SIGNERS, height=9))
    tried: list[int] = []

    def write(size: int, data: bytes) -> Future[None]:
        tried.append(size)
        if size != 40:
            return store.write(size, data)
        if failure is TimeoutError:
            return Slow()
        raise failure

    with capture_logs() as logged:
        keeper = NativeKeeper(CHAIN, rpc, write, every_s=0.0)
        keeper.start()
        keeper.offer(40, STATE, 7, KEYS)
        for _ in range(1_000):
            if logged:
                break
            time.sleep(0.01)
        keeper.offer(42, STATE, 9, KEYS)
        assert store.written.wait(WAIT_S)
        keeper.close()
    assert (set(store.kept), tried) == ({42}, [40] * (TRIES if failure is TimeoutError else 1) + [42])
    missed = {"event": "natives.missed", "log_level": "info", "size": 40, "reason": "TimeoutError"}
    failed = {"event": "natives.failed", "log_level": "error", "size": 40, "exc_info": True}
    assert logged == [missed if failure is TimeoutError else failed]
