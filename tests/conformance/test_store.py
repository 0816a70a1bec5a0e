"""What every `Store` does, tried on each adapter: the same blocks in, the same answers out, also after opening again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.adapters.memory import MemoryStore
from ledger.adapters.sqlite.reader import SqliteReader
from ledger.adapters.sqlite.store import SqliteStore
from ledger.core.buckets import bucket_leaf_hash
from ledger.core.hashing import sha256
from ledger.core.mapkeys import object_key, parse_object_value, stream_key
from ledger.core.maptree import MapTree
from ledger.errors import FatalError, NotFoundError, UnavailableError
from ledger.machine.block import Sealed
from ledger.machine.seal import seal_genesis
from ledger.ports import Store
from tests.models.accept_all import BUNDLES, GENESIS, MEMBERS, Network, genesis_config
from tests.models.store_model import StoreModel

# The test of the base class runs once for each adapter, which is the point.
SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors, HealthCheck.too_slow]

HISTORY = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from(MEMBERS),
            st.lists(
                st.fixed_dictionaries(
                    {
                        "again": st.sampled_from(["", "", "", "same", "conflict"]),
                        "dataset": st.integers(0, 2),
                        "object": st.sampled_from([None, "set", "delete"]),
                        "timer": st.sampled_from([None, 0, 1_500, 90_000, "clear"]),
                        "refuse": st.booleans(),
                        "extra": st.booleans(),
                    }
                ),
                min_size=1,
                max_size=5,
            ),
        ),
        max_size=3,
    ),
    min_size=1,
    max_size=6,
)


def run_history(network: Network, history: list[Any]) -> None:
    """Commit one block for each entry; events may repeat or contradict earlier ones of their member."""
    earlier: dict[str, list[Any]] = {member: [] for member in MEMBERS}
    for block in history:
        submissions = []
        for member, wanted in block:
            events: list[Any] = []
            for entry in wanted:
                known = earlier[member]
                if entry["again"] == "same" and known:
                    event = known[entry["dataset"] % len(known)]
                else:
                    content = _content(network, entry)
                    event_id = known[-1].id if entry["again"] == "conflict" and known else None
                    event = network.event(refs={"dataset": f"ga/d{entry['dataset']}"}, event_id=event_id, **content)
                events.append(event)
                known.append(event)
            submissions.append(network.submission(member, events))
        network.block(submissions, ms=1_000)


def _content(network: Network, entry: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {"refuse": entry["refuse"]}
    key = f"use/ga/{entry['dataset']}"
    if entry["object"]:
        content["writes"] = {key: {"n": network.time} if entry["object"] == "set" else None}
    timer = entry["timer"]
    if timer is not None:
        content["timers"] = {f"timer/t1/{key}": None if timer == "clear" else network.time + timer}
    if entry["extra"]:
        content["streams"] = [["finding", "d809/39-4"]]
    return content


class StoreConformance:
    """Every test of a `Store`; a subclass says how one is made and opened again."""

    @pytest.fixture
    def stores(self, tmp_path: Path) -> Iterator[Any]:
        opener = self.opener(tmp_path)
        yield opener
        opener.close()

    def opener(self, folder: Path) -> Any:
        raise NotImplementedError

    def test_an_empty_store_has_no_head(self, stores):
        """A new store holds nothing and says so."""
        store = stores.create()
        assert store.load_head() is None
        assert store.next_due() is None
        assert store.find_events([("ga", "01a1b2c3-0000-7000-8000-000000000000")]) == {}
        with pytest.raises(NotFoundError):
            store.genesis()

    def test_genesis_is_kept_whole(self, stores):
        """Genesis, bundles and block 0 come back as they were written."""
        network = Network(stores.create())
        store = network.store
        assert store.genesis() == GENESIS.data
        assert {digest: store.bundle(digest) for digest in BUNDLES} == BUNDLES
        assert store.load_head() == network.app.head
        with pytest.raises(NotFoundError):
            store.bundle(sha256(b"another"))

    def test_blocks_go_in_in_order(self, stores):
        """A block that does not follow the last one is refused, and a second genesis too."""
        network = Network(stores.create())
        sealed, note = network.seal([network.submission("ga", [network.event()])])
        network.app.commit(note)
        with pytest.raises(FatalError):
            network.store.write(sealed, note)
        first, _ = seal_genesis(GENESIS, genesis_config(GENESIS), MapTree.empty())
        with pytest.raises(FatalError):
            network.store.write_genesis(GENESIS.data, BUNDLES, first, b"")

    @settings(max_examples=25, deadline=None, suppress_health_check=SHARED)
    @given(history=HISTORY)
    def test_every_read_equals_the_model(self, tmp_path_factory, history):
        """After any history, before and after opening again, each read is what the blocks say."""
        opener = self.opener(tmp_path_factory.mktemp("store"))
        try:
            network = Network(opener.create())
            run_history(network, history)
            compare(network.store, network)
            opener.close()
            network.reopen(opener.open)
            compare(network.store, network)
            network.block([network.submission("ga", [network.event()])])
            compare(network.store, network)
        finally:
            opener.close()

    def test_long_history(self, stores):
        """Frames, segments, dictionaries, stream rows and tiles that fill up several times change no answer."""
        network = Network(stores.create())
        for size in (700, 3, 900, 1, 900, 40, 333):
            events = [
                network.event(
                    refs={"dataset": f"ga/d{n % 3}"}, writes={f"use/ga/{n % 400}": {"n": n}}, text="依申请核验"
                )
                for n in range(size)
            ]
            network.block([network.submission("ga", events)])
        stores.close()
        network.reopen(stores.open)
        network.block([network.submission("ga", [network.event(refs={"dataset": "ga/d1"}) for _ in range(300)])])
        compare(network.store, network)

    def test_timers_come_in_order_and_once(self, stores):
        """Due timers are listed by (due, key); a fired, cleared or replaced one is gone."""
        network = Network(stores.create())
        due = network.time + 10_000
        timers = {f"timer/t1/use/ga/{n}": due + n % 2 for n in range(5)}
        network.block([network.submission("ga", [network.event(timers=timers)])])
        expected = sorted((when, key) for key, when in timers.items())
        assert network.store.due_timers(due, 100) == expected[:3]
        assert network.store.due_timers(due + 5, 4) == expected[:4]
        assert network.store.due_timers(due - 1, 4) == []
        assert network.store.next_due() == due
        changed = {"timer/t1/use/ga/0": None, "timer/t1/use/ga/1": due + 70_000}
        network.block([network.submission("ga", [network.event(timers=changed)])])
        network.block(ms=20_000)
        assert network.store.due_timers(due + 100_000, 100) == [(due + 70_000, "timer/t1/use/ga/1")]
        assert network.store.due_timers(due + 50_000, 100) == []
        earlier = {"timer/t1/use/ga/7": due + 40_000}
        network.block([network.submission("ga", [network.event(timers=earlier)])])
        assert network.store.due_timers(due + 50_000, 100) == [(due + 40_000, "timer/t1/use/ga/7")]

    def test_a_closed_store_answers_nothing(self, stores):
        """After `close`, which may be called twice, every call is refused as unavailable."""
        network = Network(stores.create())
        network.store.close()
        network.store.close()
        for call in (network.store.load_head, network.store.genesis, network.store.next_due):
            with pytest.raises(UnavailableError):
                call()
        with pytest.raises(UnavailableError):
            network.store.write_certificates([(1, b"note")])

    def test_a_certificate_replaces_an_older_one_of_its_size(self, stores):
        """The note with more cosignatures takes the place of the first."""
        network = Network(stores.create())
        sealed = network.block([network.submission("ga", [network.event()])])
        for note in (b"first", b"second"):
            network.store.write_certificates([(sealed.size, note)])
        assert stores.certificates() == {sealed.size: b"second"}

    def test_a_native_commit_is_kept_by_size(self, stores):
        """Each size has one native commit, the last one written; it outlives the store."""
        network = Network(stores.create())
        sealed = network.block([network.submission("ga", [network.event()])])
        for size, data in ((1, b"zero"), (sealed.size, b"first"), (sealed.size, b"second")):
            network.store.write_native(size, data)
        assert stores.natives() == {1: b"zero", sealed.size: b"second"}
        stores.close()
        network.reopen(stores.open)
        assert stores.natives() == {1: b"zero", sealed.size: b"second"}
        stores.close()
        with pytest.raises(UnavailableError):
            network.store.write_native(1, b"too late")


def compare(store: Store, network: Network) -> None:
    """Ask `store` everything and compare with the model of the network's blocks."""
    sealed: list[Sealed] = network.sealed
    model = StoreModel(sealed)
    head = store.load_head()
    assert head == network.app.head
    assert (head.size, head.log.root()) == (sealed[-1].size, sealed[-1].root)
    tree = store.load_tree()
    assert tree.root() == sealed[-1].header.state_root
    assert dict(store.read_rows([*model.rows, b"\x02\x00\x01x\x00\x01y"])) == model.rows
    buckets = store.read_buckets(range(sealed[-1].header.state_buckets))
    assert tree.leaves() == b"".join(bucket_leaf_hash(packed) for packed in buckets)
    assert list(store.read_buckets([10**6])) == [b""]
    names = [*model.objects, "use/never/written"]
    live = {
        key: parse_object_value(model.rows[object_key(key)].value)[1] for key in model.objects if model.objects[key]
    }
    assert store.read_objects(names) == live
    ids = [*model.events, ("gx", "01a1b2c3-0000-7000-8000-000000000000")]
    assert store.find_events(ids) == model.events
    streams = [*model.streams, ("dataset", "nobody/has-it")]
    assert store.missing_streams(streams) == {s for s in streams if stream_key(*s, False) not in model.rows}
    assert store.due_timers(10**15, 10**6) == sorted((due, key) for key, due in model.timers.items())
    assert store.next_due() == min(model.timers.values(), default=None)


