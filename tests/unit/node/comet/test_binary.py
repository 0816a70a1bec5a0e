"""Which CometBFT is run: the order of the places, and the version that the linker wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.errors import MalformedError, NotFoundError, UnavailableError
from ledger_node import __main__ as entry
from ledger_node.comet import binary
from ledger_node.comet.binary import VARIABLE, VERSION, check_binary, find_binary, module_version, version_of

HEAD = b"\x7fELF" + b"\0" * 60


def program(path: Path, data: bytes = b"#!/bin/sh\necho 1.2.3\n") -> Path:
    """An executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(0o755)
    return path


def go_binary(path: Path, module: str, *, flags: int = 2) -> Path:
    """A file with Go's build info, after a decoy of the magic in its text."""
    text = b"0" * 16 + module.encode() + b"1" * 16

    def string(data: bytes) -> bytes:
        size = len(data)
        return (bytes((size,)) if size < 0x80 else bytes((size & 0x7F | 0x80, size >> 7))) + data

    info = b"\xff Go buildinf:" + bytes((8, flags)) + b"\0" * 16 + string(b"go1.26.8") + string(text)
    decoy = b"\0" * 7 + b"\xff Go buildinf:" + b"\0" * 11
    return program(path, HEAD + decoy + b"\0" * (-len(HEAD + decoy) % 16) + info)


def mod(version: str) -> str:
    """A module text of CometBFT."""
    return f"path\t{binary.MODULE}/cmd/cometbft\nmod\t{binary.MODULE}\t{version}\th1:x=\ndep\tother\tv1.0.0\th1:y=\n"


def test_the_first_place_that_names_one_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable goes before the setting, the setting before the source tree, the tree before PATH."""
    places = [program(tmp_path / name / "cometbft") for name in ("variable", "setting", "tree/.tools/bin", "path")]
    monkeypatch.setattr(binary, "_source_tree", lambda: tmp_path / "tree")
    environment = {VARIABLE: str(places[0]), "PATH": str(places[3].parent)}
    assert find_binary(str(places[1]), environment) == places[0]
    del environment[VARIABLE]
    assert find_binary(str(places[1]), environment) == places[1]
    assert find_binary("", environment) == places[2]
    places[2].unlink()
    assert find_binary("", environment) == places[3]
    places[3].chmod(0o644)
    with pytest.raises(NotFoundError) as caught:
        find_binary("", environment)
    assert caught.value.code == "comet-binary"


def test_one_that_is_named_has_to_be_there(tmp_path: Path) -> None:
    """A name that leads nowhere is an error, whatever else could be found."""
    found = program(tmp_path / "cometbft")
    for configured, environment in (("/nowhere", {}), (str(found), {VARIABLE: "/nowhere"})):
        with pytest.raises(NotFoundError) as caught:
            find_binary(configured, {**environment, "PATH": str(tmp_path)})
        assert caught.value.code == "comet-binary"


def test_the_version_is_what_the_linker_wrote(tmp_path: Path) -> None:
    """Build info names the module and its version; another version is refused with both named."""
    good = go_binary(tmp_path / "good", mod(VERSION))
    assert version_of(good) == VERSION and check_binary(good) == VERSION
    other = go_binary(tmp_path / "other", mod("v0.38.23"))
    with pytest.raises(UnavailableError) as caught:
        check_binary(other)
    assert caught.value.code == "comet-version" and caught.value.evidence["got"] == "v0.38.23"
    assert check_binary(other, ("v0.38.23",)) == "v0.38.23"
    assert module_version(f"path\tx\nmod\tx\t(devel)\t\ndep\t{binary.MODULE}\tv0.39.4\th1:=") == "v0.39.4"
    with pytest.raises(MalformedError):
        module_version("path\tx\nmod\tx\tv1.0.0\t")


def test_who_names_no_release_is_asked(tmp_path: Path) -> None:
    """A build from a source tree says `(devel)`: then the program's own word counts; one without a word is refused."""
    assert version_of(program(tmp_path / "script", b"#!/bin/sh\necho 0.39.4+abc\n" + b"#" * 64)) == "v0.39.4"
    for name, data in (("mute", b"#!/bin/sh\nexit 1\n" + b"#" * 64), ("noise", b"\x7fELF" + b"\0" * 99)):
        with pytest.raises(UnavailableError) as caught:
            version_of(program(tmp_path / name, data))
        assert caught.value.code == "comet-version"


def test_cut_build_info_is_no_crash(tmp_path: Path) -> None:
    """A binary that ends anywhere inside its build info is refused as one that tells nothing."""
    whole = go_binary(tmp_path / "whole", mod(VERSION)).read_bytes()
    for end in range(len(HEAD), len(whole) - 1, 5):
        path = program(tmp_path / "cut", whole[:end])
        with pytest.raises(MalformedError) as caught:
            binary.module_text(path)
        assert caught.value.code == "go-build-info"


def test_the_real_binary(cometbft: Path) -> None:
    """The installed CometBFT tells its version without being run."""
    assert module_version(binary.module_text(cometbft)) == VERSION


@pytest.mark.parametrize("place", ["variable", "setting", "path"])
@pytest.mark.parametrize(
    ("lang", "words"), [("en", ("is not the version of CometBFT", "Install")), ("zh", ("不是本软件测试过的", "请安装"))]
)
def test_a_node_does_not_start_with_another_version(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    place: str,
    lang: str,
    words: tuple[str, str],
) -> None:
    """Wherever it was found: exit code 1, both versions, the code and what to do on one line, and nothing is written."""
    other = go_binary(tmp_path / "bin" / "cometbft", mod("v1.0.1"))
    monkeypatch.setattr(binary, "_source_tree", lambda: None)
    monkeypatch.setenv("LEDGER_LANG", lang)
    monkeypatch.setenv("PATH", str(other.parent) if place == "path" else "/nowhere")
    monkeypatch.delenv(VARIABLE, raising=False)
    if place == "variable":
        monkeypatch.setenv(VARIABLE, str(other))
    folder = tmp_path / "node"
    folder.mkdir()
    named = f'\n[comet]\nbinary = "{other}"\n' if place == "setting" else ""
    (folder / "node.toml").write_text(f'[node]\nrole = "validator"\n{named}', "utf-8")
    monkeypatch.setattr(entry, "configure_logs", lambda _: None)  # it would outlive this test
    assert entry.main([str(folder)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    for part in (str(other), "v1.0.1", VERSION, "[comet-version]", *words):
        assert part in line
    assert [path.name for path in folder.iterdir()] == ["node.toml"]
