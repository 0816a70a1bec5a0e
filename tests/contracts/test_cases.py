"""Every rulebook of `contracts/` does what its cases say, in every runtime, and every rule has cases of each type."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.adapters.runtime.monty import Monty
from ledger.adapters.runtime.worker import Worker
from ledger.errors import UnavailableError
from ledger.rules.cases import TYPES, parse_cases, run_cases
from ledger.rules.plain import Plain
from ledger.rules.program import Program
from tests.unit.rules.books import CONTRACTS, contract_program

ROOT = CONTRACTS.parent
RULEBOOKS = sorted(path.parent.name for path in CONTRACTS.glob("*/rulebook.toml"))


@pytest.fixture(params=RULEBOOKS)
def program(request: pytest.FixtureRequest) -> Program:
    """Each rulebook of the repository."""
    return contract_program(request.param)


@pytest.fixture
def monty(program: Program) -> Iterator[Monty]:
    """The second runtime; the test is skipped where it is not installed."""
    try:
        runtime = Monty(program)
    except UnavailableError as error:
        pytest.skip(f"no second runtime: {error.message}")
    with runtime:
        yield runtime


def test_there_is_a_rulebook() -> None:
    """The repository ships rulebooks."""
    assert {"data-sharing", "gdpr"} <= set(RULEBOOKS)


def test_cases_pass(program: Program) -> None:
    """Every case passes in the compiled and in the plain runtime, and no rule lacks a type of case."""
    rows = run_cases(program, {"inline": program.run_block, "plain": Plain(program).run_block})
    assert [row for row in rows if not row.passed] == []
    assert {row.type for row in rows} == set(TYPES)
    assert {row.rule for row in rows} == set(program.book.rules)


def test_cases_pass_in_the_worker(program: Program) -> None:
    """Every case passes in the confined child process."""
    with Worker(program) as worker:
        assert [row for row in run_cases(program, {"worker": worker.run_block}) if not row.passed] == []


@pytest.mark.slow
@pytest.mark.timeout(600)  # the sandbox reads its program anew for every block
def test_cases_pass_in_the_second_runtime(program: Program, monty: Monty) -> None:
    """Every case passes in pydantic-monty, and every call there has the outcomes of the compiled program."""

    def both(call: dict[str, object]) -> list[object]:
        outcomes = program.run_block(call)
        assert monty.run_block(call) == outcomes
        return outcomes

    assert [row for row in run_cases(program, {"monty": both}) if not row.passed] == []


def test_every_text_is_used(program: Program) -> None:
    """A code that no rule and no table uses is dead text."""
    used = {
        code for rule in program.book.rules.values() for facts in rule.functions.values() for _, code in facts.codes
    } | {code for table in program.book.tables.values() for code in table.otherwise.values()}
    assert set(program.book.texts) - used == set()


def test_every_declaration_is_used(program: Program) -> None:
    """Parameters are read, object kinds are named by kinds, declared fields have a writer."""
    book = program.book
    read = {name for rule in book.rules.values() for facts in rule.functions.values() for name in facts.parameters_used}
    assert set(book.params) - read == set()
    named = {stream for kind in book.kinds.values() for stream in kind.objects().values()}
    assert set(book.objects) - named == set()


def test_parameters_name_their_source(program: Program) -> None:
    """Every value has a source; where the law is silent it says so and names the open point."""
    for parameter in program.book.params.values():
        for value in parameter.values:
            assert value.source
            assert isinstance(value.value, dict) != (value.value in (None, "")) or "open" not in str(value.value)
            if isinstance(value.value, dict) and "open" in value.value:
                assert "not set by law" in value.source


PROBE = """
import hashlib, json, random, sys
sys.path[:0] = {path!r}
from ledger.rules.cases import run_cases
from ledger.rules.plain import Plain
from tests.unit.rules.books import contract_program
from tests.unit.rules.case_calls import HOW, vary
program = contract_program({name!r})
runs = dict(compiled=program.run_block, plain=Plain(program).run_block)
digests = dict((name, hashlib.sha256()) for name in runs)
calls = []
def noting(name):
    def run(call):
        calls.append(call)
        outcomes = runs[name](call)
        digests[name].update(repr(outcomes).encode())
        return outcomes
    return run
noted = dict((name, noting(name)) for name in runs)
rows = run_cases(program, noted)
made = calls[:]
seeded = random.Random(16)
def one(items):
    return items[int(seeded.random() * len(items))]  # `random` draws alike in every version
for _ in range({histories}):
    call = one(made)
    for _ in range(one((1, 2, 3))):
        other, pick, how = one(made), one(range(8)), one(HOW)
        if how != "number" or pick % 5 != 3:  # sums over 2**53 are for the guards to refuse, and plain rules have none
            call = vary(call, other, pick, how)
    for run in noted.values():
        run(call)
passed = all(row.passed for row in rows)
print(json.dumps([program.source_hash.hex(), passed] + [digest.hexdigest() for digest in digests.values()]))
"""
HISTORIES = 1_000  # odd variants of the cases' calls


def other_pythons() -> list[str]:
    """Interpreters of other supported versions on this machine."""
    found = []
    for minor in (11, 12, 13):
        if sys.version_info[:2] == (3, minor):
            continue
        folders = [
            *os.environ.get("PATH", "").split(":"),
            *map(str, Path.home().glob(f".pyenv/versions/3.{minor}.*/bin")),
        ]
        paths = [Path(folder) / f"python3.{minor}" for folder in folders]
        works = [
            p
            for p in paths
            if p.is_file() and subprocess.run([p, "-c", ""], capture_output=True, check=False).returncode == 0
        ]
        found += [str(works[0])] if works else []
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)  # each interpreter decides every case
def test_every_python_gives_the_same_program_and_verdicts(program: Program) -> None:
    """Other versions of CPython, without any package, generate the same text and decide alike, byte for byte: every case and
    odd variants of them, by the program and by the rule files as they are."""
    others = other_pythons()
    if not others:
        pytest.skip("no other CPython of 3.11 to 3.13 on this machine")
    code = PROBE.format(path=[str(ROOT / "src"), str(ROOT)], name=program.book.id, histories=HISTORIES)
    answers = [
        json.loads(
            subprocess.run([python, "-S", "-c", code], capture_output=True, check=True, text=True, cwd=ROOT).stdout
        )
        for python in [sys.executable, *others]
    ]
    assert answers[0][0] == program.source_hash.hex()
    assert answers[0][1] is True
    assert answers[0][2] == answers[0][3]
    assert all(answer == answers[0] for answer in answers)


def test_every_rule_and_case_is_told_in_both_languages(program: Program) -> None:
    """The page of a rulebook explains each rule, and names each case, in Chinese and in English."""
    for rule in program.book.rules.values():
        paragraphs = [each.strip() for each in rule.text.partition("\n")[2].split("\n\n") if each.strip()]
        chinese = [each for each in paragraphs if re.match(r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]", each)]
        assert chinese and len(chinese) < len(paragraphs), rule.id
    _, cases = parse_cases(program)
    assert all(re.search(r"[\u4e00-\u9fff]", case.zh) and case.zh != case.name for case in cases)
