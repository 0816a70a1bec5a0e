"""What the architecture tests look at: the files of the repository, and its Python modules parsed once."""

from __future__ import annotations

import ast
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

# Only for a tree without git (a release archive): what .gitignore leaves out.
NOT_OURS = {".git", ".venv", ".tools", "__pycache__", "dist", "build", "htmlcov", "node_modules"}


@dataclass(frozen=True)
class Module:
    """One Python file: `path` relative to the repository, `name` as imported ("" outside the two packages)."""

    path: str
    name: str
    source: str
    tree: ast.Module

    @property
    def area(self) -> str:
        """`core` for ledger.core.merkle, `app` for ledger.app, "" outside the library."""
        parts = self.name.split(".")
        return parts[1] if parts[0] == "ledger" and len(parts) > 1 else ""


@cache
def files() -> tuple[str, ...]:
    """Every file that is or could be committed, relative to the repository, sorted."""
    if (ROOT / ".git").exists():
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=False,
        )
        if listed.returncode == 0:
            names = listed.stdout.decode("utf-8").split("\0")
            return tuple(sorted(name for name in set(names) if name and (ROOT / name).is_file()))
    return tuple(sorted(_walk(ROOT)))


def _walk(folder: Path) -> Iterator[str]:
    for entry in folder.iterdir():
        if (
            entry.name in NOT_OURS
            or entry.name.endswith(("_cache", ".egg-info", ".pyc"))
            or entry.name == ".hypothesis"
        ):
            continue
        if entry.is_dir():
            yield from _walk(entry)
        elif entry.is_file():
            yield entry.relative_to(ROOT).as_posix()


def module_name(path: str) -> str:
    """`ledger.core.merkle` for src/ledger/core/merkle.py; "" for files outside the two packages."""
    for prefix in ("src/", "node/src/"):
        if path.startswith(prefix):
            return path.removeprefix(prefix).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return ""


def parse(path: str, source: str) -> Module:
    """A module from its text; tests plant faults with it."""
    return Module(path, module_name(path), source, ast.parse(source, path))


@cache
def modules() -> tuple[Module, ...]:
    """All Python files of the repository but the rules, which are a language of their own."""
    return tuple(
        parse(path, (ROOT / path).read_text(encoding="utf-8"))
        for path in files()
        if path.endswith(".py") and not path.startswith("contracts/")
    )


@cache
def project(path: str = "pyproject.toml") -> dict[str, Any]:
    """A pyproject file as a value."""
    return tomllib.loads((ROOT / path).read_text(encoding="utf-8"))


def text(path: str) -> str:
    """A file's text; "" where it is not text."""
    try:
        return (ROOT / path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def imports(module: Module) -> Iterator[tuple[str, int]]:
    """Each imported module with its line, `from a import b` as both `a` and `a.b`."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def report(problems: list[str]) -> str:
    """The text of a failure: one problem a line."""
    return f"{len(problems)} to mend:\n" + "\n".join(problems)
