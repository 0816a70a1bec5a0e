"""The import graph is the trust graph: who imports whom, which packages an area uses, what the verifier loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT, imports, modules, parse, report

# Third-party packages by area. The base install has click, cryptography, msgpack and zstandard; msgspec and nacl are
# options there (test_wheel.py runs without them). Areas that are missing here may use none; adapters and client are free.
THIRD_PARTY = {
    "core": {"cryptography", "msgspec", "nacl"},
    "rules": {"msgspec"},
    "framing": {"msgpack", "zstandard"},
    "blockcodec": {"msgpack", "zstandard"},
    "snapshotformat": {"msgpack"},
    "verify": {"msgspec"},
    "cli": {"click", "rich"},
}
FREE_AREAS = {"adapters", "client"}
OURS = {"ledger", "ledger_node"}
# What comes with cryptography and nacl: cffi, and typing_extensions before Python 3.13. Names that begin with _ are parts
# in C.
VERIFIER_MAY_LOAD = {
    "cryptography", "cffi", "cython_runtime", "msgpack", "msgspec", "nacl", "typing_extensions", "zstandard",
}  # fmt: skip


def test_import_contracts_hold() -> None:
    """The contracts in pyproject.toml are kept; the output names importer, line and what to do instead."""
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("path", "source", "contract"),
    [
        ("core/planted.py", "import time", "no I/O, clock, chance"),
        ("core/planted.py", "import ledger.machine", "imports run one way"),
        ("machine/planted.py", "from ledger import ports", "imports run one way"),
        ("client/planted.py", "import ledger.adapters", "client uses verify and core only"),
        ("adapters/home/planted.py", "import ledger.adapters.ordering", "adapters: ordering"),
        ("planted.py", "", "ledger.planted"),
        ("../ledger_node/http/planted.py", "import ledger.adapters", "routes open no adapter"),
        ("../ledger_node/query/planted.py", "import ledger_node.http", "the node: start"),
        ("core/planted.py", "import ledger_node", "nobody in ledger imports ledger_node"),
    ],
)
def test_planted_import_breaks_a_contract(tmp_path: Path, path: str, source: str, contract: str) -> None:
    """An import that is planted against each contract makes the check fail and name that contract."""
    for name in ("errors.py", "limits.py", "app.py", "ports.py"):
        _write(tmp_path / "src/ledger" / name, "")
    for area in (
        "core",
        "rules",
        "machine",
        "verify",
        "report",
        "adapters",
        "adapters/home",
        "adapters/ordering",
        "client",
        "cli",
    ):
        _write(tmp_path / "src/ledger" / area / "__init__.py", "")
    _write(tmp_path / "src/ledger/__init__.py", "")
    for area in ("", "http", "query"):
        _write(tmp_path / "src/ledger_node" / area / "__init__.py", "")
    _write(tmp_path / "src/ledger" / path, source)
    _write(tmp_path / "pyproject.toml", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'src')!r})\n"
        "from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    broken = done.stdout.partition("Broken contracts")[2]
    assert done.returncode == 1, done.stdout + done.stderr
    assert contract in broken


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def _foreign(module_path: str, area: str, named: list[tuple[str, int]]) -> list[str]:
    allowed = THIRD_PARTY.get(area, set())
    return [
        f"{module_path}:{line}: {name} is not among the packages of ledger.{area} — move the use to ledger.adapters,"
        " or take the result as an argument"
        for name, line in named
        if name.partition(".")[0] not in sys.stdlib_module_names | OURS | allowed
    ]


def test_each_area_uses_its_packages_only() -> None:
    """core, framing, blockcodec and cli use the packages listed for them, the other inner areas none at all."""
    problems = [
        problem
        for module in modules()
        if module.area and module.area not in FREE_AREAS
        for problem in _foreign(module.path, module.area, list(imports(module)))
    ]
    assert not problems, report(sorted(set(problems)))


def test_foreign_package_is_found() -> None:
    """A third-party import in an area that has none is reported with path and line."""
    planted = parse("src/ledger/machine/x.py", "import hashlib\nimport httpx")
    problems = _foreign(planted.path, planted.area, list(imports(planted)))
    assert [problem.partition(" is not")[0] for problem in problems] == ["src/ledger/machine/x.py:2: httpx"]


def test_verifier_loads_little() -> None:
    """Importing every module of core, rules, machine and verify loads no package but those of the base install."""
    areas = ("core", "rules", "machine", "verify", "framing", "blockcodec", "archiveformat", "snapshotformat")
    names = [module.name for module in modules() if module.area in areas]
    script = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    bare = subprocess.run(
        [sys.executable, "-c", "import sys; print(*sys.modules)"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    known = OURS | VERIFIER_MAY_LOAD | set(bare.stdout.split()) | set(sys.stdlib_module_names)
    surplus = {name for name in done.stdout.split() if not name.startswith("_")} - known
    assert not surplus, f"the verifier loads {sorted(surplus)} — remove the import, or make it late"


def test_rules_of_contracts_import_nothing() -> None:
    """A rule file holds no import: what it may use is the prelude."""
    problems = []
    for path in sorted((ROOT / "contracts").glob("*/rules/**/*.py")):
        name = path.relative_to(ROOT).as_posix()
        planted = parse(name, path.read_text(encoding="utf-8"))
        problems += [f"{name}:{line}: import {what} — use the prelude" for what, line in imports(planted)]
    assert not problems, report(problems)
