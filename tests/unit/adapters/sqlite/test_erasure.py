"""An erased body is gone from the file, its hash stays, and everything else reads and checks as before."""

from __future__ import annotations

import pytest

from ledger.adapters.sqlite.reader import SqliteReader
from ledger.adapters.sqlite.scrub import scrub
from ledger.adapters.sqlite.store import SqliteStore
from ledger.core.hashing import sha256
from ledger.errors import NotFoundError, UnavailableError
from tests.models.accept_all import Network


@pytest.fixture
def network(tmp_path):
    """Three blocks; the third holds an event of the first once more. Log indexes 1 to 40 are records of block 1."""
    network = Network(SqliteStore.create(tmp_path / "ledger.sqlite"))
    network.path = tmp_path / "ledger.sqlite"
    first = [network.event(text=network.random.randbytes(40).hex(), timers={"timer/t/a/b": network.time + 1_500})]
    first += [network.event(text=network.random.randbytes(40).hex()) for _ in range(39)]
    network.block([network.submission("ga", first)])
    network.block()
    network.block([network.submission("ga", [first[0], network.event(), first[7]])])
    yield network
    network.store.close()


def segments(store) -> list[bytes]:
    return [data for (data,) in store._connection.execute("SELECT data FROM bodies UNION SELECT data FROM extras")]


def test_what_stays_and_what_goes(network):
    """Only the erased body is missing; heads, records, roots, receipts' parts and the other bodies stand."""
    events = network.submissions[1][0].events
    assert network.store.erase_bodies([8, 1, 8]) == 2
    reader = SqliteReader(network.path)
    with reader.snapshot() as snap:
        assert list(scrub(snap)) == []
        for seq, event in enumerate(events, 1):
            (leaf,) = snap.leaves([seq])
            gone = seq in (1, 8)
            assert (leaf.head, leaf.body) == (event.head, None if gone else event.body)
            assert leaf.body_hash == (sha256(event.body) if gone else None)
        for height, number in ((1, 0), (3, 0)):
            with pytest.raises(NotFoundError) as caught:
                snap.submissions(height)
            assert caught.value.code == "body-archived"
            submission = network.submissions[height][number]
            assert snap.submission_of(height, number)[4] == [event.hash for event in submission.events]
            ((_, found),) = snap.content(height).submissions
            for parts, event in zip(found, submission.events, strict=True):
                gone = event in (events[0], events[7])
                expected = (event.head, None, sha256(event.body)) if gone else (event.head, event.body, None)
                assert parts == expected
        assert snap.root_at(snap.head_size) == network.sealed[-1].root
    reader.close()


def test_the_bytes_are_overwritten(network):
    """The frames that held an erased body stand nowhere in the file or the log any more."""
    before = segments(network.store)
    network.store.erase_bodies([1])
    after = segments(network.store)
    gone = [data for data in before if data not in after]
    assert len(gone) == 2  # the body itself and its copy
    network.store.close()
    data = network.path.read_bytes()
    assert not network.path.with_name("ledger.sqlite-wal").exists()
    for segment in gone:
        assert segment[4:60] not in data
    assert any(segment[4:60] in data for segment in after)


def test_what_is_no_record(network):
    """A header, a timer or an index beyond the log is refused, nothing is erased and the store goes on."""
    timer = network.sealed[2].header.first_seq
    before = segments(network.store)
    for seq in (0, timer, 41, 10**6, -1):
        with pytest.raises(NotFoundError):
            network.store.erase_bodies([1, seq])
    assert segments(network.store) == before
    assert network.store.erase_bodies([]) == 0
    network.block([network.submission("ga", [network.event()])])


def test_erasing_twice(network):
    """A body that is gone already is left alone, and the ledger can be written and opened on."""
    assert network.store.erase_bodies([3]) == 1
    assert network.store.erase_bodies([3, 4]) == 1
    network.store.close()
    network.reopen(lambda: SqliteStore.open(network.path))
    network.block([network.submission("ga", [network.event(), network.submissions[1][0].events[2]])])
    assert network.store.find_events([("ga", network.submissions[1][0].events[2].id)])
    network.store.close()
    with pytest.raises(UnavailableError):
        network.store.erase_bodies([5])
