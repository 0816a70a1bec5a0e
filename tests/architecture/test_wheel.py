"""The two wheels: what is in them, and that `suyuan` alone in an empty environment works with its own packages only."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT, files, modules, text

# The base install and what its four packages bring along on the Pythons that we support.
CLOSURE = {"suyuan", "cffi", "click", "cryptography", "msgpack", "pycparser", "typing-extensions", "zstandard"}
# Base code that every auditor runs; what only works with an extra or with the node stays out.
BASE_AREAS = {
    "errors",
    "limits",
    "core",
    "rules",
    "machine",
    "verify",
    "ports",
    "app",
    "framing",
    "blockcodec",
    "archiveformat",
    "snapshotformat",
    "cli",
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def _build(project: Path, out: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = out.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def library_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of suyuan, built from this tree."""
    return _build(ROOT, tmp_path_factory.mktemp("suyuan"))


def _contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def _sources(prefix: str) -> set[str]:
    return {path.removeprefix(prefix) for path in files() if path.startswith(prefix)}


def test_library_wheel_holds_every_file(library_wheel: Path) -> None:
    """The wheel of suyuan holds exactly the files of src/ledger, texts and type marker included."""
    assert _contents(library_wheel) == _sources("src/")


def test_node_wheel_holds_every_file(tmp_path: Path) -> None:
    """The wheel of suyuan-node holds the files of node/src, the rulebooks of contracts/ and the licence."""
    rulebooks = {"ledger_node/" + path for path in files() if path.startswith("contracts/")}
    if not rulebooks:
        pytest.skip("contracts/ does not exist yet")
    wheel = _build(ROOT / "node", tmp_path)
    assert _contents(wheel) == _sources("node/src/") | rulebooks | {"ledger_node/LICENSE"}


def _run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return subprocess.run(
        [str(part) for part in command], env=inherited | environment, capture_output=True, text=True, check=False
    )


def _constraints(folder: Path) -> Path:
    """The tested versions of the closure, from the environment that runs this test."""
    pins = []
    for name in sorted(CLOSURE - {"suyuan"}):
        try:
            pins.append(f"{name}=={importlib.metadata.version(name)}\n")
        except importlib.metadata.PackageNotFoundError:
            continue
    file = folder / "constraints.txt"
    file.write_text("".join(pins), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def auditor(library_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an empty environment into which only the wheel of suyuan was installed."""
    folder = tmp_path_factory.mktemp("auditor")
    python = folder / "venv" / "bin" / "python"
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    made = _run(sys.executable, "-I", "-m", "venv", *(["--without-pip"] if uv else []), folder / "venv")
    assert made.returncode == 0, made.stderr
    installer: list[str | Path] = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
    command = [*installer, "--constraint", _constraints(folder), library_wheel]
    done = _run(*command, "--offline") if uv else _run(*command)
    if uv and done.returncode != 0:  # not in uv's cache
        done = _run(*command)
    if done.returncode != 0 and re.search(
        r"connect|resolve host|name resolution|timed out|dns", done.stderr, re.IGNORECASE
    ):
        pytest.skip("no package registry in reach: the wheel was not installed alone")
    assert done.returncode == 0, done.stdout + done.stderr
    return python.parent


def test_base_install_is_small(auditor: Path) -> None:
    """An auditor gets suyuan, its four packages and what those need, and nothing else."""
    script = "import importlib.metadata as m; print(*{d.name.lower().replace('_', '-') for d in m.distributions()})"
    done = _run(auditor / "python", "-I", "-c", script)
    assert done.returncode == 0, done.stderr
    installed = set(done.stdout.split()) - {"pip", "setuptools"}
    assert {"suyuan", "click", "cryptography", "msgpack", "zstandard"} <= installed <= CLOSURE


def test_base_modules_import_alone(auditor: Path) -> None:
    """Every module of core, rules, machine, verify, app and the command line imports without any extra."""
    names = [module.name for module in modules() if module.area in BASE_AREAS]
    script = f"import importlib\nfor name in {names!r}: importlib.import_module(name)"
    done = _run(auditor / "python", "-I", "-c", script)
    assert done.returncode == 0, done.stderr


def test_command_line_starts_alone(auditor: Path) -> None:
    """`ledger --help` answers in the base install, in both languages."""
    if "src/ledger/cli/main.py" not in files():
        pytest.skip("ledger.cli.main does not exist yet")
    for language in ("zh", "en"):
        done = _run(auditor / "ledger", "--help", LEDGER_LANG=language)
        assert done.returncode == 0, done.stderr
        assert "verify" in done.stdout


def test_wheel_states_what_it_is(library_wheel: Path) -> None:
    """The metadata names licence, Python floor and exactly the base dependencies of pyproject.toml."""
    with zipfile.ZipFile(library_wheel) as archive:
        (name,) = (entry for entry in archive.namelist() if entry.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode("utf-8")
        entry_points = archive.read(name.replace("METADATA", "entry_points.txt")).decode("utf-8")
    required = {
        line.split()[1] for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra" not in line
    }
    assert {re.split(r"[<>=!]", line)[0] for line in required} == {"click", "cryptography", "msgpack", "zstandard"}
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Python: >=3.11" in metadata
    assert "ledger = ledger.cli.entry:main" in entry_points
    assert text("LICENSE").lstrip().startswith("Apache License")
