"""`sys.misbehaviour`: what is recorded of a validator that voted twice, and what is never recorded as accepted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ledger.core import canonical
from ledger.core.engine import chain_id
from ledger.core.event import Event
from ledger.core.hashing import sha256
from ledger.core.keys import CONSENSUS, P2P
from ledger.core.mapkeys import stream_key
from ledger.core.misbehaviour import SignedVote, misbehaviour_key
from ledger.core.nativevote import PRECOMMIT, BlockId, vote_message
from tests.models.governed import HOUR_MS, Governed
from tests.models.tiny_ledger import MEMBERS, signer
from tests.unit.machine.test_enginemove import move_parts
from tests.unit.machine.test_governance import code
from tests.unit.machine.test_validators import FEW, key_id, validating

SECONDS = 1_790_000_000


def vote(ledger: Governed, number: int, *, by: str = "wj", chain: str = "", height: int = 7) -> SignedVote:
    """A precommit by a validator's key in round 2 for block `number`, 0 for none."""
    block = BlockId(sha256(b"%d" % number), 1, sha256(b"parts")) if number else None
    message = vote_message(chain or chain_id(ledger.origin, 0), PRECOMMIT, height, 2, block, SECONDS, number)
    return SignedVote(block, SECONDS, number, signer(by, CONSENSUS).sign(message))


def accusation(ledger: Governed, signed: list[SignedVote], *, accused: str = "wj", **changes: Any) -> Event:
    """The event; `changes` to its body."""
    ordered = sorted(signed, key=lambda each: each.order)
    body = {"height": 7, "round": 2, "type": "duplicate-vote", "vote_type": "precommit"}
    body["votes"] = [each.document() for each in ordered]
    return ledger.sys("sys.misbehaviour", {"key": key_id(accused), "member": accused}, **{**body, **changes})


def test_two_votes_are_recorded_once() -> None:
    """SPEC R-N54: proven by its signatures, in the stream of the accused, in the state; a second time is refused."""
    ledger = validating()
    item = ledger.record("ga", accusation(ledger, [vote(ledger, 1), vote(ledger, 2)]))
    assert item.verdict == b'{"outcome":"accepted"}'
    name = misbehaviour_key("wj", key_id("wj"), chain_id(ledger.origin, 0), 7, "duplicate-vote")
    event = item.event
    assert event is not None and canonical.parse(ledger.store.read_objects([name])[name]) == {
        "event": f"ga/{event.id}",
        "height": 7,
        "round": 2,
        "vote_type": "precommit",
    }
    row = ledger.store.read_rows([stream_key("member", "wj", False)])
    assert row
    again = accusation(ledger, [vote(ledger, 0), vote(ledger, 3)])
    assert code(ledger.record("gx", again)) == "misbehaviour-known"
    assert ledger.validators == list(MEMBERS)
    assert ledger.verify().findings.kept == [] and ledger.verify(replay=False).findings.kept == []


def test_a_key_that_votes_twice_at_every_height_is_recorded_once_a_span() -> None:
    """SPEC R-N54: one proof a key in 100,000 heights of a chain; the span before and another validator count apart."""
    ledger = validating()

    def accused(height: int, by: str = "wj") -> str:
        two = [vote(ledger, number, by=by, height=height) for number in (1, 2)]
        return code(ledger.record("ga", accusation(ledger, two, accused=by, height=height)))

    assert accused(150_000) == ""
    assert [accused(height) for height in (100_000, 150_001, 199_999)] == ["misbehaviour-known"] * 3
    assert [accused(99_999), accused(200_000), accused(150_000, "mz")] == ["", "", ""]
    assert sum(b"sys-misbehaviour" in key for key in ledger.store.memory.rows) == 4
    assert ledger.verify().findings.kept == [] and ledger.verify(replay=False).findings.kept == []


def test_false_accusations_are_refused() -> None:
    """SPEC R-N54, R-N55: another signer, chain, height, round or type, or a signature over nothing, proves nothing."""
    ledger = validating()
    one, two = vote(ledger, 1), vote(ledger, 2)
    cases = [
        accusation(ledger, [one, vote(ledger, 2, by="mz")]),
        accusation(ledger, [one, two], accused="mz"),
        accusation(ledger, [one, vote(ledger, 2, chain="another")]),
        accusation(ledger, [one, vote(ledger, 2, height=8)]),
        accusation(ledger, [one, two], round=1),
        accusation(ledger, [one, two], vote_type="prevote"),
        accusation(ledger, [one, SignedVote(two.block, two.seconds + 1, two.nanos, two.signature)]),
        accusation(ledger, [one, SignedVote(two.block, two.seconds, two.nanos, bytes(64))]),
    ]
    assert [code(ledger.record("ga", event)) for event in cases] == ["misbehaviour-proof"] * len(cases)
    assert not [key for key in ledger.store.memory.rows if b"sys-misbehaviour" in key]
    assert ledger.verify().findings.kept == []


