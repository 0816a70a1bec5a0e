"""What every command has in common: help, wrong usage, one JSON document, languages, colours."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.cli.commands import COMMANDS
from ledger.cli.exits import FAMILIES, Exit, exit_of
from ledger.cli.main import root
from ledger.cli.tables import width
from ledger.errors import ForkError, LedgerError, RuntimeFault, VerificationError
from tests.models.real_ledger import real_ledger
from tests.unit.cli.runner import ledger


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ledger to read from."""
    folder = tmp_path_factory.mktemp("source") / "data"
    real_ledger(folder)
    return folder


def paths() -> list[str]:
    """Every command and group of the table."""
    found = []
    for name, entry in COMMANDS.items():
        found.append(name)
        if not isinstance(entry, str):
            found += [f"{name} {below}" for below in entry]
    return found


@pytest.mark.parametrize("path", paths())
@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_command_explains_itself(path: str, language: str) -> None:
    """Each command has a help page with a text for itself, its arguments and its options, in both languages."""
    ran = ledger(*path.split(), "--help", "--lang", language)
    assert ran.code == 0, ran.err
    body = ran.out.split("\n", 2)[2]
    assert body.strip(), path
    for line in body.split("\n"):
        # A name alone would mean that its text is missing; long names have theirs on the next line.
        assert not (line.startswith("  --") and line.strip() == line.split()[0]), line


@pytest.mark.parametrize("columns", [None, 60, 72])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_help_page_fits_the_screen(columns: int | None, language: str) -> None:
    """No line of any help page is wider than 80 columns, or than the screen says; Chinese counts two."""
    env = {} if columns is None else {"COLUMNS": str(columns)}
    for path in ["", *paths()]:
        shown = ledger(*path.split(), "--help", "--lang", language, env=env).out
        wide = [line for line in shown.split("\n") if width(line) > (columns or 80)]
        assert wide == [], path


@pytest.mark.parametrize("target", ["file/below", "folder", "missing/below"])
@pytest.mark.parametrize(
    "command",
    [
        ("export", "archive", "{target}", "--from", "{source}"),
        ("export", "archive", "{target}.tar", "--from", "{source}"),
        ("export", "report", "--from", "{source}", "--html", "{target}"),
        ("verify", "{source}", "--no-remember", "--runtime", "none", "--html", "{target}"),
        ("rules", "docs", "contracts/gdpr", "--out", "{target}"),
        ("key", "new", "{target}"),
        ("network", "new", "{target}", "--name", "a.example", "--member", "dj=甲/A", "--rulebook", "contracts/gdpr"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_an_unusable_target_is_never_unreachable(
    command: tuple[str, ...], target: str, tmp_path: Path, source: Path
) -> None:
    """A result that cannot be written is this machine's trouble: never exit 5, never a trace, and the path is named."""
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "kept").write_bytes(b"")
    ran = ledger(*(word.format(target=tmp_path / target, source=source) for word in command), home=tmp_path)
    assert "Traceback" not in ran.err and ran.code != Exit.UNREACHABLE, ran.err
    if target == "file/below":
        assert ran.code == Exit.OPERATIONAL and "file/" in ran.err
    elif target == "missing/below" or command[2].endswith(".tar"):  # some make the folders above their result
        assert ran.code in (Exit.OK, Exit.OPERATIONAL, Exit.NOT_FOUND, Exit.INCOMPLETE), ran.err
    else:
        assert ran.code in (Exit.OPERATIONAL, Exit.CONFLICT), ran.err
    assert (tmp_path / "folder" / "kept").exists()


def test_a_page_needs_a_name() -> None:
    """The root of the file system is no file for a page: told as such, without a trace."""
    ran = ledger("rules", "docs", "contracts/gdpr", "--out", "/")
    assert ran.code == Exit.OPERATIONAL and "Traceback" not in ran.err and "[file]" in ran.err


def test_the_first_page_is_the_same_with_and_without_click() -> None:
    """`ledger`, `ledger --help` and click's own help of the root show one page."""
    plain = ledger("--help")
    assert plain.code == 0 and plain.out == ledger().out
    assert [name for name in COMMANDS if f"\n  {name}" not in plain.out] == []
    # With an option that the quick answer does not know, click is asked.
    assert ledger("--nothing").code == Exit.USAGE


def test_an_unknown_command_names_the_nearest() -> None:
    """A mistyped command is usage, exit 2, with the command that was meant."""
    ran = ledger("evnt", "append")
    assert ran.code == Exit.USAGE and "`event`" in ran.err and ran.out == ""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["nope"], "usage-command"),
        (["event", "get"], "usage-missing"),
        (["event", "append", "--knd", "x"], "usage-option"),
        (["event", "search", "--limit", "many"], "usage-value"),
        (["event", "append"], "event-source"),
        (["event", "get", "no-slash"], "event-name"),
        (["key", "show", "/nonexistent/x.key"], "key-file"),
        (["proof", "verify", "x.json"], "trust-missing"),
        (["node", "status", "--node", "gopher://x"], "node-url"),
        (["config", "show", "--nod", "x"], "usage-option"),
    ],
)
def test_failure_is_one_document_too(arguments: list[str], code: str) -> None:
    """With --json a failure prints exactly one document with code, message and exit code, and nothing else."""
    ran = ledger(*arguments, "--json")
    document = ran.json
    assert document["ok"] is False and document["error"]["code"] == code
    assert document["exit_code"] == ran.code != 0
    assert document["error"]["message"] and ran.err == ""


