"""Requests and answers as values: the family of an error follows the status, and a stranger's answer is bounded."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.client.request import (
    Response,
    append_json,
    check_url,
    get,
    parse_appended,
    parse_json,
    problem,
    submit,
)
from ledger.errors import (
    ConflictError,
    LedgerError,
    MalformedError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)

EVENT = {
    "member": "ga",
    "id": "i",
    "seq": 3,
    "outcome": "accepted",
    "verdict": {"outcome": "accepted"},
    "duplicate": False,
}
APPENDED = {"height": 1, "time": 2, "size": 3, "certified": True, "checkpoint": "n", "events": [EVENT]}


def response(status: int, document: object, **headers: str) -> Response:
    return Response(status, {"content-type": "application/json", **headers}, json.dumps(document).encode())


@pytest.mark.parametrize(
    ("status", "family"),
    [(400, MalformedError), (401, RejectedError), (403, RejectedError), (404, NotFoundError), (408, UnavailableError),
     (409, ConflictError), (413, MalformedError), (422, MalformedError), (429, UnavailableError),
     (500, UnavailableError), (503, UnavailableError), (418, RejectedError)],
)  # fmt: skip
def test_the_family_follows_the_status(status: int, family: type[LedgerError]) -> None:
    """What may succeed later is `UnavailableError`; code, evidence, index and Retry-After are kept."""
    document = {"code": "x", "detail": "why", "evidence": {"member": "ga", "code": "no", "self": 1}, "index": 4}
    error = problem(response(status, document, **{"retry-after": "7"}))
    assert type(error) is family and error.code == "x" and error.message == "why"
    assert error.evidence == {"member": "ga", "status": status, "index": 4, "retry_after_s": 7}


@given(st.integers(100, 599), st.binary(max_size=200))
def test_any_answer_is_a_value_or_one_of_our_errors(status: int, body: bytes) -> None:
    """Whatever a node sends, nothing but `LedgerError` comes of it."""
    for kind in ("application/json", "text/html", ""):
        for parse in (parse_appended, parse_json):
            try:
                parse(Response(status, {"content-type": kind}, body))
            except LedgerError:
                pass


def test_a_conflict_is_an_answer() -> None:
    """409 with the form of a submission's answer carries the recorded refusal; with a problem body it is an error."""
    verdict = {"outcome": "refused", "reasons": [["ledger", "conflict", {}]]}
    event = {**EVENT, "outcome": "refused", "verdict": verdict}
    appended = parse_appended(response(409, {**APPENDED, "events": [event]}))
    assert appended.events[0].conflict and not parse_appended(response(201, APPENDED)).events[0].conflict
    with pytest.raises(ConflictError):
        parse_appended(Response(409, {"content-type": "application/problem+json"}, b"{}"))


@pytest.mark.parametrize("name", sorted(APPENDED))
def test_a_missing_member_of_the_answer_is_refused(name: str) -> None:
    """Each member of the answer is needed."""
    with pytest.raises(MalformedError) as caught:
        parse_appended(response(201, {key: value for key, value in APPENDED.items() if key != name}))
    assert caught.value.code == "node-answer"


@pytest.mark.parametrize(
    "change", [{"outcome": "maybe"}, {"verdict": 3}, {"seq": -1}, {"seq": True}, {"verdict": None}]
)
def test_odd_events_in_the_answer_are_refused(change: dict) -> None:
    """Outcomes and positions have their forms."""
    with pytest.raises(MalformedError):
        parse_appended(response(201, {**APPENDED, "events": [{**EVENT, **change}]}))


def test_requests_say_what_the_interface_wants() -> None:
    """Paths keep the slashes of ids, queries leave out what is not set, the token travels in its header."""
    assert get(("v1", "datasets", "ga/hukou 1", "timeline"), {"a": None, "b": 1}).path == (
        "/v1/datasets/ga/hukou%201/timeline?b=1"
    )
    assert submit(b"x", ack="certified", full_receipts=True).path == "/v1/submissions?ack=certified&receipt=full"
    made = append_json([{"kind": "k"}], "ga", "secret")
    assert made.headers["Authorization"] == "Bearer secret" and json.loads(made.body or b"") == {
        "events": [{"kind": "k"}],
        "member": "ga",
    }


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:80",
        "ftp://x",
        "http://",
        "http://x:y",
        "http://x?y=1",
        "http://x:99999",
        "http://[::1",
        "http://x..y",
        "http://" + "a" * 64,
    ],
)
def test_only_addresses_of_nodes_are_taken(url: str) -> None:
    """Anything but http(s)://host[:port] is `node-url`."""
    with pytest.raises(MalformedError) as caught:
        check_url(url)
    assert caught.value.code == "node-url"
    assert check_url("http://127.0.0.1:80/") == "http://127.0.0.1:80"
