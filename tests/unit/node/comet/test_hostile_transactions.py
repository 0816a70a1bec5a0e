"""A transaction of one member that passes CheckTx neither stops proposals nor makes a block that nobody can read."""

from __future__ import annotations

import random

import msgpack
import pytest
import zstandard

from ledger import framing
from ledger.blockcodec import BlockData, encode_block, from_submission
from ledger.core.bundle import bundle_hash, encode_bundle
from ledger.core.event import Event, new_event
from ledger.core.hashing import Digest
from ledger.core.ident import uuid7_at
from ledger.core.keys import EVENT
from ledger.core.submission import Submission, new_submission
from ledger.errors import MalformedError
from ledger.limits import BLOCK_BYTES_MAX, BLOCK_EVENTS_MAX, EVENT_PAST_MAX_MS
from ledger_node.comet import abci_pb2 as pb
from ledger_node.comet.handler import ACCEPT, CACHE_BYTES_MAX, OK, RECHECK, Transactions
from ledger_node.comet.transaction import Transaction
from tests.models.abci_network import GENESIS, START_MS, Peer, stamp
from tests.models.tiny_ledger import signer
from tests.models.transactions import encode_transaction

NOW = START_MS + 1


def event(number: int, kind: str = "test.event", when: int = START_MS, **content: object) -> Event:
    event_id = uuid7_at(when, number.to_bytes(10, "big"))
    return new_event(event_id=event_id, kind=kind, refs={}, time_ms=START_MS, salt=bytes(16), content=content)


def signed(*events: Event, member: str = "ga") -> Submission:
    return new_submission(GENESIS.origin, member, signer(member, EVENT), events)


def proposal(files: dict[str, bytes], number: int) -> tuple[Submission, Digest, bytes]:
    digest = bundle_hash(files)
    args = {"bundle": digest.hex(), "language": 1, "program": digest.hex()}
    made = event(number, "sys.propose", action="sys.calendar.publish", args=args)
    return signed(made), digest, encode_bundle(files)


def two_bundles() -> bytes:
    """Two proposals whose bundles stand in another order than their hashes."""
    made = [proposal({"2027.json": b'{"n":%d}' % n}, n) for n in range(2)]
    made.sort(key=lambda each: each[1], reverse=True)
    bundles = {digest: data for _, digest, data in made}
    return encode_transaction(bytes(8), [framing.encode(each) for each, _, _ in made], bundles)


def many_events() -> bytes:
    """More events than a block holds, in some forty kilobytes."""
    count = BLOCK_EVENTS_MAX // 1_000 + 1
    parts = [signed(*(event(1_000 * n + i) for i in range(1_000))) for n in range(count)]
    return encode_transaction(bytes(8), [framing.encode(each) for each in parts])


