"""Runs CometBFT beside the node as one unit: starts it, starts it again whenever it ends, stops it with the node.

While it runs, peers that it gave up on are called again (see `dialing`).

Rules: restart always, exit code 0 included, because CometBFT ends itself with 0 when an ABCI connection dies; waits grow
from 0.1 to 5 s and start over once it ran for a while. The application's socket is open before `start` is called:
CometBFT would wait three seconds before it dials again. Settings come from the home alone, never from the environment.
What a killed node left behind is ended first: two engines on one home would sign against each other.
CometBFT writes to a file of its own, which goes on whatever becomes of the node. It is looked at now and then for what
CometBFT tells nobody but its log: that it votes against a proposed block before the application is asked.
Not here: the home's files (see `comethome`), and what an exit means to the node.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

import structlog

from ledger.adapters.home.comethome import RPC_SOCKET
from ledger.errors import UnavailableError
from ledger_node.comet.dialing import Dialer

LOG: Final = "comet.log"
LOG_BYTES_MAX: Final = 16 * 1024 * 1024
PID: Final = "comet.pid"
BACK_OFF_FIRST_S: Final = 0.1
BACK_OFF_MAX_S: Final = 5.0
STEADY_S: Final = 10.0
"""Who ran this long did not fail at once: the next wait is the shortest again."""
STOP_S: Final = 10.0
TAIL_BYTES: Final = 64 * 1024
"""A panic may be followed by the stacks of all goroutines."""
ERROR_CHARS: Final = 300
GLANCE_S: Final = 2.0
GLANCE_BYTES_MAX: Final = 256 * 1024
"""What was logged before the newest of these since the last glance is not read: a flood of errors, or of stacks."""
_ENDED_BY: Final = ("panic: ", "fatal error: ", "ERROR: ", "Error: ")
_LOGGED_ERROR: Final = '"level":"error"'
_AHEAD: Final = ("is higher than core (", "state.AppHash does not match AppHash after replay")
"""CometBFT's words where the application is ahead of its blocks: they are fewer, and none at all."""
_INVALID: Final = b"prevote step: consensus deems this block invalid"
_PROCESSES: Final = Path("/proc")
_FOREIGN: Final = ("CMT", "TMHOME", "LEDGER_")
"""Names that CometBFT takes settings from, and our own, which may hold a passphrase."""


