"""`./dev` from nothing but a shell: the messages of a machine that lacks something, the stamp, the repair of `.venv`.

The set-up itself is replaced by a stand-in Python that only writes what a finished set-up leaves behind; the real one
runs whenever these tests run at all.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

from tests.architecture.tree import ROOT

COPIED = ("dev", "requirements.lock", "pyproject.toml", "node/pyproject.toml", "scripts/environment.py")
TOOLS = ("sh", "cat", "cksum", "dirname", "env", "touch", "mkdir", "true", "pwd")

GOOD_PYTHON = """#!/bin/sh
case "$1$2" in
-c*print*) echo 3.12.1 ;;
-c*) exit 0 ;;
-I*)
    echo "set up" >>"$LOG"
    mkdir -p .venv/bin
    touch .venv/bin/python
    chmod +x .venv/bin/python
    printf '%s' "$3" >.venv/.dev-stamp
    ;;
esac
"""

OLD_PYTHON = """#!/bin/sh
case "$2" in
*print*) echo 3.9.18 ;;
*) exit 1 ;;
esac
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A copy of what ./dev needs, in a folder whose name has a space."""
    root = tmp_path / "a folder"
    for name in COPIED:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in (*TOOLS, "chmod"):
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    return root


def _dev(
    root: Path,
    *arguments: str,
    python: str | None = None,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs ./dev with a PATH that holds the tools and, where given, a `python3` with this text."""
    stand_in = root.parent / "python"
    stand_in.mkdir(exist_ok=True)
    if python is not None:
        (stand_in / "python3").write_text(python, encoding="utf-8")
        (stand_in / "python3").chmod(0o755)
    variables = {
        "PATH": f"{stand_in}{os.pathsep}{root.parent / 'tools'}",
        "LOG": str(root.parent / "log"),
        "HOME": str(root.parent),
        **(environment or {}),
    }
    return subprocess.run(
        [str(root / "dev"), *arguments], cwd=cwd or root, env=variables, capture_output=True, text=True, check=False
    )


def test_help_needs_nothing(place: Path) -> None:
    """`./dev` alone and `./dev help` list every command without making an environment."""
    for arguments in ([], ["help"], ["--help"]):
        done = _dev(place, *arguments)
        assert done.returncode == 0
        for command in ("demo", "test", "check", "bench", "soak", "run", "lock", "engine"):
            assert f"  {command} " in done.stdout
    assert not (place / ".venv").exists()


def test_unknown_command_is_a_usage_error(place: Path) -> None:
    """A mistyped command exits 2 and shows what there is."""
    done = _dev(place, "tset")
    assert done.returncode == 2
    assert "unknown command: tset" in done.stderr


def test_engine_runs_inside_the_environment(place: Path) -> None:
    """`./dev engine` runs scripts/engine.py with the environment's Python and hands its arguments on."""
    recording = GOOD_PYTHON.replace("touch .venv/bin/python", """printf '#!/bin/sh\\necho "$@"' >.venv/bin/python""")
    done = _dev(place, "engine", "--version", "0.38.23", python=recording)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "-P -m scripts.engine --version 0.38.23\n"


def test_demo_on_cometbft_asks_for_the_engine_first(place: Path) -> None:
    """`./dev demo --engine cometbft` hands the engine's path to the demo, and ends with it where there is none; the plain
    demo asks for none."""
    told = 'case "$*" in *engine) echo /the/engine; exit;; esac; echo "$@" at ${LEDGER_COMETBFT:-none}'
    recording = GOOD_PYTHON.replace("touch .venv/bin/python", f"printf '#!/bin/sh\\n{told}' >.venv/bin/python")
    for arguments in (["--engine", "cometbft"], ["--once", "--engine=cometbft"]):
        done = _dev(place, "demo", *arguments, python=recording)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"-P -m ledger_node.demo {' '.join(arguments)} at /the/engine\n"
    assert _dev(place, "demo", python=recording).stdout == "-P -m ledger_node.demo at none\n"
    (place / ".venv/bin/python").write_text("#!/bin/sh\necho 'no engine' >&2\nexit 1\n", encoding="utf-8")
    done = _dev(place, "demo", "--engine", "cometbft")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "no engine\n")


