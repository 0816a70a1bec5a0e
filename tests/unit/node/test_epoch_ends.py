"""A node that waits for the certificate of an epoch's end while some of its peers are dead or lie."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ledger.errors import LedgerError, UnavailableError
from tests.unit.adapters.ordering.test_certificates import cosigned, ended_book

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
    node._seek_end = lambda each: wiring.Node._seek_end(node, each)
    for each in peers:
        try:
            wiring.Node._peer_note(node, each, cosigned(5, each.url[-1]))
        except LedgerError:
            assert each.url == "http://a"
    assert book.certified_size() == 5 and book.pending_end() is None
