"""A search index beside the ledger: what the certified state cannot answer by key. Rebuilt from the ledger at any time.

It finds candidates (objects of a kind, what was created from what, records of an event kind, findings, duties, words);
answers read their content from the certified state. Written by one thread some moments after each block; never fsynced,
for losing it costs a rebuild and nothing else. Not here: what is indexed of a leaf (see `facts`).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ledger.errors import NotFoundError, UnavailableError
from ledger_node.query.facts import Facts, Name

FILE_NAME: Final = "index.sqlite"
VERSION: Final = 1  # another version is rebuilt, never migrated
NAMES_CACHED: Final = 100_000
IDLE_CONNECTIONS_MAX: Final = 8

TABLES: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE words (no INTEGER PRIMARY KEY, word TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE events (
    kind INTEGER NOT NULL, member INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (kind, member, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE counts (
    kind INTEGER NOT NULL, member INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (kind, member)
) STRICT, WITHOUT ROWID;
CREATE TABLE objects (no INTEGER PRIMARY KEY, kind INTEGER NOT NULL, id TEXT NOT NULL, seq INTEGER NOT NULL) STRICT;
CREATE UNIQUE INDEX objects_kind ON objects (kind, id);
CREATE INDEX objects_id ON objects (id);
CREATE TABLE texts (no INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
CREATE TABLE down (
    parent INTEGER NOT NULL, child INTEGER NOT NULL, via INTEGER NOT NULL, seq INTEGER NOT NULL,
    PRIMARY KEY (parent, child)
) STRICT, WITHOUT ROWID;
CREATE TABLE up (
    child INTEGER NOT NULL, parent INTEGER NOT NULL, via INTEGER NOT NULL, seq INTEGER NOT NULL,
    PRIMARY KEY (child, parent)
) STRICT, WITHOUT ROWID;
CREATE TABLE findings (
    no INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, code TEXT NOT NULL, about TEXT NOT NULL, status TEXT NOT NULL,
    seq INTEGER NOT NULL
) STRICT;
CREATE INDEX findings_status ON findings (status, code);
CREATE TABLE duties (
    no INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, by TEXT NOT NULL, rule TEXT NOT NULL, due INTEGER,
    status TEXT NOT NULL, seq INTEGER NOT NULL
) STRICT;
CREATE INDEX duties_status ON duties (status, due);
CREATE TABLE timers (key TEXT PRIMARY KEY, due INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX timers_due ON timers (due, key);
"""


Status = tuple[str, int | None]
"""Status and due time (unix ms) of a finding or duty."""


class Index:
    """The index at `path` of the ledger `origin`; one writer thread, any number of readers."""

    def __init__(self, path: Path, origin: str) -> None:
        self._path, self._origin = path, origin
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        self._generation = 0
        self._words: dict[str, int] = {}
        self._names: dict[Name, int] = {}
        self._writer = self._open()
        self.height = int(self._meta("height", "-1"))
        """Height of the last indexed block."""

    def start_over(self) -> None:
        """Throw the file away and begin an empty one; readers in the middle of a question end it on the old file."""
        with self._lock:
            idle, self._idle = self._idle, []
            self._generation += 1
        for connection in (*idle, self._writer):
            connection.close()
        self._words.clear()
        self._names.clear()
        self._writer = self._create()
        self.height = -1

    def close(self) -> None:
        """Close every connection; idempotent."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
        self._writer.close()

    # --- reading -----------------------------------------------------------------------------------------------------

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A read transaction; the connection must not be kept."""
        with self._lock:
            if self._closed:
                raise UnavailableError("index-closed", "the index is closed")
            connection = self._idle.pop() if self._idle else None
            generation = self._generation
        if connection is None:
            connection = self._connect()
            connection.execute("PRAGMA query_only=ON")
        connection.execute("BEGIN")
        try:
            yield connection
        finally:
            connection.execute("ROLLBACK")
            with self._lock:
                is_current = not self._closed and generation == self._generation
                keep = is_current and len(self._idle) < IDLE_CONNECTIONS_MAX
                if keep:
                    self._idle.append(connection)
            if not keep:
                connection.close()

    # --- writing -----------------------------------------------------------------------------------------------------

    def write(self, height: int, facts: Iterable[Facts], statuses: Mapping[str, Status]) -> None:
        """Add the facts of blocks up to `height`; `statuses` are present ones by state key of a finding or duty."""
        connection = self._writer
        connection.execute("BEGIN IMMEDIATE")
        try:
            batch = _Batch(self, connection)
            for each in facts:
                batch.add(each)
            batch.flush(statuses)
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('height', ?)", (str(height),))
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            self._words.clear()
            self._names.clear()
            raise
        self.height = height

    def word(self, connection: sqlite3.Connection, word: str) -> int:
        """The number of an event kind, member, object kind or ref name; a new one is written."""
        number = self._words.get(word)
        if number is None:
            row = connection.execute("SELECT no FROM words WHERE word=?", (word,)).fetchone()
            if row is None:
                cursor = connection.execute("INSERT INTO words (word) VALUES (?)", (word,))
                row = (cursor.lastrowid,)
            number = self._words[word] = int(row[0])
        return number

    def object_number(self, connection: sqlite3.Connection, name: Name, seq: int) -> int:
        """The number of an object; a new one is written with the leaf that named it first."""
        number = self._names.get(name)
        if number is None:
            kind = self.word(connection, name[0])
            row = connection.execute("SELECT no FROM objects WHERE kind=? AND id=?", (kind, name[1])).fetchone()
            if row is None:
                cursor = connection.execute(
                    "INSERT INTO objects (kind, id, seq) VALUES (?, ?, ?)", (kind, name[1], seq)
                )
                row = (cursor.lastrowid,)
            if len(self._names) >= NAMES_CACHED:
                self._names.clear()
            number = self._names[name] = int(row[0])
        return number

    # --- the file ----------------------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        """The writing connection, on a new file where the old one is of another version or ledger, or damaged."""
        try:
            connection = self._connect()
            found = dict(connection.execute("SELECT name, value FROM meta WHERE name IN ('version', 'origin')"))
            if found == {"version": str(VERSION), "origin": self._origin}:
                return connection
            connection.close()
        except sqlite3.DatabaseError:
            pass
        return self._create()

    def _create(self) -> sqlite3.Connection:
        """The writing connection of a new, empty file."""
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        connection = self._connect()
        connection.executescript(TABLES)
        rows = [("version", str(VERSION)), ("origin", self._origin)]
        connection.executemany("INSERT INTO meta VALUES (?, ?)", rows)
        return connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA busy_timeout=5000")
        return connection

    def _meta(self, name: str, default: str) -> str:
        row = self._writer.execute("SELECT value FROM meta WHERE name=?", (name,)).fetchone()
        return default if row is None else str(row[0])


