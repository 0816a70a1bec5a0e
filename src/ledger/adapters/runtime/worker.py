"""Runs rules for a node: in a confined child process (`Worker`), or in this one (`Inline`).

Rules: a crash, a time-out or a lack of memory is a `RuntimeFault` and never a verdict; the next call gets a fresh process.
The child gets the compiled program and block calls over one socket pair, and nothing else. `patient` calls (those of
`finalize`) have no time limit and four times the memory.
Never here: what a fault means for a block (see `find_faults` and the engine).
"""

from __future__ import annotations

import marshal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn, Self

import msgpack

import ledger
from ledger.adapters.runtime.ruleworker import LENGTH
from ledger.errors import RuntimeFault
from ledger.rules.execute import program_parts
from ledger.rules.program import Outcome, Program

MEMORY_BYTES: Final = 512 * 1024 * 1024  # address space of the worker; a block call is at most a tenth of it
PATIENT_FACTOR: Final = 4  # memory of a patient call
TIMEOUT_S: Final = 20.0  # of one call: far above what a full block takes
START_TIMEOUT_S: Final = 20.0  # of starting the process on a busy machine


class Inline:
    """Runs rules in this process: for tests, an auditor's replay, operators who choose so. The verdicts are the same."""

    containment: tuple[str, ...] = ()

    def __init__(self, program: Program) -> None:
        self._program = program
        self._outcomes: list[Outcome] | RuntimeFault | None = None

    def run_block(self, call: Mapping[str, Any], *, patient: bool = False) -> list[Outcome]:  # noqa: ARG002 - no limits here
        """The outcomes of `call`. Raises `RuntimeFault`."""
        try:
            return self._program.run_block(call)
        except Exception as error:
            raise RuntimeFault("runtime-error", "the rules failed in this process", error=repr(error)) from error

    def start(self, call: Mapping[str, Any], *, patient: bool = False) -> None:  # noqa: ARG002
        """Run `call` now; `result` hands over what came out."""
        try:
            self._outcomes = self.run_block(call)
        except RuntimeFault as fault:
            self._outcomes = fault

    def result(self) -> list[Outcome]:
        """The outcomes of the call that was started. Raises `RuntimeFault`."""
        outcomes, self._outcomes = self._outcomes, None
        if outcomes is None:
            raise RuntimeFault("runtime-idle", "no call was started")
        if isinstance(outcomes, RuntimeFault):
            raise outcomes
        return outcomes

    def close(self) -> None:
        """Nothing to end."""


