"""Command line output, kept: help pages in both languages, verdicts in words, proofs, tables.

A page that changed on purpose is written anew with `LEDGER_GOLDEN=write` and looked at in the difference.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ledger.adapters.home.keyfile import write_key
from ledger.cli.commands import COMMANDS
from ledger.cli.output import Console
from ledger.cli.verdicts import Rulebook, verdict_lines
from tests.models.small_ledger import SmallLedger
from tests.unit.cli.runner import Stream, ledger

FOLDER = Path(__file__).parent / "cli"
ROOT = Path(__file__).resolve().parents[2]


def check(name: str, text: str) -> None:
    """Compare with the kept text, or write it when asked to."""
    path = FOLDER / f"{name}.txt"
    if os.environ.get("LEDGER_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, f"{path.name} differs; see the docstring of this file"


def help_pages(language: str) -> str:
    """Every help page of a language, one behind the other."""
    pages = [ledger("--lang", language).out]
    for name, entry in COMMANDS.items():
        below = [name] if isinstance(entry, str) else [f"{name} {each}" for each in entry]
        for path in below:
            pages.append(f"$ ledger {path} --help\n" + ledger(*path.split(), "--help", "--lang", language).out)
    return "\n".join(pages)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_help(language: str) -> None:
    """Help pages of all commands are the kept ones."""
    check(f"help.{language}", help_pages(language))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_key_show(language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key with a known seed is shown as kept."""
    monkeypatch.chdir(tmp_path)
    write_key(Path("ga.key"), bytes(range(32)))
    check(f"key-show.{language}", ledger("key", "show", "ga.key", "--name", "ga", "--lang", language).out)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_proofs(language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A receipt, a range of a stream, an absence and a damaged file are told as kept."""
    monkeypatch.chdir(tmp_path)
    small = SmallLedger()
    entry = small.block("ga", [small.event(refs={"dataset": "ga/hukou"}) for _ in range(3)])[0]
    Path("genesis.json").write_bytes(small.genesis.data)
    name = next(name for name in small.streams if name.id == "ga/hukou")
    files = {
        "receipt": small.receipt(entry).encode(),
        "bare": small.receipt(entry, registered=False, body=False).encode(),
        "range": small.completeness(name, 1, 3, ("full", "head", "record", "hash")).encode(),
        "absence": small.absence("dataset", "ga/none").encode(),
        "damaged": small.receipt(entry).encode().replace(b'"count":3', b'"count":4'),
    }
    told = []
    for kind, data in files.items():
        Path(f"{kind}.json").write_bytes(data)
        ran = ledger(
            "proof", "verify", f"{kind}.json", "--trust", "genesis.json", "--max-age", "none", "--lang", language,
            home=tmp_path,
        )  # fmt: skip
        told.append(f"$ ledger proof verify {kind}.json\n{ran.out}exit {ran.code}\n")
    check(f"proofs.{language}", "\n".join(told))


VERDICT = {
    "outcome": "irregular",
    "reasons": [["B1", "outside-items", {"items": "id-tag"}], ["ledger", "shape", {"field": "count", "what": "type"}]],
    "findings": [{"code": "D809/40-2", "about": "rs", "id": "f:rs/0192.0"}],
    "duties": [
        {"rule": "A3", "by": "ga", "on": "application/rs/1", "status": "open", "due": 1_795_248_000_000},
        {"rule": "B9", "by": "ga", "on": "demand/ga/2", "status": "open", "due": None},
        {"rule": "A5", "by": "ga", "on": "grant/ga/3", "status": "discharged", "due": 1_795_000_000_000, "late": True},
    ],
    "alerts": [{"rule": "A5", "code": "slow"}],
}
TEXTS = {
    "texts": {
        "outside-items": {"title": {"zh": "超出授权数据项：{items}", "en": "Items outside the grant: {items}"},
                          "article": "D809 Art. 26"},
        "D809/40-2": {"title": {"zh": "涉嫌超出授权范围", "en": "Use beyond the scope granted"},
                      "article": "D809 Art. 40(2)"},
    }
}  # fmt: skip


@pytest.mark.parametrize("language", ["en", "zh"])
def test_verdicts(language: str) -> None:
    """A verdict with everything in it, with and without the rulebook's texts."""
    console = Console(out=Stream(), err=Stream(), environment={}, language=language)
    with_texts = verdict_lines(console, VERDICT, Rulebook(language, lambda: TEXTS), duplicate=True)
    check(f"verdict.{language}", "\n".join([*with_texts, "", *verdict_lines(console, VERDICT)]) + "\n")


def test_errors() -> None:
    """Failures in both languages, as a person and as a program reads them."""
    cases = [
        ["evnt"], ["event", "get"], ["event", "get", "x"], ["event", "append", "--kind", "k", "--ref", "x"],
        ["key", "show", "none.key"], ["proof", "verify", "x.json"], ["spool", "status"],
        ["network", "new", "x"], ["node", "start", "/nonexistent"], ["node", "status", "--timeout", "never"],
    ]  # fmt: skip
    told = []
    for words in cases:
        for language in ("en", "zh"):
            ran = ledger(*words, "--lang", language)
            told.append(f"$ ledger {' '.join(words)}\n{ran.err}exit {ran.code}\n")
        document = ledger(*words, "--json").json
        told.append(json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    check("errors", "\n".join(told))
