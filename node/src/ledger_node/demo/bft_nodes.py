"""The demo's nodes on CometBFT: where each stands, who certified that, what it kept of a liar; kill -9 of both processes.

Rules: what a node says counts only as far as signatures over it hold under the keys of the genesis; a process is killed by
its own id. Not here: the story, and what is said of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ledger.adapters.home.comethome import HOME
from ledger.adapters.home.datadir import EVIDENCE
from ledger.client.http import NodeClient
from ledger.core import nativecommit
from ledger.core.checkpoint import Checkpoint, app_hash
from ledger.core.engine import chain_id
from ledger.core.keys import CONSENSUS, COSIGN, LOG
from ledger.core.nativecommit import NativeCommit
from ledger.core.quorum import CertifiedCheckpoint, verify_certificate, verify_note
from ledger.errors import LedgerError, NotFoundError, UnavailableError
from ledger_node.comet.process import PID
from ledger_node.demo.scenario import Step
from ledger_node.demo.stage import Stage

LOOK_S: Final = 0.1
AGREE_S: Final = 45.0
RETRY_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a node stands: its ledger's height, and the certificate over its head, verified."""

    member: str
    height: int
    certified: CertifiedCheckpoint

    @property
    def checkpoint(self) -> Checkpoint:
        """What is certified."""
        return self.certified.checkpoint

    @property
    def signers(self) -> tuple[str, ...]:
        """Members whose cosignatures stand under it, in order."""
        return tuple(sorted(name for name, _, _ in self.certified.lines))


@dataclass(frozen=True, slots=True)
class Lie:
    """A note that an honest node kept as evidence: over which checkpoint, and every name whose signature holds on it."""

    file: Path
    checkpoint: Checkpoint
    signers: tuple[str, ...]


def standing(stage: Stage, member: str) -> Standing | None:
    """Where the node of `member` stands, None while its head is not certified. Raises `VerificationError` for a
    certificate that does not hold."""
    client = stage.client_of(member)
    status = client.get_json(["v1", "status"])
    if status["certified_size"] != status["size"]:
        return None
    genesis = stage.made.genesis
    logs = [key.public for _, key in genesis.keys(LOG)]
    cosigners = [(name, key.public) for name, key in genesis.keys(COSIGN)]
    found = verify_certificate(client.get_bytes(["checkpoint"]), stage.origin, logs, cosigners)
    return Standing(member, status["height"], found) if found.checkpoint.size == status["size"] else None


def await_agreement(stage: Stage, members: Sequence[str], timeout_s: float = AGREE_S) -> list[Standing]:
    """Where the nodes stand once their heads are certified and have one size; the roots are for the caller to compare.

    Raises `UnavailableError` after `timeout_s`.
    """
    until = time.monotonic() + timeout_s
    while True:
        found: list[Standing | None] = []
        with contextlib.suppress(UnavailableError):
            found = [standing(stage, member) for member in members]
        stood = [each for each in found if each is not None]
        if len(stood) == len(members) and len({each.checkpoint.size for each in stood}) == 1:
            return stood
        if time.monotonic() > until:
            raise UnavailableError("demo", "the nodes did not come to one certified head", heads=str(found)[:400])
        time.sleep(LOOK_S)


def await_native(stage: Stage, member: str, checkpoint: Checkpoint, timeout_s: float = AGREE_S) -> NativeCommit:
    """CometBFT's own commit over a checkpoint, verified under the validators of the genesis.

    Raises `UnavailableError` after `timeout_s`, `VerificationError` for one that does not hold.
    """
    client, genesis = stage.client_of(member), stage.made.genesis
    path = ["v1", "native", str(checkpoint.size)]
    until = time.monotonic() + timeout_s
    while (data := _found(client, path)) is None:
        if time.monotonic() > until:
            raise UnavailableError("demo", "no native commit was kept", node=member, size=checkpoint.size)
        time.sleep(LOOK_S)
    native = nativecommit.parse(data)
    validators = [key.public for _, key in genesis.keys(CONSENSUS)]
    digest = app_hash(checkpoint.size, checkpoint.root)
    nativecommit.verify_native(native, chain_id(genesis.origin, 0), validators, digest)
    return native


def _found(client: NodeClient, path: Sequence[str]) -> bytes | None:
    try:
        return client.get_bytes(path)
    except NotFoundError:
        return None


def await_lie(stage: Stage, member: str, timeout_s: float = AGREE_S) -> Lie:
    """What the node of `member` kept of another's second history, its signatures verified under the genesis' keys."""
    folder, genesis = stage.made.folders[member] / EVIDENCE, stage.made.genesis
    wait(lambda: any(folder.glob("fork-note-*.json")), timeout_s, f"{member} kept no evidence")
    file = min(folder.glob("fork-note-*.json"))
    note = json.loads(file.read_text("utf-8"))["signed"].encode("utf-8")
    logs = {key.public.key_id: name for name, key in genesis.keys(LOG)}
    cosigners = [(name, key.public) for name, key in genesis.keys(COSIGN)]
    verified = verify_note(note, stage.origin, [key.public for _, key in genesis.keys(LOG)], cosigners)
    names = {logs[each.key_id] for each in verified.log_lines} | {each.name for each in verified.cosignatures}
    return Lie(file, verified.checkpoint, tuple(sorted(names)))


def kill_department(stage: Stage, member: str) -> tuple[int, int]:
    """SIGKILL to the node of `member` and to its CometBFT, by their ids, which are returned."""
    node = stage.node_of(member)
    pids = (node.pid, int((node.folder / HOME / PID).read_text("ascii")))
    with contextlib.suppress(ProcessLookupError):
        os.kill(pids[1], signal.SIGKILL)
    node.kill()
    return pids


def wait(reached: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Look until it is reached. Raises `UnavailableError` saying `what` went wrong after `timeout_s`."""
    until = time.monotonic() + timeout_s
    while not reached():
        if time.monotonic() > until:
            raise UnavailableError("demo", what)
        time.sleep(0.01)


@dataclass(slots=True)
class Load:
    """One department's events, sent one by one through its own node, each until it is acknowledged; runs in a thread."""

    stage: Stage
    steps: Iterable[Step]
    acknowledged: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Start sending."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait for the last acknowledgement. Raises `UnavailableError`."""
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                raise UnavailableError("load", "the load did not finish", acknowledged=len(self.acknowledged))

    def _run(self) -> None:
        for step in self.steps:
            client: NodeClient = self.stage.client_of(step.member)
            began = time.monotonic()
            while True:
                try:
                    self.stage.record(step.member, step.key, [step.event], client)
                    break
                except LedgerError:
                    time.sleep(RETRY_S)
            client.close()
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            self.acknowledged.append(step.event.id)