class _Batch:
    """Rows of one transaction, collected so that each table is written in one go."""

    def __init__(self, index: Index, connection: sqlite3.Connection) -> None:
        self._index, self._connection = index, connection
        self._events: list[tuple[int, int, int]] = []
        self._counts: dict[tuple[int, int], int] = {}
        self._down: list[tuple[int, int, int, int]] = []
        self._findings: dict[str, tuple[str, str, str, int]] = {}
        self._duties: dict[str, tuple[str, str, str, int | None, str, int]] = {}
        self._texts: dict[int, str] = {}
        self._timers: dict[str, int | None] = {}

    def add(self, facts: Facts) -> None:
        """Collect one leaf's facts."""
        index, connection = self._index, self._connection
        if facts.kind:
            pair = (index.word(connection, facts.kind), index.word(connection, facts.member))
            self._events.append((*pair, facts.seq))
            self._counts[pair] = self._counts.get(pair, 0) + 1
        for name in facts.names:
            index.object_number(connection, name, facts.seq)
        for parent, child, via in facts.edges:
            ends = (
                index.object_number(connection, parent, facts.seq),
                index.object_number(connection, child, facts.seq),
            )
            self._down.append((*ends, index.word(connection, via), facts.seq))
        for finding in facts.findings:
            self._findings.setdefault(finding.id, (finding.id, finding.code, finding.about, facts.seq))
        for duty in facts.duties:
            self._duties[duty.key] = (duty.key, duty.by, duty.rule, duty.due, duty.status, facts.seq)
        self._timers.update(facts.timers)
        if facts.words is not None:
            self._texts[index.object_number(connection, facts.words[0], facts.seq)] = facts.words[1]

    def flush(self, statuses: Mapping[str, Status]) -> None:
        """Write everything."""
        run = self._connection.executemany
        run("INSERT OR IGNORE INTO events VALUES (?, ?, ?)", sorted(self._events))
        run(
            "INSERT INTO counts VALUES (?, ?, ?) ON CONFLICT (kind, member) DO UPDATE SET count = count + excluded.count",
            [(*pair, count) for pair, count in self._counts.items()],
        )
        run("INSERT OR IGNORE INTO down VALUES (?, ?, ?, ?)", sorted(self._down))
        run("INSERT OR IGNORE INTO up VALUES (?, ?, ?, ?)", sorted((c, p, v, s) for p, c, v, s in self._down))
        run(
            "INSERT INTO findings (id, code, about, status, seq) VALUES (?, ?, ?, 'raised', ?) ON CONFLICT (id) DO NOTHING",
            self._findings.values(),
        )
        run(
            "INSERT INTO duties (key, by, rule, due, status, seq) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE "
            "SET by=excluded.by, rule=excluded.rule, due=excluded.due, status=excluded.status, seq=excluded.seq",
            self._duties.values(),
        )
        for key, (status, due) in statuses.items():
            kind, _, name = key.partition("/")
            if kind == "finding":
                self._connection.execute("UPDATE findings SET status=? WHERE id=?", (status, name))
            else:
                self._connection.execute("UPDATE duties SET status=?, due=? WHERE key=?", (status, due, key))
        run("INSERT OR REPLACE INTO texts VALUES (?, ?)", self._texts.items())
        run("DELETE FROM timers WHERE key=?", [(key,) for key, due in self._timers.items() if due is None])
        run(
            "INSERT OR REPLACE INTO timers VALUES (?, ?)",
            [pair for pair in self._timers.items() if pair[1] is not None],
        )


def word_number(connection: sqlite3.Connection, word: str) -> int | None:
    """The number of a word, None where the ledger never used it."""
    row = connection.execute("SELECT no FROM words WHERE word=?", (word,)).fetchone()
    return None if row is None else int(row[0])


def object_number(connection: sqlite3.Connection, name: Name, size: int) -> int:
    """The number of an object named below leaf `size`; raises `NotFoundError`."""
    kind = word_number(connection, name[0])
    row = connection.execute("SELECT no FROM objects WHERE kind=? AND id=? AND seq<?", (kind, name[1], size)).fetchone()
    if row is None:
        raise NotFoundError("object", "nothing of this kind and name", kind=name[0], id=name[1])
    return int(row[0])
