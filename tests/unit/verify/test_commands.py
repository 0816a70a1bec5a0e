"""`ledger verify` and `ledger export archive` as a person calls them: exit codes, text, JSON, what is remembered."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ledger.cli.exits import Exit
from ledger.cli.main import run
from ledger.cli.output import Console
from ledger.cli.texts import FOLDER, parse_catalogue
from ledger.verify.findings import LEVELS
from tests.models.real_ledger import RealLedger, real_ledger

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RealLedger:
    """A small ledger in a data directory."""
    return real_ledger(tmp_path_factory.mktemp("real") / "node", grants=2, uses=1)


@pytest.fixture(scope="module")
def exported(made: RealLedger, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export."""
    target = tmp_path_factory.mktemp("export") / "export"
    code, _, _ = call("export", "archive", str(target), "--from", str(made.folder), home=target.parent)
    assert code == Exit.OK
    return target


def call(*arguments: str, home: Path, lang: str = "en") -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one command in this process."""
    out, err = io.StringIO(), io.StringIO()
    environment = {"HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "XDG_CONFIG_HOME": str(home / "config")}
    console = Console(out=out, err=err, environment=environment, language=lang, as_json="--json" in arguments)
    return run(list(arguments), console), out.getvalue(), err.getvalue()


def document(*arguments: str, home: Path) -> tuple[int, dict[str, Any]]:
    """Exit code and the one JSON document."""
    code, out, _ = call(*arguments, "--json", home=home)
    parsed: dict[str, Any] = json.loads(out)
    return code, parsed


def verify_arguments(path: Path, *more: str) -> tuple[str, ...]:
    """A quick verification in this process."""
    return ("verify", str(path), "--jobs", "1", "--runtime", "inline", *more)


def test_pinned_export_is_intact(made: RealLedger, exported: Path, tmp_path: Path) -> None:
    """With a pinned origin the export verifies with exit code 0, and every level is listed."""
    code, out, _ = call(*verify_arguments(exported, "--origin", made.genesis.origin), home=tmp_path)
    assert code == Exit.OK
    assert "INTACT" in out
    assert out.count("checked") >= len(LEVELS)


def test_report_in_chinese(made: RealLedger, exported: Path, tmp_path: Path) -> None:
    """The same report in Chinese, with the same exit code."""
    code, out, _ = call(*verify_arguments(exported, "--origin", made.genesis.origin), home=tmp_path, lang="zh")
    assert code == Exit.OK
    assert "完好" in out
    assert "规则重放" in out


def test_unpinned_origin_is_incomplete_until_it_is_remembered(made: RealLedger, exported: Path, tmp_path: Path) -> None:
    """Nobody's word on the origin gives 7; after a pinned audit the remembered checkpoint pins it."""
    code, out, _ = call(*verify_arguments(exported), home=tmp_path)
    assert code == Exit.INCOMPLETE
    assert made.genesis.origin in out
    assert call(*verify_arguments(exported, "--origin", made.genesis.origin), home=tmp_path)[0] == Exit.OK
    code, report = document(*verify_arguments(exported), home=tmp_path)
    assert (code, report["pinned_by"], report["verdict"]) == (Exit.OK, "remembered", "intact")
    assert [each["source"] for each in report["agreed"]] == ["remembered"]
    assert call(*verify_arguments(exported, "--no-remember"), home=tmp_path)[0] == Exit.INCOMPLETE


def test_shorter_ledger_than_remembered(made: RealLedger, exported: Path, tmp_path: Path) -> None:
    """Who has seen more is not told that less is everything."""
    part = tmp_path / "part"
    from ledger.adapters.audit.exporting import export
    from ledger.adapters.audit.sources import open_source

    first = next(iter(open_source(str(made.folder)).pieces())).load().certificates[0]
    export(open_source(str(made.folder)), part, last_size=int(first.split(b"\n")[1]))
    assert call(*verify_arguments(exported, "--origin", made.genesis.origin), home=tmp_path)[0] == Exit.OK
    code, report = document(*verify_arguments(part), home=tmp_path)
    assert code == Exit.INCOMPLETE
    assert [each["code"] for each in report["not_checked"]] == ["behind"]