class Worker:
    """Runs rules in a child process that has no keys, files or network. One call at a time.

    `containment` names the layers that hold (`descriptors`, `rlimits`, `no-new-privs`, `landlock`, `seccomp`); a layer that
    the system does not offer is missing, and the node says so. With `patient` the first
    process has the memory of such calls.
    """

    def __init__(
        self,
        program: Program,
        *,
        timeout_s: float = TIMEOUT_S,
        memory_bytes: int = MEMORY_BYTES,
        patient: bool = False,
    ) -> None:
        # Compiled here once, as this process needs it too: each start would otherwise take a third of a second longer.
        self._code = marshal.dumps(program_parts(program.text))
        self._timeout_s, self._memory_bytes = timeout_s, memory_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._roomy = False  # the process has the memory of a patient call
        self._patient = False
        self.containment: tuple[str, ...] = ()
        self.starts = 0  # processes started so far
        self._ensure(patient)

    @property
    def pid(self) -> int | None:
        """The child's process id, None while there is none."""
        return self._process.pid if self._process is not None else None

    def run_block(self, call: Mapping[str, Any], *, patient: bool = False) -> list[Outcome]:
        """The outcomes of `call`. Raises `RuntimeFault`; the next call gets a fresh process."""
        self.start(call, patient=patient)
        return self.result()

    def start(self, call: Mapping[str, Any], *, patient: bool = False) -> None:
        """Hand over `call` and return while the child works. Raises `RuntimeFault`."""
        connection = self._ensure(patient)
        self._patient = patient
        data = msgpack.packb(
            {"objects": call["objects"], "steps": call["steps"], "time": call["time"]}, use_bin_type=True
        )
        connection.settimeout(None if patient else self._timeout_s)
        try:
            connection.sendall(LENGTH.pack(len(data)) + data)
        except OSError as error:
            self._fault(error)

    def result(self) -> list[Outcome]:
        """Wait for the outcomes of the call that was started. Raises `RuntimeFault`."""
        answer = self._receive(None if self._patient else self._timeout_s)
        if answer[0] != "ok":
            self.close()
            raise RuntimeFault("runtime-error", "the rules failed in the worker", error=str(answer[1]))
        outcomes: list[Outcome] = answer[1]
        return outcomes

    def close(self) -> None:
        """End the child; idempotent. A later call starts another."""
        process, connection = self._process, self._connection
        self._process = self._connection = None
        if connection is not None:
            connection.close()
        if process is not None:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ensure(self, patient: bool) -> socket.socket:
        if self._process is not None and (self._process.poll() is not None or (patient and not self._roomy)):
            self.close()
        if self._connection is None:
            self._spawn(self._memory_bytes * (PATIENT_FACTOR if patient else 1))
            self._roomy = patient
        return self._open()

    def _open(self) -> socket.socket:
        if self._connection is None:
            raise RuntimeFault("runtime-idle", "no call was started, or its worker is gone")
        return self._connection

    def _spawn(self, memory_bytes: int) -> None:
        ours, theirs = socket.socketpair()
        # Isolated mode ignores the environment; the folder of this package is handed over by name.
        folder = str(Path(ledger.__file__).resolve().parent.parent)
        fd = theirs.fileno()
        code = (
            f"import sys; sys.path.append({folder!r}); "
            f"from ledger.adapters.runtime.ruleworker import serve; serve({fd}, {memory_bytes})"
        )
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", code],
                pass_fds=(fd,), env={}, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            ours.close()
            raise RuntimeFault("runtime-start", "the rule worker cannot be started", error=repr(error)) from error
        finally:
            theirs.close()
        self._connection = ours
        self.starts += 1
        ready = self._receive(START_TIMEOUT_S)
        self.containment = tuple(ready[1])
        ours.sendall(LENGTH.pack(len(self._code)) + self._code)
        self._receive(START_TIMEOUT_S)

    def _receive(self, timeout_s: float | None) -> Any:
        self._open().settimeout(timeout_s)
        try:
            header = self._read(LENGTH.size)
            return msgpack.unpackb(self._read(LENGTH.unpack(header)[0]), raw=False)
        except (OSError, ValueError) as error:
            self._fault(error)

    def _read(self, size: int) -> bytes:
        connection = self._open()
        data = bytearray(size)
        view, done = memoryview(data), 0
        while done < size:
            count = connection.recv_into(view[done:], size - done)
            if count == 0:
                raise ConnectionResetError("the worker ended")
            done += count
        return bytes(data)

    def _fault(self, error: Exception) -> NoReturn:
        process = self._process
        late = isinstance(error, TimeoutError)
        self.close()
        status = process.returncode if process is not None else None
        if late:
            raise RuntimeFault("runtime-timeout", "the rule worker took too long", limit_s=self._timeout_s) from error
        raise RuntimeFault("runtime-crash", "the rule worker ended", exit_status=status) from error


def find_faults(worker: Worker | Inline, call: Mapping[str, Any]) -> list[int]:
    """Indexes of the steps of a call that still fault when each is run alone, from the state before the call.

    `prepare` leaves these events out and reports them; a block call that faults is tried this way before it is given up.
    """
    found = []
    for index, step in enumerate(call["steps"]):
        try:
            worker.run_block({**call, "steps": [step]})
        except RuntimeFault:
            found.append(index)
    return found
