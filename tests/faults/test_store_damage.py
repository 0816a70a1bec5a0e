"""A flipped or missing byte in a stored ledger is refused at the start, found by the scrub, or provably meaningless."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from ledger.adapters.sqlite.reader import SqliteReader
from ledger.adapters.sqlite.scrub import scrub
from ledger.adapters.sqlite.snapshot import Snapshot
from ledger.adapters.sqlite.store import SqliteStore
from ledger.core.checkpoint import app_hash
from ledger.core.mapkeys import stream_key
from ledger.errors import FatalError, LedgerError
from tests.models.accept_all import BUNDLES, Network
from tests.models.native_commits import consensus_signer, make_commit
from tests.models.store_model import StoreModel

PAGE = 4096


def make_ledger(folder: Path) -> Network:
    """A small ledger that uses every table; closed, so that all of it stands in one file."""
    network = Network(SqliteStore.create(folder / "ledger.sqlite"), seed=11)
    earlier = [network.event(refs={"dataset": "ga/d1"}, timers={"timer/t/use/ga/1": network.time + 3_500})]
    network.block([network.submission("ga", earlier)])
    for n in range(4):
        events = [
            network.event(
                refs={"dataset": f"ga/d{k % 2}"},
                writes={f"use/ga/{k % 7}": {"n": n} if k % 5 else None},
                refuse=k % 9 == 0,
            )
            for k in range(140)
        ]
        network.block([network.submission("ga", [*events, *earlier]), network.submission("gx", [network.event()])])
        earlier = events[:2]
    network.block([network.submission("ga", [network.event(timers={"timer/t/use/ga/2": network.time + 10**6})])])
    network.block([network.submission("mz", [network.event(event_id=network.submissions[-1][0].events[0].id)])])
    network.block()
    for sealed, note in zip(network.sealed[2:5], network.notes[2:5], strict=True):
        network.store.write_certificates([(sealed.size, note)])
    for sealed in network.sealed[1:4]:
        native = make_commit("suyuan-chain", app_hash(sealed.size, sealed.root), [consensus_signer("ga")])
        network.store.write_native(sealed.size, native.encode())
    network.store.close()
    return network


def dump(snap: Snapshot, model: StoreModel) -> Any:
    """Everything that the reader can be asked for."""
    heights = range(snap.head_height + 1)
    return [
        snap.head_size,
        snap.genesis(),
        [snap.bundle(digest) for digest in BUNDLES],
        [snap.block(height) for height in heights],
        [snap.block_leaves(height) for height in heights],
        [snap.submissions(height) for height in heights],
        [snap.attachments(height) for height in heights],
        snap.leaves(range(snap.head_size)),
        snap.rows_with_prefix(b"", None, 10_000),
        [snap.stream_seqs(key, 0, len(seqs)) for key, seqs in model.stream_seqs.items()],
        [snap.stream_nodes(key, [(0, 0)]) for key in model.stream_seqs],
        [snap.find_event(*name) for name in model.event_seqs],
        [snap.bucket(index) for index in range(40)],
        [snap.root_at(size) for size in range(snap.head_size + 1)],
        snap.timers(None, 1_000),
        [snap.certificates.of(size) for size in range(snap.head_size + 1)],
        [snap.natives.of(size) for size in range(snap.head_size + 1)],
    ]


class Ledger:
    """The bytes of a small ledger and what it answers."""

    def __init__(self, folder: Path) -> None:
        network = make_ledger(folder)
        self.roots = {sealed.height: sealed.root for sealed in network.sealed}
        self.model = StoreModel(network.sealed)
        self.head = network.app.head
        self.data = (folder / "ledger.sqlite").read_bytes()
        found, self.expected = self.ask(folder / "ledger.sqlite")
        assert found == []

    def ask(self, path: Path) -> tuple[list[LedgerError], Any]:
        """What scrub finds, and the dump (None where reading it raised)."""
        reader = SqliteReader(path)
        try:
            with reader.snapshot() as snap:
                found = list(scrub(snap))
            with reader.snapshot() as snap:
                return found, dump(snap, self.model)
        except LedgerError as error:
            return [*found, error], None
        finally:
            reader.close()

    def judge(self, folder: Path, data: bytes) -> str:
        """`refused` at the start, `found` by the scrub, or `meaningless`: every answer is as before."""
        path = folder / "ledger.sqlite"
        path.write_bytes(data)
        try:
            store = SqliteStore.open(path)
            try:
                head = store.load_head()
                store.load_tree()
            finally:
                store.close()
        except FatalError:
            return "refused"
        finally:
            for name in ("ledger.sqlite-wal", "ledger.sqlite-shm"):
                (folder / name).unlink(missing_ok=True)
        path.write_bytes(data)
        assert head == self.head, "another head is taken for true"
        found, answers = self.ask(path)
        if found:
            return "found"
        assert answers == self.expected, "a changed answer is taken for true"
        return "meaningless"


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """The small ledger, made once."""
    return Ledger(tmp_path_factory.mktemp("whole"))


def flipped(data: bytes, at: int, mask: int) -> bytes:
    return data[:at] + bytes((data[at] ^ mask,)) + data[at + 1 :]


def try_flips(ledger: Ledger, folder: Path, places: list[int], chance: random.Random) -> dict[str, int]:
    counts = {"refused": 0, "found": 0, "meaningless": 0}
    for at in places:
        mask = 1 << chance.randrange(8)
        try:
            counts[ledger.judge(folder, flipped(ledger.data, at, mask))] += 1
        except BaseException as error:
            error.add_note(f"byte {at} (page {at // PAGE + 1}, offset {at % PAGE}) with mask {mask:#x}")
            raise
    return counts


@pytest.mark.slow
def test_flipped_bytes(ledger, tmp_path):
    """Any flipped byte in use is refused or found, or no answer changes; most of them matter."""
    chance = random.Random(5)
    used = [at for at, byte in enumerate(ledger.data) if byte]
    counts = try_flips(ledger, tmp_path, chance.sample(used, 200), chance)
    assert counts["refused"] + counts["found"] > 120, counts


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_every_byte(ledger, tmp_path):
    """Every byte of the file, one flipped bit each."""
    chance = random.Random(6)
    print(try_flips(ledger, tmp_path, list(range(len(ledger.data))), chance))


@pytest.mark.slow
def test_shortened_files(ledger, tmp_path):
    """A file cut at any page is refused or found, or nothing but free space is missing."""
    for size in range(0, len(ledger.data), 5 * PAGE):
        if size == 0:
            continue  # an empty file is an empty store, which the node's own state refuses
        assert ledger.judge(tmp_path, ledger.data[:size]) in ("refused", "found"), size


@pytest.mark.slow
def test_a_lost_page(ledger, tmp_path):
    """A page of zeros, or a page that stands where another was, is refused or found."""
    pages = len(ledger.data) // PAGE
    chance = random.Random(3)
    for number in chance.sample(range(pages), min(pages, 30)):
        start = number * PAGE
        page = ledger.data[start : start + PAGE]
        other = chance.randrange(pages) * PAGE
        for new in (bytes(PAGE), ledger.data[other : other + PAGE]):
            if new != page:
                data = ledger.data[:start] + new + ledger.data[start + PAGE :]
                judged = ledger.judge(tmp_path, data)
                assert judged in ("refused", "found", "meaningless")


@pytest.mark.slow
def test_flipped_bytes_in_the_log(ledger, tmp_path):
    """A flipped byte in SQLite's write-ahead log leaves an earlier head or the same one, never another content."""
    path = tmp_path / "ledger.sqlite"
    network = Network(SqliteStore.create(path), seed=11)
    for n in range(5):
        network.block([network.submission("ga", [network.event(writes={f"use/ga/{n}": {"n": n}})])])
    image = tmp_path / "image"
    image.mkdir()
    files = {name: (tmp_path / name).read_bytes() for name in ("ledger.sqlite", "ledger.sqlite-wal")}
    roots = {sealed.height: sealed.root for sealed in network.sealed}
    network.store.close()
    chance = random.Random(9)
    log = files["ledger.sqlite-wal"]
    for _ in range(60):
        (image / "ledger.sqlite").write_bytes(files["ledger.sqlite"])
        damaged = flipped(log, chance.randrange(len(log)), 1 << chance.randrange(8))
        (image / "ledger.sqlite-wal").write_bytes(damaged)
        (image / "ledger.sqlite-shm").unlink(missing_ok=True)
        store = SqliteStore.open(image / "ledger.sqlite")
        try:
            head = store.load_head()
        except FatalError:
            continue
        finally:
            store.close()
        assert head is None or head.log.root() == roots[head.height]


