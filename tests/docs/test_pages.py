"""What holds of all documents: links lead somewhere, both languages say the same, tables are made from the code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import make_pictures, make_reference, make_states
from tests.architecture.tree import ROOT, project, report, text
from tests.docs.markdown import anchors, documents, headings, links, prose, tables

README = "README.md"
EXPECTED = {
    "README.md", "README.zh.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs/ARCHITECTURE.md", "docs/SPEC.md",
    "docs/THREATS.md", "docs/CLI.md", "docs/HTTP.md", "docs/NODE.md", "docs/ERRORS.md", "docs/DEPENDENCIES.md",
}  # fmt: skip
NAMED_PATH = re.compile(r"`((?:src|node|tests|scripts|docs|contracts|\.ci)/[\w./-]*|[\w-]+\.(?:toml|lock|md)|LICENSE)`")
SCHEMA_LIKE = {"node.toml", "config.toml", "manifest.json", "genesis.json"}  # files of data directories, not ours


def problems_with_links(path: str) -> list[str]:
    """Relative links of a document that lead nowhere, as `path:line: …`."""
    found = []
    for target, line in links(path):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, fragment = target.partition("#")
        place = (ROOT / path).parent / name if name else ROOT / path
        if not place.exists() or ROOT not in place.resolve().parents:
            found.append(f"{path}:{line}: {target} does not exist")
        elif fragment and fragment not in anchors(place.resolve().relative_to(ROOT).as_posix()):
            found.append(f"{path}:{line}: no heading makes the anchor #{fragment}")
    return found


def test_all_documents_are_there() -> None:
    """The documents that the project promises exist."""
    assert set(documents()) >= EXPECTED


def test_links_lead_somewhere() -> None:
    """Every relative link names a file of the repository, and every fragment one of its headings."""
    problems = [problem for path in documents() for problem in problems_with_links(path)]
    assert not problems, report(problems)


def test_a_broken_link_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A link to a missing file, one to a missing heading and one out of the repository are each reported."""
    page = "# A b\n[x](missing.md) [y](#a-b) [z](#b) [o](../../etc) `[no](link.md)`\n"
    (tmp_path / "page.md").write_text(page, encoding="utf-8")
    for module in ("tests.docs.markdown", __name__):
        monkeypatch.setattr(f"{module}.text", lambda path: (tmp_path / path).read_text(encoding="utf-8"))
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    found = [problem.split(": ", 1)[1] for problem in problems_with_links("page.md")]
    assert found == ["missing.md does not exist", "no heading makes the anchor #b", "../../etc does not exist"]


def test_paths_named_in_documents_exist() -> None:
    """A file or folder of ours that a document names in code letters exists: in the repository, beside it, in a rulebook."""
    problems = [
        f"{path}: {name} does not exist"
        for path in documents()
        for name in NAMED_PATH.findall(text(path))
        if name not in SCHEMA_LIKE
        and not any((base / name).exists() for base in (ROOT, (ROOT / path).parent, ROOT / "contracts/data-sharing"))
    ]
    assert not problems, report(problems)


def test_architecture_names_every_part() -> None:
    """The map of the folders leaves out no package of the library."""
    named = text("docs/ARCHITECTURE.md")
    parts = [each for each in sorted((ROOT / "src/ledger").iterdir()) if each.suffix in ("", ".py")]
    missing = [
        each.name
        for each in parts
        if each.name not in ("__init__.py", "__pycache__", "texts", "py.typed")
        and f"src/ledger/{each.name}" not in named
    ]
    assert not missing, f"docs/ARCHITECTURE.md does not say what these are for: {missing}"


def test_readme_begins_with_whom_to_trust() -> None:
    """What it is comes first, then the trust table, before any command; the demo and its tampering follow."""
    source = text(README)
    first = source.index("| Component |")
    assert first < source.index("```") and source.count("\n## ", 0, first) == 1
    assert tables(README)[0][0] == ["Component", "Trusted for", "If it is hostile"]
    assert source.index("./dev demo") < source.index("caught") < source.index("## Three doors")
    doors = [name for level, name in headings(README) if level == 3]
    assert doors == ["For a department", "For an auditor", "For a regulator"]


def test_threats_covers_the_trust_table() -> None:
    """docs/THREATS.md speaks of every component that the README's table names."""
    threats = text("docs/THREATS.md").lower()
    words = (
        "event key",
        "one node",
        "cosigners",
        "validators",
        "more than two thirds",
        "authorities",
        "rule",
        "stored byte",
    )
    assert len(words) == len(tables(README)[0]) - 1
    assert [word for word in words if word not in threats] == []