def test_another_history_than_remembered(made: RealLedger, exported: Path, tmp_path: Path) -> None:
    """A forged memory stands for a fork: the report shows both checkpoints and exits with 6."""
    assert call(*verify_arguments(exported, "--origin", made.genesis.origin), home=tmp_path)[0] == Exit.OK
    (note,) = (tmp_path / "state").rglob("*.note")
    lines = note.read_bytes().split(b"\n")
    lines[2] = b"A" * 43 + b"="
    note.write_bytes(b"\n".join(lines))
    code, report = document(*verify_arguments(exported), home=tmp_path)
    assert (code, [each["code"] for each in report["findings"]]) == (Exit.INTEGRITY, ["history-differs"])


@pytest.mark.parametrize("how", ["trust", "genesis", "both"])
def test_pinning_by_file(made: RealLedger, exported: Path, tmp_path: Path, how: str) -> None:
    """A trust file or the genesis itself pins the origin as well."""
    (tmp_path / "trust.json").write_text(json.dumps({"origin": made.genesis.origin, "max_age_s": 86_400}, indent=2))
    (tmp_path / "genesis.json").write_bytes(made.genesis.data)
    trust = ("--trust", str(tmp_path / "trust.json")) if how != "genesis" else ()
    genesis = ("--genesis", str(tmp_path / "genesis.json")) if how != "trust" else ()
    code, report = document(*verify_arguments(exported, *trust, *genesis), home=tmp_path)
    assert (code, report["pinned_by"]) == (Exit.OK, "genesis" if how == "genesis" else "trust")


def test_pins_that_disagree(made: RealLedger, exported: Path, tmp_path: Path) -> None:
    """Two different pins are a usage error, not a choice."""
    (tmp_path / "trust.json").write_text(json.dumps({"origin": f"other.example/{'0' * 64}"}))
    arguments = verify_arguments(exported, "--trust", str(tmp_path / "trust.json"), "--origin", made.genesis.origin)
    assert call(*arguments, home=tmp_path)[0] == Exit.USAGE


def test_other_network_than_pinned(exported: Path, tmp_path: Path) -> None:
    """A ledger of another network is an integrity finding."""
    assert (
        call(*verify_arguments(exported, "--origin", f"other.example/{'0' * 64}"), home=tmp_path)[0] == Exit.INTEGRITY
    )


def test_freshness_can_be_asked_for(made: RealLedger, exported: Path, tmp_path: Path) -> None:
    """An export is old by nature; with --max-age its newest certificate must be young."""
    pinned = ("--origin", made.genesis.origin, "--no-remember")
    assert call(*verify_arguments(exported, *pinned, "--max-age", "86400"), home=tmp_path)[0] == Exit.OK
    assert call(*verify_arguments(exported, *pinned, "--max-age", "none"), home=tmp_path)[0] == Exit.OK
    assert call(*verify_arguments(exported, *pinned, "--max-age", "soon"), home=tmp_path)[0] == Exit.USAGE


def test_without_rules(made: RealLedger, exported: Path, tmp_path: Path) -> None:
    """Leaving the rules out is possible, said, and never 0."""
    arguments = ("verify", str(exported), "--jobs", "1", "--runtime", "none", "--origin", made.genesis.origin)
    code, out, _ = call(*arguments, home=tmp_path)
    assert code == Exit.INCOMPLETE
    assert "replay-off" in out


def test_second_runtime_decides_the_same(made: RealLedger, exported: Path, tmp_path: Path) -> None:
    """The independent sandbox replays the ledger to the same bytes."""
    pytest.importorskip("pydantic_monty")
    arguments = ("verify", str(exported), "--jobs", "1", "--runtime", "monty", "--origin", made.genesis.origin)
    code, report = document(*arguments, home=tmp_path)
    assert (code, report["verdict"], report["runtime"]) == (Exit.OK, "intact", "monty")


