"""What must hold of the whole repository: no machine's traces, an honest lock, equal versions, a reason per package."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
import tomllib

import pytest

from tests.architecture.tree import ROOT, files, project, report, text

# Taken apart, so that this file does not hold what it looks for.
MACHINE_PATH = re.compile(
    r"(?<![\w.~$}-])/(?:" + "|".join(("wo" + "rk", "ro" + "ot", "ho" + r"me/\w+", "Us" + r"ers/\w+")) + ")/"
)
REGISTRY_HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("proxy", "golang", "org"),
        ("sum", "golang", "org"),
        ("goproxy", "cn"),
        ("goproxy", "io"),
        ("index", "crates", "io"),
        ("static", "crates", "io"),
        ("mirrors", "aliyun", "com"),
        ("tuna", "tsinghua", "edu"),
        ("deb", "debian", "org"),
    )
)
LOCK = "requirements.lock"
PIN = re.compile(r"^([a-z0-9][a-z0-9-]*)==(\S+)", re.MULTILINE)
NAME = re.compile(r"^[A-Za-z0-9._-]+")


def traces(path: str, content: str) -> list[str]:
    """Lines that name a path of one machine or the host of a registry."""
    problems = []
    for number, line in enumerate(content.splitlines(), start=1):
        if MACHINE_PATH.search(line):
            problems.append(f"{path}:{number}: an absolute path of one machine — use a relative one or a setting")
        problems += [
            f"{path}:{number}: {host} is a registry — name the package only; the reader's settings say from where"
            for host in REGISTRY_HOSTS
            if host in line
        ]
    return problems


def test_traces_are_found() -> None:
    """A planted machine path and a planted registry host are reported; look-alikes are not."""
    assert len(traces("a", "open('/ro" + "ot/x')\nhttps://py" + "pi.org/simple")) == 2
    assert traces("a", "docs/wo" + "rk/x  $HOME/wo" + "rk/y  https://example.org/ro" + "ot/") == []


def test_no_traces_of_a_machine() -> None:
    """No file holds an absolute path of somebody's machine or the address of a package registry."""
    problems = [problem for path in files() for problem in traces(path, text(path))]
    assert not problems, report(problems)


def test_lock_holds_hashes_and_no_addresses() -> None:
    """Every pin of the lock has hashes, and nothing in it says where to fetch from."""
    lock = text(LOCK)
    assert "://" not in lock
    assert not re.search(r"^\s*(-i|-e|-f|--index[-]url|--extra-index[-]url|--find-links|file:)", lock, re.MULTILINE)
    entries = re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE)[1:]
    assert entries
    assert [entry.partition("=")[0] for entry in entries if "--hash=sha256:" not in entry] == []


def _names(requirements: list[str]) -> set[str]:
    found = {match.group().lower().replace("_", "-") for line in requirements if (match := NAME.match(line))}
    return found - {"suyuan", "suyuan-node"}


def _declared() -> dict[str, set[str]]:
    """Direct dependencies by where they are used, as docs/DEPENDENCIES.md calls the places."""
    root, node = project(), project("node/pyproject.toml")
    return {
        "base": _names(root["project"]["dependencies"]),
        "extra": _names([line for lines in root["project"]["optional-dependencies"].values() for line in lines]),
        "node": _names(node["project"]["dependencies"]),
        "dev": _names(root["dependency-groups"]["dev"]),
        "build": _names(root["build-system"]["requires"]) | _names(node["build-system"]["requires"]),
    }


def test_lock_covers_every_direct_dependency() -> None:
    """What the two pyproject files name is in the lock: `./dev lock` was not forgotten."""
    locked = {name for name, _ in PIN.findall(text(LOCK))}
    missing = set().union(*_declared().values()) - locked
    assert not missing, f"{LOCK}:1: {sorted(missing)} not locked — run ./dev lock"


def test_every_dependency_has_its_reason() -> None:
    """docs/DEPENDENCIES.md has one row for each direct dependency, with its places, and no other row."""
    rows = re.findall(
        r"^\| `([a-z0-9-]+)` \| ([a-z, ]+) \| (.+) \| (.+) \|$", text("docs/DEPENDENCIES.md"), re.MULTILINE
    )
    explained = {name: {place.strip() for place in places.split(",")} for name, places, _, _ in rows}
    declared: dict[str, set[str]] = {}
    for place, names in _declared().items():
        for name in names:
            declared.setdefault(name, set()).add(place)
    assert explained == declared


def test_the_two_distributions_have_one_version() -> None:
    """suyuan, suyuan-node and the pin between them name the same version, and no distribution is called ledger."""
    root, node = project()["project"], project("node/pyproject.toml")["project"]
    assert root["version"] == node["version"], "run scripts/bump_version.py"
    assert f"suyuan=={root['version']}" in node["dependencies"], "run scripts/bump_version.py"
    assert (root["name"], node["name"]) == ("suyuan", "suyuan-node")
    assert "ledger" not in {name for name, _ in PIN.findall(text(LOCK))}, "a stranger's package of that name"


def test_version_script_moves_all_places(tmp_path) -> None:
    """bump_version.py changes the three places and --check finds the one that was forgotten."""
    script = ROOT / "scripts" / "bump_version.py"
    (tmp_path / "node").mkdir()
    for name in ("pyproject.toml", "node/pyproject.toml"):
        (tmp_path / name).write_text(text(name), encoding="utf-8")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(script), "--root", str(tmp_path), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert run("7.8.9").returncode == 0
    assert run("--check").returncode == 0
    moved = tomllib.loads((tmp_path / "node/pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert moved["version"] == "7.8.9"
    assert "suyuan==7.8.9" in moved["dependencies"]
    node = tmp_path / "node/pyproject.toml"
    node.write_text(node.read_text(encoding="utf-8").replace("suyuan==7.8.9", "suyuan==7.8.8"), encoding="utf-8")
    assert run("--check").returncode == 1
    assert run("seven").returncode == 2


@pytest.mark.parametrize("path", ["dev", ".ci/run"])
def test_entry_scripts_are_executable_posix_shell(path: str) -> None:
    """The entry scripts can be run as they are and parse in a POSIX shell."""
    assert (ROOT / path).stat().st_mode & stat.S_IXUSR
    assert text(path).startswith("#!/bin/sh\n")
    assert subprocess.run(["sh", "-n", str(ROOT / path)], check=False).returncode == 0


def test_ci_runs_both_gates() -> None:
    """CI calls `./dev check` and `./dev test`, and fails when either fails."""
    lines = text(".ci/run").splitlines()
    assert "./dev check || failed=1" in lines
    assert "./dev test || failed=1" in lines
    assert lines[-1] == 'exit "$failed"'
