"""What the operating system refuses, told so that a person knows which file it was and what to do."""

from __future__ import annotations

import errno
import os
import re

import pytest

from ledger.cli.exits import LOCAL, Exit, exit_of
from ledger.cli.output import Console
from ledger.cli.problems import from_os, sentences
from ledger.cli.reasons import OS_NAMES, in_words
from ledger.cli.texts import Texts
from ledger.cli.verifyreport import gap_text
from ledger.errors import UnavailableError
from ledger.verify.findings import REPLAY, gap
from tests.unit.cli.runner import ledger


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EIO])
@pytest.mark.parametrize("name", ["city/node.toml", None])
def test_every_refusal_names_what_it_can(language: str, number: int, name: str | None) -> None:
    """The file where there is one, the reason where there is none, and what to do; never a gap in the sentence."""
    error = OSError(number, os.strerror(number), name) if name else OSError(number, os.strerror(number))
    what, advice = sentences(Texts(language), from_os(error))
    assert advice and "{" not in what + advice and "  " not in what
    if name:
        assert name in what
    elif number != errno.ENOSPC:
        assert (os.strerror(number) in what) == (language == "en")


@pytest.mark.parametrize("name", OS_NAMES)
def test_the_operating_system_speaks_the_readers_language(name: str) -> None:
    """Every refusal that has a name here has Chinese words, whichever way the reason was written down."""
    said = os.strerror(getattr(errno, name))
    for reason in (
        said,
        f"[Errno {getattr(errno, name)}] {said}: 'x'",
        f"<urlopen error [Errno {getattr(errno, name)}] {said}>",
    ):
        assert in_words(Texts("zh"), reason) == Texts("zh").text(f"because.{name}") != f"because.{name}"
        assert in_words(Texts("en"), reason) == reason


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify", "x", "--jobs", "999"),
        ("event", "search", "--limit", "many"),
        ("verify", "x", "--runtime", "none of them"),
        ("node", "status", "--node", "http://127.0.0.1:9", "--timeout", "2"),
        ("watch", "--once", "--node", "http://127.0.0.1:9", "--timeout", "2"),
        ("proof", "get", "what", "x"),
    ],
)
def test_no_english_reason_stands_in_chinese_output(arguments: tuple[str, ...]) -> None:
    """What click and the operating system say of a value or a connection is told in Chinese under --lang zh."""
    ran = ledger(*arguments, "--lang", "zh")
    what = ran.err.split("[")[0].split("：", 1)[1] if "：" in ran.err else ran.err
    assert ran.code in (Exit.USAGE, Exit.UNREACHABLE)
    assert not re.search(r"\b(is|not|refused|range|one of)\b", what), what


def test_the_reason_of_a_gap_is_told_in_both_languages() -> None:
    """A gap that an error left begins with the error's Chinese text; a stop is named by words, not by its code."""
    zh, en = (Console(language=language, environment={}) for language in ("zh", "en"))
    left = gap("rules-unavailable", REPLAY, error="bundle", reason="bundle: the export holds no such bundle")
    assert Texts("zh").find("bundle.what", "errors").split("{")[0] in gap_text(zh, left)
    assert gap_text(en, left).endswith("bundle: the export holds no such bundle")
    for code in ("bodies-missing", "finding", "rulebook-program"):
        stopped = gap("replay-stopped", REPLAY, height=3, reason=code)
        assert Texts("zh").text(f"why.{code}", catalogue_name="verify") in gap_text(zh, stopped)
        assert f"reason: {code}" not in gap_text(en, stopped)


@pytest.mark.parametrize("code", sorted(LOCAL))
def test_what_fails_on_this_machine_is_not_unreachable(code: str) -> None:
    """An unwritable file or a dead worker is exit 1, as every other file that cannot be used, and no node's fault."""
    assert exit_of(UnavailableError(code)) == Exit.OPERATIONAL