def test_broken_export(made: RealLedger, exported: Path, tmp_path: Path) -> None:
    """A damaged export exits with 6 in text and JSON, and the finding names file and message."""
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    segment = copy / "segments" / "000000.gz"
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(bytes(data))
    code, report = document(*verify_arguments(copy, "--origin", made.genesis.origin), home=tmp_path)
    assert (code, report["ok"], report["exit_code"], report["verdict"]) == (6, False, 6, "broken")
    assert (report["findings"][0]["place"], report["findings"][0]["code"]) == ("segments/000000.gz", "piece-unreadable")
    assert report["findings"][0]["message"]
    code, out, _ = call(*verify_arguments(copy, "--origin", made.genesis.origin), home=tmp_path)
    assert code == Exit.INTEGRITY
    assert "segments/000000.gz" in out
    assert not list((tmp_path / "state").rglob("*.note"))


@pytest.mark.parametrize(
    ("damage", "place"),
    [
        ("empty", "offset 0"),
        ("cut", "offset 5000"),
        ("header", "offset 0"),
        ("zeros", "manifest.json"),
        ("grown", None),
    ],
)
def test_a_tar_that_cannot_be_opened_is_broken(
    made: RealLedger, exported: Path, tmp_path: Path, damage: str, place: str | None
) -> None:
    """SPEC R-V11: an export whose tar is damaged is broken like any other: a report with the place, and exit code 6."""
    tar = tmp_path / "audit.tar"
    code, _ = document("export", "archive", str(tar), "--from", str(exported), home=tmp_path)
    assert code == Exit.OK
    data = tar.read_bytes()
    changed = {
        "empty": b"",
        "cut": data[:5_000],
        "header": data[:5] + b"X" + data[6:],
        "zeros": bytes(1024),
        "grown": data + b"\0",
    }
    tar.write_bytes(changed[damage])
    code, report = document(*verify_arguments(tar, "--origin", made.genesis.origin), home=tmp_path)
    assert (code, report["exit_code"], report["verdict"], report["findings_total"]) == (6, 6, "broken", 1)
    (finding,) = report["findings"]
    assert (finding["code"], finding["level"]) == ("export-unreadable", "bytes")
    assert place is None or finding["place"] == place
    assert report["pinned_by"] == "origin"
    assert {report["levels"][name] for name in LEVELS} == {"failed", "not-checked"}
    code, out, _ = call(*verify_arguments(tar), "--html", str(tmp_path / "page.html"), home=tmp_path, lang="zh")
    assert code == Exit.INTEGRITY and "导出无法打开" in out
    assert "export-unreadable" in (tmp_path / "page.html").read_text("utf-8")


def test_an_export_without_its_manifest_is_broken(exported: Path, tmp_path: Path) -> None:
    """A directory that is an export by its form, but for the manifest, is a broken one; any other file is none at all."""
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    (copy / "manifest.json").write_bytes(b"{}")
    code, report = document(*verify_arguments(copy), home=tmp_path)
    assert (code, report["findings"][0]["place"]) == (6, "manifest.json")
    (copy / "manifest.json").unlink()
    code, report = document(*verify_arguments(copy), home=tmp_path)
    assert (code, report["findings"][0]["place"]) == (6, "manifest.json")
    (tmp_path / "notes.txt").write_text("no ledger at all")
    assert document(*verify_arguments(tmp_path / "notes.txt"), home=tmp_path)[0] == Exit.OPERATIONAL


