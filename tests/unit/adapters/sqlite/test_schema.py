"""Schema, connections and the lock: what is ours is opened, everything else is refused with a reason."""

from __future__ import annotations

import sqlite3

import pytest

from ledger.adapters.sqlite import query, schema
from ledger.adapters.sqlite.buckets import load_map
from ledger.adapters.sqlite.lock import DataDirLock
from ledger.adapters.sqlite.reader import SqliteReader
from ledger.adapters.sqlite.store import SqliteStore
from ledger.errors import ConflictError, FatalError, NotFoundError, UnavailableError
from tests.models.accept_all import Network


@pytest.fixture
def path(tmp_path):
    """An empty store's file, closed."""
    SqliteStore.create(tmp_path / "ledger.sqlite").close()
    return tmp_path / "ledger.sqlite"


def execute(path, statement):
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_migrations_are_recorded_once(path):
    """Opening again applies nothing twice, and the file says which schema it has."""
    SqliteStore.open(path).close()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM _sqlite_migrations").fetchall() == [
        ("0001-tables",),
        ("0002-native",),
        ("0003-bucket-changes",),
    ]
    assert connection.execute("PRAGMA user_version").fetchone() == (schema.SCHEMA_VERSION,)
    assert connection.execute("PRAGMA application_id").fetchone() == (schema.APPLICATION_ID,)
    tables = connection.execute(
        "SELECT name, strict FROM pragma_table_list WHERE schema='main' AND type='table'"
    ).fetchall()
    assert {name for name, strict in tables if not strict} == {"sqlite_schema", "_sqlite_migrations"}
    connection.close()


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_file_is_brought_up(path, tmp_path, version):
    """A file of an earlier version, with a block in it, gets what it lacks from the writer; readers wait for that."""
    (tmp_path / "other").mkdir()
    network = Network(SqliteStore.create(tmp_path / "other" / "ledger.sqlite"))
    sealed = network.block([network.submission("ga", [network.event()])])
    network.store.close()
    old = tmp_path / "other" / "ledger.sqlite"
    for index, packed in sealed.buckets.items():  # as those versions wrote them
        execute(old, f"INSERT OR REPLACE INTO buckets VALUES ({index}, X'{packed.hex()}')")
    for made_by, statement in (
        (3, "DROP TABLE bucket_changes"),
        (3, "DELETE FROM _sqlite_migrations WHERE name = '0003-bucket-changes'"),
        (2, "DROP TABLE native"),
        (2, "DELETE FROM _sqlite_migrations WHERE name = '0002-native'"),
    ):
        if made_by > version:
            execute(old, statement)
    execute(old, f"PRAGMA user_version={version}")
    with pytest.raises(FatalError) as caught:
        SqliteReader(old)
    assert caught.value.code == "schema-older"
    network.reopen(lambda: SqliteStore.open(old))
    assert network.store.load_head().size == sealed.size
    network.store.write_native(sealed.size, b"a native commit")
    root = network.block([network.submission("ga", [network.event()])]).header.state_root
    network.store.close()
    reader = SqliteReader(old)
    with reader.snapshot() as snap:
        assert snap.natives.latest() == (sealed.size, b"a native commit")
        assert snap.head_height == 2
        assert load_map(snap.connection).tree.root() == root
    reader.close()
    SqliteStore.open(path).close()
    shapes = []
    for file in (old, path):
        connection = sqlite3.connect(file)
        shapes.append(sorted(connection.execute("SELECT type, name, sql FROM sqlite_schema").fetchall()))
        shapes.append(connection.execute("PRAGMA user_version").fetchall())
        connection.close()
    assert shapes[:2] == shapes[2:]


def test_a_newer_schema_is_refused(path):
    """A file of a later version is opened neither for writing nor for reading, and is left unchanged."""
    execute(path, f"PRAGMA user_version={schema.SCHEMA_VERSION + 1}")
    before = path.read_bytes()
    for opening in (SqliteStore.open, SqliteReader):
        with pytest.raises(FatalError) as caught:
            opening(path)
        assert caught.value.code == "schema-newer"
    assert path.read_bytes() == before


