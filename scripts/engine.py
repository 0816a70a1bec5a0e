"""Finds CometBFT or builds it, and prints the path of the program: `./dev engine`.

Order: LEDGER_COMETBFT, `.tools/bin`, PATH, then `go install` with the Go that scripts/golang.py finds. Rules: versions are
pinned, never `latest` (CometBFT's 1.x was withdrawn, yet sorts first). What counts is the version that Go wrote into the
binary, because `cometbft version` lags behind. What we build must have the pinned checksum too. A program that is named by
LEDGER_COMETBFT and has another version is an error; elsewhere it is passed over.
`--version 0.38.23` builds the fallback into `.tools/cometbft-0.38.23`, for the test of compatibility.
`shifted_engine` builds the same sources with a Go whose wall clock can be told to be wrong, for the tests of clocks.
Not here: where a node looks for its CometBFT (`ledger_node.comet.binary`; the same places).
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from ledger.errors import LedgerError, MalformedError
from ledger_node.comet import binary
from scripts.golang import ASK_S, TOOLS, GoUnavailableError, find_go, run_go

# Checksums of the sources as Go's checksum database and the binary's build info write them.
SUMS: Final = {
    "v0.39.4": "h1:Bm7xbN18VfNueEd7cZumACbvVE+Lf9N58sz3oBOVPbw=",
    "v0.38.23": "h1:jtCe5Do4EcHVf/FCyZMvkBm+AmsRGGyvswImXYAabdM=",
}
COMMAND: Final = f"{binary.MODULE}/cmd/{binary.PROGRAM}"
SHIFT: Final = "TEST_CLOCK_SHIFT_S"
"""By how many whole seconds the wall clock of a shifted engine is wrong; a node would not hand on a name of its own."""
# What changes in Go's time/time.go. Only the wall clock goes wrong: the monotonic clock, which timeouts are measured by,
# stays as it is on a machine whose date is wrong. Go does not let files of a module be replaced, and here none has to be:
# CometBFT's sources keep their checksum, and every place that asks for the time is told the same.
SHIFTED: Final = (
    ("import (\n", 'import (\n\t"syscall"\n'),
    (
        "func Now() Time {\n",
        f"""var shiftS = func() int {{ text, _ := syscall.Getenv("{SHIFT}"); found, _ := atoi(text); return found }}()

func Now() Time {{
	found := unshifted()
	found.wall += uint64(shiftS) << nsecShift
	return found
}}