@pytest.mark.parametrize("pinned", [True, False])
def test_a_broken_genesis_was_held_against_the_pin(
    made: RealLedger, exported: Path, tmp_path: Path, pinned: bool
) -> None:
    """Whose pin an audit used is said also where the genesis is broken or another network's, and its file is named."""
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    data = (copy / "genesis.json").read_bytes()
    (copy / "genesis.json").write_bytes(data[:-1] + bytes((data[-1] ^ 1,)))
    arguments = verify_arguments(copy, *(("--origin", made.genesis.origin) if pinned else ()))
    code, report = document(*arguments, home=tmp_path)
    assert (code, report["pinned_by"]) == (6, "origin" if pinned else None)
    assert report["findings"][0]["place"] == "genesis.json"
    if pinned:
        other = made.genesis.origin[:-1] + ("0" if made.genesis.origin[-1] != "0" else "1")
        code, report = document(*verify_arguments(exported, "--origin", other), home=tmp_path)
        assert (code, report["pinned_by"], report["findings"][0]["code"]) == (6, "origin", "origin")


def test_missing_source(tmp_path: Path) -> None:
    """What is not there is not found, with one JSON document."""
    code, report = document("verify", str(tmp_path / "nothing"), home=tmp_path)
    assert (code, report["ok"]) == (Exit.NOT_FOUND, False)


def test_unreachable_node(tmp_path: Path) -> None:
    """A node that does not answer is unreachable, not broken."""
    assert call("verify", "http://127.0.0.1:9", "--jobs", "1", home=tmp_path)[0] == Exit.UNREACHABLE


def test_data_directory_and_state_export(made: RealLedger, tmp_path: Path) -> None:
    """A data directory verifies, and exports with a copy of its state that is then compared row by row."""
    pinned = ("--origin", made.genesis.origin, "--max-age", "none")
    code, report = document(*verify_arguments(made.folder, *pinned), home=tmp_path)
    assert (code, report["verdict"]) == (Exit.OK, "intact")
    target = tmp_path / "out.tar"
    code, done = document("export", "archive", str(target), "--from", str(made.folder), "--state", home=tmp_path)
    assert (code, done["state_rows"]) == (Exit.OK, report["counts"]["state_rows"])
    assert document(*verify_arguments(target, *pinned), home=tmp_path)[1]["counts"]["state_rows"] == done["state_rows"]
    assert call("export", "archive", str(target), "--from", str(made.folder), home=tmp_path)[0] == Exit.CONFLICT


