"""Keeps the code in the shape that docs/STYLE.md describes: sizes, names, purity, docstrings, no dead files.

Each check is first shown to find a planted fault, then run over the repository.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.architecture import tidy
from tests.architecture.tree import Module, modules, parse, project, report

# Used from outside the packages: by ./dev; as the second store of the conformance suite; as judge of CometBFT's calls.
ENTRY_POINTS = frozenset(
    {"ledger_node.demo", "ledger.adapters.memory", "ledger.rules.plain", "ledger_node.comet.grammar"}
) | {
    target.partition(":")[0]
    for path in ("pyproject.toml", "node/pyproject.toml")
    for target in project(path)["project"].get("scripts", {}).values()
}

Check = Callable[[Module], Iterator[str]]

LONG_FUNCTION = "def f():\n" + "    pass\n" * 71

PLANTED: list[tuple[Check, str, str, str]] = [
    (tidy.sizes, "src/ledger/core/x.py", "\n" * 501, "501 lines"),
    (tidy.sizes, "src/ledger/core/x.py", LONG_FUNCTION, "f has 72 lines"),
    (tidy.vague_names, "src/ledger/core/utils.py", "", "the name utils says nothing"),
    (tidy.vague_names, "node/src/ledger_node/common/x.py", "", "the name common says nothing"),
    (tidy.banned_imports, "src/ledger/core/x.py", "import time", "time is banned in ledger.core — take the time"),
    (tidy.banned_imports, "src/ledger/verify/__init__.py", "from os import path", "os is banned in ledger.verify"),
    (tidy.banned_imports, "src/ledger/app.py", "import urllib.request", "urllib.request is banned in ledger.app"),
    (tidy.banned_calls, "src/ledger/machine/x.py", "open('x')", "open() is banned"),
    (tidy.banned_calls, "src/ledger/machine/x.py", "exec('x')", "exec() is banned"),
    (tidy.banned_calls, "src/ledger/rules/x.py", "datetime.datetime.now()", ".now() is banned"),
    (tidy.banned_calls, "src/ledger/rules/x.py", "hash('x')", "the built-in differs"),
    (tidy.inexact, "src/ledger/core/x.py", "a = 1.5", "1.5 is a float"),
    (tidy.inexact, "src/ledger/core/x.py", "a = 3 / 2", "/ makes a float"),
    (tidy.inexact, "src/ledger/core/x.py", "[x for x in {1, 2}]", "sorted"),
    (tidy.inexact, "src/ledger/core/x.py", "for x in set(y):\n    pass", "sorted"),
    (tidy.missing_docstrings, "src/ledger/core/x.py", '"""X."""\ndef f(): ...', "f has no docstring"),
    (tidy.missing_docstrings, "src/ledger/verify/x.py", '"""X."""\nclass C:\n  "C."\n  def f(self): ...', "C.f has no"),
    (tidy.missing_docstrings, "src/ledger/core/x.py", "a = 1", "no module docstring"),
    (tidy.missing_docstrings, "tests/unit/test_x.py", "def test_f(): ...", "test_f has no docstring"),
]

FINE: list[tuple[Check, str, str]] = [
    (tidy.sizes, "src/ledger/core/x.py", "def f():\n    '''" + "a\n" * 90 + "'''\n    pass\n"),
    (tidy.banned_imports, "src/ledger/adapters/x.py", "import time"),
    (tidy.banned_calls, "src/ledger/adapters/x.py", "open('x')"),
    (tidy.banned_calls, "src/ledger/rules/x.py", "exec(program)"),
    (tidy.inexact, "src/ledger/adapters/x.py", "a = 3 / 2"),
    (tidy.missing_docstrings, "src/ledger/core/x.py", '"""X."""\ndef _f(): ...'),
]


@pytest.mark.parametrize(("check", "path", "source", "message"), PLANTED)
def test_check_finds_planted_fault(check: Check, path: str, source: str, message: str) -> None:
    """Every check names path, line, fault and remedy of a fault that was planted for it."""
    problems = list(check(parse(path, source)))
    assert len(problems) == 1
    assert problems[0].startswith(f"{path}:")
    assert message in problems[0]
    assert " — " in problems[0]


@pytest.mark.parametrize(("check", "path", "source"), FINE)
def test_check_passes_what_is_fine(check: Check, path: str, source: str) -> None:
    """A check stays silent about the same words where they are allowed."""
    assert list(check(parse(path, source))) == []


def test_dead_module_is_found() -> None:
    """A module that only a test imports counts as dead; one that is named in a string or imported does not."""
    planted = [
        parse("src/ledger/core/alive.py", ""),
        parse("src/ledger/core/dead.py", "import ledger.core.dead"),
        parse("src/ledger/cli/lazy.py", "from ledger.core import alive"),
        parse("src/ledger/cli/main.py", 'LAZY = ["ledger.cli.lazy:command"]'),
        parse("tests/unit/test_x.py", "import ledger.core.dead"),
    ]
    problems = list(tidy.dead_modules(planted, frozenset({"ledger.cli.main"})))
    assert problems == [
        "src/ledger/core/dead.py:1: nothing imports ledger.core.dead — import it where it is needed, or delete it"
    ]


def test_untested_verb_is_found() -> None:
    """A public parser of core that no test names is reported with its line."""
    planted = [
        parse("src/ledger/core/x.py", "def parse_a(): ...\ndef parse_b(): ..."),
        parse("tests/unit/core/test_x.py", "from ledger.core import x\nx.parse_a()"),
    ]
    problems = list(tidy.untested_verbs(planted))
    assert len(problems) == 1
    assert problems[0].startswith("src/ledger/core/x.py:2: no test names parse_b")


@pytest.mark.parametrize(
    "check",
    [
        tidy.sizes,
        tidy.vague_names,
        tidy.banned_imports,
        tidy.banned_calls,
        tidy.inexact,
        tidy.missing_docstrings,
    ],
    ids=lambda check: check.__name__,
)
def test_repository_is_tidy(check: Check) -> None:
    """No module of the repository breaks this rule of docs/STYLE.md."""
    problems = [problem for module in modules() for problem in check(module)]
    assert not problems, report(problems)


def test_no_dead_modules() -> None:
    """Every module of the two packages is imported by another one or is an entry point."""
    problems = list(tidy.dead_modules(modules(), ENTRY_POINTS))
    assert not problems, report(problems)


def test_every_parser_and_verifier_of_core_is_tested() -> None:
    """Each public parse, encode, prove and verify function of core is named by a test."""
    problems = list(tidy.untested_verbs(modules()))
    assert not problems, report(problems)


def test_no_exemption_is_stale() -> None:
    """Each entry of the list of exemptions still covers a call that exists."""
    sources = {module.path: module.source for module in modules()}
    stale = [f"{path}: {call}" for path, call in tidy.EXEMPT if f"{call}(" not in sources.get(path, "")]
    assert not stale, report(stale)
