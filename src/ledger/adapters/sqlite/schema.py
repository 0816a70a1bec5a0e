"""Decides the tables of `ledger.sqlite`, their version, and how a connection is set up.

Rules: migrations are numbered and each runs in its own transaction (sqlite-utils keeps their record); a file of a newer
schema is refused, an older one is refused by readers; every connection distrusts what the file may define.
Only the writer needs sqlite-utils: readers look at `user_version`. Not here: what stands in the tables.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from ledger.adapters.sqlite.faults import translated
from ledger.errors import FatalError, NotFoundError

if TYPE_CHECKING:
    from sqlite_utils import Database

FILE_NAME: Final = "ledger.sqlite"
SCHEMA_VERSION: Final = 3
APPLICATION_ID: Final = 0x53755975  # "SuYu": tells our file from any other SQLite file
BUSY_TIMEOUT_MS: Final = 5_000
WRITER_CACHE_KIB: Final = 64 * 1024
READER_CACHE_KIB: Final = 8 * 1024
CHECKPOINT_PAGES: Final = 16_000  # of 4 KiB: the log may reach this before a commit has to move pages itself

TABLES: Final = """
-- What the whole store has one of: genesis, secret of the event index, list of the registry's map keys.
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;

-- One row a block: [header leaf, note, submissions, duplicates, timers] as one compressed frame.
CREATE TABLE blocks (height INTEGER PRIMARY KEY, first_seq INTEGER NOT NULL UNIQUE, data BLOB NOT NULL) STRICT;

-- Segments of at most 256 leaves of one block, by the log index of their first; bodies stand apart to be archived.
CREATE TABLE records (seq INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
CREATE TABLE bodies (seq INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
-- [head, body] of submitted events that made no leaf, in order.
CREATE TABLE extras (height INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
CREATE TABLE attachments (height INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
CREATE TABLE dictionaries (id INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;

-- Who signed: member and key by a small number.
CREATE TABLE signers (no INTEGER PRIMARY KEY, member TEXT NOT NULL, key_id BLOB NOT NULL) STRICT;
-- Largest id time (unix ms) of each member: an event with a later id is new without a look.
CREATE TABLE authors (member TEXT PRIMARY KEY, newest INTEGER NOT NULL) STRICT, WITHOUT ROWID;
-- Event ids by time and keyed hash; seq is an integer, or several in a text "5,17" where keys collide.
CREATE TABLE events (k INTEGER PRIMARY KEY, seq ANY NOT NULL) STRICT;

-- Hash tiles: 256 nodes of tree level 8 * level. Tree 0 is the log, others are streams (from level 1 on).
CREATE TABLE tiles (
    tree INTEGER NOT NULL, level INTEGER NOT NULL, i INTEGER NOT NULL, hashes BLOB NOT NULL,
    PRIMARY KEY (tree, level, i)
) STRICT, WITHOUT ROWID;

-- State map: keys, values, buckets of its hash tree.
CREATE TABLE names (key BLOB PRIMARY KEY, id INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE state (id INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE buckets (i INTEGER PRIMARY KEY, pairs BLOB NOT NULL) STRICT;

-- Log indexes of long streams, 256 positions a row; what does not fill a row stands beside the stream's value.
CREATE TABLE stream_seqs (
    stream INTEGER NOT NULL, chunk INTEGER NOT NULL, seqs BLOB NOT NULL, PRIMARY KEY (stream, chunk)
) STRICT, WITHOUT ROWID;

CREATE TABLE timers (key TEXT PRIMARY KEY, due INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX timers_due ON timers (due, key);

-- Notes with cosignatures, as frames with a checksum.
CREATE TABLE certificates (size INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
CREATE TABLE bundles (digest BLOB PRIMARY KEY, data BLOB NOT NULL) STRICT;
"""

NATIVE: Final = """
-- CometBFT's own commits over checkpoints, by size, as frames with a checksum.
CREATE TABLE native (size INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
"""


BUCKET_CHANGES: Final = """
-- Pairs of a bucket that its row in `buckets` does not have yet: a few of these share a page, of the others hardly any.
CREATE TABLE bucket_changes (i INTEGER PRIMARY KEY, pairs BLOB NOT NULL) STRICT;
"""


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to `SCHEMA_VERSION`. Raises `FatalError` for a newer one or a file that is not ours."""
    from sqlite_utils import Database
    from sqlite_utils.migrations import Migrations

    check_application(connection)
    migrations = Migrations("ledger")

    @migrations(name="0001-tables")
    def _tables(database: Database) -> None:
        _execute(database, TABLES)
        database.conn.execute(f"PRAGMA application_id={APPLICATION_ID}")
        database.conn.execute("PRAGMA user_version=1")

    @migrations(name="0002-native")
    def _native(database: Database) -> None:
        _execute(database, NATIVE)
        database.conn.execute("PRAGMA user_version=2")

    @migrations(name="0003-bucket-changes")
    def _bucket_changes(database: Database) -> None:
        _execute(database, BUCKET_CHANGES)
        database.conn.execute("PRAGMA user_version=3")

    migrations.apply(Database(connection, execute_plugins=False))


def _execute(database: Database, script: str) -> None:
    """Run statements one by one: `executescript` would commit the migration's transaction."""
    for statement in script.split(";\n"):
        if statement.strip():
            database.conn.execute(statement)


def check_application(connection: sqlite3.Connection) -> int:
    """The file's schema version, 0 for an empty file. Raises `FatalError` for a newer schema or another program's file."""
    version = _pragma(connection, "user_version")
    application = _pragma(connection, "application_id")
    if version > SCHEMA_VERSION:
        raise FatalError("schema-newer", "made by a newer version", got=version, expected=SCHEMA_VERSION)
    if version and application != APPLICATION_ID:
        raise FatalError("schema-foreign", "not a ledger's file", application_id=application)
    return version


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def connect_writer(path: Path) -> sqlite3.Connection:
    """The one writing connection; transactions are opened by hand, so no statement commits by itself."""
    with translated("opening the store"):
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
        _harden(connection)
        connection.execute("PRAGMA journal_mode=WAL")
        # FULL: an acknowledged block survives power loss as far as fsync is honest; NORMAL would lose it.
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA cache_size=-{WRITER_CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """A read-only connection; raises `NotFoundError` where there is no file."""
    if not path.is_file():
        raise NotFoundError("store", "no ledger is stored here", path=str(path))
    with translated("opening the store for reading"):
        try:
            return _connect_read_only(path, "mode=ro")
        except sqlite3.OperationalError as error:
            log = path.with_name(path.name + "-wal")
            unwritable = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
            if not unwritable or (log.exists() and log.stat().st_size):
                raise
            # A closed ledger on a medium that cannot be written: there is no log to share and nobody changes the file.
            return _connect_read_only(path, "immutable=1")


def _connect_read_only(path: Path, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?{how}", uri=True, isolation_level=None, check_same_thread=False
    )
    try:
        _harden(connection)
        connection.execute("PRAGMA query_only=ON")
        connection.execute(f"PRAGMA cache_size=-{READER_CACHE_KIB}")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _harden(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA cell_size_check=ON")
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