def test_help_is_a_document_too() -> None:
    """--help --json keeps to one document."""
    assert ledger("event", "get", "--help", "--json").json["help"].startswith("Usage: ledger event get")


def test_an_unreachable_node_is_exit_5() -> None:
    """A node that does not answer is exit 5, named by its address, with what to do."""
    ran = ledger("node", "status", "--node", "http://127.0.0.1:9", "--timeout", "2")
    assert ran.code == Exit.UNREACHABLE and "127.0.0.1:9" in ran.err and "ledger node start" in ran.err


def test_codes_are_never_translated() -> None:
    """The same failure in zh and en has the same code and other words."""
    zh, en = (ledger("event", "get", "x", "--lang", language) for language in ("zh", "en"))
    assert "[event-name]" in zh.err and "[event-name]" in en.err and zh.err != en.err


def test_language_follows_flag_then_variable_then_locale() -> None:
    """--lang wins over LEDGER_LANG, which wins over the locale; anything not zh reads English."""
    cases = [
        ({"LEDGER_LANG": "zh", "LANG": "en_GB.UTF-8"}, (), "用法"),
        ({"LEDGER_LANG": "zh"}, ("--lang", "en"), "Usage"),
        ({"LANG": "zh_CN.GBK"}, (), "用法"),
        ({"LEDGER_LANG": "auto", "LC_ALL": "zh_CN"}, (), "用法"),
        ({"LANG": "de_DE.UTF-8"}, (), "Usage"),
    ]
    for env, flags, word in cases:
        assert word in ledger("key", "--help", *flags, env=env).out, (env, flags)


def test_colour_only_on_a_terminal_that_wants_it() -> None:
    """No escape codes into pipes, under NO_COLOR, TERM=dumb or --no-color; some on a terminal."""
    assert "\x1b[" in ledger("nope", terminal=True, env={"TERM": "xterm"}).err
    for env, flags in (({"NO_COLOR": "1"}, ()), ({"TERM": "dumb"}, ()), ({}, ("--no-color",))):
        assert "\x1b[" not in ledger("nope", *flags, terminal=True, env=env).err
    assert "\x1b[" not in ledger("nope", env={"TERM": "xterm"}).err


@pytest.mark.parametrize("encoding", ["gbk", "ascii", "latin-1"])
def test_no_console_encoding_crashes(encoding: str) -> None:
    """A console that lacks a character gets a replacement, in either language."""
    for language in ("zh", "en"):
        ran = ledger("--help", "--lang", language, encoding=encoding)
        assert ran.code == 0 and "ledger" in ran.out
    assert ledger("nope", "--lang", "zh", encoding=encoding).code == Exit.USAGE


def test_the_table_of_exit_codes_is_total() -> None:
    """Every error family has an exit code other than 0, and subclasses keep their family's."""
    assert all(code != Exit.OK for _, code in FAMILIES)
    assert exit_of(ForkError("x")) == exit_of(VerificationError("x")) == Exit.INTEGRITY
    assert exit_of(RuntimeFault("x")) == Exit.OPERATIONAL
    assert exit_of(LedgerError("x")) == Exit.OPERATIONAL


def test_every_entry_of_the_table_can_be_imported() -> None:
    """Each `module:attribute` names a command."""
    context = root().make_context("ledger", ["key", "new", "x"], resilient_parsing=True)
    for path in paths():
        group: object = root()
        for name in path.split():
            group = group.get_command(context, name)  # type: ignore[attr-defined]
            assert group is not None, path
