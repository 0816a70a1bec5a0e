"""What is a transaction, and what is refused."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ledger import framing
from ledger.core.bundle import bundle_hash, encode_bundle
from ledger.core.event import new_event
from ledger.core.hashing import Digest
from ledger.core.ident import uuid7_at
from ledger.core.submission import Submission, new_submission
from ledger.errors import MalformedError
from ledger.limits import BUNDLE_BYTES_MAX, TRANSACTION_BYTES_MAX
from ledger_node.comet import transaction
from tests.models.accept_all import GENESIS, START_MS, event_signer
from tests.models.transactions import encode_transaction

NONCE = b"12345678"
BUNDLE = encode_bundle({"2027.json": b"{}"})
BUNDLE_HASH = bundle_hash({"2027.json": b"{}"})


def submission(number: int = 1, kind: str = "test.event", **content: Any) -> Submission:
    event = new_event(
        event_id=uuid7_at(START_MS, number.to_bytes(10, "big")),
        kind=kind,
        refs={},
        time_ms=START_MS,
        salt=bytes(16),
        content=content,
    )
    return new_submission(GENESIS.origin, "ga", event_signer("ga"), [event])


def proposal(digest: Digest = BUNDLE_HASH) -> Submission:
    return submission(9, "sys.propose", action="sys.calendar.publish", args={"bundle": digest.hex()})


def test_what_was_encoded_is_parsed() -> None:
    """Submissions, their order and the nonce come back."""
    framed = [framing.encode(submission(number)) for number in range(3)]
    parsed = transaction.parse(encode_transaction(NONCE, framed))
    assert (parsed.nonce, list(parsed.framed), parsed.events, parsed.verified) == (NONCE, framed, 3, False)
    assert [each.identity for each in parsed.submissions] == [submission(number).identity for number in range(3)]


def test_keeping_some_leaves_the_others_out() -> None:
    """`keep` gives a transaction of the named submissions, with the bundles that these name."""
    whole = transaction.parse(
        encode_transaction(NONCE, [framing.encode(proposal()), framing.encode(submission())], {BUNDLE_HASH: BUNDLE})
    )
    assert whole.bundles == {BUNDLE_HASH: BUNDLE}
    assert whole.keep([0]).bundles == {BUNDLE_HASH: BUNDLE}
    kept = whole.keep([1])
    assert kept.bundles == {}
    assert transaction.parse(encode_transaction(kept.nonce, kept.framed, kept.bundles)).submissions == kept.submissions


def pack(*fields: Any) -> bytes:
    data: bytes = msgpack.packb(list(fields), use_bin_type=True)
    return data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        pack(),
        pack(1, NONCE, [], []),
        pack(2, NONCE, [framing.encode(submission())], []),
        pack(1, b"short", [framing.encode(submission())], []),
        pack(1, NONCE, [framing.encode(submission())], [b"no frame"]),
        pack(1, NONCE, [framing.encode(submission())], [zstandard.compress(BUNDLE)]),
        pack(1, NONCE, [framing.encode(proposal())], [zstandard.compress(BUNDLE)] * 2),
        pack(1, NONCE, [framing.encode(proposal())], [zstandard.compress(bytes(BUNDLE_BYTES_MAX + 1))]),
        pack(1, NONCE, ["text"], []),
        pack(1, NONCE, [b"no submission"], []),
        pack(True, NONCE, [framing.encode(submission())], []),
        pack(1, NONCE, [framing.encode(submission())], []) + b"\x00",
        bytes(TRANSACTION_BYTES_MAX + 1),
    ],
)
def test_other_bytes_are_refused(data: bytes) -> None:
    """Wrong version, nonce, types, bundles that nobody named or twice, too large, bytes behind the end: `MalformedError`."""
    with pytest.raises(MalformedError):
        transaction.parse(data)


@given(st.binary(max_size=300), st.integers(0, 400))
def test_any_bytes_are_a_transaction_or_malformed(noise: bytes, place: int) -> None:
    """The parser is total, also on bytes that are almost right."""
    good = encode_transaction(NONCE, [framing.encode(submission())])
    for data in (noise, good[:place] + noise + good[place + len(noise) :]):
        try:
            transaction.parse(data)
        except MalformedError:
            continue


def test_too_much_is_refused_when_it_is_made() -> None:
    """A node never hands CometBFT what others would refuse."""
    with pytest.raises(MalformedError):
        encode_transaction(NONCE, [bytes(TRANSACTION_BYTES_MAX)])
