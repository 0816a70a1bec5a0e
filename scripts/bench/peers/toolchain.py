"""Builds the peers with the Go that scripts/golang.py finds.

Everything lands in `.tools/peers` of the repository, which git ignores; a later run builds nothing. Versions are pinned
here. Not here: starting what was built.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts.golang import TOOLS, GoUnavailableError, find_go, run_go

IMMUDB: Final = "v1.11.1"
TESSERA: Final = "v1.0.4"
SOURCE: Final = Path(__file__).parent / "load"


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
    try:
        _build(found, folder)
    except GoUnavailableError as error:
        raise PeersUnavailableError(str(error)) from None
    stamp.write_bytes(source)
    return found


def _build(found: Programs, folder: Path) -> None:
    go = find_go()
    folder.mkdir(parents=True, exist_ok=True)
    print(f"peers: building immudb {IMMUDB} and Tessera {TESSERA} with {go} …", flush=True)
    module = folder / "module"
    shutil.rmtree(module, ignore_errors=True)
    shutil.copytree(SOURCE, module)
    # -mod=mod writes go.sum, whose hashes Go compares with its checksum database.
    run_go(go, module, {"GOFLAGS": "-mod=mod -buildvcs=false"}, "build", "-o", str(found.load), ".")
    server = "github.com/codenotary/immudb/cmd/immudb"
    run_go(go, module, {"GOFLAGS": "-mod=mod -buildvcs=false"}, "build", "-o", str(found.immudb), server)
    commands = (f"github.com/transparency-dev/tessera/cmd/{name}@{TESSERA}" for name in ("conformance/posix", "fsck"))
    run_go(go, folder, {"GOBIN": str(folder), "GOFLAGS": "-buildvcs=false"}, "install", *commands)
