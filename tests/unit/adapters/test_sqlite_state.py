"""The state map's caches: what was looked for and is not there is not looked for again, until it is written."""

from __future__ import annotations

from pathlib import Path

from ledger.adapters.sqlite.store import SqliteStore
from tests.models.accept_all import Network

KEY = "use/ga/none"


def asked(store: SqliteStore) -> int:
    """How many statements reading `KEY` takes."""
    statements: list[str] = []
    store._connection.set_trace_callback(statements.append)
    found = store.read_objects([KEY])
    store._connection.set_trace_callback(None)
    assert bool(found) is store_holds(store)
    return sum("FROM names" in statement for statement in statements)


def store_holds(store: SqliteStore) -> bool:
    """Whether the tables hold `KEY`, deleted objects aside."""
    rows = store._connection.execute("SELECT count(*) FROM names WHERE instr(key, ?)", (b"ga/none",)).fetchone()
    return bool(rows[0])


def test_an_absent_key_is_looked_for_once(tmp_path: Path) -> None:
    """The second look at an absent key asks no table; once a block has written the key it is found, also when reopened."""
    path = tmp_path / "ledger.sqlite"
    store = SqliteStore.create(path)
    network = Network(store)
    assert [asked(store), asked(store)] == [1, 0]
    network.block([network.submission("ga", [network.event(writes={KEY: {"n": 1}})])], ms=1_000)
    assert asked(store) == 0
    assert store.read_objects([KEY]) == {KEY: b'{"n":1}'}
    store.close()
    again = SqliteStore.open(path)
    again.load_head()
    again.load_tree()
    assert [asked(again), asked(again)] == [1, 0]
    again.close()