func unshifted() Time {{
""",
    ),
)


class EngineError(Exception):
    """No CometBFT of the wanted version; the message says why and what to do, in one line."""


def engine(version: str = binary.VERSION) -> Path:
    """The path of a CometBFT of `version`, built where none is found. Raises `EngineError`."""
    if version == binary.VERSION and os.environ.get(binary.VARIABLE):
        return _named(version)
    target = engine_place(version)
    if has_version(target, version):
        return target
    on_path = shutil.which(binary.PROGRAM)
    if on_path and has_version(Path(on_path), version):
        return Path(on_path).absolute()
    TOOLS.mkdir(exist_ok=True)
    with (TOOLS / "engine.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second call waits and finds what the first one built
        if not has_version(target, version):
            build(target, version)
    return target


def engine_place(version: str) -> Path:
    """Where `./dev engine` puts that version."""
    folder = "bin" if version == binary.VERSION else f"{binary.PROGRAM}-{version.removeprefix('v')}"
    return TOOLS / folder / binary.PROGRAM


def has_version(program: Path, version: str) -> bool:
    """Whether `program` is a CometBFT of that version."""
    try:
        return os.access(program, os.X_OK) and binary.version_of(program) == version
    except (LedgerError, OSError):
        return False


def shifted_engine() -> Path:
    """The path of a CometBFT for tests: the pinned sources, whose wall clock is wrong by what `SHIFT` says. Built once for
    each change of these lines. Raises `EngineError`."""
    target = TOOLS / f"{binary.PROGRAM}-shifted" / binary.PROGRAM
    stamp, wanted = target.with_name("stamp"), json.dumps([binary.VERSION, SHIFTED])
    TOOLS.mkdir(exist_ok=True)
    with (TOOLS / "engine.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not has_version(target, binary.VERSION) or not stamp.is_file() or stamp.read_text("utf-8") != wanted:
            stamp.unlink(missing_ok=True)
            build(target, binary.VERSION, shifted=True)
            stamp.write_text(wanted, "utf-8")
    return target


def build(target: Path, version: str, *, shifted: bool = False) -> None:
    """Builds `version` into `target`; what stands there is replaced at once, in the end. Raises `EngineError`."""
    try:
        go = find_go()
        say(f"building CometBFT {version} with {go}, about two minutes · 正在构建，约需两分钟 …")
        with tempfile.TemporaryDirectory(prefix="engine-", dir=TOOLS) as name:
            settings, options = {"GOBIN": name, "GOFLAGS": "-trimpath -buildvcs=false"}, []
            if shifted:
                settings["GOTOOLCHAIN"] = "local"  # the very Go whose file is replaced
                options = ["-overlay", str(overlay(go, Path(name)))]
            run_go(go, Path(name), settings, "install", *options, f"{COMMAND}@{version}")
            built = Path(name) / binary.PROGRAM
            check_sum(built, version)
            if shifted and SHIFT.encode("ascii") not in built.read_bytes():
                raise EngineError(f"{go} did not take the clock that was given to it")
            target.parent.mkdir(parents=True, exist_ok=True)
            built.replace(target)
    except (GoUnavailableError, OSError) as error:
        raise EngineError(
            f"CometBFT {version} is not here and cannot be built: {error}; install Go or set {binary.VARIABLE}=/path/to/"
            f"{binary.PROGRAM}; without it networks run on the built-in sequencer · 无法构建 CometBFT：请安装 Go 或设置"
            f" {binary.VARIABLE}（网络受限时可设置 GOPROXY）；没有它时网络使用内置排序节点"
        ) from None


def overlay(go: str, folder: Path) -> Path:
    """The file for `go build -overlay` that lets the clock of `go`'s programs be shifted. Raises `EngineError`."""
    try:
        asked = subprocess.run(
            [go, "env", "GOROOT"], cwd=folder, capture_output=True, text=True, check=True, timeout=ASK_S,
            env={**os.environ, "GOTOOLCHAIN": "local"},
        )  # fmt: skip
    except subprocess.SubprocessError as error:
        raise EngineError(f"{go} does not say where its sources are: {error}") from None
    source = Path(asked.stdout.strip()) / "src" / "time" / "time.go"
    text = source.read_text("utf-8")
    for before, after in SHIFTED:
        if text.count(before) != 1:
            raise EngineError(f"{source} is not as expected: {before.strip()!r}")
        text = text.replace(before, after)
    changed, listed = folder / "time.go", folder / "overlay.json"
    changed.write_text(text, "utf-8")
    listed.write_text(json.dumps({"Replace": {str(source): str(changed)}}), "utf-8")
    return listed


def check_sum(program: Path, version: str) -> None:
    """Whether `program` was built from the sources that were looked at. Raises `EngineError`."""
    try:
        text = binary.module_text(program)
    except MalformedError as error:
        raise EngineError(f"what Go built is no Go program: {error} · 构建结果无效") from None
    if f"mod\t{binary.MODULE}\t{version}\t{SUMS[version]}\n" not in text:
        raise EngineError(
            f"the sources of CometBFT {version} are not those that were pinned ({SUMS[version]}): the module proxy "
            "gives something else · CometBFT 源码与锁定的校验和不符，请检查 GOPROXY"
        )


def _named(version: str) -> Path:
    try:
        program = binary.find_binary()
        got = binary.version_of(program)
    except LedgerError as error:
        raise EngineError(f"{binary.VARIABLE}: {error} · 该文件不是可用的 CometBFT") from None
    if got != version:
        raise EngineError(
            f"{binary.VARIABLE}: {program} is CometBFT {got}, this ledger is tested with {version}; name that one, or unset "
            f"the variable · {binary.VARIABLE} 所指的版本是 {got}，需要 {version}"
        )
    return program


def say(text: str) -> None:
    """One line for the person who waits."""
    print(f"dev: {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Prints the path. Exit code 1 where there is no engine, 2 for a version that is not pinned."""
    parser = argparse.ArgumentParser(prog="./dev engine", description=(__doc__ or "").partition("\n")[0])
    known = [version.removeprefix("v") for version in SUMS]
    parser.add_argument(
        "--version", choices=known, default=known[0], help=f"default {known[0]}; the other is for tests · 版本"
    )
    try:
        print(engine(f"v{parser.parse_args().version}"))
    except EngineError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
