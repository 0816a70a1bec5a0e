"""What the operating system refuses, told so that a person knows which file it was and what to do."""

from __future__ import annotations

import errno
import os
import re
import tomllib
from pathlib import Path

import pytest

from ledger.adapters.ordering.cosigner import CLOCK_BEHIND, NOT_IN_SET
from ledger.cli.exits import LOCAL, Exit, exit_of
from ledger.cli.output import Console
from ledger.cli.problems import from_os, sentences
from ledger.cli.reasons import OS_NAMES, in_words, of_finding, of_node
from ledger.cli.texts import Texts
from ledger.cli.verify import _read_pin
from ledger.cli.verifyreport import gap_text
from ledger.client.request import Response, problem
from ledger.errors import LedgerError, MalformedError, NotFoundError, UnavailableError
from ledger.verify.findings import BYTES, REPLAY, from_error, gap
from ledger.verify.trust import Trust
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


def advice(error: LedgerError) -> str:
    """What to do, in English; the Chinese text says something too."""
    assert all(sentences(Texts("zh"), error))
    return sentences(Texts("en"), error)[1]


@pytest.mark.parametrize(
    ("status", "code"), [(422, "sizes"), (422, "query"), (413, "body-too-large"), (415, "media-type")]
)
def test_a_request_that_a_node_cannot_take_is_no_broken_file(status: int, code: str) -> None:
    """What a node says of a request sends nobody to look at files and addresses; a broken file still does."""
    said = Response(status, {"content-type": "application/problem+json"}, b'{"code": "%s"}' % code.encode())
    assert advice(problem(said)) and "file" not in advice(problem(said))
    assert "right file" in advice(MalformedError(code, "x"))


def test_one_code_in_two_families_has_the_words_of_each() -> None:
    """A key file that is not there is told apart from one that holds no key, a wrong origin from another network's."""
    what = {
        kind.__name__: sentences(Texts("en"), kind("key-file", "x", path="k.key"))[0]
        for kind in (NotFoundError, MalformedError)
    }
    assert "no key file" in what["NotFoundError"] and "no usable private key" in what["MalformedError"]
    wrong = sentences(Texts("en"), MalformedError("origin", "x", got="nonsense"))
    assert "nonsense" in wrong[0] and "another network" not in "".join(wrong)


def test_what_was_recorded_is_not_sent_again_by_advice() -> None:
    """Who waited in vain for a certificate is not told to run a command again that would record new events."""
    told = advice(UnavailableError("certificate-wait", "x"))
    assert "run the command again" not in told and "ledger proof get receipt" in told


@pytest.mark.parametrize("text", ["[]", "{", '{"origin": 1.5}', '{"origin": "demo"}'])
def test_a_wrong_trust_file_is_named(text: str, tmp_path: Path) -> None:
    """Whatever is wrong with the trust file, proofs and audits say so of that file, not of the data."""
    path = tmp_path / "trust.json"
    path.write_text(text, "utf-8")
    ran = ledger("proof", "verify", path, "--trust", path)
    assert ran.code == Exit.OPERATIONAL and str(path) in ran.err and "[canonical]" not in ran.err
    with pytest.raises(MalformedError) as caught:
        _read_pin(path, "trust", Trust())
    assert caught.value.evidence["path"] == str(path) and f"[{caught.value.code}]" in ran.err


@pytest.mark.parametrize(
    "detail",
    [
        "3 blocks wait for a certificate",
        "1 block behind",
        "-10 blocks behind",
        "it is opening its ledger",
        "1 of the 2 other cosigners that it needs have answered; it asks http://127.0.0.1:10, http://127.0.0.1:11",
        "compiled: not contained",
        "worker: rlimits, seccomp",
        "this node's key is not registered for cosigning",
        NOT_IN_SET,
        CLOCK_BEHIND,
        "storage-damaged: stored frame is damaged (reason=x)",
    ],
)
def test_a_node_s_checks_are_told_in_chinese(detail: str) -> None:
    """What a readiness check says is told in the reader's language; its numbers and codes stay, English is untouched."""
    said = of_node(Texts("zh"), detail)
    assert re.search(r"[\u4e00-\u9fff]", said) and of_node(Texts("en"), detail) == detail
    for kept in re.findall(r"-?[0-9]+|seccomp|storage-damaged", detail):
        assert kept in said
    assert of_node(Texts("zh"), "words of a newer node") == "words of a newer node"


@pytest.mark.parametrize("code", ["canonical", "framing", "leaf", "signature", "event-time", "block-order"])
def test_what_a_finding_shows_is_told_in_chinese(code: str) -> None:
    """An error that a finding quotes has its Chinese text before it; a value of the ledger stays as it is."""
    got = from_error("event-malformed", BYTES, MalformedError(code, "expected an object", at=3)).got or ""
    said = of_finding(Texts("zh"), got)
    assert (
        re.match(r"[^（]*[\u4e00-\u9fff]", said) and said.endswith(f"（{got}）") and of_finding(Texts("en"), got) == got
    )
    for value in ("catalog.draft", "no row of mine", '{"items":"a: b"}', "ab" * 32, "12"):
        assert of_finding(Texts("zh"), value) == value
    for words in ("no row", "3 leaves", "head 7"):
        assert of_finding(Texts("zh"), words) != words == of_finding(Texts("en"), words)


@pytest.mark.parametrize("path", sorted(Path(__file__).resolve().parents[3].glob("contracts/*/tables.toml")))
def test_every_status_has_chinese_words(path: Path) -> None:
    """Each status that a shipped rulebook moves an object to can be read in Chinese."""
    statuses = set()
    for moves in tomllib.loads(path.read_text("utf-8")).values():
        statuses |= {*moves.get("start", {}).values(), *moves.get("moves", {})}
    assert statuses and all(isinstance(each, str) for each in statuses)
    assert [
        each for each in sorted(statuses) if not re.search(r"[\u4e00-\u9fff]", Texts("zh").find(each, "states") or "")
    ] == []
