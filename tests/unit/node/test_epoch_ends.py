"""A node that waits for the certificate of an epoch's end while some of its peers are dead or lie."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ledger.adapters.ordering.engine import log_note
from ledger.adapters.ordering.epochs import EpochEnd
from ledger.errors import LedgerError, UnavailableError
from tests.unit.adapters.ordering.test_certificates import (
    COSIGNERS,
    LOG,
    ORIGIN,
    commit,
    cosigned,
    ended_book,
    make_book,
    root,
)

wiring = pytest.importorskip("ledger_node.wiring", reason="suyuan-node is not installed")


def peer(url: str, answer: Any) -> Any:
    """A peer that answers every question for a certificate so."""

    def request(*_: Any, **__: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return SimpleNamespace(url=url, request=request)


@pytest.mark.parametrize(
    "odd",
    [
        UnavailableError("peer", "it is down"),
        SimpleNamespace(status=200, body=b"garbage"),
        SimpleNamespace(status=200, body=cosigned(4, "a", "b", "c")),
    ],
)
def test_one_dead_or_lying_peer_holds_up_no_end(odd: Any) -> None:
    """SPEC R-G21: whatever one peer says when it is asked for the end's certificate, the lines that the others show over the
    end count, and the end is certified."""
    book = ended_book()
    book.propose()
    peers = [peer("http://a", odd), *(peer(f"http://{name}", SimpleNamespace(status=404, body=b"")) for name in "bcd")]
    node: Any = SimpleNamespace(
        certificates=book, peers=peers, head=SimpleNamespace(size=9), engine=SimpleNamespace(at_seam=False),
        alarms=SimpleNamespace(end=lambda _url: None),
    )  # fmt: skip
    for each in peers:
        try:
            wiring.Node._peer_note(node, each, cosigned(5, each.url[-1]))
        except LedgerError:
            assert each.url == "http://a"
    assert book.certified_size() == 5 and book.pending_end() is None


def test_one_answer_brings_every_end_that_was_missed() -> None:
    """A node that was away for several epochs asks who just answered for each end, also where its note is refused."""
    book = make_book()
    asked: list[str] = []

    def request(_method: str, path: str, **_: Any) -> Any:
        asked.append(path)
        size = int(path.rpartition("/")[2])
        return SimpleNamespace(status=200, body=cosigned(size, "a", "b", "c"))

    for height, size in enumerate((5, 9, 12), start=1):
        commit(book, size, height)
        if size < 12:
            note = log_note(LOG, ORIGIN, size, root(size))
            book.end_epoch(EpochEnd(height, size, root(size), note, tuple(COSIGNERS)), COSIGNERS)
    node: Any = SimpleNamespace(
        certificates=book, head=SimpleNamespace(size=12), engine=SimpleNamespace(at_seam=False),
        alarms=SimpleNamespace(end=lambda _url: None),
    )  # fmt: skip
    with pytest.raises(LedgerError):
        wiring.Node._peer_note(node, SimpleNamespace(url="http://a", request=request), b"nonsense")
    assert asked == ["/v1/certificates/5", "/v1/certificates/9"] and book.pending_end() is None
