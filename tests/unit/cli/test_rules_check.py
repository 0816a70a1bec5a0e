"""`ledger rules check`: remarks with file, line and advice in both languages, and the exit code that they deserve."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

import pytest

from ledger.cli.exits import Exit
from ledger.cli.rulewords import translated
from ledger.cli.texts import Texts, catalogue
from ledger.rules import grammar
from tests.unit.cli.runner import ledger

ROOT = Path(__file__).resolve().parents[3]
RULES = ROOT / "src" / "ledger" / "rules"
CONTRACT = ROOT / "contracts" / "data-sharing"
CHINESE = re.compile("[\u4e00-\u9fff]")
UNTRANSLATED = {"{} {}"}  # a bound and its value


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped rulebook."""
    shutil.copytree(CONTRACT, tmp_path / "book")
    return tmp_path / "book"


def test_the_shipped_rulebook_compiles() -> None:
    """Both shipped rulebooks are looked at as a whole and have neither errors nor warnings; what is odd in them says why."""
    for contract in (CONTRACT, CONTRACT.with_name("gdpr")):
        ran = ledger("rules", "check", contract, "--strict", "--json")
        assert ran.code == Exit.OK and ran.json["whole"] is True and len(ran.json["rulebook"]["hash"]) == 64
        assert (ran.json["errors"], ran.json["warnings"]) == (0, 0), ran.json["remarks"]
        assert ran.json["explained"] == len(ran.json["remarks"])
        assert all(each["severity"] == "note" and each["advice"] for each in ran.json["remarks"])
    text = ledger("rules", "check", CONTRACT, "--lang", "zh").out
    assert "已说明: " in text and "0 个错误，0 个警告，12 个已说明" in text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_folder_without_a_rulebook_is_told_what_it_lacks(folder: Path, tmp_path: Path, language: str) -> None:
    """An empty folder lacks rulebook.toml, which is named; so are missing calendars and a folder that is not there."""
    (tmp_path / "empty").mkdir()
    shutil.rmtree(folder / "calendars")
    for name, lacks, code in (
        ("empty", "rulebook.toml", Exit.OPERATIONAL),
        ("book", "calendars/", Exit.OPERATIONAL),
        ("none", "rulebook.toml", Exit.NOT_FOUND),
    ):
        ran = ledger("rules", "check", tmp_path / name, "--lang", language)
        assert ran.code == code and "[rulebook-folder]" in ran.err
        assert str(tmp_path / name) in ran.err and lacks in ran.err and "rules check DIR" not in ran.err


def test_strict_takes_warnings_for_errors(folder: Path) -> None:
    """A warning alone ends with 0, with --strict with 1."""
    path = folder / "kinds" / "incident.toml"
    path.write_text(path.read_text("utf-8").replace("# examined: ", "# "), "utf-8")
    ran = ledger("rules", "check", folder, "--json")
    assert (ran.code, ran.json["errors"], ran.json["warnings"]) == (Exit.OK, 0, 1)
    assert ledger("rules", "check", folder, "--strict").code == Exit.OPERATIONAL


def test_remarks_are_told_in_both_languages(folder: Path) -> None:
    """Each remark names file and line; what it says and what to do stand in the reader's language."""
    path = folder / "rules" / "E1.py"
    lines = path.read_text("utf-8").count("\n")
    path.write_text(path.read_text("utf-8") + "\n\ndef helper(a):\n    while a:\n        return 1\n", "utf-8")
    english, chinese = (ledger("rules", "check", folder, "--lang", language) for language in ("en", "zh"))
    assert english.code == chinese.code == Exit.OPERATIONAL
    assert f"rules/E1.py:{lines + 4}: error: While is not allowed" in english.out
    assert f"rules/E1.py:{lines + 4}: 错误: 不允许 While" in chinese.out and "每个循环都会结束" in chinese.out


def messages() -> dict[str, str]:
    """Every message and advice that the language and the declarations raise, as a pattern → where it stands."""
    found = dict.fromkeys(grammar.ADVICE.values(), "grammar.py")
    for path in sorted(RULES.glob("*.py")):
        if path.name == "lint.py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            name = ""
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in ("refuse", "_refuse", "fail"):
                for part in node.args:
                    text = pattern(part)
                    if text is not None and " " in text and text not in UNTRANSLATED:
                        found[text] = f"{path.name}:{node.lineno}"
    return found


def pattern(node: ast.expr) -> str | None:
    """A text with {} for what varies."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (pattern(node.left) or "{}") + (pattern(node.right) or "{}")
    return None


def test_every_message_has_chinese_words() -> None:
    """Whatever the rule language or a declaration objects to is said in Chinese too."""
    chinese = Texts("zh")
    missing = []
    for text, place in messages().items():
        said = translated(chinese, text.replace("{}", "x"))
        if not CHINESE.search(said) and not re.fullmatch(r"[x{}]?[\w.(), =]*", said):
            missing.append(f"{place}: {text}")
    assert not missing, "add them to src/ledger/texts/language.{en,zh}.toml:\n" + "\n".join(missing)


def test_translation_keeps_what_varies() -> None:
    """Names and numbers of a message stand in its translation; an unknown message is shown as it is."""
    chinese = Texts("zh")
    assert translated(chinese, "unknown name 'foo'") == "未知名称 'foo'"
    assert translated(chinese, "at most 12 in a row") == "最多连续 12 层"
    assert translated(chinese, "something else entirely") == "something else entirely"
    assert translated(Texts("en"), "use a list") == "use a list"
    assert len(catalogue("language", "en")) == len(set(catalogue("language", "en").values()))