def test_an_older_backup_is_an_earlier_head(tmp_path):
    """An older copy opens at its own head: nothing in it says that there was more, so the signer's state has to."""
    path = tmp_path / "ledger.sqlite"
    network = Network(SqliteStore.create(path))
    first = network.block([network.submission("ga", [network.event()])])
    network.store.close()
    shutil.copy(path, tmp_path / "backup")
    network.reopen(lambda: SqliteStore.open(path))
    network.block([network.submission("ga", [network.event()])])
    network.store.close()
    shutil.copy(tmp_path / "backup", path)
    store = SqliteStore.open(path)
    head = store.load_head()
    assert (head.height, head.log.root()) == (first.height, first.root)
    store.close()


def test_a_flipped_value_never_reaches_the_rules(tmp_path):
    """A state row or bucket that changed on disk after the start is refused when it is read."""
    path = tmp_path / "ledger.sqlite"
    network = Network(SqliteStore.create(path))
    network.block([network.submission("ga", [network.event(writes={f"use/ga/{n}": {"n": n}}) for n in range(50)])])
    network.store.close()
    for statement, read in (
        (
            "UPDATE state SET value = CAST(replace(value, '}', '{') AS BLOB)",
            "objects",
        ),
        ("DELETE FROM state", "objects"),
        ("DELETE FROM names", "objects"),
        ("DELETE FROM buckets", "buckets"),
        ("UPDATE buckets SET pairs = zeroblob(length(pairs))", "objects"),
        ("UPDATE buckets SET pairs = substr(pairs, 65)", "buckets"),
    ):
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        shutil.copy(path, copy / "ledger.sqlite")
        store = SqliteStore.open(copy / "ledger.sqlite")
        store.load_head()
        store.load_tree()
        store._connection.execute(statement)
        call = store.read_objects if read == "objects" else store.read_buckets
        with pytest.raises(FatalError):
            call([f"use/ga/{n}" for n in range(50)] if read == "objects" else range(3))
        store.close()