def test_a_foreign_file_is_refused(path, tmp_path):
    """Another program's database, and what is no database at all, are refused."""
    execute(path, "PRAGMA application_id=1")
    for opening in (SqliteStore.open, SqliteReader):
        with pytest.raises(FatalError) as caught:
            opening(path)
        assert caught.value.code == "schema-foreign"
    other = tmp_path / "text"
    other.write_bytes(b"not a database " * 100)
    with pytest.raises(FatalError):
        SqliteStore.open(other)
    with pytest.raises(FatalError):
        SqliteReader(other)


def test_a_reader_does_not_migrate(tmp_path):
    """A file without our schema is not for readers, who never write."""
    empty = tmp_path / "ledger.sqlite"
    sqlite3.connect(empty).close()
    empty.touch()
    with pytest.raises(FatalError) as caught:
        SqliteReader(empty)
    assert caught.value.code == "schema-older"


def test_create_and_open_do_not_replace_each_other(path, tmp_path):
    """`create` refuses a file that is there, `open` one that is not."""
    with pytest.raises(ConflictError):
        SqliteStore.create(path)
    with pytest.raises(NotFoundError):
        SqliteStore.open(tmp_path / "other.sqlite")


def test_the_writer_is_durable_and_distrustful(path):
    """The writing connection keeps WAL and FULL; both connections distrust the schema, and readers cannot write."""
    store = SqliteStore.open(path)
    settings = {
        name: store._connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "trusted_schema", "foreign_keys", "cell_size_check")
    }
    assert settings == {
        "journal_mode": "wal", "synchronous": 2, "trusted_schema": 0, "foreign_keys": 1, "cell_size_check": 1
    }  # fmt: skip
    connection = schema.connect_reader(path)
    assert connection.execute("PRAGMA trusted_schema").fetchone() == (0,)
    with pytest.raises(sqlite3.OperationalError):
        connection.execute("INSERT INTO timers VALUES ('a', 1)")
    connection.close()
    store.close()


def test_one_writer(path):
    """A second writer is refused with the holder's pid until the first lets go; a failed opening lets go too."""
    import os

    first = SqliteStore.open(path)
    with pytest.raises(UnavailableError) as caught:
        SqliteStore.open(path)
    assert (caught.value.code, caught.value.evidence["pid"]) == ("data-dir-locked", str(os.getpid()))
    first.close()
    execute(path, f"PRAGMA user_version={schema.SCHEMA_VERSION + 1}")
    for _ in range(2):
        with pytest.raises(FatalError):
            SqliteStore.open(path)
    lock = DataDirLock(path.parent)
    lock.close()
    lock.close()


def test_columns_of_another_type_are_damage():
    """A row whose column has another type than the caller expects is refused, not computed with."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (a, b)")
    connection.execute("INSERT INTO t VALUES (1, 'x')")
    assert query.row(connection, "SELECT a, b FROM t", (), (int, str)) == (1, "x")
    assert query.row(connection, "SELECT a, b FROM t WHERE a=2", (), (int, str)) is None
    assert query.value(connection, "SELECT b FROM t", (), str) == "x"
    assert query.value(connection, "SELECT b FROM t WHERE a=?", (2,), str) is None
    assert query.row(connection, "SELECT a, b FROM t", (), (object, str)) == (1, "x")
    for types in ((str, str), (int, bytes)):
        with pytest.raises(FatalError):
            query.row(connection, "SELECT a, b FROM t", (), types)
    connection.close()


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 63, 64, 300, 1_000])
def test_many_keys_are_found_once(count):
    """`select_in` finds each key once, whatever their number."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (k INTEGER PRIMARY KEY)")
    connection.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(0, 2_000, 2)])
    found = query.select_in(connection, "SELECT k FROM t WHERE k IN ({})", list(range(count)), (int,))
    assert sorted(found) == [(n,) for n in range(0, count, 2)]
    connection.close()
