"""What `SqliteReader` answers equals a plain model of the blocks, for small random histories and for one long one."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import framing
from ledger.adapters.sqlite.reader import Snapshot, SqliteReader
from ledger.adapters.sqlite.scrub import scrub
from ledger.adapters.sqlite.store import SqliteStore
from ledger.core import merkle
from ledger.core.mapkeys import NS_STREAM
from ledger.core.stream import parse_stream_value
from ledger.errors import NotFoundError, UnavailableError
from tests.conformance.test_store import HISTORY, run_history
from tests.models.accept_all import BUNDLES, GENESIS, Network
from tests.models.store_model import StoreModel


@pytest.fixture
def network(tmp_path):
    """A network over a file, and its reader as `network.reader`."""
    network = Network(SqliteStore.create(tmp_path / "ledger.sqlite"))
    network.reader = SqliteReader(tmp_path / "ledger.sqlite")
    yield network
    network.reader.close()
    network.store.close()


def check_blocks(snap: Snapshot, network: Network) -> None:
    """Blocks, leaves, submissions and places."""
    for height, (sealed, submissions, note) in enumerate(
        zip(network.sealed, network.submissions, network.notes, strict=True)
    ):
        block = snap.block(height)
        header = sealed.header
        assert (block.height, block.time, block.first_seq, block.count) == (
            height, header.time, header.first_seq, header.count,
        )  # fmt: skip
        assert (block.size, block.header_leaf, block.note) == (sealed.size, sealed.leaves[-1], note)
        assert snap.block_leaves(height) == sealed.leaves
        assert [framing.parse(framed) for framed in snap.submissions(height)] == submissions
        assert snap.submission_count(height) == len(submissions)
        content = snap.content(height)
        assert (content.block, content.leaves, content.attachments) == (block, sealed.leaves, [])
        assert [
            (stored.member, stored.key_id, stored.signature, stored.count, events)
            for stored, events in content.submissions
        ] == [
            (s.member, s.key_id, s.signature, len(s.events), [(e.head, e.body, None) for e in s.events])
            for s in submissions
        ]
        for number, submission in enumerate(submissions):
            assert snap.submission_of(height, number) == (
                submission.member,
                submission.key_id,
                submission.signature,
                len(submission.events),
                [event.hash for event in submission.events],
            )
        with pytest.raises(NotFoundError):
            snap.submission_of(height, len(submissions))
        assert snap.attachments(height) == []
        for stored, item in zip(snap.leaves(range(header.first_seq, header.index)), sealed.decision.items, strict=True):
            event = item.event
            assert snap.block_of(stored.seq) == block
            if event is None:
                assert (stored.head, stored.body, stored.place) == (None, None, None)
            else:
                assert (stored.head, stored.body, stored.place) == (event.head, event.body, item.place)


def check_log(snap: Snapshot, model: StoreModel, choose: list[int]) -> None:
    """Scattered leaves, leaf hashes and subtree nodes."""
    size = len(model.leaves)
    assert snap.head_size == size
    wanted = [number % size for number in choose]
    assert [stored.leaf for stored in snap.leaves(wanted)] == [model.leaves[seq] for seq in wanted]
    assert [stored.body for stored in snap.leaves(wanted, bodies=False, places=False)] == [None] * len(wanted)
    assert snap.leaf_hashes(wanted) == [model.hashes[seq] for seq in wanted]
    for beyond in (size, size + 300, -1):
        with pytest.raises(NotFoundError):
            snap.leaves([beyond])
        with pytest.raises(NotFoundError):
            snap.leaf_hashes([beyond])
        with pytest.raises(NotFoundError):
            snap.block_of(beyond)
    check_nodes(snap.log_nodes, model.hashes, wanted)
    for end in wanted:
        assert snap.root_at(end) == merkle.root(model.hashes[:end])


def check_nodes(read, hashes, choose: list[int]) -> None:
    """Complete subtrees by node; incomplete ones are not known."""
    for number in choose:
        begin, end = sorted((number % (len(hashes) + 1), (number * 7) % (len(hashes) + 1)))
        nodes = merkle.range_nodes(begin, end)
        expected = {
            (level, index): merkle.root(hashes[index << level : (index + 1) << level]) for level, index in nodes
        }
        assert read(nodes) == expected
    level = len(hashes).bit_length()
    with pytest.raises(NotFoundError):
        read([(level, 0)])


def check_state(snap: Snapshot, network: Network, model: StoreModel, choose: list[int]) -> None:
    """Rows, prefixes, streams, events, timers."""
    assert {key: snap.row(key) for key in model.rows} == model.rows
    assert snap.row(b"\x02\x00\x01x\x00\x01y") is None
    for prefix in (b"", b"\x01", b"\x02", b"\x02\x00\x03use", b"\x06", b"\xff"):
        keys = sorted(key for key in model.rows if key.startswith(prefix))
        found: list = []
        after = None
        while page := snap.rows_with_prefix(prefix, after, 3):
            found += page
            after = page[-1][0]
        assert found == [(key, model.rows[key]) for key in keys]
    for key, seqs in model.stream_seqs.items():
        size = parse_stream_value(model.rows[key].value).size
        assert (key[0], size) == (NS_STREAM, len(seqs))
        assert snap.stream_seqs(key, 0, size) == seqs
        for number in choose:
            begin, end = sorted((number % (size + 1), (number * 5) % (size + 1)))
            assert snap.stream_seqs(key, begin, end) == seqs[begin:end]
        with pytest.raises(NotFoundError):
            snap.stream_seqs(key, 0, size + 1)
        check_nodes(lambda nodes, key=key: snap.stream_nodes(key, nodes), [model.hashes[s] for s in seqs], choose)
    with pytest.raises(NotFoundError):
        snap.stream_seqs(b"\x01\x00\x01x\x00\x01y\x00", 0, 1)
    for (member, event_id), seqs in model.event_seqs.items():
        assert snap.find_event(member, event_id) == seqs
        assert snap.find_event("nobody", event_id) == []
    timers = sorted((due, key) for key, due in model.timers.items())
    assert snap.timers(None, 100) == timers
    if timers:
        assert snap.timers(timers[0], 2) == timers[1:3]


def check_everything(network: Network, reader: SqliteReader, choose: list[int]) -> None:
    """All of the above on one snapshot, and no damage found."""
    model = StoreModel(network.sealed)
    with reader.snapshot() as snap:
        assert snap.head_height == len(network.sealed) - 1
        assert (snap.genesis(), snap.origin) == (GENESIS.data, GENESIS.origin)
        assert {digest: snap.bundle(digest) for digest in BUNDLES} == BUNDLES
        check_blocks(snap, network)
        check_log(snap, model, choose)
        check_state(snap, network, model, choose)
        assert list(scrub(snap)) == []


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(history=HISTORY, choose=st.lists(st.integers(0, 10_000), min_size=1, max_size=4))
def test_every_answer_equals_the_model(tmp_path_factory, history, choose):
    """For any small history each function of the reader gives what the blocks say, and the scrub finds nothing."""
    path = tmp_path_factory.mktemp("reader") / "ledger.sqlite"
    network = Network(SqliteStore.create(path))
    reader = SqliteReader(path)
    try:
        run_history(network, history)
        check_everything(network, reader, choose)
    finally:
        reader.close()
        network.store.close()


@pytest.mark.slow
def test_a_long_history(network):
    """Full frames, segments, tiles, stream rows and dictionaries are read back exactly."""
    replayed = []
    for size in (1, 700, 3, 900, 2, 900, 40, 320):
        events = [
            network.event(
                refs={"dataset": f"ga/d{n % 3}"},
                writes={f"use/ga/{n % 90}": {"n": n}},
                text="依申请核验，仅用于本次事项",
            )
            for n in range(size)
        ]
        network.block(
            [network.submission("ga", events[:500]), network.submission("gx", events[500:] or [network.event()])]
        )
        replayed += events[:2]
    network.block([network.submission("ga", [*replayed, network.event()])])
    check_everything(network, network.reader, [0, 1, 255, 256, 257, 511, 512, 700, 1023, 1500, 2047, 2500])


def test_a_snapshot_stays_at_its_head(network):
    """Blocks written after a snapshot began are not in it; the next snapshot has them."""
    network.block([network.submission("ga", [network.event(refs={"dataset": "ga/d1"})])])
    with network.reader.snapshot() as before:
        size = before.head_size
        network.block([network.submission("ga", [network.event(refs={"dataset": "ga/d1"})])])
        assert (before.head_height, before.head_size) == (1, size)
        with pytest.raises(NotFoundError):
            before.block(2)
        with network.reader.snapshot() as after:
            assert after.head_height == 2
            assert after.block(2).size == network.sealed[-1].size
        assert list(scrub(before)) == []


def test_threads_share_a_reader(network):
    """Many threads read while blocks are written, and every snapshot is whole."""
    failures: list[Exception] = []
    stop = threading.Event()

    def read() -> None:
        try:
            while not stop.is_set():
                with network.reader.snapshot() as snap:
                    assert snap.root_at(snap.head_size) == merkle.root(snap.leaf_hashes(range(snap.head_size)))
        except Exception as error:  # noqa: BLE001 - whatever it is, the main thread has to see it
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(30):
        network.block([network.submission("ga", [network.event() for _ in range(5)])])
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []


def test_certificates_by_size(network):
    """The smallest certified size at or above one, and the largest of all."""
    with network.reader.snapshot() as snap:
        assert snap.certificates.least(0) is None
        assert snap.certificates.latest() is None
    sizes = [network.block([network.submission("ga", [network.event()])]).size for _ in range(3)]
    network.store.write_certificates([(sizes[0], b"one")])
    network.store.write_certificates([(sizes[2], b"three")])
    with network.reader.snapshot() as snap:
        assert snap.certificates.least(0) == (sizes[0], b"one")
        assert snap.certificates.least(sizes[0] + 1) == (sizes[2], b"three")
        assert (snap.certificates.of(sizes[0]), snap.certificates.of(sizes[0] + 1)) == (b"one", None)
        assert snap.certificates.least(sizes[2] + 1) is None
        assert snap.certificates.latest() == (sizes[2], b"three")


def test_native_commits_by_size(network):
    """The one of exactly a size, the next at or above one, and the largest of all."""
    with network.reader.snapshot() as snap:
        assert snap.natives.of(1) is None
        assert snap.natives.least(0) is None
        assert snap.natives.latest() is None
    network.store.write_native(5, b"five")
    network.store.write_native(2, b"two")
    with network.reader.snapshot() as snap:
        assert (snap.natives.of(5), snap.natives.of(2), snap.natives.of(3)) == (b"five", b"two", None)
        assert (snap.natives.least(0), snap.natives.least(3), snap.natives.least(6)) == (
            (2, b"two"),
            (5, b"five"),
            None,
        )
        assert snap.natives.latest() == (5, b"five")


def test_a_closed_reader_opens_no_snapshot(network):
    """After `close`, which may be called twice, a snapshot is refused as unavailable."""
    network.reader.close()
    network.reader.close()
    with pytest.raises(UnavailableError), network.reader.snapshot():
        pass


def test_no_file_is_not_found(tmp_path):
    """A reader of nothing says that nothing is stored there."""
    with pytest.raises(NotFoundError):
        SqliteReader(tmp_path / "ledger.sqlite")


def test_an_empty_store_reads_as_empty(tmp_path):
    """Before genesis there is no head, no leaf and no damage."""
    SqliteStore.create(tmp_path / "ledger.sqlite").close()
    reader = SqliteReader(tmp_path / "ledger.sqlite")
    with reader.snapshot() as snap:
        assert (snap.head_height, snap.head_size) == (-1, 0)
        assert list(scrub(snap)) == []
        with pytest.raises(NotFoundError):
            snap.block(0)
        with pytest.raises(NotFoundError):
            snap.leaves([0])
    reader.close()


def test_a_read_only_copy_can_be_read(network, tmp_path):
    """A closed ledger in a folder that this user may not write is still readable, as on an auditor's medium."""
    network.block([network.submission("ga", [network.event()])])
    network.reader.close()
    network.store.close()
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from ledger.adapters.sqlite.reader import SqliteReader\n"
        "os.geteuid() == 0 and os.setuid(65534)\n"
        "with SqliteReader(Path(sys.argv[1])).snapshot() as snap: print(snap.head_height)"
    )
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copy(tmp_path / "ledger.sqlite", folder)
        Path(copy).chmod(0o444)
        Path(folder).chmod(0o555)
        done = subprocess.run([sys.executable, "-c", code, copy], capture_output=True, text=True, check=False)
        Path(folder).chmod(0o755)
    assert (done.stdout.strip(), done.returncode) == ("1", 0), done.stderr


def test_the_reader_needs_no_sqlite_utils(network, tmp_path):
    """Importing and using the reader loads neither sqlite-utils nor anything of a server."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from ledger.adapters.sqlite.reader import SqliteReader\n"
        "from ledger.adapters.sqlite.scrub import scrub\n"
        "with SqliteReader(Path(sys.argv[1])).snapshot() as snap: list(scrub(snap))\n"
        "print([n for n in ('sqlite_utils', 'click', 'fastapi', 'pluggy', 'ledger.app') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "ledger.sqlite")], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
