"""Opens the head: recomputes from what is stored whether the last block is what was committed.

Rules: the header leaf and every leaf of the head block are hashed again; the log before it must give the header's prev root
and with it the root in the checkpoint note; all buckets are hashed and must give the state root; config and registry rows
must stand in those buckets. A mismatch is a `FatalError` with the evidence. Not here: older blocks (`ledger verify`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from typing import Final

from ledger.adapters.sqlite import query
from ledger.adapters.sqlite.blocks import BlockReader
from ledger.adapters.sqlite.buckets import StoredMap, load_map, read_bucket
from ledger.adapters.sqlite.dictionaries import read_dictionary
from ledger.adapters.sqlite.faults import damaged
from ledger.adapters.sqlite.frames import Compressor, Decompressor
from ledger.adapters.sqlite.packing import unpack_entry
from ledger.adapters.sqlite.tiles import LOG_TREE, read_nodes, tile_reader
from ledger.core import merkle
from ledger.core.buckets import bucket_count, bucket_index, lookup
from ledger.core.checkpoint import parse_checkpoint_text
from ledger.core.config import Config, parse_config
from ledger.core.hashing import Digest, sha256
from ledger.core.header import Header, parse_header
from ledger.core.mapkeys import (
    NS_CONFIG,
    NS_KEY,
    NS_MEMBER,
    config_key,
    key_hash,
    parse_object_value,
    value_hash,
)
from ledger.core.merkle import CompactRange
from ledger.core.note import parse_note
from ledger.core.registry import KeyEntry, MemberEntry, Registry, parse_key_entry, parse_member_entry
from ledger.errors import FatalError, LedgerError, NotFoundError
from ledger.machine.block import Head

_LP: Final = 2  # length prefix of a part of a map key


def read_genesis(connection: sqlite3.Connection) -> bytes:
    """The genesis document; `NotFoundError` in an empty store."""
    genesis: bytes | None = query.value(connection, "SELECT value FROM meta WHERE name='genesis'", (), bytes)
    if genesis is None:
        raise NotFoundError("genesis", "the store is empty")
    return genesis


def read_bundle(connection: sqlite3.Connection, digest: Digest) -> bytes:
    """A bundle by hash; `NotFoundError`."""
    bundle: bytes | None = query.value(connection, "SELECT data FROM bundles WHERE digest=?", (digest,), bytes)
    if bundle is None:
        raise NotFoundError("bundle", "no such bundle is stored", digest=digest)
    return bundle


def load_head(connection: sqlite3.Connection, blocks: BlockReader) -> tuple[Head, StoredMap] | None:
    """The stored head and state map, both checked; None for an empty store."""
    row = query.row(
        connection,
        "SELECT height, first_seq, data FROM blocks ORDER BY height DESC LIMIT 1",
        (),
        (int, int, bytes),
    )
    if row is None:
        return None
    height, first_seq, packed = row
    try:
        data = blocks.data(packed)
        header = parse_header(data.header_leaf)
        _expect("height", height, header.height, height)
        _expect("first_seq", first_seq, header.first_seq, height)
        leaves = [leaf for leaf, _ in blocks.records(first_seq, header.count)]
        hashes = [merkle.leaf_hash(leaf) for leaf in [*leaves, data.header_leaf]]
        log = _load_log(connection, header, hashes)
        if data.note:
            checkpoint = parse_checkpoint_text(parse_note(data.note).text)
            _expect("note.size", log.size, checkpoint.size, height)
            _expect("note.root", log.root(), checkpoint.root, height)
        loaded = load_map(connection)
        tree = loaded.tree
        _expect("state.buckets", header.state_buckets, tree.size, height)
        _expect("state.root", header.state_root, tree.root(), height)
        _expect("state.buckets", bucket_count(header.state_keys), tree.size, height)
        config, registry = _load_documents(connection, tree.size)
    except (LedgerError, ValueError, TypeError, IndexError) as error:
        if isinstance(error, FatalError):
            raise
        raise FatalError("head-damaged", "the stored head does not check", height=height, reason=str(error)) from error
    return Head(height, header.time, log, header.state_keys, config, registry), loaded


def _expect(what: str, expected: object, got: object, height: int) -> None:
    if expected != got:
        raise FatalError(
            "head-mismatch", "the stored head contradicts itself", what=what, height=height, expected=expected, got=got
        )


def _load_log(connection: sqlite3.Connection, header: Header, hashes: list[Digest]) -> CompactRange:
    """The log's compact range after the block, from tiles before it and the block's own leaves."""
    read = tile_reader(connection, LOG_TREE)
    size = header.prev_size
    nodes = merkle.range_nodes(0, size)
    found = read_nodes(nodes, read)
    before = CompactRange(size, tuple(found[node] for node in nodes))
    _expect("prev.root", header.prev_root, before.root(), header.height)
    after, levels = before.grow(hashes)
    # The tiles must already hold every node that this block completed.
    grown = {
        (level, first + offset): digest
        for level, (first, row) in enumerate(levels)
        if level % 8 == 0
        for offset, digest in enumerate(row)
    }
    for node, digest in read_nodes(list(grown), read).items():
        _expect(f"tile node {node}", grown[node], digest, header.height)
    return after


def _load_documents(connection: sqlite3.Connection, n: int) -> tuple[Config, Registry]:
    """Config, members and keys in force, each checked against its bucket."""
    members: dict[str, MemberEntry] = {}
    keys: dict[Digest, KeyEntry] = {}
    config: Config | None = None
    for key in read_registry_keys(connection):
        sql = "SELECT s.value FROM names n JOIN state s ON s.id = n.id WHERE n.key = ?"
        packed = query.value(connection, sql, (key,), bytes)
        if packed is None:
            raise damaged("state", reason="a document of the registry is missing", key=key)
        value = unpack_entry(packed).row.value
        _check_in_bucket(connection, n, key, value)
        document = parse_object_value(value)[1]
        if key == config_key():
            config = parse_config(document)
        elif key[0] == NS_MEMBER:
            entry = parse_member_entry(key[1 + _LP :].decode("ascii"), document)
            members[entry.id] = entry
        elif key[0] == NS_KEY:
            registered = parse_key_entry(document)
            keys[registered.public.key_id] = registered
    if config is None:
        raise damaged("state", reason="no config is stored")
    return config, Registry(members, keys)


def is_registry_key(key: bytes) -> bool:
    """Whether a map key holds a member, a key or the config."""
    return key[0] in (NS_MEMBER, NS_KEY, NS_CONFIG)


def read_registry_keys(connection: sqlite3.Connection) -> list[bytes]:
    """Map keys of all members, keys and the config, from a list with a checksum: a lost one must be missed."""
    packed = query.value(connection, "SELECT value FROM meta WHERE name='registry'", (), bytes)
    keys = Decompressor(lambda number: read_dictionary(connection, number)).single(packed) if packed is not None else []
    if not isinstance(keys, list) or not all(type(key) is bytes and key and is_registry_key(key) for key in keys):
        raise damaged("registry", reason="not a list of map keys")
    return keys


def write_registry_keys(connection: sqlite3.Connection, new: Collection[bytes]) -> None:
    """Add map keys to that list in the open transaction."""
    keys = sorted({*read_registry_keys(connection), *new})
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('registry', ?)", (Compressor().single(keys),))


def read_restored(connection: sqlite3.Connection) -> int:
    """The block up to which a store was filled from a snapshot; 0 where all of it was decided here."""
    packed = query.value(connection, "SELECT value FROM meta WHERE name='restored'", (), bytes)
    if packed is None:
        return 0
    height = int.from_bytes(packed[:8], "big")
    if packed != _pack_restored(height):
        raise damaged("height of the snapshot", got=packed)
    return height


def write_restored(connection: sqlite3.Connection, height: int) -> None:
    """Say so, in the open transaction."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('restored', ?)", (_pack_restored(height),))


def _pack_restored(height: int) -> bytes:
    """u64 and the first bytes of its hash, since no other hash covers it."""
    number = height.to_bytes(8, "big")
    return number + sha256(number)[:8]


def _check_in_bucket(connection: sqlite3.Connection, n: int, key: bytes, value: bytes) -> None:
    index = bucket_index(key_hash(key), n)
    check_row(key, value, index, read_bucket(connection, index))


def check_row(key: bytes, value: bytes | None, index: int, bucket: bytes) -> None:
    """Raise `FatalError` unless the bucket, whose number is `index`, holds just this value (None: none) under the key."""
    if lookup(bucket, key_hash(key)) != (value_hash(value) if value is not None else None):
        raise damaged("state", reason="a row is not what its bucket says", key=key, bucket=index)
