"""Fills a new store from blocks and from the rows of a state, without deciding anything again (SPEC R-N76).

Rules: blocks are written by the writers that write decided ones, so that the file is like any other; the state is written
once, at the end, in one transaction, and the places of records in streams are read out of the log. A store that was filled
half way goes on where it stood. Checked here is only that rows are the state of the last header and streams those of the
log: whoever fills a store has it audited as a whole before it is opened (see `ledger.adapters.ordering.restoring`).
Not here: where blocks and rows come from.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final, cast

from ledger.adapters.sqlite import query
from ledger.adapters.sqlite.faults import damaged
from ledger.adapters.sqlite.load import is_registry_key, write_registry_keys, write_restored
from ledger.adapters.sqlite.packing import Entry, pack_entry, unpack_entry
from ledger.adapters.sqlite.store import SqliteStore
from ledger.adapters.sqlite.streams import StreamTables
from ledger.adapters.sqlite.tiles import LOG_TREE, read_nodes, tile_reader
from ledger.adapters.sqlite.unsealed import joined_streams, unsealed
from ledger.blockcodec import BlockData
from ledger.core import canonical, merkle
from ledger.core.buckets import update
from ledger.core.bundle import bundle_hash, parse_bundle
from ledger.core.hashing import Digest
from ledger.core.header import Header, parse_header
from ledger.core.mapkeys import NS_STREAM, NS_TIMER, key_hash, key_parts, parse_object_value, value_hash
from ledger.core.maptree import MapTree
from ledger.core.merkle import EMPTY_RANGE
from ledger.core.stream import parse_stream_value
from ledger.errors import MalformedError, VerificationError
from ledger.machine.block import Sealed, StateRow

ROWS_BATCH: Final = 5_000
_STATE_TABLES: Final = ("names", "state", "buckets", "bucket_changes", "stream_seqs", "timers")

Row = tuple[bytes, bytes]
"""(map key, map value)."""


class RestoringStore(SqliteStore):
    """A store that is being filled; nothing decides with it."""

    @classmethod
    def at(cls, path: Path) -> RestoringStore:
        """The one at `path`, to go on with; a new one where there is none."""
        return cast("RestoringStore", cls.open(path) if path.exists() else cls.create(path))

    @property
    def height(self) -> int:
        """The last block that was written, -1 for none."""
        return self._height

    def begin(self, genesis: bytes, bundles: Mapping[Digest, bytes], block: BlockData) -> None:
        """Write block 0 into the empty store."""

        def statements() -> None:
            self._connection.execute("INSERT INTO meta VALUES ('genesis', ?)", (genesis,))
            self._connection.executemany("INSERT INTO bundles VALUES (?, ?)", bundles.items())
            self._write_log(unsealed(block), b"")

        self._transaction("restoring block 0", statements)
        self._height = 0

    def add(self, blocks: Sequence[tuple[BlockData, bytes]]) -> None:
        """Write the next blocks, each with the note to keep, in one transaction. Raises `MalformedError` (code `block`) for
        another block than the next one, with nothing written."""
        made: list[tuple[Sealed, bytes]] = []
        first_seq = self.last_header().index + 1
        for number, (block, note) in enumerate(blocks, self._height + 1):
            sealed = unsealed(block)
            if (sealed.height, sealed.header.first_seq) != (number, first_seq):
                raise MalformedError("block", "not the next block", height=sealed.height, expected=number)
            first_seq = sealed.header.index + 1
            made.append((sealed, note))

        def statements() -> None:
            for sealed, note in made:
                self._write_log(sealed, note)

        self._transaction("restoring blocks", statements)
        self._height += len(made)

    def last_header(self) -> Header:
        """The header of the last block."""
        row = query.row(self._connection, "SELECT data FROM blocks WHERE height=?", (self._height,), (bytes,))
        if row is None:
            raise damaged("blocks", reason="the last one is missing", height=self._height)
        return parse_header(self._block_reader.data(row[0]).header_leaf)

    def checkpoint(self) -> tuple[int, Digest]:
        """Size and root of the log so far."""
        size = self.last_header().index + 1
        nodes = merkle.range_nodes(0, size)
        found = read_nodes(nodes, tile_reader(self._connection, LOG_TREE))
        return size, merkle.fold([found[node] for node in nodes])

    def end(self, rows: Iterable[Row], certificates: Sequence[tuple[int, bytes]], engine_height: int) -> None:
        """Write the state after the last block, given by rows of ascending keys, with what follows from it and the log.

        `certificates` are (size, note); `engine_height` is CometBFT's. Raises `VerificationError` (code `snapshot-state`)
        where the rows are not the state that the last header names, or a stream not what its records make it.
        """

        def statements() -> None:
            for table in _STATE_TABLES:
                self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 - names of ours
            self._connection.execute("DELETE FROM tiles WHERE tree<>?", (LOG_TREE,))
            self._connection.execute("DELETE FROM meta WHERE name='registry'")
            self._write_streams(self._write_rows(rows))
            self._put_certificates(certificates)
            self._put_engine_height(engine_height)
            write_restored(self._connection, self._height)

        self._transaction("restoring the state", statements)

    def _write_log(self, sealed: Sealed, note: bytes) -> None:
        self._blocks.write(sealed, note)
        for data in sealed.decision.block.attachments:
            digest = bundle_hash(parse_bundle(data))
            self._connection.execute("INSERT OR IGNORE INTO bundles VALUES (?, ?)", (digest, data))
        self._tiles.append_log(sealed.header.first_seq, sealed.leaf_hashes)
        self._events.write(sealed)

    # --- the state ---------------------------------------------------------------------------------------------------

    def _write_rows(self, rows: Iterable[Row]) -> dict[bytes, int]:
        """Write names, values, buckets and timers; the number of each stream by its key."""
        tree, keys, number = MapTree.empty(), 0, 0
        buckets: dict[int, bytes] = {}
        streams: dict[bytes, int] = {}
        registered: list[bytes] = []
        for batch in _batches(rows):
            changes = {key_hash(key): value_hash(value) for key, value in batch}
            made = update(tree.size, keys, changes, lambda wanted: [buckets.get(index, b"") for index in wanted])
            tree.apply(made.leaf_hashes(), made.n)
            keys = made.keys
            buckets.update(made.buckets)
            for key, value in batch:
                number += 1
                self._connection.execute("INSERT INTO names (key, id) VALUES (?, ?)", (key, number))
                # A stream's row is written once more, with its places, when the log has been read.
                entry = pack_entry(Entry(StateRow(value)))
                self._connection.execute("INSERT INTO state (id, value) VALUES (?, ?)", (number, entry))
                if key[0] == NS_STREAM:
                    streams[key] = number
                elif is_registry_key(key):
                    registered.append(key)
                elif key[0] == NS_TIMER and value:
                    self._arm(key, value)
        header = self.last_header()
        got = (tree.root(), tree.size, keys, number)
        if got != (header.state_root, header.state_buckets, header.state_keys, header.state_keys):
            raise _refused("not the state that the header names", height=header.height, expected=header.state_root)
        self._connection.executemany("INSERT INTO buckets (i, pairs) VALUES (?, ?)", sorted(buckets.items()))
        write_registry_keys(self._connection, registered)
        return streams

    def _arm(self, key: bytes, value: bytes) -> None:
        due = canonical.parse(parse_object_value(value)[1]).get("due")
        if type(due) is int:
            self._connection.execute("INSERT INTO timers VALUES (?, ?)", (f"timer/{key_parts(key)[0]}", due))

    def _write_streams(self, streams: Mapping[bytes, int]) -> None:
        """Write the places of every stream, eight bytes each in memory, and its range beside its value."""
        places: dict[bytes, array[int]] = {}
        for seq, keys in self._joined():
            for key in keys:
                places.setdefault(key, array("Q")).append(seq)
        if places.keys() != streams.keys():
            raise _refused("other streams than the log has", streams=len(streams), expected=len(places))
        read = tile_reader(self._connection, LOG_TREE)
        tables = StreamTables(self._connection)
        for key, packed in places.items():
            number, seqs = streams[key], packed.tolist()
            nodes = read_nodes([(0, seq) for seq in seqs], read)
            hashes = [nodes[0, seq] for seq in seqs]
            tree = EMPTY_RANGE.extend(hashes)
            row = StateRow(self._value(number), tree.encode())
            value = parse_stream_value(row.value)
            if (value.size, value.root, value.first, value.last) != (tree.size, tree.root(), seqs[0], seqs[-1]):
                raise _refused("a stream is not what its records make it", stream=key)
            log = cast("Sealed", _Log(dict(zip(seqs, hashes, strict=True))))
            entry = tables.append(log, number, row, seqs, None)
            self._connection.execute("UPDATE state SET value=? WHERE id=?", (pack_entry(entry), number))
        tables.flush()

    def _value(self, number: int) -> bytes:
        packed = query.value(self._connection, "SELECT value FROM state WHERE id=?", (number,), bytes)
        return unpack_entry(packed or b"").row.value

    def _joined(self) -> Iterator[tuple[int, list[bytes]]]:
        """Log index and streams of every record and timer leaf."""
        sql = "SELECT data FROM blocks ORDER BY height"
        for (data,) in query.rows(self._connection, sql, (), (bytes,)):
            header = parse_header(self._block_reader.data(data).header_leaf)
            found = self._block_reader.records(header.first_seq, header.count)
            for seq, (leaf, head) in enumerate(found, header.first_seq):
                yield seq, joined_streams(leaf, head)


@dataclass(frozen=True, slots=True)
class _Place:
    first_seq: int = 0


@dataclass(frozen=True, slots=True)
class _Log:
    """A stretch of the log as `StreamTables` reads it: leaf hashes by log index."""

    leaf_hashes: Mapping[int, Digest]
    header: _Place = field(default_factory=_Place)


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    source = iter(rows)
    while batch := list(islice(source, ROWS_BATCH)):
        yield batch


def _refused(message: str, **evidence: object) -> VerificationError:
    return VerificationError("snapshot-state", message, **evidence)
