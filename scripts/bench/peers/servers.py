"""Runs one peer on loopback with a folder of its own; it is ended by its own process id, its folder is removed.

Not here: the load on it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ledger.core.hashing import sha256
from ledger.core.keys import Ed25519Signer
from scripts.bench.peers.toolchain import PeersUnavailableError, Programs
from scripts.bench.processes import cpu_seconds, folder_bytes

START_S: Final = 30.0
STOP_S: Final = 20.0
ORIGIN: Final = "bench.local/tessera"
WARM_UP_S: Final = 3.0
ED25519_NOTE: Final = b"\x01"  # algorithm byte of golang.org/x/mod/sumdb/note


@dataclass(frozen=True, slots=True)
class Peer:
    """A running peer."""

    name: str
    port: int
    pid: int
    folder: Path
    programs: Programs

    def load(
        self, kind: str, batch: int, in_flight: int, seconds: float, size: int, entries: int = 0
    ) -> dict[str, Any]:
        """One closed-loop run with random payloads of `size` bytes: rate, latencies, processor time, disk.

        With `entries` the run ends after so many at the latest. Raises `PeersUnavailableError` when the client fails.
        """
        with tempfile.TemporaryDirectory(prefix="suyuan-peer-client-") as scratch:
            disk, cpu = folder_bytes(self.folder), cpu_seconds(self.pid)
            done = subprocess.run(
                [
                    str(self.programs.load), f"-peer={kind}", f"-port={self.port}", f"-batch={batch}",
                    f"-in-flight={in_flight}", f"-seconds={seconds}", f"-bytes={size}", f"-scratch={scratch}",
                    f"-entries={entries}", f"-warm-up={0 if entries else WARM_UP_S}",
                ],
                capture_output=True, text=True, check=False, timeout=seconds + 120,
            )  # fmt: skip
            server = cpu_seconds(self.pid) - cpu
        if done.returncode:
            raise PeersUnavailableError(f"{self.name}: the load client failed: {done.stderr.strip()[-300:]}")
        found: dict[str, Any] = json.loads(done.stdout)
        if found["failed"]:
            print(f"peers: {self.name}: {found['failed']} failed, the last with {found['reason'][:200]}", flush=True)
        # The warm-up is in neither the rate nor the latencies; for disk and processor it counts on both sides.
        share = (seconds + (0 if entries else WARM_UP_S)) / seconds
        found["events_per_s"] = round(found["entries"] / found["seconds"])
        found["server_cpu_s_per_1000"] = round(server / share / max(1, found["entries"]) * 1000, 4)
        found["disk_bytes_per_event"] = round((folder_bytes(self.folder) - disk) / share / max(1, found["entries"]))
        return found


@contextmanager
def immudb(programs: Programs) -> Iterator[Peer]:
    """An immudb that syncs each transaction before it answers; its other servers are off."""
    with _folder() as folder:
        port = _free_port()
        command = [
            str(programs.immudb), f"--dir={folder / 'data'}", "--address=127.0.0.1", f"--port={port}", "--synced=true",
            "--pgsql-server=false", "--web-server=false", "--metrics-server=false", "--max-sessions=1000",
        ]  # fmt: skip
        with _running("immudb", command, folder, port, {}) as pid:
            yield Peer("immudb", port, pid, folder, programs)


@contextmanager
def tessera(programs: Programs) -> Iterator[Peer]:
    """Tessera's POSIX log behind its own HTTP server, with the batching it ships with."""
    with _folder() as folder:
        port = _free_port()
        secret, public = note_keys()
        (folder / "log.pub").write_text(public, "ascii")
        (folder / "log").mkdir()
        command = [str(programs.tessera), f"--storage_dir={folder / 'log'}", f"--listen=127.0.0.1:{port}"]
        with _running("tessera", command, folder, port, {"LOG_PRIVATE_KEY": secret}) as pid:
            yield Peer("tessera", port, pid, folder, programs)


def note_keys() -> tuple[str, str]:
    """A fresh signing key in the text form of sumdb/note: (PRIVATE+KEY+…, verifier)."""
    seed = os.urandom(32)
    public = ED25519_NOTE + Ed25519Signer(seed).public.raw
    key_hash = sha256(ORIGIN.encode("ascii") + b"\n" + public)[:4].hex()
    secret = base64.b64encode(ED25519_NOTE + seed).decode("ascii")
    return (
        f"PRIVATE+KEY+{ORIGIN}+{key_hash}+{secret}",
        f"{ORIGIN}+{key_hash}+{base64.b64encode(public).decode('ascii')}",
    )


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="suyuan-peer-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _running(name: str, command: list[str], folder: Path, port: int, settings: dict[str, str]) -> Iterator[int]:
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, env={**os.environ, **settings},
            start_new_session=True,
        )  # fmt: skip
    try:
        _await_port(name, process, port, folder / "log.txt")
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)


def _await_port(name: str, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise PeersUnavailableError(f"{name} did not start: {log.read_text('utf-8', 'replace')[-300:]}")