def without(field: str) -> Callable[[dict[str, Any]], Any]:
    return lambda document: {name: value for name, value in document.items() if name != field}


@pytest.mark.parametrize(
    "change",
    [
        without("signature"),
        lambda document: {**document, "more": 1},
        lambda document: {**document, "signature": document["signature"].upper()},
        lambda document: {**document, "signature": " " * 128},
        lambda document: {**document, "signature": 1},
        lambda document: {**document, "block": "00"},
        lambda document: {**document, "parts_total": True},
        lambda document: {**document, "parts_total": 0},
        lambda document: {**document, "block": "", "parts_hash": "", "parts_total": False},
        lambda document: {**document, "nanos": 10**9},
        lambda document: {**document, "seconds": "1"},
        lambda document: 7,
    ],
)
def test_shape_of_votes(change: Callable[[dict[str, Any]], Any]) -> None:
    """SPEC R-N54: what is not exactly two votes is refused for its shape, and nothing raises."""
    ledger = validating()
    event = accusation(ledger, [vote(ledger, 1), vote(ledger, 2)])
    votes = canonical.parse(event.body)["votes"]
    for broken in ([change(votes[0]), votes[1]], [votes[1], votes[0]], [votes[0]] * 2, votes[:1], {"a": 1}):
        assert code(ledger.record("ga", accusation(ledger, [], votes=broken))) == "shape"


def test_shape_of_accusations() -> None:
    """SPEC R-N54: a light-client attack, an unknown vote type, numbers out of range and missing refs are refused."""
    ledger = validating()
    both = [vote(ledger, 1), vote(ledger, 2)]
    for changes in (
        {"type": "light-client-attack"},
        {"vote_type": "proposal"},
        {"vote_type": ["precommit"]},
        {"height": -1},
        {"height": True},
        {"round": 2**31},
        {"extra": 1},
    ):
        assert code(ledger.record("ga", accusation(ledger, both, **changes))) == "shape"
    body = canonical.parse(accusation(ledger, both).body)
    body.pop("salt")
    for refs, expected in (
        ({"member": "wj"}, "shape"),
        ({"key": key_id("wj"), "member": "gx"}, "key-unknown"),
        ({"key": "00" * 32, "member": "wj"}, "key-unknown"),
        ({"key": key_id("wj", P2P), "member": "wj"}, "key-use"),
        ({"key": "wj", "member": "wj"}, "shape"),
    ):
        assert code(ledger.record("ga", ledger.sys("sys.misbehaviour", refs, **body))) == expected


def test_who_validates_may_accuse_and_who_left_may_be_accused() -> None:
    """SPEC R-N54: only members that run a validator report; a key that has ended still answers for what it signed."""
    ledger = validating(3)
    two = [vote(ledger, 1, by="mz"), vote(ledger, 2, by="mz")]
    assert code(ledger.record("wj", accusation(ledger, two, accused="mz"))) == "author"
    refs = {"key": key_id("mz"), "member": "mz"}
    ledger.change("sys.key.revoke", refs, FEW, cosign=True, wait_ms=24 * HOUR_MS + 1)
    assert code(ledger.record("ga", accusation(ledger, two, accused="mz"))) == ""


def test_votes_of_the_chain_in_force_count() -> None:
    """SPEC R-N51: after a move the chain id is another one, and votes of the old chain prove nothing any more."""
    ledger = validating()
    ledger.change(*move_parts(ledger), cosign=True, wait_ms=24 * HOUR_MS + 1)
    old, new = chain_id(ledger.origin, 0), chain_id(ledger.origin, 1)
    wanted = {old: "misbehaviour-proof", new: ""}
    for chain, expected in wanted.items():
        votes = [vote(ledger, number, chain=chain) for number in (1, 2)]
        assert code(ledger.record("ga", accusation(ledger, votes))) == expected
