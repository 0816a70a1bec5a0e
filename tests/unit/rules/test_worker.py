"""Runtimes: the same outcomes inline and in a confined child, and a crash, a hang or a lack of memory is a fault, never a verdict."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ledger.adapters.runtime.jail import landlock_abi, seccomp_filter
from ledger.adapters.runtime.worker import Inline, Worker, find_faults
from ledger.errors import RuntimeFault
from ledger.rules.program import Program
from tests.unit.rules.books import NOW, Ledger, rule, tiny

HANG = "def _run_block(time, objects, steps):\n    n = 0\n    for a in range(1000000000):\n        for b in range(1000000000):\n            n = a\n"
HOG = "def _run_block(time, objects, steps):\n    x = []\n    for a in range(1000000000):\n        x.append([a] * 100000)\n"
CRASH = "def _run_block(time, objects, steps):\n    return {}['x']\n"
PROBES = "def _run_block(time, objects, steps):\n    return [['builtins', sorted(__builtins__)]]\n"


def program(text: str) -> Program:
    """A program whose text is `text`: what a child does with a hostile one."""
    return dataclasses.replace(tiny(), text=text)


def sample() -> tuple[Program, dict[str, Any]]:
    """A program and a block call of three events, a timer among them."""
    body = (
        "def on_thing_do(event, state, env):\n    return [write('tally', n=state['tally']['n'] + 1),\n"
        "            duty('R1', by='jy', on='thing', due=env.now - 5)]\n"
        "def on_timer_R1(timer, state, env):\n    return finding('LAW/2', about='jy', on='thing')\n"
    )
    ledger = Ledger(tiny(rule(body)))
    thing = ledger.thing()
    steps = [
        ledger.event("thing.do", {"thing": thing})[1],
        ledger.event("thing.fly")[1],
        ledger.event("thing.do", {"thing": thing})[1],
    ]
    return ledger.program, ledger.scratch.call(NOW, [], steps)


@pytest.fixture
def worker() -> Iterator[Worker]:
    """A worker of the sample program."""
    with Worker(sample()[0]) as running:
        yield running


def test_runtimes_agree(worker: Worker) -> None:
    """Inline and worker give the same outcomes, by `run_block` and by `start` and `result`."""
    compiled, call = sample()
    expected = compiled.run_block(call)
    assert len(expected) == 5
    for runtime in (worker, Inline(compiled)):
        assert runtime.run_block(call) == expected
        runtime.start(call)
        assert runtime.result() == expected
        assert runtime.run_block(call, patient=True) == expected


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="containment layers are those of Linux")
def test_worker_is_confined(worker: Worker) -> None:
    """The child has one descriptor, no new privileges and a filter of system calls; missing layers are not claimed."""
    assert {"descriptors", "rlimits", "no-new-privs"} <= set(worker.containment)
    status = dict(
        line.split(":\t", 1) for line in open(f"/proc/{worker.pid}/status").read().splitlines() if ":\t" in line
    )
    assert status["NoNewPrivs"] == "1"
    assert (status["Seccomp"] == "2") == ("seccomp" in worker.containment)
    limits = open(f"/proc/{worker.pid}/limits").read()
    assert "Max open files            0                    0" in limits
    assert "Max file size             0                    0" in limits
    assert len(os.listdir(f"/proc/{worker.pid}/fd")) == 1
    assert open(f"/proc/{worker.pid}/environ").read() == ""


def kernel_has_landlock() -> bool:
    """Whether Landlock is there to be used, asked of the kernel itself."""
    return sys.platform.startswith("linux") and landlock_abi(ctypes.CDLL(None, use_errno=True)) >= 1


@pytest.mark.skipif(not kernel_has_landlock(), reason="this kernel offers no Landlock")
def test_worker_has_every_layer_that_the_kernel_offers(worker: Worker) -> None:
    """Where there is Landlock the child is under it: no layer is lost to another one that came before it."""
    assert worker.containment == ("descriptors", "rlimits", "no-new-privs", "landlock", "seccomp")


@pytest.mark.skipif(not kernel_has_landlock(), reason="this kernel offers no Landlock")
def test_landlock_alone_takes_the_files_away() -> None:
    """Without the filter of system calls a process under Landlock can neither read a file, list a folder nor make one."""
    tries = (
        "import ctypes, os\n"
        "from ledger.adapters.runtime.jail import landlock\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "held = libc.prctl(38, 1, 0, 0, 0) == 0 and landlock(libc)\n"
        "for act in (lambda: open('/etc/passwd'), lambda: os.listdir('/'), lambda: os.mkdir('/tmp/x' + str(os.getpid()))):\n"
        "    try:\n        act()\n        held = False\n    except PermissionError:\n        pass\n"
        "print(held)\n"
    )
    done = subprocess.run([sys.executable, "-c", tries], capture_output=True, text=True, check=False)
    assert done.stdout == "True\n", done.stderr


def test_filter_is_made_for_known_machines_only() -> None:
    """The filter refuses what it does not list, kills a foreign architecture, and is missing where numbers are unknown."""
    for machine in ("x86_64", "aarch64"):
        code = seccomp_filter(machine)
        assert code is not None and len(code) % 8 == 0 and len(code) // 8 < 4096
        assert code.endswith(b"\x06\x00\x00\x00\x01\x00\x05\x00")  # return ERRNO(EPERM)
    assert seccomp_filter("riscv64") is None


def test_killed_worker_is_a_fault_and_is_replaced(worker: Worker) -> None:
    """A child killed with -9 between calls or in one is a fault at most; the next call runs in a fresh process."""
    compiled, call = sample()
    first = worker.pid
    os.kill(int(first or 0), signal.SIGKILL)
    time.sleep(0.05)
    try:
        assert worker.run_block(call) == compiled.run_block(call)
    except RuntimeFault as fault:
        assert fault.code == "runtime-crash"
        assert worker.run_block(call) == compiled.run_block(call)
    assert worker.pid != first
    assert worker.starts == 2


def test_worker_killed_in_a_call_is_a_fault() -> None:
    """kill -9 while the child computes gives a fault with its exit status, at once."""
    with Worker(program(HANG), timeout_s=60) as hanging:
        hanging.start({"time": 1, "objects": {}, "steps": []})
        threading.Timer(0.2, os.kill, (hanging.pid, signal.SIGKILL)).start()
        with pytest.raises(RuntimeFault) as caught:
            hanging.result()
    assert caught.value.code == "runtime-crash"
    assert caught.value.evidence["exit_status"] == -9


def test_hanging_worker_is_a_fault() -> None:
    """A call that does not end is cut by the watchdog, and its process is gone."""
    with Worker(program(HANG), timeout_s=0.3) as hanging:
        pid = hanging.pid
        with pytest.raises(RuntimeFault) as caught:
            hanging.run_block({"time": 1, "objects": {}, "steps": []})
        assert caught.value.code == "runtime-timeout"
        assert hanging.pid is None
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid or 0), 0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="address space limits are those of Linux")
def test_memory_hog_is_a_fault() -> None:
    """A child that outgrows its memory ends, and no verdict comes of it."""
    with (
        Worker(program(HOG), timeout_s=60, memory_bytes=200 * 1024 * 1024) as hog,
        pytest.raises(RuntimeFault) as caught,
    ):
        hog.run_block({"time": 1, "objects": {}, "steps": []})
    assert caught.value.code == "runtime-crash"
    assert caught.value.evidence["exit_status"] == 77


def test_failure_of_the_program_itself_is_a_fault() -> None:
    """An error outside any rule is a defect of ours, reported as a fault with its words, inline and in the child."""
    broken = program(CRASH)
    with pytest.raises(RuntimeFault) as caught:
        Inline(dataclasses.replace(broken, namespace={"_run_block": lambda *_: {}["x"]})).run_block(
            {"time": 1, "objects": {}, "steps": []}
        )
    assert caught.value.code == "runtime-error"
    with Worker(broken) as worker, pytest.raises(RuntimeFault) as caught:
        worker.run_block({"time": 1, "objects": {}, "steps": []})
    assert caught.value.code == "runtime-error"
    assert "KeyError" in str(caught.value.evidence["error"])


def test_child_sees_no_more_of_python_than_the_program_needs() -> None:
    """In the child too the program text has no import, no file and no attribute access by name."""
    with Worker(program(PROBES)) as worker:
        names = worker.run_block({"time": 1, "objects": {}, "steps": []})[0][1]
    assert not set(names) & {"__import__", "open", "eval", "exec", "getattr", "globals"}


def test_patient_calls_get_a_roomier_process() -> None:
    """A call of `finalize` runs without a limit of time and with four times the memory."""
    compiled, call = sample()
    with Worker(compiled, timeout_s=20) as worker:
        assert worker.run_block(call, patient=True) == compiled.run_block(call)
        assert worker.starts == 2
        assert worker.run_block(call) == compiled.run_block(call)
        assert worker.starts == 2


def test_idle_runtime_has_no_result() -> None:
    """Asking for a result that was never started is a fault, not a wait."""
    compiled, _ = sample()
    with pytest.raises(RuntimeFault):
        Inline(compiled).result()
    worker = Worker(compiled)
    worker.close()
    worker.close()
    with pytest.raises(RuntimeFault) as caught:
        worker.result()
    assert caught.value.code == "runtime-idle"


def test_inline_start_keeps_a_fault_for_the_result() -> None:
    """A fault of a call that was started is raised when its result is asked for."""
    broken = dataclasses.replace(sample()[0], namespace={"_run_block": lambda *_: 1 // 0})
    runtime = Inline(broken)
    runtime.start({"time": 1, "objects": {}, "steps": []})
    with pytest.raises(RuntimeFault) as caught:
        runtime.result()
    assert caught.value.code == "runtime-error"


def test_faulting_steps_are_found_one_by_one() -> None:
    """When a block call faults, each step is run alone from the same state; those that still fault are named."""
    text = (
        "def _run_block(time, objects, steps):\n"
        "    for step in steps:\n"
        "        if step[1] == 'bad':\n"
        "            return {}['x']\n"
        "    return [[0]]\n"
    )
    with Worker(program(text)) as worker:
        call = {"time": 1, "objects": {}, "steps": [[0, "good"], [0, "bad"], [1, "good"], [0, "bad"]]}
        with pytest.raises(RuntimeFault):
            worker.run_block(call)
        assert find_faults(worker, call) == [1, 3]


def test_large_call_passes_through(worker: Worker) -> None:
    """A call of several megabytes goes through the socket whole."""
    compiled, call = sample()
    big = {**call, "objects": {**call["objects"], **{f"pad/{n}": b"{}" + b" " * 4000 for n in range(1500)}}}
    assert worker.run_block(big) == compiled.run_block(call)