def test_what_is_not_done_is_said_alike() -> None:
    """README, architecture and changelog each name the engine, votes, HTTP signatures and the web page as missing."""
    for path in (README, "docs/ARCHITECTURE.md", "CHANGELOG.md"):
        said = text(path).lower()
        for word in ("cometbft", "vote", "http message signatures", "web page"):
            assert word in said, f"{path} does not say that {word} is missing"


def test_changelog_has_this_version() -> None:
    """The newest heading of the changelog is the version of the package, released or not."""
    newest = next(name for level, name in headings("CHANGELOG.md") if level == 2)
    assert project()["project"]["version"] in newest


def test_dev_commands_are_those_of_dev() -> None:
    """The commands that CONTRIBUTING lists are what ./dev offers, and no document names another."""
    usage = subprocess.run(["sh", str(ROOT / "dev"), "help"], capture_output=True, text=True, check=True).stdout
    offered = set(re.findall(r"^  (\w+) ", usage, re.MULTILINE))
    listed = {found[1] for row in tables("CONTRIBUTING.md")[0][1:] if (found := re.match(r"`\./dev (\w+)", row[0]))}
    assert listed == offered - {"help"}
    for path in documents():
        assert set(re.findall(r"\./dev ([a-z]+)", text(path))) <= offered, path


def test_every_error_code_has_words_in_both_languages() -> None:
    """Whoever reads Chinese is told what each error code means; the English table can fall back on the message."""
    codes = {
        code: make_reference.CODE_TEXTS.get(code) or make_reference.texts_of(code) for code in make_reference.raised()
    }
    lacking = [code for code, (_, chinese) in codes.items() if not chinese]
    assert not lacking, f"{lacking}: write texts in src/ledger/texts/errors.*.toml"


def test_reference_tables_are_those_of_the_code() -> None:
    """Commands, options, exit codes, settings, routes and error codes stand in the documents as the code has them."""
    differing = [name for name in make_reference.DOCUMENTS if make_reference.render(name, text(name)) != text(name)]
    assert not differing, f"{differing}: run ./dev run python scripts/make_reference.py"


def test_every_error_code_has_words() -> None:
    """Each code that HTTP or the command line may answer has an English meaning in docs/ERRORS.md."""
    rows = tables("docs/ERRORS.md")[-1][1:]
    assert [row[0] for row in rows if not row[2]] == []
    assert len(rows) > 100


def test_pictures_are_those_of_the_script() -> None:
    """Every picture is what scripts/make_pictures.py draws, in both languages, and some document shows it."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/make_pictures.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + "run ./dev run python scripts/make_pictures.py"
    shown = "".join(text(path) for path in documents())
    for name in make_pictures.PICTURES:
        assert f"pictures/{name}." in shown, f"no document shows {name}"


def test_state_diagrams_are_those_of_the_tables() -> None:
    """docs/rulebook holds what scripts/make_states.py makes of the rulebook's tables now, and nothing else."""
    wanted = make_states.make()
    there = {path.name: path.read_text(encoding="utf-8") for path in make_states.FOLDER.iterdir()}
    differing = [name for name in sorted(wanted.keys() | there) if wanted.get(name) != there.get(name)]
    assert not differing, f"{differing}: run ./dev run python scripts/make_states.py"
    for language, page in make_states.PAGES.items():
        drawn = [target for target, _ in links(f"docs/rulebook/{page}") if target.endswith(".svg")]
        assert sorted(drawn) == sorted(name for name in wanted if name.endswith(f".{language}.svg"))


def test_a_text_that_does_not_fit_is_refused() -> None:
    """A picture with a line wider than its box is not drawn."""
    picture = make_pictures.Picture(100, 100, ("a", "甲"), "zh")
    with pytest.raises(make_pictures.TooWideError):
        picture.box(0, 0, 60, ("wide", "这一行字放不进方框"))


def test_documents_keep_lines_short() -> None:
    """Prose lines stay below 200 characters, so that a diff can be read; tables and links may be longer."""
    problems = [
        f"{path}:{number}: {len(line)} characters"
        for path in documents()
        for number, line in enumerate(prose(path).splitlines(), start=1)
        if len(line) > 200 and not line.startswith(("|", "- ", "  "))
    ]
    assert not problems, report(problems)
