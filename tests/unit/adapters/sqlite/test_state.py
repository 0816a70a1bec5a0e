"""The state map's caches: what was looked for and is not there is not looked for again, until it is written."""

from __future__ import annotations

from pathlib import Path

from ledger.adapters.sqlite.store import SqliteStore
from ledger.core.mapkeys import object_key, parse_object_value
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
    """The map says that a key is absent, without it the first look; once written it is found, also when reopened."""
    path = tmp_path / "ledger.sqlite"
    Network(SqliteStore.create(path)).store.close()
    unchecked = SqliteStore.open(path)
    assert [asked(unchecked), asked(unchecked)] == [1, 0]
    unchecked.close()
    path = tmp_path / "other" / "ledger.sqlite"
    path.parent.mkdir()
    store = SqliteStore.create(path)
    network = Network(store)
    assert [asked(store), asked(store)] == [0, 0]
    network.block([network.submission("ga", [network.event(writes={KEY: {"n": 1}})])], ms=1_000)
    assert asked(store) == 0
    assert store.read_objects([KEY]) == {KEY: b'{"n":1}'}
    store.close()
    again = SqliteStore.open(path)
    again.load_head()
    again.load_tree()
    assert [asked(again), asked(again)] == [1, 0]
    again.close()


def test_a_written_object_is_read_as_it_was_written_last(tmp_path: Path) -> None:
    """What is kept by name follows every block: written, written again in one block, deleted, and written once more."""
    path = tmp_path / "ledger.sqlite"
    network = Network(SqliteStore.create(path))
    assert network.store.read_objects([KEY]) == {}
    for value in ({"n": 1}, {"n": 2}, None, {"n": 3}):
        first = network.event(writes={KEY: {"n": 0}})
        last = network.event(writes={KEY: value})
        network.block([network.submission("ga", [first, last])])
        expected = {} if value is None else {KEY: b'{"n":%d}' % value["n"]}
        assert network.store.read_objects([KEY]) == expected
        rows = network.store.read_rows([object_key(KEY)])
        assert (parse_object_value(rows[object_key(KEY)].value)[1] if value else b"") == expected.get(KEY, b"")
    network.store.close()


def test_before_the_next_timer_no_table_is_asked(tmp_path: Path) -> None:
    """Whether a timer is due is asked several times a block: while none can be, no statement runs."""
    network = Network(SqliteStore.create(tmp_path / "ledger.sqlite"))
    due = network.time + 10_000
    network.block([network.submission("ga", [network.event(timers={"timer/t1/use/ga/1": due})])])
    assert network.store.due_timers(due - 1, 10) == []
    statements: list[str] = []
    network.store._connection.set_trace_callback(statements.append)
    assert network.store.due_timers(due - 1, 10) == []
    assert statements == []
    assert network.store.due_timers(due, 10) == [(due, "timer/t1/use/ga/1")]
    assert statements
    network.store.close()