def large_events(first: int = 0, count: int = BLOCK_BYTES_MAX // (138 * 60_000) + 1) -> bytes:
    """More bytes than a block holds, in some ten kilobytes."""
    parts = [
        signed(*(event(1_000 * n + i, note="a" * 60_000) for i in range(138))) for n in range(first, first + count)
    ]
    return encode_transaction(bytes(8), [framing.encode(each) for each in parts])


def growing_bundle() -> bytes:
    """A well-compressed bundle beside a submission that no block takes: encoded again without it, it is too large."""
    dice = random.Random(3)
    words = ["".join(dice.choices("abcdefghijklmnop", k=dice.randint(3, 9))) for _ in range(3_000)]
    text = " ".join(dice.choices(words, [1 / (n + 1) for n in range(3_000)], k=900_000))[:3_480_000]
    first, _, data = proposal({"2027.json": text.encode()}, 1)
    old = signed(event(2, when=START_MS - EVENT_PAST_MAX_MS - 86_400_000), member="gx")
    frame = zstandard.ZstdCompressor(level=22, write_content_size=True, write_checksum=False).compress(data)
    return msgpack.packb([1, bytes(8), [framing.encode(first), framing.encode(old)], [frame]], use_bin_type=True)


@pytest.mark.parametrize("make", [two_bundles, many_events, large_events, growing_bundle])
def test_what_waits_behind_such_a_transaction_is_ordered(make: object) -> None:
    """It is refused when it comes, or what is proposed holds what waits behind it, is accepted, and gives a legal block."""
    peer, poison = Peer(), make()  # type: ignore[operator]
    good = encode_transaction(bytes(8), [framing.encode(signed(event(7), member="mz"))])
    waiting = [good]
    if peer.handler.check_tx(pb.RequestCheckTx(tx=poison)).code == OK:
        waiting = [poison, good]
    request = pb.RequestPrepareProposal(txs=waiting, max_tx_bytes=1_048_576, height=1, time=stamp(NOW))
    txs = list(peer.handler.prepare_proposal(request).txs)
    assert good in txs and sum(map(len, txs)) <= sum(map(len, waiting))
    asked = pb.RequestProcessProposal(txs=txs, height=1, time=stamp(NOW), hash=b"h" * 32)
    assert peer.handler.process_proposal(asked).status == ACCEPT
    peer.handler.finalize_block(pb.RequestFinalizeBlock(txs=txs, height=1, time=stamp(NOW), hash=b"h" * 32))
    peer.handler.commit(pb.RequestCommit())
    peer.rest()
    sealed, note = peer.memory.blocks[-1]
    block = sealed.decision.block
    assert sum(len(each.head) + len(each.body) for s in block.submissions for each in s.events) <= BLOCK_BYTES_MAX
    data = tuple(from_submission(each) for each in block.submissions)
    encode_block(BlockData(block.height, block.time, data, block.attachments, tuple(sealed.leaves), note))


def test_a_proposal_that_holds_too_much_is_rejected() -> None:
    """SPEC R-B05: 20,000 events and 32 MiB of inputs, whatever a proposer put into it."""
    for poison in (many_events(), large_events()):
        asked = pb.RequestProcessProposal(txs=[poison], height=1, time=stamp(NOW), hash=b"h" * 32)
        assert Peer().handler.process_proposal(asked).status != ACCEPT


def test_two_that_fit_apart_only_are_proposed_one_after_the_other() -> None:
    """SPEC R-B05: what fills a block with another waits for the next; who proposes both is rejected."""
    peer, both = Peer(), [large_events(0, 3), large_events(10, 3)]
    assert all(peer.handler.check_tx(pb.RequestCheckTx(tx=each)).code == OK for each in both)
    request = pb.RequestPrepareProposal(txs=both, max_tx_bytes=1_048_576, height=1, time=stamp(NOW))
    assert list(peer.handler.prepare_proposal(request).txs) == both[:1]
    asked = pb.RequestProcessProposal(txs=both, height=1, time=stamp(NOW), hash=b"h" * 32)
    assert peer.handler.process_proposal(asked).status != ACCEPT
    assert peer.handler.alarms.rejected() == {"block-bytes": 1}


def test_who_asks_where_the_node_is_disturbs_no_block() -> None:
    """SPEC R-N13: an Info between FinalizeBlock and Commit, as by CometBFT's RPC, tells what is committed and takes nothing
    back."""
    peer = Peer()
    tx = encode_transaction(bytes(8), [framing.encode(signed(event(7), member="mz"))])
    before = peer.handler.info(pb.RequestInfo())
    decided = peer.handler.finalize_block(pb.RequestFinalizeBlock(txs=[tx], height=1, time=stamp(NOW), hash=b"h" * 32))
    assert peer.handler.info(pb.RequestInfo()) == before
    peer.handler.commit(pb.RequestCommit())
    after = peer.handler.info(pb.RequestInfo())
    assert (after.last_block_height, after.last_block_app_hash) == (1, decided.app_hash)


def test_what_is_kept_is_counted_as_it_lies_in_memory() -> None:
    """A few kilobytes that stand for megabytes take as much of the cache as they fill."""
    cache = Transactions()
    for number in range(12):
        cache.get(large_events(10 * number, 3))
    kept = [parsed.size for _, parsed in cache._known.values()]
    assert 0 < sum(kept) <= CACHE_BYTES_MAX


def test_a_proposal_is_bounded_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a proposer puts into a block is expanded only as far as a block goes."""
    peer, seen = Peer(), list[int]()
    read = peer.handler.transactions.get

    def get(data: bytes) -> Transaction:
        parsed = read(data)
        seen.append(parsed.size)
        return parsed

    monkeypatch.setattr(peer.handler.transactions, "get", get)
    parts = [large_events(10 * number, 3) for number in range(12)]
    asked = pb.RequestProcessProposal(txs=parts, height=1, time=stamp(NOW), hash=b"h" * 32)
    assert peer.handler.process_proposal(asked).status != ACCEPT
    assert len(seen) == 2


@pytest.mark.parametrize("when", [START_MS - 2 * EVENT_PAST_MAX_MS, START_MS + 50 * 365 * 86_400_000])
def test_what_no_block_will_take_does_not_wait(when: int) -> None:
    """An event of two years ago, or of fifty years ahead, is refused when it comes and when it is asked about again; so is a
    proposal without its bundle."""
    peer = Peer()
    for tx in (
        encode_transaction(bytes(8), [framing.encode(signed(event(1, when=when)))]),
        encode_transaction(bytes(8), [framing.encode(proposal({"2027.json": b"{}"}, 2)[0])]),
    ):
        assert peer.handler.check_tx(pb.RequestCheckTx(tx=tx)).code != OK
        assert peer.handler.check_tx(pb.RequestCheckTx(tx=tx, type=RECHECK)).code != OK


def test_a_bundle_is_as_large_as_it_travels() -> None:
    """SPEC R-U01: lines of text that are over 4 MiB once escaped are no bundle; none is ordered that nobody reads."""
    with pytest.raises(MalformedError):
        encode_bundle({"2027.txt": b"2027-01-01\n\n\n\n\n\n\n\n" * 225_000})
