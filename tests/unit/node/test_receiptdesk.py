"""Receipts of requests that wait together: one read for all, each its own answer or its own error."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from ledger.core.proof import Receipt, parse_proof
from ledger.errors import LedgerError, NotFoundError
from ledger_node.http import receiptdesk
from ledger_node.http.receiptdesk import ReceiptDesk
from ledger_node.query.outcome import EventOutcome, Outcome
from ledger_node.query.receipts import make_receipts, receipts_of
from ledger_node.query.standing import standing
from tests.models.live_node import LiveNode


def outcome(name: str, events: int = 1) -> Any:
    return SimpleNamespace(name=name, events=(None,) * events)


def desk_over(monkeypatch: pytest.MonkeyPatch, answer: Any) -> list[list[str]]:
    """Exchange the reading for `answer`; the names of each batch are noted in the list."""
    batches: list[list[str]] = []

    def receipts_of(node: object, outcomes: list[Any]) -> list[list[bytes] | LedgerError]:
        batches.append([each.name for each in outcomes])
        return [answer(each) for each in outcomes]

    monkeypatch.setattr(receiptdesk, "receipts_of", receipts_of)
    return batches


async def ask(*outcomes: Any) -> list[Any]:
    with ThreadPoolExecutor(1) as pool:
        desk = ReceiptDesk(SimpleNamespace(), pool)  # type: ignore[arg-type]
        return await asyncio.gather(*(desk.receipts(each) for each in outcomes), return_exceptions=True)


def test_who_waits_together_is_served_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that wait at one moment are read in one go, and each gets what is its own."""
    batches = desk_over(monkeypatch, lambda each: [each.name.encode()])
    answers = asyncio.run(ask(*(outcome(str(number)) for number in range(20))))
    assert answers == [[str(number).encode()] for number in range(20)]
    assert batches == [[str(number) for number in range(20)]]


def test_a_pass_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many events are read in several passes, in the order they came; one large request is a pass of its own."""
    batches = desk_over(monkeypatch, lambda each: [each.name.encode()])
    asyncio.run(ask(outcome("a", 600), outcome("b", 600), outcome("c", 5000), outcome("d"), outcome("e")))
    assert batches == [["a"], ["b"], ["c"], ["d", "e"]]


def test_an_error_is_one_requests_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request whose body is gone gets that error, the others their receipts."""
    gone = NotFoundError("body-archived", "the body of this event is no longer here")
    desk_over(monkeypatch, lambda each: gone if each.name == "b" else [b"{}"])
    assert asyncio.run(ask(outcome("a"), outcome("b"), outcome("c"))) == [[b"{}"], gone, [b"{}"]]


def test_a_failed_reading_reaches_all_who_wait_and_nobody_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that fails answers everybody of the pass with that error, and the next request is served again."""
    failing = [True]

    def receipts_of(node: object, outcomes: list[Any]) -> list[list[bytes]]:
        if failing[0]:
            failing[0] = False
            raise OSError("disk")
        return [[b"{}"] for _ in outcomes]

    monkeypatch.setattr(receiptdesk, "receipts_of", receipts_of)

    async def both() -> tuple[list[Any], list[bytes]]:
        with ThreadPoolExecutor(1) as pool:
            desk = ReceiptDesk(SimpleNamespace(), pool)  # type: ignore[arg-type]
            first = await asyncio.gather(*(desk.receipts(outcome(name)) for name in "ab"), return_exceptions=True)
            return first, await desk.receipts(outcome("c"))

    first, second = asyncio.run(both())
    assert [type(each) for each in first] == [OSError, OSError]
    assert second == [b"{}"]


def test_receipts_read_together_are_those_read_alone(live: LiveNode) -> None:
    """Receipts of several submissions at once are the bytes of each alone; what is not certified says so and spoils none."""
    node = live.node
    refs = {"dataset": "ga/hukou", "grant": live.ids["grant"]}
    found = [
        live.post(live.sign("rs", [live.event("use.access", refs, count=1) for _ in range(count)])).json()
        for count in (1, 3, 2)
    ]
    outcomes = [
        Outcome(
            each["height"], each["time"], each["size"], b"",
            tuple(EventOutcome("rs", e["id"], e["seq"], e["outcome"], b"{}", duplicate=False) for e in each["events"]),
        )
        for each in found
    ]  # fmt: skip
    beyond = EventOutcome("rs", "", node.head.size + 5, "accepted", b"{}", duplicate=False)
    made = receipts_of(node, [*outcomes[:2], Outcome(0, 0, 0, b"", (beyond,)), outcomes[2]])
    uncertified = made.pop(2)
    assert isinstance(uncertified, LedgerError)
    with standing(node) as state:
        assert made == [make_receipts(state, [e["seq"] for e in each["events"]]) for each in found]
    for found_receipts in made:
        assert isinstance(found_receipts, list)
        assert all(isinstance(parse_proof(each), Receipt) for each in found_receipts)
