"""Which CometBFT runs: where the binary is looked for, and whether it is the version that this ledger was tested with.

Order: LEDGER_COMETBFT, then `[comet] binary` in node.toml, then `.tools/bin` of the source tree this package runs from,
then PATH. The first that is named or found counts: a wrong version is an error, never a reason to look further.
The version is what Go's linker wrote into the binary; the program is asked only where that names no release.
Not here: building it (see `scripts/engine.py`).
"""

from __future__ import annotations

import mmap
import os
import shutil
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from ledger.errors import MalformedError, NotFoundError, UnavailableError

PROGRAM: Final = "cometbft"
MODULE: Final = "github.com/cometbft/cometbft"
VERSION: Final = "v0.39.4"
VARIABLE: Final = "LEDGER_COMETBFT"
TOOLS: Final = Path(".tools") / "bin" / PROGRAM

_MAGIC: Final = b"\xff Go buildinf:"
_HEADER_BYTES: Final = 32
_INLINE: Final = 2  # Go 1.18 and later: two length-prefixed strings follow the header
_STRING_BYTES_MAX: Final = 1024 * 1024
_MARK_BYTES: Final = 16  # Go puts this many bytes around the module text
_ASK_S: Final = 20.0


def find_binary(configured: str = "", environment: Mapping[str, str] | None = None) -> Path:
    """The path of the binary; `configured` is the setting `comet.binary`.

    Raises `NotFoundError` (`comet-binary`) where none is found, or the one that is named is no program.
    """
    environment = os.environ if environment is None else environment
    for origin, named in ((VARIABLE, environment.get(VARIABLE, "")), ("comet.binary", configured)):
        if named:
            path = Path(named).expanduser().absolute()
            if not _is_program(path):
                raise NotFoundError("comet-binary", "the file that is named is no program", path=named, origin=origin)
            return path
    tools = _source_tree()
    if tools is not None and _is_program(tools / TOOLS):
        return tools / TOOLS
    found = shutil.which(PROGRAM, path=environment.get("PATH", os.defpath))
    if found is None:
        raise NotFoundError("comet-binary", "CometBFT is not installed on this machine", version=VERSION)
    return Path(found).absolute()


def check_binary(binary: Path, accepted: Collection[str] = (VERSION,)) -> str:
    """The version of `binary`. Raises `UnavailableError` (`comet-version`) unless it is one of `accepted`."""
    version = version_of(binary)
    if version not in accepted:
        expected = ", ".join(sorted(accepted))
        raise UnavailableError(
            "comet-version",
            "another version of CometBFT than was tested",
            path=str(binary),
            got=version,
            expected=expected,
        )
    return version


def version_of(binary: Path) -> str:
    """The release of `binary`, as `v0.39.4`; asks the program itself where its build info names no release.

    Raises `UnavailableError` (`comet-version`) when it is no CometBFT.
    """
    try:
        version = module_version(module_text(binary))
    except MalformedError:
        version = ""
    return version if version.startswith("v") else _ask(binary)


def module_text(binary: Path) -> str:
    """The module text that Go's linker wrote into a binary. Raises `MalformedError` (`go-build-info`)."""
    with binary.open("rb") as file:
        if os.fstat(file.fileno()).st_size <= _HEADER_BYTES:
            raise MalformedError("go-build-info", "not a Go binary", path=str(binary))
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            at = data.find(_MAGIC)
            while at >= 0:
                # The text stands in the code too, as a constant; the blob is the one that is aligned and well-formed.
                if at % 16 == 0 and data[at + 15 : at + 16] == bytes((_INLINE,)):
                    return _strings(data, at + _HEADER_BYTES)[1]
                at = data.find(_MAGIC, at + 1)
    raise MalformedError("go-build-info", "not a Go binary of these years", path=str(binary))


def module_version(text: str) -> str:
    """The version of CometBFT in a module text: as main module, or as one that the main module depends on."""
    for line in text.splitlines():
        columns = line.split("\t")
        if columns[0] in ("mod", "dep") and len(columns) > 2 and columns[1] == MODULE:
            return columns[2]
    raise MalformedError("go-build-info", "the program is no CometBFT")


def _strings(data: mmap.mmap, at: int) -> tuple[str, str]:
    """Go's version and module text, each after its length."""
    found: list[bytes] = []
    for _ in range(2):
        size, shift = 0, 0
        while True:
            byte = data[at : at + 1]
            if not byte or shift > 28:
                raise MalformedError("go-build-info", "a length that is none")
            at += 1
            size |= (byte[0] & 0x7F) << shift
            shift += 7
            if byte[0] < 0x80:
                break
        if size > _STRING_BYTES_MAX or at + size > len(data):
            raise MalformedError("go-build-info", "a text that is cut off")
        found.append(data[at : at + size])
        at += size
    version, text = found
    if len(text) >= 2 * _MARK_BYTES:
        text = text[_MARK_BYTES:-_MARK_BYTES]
    return version.decode("utf-8", "replace"), text.decode("utf-8", "replace")


def _ask(binary: Path) -> str:
    try:
        ran = subprocess.run([str(binary), "version"], capture_output=True, text=True, timeout=_ASK_S, check=True)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError) as error:
        raise UnavailableError(
            "comet-version", "the program does not tell its version", path=str(binary), reason=str(error)
        ) from error
    word = (ran.stdout.split() or [""])[0].partition("+")[0]
    return word if word.startswith("v") else f"v{word}"


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _source_tree() -> Path | None:
    """The folder of the source tree, None for an installed package."""
    root = Path(__file__).resolve().parents[4]
    return root if (root / "dev").is_file() and (root / "node").is_dir() else None