@pytest.mark.slow
def test_worker_processes_give_the_same_report(made: RealLedger, exported: Path, tmp_path: Path) -> None:
    """Several processes and the confined rule worker report what one process does."""
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "src")}
    command = [
        sys.executable,
        "-m",
        "ledger.cli.main",
        "verify",
        str(exported),
        "--origin",
        made.genesis.origin,
        "--json",
    ]
    done = subprocess.run([*command, "--jobs", "2"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    single = document(*verify_arguments(exported, "--origin", made.genesis.origin), home=tmp_path)[1]
    assert (report["runtime"], single["runtime"]) == ("compiled", "inline")
    assert (report["head"], report["counts"], report["levels"]) == (single["head"], single["counts"], single["levels"])


def test_every_code_has_words_in_both_languages() -> None:
    """Each code of a finding or gap that the sources of verify can give has a text in zh and en, and none is left over."""
    import re

    sources = [*ROOT.glob("src/ledger/verify/*.py"), *ROOT.glob("src/ledger/adapters/**/*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    findings = set(re.findall(r'(?:Finding|from_error|_differs)\(\s*"([a-z-]+)"', text))
    findings |= set(re.findall(r'(?<!gap)\("([a-z-]+)", (?:REPLAY|STATE|TREE|LEAVES)\)', text))
    findings |= set(re.findall(r'code = "([a-z-]+)" if [a-z. ]+ else "([a-z-]+)"', text)[0])
    findings |= {"header-malformed", "leaf-malformed", "leaf-lost", "leaf-unexpected", "block-missing", "block-order"}
    gaps = set(re.findall(r'gap\("([a-z-]+)"', text))
    for language in ("en", "zh"):
        catalogue = parse_catalogue((Path(FOLDER) / f"verify.{language}.toml").read_text(encoding="utf-8"))
        words = {key.partition(".")[::2] for key in catalogue}
        assert {code for table, code in words if table == "finding"} == findings
        assert {code for table, code in words if table == "gap"} == gaps


def test_catalogues_have_the_same_keys_and_placeholders() -> None:
    """Both languages say the same things with the same values."""
    import re

    texts = [
        parse_catalogue((Path(FOLDER) / f"verify.{language}.toml").read_text(encoding="utf-8"))
        for language in ("en", "zh")
    ]
    assert texts[0].keys() == texts[1].keys()
    for key in texts[0]:
        assert sorted(re.findall(r"\{\w+\}", texts[0][key])) == sorted(re.findall(r"\{\w+\}", texts[1][key])), key


def test_levels_of_which_nothing_was_read(made: RealLedger, exported: Path, tmp_path: Path) -> None:
    """SPEC R-V11: an export whose only segment cannot be read failed in its bytes, and nothing else was checked."""
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    (copy / "segments" / "000000.gz").write_bytes(b"nothing")
    _, report = document(*verify_arguments(copy, "--origin", made.genesis.origin), home=tmp_path)
    assert report["counts"]["blocks"] == 0 and report["levels"]["bytes"] == "failed"
    assert {name: state for name, state in report["levels"].items() if state in ("checked", "partly")} == {}


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_report_as_a_page(made: RealLedger, exported: Path, tmp_path: Path, lang: str) -> None:
    """One page without script, link or image, in the reader's language, with every level and the same verdict."""
    target = tmp_path / "report.html"
    arguments = verify_arguments(exported, "--origin", made.genesis.origin, "--html", str(target))
    code, out, _ = call(*arguments, home=tmp_path, lang=lang)
    assert code == Exit.OK
    page = Page(target.read_text("utf-8"))
    assert not {"script", "link", "img", "iframe", "a"} & set(page.tags)
    assert ("lang", "zh-CN" if lang == "zh" else "en") in page.attributes
    assert made.genesis.origin in page.text and page.tags.count("tr") == 1 + len(LEVELS)
    verdict = out.strip().split("\n")[-1]
    assert verdict in page.text and not any(name.startswith("on") or name == "src" for name, _ in page.attributes)
    assert re.findall(r"https?://|url\(|@import", target.read_text("utf-8")) == []


def test_a_page_shows_hostile_values_as_text(tmp_path: Path) -> None:
    """Markup, control and bidirectional characters in names, findings and gaps stay text."""
    from ledger.cli.verifypage import page
    from ledger.cli.verifyreport import Shown
    from ledger.verify.findings import BYTES, TREE, Finding, gap
    from ledger.verify.report import Report

    bad = "<script>alert(1)</script>\u202e\"'&"
    report = Report(f"{bad}.tar", origin=bad)
    report.findings.add(Finding("bundle", BYTES, 1, 2, bad, bad, bad, bad, bad))
    report.findings.add(Finding(bad, TREE))
    report.gaps.append(gap("origin-not-pinned", TREE, origin=bad))
    console = Console(out=io.StringIO(), err=io.StringIO(), environment={}, language="en")
    text = page(console, Shown(report, 1.5), 1_790_000_000_000)
    shown = Page(text)
    assert "script" not in shown.tags and "\u202e" not in text
    assert shown.text.count("<script>alert(1)</script>\\u202e") >= 8
    assert 'class="verdict broken"' in text


def test_a_page_that_cannot_be_written(made: RealLedger, exported: Path, tmp_path: Path) -> None:
    """The error names the file; nothing else is written."""
    target = tmp_path / "nowhere" / "report.html"
    arguments = verify_arguments(exported, "--origin", made.genesis.origin, "--html", str(target))
    code, _, err = call(*arguments, home=tmp_path)
    assert code == Exit.OPERATIONAL and str(target) in err