def test_a_missing_stream_is_named(tmp_path):
    """Each kind of row that serves look-ups only is missed by the scrub when it is gone, and named."""
    path = tmp_path / "ledger.sqlite"
    make_ledger(tmp_path)
    original = path.read_bytes()
    for statement in (
        "DELETE FROM events WHERE k = (SELECT max(k) FROM events)",
        "UPDATE events SET seq = 1 WHERE k = (SELECT max(k) FROM events)",
        "UPDATE authors SET newest = newest + 1",
        "DELETE FROM timers",
        "UPDATE timers SET due = due + 1",
        "INSERT INTO timers VALUES ('timer/t/use/ga/9', 5)",
        "DELETE FROM stream_seqs WHERE stream = (SELECT max(stream) FROM stream_seqs)",
        "UPDATE stream_seqs SET seqs = X'01'",
        "INSERT INTO stream_seqs VALUES (1, 9, X'01')",
        "INSERT INTO tiles VALUES (999, 1, 0, X'01')",
        "UPDATE tiles SET hashes = zeroblob(length(hashes)) WHERE tree <> 0",
        "DELETE FROM tiles",
        "INSERT INTO tiles VALUES (0, 1, 5, X'00')",
        "UPDATE signers SET member = 'xx'",
        "UPDATE certificates SET size = size + 1",
        "UPDATE native SET size = size + 1",
        "UPDATE native SET data = X'00'",
        "INSERT INTO native SELECT size + 100000, data FROM native",
        "UPDATE meta SET value = zeroblob(10) WHERE name = 'event-index-secret'",
        "UPDATE meta SET value = X'7b7d' WHERE name = 'genesis'",
        "DELETE FROM bundles WHERE rowid = 1",
        "UPDATE bundles SET data = X'7b7d'",
        "DELETE FROM blocks WHERE height = 3",
        "DELETE FROM records WHERE seq = (SELECT min(seq) FROM records)",
        "DELETE FROM bodies WHERE seq = (SELECT min(seq) FROM bodies)",
        "DELETE FROM extras",
        "DELETE FROM meta WHERE name = 'registry'",
        "DELETE FROM names WHERE key = (SELECT max(key) FROM names)",
        "UPDATE names SET key = X'01' WHERE key = (SELECT max(key) FROM names)",
        "DELETE FROM buckets WHERE i = 0",
        "DELETE FROM bucket_changes",
        "UPDATE bucket_changes SET pairs = zeroblob(length(pairs))",
        "INSERT INTO bucket_changes VALUES (999, zeroblob(64))",
        "DELETE FROM state WHERE id = 3",
        "UPDATE buckets SET pairs = zeroblob(length(pairs)) WHERE i = 1",
    ):
        path.write_bytes(original)
        _execute(path, statement)
        reader = SqliteReader(path)
        with reader.snapshot() as snap:
            found = list(scrub(snap))
        reader.close()
        assert found, statement
        assert all(isinstance(error, FatalError) for error in found)


def _execute(path: Path, statement: str) -> None:
    import sqlite3

    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_stream_keys_differ_for_refused():
    """The twin stream of refused records has a key of its own, which the damage tests rely on."""
    assert stream_key("dataset", "ga/d1", True) != stream_key("dataset", "ga/d1", False)
