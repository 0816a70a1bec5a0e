"""Problems: one table from family to status, bodies in both languages, and a catalogue that knows every code."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ledger.errors import (
    ConflictError,
    FatalError,
    ForkError,
    LedgerError,
    MalformedError,
    NotFoundError,
    RejectedError,
    RuntimeFault,
    UnavailableError,
    VerificationError,
)
from ledger_node.http.problems import HTTP_STATUS, HttpError, problem_of
from ledger_node.texts import LANGUAGES, choose_language, load_catalogue

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("error", "status", "family"),
    [
        (NotFoundError("object"), 404, "not-found"),
        (ConflictError("id"), 409, "conflict"),
        (MalformedError("canonical"), 422, "malformed"),
        (VerificationError("submission-signature"), 422, "verification"),
        (ForkError("fork"), 422, "verification"),
        (RejectedError("key-revoked"), 422, "rejected"),
        (UnavailableError("queue-full"), 503, "unavailable"),
        (RuntimeFault("runtime-timeout"), 503, "unavailable"),
        (FatalError("invariant"), 503, "stopped"),
        (HttpError("body-too-large"), 413, "http"),
        (ValueError("secret"), 500, "internal"),
        (LedgerError("odd"), 500, "internal"),
    ],
)
def test_family_decides_status(error: Exception, status: int, family: str) -> None:
    """The status follows from the error's family alone."""
    problem = problem_of(error)
    assert (problem.status, problem.family) == (status, family)


def test_body_says_what_happened_to_which_object() -> None:
    """Code, evidence, index and request id are members of the body; bytes are hex, long texts are cut."""
    error = MalformedError(
        "canonical", "not sorted", index=3, got=b"\x01\xff", text="x" * 1000, odd=3.5, deep=[{"a": 1}]
    )
    body = json.loads(problem_of(error).encode("en", "r-1"))
    assert body["type"] == "urn:suyuan:problem:malformed"
    assert (body["code"], body["status"], body["index"]) == ("canonical", 422, 3)
    assert body["instance"] == "urn:suyuan:request:r-1"
    assert body["reason"] == "not sorted"
    assert body["evidence"]["got"] == "01ff"
    assert len(body["evidence"]["text"]) == 300
    assert body["evidence"]["odd"] == "3.5"
    assert body["evidence"]["deep"] == [{"a": 1}]


def test_lone_surrogates_in_evidence_do_not_break_the_answer() -> None:
    """Text that no UTF-8 can spell is shown with a replacement."""
    body = problem_of(MalformedError("identifier", got="a\ud800b")).encode("zh")
    assert json.loads(body)["evidence"]["got"] == "a?b"


def test_a_defect_says_nothing_about_itself() -> None:
    """An exception that nobody raised on purpose leaves no trace of its text."""
    body = problem_of(KeyError("the secret")).encode("en", "r-2")
    assert b"secret" not in body
    assert json.loads(body)["code"] == "internal"


def test_unavailable_names_the_time_to_try_again() -> None:
    """503 carries Retry-After: the engine's number, else one second; a stopped node promises nothing."""
    assert (b"retry-after", b"5") in problem_of(UnavailableError("busy", retry_after_s=5)).headers("en")
    assert (b"retry-after", b"1") in problem_of(UnavailableError("busy", retry_after_s=-1)).headers("en")
    assert not [name for name, _ in problem_of(FatalError("x")).headers("en") if name == b"retry-after"]


def test_other_headers_follow_from_the_status() -> None:
    """401 names the scheme, 405 the methods, 413 and 408 close the connection."""
    assert (b"www-authenticate", b'Bearer realm="suyuan"') in problem_of(HttpError("token")).headers("en")
    assert (b"allow", b"GET, POST") in problem_of(HttpError("method", allow="GET, POST")).headers("en")
    for code in ("body-slow", "body-too-large"):
        assert (b"connection", b"close") in problem_of(HttpError(code)).headers("zh")


