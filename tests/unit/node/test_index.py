"""The search index: rebuilt from the ledger it equals the one that grew with it, and losing it costs nothing else."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from ledger.errors import UnavailableError
from ledger_node.query.facts import Facts
from ledger_node.query.index import FILE_NAME, Index
from ledger_node.query.indexer import Indexer
from tests.models.live_node import LiveNode, live_node, tell_story

TABLES = ("words", "events", "counts", "objects", "texts", "down", "up", "findings", "duties", "timers")


def dump(path: Path) -> dict[str, list[Any]]:
    """Every row of every table but meta, numbers of words replaced by the words."""
    with sqlite3.connect(path) as connection:
        words = dict(connection.execute("SELECT no, word FROM words"))
        found = {name: sorted(connection.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in TABLES}
    found["words"] = sorted(words.values())
    found["events"] = sorted((words[kind], words[member], seq) for kind, member, seq in found["events"])
    found["counts"] = sorted((words[kind], words[member], count) for kind, member, count in found["counts"])
    found["objects"] = sorted((no, words[kind], name, seq) for no, kind, name, seq in found["objects"])
    for name in ("down", "up"):
        found[name] = sorted((first, second, words[via], seq) for first, second, via, seq in found[name])
    return found


def rebuild(live: LiveNode, path: Path) -> Indexer:
    """A second index of the same ledger, read back from the store."""
    indexer = Indexer(Index(path, live.node.origin), live.node.reader, live.node.rules.kinds())
    indexer.start()
    assert indexer.wait(live.node.head.height, 20)
    return indexer


def test_rebuilt_index_equals_the_grown_one(live: LiveNode, tmp_path: Path) -> None:
    """Row for row, though one was fed by the engine and the other by the store."""
    live.client.get("/v1/events")  # waits until the grown one is there
    path = tmp_path / FILE_NAME
    rebuild(live, path).close()
    rebuilt, grown = dump(path), dump(live.folder / FILE_NAME)
    for name in TABLES:
        assert rebuilt[name] == grown[name], name
    assert rebuilt["findings"]
    assert rebuilt["timers"]
    assert rebuilt["down"]
    assert rebuilt["texts"]


@pytest.mark.parametrize("damage", ["garbage", "version", "origin", "empty"])
def test_a_damaged_or_foreign_index_is_made_anew(live: LiveNode, tmp_path: Path, damage: str) -> None:
    """Whatever stands in the file, the index opens and is complete after a moment."""
    path = tmp_path / FILE_NAME
    if damage == "garbage":
        path.write_bytes(b"no database" * 1000)
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        rebuild(live, path).close()
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE meta SET value='other' WHERE name=?", (damage,))
            connection.execute("DELETE FROM events")
    indexer = rebuild(live, path)
    try:
        with indexer.index.read() as connection:
            assert connection.execute("SELECT count(*) FROM events").fetchone()[0] > 5
    finally:
        indexer.close()


def test_an_interrupted_write_leaves_no_trace(tmp_path: Path) -> None:
    """A batch that fails half way is rolled back; the next one is whole."""
    index = Index(tmp_path / FILE_NAME, "x")

    def broken() -> Any:
        yield Facts(1, "kind", "ga", names=[("dataset", "ga/a")])
        raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        index.write(1, broken(), {})
    assert index.height == -1
    index.write(1, [Facts(1, "kind", "ga", names=[("dataset", "ga/a")])], {"finding/none": ("raised", None)})
    with index.read() as connection:
        assert connection.execute("SELECT id, seq FROM objects").fetchall() == [("ga/a", 1)]
    index.close()
    with pytest.raises(UnavailableError), index.read():
        pass


def test_a_broken_index_is_named_and_made_anew(tmp_path: Path) -> None:
    """While the index cannot be written /readyz says so and proofs are answered; then it is rebuilt by itself."""
    with live_node(tmp_path / "net") as live:
        tell_story(live)
        assert live.client.get("/v1/findings").json()["count"] == 1
        with sqlite3.connect(live.folder / FILE_NAME) as other:
            other.execute("DROP TABLE counts")
        event = live.event("use.access", {"dataset": "ga/hukou", "grant": live.ids["grant"]}, count=1)
        assert live.post(live.sign("rs", [event])).status_code == 201
        ready = _poll(live, "/readyz", 503)
        assert [check["name"] for check in ready["checks"] if not check["ok"]] == ["index"]
        assert live.client.get("/v1/datasets/ga/hukou/timeline?proof=full").status_code == 200
        _poll(live, "/readyz", 200)
        assert live.client.get("/v1/findings").json()["count"] == 1
        assert live.client.get("/v1/events?limit=1000").json()["entries"][-1]["head"]["id"] == event.id


def _poll(live: LiveNode, path: str, status: int) -> Any:
    until = time.monotonic() + 60
    while True:
        answer = live.client.get(path)
        if answer.status_code == status:
            return answer.json()
        assert time.monotonic() < until, answer.text
        time.sleep(0.05)
