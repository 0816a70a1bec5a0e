"""`ledger rules test`: a table of cases in both runtimes; failures are named."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from ledger.cli.exits import Exit
from tests.unit.cli.runner import ledger

ROOT = Path(__file__).resolve().parents[3]
HAS_MONTY = importlib.util.find_spec("pydantic_monty") is not None


def test_the_shipped_rulebook_passes() -> None:
    """Every case of the rulebook passes in the compiled runtime, and the document lists each."""
    ran = ledger("rules", "test", ROOT / "contracts" / "data-sharing", "--runtime", "compiled", "--json")
    assert ran.code == 0, [case for case in ran.json["cases"] if not case["passed"]]
    assert ran.json["failed"] == 0 and ran.json["passed"] == len(ran.json["cases"]) > 20


def test_a_failing_case_is_named(tmp_path: Path) -> None:
    """A rule that is changed fails its cases: exit 1 with rule, case and what was expected."""
    folder = tmp_path / "book"
    shutil.copytree(ROOT / "contracts" / "data-sharing", folder)
    path = folder / "rules" / "E1.py"
    path.write_text(path.read_text("utf-8").replace('"dept-head" not in', '"dept-head" in'), "utf-8")
    ran = ledger("rules", "test", folder, "--runtime", "compiled")
    assert ran.code == Exit.OPERATIONAL and "E1" in ran.out and "×" in ran.out


EMPTY = '[[case]]\nname = "nothing"\nzh = "空"\ntype = "accept"\n'
NO_BREACH = '[[case]]\nname = "nothing"\nzh = "空"\ntype = "breach"\nstart = "recorded"\n'
TIME_PASSES = NO_BREACH + '[[case.step]]\nat = "2027-01-01 00:00"\nfindings = []\n'


@pytest.mark.parametrize(
    ("case", "english", "chinese"),
    [
        (EMPTY, "a case has at least one step", "用例至少有一个步骤"),
        (NO_BREACH, "expects a refusal, an irregular act or a finding", "应当预期拒绝、不合规或者线索"),
        (TIME_PASSES, "expects a refusal, an irregular act or a finding", "应当预期拒绝、不合规或者线索"),
    ],
)
def test_a_case_that_shows_nothing_is_refused(case: str, english: str, chinese: str, tmp_path: Path) -> None:
    """A case without a step, and a breach in which nothing goes wrong, are errors with file and case in both languages."""
    folder = tmp_path / "book"
    shutil.copytree(ROOT / "contracts" / "gdpr", folder)
    path = folder / "cases" / "R28.toml"
    path.write_text(f"{path.read_text('utf-8')}\n{case}", "utf-8")
    for language, words, advice in (("en", english, " a step"), ("zh", chinese, "步骤")):
        ran = ledger("rules", "test", folder, "--runtime", "compiled", "--lang", language)
        assert ran.code == Exit.OPERATIONAL and words in ran.err
        assert "file=cases/R28.toml, where=nothing" in ran.err and advice in ran.err.partition("advice=")[2]
        ran = ledger("rules", "check", folder, "--lang", language)
        assert ran.code == Exit.OPERATIONAL and "cases/R28.toml" in ran.out and words in ran.out


@pytest.mark.parametrize(
    "expected", ['expect = "refused"', 'reasons = ["R28 processor-active"]', 'findings = ["X shop"]']
)
def test_a_breach_expects_something(expected: str, tmp_path: Path) -> None:
    """A refusal, a reason or a finding in one step makes a breach; a sequence alone makes a case of another type."""
    folder = tmp_path / "book"
    shutil.copytree(ROOT / "contracts" / "gdpr", folder)
    path = folder / "cases" / "R28.toml"
    alone = NO_BREACH.replace("breach", "accept").replace("nothing", "alone")
    path.write_text(f"{path.read_text('utf-8')}\n{TIME_PASSES.replace('findings = []', expected)}\n{alone}", "utf-8")
    cases = {
        case["case"]: case["passed"]
        for case in ledger("rules", "test", folder, "--runtime", "compiled", "--json").json["cases"]
    }
    assert cases["alone"] and "nothing" in cases


def test_a_forbidden_construct_is_told_with_its_line(tmp_path: Path) -> None:
    """What is not in the rule language never runs; the error names file, line and advice."""
    folder = tmp_path / "book"
    shutil.copytree(ROOT / "contracts" / "data-sharing", folder)
    path = folder / "rules" / "E1.py"
    path.write_text(path.read_text("utf-8") + "\nimport os\n", "utf-8")
    ran = ledger("rules", "test", folder, "--json")
    assert ran.code == Exit.OPERATIONAL and ran.json["error"]["code"] == "rule"
    assert ran.json["error"]["evidence"]["line"] > 1


@pytest.mark.skipif(not HAS_MONTY, reason="pydantic-monty is not installed")
def test_both_runtimes_are_compared(tmp_path: Path) -> None:
    """With the second runtime installed every case runs twice (here those of one rule; tests/contracts runs all)."""
    folder = tmp_path / "book"
    shutil.copytree(ROOT / "contracts" / "data-sharing", folder)
    for path in (folder / "cases").iterdir():
        if path.name not in ("common.toml", "E1.toml"):
            path.unlink()
    cases = [case for case in ledger("rules", "test", folder, "--json").json["cases"] if case["runtime"] != "-"]
    assert {case["runtime"] for case in cases} == {"compiled", "monty"} and all(case["passed"] for case in cases)


def test_one_runtime_alone_is_not_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the second runtime the answer is 7, for less was checked than asked."""
    monkeypatch.setattr("ledger.cli.rules.importlib.util.find_spec", lambda name: None)
    ran = ledger("rules", "test", ROOT / "contracts" / "data-sharing", "--json")
    assert ran.code == Exit.INCOMPLETE and ran.json["both_runtimes"] is False