@pytest.mark.parametrize("language", LANGUAGES)
def test_titles_of_http_follow_the_status(language: str) -> None:
    """Each status of a request that fails as HTTP has a title of its own, which says what was wrong with it."""
    titles = {status: set[str]() for status in HTTP_STATUS.values()}
    for code, status in HTTP_STATUS.items():
        titles[status].add(problem_of(HttpError(code)).document(language)["title"])
    assert all(len(found) == 1 for found in titles.values())
    assert len(set.union(*titles.values())) == len(titles)
    assert set(load_catalogue().statuses) == {str(status) for status in titles}


def test_a_body_too_large_names_the_limit() -> None:
    """The text points to the limit, which the evidence holds in bytes; a single event is not told to be divided only."""
    problem = problem_of(HttpError("body-too-large", limit=8))
    assert "evidence.limit" in problem.document("en")["detail"]
    assert "evidence.limit" in problem.document("zh")["detail"]
    assert "single event" in problem.document("en")["detail"]
    assert problem.document("en")["evidence"] == {"limit": 8}


def test_header_injection_through_evidence_is_impossible() -> None:
    """What a stranger sent reaches no header but Allow, which is made of our own method names."""
    problem = problem_of(HttpError("host", got=b"a\r\nx: y"))
    assert all(b"\r" not in value and b"\n" not in value for _, value in problem.headers("en"))


def test_every_text_is_in_both_languages() -> None:
    """No title and no detail lacks a language or repeats the other one."""
    catalogue = load_catalogue()
    for texts in (*catalogue.families.values(), *catalogue.statuses.values(), *catalogue.codes.values()):
        assert set(texts) == set(LANGUAGES)
        assert texts["zh"] != texts["en"]
        assert re.search(r"[\u4e00-\u9fff]", texts["zh"])


# Modules whose errors a request can meet.
REACHABLE = (
    "src/ledger/framing.py",
    "src/ledger/core/canonical.py",
    "src/ledger/core/canonical_reference.py",
    "src/ledger/core/event.py",
    "src/ledger/core/ident.py",
    "src/ledger/core/submission.py",
    "src/ledger/machine/admit.py",
    "src/ledger/adapters/ordering/clock.py",
    "src/ledger/adapters/ordering/engine.py",
    "src/ledger/adapters/ordering/forward.py",
    "src/ledger/adapters/ordering/layers.py",
    "src/ledger/adapters/ordering/sequencer.py",
    "node/src/ledger_node/wiring.py",
    "node/src/ledger_node/http",
    "node/src/ledger_node/intake",
    "node/src/ledger_node/query",
)
_RAISED = re.compile(
    r"(?:Malformed|Verification|Rejected|Conflict|NotFound|Unavailable|Http)Error\(\s*\"([a-z0-9-]+)\"", re.DOTALL
)
# Raised only by what clients call in their own process, or an alarm.
NEVER_ANSWERED = {"commitment", "inclusion", "clock-apart"}


def test_every_reachable_code_has_a_text() -> None:
    """Each code that the modules on a request's way raise stands in the catalogue, and so does each HTTP code."""
    codes: set[str] = set()
    for entry in REACHABLE:
        path = ROOT / entry
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            codes.update(_RAISED.findall(file.read_text(encoding="utf-8")))
    missing = codes - set(load_catalogue().codes) - NEVER_ANSWERED
    assert not missing, f"add zh and en texts to texts/problems.toml: {sorted(missing)}"
    assert set(HTTP_STATUS) <= set(load_catalogue().codes)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en;q=0.3, zh;q=0.7", "zh"),
        ("fr, de", "en"),
        ("zh;q=0", "en"),
        ("zh;q=x, en", "en"),
        ("EN-us", "en"),
        ("*", "en"),
        (";;;,,,", "en"),
        ("zh" * 10_000, "en"),
    ],
)
def test_language_follows_accept_language(given: str, expected: str) -> None:
    """The heaviest language that we have wins; nonsense is ignored."""
    assert choose_language(given) == expected
