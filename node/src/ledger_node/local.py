"""Runs the nodes of a network as processes on this machine: for demos, benchmarks and tests of faults.

Every process started here is ended here, by its own id; a process that does not stop in time is killed. Not here: what a
node does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from ledger.adapters.home.nodefile import read_settings
from ledger.client.http import NodeClient
from ledger.client.request import get
from ledger.errors import UnavailableError
from ledger_node.comet.binary import VARIABLE

READY_PREFIX = "ready "
START_S = 150.0  # several interpreters, on a machine with other work to do
STOP_S = 60.0  # requests in hand, the cosigner, CometBFT: each has a limit of its own
PROGRAM = ("-m", "ledger_node")


class NodeProcess:
    """One node process on `folder`; its standard error goes to `folder/node.log`.

    `program` are the interpreter's arguments that come before the folder, `environment` what is set besides ours.
    """

    def __init__(
        self, folder: Path, program: Sequence[str] = PROGRAM, environment: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self._program, self._environment = tuple(program), dict(environment or {})
        self.url = read_settings(folder).url
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = threading.Event()

    @property
    def pid(self) -> int:
        """Process id of the running node; raises `UnavailableError` when it does not run."""
        if self._process is None or self._process.poll() is not None:
            raise UnavailableError("node-stopped", "the node process does not run", node=self.folder.name)
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process; `wait_listening` says when it answers."""
        self._ready.clear()
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("LEDGER_") or name == VARIABLE
        }
        self._process = subprocess.Popen(
            [sys.executable, *self._program, str(self.folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**environment, **self._environment},
            start_new_session=True,  # a terminal's Ctrl-C reaches the parent only, which then stops its nodes in order
        )
        threading.Thread(target=self._read_log, args=(self._process,), daemon=True).start()

    def wait_listening(self, timeout_s: float = START_S) -> None:
        """Wait until the node answers HTTP; raises `UnavailableError` with the end of its log."""
        until = time.monotonic() + timeout_s
        while not self._ready.wait(0.02):
            if not self.running or time.monotonic() > until:
                raise UnavailableError(
                    "node-start", "the node did not start", node=self.folder.name, log=self.log_tail()
                )

    def wait_ready(self, timeout_s: float = START_S) -> None:
        """Wait until every check of `/readyz` passes; raises `UnavailableError` naming those that do not."""
        client, until = NodeClient(self.url), time.monotonic() + timeout_s
        while True:
            answer = client.send(get(["readyz"]))
            if answer.status == 200:
                return
            if not self.running or time.monotonic() > until:
                raise UnavailableError(
                    "node-ready", "the node is not ready", node=self.folder.name, answer=answer.body[:500]
                )
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL, as a power cut would; returns when the process is gone."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait(STOP_S)

    def stop(self) -> int | None:
        """SIGTERM and wait for a graceful stop; its exit code, None when it had to be killed."""
        if self._process is None or self._process.poll() is not None:
            return None if self._process is None else self._process.returncode
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def log_tail(self, lines: int = 5) -> str:
        """The last lines of the node's log."""
        path = self.folder / "node.log"
        return "\n".join(path.read_text("utf-8", "replace").splitlines()[-lines:]) if path.exists() else ""

    def _read_log(self, process: subprocess.Popen[bytes]) -> None:
        stream = process.stderr
        if stream is None:
            return
        with (self.folder / "node.log").open("ab") as log, stream:
            for line in stream:
                with contextlib.suppress(OSError):  # on a full disk the log is lost, and the node is still read
                    log.write(line)
                    log.flush()
                if line.decode("utf-8", "replace").startswith(READY_PREFIX):
                    self._ready.set()


class LocalNetwork:
    """The nodes of one network, the ordering node first."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self.nodes = [NodeProcess(folder) for folder in folders]

    def __enter__(self) -> Self:
        for node in self.nodes:
            node.start()
        try:
            for node in self.nodes:
                node.wait_listening()
            for node in self.nodes:
                node.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop every node: followers first, so that the ordering node writes what it accepted."""
        for node in reversed(self.nodes):
            node.stop()