def test_bench_of_the_engine_asks_for_the_engine_first(place: Path) -> None:
    """`./dev bench engine` hands the engine's path to the measurement, and ends with it where there is none; the other
    measurements ask for none."""
    told = 'case "$*" in *scripts.engine) echo /the/engine; exit;; esac; echo "$@" at ${LEDGER_COMETBFT:-none}'
    recording = GOOD_PYTHON.replace("touch .venv/bin/python", f"printf '#!/bin/sh\\n{told}' >.venv/bin/python")
    done = _dev(place, "bench", "engine", "--minutes", "1", python=recording)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "-P -m scripts.bench engine --minutes 1 at /the/engine\n"
    assert _dev(place, "bench", "append").stdout == "-P -m scripts.bench append at none\n"
    (place / ".venv/bin/python").write_text("#!/bin/sh\necho 'no engine' >&2\nexit 1\n", encoding="utf-8")
    done = _dev(place, "bench", "engine")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "no engine\n")


def test_soak_goes_on_without_the_engine(place: Path) -> None:
    """`./dev soak` looks for the engine, and runs where there is none, having said so; LEDGER_ENGINE=no looks for none."""
    told = 'case "$*" in *scripts.engine) echo "no engine" >&2; exit 1;; esac; echo "$@"'
    recording = GOOD_PYTHON.replace("touch .venv/bin/python", f"printf '#!/bin/sh\\n{told}' >.venv/bin/python")
    done = _dev(place, "soak", "-x", python=recording)
    assert (done.returncode, done.stdout, done.stderr) == (0, "-m pytest -m soak --timeout=0 -x\n", "no engine\n")
    done = _dev(place, "soak", "--minutes", "1")
    assert (done.returncode, done.stderr) == (0, "no engine\n")
    assert done.stdout == "-m pytest -m soak --timeout=0 tests/soak\n"
    done = _dev(place, "soak", environment={"LEDGER_ENGINE": "no"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "-m pytest -m soak --timeout=0\n", "")


def test_soak_minutes_needs_a_number(place: Path) -> None:
    """`./dev soak --minutes` without a number runs nothing and shows how it is meant."""
    done = _dev(place, "soak", "--minutes", python=GOOD_PYTHON)
    assert done.returncode == 1
    assert "for example: ./dev soak --minutes 10" in done.stderr


def test_old_python_is_named_in_one_line(place: Path) -> None:
    """A Python that is too old is named with its version and what to do, in one line."""
    done = _dev(place, "run", "true", python=OLD_PYTHON)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "python3 is Python 3.9.18; Python 3.11 or newer is needed: install one" in done.stderr


def test_missing_python_is_named_in_one_line(place: Path) -> None:
    """Without any Python the one line says so."""
    done = _dev(place, "run", "true")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "no python3 found" in done.stderr


def test_set_up_runs_once_and_again_when_an_input_changes(place: Path) -> None:
    """The set-up runs at the first call, not at the second from another folder, and again after the lock changed."""
    log = place.parent / "log"
    assert _dev(place, "run", "true", python=GOOD_PYTHON).returncode == 0, "first call"
    assert log.read_text(encoding="utf-8").count("set up") == 1
    elsewhere = _dev(place, "run", "pwd", cwd=place.parent)
    assert elsewhere.stdout.strip() == str(place.parent), "the caller's folder stays current"
    assert log.read_text(encoding="utf-8").count("set up") == 1
    with (place / "requirements.lock").open("a", encoding="utf-8") as lock:
        lock.write("# changed\n")
    assert _dev(place, "run", "true").returncode == 0
    assert log.read_text(encoding="utf-8").count("set up") == 2


def test_later_calls_add_little(place: Path) -> None:
    """A call with an environment in place adds less than 0.2 s (best of five, the machine is shared)."""
    assert _dev(place, "run", "true", python=GOOD_PYTHON).returncode == 0
    best_s = 10.0
    for _ in range(5):
        started_s = time.perf_counter()
        _dev(place, "run", "true")
        best_s = min(best_s, time.perf_counter() - started_s)
    assert best_s < 0.2


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/environment.py, told that the repository is an empty folder."""
    spec = importlib.util.spec_from_file_location("environment", ROOT / "scripts" / "environment.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    venv = tmp_path / ".venv"
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", venv)
    monkeypatch.setattr(module, "PYTHON", venv / "bin" / "python")
    monkeypatch.setattr(module, "STAMP", venv / ".dev-stamp")
    monkeypatch.setattr(module, "UNFINISHED", venv / ".dev-unfinished")
    return module


def _finished(environment: ModuleType, stamp: str) -> None:
    environment.PYTHON.parent.mkdir(parents=True)
    environment.PYTHON.touch(mode=0o755)
    environment.STAMP.write_text(stamp, encoding="utf-8")


def test_finished_environment_is_updated_in_place(environment: ModuleType) -> None:
    """An environment of this place whose inputs changed is brought up to date, not made anew."""
    _finished(environment, f"{environment.ROOT}\nold inputs")
    assert environment.must_create() is False


def test_copied_environment_is_made_anew(environment: ModuleType) -> None:
    """An environment that was made at another path is not trusted: its scripts hold that path."""
    _finished(environment, "/elsewhere\ninputs")
    assert environment.must_create() is True


def test_environment_whose_python_is_gone_is_made_anew(environment: ModuleType) -> None:
    """An environment whose interpreter was removed is made anew."""
    _finished(environment, f"{environment.ROOT}\ninputs")
    environment.PYTHON.unlink()
    assert environment.must_create() is True


def test_interrupted_set_up_is_made_anew(environment: ModuleType) -> None:
    """What an interrupted set-up left behind is thrown away."""
    environment.VENV.mkdir()
    environment.UNFINISHED.touch()
    assert environment.must_create() is True


def test_foreign_environment_is_left_alone(environment: ModuleType) -> None:
    """A .venv that somebody else made is refused with what to do, and keeps its files."""
    environment.VENV.mkdir()
    (environment.VENV / "pyvenv.cfg").touch()
    with pytest.raises(environment.SetupError, match="was not made by ./dev: move it away"):
        environment.must_create()
    assert (environment.VENV / "pyvenv.cfg").exists()


def test_failed_update_leaves_no_stamp(environment: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """When installing fails the stamp is gone and the next call starts afresh."""
    _finished(environment, f"{environment.ROOT}\nold inputs")
    monkeypatch.setattr(environment.Installer, "run", lambda *_: False)
    monkeypatch.setattr(environment.Installer, "_pinned_uv", lambda _: None)
    with pytest.raises(environment.SetupError):
        environment.make(f"{environment.ROOT}\nnew inputs")
    assert not environment.STAMP.exists()
    assert environment.must_create() is True


def test_missing_venv_module_is_named(environment: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python without ensurepip, and no uv, ends with one line that names the package to install."""
    monkeypatch.setattr(environment, "present", lambda module: module != "ensurepip")
    monkeypatch.setattr(environment.shutil, "which", lambda _: None)
    with pytest.raises(environment.SetupError, match=r"no venv module .* apt install python3\.\d+-venv") as caught:
        environment.make(f"{environment.ROOT}\ninputs")
    assert "\n" not in str(caught.value)
    assert not environment.VENV.exists()


def test_settings_of_pip_serve_uv(environment: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A mirror that is configured for pip is handed to uv; a folder that does not exist is not."""
    for name in environment.PIP_TO_UV.values():
        monkeypatch.delenv(name, raising=False)
    listing = f"global.index-url='https://mirror.example/simple'\n:env:.find-links='{tmp_path} {tmp_path}/none'\n"
    environment.PYTHON.parent.mkdir(parents=True)
    environment.PYTHON.write_text(f"#!/bin/sh\ncat <<'E'\n{listing}E\n", encoding="utf-8")
    environment.PYTHON.chmod(0o755)
    installer = environment.Installer(0)
    installer._adopt_pip_settings()
    assert installer.environment["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"
    assert installer.environment["UV_FIND_LINKS"] == str(tmp_path)