class MemoryOpener:
    """Keeps the memory between stores."""

    def __init__(self) -> None:
        self._store: MemoryStore | None = None

    def create(self) -> MemoryStore:
        self._store = MemoryStore()
        return self._store

    def open(self) -> MemoryStore:
        self._store = MemoryStore(self._store.memory)
        return self._store

    def certificates(self) -> dict[int, bytes]:
        return self._store.memory.certificates

    def natives(self) -> dict[int, bytes]:
        return self._store.memory.native

    def close(self) -> None:
        if self._store is not None:
            self._store.close()


class SqliteOpener:
    """A file in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger.sqlite"
        self._store: SqliteStore | None = None

    def create(self) -> SqliteStore:
        self._store = SqliteStore.create(self.path)
        return self._store

    def open(self) -> SqliteStore:
        self._store = SqliteStore.open(self.path)
        return self._store

    def certificates(self) -> dict[int, bytes]:
        with contextlib.closing(SqliteReader(self.path)) as reader, reader.snapshot() as snap:
            found = snap.certificates.latest()
            assert found == snap.certificates.least(0)
            return dict([found])

    def natives(self) -> dict[int, bytes]:
        with contextlib.closing(SqliteReader(self.path)) as reader, reader.snapshot() as snap:
            found, entry = {}, snap.natives.least(0)
            while entry is not None:
                found[entry[0]] = entry[1]
                entry = snap.natives.least(entry[0] + 1)
            return found

    def close(self) -> None:
        if self._store is not None:
            self._store.close()


class TestMemoryStore(StoreConformance):
    def opener(self, folder: Path) -> Any:
        return MemoryOpener()


class TestSqliteStore(StoreConformance):
    def opener(self, folder: Path) -> Any:
        return SqliteOpener(folder)
