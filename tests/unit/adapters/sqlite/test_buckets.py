"""Buckets on disk: blocks write what changed in them, some are written whole, and everybody reads the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.adapters.sqlite import buckets as tables
from ledger.adapters.sqlite.buckets import load_map, read_bucket
from ledger.adapters.sqlite.reader import SqliteReader
from ledger.adapters.sqlite.store import SqliteStore
from ledger.core.buckets import PAIR_BYTES
from ledger.errors import FatalError
from tests.models.accept_all import Network

OBJECTS = 400  # some thirty buckets


def one(store: SqliteStore, sql: str) -> int:
    """The number that a query of the writer's gives."""
    return int(store._connection.execute(sql).fetchone()[0])


def history(network: Network, blocks: int) -> Iterator[dict[int, bytes]]:
    """The buckets after each block: many objects, then a few of them again and again, and some that are new."""
    contents: dict[int, bytes] = {}
    for height in range(blocks):
        names = range(OBJECTS) if height == 0 else [height % 3, 7 * height % OBJECTS, OBJECTS + height]
        writes = {f"use/ga/{name}": {"n": height} for name in names}
        sealed = network.block([network.submission("ga", [network.event(writes=writes)])])
        contents.update(sealed.buckets)
        yield contents


@pytest.mark.parametrize(
    ("count", "size"), [(tables.CHANGED_MAX, tables.CHANGED_BYTES_MAX), (3, 2 * PAIR_BYTES), (0, PAIR_BYTES), (9, 0)]
)
def test_every_bucket_reads_as_it_was_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, size: int
) -> None:
    """With any bounds the writer, a reader and a writer that opened again see each bucket whole after every block."""
    monkeypatch.setattr(tables, "CHANGED_MAX", count)
    monkeypatch.setattr(tables, "CHANGED_BYTES_MAX", size)
    monkeypatch.setattr(tables, "BUCKETS_CACHED", 2)  # so that what is written whole is read first
    path = tmp_path / "ledger.sqlite"
    network = Network(SqliteStore.create(path))
    reader = SqliteReader(path)
    waiting = set()
    for height, contents in enumerate(history(network, 24)):
        store = network.store
        assert isinstance(store, SqliteStore)
        assert dict(zip(contents, store.read_buckets(list(contents)), strict=True)) == contents
        with reader.snapshot() as snap:
            assert {index: snap.bucket(index) for index in contents} == contents
        rows = store._connection.execute("SELECT length(pairs) FROM bucket_changes").fetchall()
        assert len(rows) <= count
        assert all(length <= size for (length,) in rows)
        waiting.add(len(rows))
        if height % 7 == 6:
            store.close()
            network.reopen(lambda: SqliteStore.open(path))
    reader.close()
    assert max(waiting) == min(count, max(waiting)) and (max(waiting) > 0) is (min(count, size) > 0)
    network.store.close()


def test_a_touched_bucket_costs_its_changes(tmp_path: Path) -> None:
    """A block over known keys leaves the rows of whole buckets alone; what it wrote is the pairs."""
    network = Network(SqliteStore.create(tmp_path / "ledger.sqlite"))
    for _ in history(network, 1):
        pass
    store = network.store
    assert isinstance(store, SqliteStore)
    statements: list[str] = []
    store._connection.set_trace_callback(statements.append)
    writes = {"use/ga/1": {"n": 5}, "use/ga/2": {"n": 6}}
    sealed = network.block([network.submission("ga", [network.event(writes=writes)])])
    store._connection.set_trace_callback(None)
    assert sealed.changed and not any("INTO buckets" in statement for statement in statements)
    assert sum("INTO bucket_changes" in statement for statement in statements) == len(sealed.buckets)
    assert one(store, "SELECT sum(length(pairs)) FROM bucket_changes") == PAIR_BYTES * len(sealed.rows)
    store.close()


def test_a_new_key_is_known_without_reading(tmp_path: Path) -> None:
    """Of keys that were never written, nearly all are known to be new from memory; the others cost their bucket."""
    path = tmp_path / "ledger.sqlite"
    network = Network(SqliteStore.create(path))
    for _ in history(network, 1):
        pass
    network.store.close()
    network.reopen(lambda: SqliteStore.open(path))
    store = network.store
    assert isinstance(store, SqliteStore)
    statements: list[str] = []
    store._connection.set_trace_callback(statements.append)
    silent = 0
    for number in range(200):
        before = len(statements)
        assert store.read_objects([f"use/mz/{number}"]) == {}
        silent += len(statements) == before
    store._connection.set_trace_callback(None)
    assert silent > 150
    assert not any("names" in statement for statement in statements)
    store.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE bucket_changes SET pairs = zeroblob(length(pairs))",
        "UPDATE bucket_changes SET pairs = substr(pairs, 2)",
        "UPDATE bucket_changes SET i = i + 1000000",
        "UPDATE bucket_changes SET i = -i - 1",
        "INSERT INTO bucket_changes VALUES (1000000, zeroblob(64))",
        "DELETE FROM bucket_changes",
    ],
)
def test_damaged_changes_are_found(tmp_path: Path, statement: str) -> None:
    """What stands beside a bucket is as much under its hash as the bucket is."""
    path = tmp_path / "ledger.sqlite"
    network = Network(SqliteStore.create(path))
    for _ in history(network, 3):
        pass
    store = network.store
    assert isinstance(store, SqliteStore)
    connection = store._connection
    index, packed = connection.execute("SELECT i, pairs FROM bucket_changes").fetchone()
    assert packed in read_bucket(connection, index)
    assert load_map(connection).tree.size > 1
    connection.execute(statement)
    with pytest.raises(FatalError):
        store.load_head()
    store.close()