class CometProcess:
    """A supervised `cometbft start --home HOME`; thread-safe.

    `on_exit` is called on the supervising thread with the exit code (negative: a signal) each time the process ends
    while it should run, `on_invalid` on the same thread each time CometBFT voted against a proposed block because its
    header contradicts what this node knows. `arguments` are further command-line arguments.
    """

    def __init__(
        self,
        home: Path,
        binary: Path,
        *,
        on_exit: Callable[[int], None] | None = None,
        on_invalid: Callable[[], None] | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        self._home, self._binary = home.absolute(), binary
        self._on_exit, self._on_invalid, self._arguments = on_exit, on_invalid, tuple(arguments)
        self._said = Said(self._home / LOG)
        self._log = structlog.get_logger("proposals")
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._restarts = 0
        self._dialer = Dialer(self._home)

    def start(self) -> None:
        """Start the process and the thread that watches it; once.

        Raises `UnavailableError` (`engine-start`) when the program cannot be run at all.
        """
        if self._thread is not None:
            raise UnavailableError("engine-start", "the engine was started before")
        end_left_over(self._home)
        rotate_log(self._home / LOG)
        self._spawn()
        self._thread = threading.Thread(target=self._watch, name="comet", daemon=True)
        self._thread.start()
        self._dialer.start()

    def close(self) -> None:
        """Stop the process: TERM, and KILL when it does not end in `STOP_S`. Idempotent."""
        with self._lock:
            self._stop.set()
            child = self._child
        self._dialer.close()
        if child is not None:
            _end(child)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        (self._home / PID).unlink(missing_ok=True)

    @property
    def alive(self) -> bool:
        """True while the process runs."""
        child = self._child
        return child is not None and child.poll() is None

    @property
    def pid(self) -> int | None:
        """Its process id, None when it does not run."""
        child = self._child
        return child.pid if child is not None and child.poll() is None else None

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        return self._restarts

    def _spawn(self) -> bool:
        """Start the child, unless the node is closing."""
        (self._home / RPC_SOCKET).unlink(
            missing_ok=True
        )  # left behind by kill -9, it would keep CometBFT from listening
        with self._lock:
            if self._stop.is_set():
                return False
            with (self._home / LOG).open("ab") as log:
                self._child = self._run(log)
        (self._home / PID).write_text(f"{self._child.pid}\n", "ascii")
        return True

    def _run(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        command = [str(self._binary), "start", "--home", str(self._home), *self._arguments]
        try:
            return subprocess.Popen(
                command,
                cwd=self._home,  # the sockets are named relative to it
                env=clean_environment(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the node, which stops the engine in order
            )
        except OSError as error:
            raise UnavailableError(
                "engine-start", "CometBFT cannot be started", path=str(self._binary), reason=str(error)
            ) from error

    def _watch(self) -> None:
        back_off = BACK_OFF_FIRST_S
        while True:
            began = time.monotonic()
            code = self._wait()
            if self._stop.is_set():
                return
            if self._on_exit is not None and code is not None:
                self._besides(self._on_exit, code)
            if time.monotonic() - began >= STEADY_S:
                back_off = BACK_OFF_FIRST_S
            if self._stop.wait(back_off):
                return
            back_off = min(2 * back_off, BACK_OFF_MAX_S)
            try:
                if not self._spawn():
                    return
            except (OSError, UnavailableError):
                continue  # a full disk or a binary that is being exchanged: the next turn tries again
            except Exception:  # noqa: BLE001 - a defect of ours: the next turn tries again all the same
                self._log.exception("comet.failed")
                continue
            self._restarts += 1

    def _wait(self) -> int | None:
        """The exit code of the child; None when the last start failed."""
        child = self._child
        while child is not None:
            try:
                code = child.wait(GLANCE_S)
            except subprocess.TimeoutExpired:
                self._besides(self._glance)
                with contextlib.suppress(OSError):
                    shorten_log(self._home / LOG)
                continue
            self._besides(self._glance)
            self._child = None
            return code
        return None

    def _besides(self, task: Callable[..., object], *values: object) -> None:
        """Do what goes on beside the watching."""
        try:
            task(*values)
        except Exception:  # noqa: BLE001 - a defect there must not leave the engine unwatched
            self._log.exception("comet.failed")

    def _glance(self) -> None:
        """Pass on which proposed blocks were voted against; CometBFT's words do not name the proposer."""
        for line in self._said.lines():
            found = _refusal(line) if _INVALID in line else None
            if found is not None:
                height, turn, reason = found
                self._log.warning("proposal.invalid", height=height, round=turn, reason=reason)
                if self._on_invalid is not None:
                    self._on_invalid()


class Said:
    """What a log says since it was looked at last."""

    def __init__(self, path: Path) -> None:
        self._path, self._at = path, 0

    def lines(self) -> list[bytes]:
        """The lines that ended since, at most GLANCE_BYTES_MAX of them, the newest; none where it cannot be read."""
        try:
            with self._path.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                begin = max(self._at if self._at <= size else 0, size - GLANCE_BYTES_MAX)  # less: it was shortened
                log.seek(begin)
                whole, _, _ = log.read(size - begin).rpartition(b"\n")
        except OSError:
            return []
        self._at = begin + len(whole) + 1 if whole else begin
        return whole.splitlines()


def last_error(home: Path) -> str:
    """What CometBFT's log says of its end, shortened: the last panic or error, else its last line; empty without a log.

    A panic's stack, which stands below it, says nothing to whoever runs a node.
    """
    try:
        with (home / LOG).open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL_BYTES))
            lines = log.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    errors = [line for line in lines if line.startswith(_ENDED_BY) or _LOGGED_ERROR in line]
    return (errors or lines)[-1][:ERROR_CHARS] if lines else ""


def _refusal(line: bytes) -> tuple[int, int, str] | None:
    """Height, round and reason in CometBFT's line about a proposed block, None for another line, which may hold the same
    words as a peer's; of a line that is cut off 0 and all of it."""
    try:
        said = json.loads(line)
        if not str(said["_msg"]).encode().startswith(_INVALID):
            return None
        return int(said["height"]), int(said["round"]), str(said["err"])[:ERROR_CHARS]
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0, 0, line.decode("utf-8", "replace")[:ERROR_CHARS]


def blocks_are_behind(said: str) -> bool:
    """Whether `last_error` says that CometBFT's blocks end before the ledger does, or are gone."""
    return any(words in said for words in _AHEAD)


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` without what would change CometBFT's settings behind the home's back, and without our own."""
    return {name: value for name, value in environment.items() if not name.startswith(_FOREIGN)}


def rotate_log(log: Path) -> None:
    """Keep what the run before wrote as `.1`, and forget what stood there."""
    if log.exists():
        log.replace(log.with_name(f"{log.name}.1"))


def shorten_log(log: Path, limit: int = LOG_BYTES_MAX) -> None:
    """Move what a running child wrote to `.1` when it is more than `limit` bytes; its file stays open and goes on."""
    if log.exists() and log.stat().st_size > limit:
        shutil.copyfile(log, log.with_name(f"{log.name}.1"))
        os.truncate(log, 0)


def end_left_over(home: Path) -> None:
    """KILL the engine that a killed node left running on `home`; only where /proc says that it is just that one."""
    try:
        pid = int((home / PID).read_text("ascii"))
        arguments = (_PROCESSES / str(pid) / "cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return
    if b"start" not in arguments or os.fsencode(home.absolute()) not in arguments:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + STOP_S
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    """Whether a process is there and no zombie, which holds neither files nor locks."""
    try:
        status = (_PROCESSES / str(pid) / "stat").read_text("ascii", "replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
